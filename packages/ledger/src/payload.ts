/**
 * What a block carries: transactions, in the order in which they take effect. An empty payload has no bytes at all, so
 * that every list has exactly one encoding.
 *
 *     payload = nothing | format (1 byte, 1) transaction+
 *     transaction = length (4 bytes, big-endian, at least 1) bytes
 */
import { Malformed, Reader, sized, u8 } from './bytes.ts'

export const TX_BYTES_MAX: number = 256 * 1024
export const PAYLOAD_BYTES_MAX: number = 512 * 1024
export const PAYLOAD_TXS_MAX = 4096
const FORMAT = 1

export function encodePayload(txs: readonly Uint8Array[]): Uint8Array {
  return txs.length === 0 ? new Uint8Array(0) : Buffer.concat([u8(FORMAT), ...txs.map(sized)])
}

/** @throws {Malformed} Saying where. */
export function parsePayload(payload: Uint8Array): readonly Uint8Array[] {
  if (payload.length === 0) return []
  if (payload.length > PAYLOAD_BYTES_MAX) throw new Malformed(`a payload of ${payload.length} bytes`)
  const reader = new Reader(payload)
  const format = reader.u8()
  if (format !== FORMAT) throw new Malformed(`payload format ${format}`)
  const txs: Uint8Array[] = []
  do {
    if (txs.length === PAYLOAD_TXS_MAX) throw new Malformed(`more than ${PAYLOAD_TXS_MAX} transactions`)
    const tx = reader.sized(TX_BYTES_MAX)
    if (tx.length === 0) throw new Malformed('an empty transaction')
    txs.push(new Uint8Array(tx))
  } while (reader.left > 0)
  return txs
}

/** Bytes that a transaction takes in a payload, and bytes that a payload takes before the first. */
export const TX_OVERHEAD_BYTES = 4
export const PAYLOAD_OVERHEAD_BYTES = 1
