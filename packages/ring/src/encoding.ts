/** base64url without padding (RFC 4648 section 5), hex and UTF-8: what signatures, keys and ids are written in. */
import { EncodingInvalid } from './errors.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const VALUE_BY_CODE = new Int8Array(128).fill(-1)
for (let index = 0; index < ALPHABET.length; index += 1) VALUE_BY_CODE[ALPHABET.charCodeAt(index)] = index

export function encodeBase64url(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at
    const group = (bytes[at]! << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    text += ALPHABET[group >>> 18]! + ALPHABET[(group >>> 12) & 63]!
    if (left > 1) text += ALPHABET[(group >>> 6) & 63]!
    if (left > 2) text += ALPHABET[group & 63]!
  }
  return text
}

/** @throws {EncodingInvalid} For padding, foreign characters, and trailing bits that are not zero: one spelling only. */
export function decodeBase64url(text: string): Uint8Array {
  if (text.length % 4 === 1) throw new EncodingInvalid('base64url of an impossible length')
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4))
  let held = 0
  let bits = 0
  let to = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    const value = code < 128 ? VALUE_BY_CODE[code]! : -1
    if (value < 0) throw new EncodingInvalid('a character that is not base64url')
    held = ((held << 6) | value) & 0xfff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      bytes[to] = (held >>> bits) & 0xff
      to += 1
    }
  }
  if ((held & ((1 << bits) - 1)) !== 0) throw new EncodingInvalid('base64url with trailing bits')
  return bytes
}

/** Is it what `encodeBase64url` makes of so many bytes? Nothing is decoded for it. */
export function isBase64url(text: string, bytes: number): boolean {
  if (text.length !== Math.ceil((bytes * 4) / 3)) return false
  let last = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    last = code < 128 ? VALUE_BY_CODE[code]! : -1
    if (last < 0) return false
  }
  const spare = (text.length * 6) % 8
  return (last & ((1 << spare) - 1)) === 0
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Lower-case hex. */
export function encodeHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte]!
  return text
}

const NIBBLE_BY_CODE = new Uint8Array(128)
for (let value = 0; value < 16; value += 1) NIBBLE_BY_CODE[value.toString(16).charCodeAt(0)] = value

/** Writes the bytes of lower-case hex that is known to be such, from `to` on: nothing is checked. */
export function decodeHexInto(text: string, bytes: Uint8Array, to: number): void {
  for (let at = 0; at < text.length; at += 2) {
    bytes[to + (at >>> 1)] = (NIBBLE_BY_CODE[text.charCodeAt(at)]! << 4) | NIBBLE_BY_CODE[text.charCodeAt(at + 1)]!
  }
}

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function encodeUtf8(text: string): Uint8Array {
  return ENCODER.encode(text)
}

/** Bytes that are used over and over; `first(n)` is the first `n` of them, the same object each time. */
export class Scratch {
  readonly bytes: Uint8Array
  readonly #views: (Uint8Array | undefined)[]

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
    this.#views = Array.from({ length: length + 1 })
  }

  first(length: number): Uint8Array {
    let view = this.#views[length]
    if (view === undefined) {
      view = this.bytes.subarray(0, length)
      this.#views[length] = view
    }
    return view
  }
}

const passing = new Scratch(2_048)

/** As `encodeUtf8`, for bytes that are read at once: the next call may overwrite them. */
export function passingUtf8(text: string): Uint8Array {
  if (text.length * 3 > passing.bytes.length) return ENCODER.encode(text)
  return passing.first(ENCODER.encodeInto(text, passing.bytes).written)
}

/** @throws {TypeError} When the bytes are not UTF-8. A byte-order mark stays in the text. */
export function decodeUtf8(bytes: Uint8Array): string {
  return DECODER.decode(bytes)
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at += 1) if (a[at] !== b[at]) return false
  return true
}
