/**
 * What a block carries: the state that it builds on, and transactions in the order in which they take effect.
 *
 *     payload = format (1 byte, 2) root (32 bytes) transaction*
 *     transaction = length (4 bytes, big-endian, at least 1) bytes
 *
 * `root` commits to the state after the parent block, so that a certificate of this block certifies that state too: a node
 * that was given a snapshot, or one entry of the state with its proof, needs nothing else to believe it. Validators that
 * execute one history differently find out at the next block, and refuse it.
 */
import { Malformed, Reader, sized, u8 } from './bytes.ts'

export const TX_BYTES_MAX: number = 256 * 1024
export const PAYLOAD_BYTES_MAX: number = 512 * 1024
export const PAYLOAD_TXS_MAX = 4096
const FORMAT = 2
const ROOT_BYTES = 32
const ROOT = /^[0-9a-f]{64}$/

export interface Payload {
  /** Of the state after the parent block; lower-case hex, 32 bytes. */
  readonly root: string
  readonly txs: readonly Uint8Array[]
}

/** @throws {TypeError} When the root is not 32 bytes in lower-case hex: the application is at fault. */
export function encodePayload({ root, txs }: Payload): Uint8Array {
  if (!ROOT.test(root)) throw new TypeError('a state root is 32 bytes in lower-case hex')
  return Buffer.concat([u8(FORMAT), Buffer.from(root, 'hex'), ...txs.map(sized)])
}

/** @throws {Malformed} Saying where. */
export function parsePayload(payload: Uint8Array): Payload {
  if (payload.length > PAYLOAD_BYTES_MAX) throw new Malformed(`a payload of ${payload.length} bytes`)
  const reader = new Reader(payload)
  const format = reader.u8()
  if (format !== FORMAT) throw new Malformed(`payload format ${format}`)
  const root = reader.take(ROOT_BYTES).toString('hex')
  const txs: Uint8Array[] = []
  while (reader.left > 0) {
    if (txs.length === PAYLOAD_TXS_MAX) throw new Malformed(`more than ${PAYLOAD_TXS_MAX} transactions`)
    const tx = reader.sized(TX_BYTES_MAX)
    if (tx.length === 0) throw new Malformed('an empty transaction')
    txs.push(Uint8Array.from(tx))
  }
  return { root, txs }
}

/** Bytes that a transaction takes in a payload, and bytes that a payload takes before the first. */
export const TX_OVERHEAD_BYTES = 4
export const PAYLOAD_OVERHEAD_BYTES: number = 1 + ROOT_BYTES
