import { bytesToText, scratchBytes } from '../bytes.ts'

/** Runs of blanks (and U+00A0's byte) become one space. */
export function compressWhitespace(text: string): string {
  return /[\t-\r\xa0]|[ ][ ]/.test(text) ? withBlanks(text, true) : text
}

export function removeWhitespace(text: string): string {
  return /[\t-\r \xa0]/.test(text) ? withBlanks(text, false) : text
}

/** Each run of blanks as one space, or as none. */
function withBlanks(text: string, kept: boolean): string {
  const { length } = text
  const bytes = scratchBytes(length)
  let size = 0
  let inBlanks = false
  for (let i = 0; i < length; i += 1) {
    const code = text.charCodeAt(i)
    const blank = isBlank(code)
    if (!blank) bytes[size++] = code
    else if (kept && !inBlanks) bytes[size++] = 32
    inBlanks = blank
  }
  return bytesToText(bytes.subarray(0, size))
}

export function removeNulls(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '') : text
}

export function replaceNulls(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', ' ') : text
}

export function trimLeft(text: string): string {
  return text.slice(startOf(text))
}

export function trimRight(text: string): string {
  return text.slice(0, endOf(text))
}

export function trim(text: string): string {
  return text.slice(startOf(text), endOf(text))
}

// Loops, not patterns: /\s+$/ is quadratic on a long run of blanks inside a text.
function startOf(text: string): number {
  let at = 0
  while (at < text.length && isBlank(text.charCodeAt(at))) at += 1
  return at
}

function endOf(text: string): number {
  const start = startOf(text)
  let at = text.length
  while (at > start && isBlank(text.charCodeAt(at - 1))) at -= 1
  return at
}

function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13) || code === 0xa0
}
