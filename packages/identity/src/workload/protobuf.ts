/**
 * The wire format of Protocol Buffers, version 3, as far as the Workload API's messages need it: fields of bytes and texts are written,
 * and read.
 * https://protobuf.dev/programming-guides/encoding/
 */

const LENGTH_DELIMITED = 2
/** Of a varint: 64 bits in sevens. */
const VARINT_BYTES_MAX = 10
const FIELD_MAX = 536_870_911

function varint(value: number): readonly number[] {
  const bytes: number[] = []
  let left = value
  while (left > 127) {
    bytes.push((left % 128) + 128)
    left = Math.floor(left / 128)
  }
  return [...bytes, left]
}

/** One field of bytes, a text or a message. @param number From 1. */
export function field(number: number, value: Uint8Array | string): Uint8Array {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([Uint8Array.from([...varint(number * 8 + LENGTH_DELIMITED), ...varint(bytes.length)]), bytes])
}

/** Likewise, and nothing for what is empty: proto3 leaves out what has its default. */
export function optionalField(number: number, value: Uint8Array | string): Uint8Array {
  return value.length === 0 ? new Uint8Array(0) : field(number, value)
}

export function message(...fields: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(fields)
}

/** A field as it was received: bytes where it has a length, else the number of a varint; undefined of the fixed types, which nothing here has. */
export interface ReadField {
  readonly number: number
  readonly value: Uint8Array | number | undefined
}

/** Undefined: it is no message. Fields may be any: who speaks a later version is understood. Groups (wire types 3 and 4) are none of proto3. */
export function readFields(bytes: Uint8Array): readonly ReadField[] | undefined {
  const fields: ReadField[] = []
  let at = 0
  /** Undefined when it ends too soon or is too long. */
  const readVarint = (): number | undefined => {
    let value = 0
    for (let length = 0; length < VARINT_BYTES_MAX; length += 1) {
      const byte = bytes[at]
      if (byte === undefined) return undefined
      at += 1
      // Above 2^53 digits are lost, and it stays too large for what it could count here.
      value += (byte & 0x7f) * 2 ** (7 * length)
      if (byte < 128) return value
    }
    return undefined
  }
  while (at < bytes.length) {
    const tag = readVarint()
    if (tag === undefined || tag < 8 || Math.floor(tag / 8) > FIELD_MAX) return undefined
    const [number, type] = [Math.floor(tag / 8), tag % 8]
    if (type === 0) {
      const value = readVarint()
      if (value === undefined) return undefined
      fields.push({ number, value })
      continue
    }
    const length = type === 1 ? 8 : type === 5 ? 4 : type === LENGTH_DELIMITED ? readVarint() : undefined
    if (length === undefined || length > bytes.length - at) return undefined
    fields.push({ number, value: type === LENGTH_DELIMITED ? bytes.subarray(at, at + length) : undefined })
    at += length
  }
  return fields
}

/** Is this a message? */
export function isMessage(bytes: Uint8Array): boolean {
  return readFields(bytes) !== undefined
}

/** The last value of a field of bytes, as proto3 has it; empty when it is not there. */
export function bytesOf(fields: readonly ReadField[], number: number): Uint8Array {
  const found = fields.findLast((field) => field.number === number && field.value instanceof Uint8Array)?.value
  return found instanceof Uint8Array ? found : new Uint8Array(0)
}

/** All values of a repeated field of bytes, in order. */
export function allBytesOf(fields: readonly ReadField[], number: number): readonly Uint8Array[] {
  return fields.flatMap((field) => (field.number === number && field.value instanceof Uint8Array ? [field.value] : []))
}

/** @throws {TypeError} When it is no UTF-8. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
}
