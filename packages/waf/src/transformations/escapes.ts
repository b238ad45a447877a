import { hexValue } from '../bytes.ts'

const SIMPLE: ReadonlyMap<string, string> = new Map([
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
])

/** JavaScript's `\xHH`, `\uHHHH`, `\u{...}`, octal and single-character escapes. Full-width forms fold to ASCII. */
export function jsDecode(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{0{0,8}([0-9a-fA-F]{1,6})\}|([0-3]?[0-7]{1,2})|([\s\S]))/g,
    (_, x, u, braced, octal, one) => {
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal as string, 8) & 255)
      if (one !== undefined) return SIMPLE.get(one as string) ?? (one as string)
      const code = Number.parseInt((x ?? u ?? braced) as string, 16)
      return String.fromCharCode(code >= 0xff01 && code <= 0xff5e ? code - 0xfee0 : code & 255)
    },
  )
}

/** ANSI C escapes: `\n`, `\xHH`, `\ooo` and so on. */
export function escapeSeqDecode(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(/\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|([abfnrtv\\?'"]))/g, (_, x, octal, one) => {
    if (x !== undefined) return String.fromCharCode(Number.parseInt(x as string, 16))
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal as string, 8) & 255)
    return SIMPLE.get(one as string) ?? (one as string)
  })
}

/** CSS 2.1 escapes: up to six hexadecimal digits with one blank after them, or a backslash before any other character. */
export function cssDecode(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(/\\(?:([0-9a-fA-F]{1,6})[ \t\n\r\f]?|(\n)|([\s\S]))/g, (_, hex, newline, one) => {
    if (hex !== undefined) {
      const code = Number.parseInt(hex as string, 16)
      return String.fromCharCode(code >= 0xff01 && code <= 0xff5e ? code - 0xfee0 : code & 255)
    }
    return newline !== undefined ? '' : (one as string)
  })
}

/** Pairs of hexadecimal digits; stops at the first that is not. */
export function hexDecode(text: string): string {
  let out = ''
  for (let i = 0; i + 1 < text.length; i += 2) {
    const high = hexValue(text.charCodeAt(i))
    const low = hexValue(text.charCodeAt(i + 1))
    if (high < 0 || low < 0) break
    out += String.fromCharCode(high * 16 + low)
  }
  return out
}

/** Hexadecimal of every byte. */
export function hexEncode(text: string): string {
  let out = ''
  for (let i = 0; i < text.length; i += 1) out += text.charCodeAt(i).toString(16).padStart(2, '0')
  return out
}

/** SQL's `0x4142` hexadecimal literals as the text they stand for. */
export function sqlHexDecode(text: string): string {
  if (!/0[xX]/.test(text)) return text
  return text.replace(/0[xX]((?:[0-9a-fA-F]{2})+)/g, (_, digits) => hexDecode(digits as string))
}
