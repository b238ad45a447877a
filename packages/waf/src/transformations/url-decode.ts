import { bytesToText, hexValue, hexValues, scratchBytes } from '../bytes.ts'

/** `%HH` and `+`; malformed escapes stay as they are. */
export function urlDecode(text: string): string {
  return decode(text, false)
}

/** As `urlDecode`, and `%uHHHH` (IIS): the low byte, full-width forms folded to ASCII, as ModSecurity does. */
export function urlDecodeUni(text: string): string {
  return decode(text, true)
}

/** The same with a code page's best fits first (`SecUnicodeMapFile`). */
export function urlDecodeUniWith(map: ReadonlyMap<number, number>): (text: string) => string {
  return (text) => decode(text, true, map)
}

function decode(text: string, unicode: boolean, map?: ReadonlyMap<number, number>): string {
  return /[%+]/.test(text) ? decodeFrom(text, unicode, map) : text
}

function decodeFrom(text: string, unicode: boolean, map?: ReadonlyMap<number, number>): string {
  const bytes = scratchBytes(text.length)
  return bytesToText(bytes.subarray(0, urlDecodeInto(bytes, 0, text, 0, text.length, unicode, map)))
}

/** Writes what a part of a text decodes to into `bytes` from `at` on, which is never more than the part. Returns where it ends there. */
export function urlDecodeInto(
  bytes: Uint8Array,
  at: number,
  text: string,
  from: number,
  to: number,
  unicode = false,
  map?: ReadonlyMap<number, number>,
): number {
  let size = at
  for (let i = from; i < to; i += 1) {
    const code = text.charCodeAt(i)
    if (code === 43) {
      bytes[size++] = 32
      continue
    }
    if (code === 37) {
      const high = i + 2 < to ? hexValue(text.charCodeAt(i + 1)) : -1
      const low = high < 0 ? -1 : hexValue(text.charCodeAt(i + 2))
      if (low >= 0) {
        bytes[size++] = high * 16 + low
        i += 2
        continue
      }
      const point = unicode && i + 5 < to && (text.charCodeAt(i + 1) | 32) === 117 ? hexValues(text, i + 2, 4) : -1
      if (point >= 0) {
        bytes[size++] = map?.get(point) ?? (point >= 0xff01 && point <= 0xff5e ? point - 0xfee0 : point)
        i += 5
        continue
      }
    }
    bytes[size++] = code
  }
  return size
}

/** `%HH` alone, as in a path, where `+` is a plus. */
export function percentDecode(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

export function urlEncode(text: string): string {
  return text.replace(/[^A-Za-z0-9*_.\- ]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`).replaceAll(' ', '+')
}
