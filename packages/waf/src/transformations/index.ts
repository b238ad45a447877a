/** All transformations, by the name they have after `t:`. */
import { base64Decode, cssDecode, hexDecode, htmlEntityDecode, jsDecode, urlDecode, urlDecodeUni } from './decode.ts'
import { normalizePath, normalizePathWin } from './path.ts'
import {
  cmdLine,
  compressWhitespace,
  length,
  lowercase,
  removeNulls,
  removeWhitespace,
  replaceComments,
  replaceNulls,
  trim,
  uppercase,
} from './text.ts'

export type Transformation = (value: string) => string

export const TRANSFORMATIONS: ReadonlyMap<string, Transformation> = new Map<string, Transformation>([
  ['base64Decode', base64Decode],
  ['cmdLine', cmdLine],
  ['compressWhitespace', compressWhitespace],
  ['cssDecode', cssDecode],
  ['hexDecode', hexDecode],
  ['htmlEntityDecode', htmlEntityDecode],
  ['jsDecode', jsDecode],
  ['length', length],
  ['lowercase', lowercase],
  ['normalizePath', normalizePath],
  ['normalisePath', normalizePath],
  ['normalizePathWin', normalizePathWin],
  ['removeNulls', removeNulls],
  ['removeWhitespace', removeWhitespace],
  ['replaceComments', replaceComments],
  ['replaceNulls', replaceNulls],
  ['trim', trim],
  ['uppercase', uppercase],
  ['urlDecode', urlDecode],
  ['urlDecodeUni', urlDecodeUni],
])
