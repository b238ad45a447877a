/**
 * Takes a value apart into SQL tokens, the way a statement's tokenizer would if the value stood in it. Each token is one letter, so
 * that shapes can be written as patterns over words of letters. The idea (tokenise in several contexts, fold, compare) is
 * libinjection's, as Nick Galbreath published it; tokens, folding and shapes are our own.
 *
 *   n number, NULL, TRUE   s string        u string without its end (e: plain word or empty inside, d: digits inside)
 *   w word                 f SQL function  F function that only attackers call      g other function   v @variable
 *   l AND OR XOR           p ||            k NOT        o comparison                a arithmetic
 *   U UNION and the like   A ALL DISTINCT  E SELECT     D another statement         M FROM
 *   B ORDER BY, GROUP BY   H HAVING        L LIMIT      W WAITFOR DELAY             c CASE
 *   C comment up to the end of the value, with next to nothing in it                R the same with text in it
 *   ( ) , ; .  themselves  x anything else
 */
import { SQL_TOKENS_MAX } from '../limits.ts'
import { DANGEROUS, FUNCTIONS, STATEMENT_OBJECTS, WORDS } from './words.ts'

export function sqlTokens(text: string, start: number): string {
  let kinds = ''
  let at = start
  while (at < text.length && kinds.length < SQL_TOKENS_MAX) {
    const code = text.charCodeAt(at)
    if (code <= 32 || code === 0xa0) {
      at += 1
      continue
    }
    if (isDigit(code) || (code === 46 && isDigit(text.charCodeAt(at + 1)) && !kinds.endsWith('w'))) {
      at = numberEnd(text, at)
      kinds += 'n'
    } else if (isWordStart(code)) {
      const end = wordEnd(text, at)
      const [kind, next] = wordKind(text, at, end, kinds)
      kinds += kind
      at = next
    } else if (code === 39 || code === 34) {
      const end = stringEnd(text, at + 1, code)
      kinds += end < 0 ? openString(text.slice(at + 1)) : 's'
      at = end < 0 ? text.length : end + 1
    } else if (code === 96) {
      const end = text.indexOf('`', at + 1)
      kinds += 'w'
      at = end < 0 ? text.length : end + 1
    } else {
      const [kind, next] = mark(text, at, code)
      kinds += kind
      at = next
    }
    kinds = collapse(kinds)
  }
  return kinds
}

/** Chains of operands, of signs, of strings and of plain words say no more when they are longer; padding ends here. */
function collapse(kinds: string): string {
  const last = kinds.length - 1
  const kind = kinds[last]
  const before = kinds[last - 1]
  if (kind === 'n' || kind === 's' || kind === 'v') {
    // An operand, arithmetic or a comma, an operand: as the first alone, but for two in a list.
    if (before === 'a' && isOperand(kinds[last - 2])) return kinds.slice(0, last - 1)
    if (before === ',' && isOperand(kinds[last - 2]) && kinds[last - 3] === ',' && isOperand(kinds[last - 4]))
      return kinds.slice(0, last - 1)
    if (kind === 's' && before === 's') return kinds.slice(0, last)
  }
  if ((kind === 'a' || kind === 'k' || kind === ';' || kind === 'x') && before === kind) return kinds.slice(0, last)
  if ((kind === '(' || kind === ')') && before === kind && kinds[last - 2] === kind) return kinds.slice(0, last)
  if (kind === 'w' && before === 'w' && kinds[last - 2] === 'w' && kinds[last - 3] === 'w') return kinds.slice(0, last)
  return kinds
}

function isOperand(kind: string | undefined): boolean {
  return kind === 'n' || kind === 's' || kind === 'v'
}

function openString(inside: string): string {
  if (/^[0-9]{1,20}$/.test(inside)) return 'd'
  return /^[\w%.*+^$[\]=-]{0,20}$/.test(inside) ? 'e' : 'u'
}

/** Index of the closing quote; a doubled quote and a backslash do not close. -1 when there is none. */
function stringEnd(text: string, from: number, quote: number): number {
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 92) at += 1
    else if (code === quote) {
      if (text.charCodeAt(at + 1) !== quote) return at
      at += 1
    }
  }
  return -1
}

function numberEnd(text: string, from: number): number {
  let at = from
  if (text.charCodeAt(at) === 48 && (text.charCodeAt(at + 1) | 32) === 120) {
    at += 2
    while (isWordPart(text.charCodeAt(at))) at += 1
    return at
  }
  if (text.charCodeAt(at) === 48 && (text.charCodeAt(at + 1) | 32) === 98 && /[01]/.test(text[at + 2] ?? '')) {
    at += 2
    while (isDigit(text.charCodeAt(at))) at += 1
    return at
  }
  while (isDigit(text.charCodeAt(at)) || text.charCodeAt(at) === 46) at += 1
  if ((text.charCodeAt(at) | 32) === 101 && /^[+-]?\d/.test(text.slice(at + 1, at + 3))) {
    at += 2
    while (isDigit(text.charCodeAt(at))) at += 1
  }
  return at
}

function wordKind(text: string, from: number, end: number, before: string): readonly [kind: string, next: number] {
  if (end - from > 40) return ['w', end]
  const word = text.slice(from, end).toLowerCase()
  // N'x', X'41', _utf8'x' and the like are strings with a prefix.
  const opens = text[end] === "'" ? end : word === 'u' && text.startsWith("&'", end) ? end + 1 : -1
  if (opens >= 0 && (STRING_PREFIXES.has(word) || word.startsWith('_'))) {
    const close = stringEnd(text, opens + 1, 39)
    return close < 0 ? ['u', text.length] : ['s', close + 1]
  }
  const called = nextMark(text, end) === '('
  if ((word === 'values' || word === 'table') && /UA?$/.test(before)) return ['F', end]
  if (NILADIC.has(word) && !called) return ['f', end]
  if (BEGINNINGS.has(word) && nextMark(text, end) === ';') return ['x', end]
  if (called && DANGEROUS.has(word) && (!before.endsWith('.') || word === 'receive_message' || word === 'get_host_address'))
    return ['F', end]
  if (before.endsWith('.')) return [called ? 'g' : 'w', end]
  const known = WORDS.get(word)
  if (known !== undefined) return known.length === 1 ? [known, end] : phrase(text, word, end)
  if (called && (word === 'exec' || word === 'execute') && before.endsWith(';')) return ['D', end]
  if (called) return [FUNCTIONS.has(word) ? 'f' : 'g', end]
  const objects = STATEMENT_OBJECTS.get(word)
  if (objects !== undefined) return [objects.test(text.slice(end, end + 80)) ? 'D' : 'w', end]
  return ['w', end]
}

const STRING_PREFIXES: ReadonlySet<string> = new Set(['n', 'x', 'b', 'e', 'q', 'nq', 'u'])
/** Functions that are called without parentheses. */
const NILADIC: ReadonlySet<string> = new Set([
  'current_user',
  'session_user',
  'system_user',
  'sysdate',
  'current_timestamp',
  'localtimestamp',
  'current_database',
])
/** Beginnings of scripts, not operands that an injection completes. */
const BEGINNINGS: ReadonlySet<string> = new Set(['begin', 'commit', 'rollback', 'go', 'end', 'use'])

/** Words that mean something only together with the next one. */
function phrase(text: string, word: string, end: number): readonly [kind: string, next: number] {
  const next = /^[\s(]{1,10}([A-Za-z]{1,12})/.exec(text.slice(end, end + 24))
  const second = next?.[1]?.toLowerCase()
  const after = next === null ? end : end + next[0].length
  if (word === 'order' || word === 'group') return second === 'by' ? ['B', after] : ['w', end]
  if (word === 'waitfor') return second === 'delay' || second === 'time' ? ['W', after] : ['w', end]
  if (word === 'into') return second === 'outfile' || second === 'dumpfile' ? ['F', after] : ['w', end]
  if (word === 'procedure') return second === 'analyse' ? ['F', after] : ['w', end]
  return ['w', end]
}

function nextMark(text: string, from: number): string {
  let at = from
  while (at < text.length && at < from + 8 && text.charCodeAt(at) <= 32) at += 1
  if (text.startsWith('/**/', at)) at += 4
  return text[at] ?? ''
}

function mark(text: string, at: number, code: number): readonly [kind: string, next: number] {
  const two = text.slice(at, at + 2)
  if (two === '--' || code === 35) return lineComment(text, at, two === '--' ? at + 2 : at + 1)
  if (two === '/*') return blockComment(text, at)
  if (two === '*/') return ['', at + 2]
  if (two === '||') return ['p', at + 2]
  if (two === '&&') return ['l', at + 2]
  if (two === '<=' || two === '>=' || two === '<>' || two === '!=' || two === ':=' || two === '=~' || two === '!~') {
    return ['o', at + (two === '<=' && text[at + 2] === '>' ? 3 : 2)]
  }
  if (two === '::') return ['a', at + 2]
  if (code === 64) {
    let end = at
    while (text.charCodeAt(end) === 64) end += 1
    return isWordStart(text.charCodeAt(end)) && end - at <= 2 ? ['v', wordEnd(text, end)] : ['x', end]
  }
  if (code === 61 || code === 60 || code === 62) return ['o', at + 1]
  if (code === 33) return ['k', at + 1]
  if (code === 92 && text[at + 1] === 'N') return ['n', at + 2]
  if (code === 36) return dollarQuoted(text, at)
  if ('+-*/%^|&~'.includes(text[at]!)) return ['a', at + 1]
  if ('(),;.'.includes(text[at]!)) return [text[at]!, at + 1]
  return ['x', at + 1]
}

/** PostgreSQL's `$tag$ ... $tag$`. */
function dollarQuoted(text: string, at: number): readonly [kind: string, next: number] {
  const tag = /^\$[A-Za-z_]{0,16}\$/.exec(text.slice(at, at + 20))?.[0]
  if (tag === undefined) return ['x', at + 1]
  const end = text.indexOf(tag, at + tag.length)
  return end < 0 ? ['x', at + tag.length] : ['s', end + tag.length]
}

function lineComment(text: string, at: number, from: number): readonly [kind: string, next: number] {
  const newline = text.indexOf('\n', from)
  if (newline >= 0 && newline + 1 < text.length) return ['', newline + 1]
  const rest = text.slice(from)
  // A hash right before text is more often a tag or a number than a comment.
  const short =
    text[at] === '#' ? /^\s{0,40}$/.test(rest) : rest.length <= 16 && /^[\s+-]{0,10}[A-Za-z0-9]{0,8}[\s'")-]{0,4}$/.test(rest)
  return [short ? 'C' : 'R', text.length]
}

function blockComment(text: string, at: number): readonly [kind: string, next: number] {
  // MySQL runs what stands in /*! ... */
  const executed = /^\/\*!\d{0,6}/.exec(text.slice(at, at + 10))
  if (executed !== null) return ['', at + executed[0].length]
  const end = text.indexOf('*/', at + 2)
  return end < 0 ? [text.length - at <= 8 ? 'C' : 'R', text.length] : ['', end + 2]
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}

function isWordStart(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95 || code > 0xa0
}

function isWordPart(code: number): boolean {
  return isWordStart(code) || isDigit(code) || code === 36
}

function wordEnd(text: string, from: number): number {
  let at = from
  while (isWordPart(text.charCodeAt(at))) at += 1
  return at
}
