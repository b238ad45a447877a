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
import { DANGEROUS, FUNCTIONS, PACKAGES, STATEMENT_OBJECTS, WORDS } from './words.ts'

/** The most that is kept before it is looked at how it ends. */
const KINDS_MAX = SQL_TOKENS_MAX + 1

export function sqlTokens(text: string, start: number): string {
  return new Tokenizer(text, start).read()
}

/** Of the text that is read: nothing reads two at a time. */
const KINDS = new Uint8Array(KINDS_MAX)

/** Longer words are none that matter. */
const VOCABULARY_CHARS_MAX = 40
const QUOTE = 39
const AMPERSAND = 38

/** Each is looked for up to the end of the text. */
const UNCLOSED_TAGS_MAX = 32

/** Kinds by their character codes. */
const N = 110
const S = 115
const V = 118
const W = 119
const A = 97
const K = 107
const X = 120
const L = 108
const O = 111
const P = 112
const F = 70
const U_NION = 85
const A_LL = 65
const COMMA = 44
const SEMICOLON = 59
const OPEN = 40
const CLOSE = 41
const DOT = 46

class Tokenizer {
  readonly #text: string
  readonly #kinds = KINDS
  #count = 0
  #at: number
  #unclosedTags = 0

  constructor(text: string, start: number) {
    this.#text = text
    this.#at = start
  }

  read(): string {
    const text = this.#text
    const { length } = text
    while (this.#at < length && this.#count < SQL_TOKENS_MAX) {
      const code = text.charCodeAt(this.#at)
      if (code <= 32 || code === 0xa0) {
        this.#at += 1
        continue
      }
      if (isDigit(code) || (code === DOT && isDigit(text.charCodeAt(this.#at + 1)) && this.#last() !== W)) {
        this.#at = numberEnd(text, this.#at)
        this.#add(N)
      } else if (isWordStart(code)) this.#word()
      else if (code === 39 || code === 34) {
        const end = stringEnd(text, this.#at + 1, code)
        this.#add(end < 0 ? openString(text.slice(this.#at + 1)) : S)
        this.#at = end < 0 ? length : end + 1
      } else if (code === 96) {
        const end = text.indexOf('`', this.#at + 1)
        this.#add(W)
        this.#at = end < 0 ? length : end + 1
      } else this.#mark(code)
    }
    return String.fromCharCode.apply(null, this.#kinds.subarray(0, this.#count) as unknown as number[])
  }

  #last(): number {
    return this.#count === 0 ? 0 : this.#kinds[this.#count - 1]!
  }

  #back(places: number): number {
    return this.#count < places ? 0 : this.#kinds[this.#count - places]!
  }

  /** Chains of operands, of signs, of strings and of plain words say no more when they are longer; padding ends here. */
  #add(kind: number): void {
    const before = this.#last()
    if (kind === N || kind === S || kind === V) {
      // An operand, arithmetic or a comma, an operand: as the first alone, but for two in a list.
      if (before === A && isOperand(this.#back(2))) {
        this.#count -= 1
        return
      }
      if (before === COMMA && isOperand(this.#back(2)) && this.#back(3) === COMMA && isOperand(this.#back(4))) {
        this.#count -= 1
        return
      }
      if (kind === S && before === S) return
    } else if (kind === before) {
      if (kind === A || kind === K || kind === SEMICOLON || kind === X) return
      if ((kind === OPEN || kind === CLOSE) && this.#back(2) === kind) return
      if (kind === W && this.#back(2) === W && this.#back(3) === W) return
    }
    this.#kinds[this.#count++] = kind
  }

  #word(): void {
    const text = this.#text
    const from = this.#at
    const end = wordEnd(text, from)
    this.#at = end
    if (end - from > VOCABULARY_CHARS_MAX) {
      this.#add(W)
      return
    }
    const next = text.charCodeAt(end)
    if (next !== QUOTE && next !== AMPERSAND && VOCABULARY[vocabularyIndex(text, from, end)] === 0) {
      this.#add(nextMark(text, end) === '(' ? OTHER_FUNCTION : W)
      return
    }
    const word = text.slice(from, end).toLowerCase()
    // N'x', X'41', _utf8'x' and the like are strings with a prefix.
    const opens = next === QUOTE ? end : word === 'u' && text.startsWith("&'", end) ? end + 1 : -1
    if (opens >= 0 && (STRING_PREFIXES.has(word) || word.startsWith('_'))) {
      const close = stringEnd(text, opens + 1, 39)
      this.#at = close < 0 ? text.length : close + 1
      this.#add(close < 0 ? UNCLOSED : S)
      return
    }
    this.#add(this.#wordKind(word, end))
  }

  #wordKind(word: string, end: number): number {
    const text = this.#text
    const last = this.#last()
    const called = nextMark(text, end) === '('
    if ((word === 'values' || word === 'table') && (last === U_NION || (last === A_LL && this.#back(2) === U_NION))) return F
    if (NILADIC.has(word) && !called) return FUNCTION
    if (BEGINNINGS.has(word) && nextMark(text, end) === ';') return X
    if (called && DANGEROUS.has(word) && (last !== DOT || word === 'receive_message' || word === 'get_host_address')) return F
    if (text.charCodeAt(end) === DOT && PACKAGES.has(word)) return F
    if (last === DOT) return called ? OTHER_FUNCTION : W
    const known = WORDS.get(word)
    if (known !== undefined) return known.length === 1 ? known.charCodeAt(0) : this.#phrase(word, end)
    if (called && (word === 'exec' || word === 'execute') && last === SEMICOLON) return STATEMENT
    if (called && word === 'copy' && /^[^;]{1,80}\)\s{0,4}to\s{1,4}program\b/i.test(text.slice(end, end + 120))) return STATEMENT
    if (called) return FUNCTIONS.has(word) ? FUNCTION : OTHER_FUNCTION
    const objects = STATEMENT_OBJECTS.get(word)
    return objects?.test(text.slice(end, end + 80)) === true ? STATEMENT : W
  }

  /** Words that mean something only together with the next one. */
  #phrase(word: string, end: number): number {
    const next = /^[\s(]{1,10}([A-Za-z]{1,12})/.exec(this.#text.slice(end, end + 24))
    if (next === null) return W
    const second = next[1]!.toLowerCase()
    const kind = PHRASES.get(`${word} ${second}`)
    if (kind === undefined) return W
    this.#at = end + next[0].length
    return kind
  }

  #mark(code: number): void {
    const text = this.#text
    const at = this.#at
    const next = text.charCodeAt(at + 1)
    this.#at = at + 1
    switch (code) {
      case 35: // #
        this.#lineComment(at, at + 1)
        return
      case 45: // -
        if (next === 45) this.#lineComment(at, at + 2)
        else this.#add(A)
        return
      case 47: // /
        if (next === 42) this.#blockComment(at)
        else this.#add(A)
        return
      case 42: // *
        if (next === 47) this.#at = at + 2
        else this.#add(A)
        return
      case 124: // |
        this.#double(next === code, P, A)
        return
      case 38: // &
        this.#double(next === code, L, A)
        return
      case 60: // <
        if (next === 61 && text.charCodeAt(at + 2) === 62) this.#at = at + 3
        else if (next === 61 || next === 62) this.#at = at + 2
        this.#add(O)
        return
      case 62: // >
        this.#double(next === 61, O, O)
        return
      case 61: // =
        this.#double(next === 126, O, O)
        return
      case 33: // !
        this.#double(next === 61 || next === 126, O, K)
        return
      case 58: // :
        if (next === 61) this.#double(true, O, X)
        else this.#double(next === 58, A, X)
        return
      case 64: {
        let end = at
        while (text.charCodeAt(end) === 64) end += 1
        const variable = end - at <= 2 && isWordStart(text.charCodeAt(end))
        this.#at = variable ? wordEnd(text, end) : end
        this.#add(variable ? V : X)
        return
      }
      case 92: // \N
        this.#double(next === 78, N, X)
        return
      case 36: {
        const end = this.#unclosedTags < UNCLOSED_TAGS_MAX ? dollarQuoted(text, at) : -(at + 1)
        // `$select` of other query languages is no keyword.
        if (end === -(at + 1) && isWordStart(text.charCodeAt(at + 1))) {
          this.#at = wordEnd(text, at + 1)
          this.#add(W)
          return
        }
        if (end < -(at + 1)) this.#unclosedTags += 1
        this.#at = Math.abs(end)
        this.#add(end < 0 ? X : S)
        return
      }
      case 43:
      case 37:
      case 94:
      case 126:
        this.#add(A)
        return
      case OPEN:
      case CLOSE:
      case COMMA:
      case SEMICOLON:
      case DOT:
        this.#add(code)
        return
      default:
        this.#add(X)
    }
  }

  /** One kind for two signs, another for the first alone. */
  #double(both: boolean, two: number, one: number): void {
    if (both) this.#at += 1
    this.#add(both ? two : one)
  }

  #lineComment(at: number, from: number): void {
    const text = this.#text
    const newline = text.indexOf('\n', from)
    if (newline >= 0 && newline + 1 < text.length) {
      this.#at = newline + 1
      return
    }
    const rest = text.slice(from)
    // A hash right before text is more often a tag or a number than a comment.
    const short =
      text[at] === '#' ? /^\s{0,40}$/.test(rest) : rest.length <= 16 && /^[\s+-]{0,10}[A-Za-z0-9]{0,8}[\s'")-]{0,4}$/.test(rest)
    this.#at = text.length
    this.#add(short ? COMMENT : REMARK)
  }

  #blockComment(at: number): void {
    const text = this.#text
    // MySQL runs what stands in /*! ... */
    if (text.charCodeAt(at + 2) === 33) {
      let from = at + 3
      while (from < at + 9 && isDigit(text.charCodeAt(from))) from += 1
      this.#at = from
      return
    }
    const end = text.indexOf('*/', at + 2)
    this.#at = end < 0 ? text.length : end + 2
    if (end < 0) this.#add(text.length - at <= 8 ? COMMENT : REMARK)
  }
}

const UNCLOSED = 117
const FUNCTION = 102
const OTHER_FUNCTION = 103
const STATEMENT = 68
const COMMENT = 67
const REMARK = 82

/** Kinds of two words together. */
const PHRASES: ReadonlyMap<string, number> = new Map([
  ['order by', 66],
  ['group by', 66],
  ['waitfor delay', 87],
  ['waitfor time', 87],
  ['into outfile', F],
  ['into dumpfile', F],
  ['procedure analyse', F],
])

function isOperand(kind: number): boolean {
  return kind === N || kind === S || kind === V
}

function openString(inside: string): number {
  if (/^[0-9]{1,20}$/.test(inside)) return 100
  return /^[\w%.*+^$[\]=-]{0,20}$/.test(inside) ? 101 : UNCLOSED
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

/**
 * Not 0 where a word of the vocabulary may be, by its length, its first and its last letter: most words of a text are none, and
 * are told so without a look at the letters between.
 */
const VOCABULARY = new Uint8Array((VOCABULARY_CHARS_MAX + 1) << 10)
for (const words of [WORDS, STATEMENT_OBJECTS, DANGEROUS, PACKAGES, FUNCTIONS, NILADIC, BEGINNINGS])
  for (const word of words.keys()) VOCABULARY[vocabularyIndex(word, 0, word.length)] = 1
for (const word of ['values', 'table', 'exec', 'execute', 'copy', 'receive_message', 'get_host_address'])
  VOCABULARY[vocabularyIndex(word, 0, word.length)] = 1

/** The lower five bits of a letter are the same in both cases. */
function vocabularyIndex(text: string, from: number, end: number): number {
  return ((end - from) << 10) | ((text.charCodeAt(from) & 31) << 5) | (text.charCodeAt(end - 1) & 31)
}

function nextMark(text: string, from: number): string {
  let at = from
  while (at < text.length && at < from + 8 && text.charCodeAt(at) <= 32) at += 1
  if (text.startsWith('/**/', at)) at += 4
  return text[at] ?? ''
}

/** PostgreSQL's `$tag$ ... $tag$`: where it ends; less than 0, where its sign ends, when it is none. */
function dollarQuoted(text: string, at: number): number {
  let close = at + 1
  while (close <= at + 16 && isTagPart(text.charCodeAt(close))) close += 1
  if (text.charCodeAt(close) !== 36) return -(at + 1)
  const tag = text.slice(at, close + 1)
  const end = text.indexOf(tag, close + 1)
  return end < 0 ? -(close + 1) : end + tag.length
}

function isTagPart(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95
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
