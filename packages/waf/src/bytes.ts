/**
 * Text in this package is a string of bytes: every character is 0 to 255. That is how HTTP/1 headers arrive, what SecLang
 * patterns mean, and what keeps bad encodings visible instead of replaced.
 */

const CHUNK = 8_192

/** Each byte as one character (not windows-1252, which `TextDecoder('latin1')` is). */
export function bytesToText(bytes: Uint8Array): string {
  if (bytes.length <= CHUNK) return String.fromCharCode.apply(null, bytes as unknown as number[])
  let text = ''
  for (let i = 0; i < bytes.length; i += CHUNK) {
    text += String.fromCharCode.apply(null, bytes.subarray(i, i + CHUNK) as unknown as number[])
  }
  return text
}

/** A string that may hold characters beyond one byte, as its UTF-8 bytes. Byte strings come back as they are. */
export function toByteText(text: string): string {
  for (let i = 0; i < text.length; i += 1) {
    if (text.charCodeAt(i) > 255) return bytesToText(new TextEncoder().encode(text))
  }
  return text
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

/** What `%20`, `\t`, `\n`, `\v`, `\f`, `\r` and a plain blank have in common (C's isspace). */
export function isSpaceCode(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13)
}
