import { bytesToText, scratchBytes } from '../bytes.ts'
import { base64Decode, base64DecodeExt, base64Encode, jwtDecode } from './base64-decode.ts'
import { compressWhitespace, removeNulls, removeWhitespace, replaceNulls, trim, trimLeft, trimRight } from './blanks.ts'
import { cmdLine } from './cmd-line.ts'
import { removeComments, removeCommentsChar, replaceComments } from './comments.ts'
import { md5, sha1 } from './digests.ts'
import { cssDecode, escapeSeqDecode, hexDecode, hexEncode, jsDecode, sqlHexDecode } from './escapes.ts'
import { htmlEntityDecodeFew } from './html-entity-decode.ts'
import { normalizePath, normalizePathWin } from './normalize-path.ts'
import { parityEven7bit, parityOdd7bit, parityZero7bit } from './parity.ts'
import { urlDecode, urlDecodeUni, urlEncode } from './url-decode.ts'
import { utf8toUnicode } from './utf8-to-unicode.ts'

/** Text of bytes in, text of bytes out; pure, linear in the text. One that changes nothing returns its argument. */
export type Transformation = (text: string) => string

// ASCII only: a byte above 127 is part of some encoding, not a letter.
const lowercase: Transformation = (text) => {
  if (!/[A-Z]/.test(text)) return text
  return /[\x80-\xff]/.test(text) ? withAsciiCase(text, 65, 90) : text.toLowerCase()
}
const uppercase: Transformation = (text) => {
  if (!/[a-z]/.test(text)) return text
  return /[\x80-\xff]/.test(text) ? withAsciiCase(text, 97, 122) : text.toUpperCase()
}

/** Literals occur after these where they did before: automata ignore the case of A-Z. */
export const CASE_ONLY: ReadonlySet<Transformation> = new Set([lowercase, uppercase])

/** Letters of a range get their other case. */
function withAsciiCase(text: string, low: number, high: number): string {
  const { length } = text
  const bytes = scratchBytes(length)
  for (let i = 0; i < length; i += 1) {
    const code = text.charCodeAt(i)
    bytes[i] = code >= low && code <= high ? code ^ 32 : code
  }
  return bytesToText(bytes.subarray(0, length))
}

const length: Transformation = (text) => String(text.length)

/** By SecLang name in lower case. */
export const TRANSFORMATIONS: ReadonlyMap<string, Transformation> = new Map([
  ['base64decode', base64Decode],
  ['base64decodeext', base64DecodeExt],
  ['base64encode', base64Encode],
  ['cmdline', cmdLine],
  ['compresswhitespace', compressWhitespace],
  ['cssdecode', cssDecode],
  ['escapeseqdecode', escapeSeqDecode],
  ['hexdecode', hexDecode],
  ['hexencode', hexEncode],
  ['htmlentitydecode', htmlEntityDecodeFew],
  ['jsdecode', jsDecode],
  ['jwtdecode', jwtDecode],
  ['length', length],
  ['lowercase', lowercase],
  ['md5', md5],
  ['normalisepath', normalizePath],
  ['normalisepathwin', normalizePathWin],
  ['normalizepath', normalizePath],
  ['normalizepathwin', normalizePathWin],
  ['parityeven7bit', parityEven7bit],
  ['parityodd7bit', parityOdd7bit],
  ['parityzero7bit', parityZero7bit],
  ['removecomments', removeComments],
  ['removecommentschar', removeCommentsChar],
  ['removenulls', removeNulls],
  ['removewhitespace', removeWhitespace],
  ['replacecomments', replaceComments],
  ['replacenulls', replaceNulls],
  ['sha1', sha1],
  ['sqlhexdecode', sqlHexDecode],
  ['trim', trim],
  ['trimleft', trimLeft],
  ['trimright', trimRight],
  ['uppercase', uppercase],
  ['urldecode', urlDecode],
  ['urldecodeuni', urlDecodeUni],
  ['urlencode', urlEncode],
  ['utf8tounicode', utf8toUnicode],
])

/** What leaves little as it was. The others take out or decode what most values have none of. */
export const REWRITING: ReadonlySet<Transformation> = new Set([
  ...CASE_ONLY,
  base64Decode,
  base64DecodeExt,
  base64Encode,
  cmdLine,
  hexDecode,
  hexEncode,
  jwtDecode,
  length,
  md5,
  parityEven7bit,
  parityOdd7bit,
  removeWhitespace,
  sha1,
  urlEncode,
])
