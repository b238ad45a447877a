/**
 * What a block carries: the state that it builds on, and transactions in the order in which they take effect.
 *
 *     payload     = format (1 byte, 2) root (32 bytes) transaction*
 *     boundary    = format (1 byte, 3) root (32 bytes) count (2 bytes) validator+ transaction*
 *     validator   = length (1 byte) id public key (32 bytes)
 *     transaction = length (4 bytes, big-endian, at least 1) bytes
 *
 * `root` commits to the state after the parent block, so that a certificate of this block certifies that state too: a node
 * that was given a snapshot, or one entry of the state with its proof, needs nothing else to believe it. Validators that
 * execute one history differently find out at the next block, and refuse it.
 *
 * A block whose transactions change the set of validators says so, and names the new set: a chain of such blocks can be
 * followed without a state, whatever the transactions mean.
 */
import { Malformed, Reader, sized, u8, u16 } from './bytes.ts'

export const TX_BYTES_MAX: number = 256 * 1024
export const PAYLOAD_BYTES_MAX: number = 512 * 1024
export const PAYLOAD_TXS_MAX = 4096
const VALIDATORS_MAX = 512
const FORMAT = { ordinary: 2, boundary: 3 } as const
const ROOT_BYTES = 32
const ROOT = /^[0-9a-f]{64}$/
const KEY_BYTES = 32
const ID_BYTES_MAX = 63
/** Letters, digits and a few marks that no log or path trips over. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

export interface Validator {
  readonly id: string
  /** Ed25519, raw 32 bytes. */
  readonly publicKey: Uint8Array
}

export interface Payload {
  /** Of the state after the parent block; lower-case hex, 32 bytes. */
  readonly root: string
  /** Those who agree on what follows, when the block changes who they are. */
  readonly next?: readonly Validator[] | undefined
  readonly txs: readonly Uint8Array[]
}

/** @throws {TypeError} When the root is not 32 bytes in lower-case hex, or the validators have no form: the application is at fault. */
export function encodePayload({ root, next, txs }: Payload): Uint8Array {
  if (!ROOT.test(root)) throw new TypeError('a state root is 32 bytes in lower-case hex')
  const head = Buffer.from(root, 'hex')
  if (next === undefined) return Buffer.concat([u8(FORMAT.ordinary), head, ...txs.map(sized)])
  const fault = faultOf(next)
  if (fault !== undefined) throw new TypeError(fault)
  return Buffer.concat([u8(FORMAT.boundary), head, u16(next.length), ...next.map(encodeValidator), ...txs.map(sized)])
}

/** What payloads say that were read already: each is judged, made final and shown to others. They are never written to. */
const read = new WeakMap<Uint8Array, Payload>()

/** @throws {Malformed} Saying where. */
export function parsePayload(payload: Uint8Array): Payload {
  let parsed = read.get(payload)
  if (parsed === undefined) {
    parsed = readPayload(payload)
    read.set(payload, parsed)
  }
  return parsed
}

function readPayload(payload: Uint8Array): Payload {
  if (payload.length > PAYLOAD_BYTES_MAX) throw new Malformed(`a payload of ${payload.length} bytes`)
  const reader = new Reader(payload)
  const format = reader.u8()
  if (format !== FORMAT.ordinary && format !== FORMAT.boundary) throw new Malformed(`payload format ${format}`)
  const root = reader.take(ROOT_BYTES).toString('hex')
  const next = format === FORMAT.boundary ? readValidators(reader) : undefined
  const txs: Uint8Array[] = []
  while (reader.left > 0) {
    if (txs.length === PAYLOAD_TXS_MAX) throw new Malformed(`more than ${PAYLOAD_TXS_MAX} transactions`)
    const tx = reader.sized(TX_BYTES_MAX)
    if (tx.length === 0) throw new Malformed('an empty transaction')
    // A view: payloads are never written to, and live as long as their transactions are needed.
    txs.push(new Uint8Array(tx.buffer, tx.byteOffset, tx.length))
  }
  return next === undefined ? { root, txs } : { root, next, txs }
}

/** Does it say of itself that it changes the validators? */
export function isBoundary(payload: Uint8Array): boolean {
  return payload[0] === FORMAT.boundary
}

function encodeValidator({ id, publicKey }: Validator): Uint8Array {
  return Buffer.concat([u8(id.length), Buffer.from(id, 'latin1'), publicKey])
}

function readValidators(reader: Reader): readonly Validator[] {
  const count = reader.u16()
  if (count > VALIDATORS_MAX) throw new Malformed(`${count} validators`)
  const validators = Array.from({ length: count }, () => {
    const id = reader.take(reader.u8()).toString('latin1')
    return { id, publicKey: Uint8Array.from(reader.take(KEY_BYTES)) }
  })
  const fault = faultOf(validators)
  if (fault !== undefined) throw new Malformed(fault)
  return validators
}

/** What keeps these from being a set of validators. */
export function faultOf(validators: readonly Validator[]): string | undefined {
  if (validators.length === 0 || validators.length > VALIDATORS_MAX) return `${validators.length} validators`
  for (const { id, publicKey } of validators) {
    if (!ID.test(id) || id.length > ID_BYTES_MAX || publicKey.length !== KEY_BYTES)
      return 'a validator without a proper id or key'
  }
  if (new Set(validators.map(({ id }) => id)).size !== validators.length) return 'two validators with one id'
  const keys = new Set(validators.map(({ publicKey }) => Buffer.from(publicKey).toString('hex')))
  return keys.size === validators.length ? undefined : 'two validators with one key'
}

/** Bytes that a transaction takes in a payload, and bytes that a payload takes before the first. */
export const TX_OVERHEAD_BYTES = 4
export const PAYLOAD_OVERHEAD_BYTES: number = 1 + ROOT_BYTES

/** Bytes to keep free for the validators of a boundary. */
export function validatorsBytesMax(count: number): number {
  return 2 + count * (1 + ID_BYTES_MAX + KEY_BYTES)
}
