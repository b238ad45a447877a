import { bytesToText, hexValue, hexValues, scratchBytes } from '../bytes.ts'

/** What a letter behind a backslash stands for, by its code. */
const SIMPLE: ReadonlyMap<number, number> = new Map(
  [...'a\x07b\bf\fn\nr\rt\tv\v'].reduce<(readonly [number, number])[]>((pairs, letter, i, all) => {
    if (i % 2 === 0) pairs.push([letter.charCodeAt(0), all[i + 1]!.charCodeAt(0)])
    return pairs
  }, []),
)
const BACKSLASH = 92

/** JavaScript's `\xHH`, `\uHHHH`, `\u{...}`, octal and single-character escapes. Full-width forms fold to ASCII. */
export function jsDecode(text: string): string {
  return unescaped(text, readJsEscape)
}

/** ANSI C escapes: `\n`, `\xHH`, `\ooo` and so on. */
export function escapeSeqDecode(text: string): string {
  return unescaped(text, readAnsiEscape)
}

/** CSS 2.1 escapes: up to six hexadecimal digits with one blank after them, or a backslash before any other character. */
export function cssDecode(text: string): string {
  return unescaped(text, readCssEscape)
}

/** What the escape reader of the moment found: a byte, or nothing that is left of the escape. */
const NO_BYTE = -1
let byte = NO_BYTE

/**
 * @param read Reads an escape from behind its backslash and sets `byte`. Returns where the text goes on, or -1 when it is none,
 * so that the backslash stays.
 */
function unescaped(text: string, read: (text: string, at: number) => number): string {
  if (!text.includes('\\')) return text
  const { length } = text
  const bytes = scratchBytes(length)
  let size = 0
  for (let i = 0; i < length; i += 1) {
    const code = text.charCodeAt(i)
    const next = code === BACKSLASH ? read(text, i + 1) : -1
    if (next < 0) bytes[size++] = code
    else {
      if (byte !== NO_BYTE) bytes[size++] = byte
      i = next - 1
    }
  }
  return bytesToText(bytes.subarray(0, size))
}

function folded(point: number): number {
  return point >= 0xff01 && point <= 0xff5e ? point - 0xfee0 : point & 255
}

function readJsEscape(text: string, at: number): number {
  if (at >= text.length) return -1
  const code = text.charCodeAt(at)
  if (code === 120) {
    const value = hexValues(text, at + 1, 2)
    if (value >= 0) {
      byte = value
      return at + 3
    }
  } else if (code === 117) {
    const value = hexValues(text, at + 1, 4)
    if (value >= 0) {
      byte = folded(value)
      return at + 5
    }
    const end = text.charCodeAt(at + 1) === 123 ? bracedEnd(text, at + 2) : -1
    if (end >= 0) return end
  } else if (isOctal(code)) return readOctal(text, at, code <= 51 ? 3 : 2)
  byte = SIMPLE.get(code) ?? code
  return at + 1
}

/** `{41}` with at most eight zeros more than its six digits. Sets `byte`; -1 when it is something else. */
function bracedEnd(text: string, from: number): number {
  let point = 0
  let digits = 0
  let at = from
  for (; at - from < 14; at += 1) {
    const value = hexValue(text.charCodeAt(at))
    if (value < 0) break
    if (digits > 0 || value > 0) digits += 1
    if (digits > 6) return -1
    point = point * 16 + value
  }
  if (at === from || text.charCodeAt(at) !== 125) return -1
  byte = folded(point)
  return at + 1
}

function isOctal(code: number): boolean {
  return code >= 48 && code <= 55
}

function readOctal(text: string, from: number, digitsMax: number): number {
  let value = 0
  let at = from
  for (; at - from < digitsMax && isOctal(text.charCodeAt(at)); at += 1) value = value * 8 + text.charCodeAt(at) - 48
  byte = value & 255
  return at
}

function readAnsiEscape(text: string, at: number): number {
  const code = text.charCodeAt(at)
  if (code === 120) {
    byte = hexValues(text, at + 1, 2)
    return byte < 0 ? -1 : at + 3
  }
  if (isOctal(code)) return readOctal(text, at, 3)
  const simple = SIMPLE.get(code)
  if (simple === undefined && code !== BACKSLASH && code !== 63 && code !== 39 && code !== 34) return -1
  byte = simple ?? code
  return at + 1
}

function readCssEscape(text: string, from: number): number {
  if (from >= text.length) return -1
  let point = 0
  let at = from
  for (; at - from < 6; at += 1) {
    const value = hexValue(text.charCodeAt(at))
    if (value < 0) break
    point = point * 16 + value
  }
  if (at === from) {
    const code = text.charCodeAt(at)
    byte = code === 10 ? NO_BYTE : code
    return at + 1
  }
  byte = folded(point)
  const code = text.charCodeAt(at)
  return code === 32 || code === 9 || code === 10 || code === 12 || code === 13 ? at + 1 : at
}

/** Pairs of hexadecimal digits; stops at the first that is not. */
export function hexDecode(text: string): string {
  const bytes = scratchBytes(text.length >> 1)
  let size = 0
  for (let value = hexValues(text, 0, 2); value >= 0; value = hexValues(text, size * 2, 2)) bytes[size++] = value
  return bytesToText(bytes.subarray(0, size))
}

const DIGITS = '0123456789abcdef'

/** Hexadecimal of every byte. */
export function hexEncode(text: string): string {
  const bytes = scratchBytes(text.length * 2)
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i)
    bytes[i * 2] = DIGITS.charCodeAt(code >> 4)
    bytes[i * 2 + 1] = DIGITS.charCodeAt(code & 15)
  }
  return bytesToText(bytes.subarray(0, text.length * 2))
}

/** SQL's `0x4142` hexadecimal literals as the text they stand for. */
export function sqlHexDecode(text: string): string {
  if (!/0[xX]/.test(text)) return text
  return text.replace(/0[xX]((?:[0-9a-fA-F]{2})+)/g, (_, digits) => hexDecode(digits as string))
}
