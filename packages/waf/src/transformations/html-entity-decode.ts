import { bytesToText, codePointToText, hexValue, scratchBytes } from '../bytes.ts'

interface Named {
  readonly name: string
  readonly code: number
}

/** By {@link mixed} of the name's letters. */
type Names = ReadonlyMap<number, Named>

const NAMED = table([
  ['quot', '"'],
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['apos', "'"],
  ['nbsp', '\xa0'],
  ['colon', ':'],
  ['tab', '\t'],
  ['newline', '\n'],
  ['lpar', '('],
  ['rpar', ')'],
  ['sol', '/'],
  ['bsol', '\\'],
  ['equals', '='],
  ['semi', ';'],
  ['comma', ','],
  ['period', '.'],
  ['excl', '!'],
  ['quest', '?'],
  ['num', '#'],
  ['dollar', '$'],
  ['percnt', '%'],
  ['lsqb', '['],
  ['lbrack', '['],
  ['rsqb', ']'],
  ['rbrack', ']'],
  ['lcub', '{'],
  ['lbrace', '{'],
  ['rcub', '}'],
  ['rbrace', '}'],
  ['grave', '`'],
  ['lowbar', '_'],
  ['plus', '+'],
  ['ast', '*'],
  ['verbar', '|'],
  ['vert', '|'],
  ['hat', '^'],
  ['commat', '@'],
])

/** Those that ModSecurity knows. */
const FEW: Names = new Map([...NAMED].filter(([, { name }]) => ['quot', 'amp', 'lt', 'gt', 'nbsp'].includes(name)))

function table(pairs: readonly (readonly [name: string, character: string])[]): Names {
  return new Map(
    pairs.map(([name, character]) => {
      let hash = 0
      for (const letter of name) hash = mixed(hash, letter.charCodeAt(0))
      return [hash, { name, code: character.charCodeAt(0) }]
    }),
  )
}

function mixed(hash: number, letter: number): number {
  return (Math.imul(hash, 31) + letter) & 0x3fff_ffff
}

/** Numeric character references and a few named ones, with or without the closing semicolon as browsers take them. */
export function htmlEntityDecodeFew(text: string): string {
  return decode(text, FEW)
}

/** The same with every named reference that hides a character of code (`SecHtmlEntities All`). */
export function htmlEntityDecode(text: string): string {
  return decode(text, NAMED)
}

const AMPERSAND = 38
const NUMBER_SIGN = 35
const SEMICOLON = 59
const ZEROS_MAX = 64
const HEX_DIGITS_MAX = 6
const DECIMAL_DIGITS_MAX = 7
const NAME_CHARS_MAX = 7
const CODE_POINT_MAX = 0x10ffff

/** What the reference read last stands for, and where it ends: one object, so that a value full of them allocates little. */
const reference = { code: 0, end: 0 }

function decode(text: string, names: Names): string {
  if (!text.includes('&')) return text
  const { length } = text
  const bytes = scratchBytes(length)
  let size = 0
  let isChanged = false
  for (let i = 0; i < length; ) {
    const code = text.charCodeAt(i)
    if (code !== AMPERSAND || !readReference(text, i + 1, names)) {
      bytes[size++] = code
      i += 1
      continue
    }
    isChanged = true
    const { code: point, end } = reference
    if (point < 256) bytes[size++] = point
    else for (const byte of codePointToText(point)) bytes[size++] = byte.charCodeAt(0)
    i = text.charCodeAt(end) === SEMICOLON ? end + 1 : end
  }
  return isChanged ? bytesToText(bytes.subarray(0, size)) : text
}

function readReference(text: string, from: number, names: Names): boolean {
  return text.charCodeAt(from) === NUMBER_SIGN ? readNumber(text, from + 1) : readName(text, from, names)
}

/** Reads a number after `&#`: as many zeros as anybody writes, then its digits. A number beyond Unicode is text. */
function readNumber(text: string, from: number): boolean {
  const isHex = (text.charCodeAt(from) | 32) === 120
  const base = isHex ? 16 : 10
  let at = isHex ? from + 1 : from
  const zerosMax = at + ZEROS_MAX
  while (at < zerosMax && text.charCodeAt(at) === 48) at += 1
  const digitsMax = at + (isHex ? HEX_DIGITS_MAX : DECIMAL_DIGITS_MAX)
  let value = 0
  while (at < digitsMax) {
    const digit = hexValue(text.charCodeAt(at))
    if (digit < 0 || digit >= base) break
    value = value * base + digit
    at += 1
  }
  reference.code = value
  reference.end = at
  return at > (isHex ? from + 1 : from) && value <= CODE_POINT_MAX
}

/** Reads a name after `&`, which values made to cost much hold thousands of: without a string of it. */
function readName(text: string, from: number, names: Names): boolean {
  let at = from
  let hash = 0
  for (; at < from + NAME_CHARS_MAX; at += 1) {
    const lower = text.charCodeAt(at) | 32
    if (lower < 97 || lower > 122) break
    hash = mixed(hash, lower)
  }
  const named = names.get(hash)
  if (named === undefined || named.name.length !== at - from) return false
  for (let i = 0; i < named.name.length; i += 1) {
    if ((text.charCodeAt(from + i) | 32) !== named.name.charCodeAt(i)) return false
  }
  reference.code = named.code
  reference.end = at
  return true
}
