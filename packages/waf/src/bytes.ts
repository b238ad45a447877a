/**
 * Text in this package is a string of bytes: every character is 0 to 255. That is how HTTP/1 headers arrive, what SecLang
 * patterns mean, and what keeps bad encodings visible instead of replaced.
 */

const CHUNK = 8_192
const DECODED_MIN = 64
const decoder = new TextDecoder()

/** Each byte as one character (not windows-1252, which `TextDecoder('latin1')` is). */
export function bytesToText(bytes: Uint8Array): string {
  const { length } = bytes
  // Where all are ASCII, which UTF-8 leaves as it is, a decoder is many times faster.
  if (length >= DECODED_MIN && isAscii(bytes)) return decoder.decode(bytes)
  if (length <= CHUNK) return String.fromCharCode.apply(null, bytes as unknown as number[])
  let text = ''
  for (let i = 0; i < length; i += CHUNK) {
    text += String.fromCharCode.apply(null, bytes.subarray(i, i + CHUNK) as unknown as number[])
  }
  return text
}

function isAscii(bytes: Uint8Array): boolean {
  const { length } = bytes
  const whole = length - (length & 7)
  let i = 0
  for (; i < whole; i += 8) {
    const low = bytes[i]! | bytes[i + 1]! | bytes[i + 2]! | bytes[i + 3]!
    const high = bytes[i + 4]! | bytes[i + 5]! | bytes[i + 6]! | bytes[i + 7]!
    if ((low | high) > 127) return false
  }
  for (; i < length; i += 1) if (bytes[i]! > 127) return false
  return true
}

const shared = new Uint8Array(65_536)

/**
 * Where a transformation writes its bytes: pieces of text joined by += would make a rope that the next reader has to flatten.
 * Holds until the next call.
 */
export function scratchBytes(length: number): Uint8Array {
  return length <= shared.length ? shared : new Uint8Array(length)
}

/** A string that may hold characters beyond one byte, as its UTF-8 bytes. Byte strings come back as they are. */
export function toByteText(text: string): string {
  return /[^\0-\xff]/.test(text) ? bytesToText(new TextEncoder().encode(text)) : text
}

/** A code point as UTF-8 bytes. Lone surrogates are written as three bytes, so nothing is lost. */
export function codePointToText(code: number): string {
  if (code < 0x80) return String.fromCharCode(code)
  if (code < 0x800) return String.fromCharCode(0xc0 | (code >> 6), 0x80 | (code & 63))
  if (code < 0x10000) return String.fromCharCode(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63))
  return String.fromCharCode(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63))
}

/** The value of a hexadecimal digit's character code, or -1. */
export function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** The value of exactly so many hexadecimal digits from a place on, or -1. */
export function hexValues(text: string, from: number, digits: number): number {
  let value = 0
  for (let i = from; i < from + digits; i += 1) {
    const digit = hexValue(text.charCodeAt(i))
    if (digit < 0) return -1
    value = value * 16 + digit
  }
  return value
}

/** The same text without what it was cut from: a piece of a body keeps the whole body in memory for as long as it lives itself. */
export function detached(text: string): string {
  return text.length < SLICE_CHARS_MIN ? text : ` ${text}`.slice(1)
}

/** V8 copies shorter pieces anyway. */
const SLICE_CHARS_MIN = 13
