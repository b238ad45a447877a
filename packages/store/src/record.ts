/**
 * How a log in the clear looks on disk; pure apart from hashing.
 *
 *     file   = header record*
 *     header = "ringwall-log 01\n"                        16 bytes
 *     record = length check hash payload                  40 bytes before the payload
 *     length = bytes of payload, big-endian               4 bytes
 *     check  = CRC-32 of index (8 bytes) and length       4 bytes
 *     hash   = SHA-256 of index (8 bytes) and payload     32 bytes
 *
 * The check has the length believed before the payload is read: a flipped bit in a length cannot pass for the torn
 * tail of a crash. The index in both has a record that stands in another's place fail.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { RecordFormat } from './record-format.ts'

export const HEADER: Uint8Array = new TextEncoder().encode('ringwall-log 01\n')
export const RECORD_HEADER_BYTES = 40
const HASH_BYTES = 32

function prefixOf(index: number, length: number): Buffer {
  const prefix = Buffer.alloc(12)
  prefix.writeBigUInt64BE(BigInt(index), 0)
  prefix.writeUInt32BE(length, 8)
  return prefix
}

function hashOf(index: number, payload: Uint8Array): Buffer {
  return createHash('sha256').update(prefixOf(index, 0).subarray(0, 8)).update(payload).digest()
}

/** The 40 bytes that go before `payload` when it is the log's record number `index`, from 0. */
export function recordHeader(index: number, payload: Uint8Array): Uint8Array {
  const header = Buffer.alloc(RECORD_HEADER_BYTES)
  header.writeUInt32BE(payload.length, 0)
  header.writeUInt32BE(crc32(prefixOf(index, payload.length)), 4)
  hashOf(index, payload).copy(header, 8)
  return header
}

/** The payload's length, or undefined when the header's own check fails. `header` holds at least 40 bytes. */
export function lengthIn(header: Uint8Array, index: number): number | undefined {
  const view = Buffer.from(header.buffer, header.byteOffset, header.byteLength)
  const length = view.readUInt32BE(0)
  return view.readUInt32BE(4) === crc32(prefixOf(index, length)) ? length : undefined
}

/** Is `payload` what was hashed into `header`? */
export function payloadMatches(header: Uint8Array, index: number, payload: Uint8Array): boolean {
  return hashOf(index, payload).equals(header.subarray(8, 8 + HASH_BYTES))
}

/** Records in the clear, bound to their place alone. */
export const PLAIN_RECORDS: RecordFormat = {
  header: HEADER,
  keyId: undefined,
  headBytes: RECORD_HEADER_BYTES,
  overheadBytes: RECORD_HEADER_BYTES,
  encode: (index, payload) => [recordHeader(index, payload), payload],
  lengthIn,
  payloadIn: (record, index) => {
    const payload = record.subarray(RECORD_HEADER_BYTES)
    const whole = record.length >= RECORD_HEADER_BYTES && lengthIn(record, index) === payload.length
    return whole && payloadMatches(record, index, payload) ? payload : undefined
  },
}
