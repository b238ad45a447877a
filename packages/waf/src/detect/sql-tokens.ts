/**
 * SQL as databases read it, as a short string of token kinds. After the idea of libinjection (Galbreath, "libinjection: A C
 * library for SQLi detection and generation through lexical analysis of real world attacks", 2012): an injection is
 * recognised by the shape of its tokens, not by words.
 *
 *     1 number   s string   n name   f function call   E statement word   U union   B clause word   F from/into/…
 *     & logical operator   o other operator   ( ) , ;   c comment   v variable   k other keyword   ? unknown
 */

const WORDS: ReadonlyMap<string, string> = new Map([
  ...[
    'select',
    'insert',
    'update',
    'delete',
    'drop',
    'create',
    'alter',
    'truncate',
    'exec',
    'execute',
    'declare',
    'merge',
    'replace',
    'grant',
    'shutdown',
    'waitfor',
    'handler',
    'call',
    'copy',
  ].map((word) => [word, 'E'] as const),
  ...['union', 'intersect', 'except', 'minus'].map((word) => [word, 'U'] as const),
  ...['from', 'into', 'where', 'table', 'values', 'set', 'outfile', 'dumpfile', 'database', 'delay'].map(
    (word) => [word, 'F'] as const,
  ),
  ...['order', 'group', 'having', 'limit', 'procedure', 'rlike', 'offset'].map((word) => [word, 'B'] as const),
  ...['and', 'or', 'xor', 'div', 'mod'].map((word) => [word, '&'] as const),
  ...['like', 'regexp', 'between', 'in', 'is', 'not', 'glob', 'match', 'ilike', 'similar', 'sounds'].map(
    (word) => [word, 'o'] as const,
  ),
  ...['null', 'true', 'false'].map((word) => [word, '1'] as const),
  ...['all', 'distinct', 'by', 'as', 'case', 'when', 'then', 'else', 'end', 'begin', 'if', 'exists', 'join', 'using', 'on'].map(
    (word) => [word, 'k'] as const,
  ),
])

const FUNCTIONS = new Set(
  'sleep benchmark pg_sleep dbms_pipe extractvalue updatexml load_file ascii char chr concat concat_ws group_concat substring substr mid hex unhex ord length count version user database schema current_user system_user xp_cmdshell xp_dirtree utl_http utl_inaddr convert cast coalesce ifnull nullif iif elt field floor rand exp geometrycollection multipoint polygon name_const row_count randomblob load_extension lo_import pg_read_file string_agg json_extract make_set strcmp if least greatest sqlite_version'.split(
    ' ',
  ),
)

/** Tokens beyond this are not looked at: an injection shows itself at once. */
const TOKENS_MAX = 48

export interface SqlTokens {
  /** One character a token. */
  readonly kinds: string
  /** Lower-case text of each token, at most 32 characters. */
  readonly texts: readonly string[]
}

/** @param quote The text begins inside a string of this quote; '' when it does not. */
export function tokenizeSql(text: string, quote: '' | "'" | '"'): SqlTokens {
  let kinds = ''
  const texts: string[] = []
  let at = 0
  const push = (kind: string, from: number, to: number): void => {
    kinds += kind
    texts.push(text.slice(from, Math.min(to, from + 32)).toLowerCase())
  }
  if (quote !== '') {
    at = endOfString(text, 0, quote)
    push('s', 0, at)
  }
  while (at < text.length && kinds.length < TOKENS_MAX) {
    const character = text[at] as string
    const code = text.charCodeAt(at)
    if (code <= 0x20 || code === 0xa0) {
      at += 1
      continue
    }
    const from = at
    if (text.startsWith('/*', at)) {
      // MySQL runs what stands in /*! … */.
      const version = /^\/\*!\d{0,6}/.exec(text.slice(at, at + 9))
      if (version !== null) at += version[0].length
      else {
        const close = text.indexOf('*/', at + 2)
        at = close === -1 ? text.length : close + 2
        if (close === -1) push('c', from, at)
      }
    } else if (text.startsWith('*/', at)) at += 2
    else if (text.startsWith('--', at) || character === '#') {
      at = endOfLine(text, at)
      push('c', from, at)
    } else if (character === "'" || character === '"' || character === '`') {
      at = endOfString(text, at + 1, character)
      push(character === '`' ? 'n' : 's', from, at)
    } else if ((code >= 0x30 && code <= 0x39) || (character === '.' && /[0-9]/.test(text[at + 1] ?? ''))) {
      at = endOf(text, at, isNumberPart)
      push('1', from, at)
    } else if (isNameStart(code)) {
      at = endOf(text, at, isNamePart)
      const word = text.slice(from, at).toLowerCase()
      const called = nextCode(text, at) === 0x28
      const known = WORDS.get(word)
      if (called && FUNCTIONS.has(word)) push('f', from, at)
      else push(known ?? 'n', from, at)
    } else if (character === '@') {
      at = endOf(text, at + 1, (c) => c === 0x40 || isNamePart(c))
      push('v', from, at)
    } else if ('(),;'.includes(character)) {
      at += 1
      push(character, from, at)
    } else if (text.startsWith('||', at) || text.startsWith('&&', at)) {
      at += 2
      push('&', from, at)
    } else if ('=<>!+-*/%^|&~:'.includes(character)) {
      // A comment that begins here is not part of the operator: 1=1--
      do at += 1
      while (at < text.length && '=<>!'.includes(text[at] as string))
      push('o', from, at)
    } else {
      at += 1
      push('?', from, at)
    }
  }
  return { kinds, texts }
}

/** After the closing quote; doubled quotes and backslashes escape. The end, when it is not closed. */
function endOfString(text: string, at: number, quote: string): number {
  for (let i = at; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1
    else if (text[i] === quote) {
      if (text[i + 1] !== quote || i === at) return i + 1
      i += 1
    }
  }
  return text.length
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  return end === -1 ? text.length : end
}

function endOf(text: string, at: number, belongs: (code: number) => boolean): number {
  let end = at + 1
  while (end < text.length && belongs(text.charCodeAt(end))) end += 1
  return end
}

function nextCode(text: string, at: number): number {
  let next = at
  while (next < text.length && text.charCodeAt(next) <= 0x20) next += 1
  return text.charCodeAt(next)
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39
const isLetter = (code: number): boolean => (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a)
const isNameStart = (code: number): boolean => isLetter(code) || code === 0x5f || code === 0x24 || code > 0xa0
const isNamePart = (code: number): boolean => isNameStart(code) || isDigit(code) || code === 0x2e
const isNumberPart = (code: number): boolean =>
  isDigit(code) ||
  code === 0x2e ||
  code === 0x78 ||
  code === 0x58 ||
  (code >= 0x61 && code <= 0x66) ||
  (code >= 0x41 && code <= 0x46)
