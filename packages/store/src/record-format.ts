/** What a log needs to know of how its records lie on disk: in the clear (`record.ts`) or sealed (`sealed-record.ts`). */

/** Bytes before a record that it may be bound to: the end of the record before it, or of the file's header. */
export const LINK_BYTES = 16

export interface RecordFormat {
  /** What the file begins with. */
  readonly header: Uint8Array
  /** Undefined: in the clear. Else the id of its storage key, hex. */
  readonly keyId: string | undefined
  /** Bytes at the start of a record that say how long it is. */
  readonly headBytes: number
  /** What a record takes beyond its payload. */
  readonly overheadBytes: number
  /** The record as it lies on disk, in parts. `link`: the last 16 bytes before it. */
  encode(index: number, payload: Uint8Array, link: Uint8Array): readonly Uint8Array[]
  /** The payload's length, or undefined when the head's own check fails. `head` holds at least `headBytes`. */
  lengthIn(head: Uint8Array, index: number): number | undefined
  /** The payload, when `record` is record `index`, whole; it may share memory with it. */
  payloadIn(record: Buffer, index: number, link: Uint8Array): Uint8Array | undefined
}

/** Records one after the other, the first after `link`, as bytes and where each ends. */
export function encodeRun(
  format: RecordFormat,
  first: number,
  records: readonly Uint8Array[],
  link: Uint8Array,
): { readonly bytes: Buffer; readonly ends: readonly number[]; readonly link: Uint8Array } {
  const parts: Uint8Array[] = []
  const ends: number[] = []
  let end = 0
  let before = link
  for (const [i, payload] of records.entries()) {
    const record = format.encode(first + i, payload, before)
    for (const part of record) {
      parts.push(part)
      end += part.length
    }
    ends.push(end)
    before = lastBytes(record)
  }
  return { bytes: Buffer.concat(parts), ends, link: before }
}

/** A record has more than so many. */
function lastBytes(parts: readonly Uint8Array[]): Uint8Array {
  const last = parts.at(-1) as Uint8Array
  return last.length >= LINK_BYTES ? last.subarray(-LINK_BYTES) : Buffer.concat(parts).subarray(-LINK_BYTES)
}
