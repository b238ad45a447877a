/**
 * The tree of a pattern. Patterns are PCRE as SecLang uses it, over bytes: every character of a subject is 0 to 255.
 * `.` matches newlines (SecLang compiles with DOTALL), `$` matches at the end only, `\s` is ASCII.
 */
export type Pattern =
  | { readonly kind: 'set'; readonly set: Uint8Array }
  | { readonly kind: 'seq'; readonly items: readonly Pattern[] }
  | { readonly kind: 'alt'; readonly items: readonly Pattern[] }
  | { readonly kind: 'repeat'; readonly item: Pattern; readonly min: number; readonly max: number; readonly lazy: boolean }
  | { readonly kind: 'group'; readonly item: Pattern; readonly capture: boolean }
  | { readonly kind: 'look'; readonly item: Pattern; readonly behind: boolean; readonly negated: boolean }
  | { readonly kind: 'assert'; readonly what: 'start' | 'end' | 'word' | 'notWord' }
  | { readonly kind: 'backref'; readonly index: number }

export class PatternSyntaxError extends Error {
  override readonly name = 'PatternSyntaxError'
  readonly offset: number
  constructor(offset: number, message: string) {
    super(message)
    this.offset = offset
  }
}

const setOf = (test: (code: number) => boolean): Uint8Array => Uint8Array.from({ length: 256 }, (_, code) => (test(code) ? 1 : 0))
const isDigit = (c: number): boolean => c >= 48 && c <= 57
const isLower = (c: number): boolean => c >= 97 && c <= 122
const isUpper = (c: number): boolean => c >= 65 && c <= 90
const isWord = (c: number): boolean => isDigit(c) || isLower(c) || isUpper(c) || c === 95
const isSpace = (c: number): boolean => c === 32 || (c >= 9 && c <= 13)
const isHex = (c: number): boolean => isDigit(c) || (c >= 97 && c <= 102) || (c >= 65 && c <= 70)

const CLASS_ESCAPES: ReadonlyMap<string, Uint8Array> = new Map([
  ['d', setOf(isDigit)],
  ['D', setOf((c) => !isDigit(c))],
  ['w', setOf(isWord)],
  ['W', setOf((c) => !isWord(c))],
  ['s', setOf(isSpace)],
  ['S', setOf((c) => !isSpace(c))],
  ['h', setOf((c) => c === 9 || c === 32 || c === 0xa0)],
  ['v', setOf((c) => (c >= 10 && c <= 13) || c === 0x85)],
])
const POSIX: ReadonlyMap<string, (code: number) => boolean> = new Map([
  ['alpha', (c) => isLower(c) || isUpper(c)],
  ['digit', isDigit],
  ['alnum', (c) => isDigit(c) || isLower(c) || isUpper(c)],
  ['space', isSpace],
  ['upper', isUpper],
  ['lower', isLower],
  ['xdigit', isHex],
  ['punct', (c) => c > 32 && c < 127 && !isDigit(c) && !isLower(c) && !isUpper(c)],
  ['cntrl', (c) => c < 32 || c === 127],
  ['print', (c) => c >= 32 && c < 127],
  ['graph', (c) => c > 32 && c < 127],
  ['blank', (c) => c === 32 || c === 9],
  ['word', isWord],
])
const CONTROL_ESCAPES: ReadonlyMap<string, number> = new Map([
  ['n', 10],
  ['r', 13],
  ['t', 9],
  ['f', 12],
  ['a', 7],
  ['e', 27],
])
/** Patterns of one character, by its code: all patterns share them. */
const CASED: (Pattern | undefined)[] = new Array<Pattern | undefined>(256).fill(undefined)
const CASELESS: (Pattern | undefined)[] = new Array<Pattern | undefined>(256).fill(undefined)
const DEPTH_MAX = 50
const REPEAT_MAX = 1_000

/** Parses a pattern. @throws {PatternSyntaxError} With the offset, for what is malformed or not supported. */
export function parsePattern(source: string, caseless = false): Pattern {
  let at = 0
  let ignoreCase = caseless
  let depth = 0
  const fail = (message: string): never => {
    throw new PatternSyntaxError(at, message)
  }

  const single = (code: number): Pattern => {
    if (code > 255) fail('a character beyond one byte; write its UTF-8 bytes as \\xHH')
    const known = (ignoreCase ? CASELESS : CASED)[code]
    if (known !== undefined) return known
    const set = new Uint8Array(256)
    set[code] = 1
    return ((ignoreCase ? CASELESS : CASED)[code] = { kind: 'set', set: cased(set) })
  }

  function cased(set: Uint8Array): Uint8Array {
    if (!ignoreCase) return set
    const both = set.slice()
    for (let c = 97; c <= 122; c += 1) if (set[c] === 1 || set[c - 32] === 1) both[c] = both[c - 32] = 1
    return both
  }

  function hexEscape(): number {
    if (source[at] === '{') {
      const end = source.indexOf('}', at)
      const digits = source.slice(at + 1, end)
      if (end < 0 || !/^[0-9a-fA-F]{1,4}$/.test(digits)) return fail('a malformed \\x{...} escape')
      at = end + 1
      return Number.parseInt(digits, 16)
    }
    let digits = ''
    while (digits.length < 2 && isHex(source.charCodeAt(at))) digits += source[at++]
    return digits === '' ? 0 : Number.parseInt(digits, 16)
  }

  function alternation(): Pattern {
    if (++depth > DEPTH_MAX) fail(`groups nested deeper than ${DEPTH_MAX}`)
    const outer = ignoreCase
    const items: Pattern[] = [sequence()]
    while (source[at] === '|') {
      at += 1
      items.push(sequence())
    }
    ignoreCase = outer
    depth -= 1
    return items.length === 1 ? items[0]! : { kind: 'alt', items }
  }

  function sequence(): Pattern {
    const items: Pattern[] = []
    while (at < source.length && source[at] !== '|' && source[at] !== ')') {
      const item = atom()
      if (item !== undefined) items.push(quantified(item))
    }
    return items.length === 1 ? items[0]! : { kind: 'seq', items }
  }

  function quantified(item: Pattern): Pattern {
    const bounds = quantifier()
    if (bounds === undefined) return item
    if (item.kind === 'assert') return fail('a quantifier on an assertion')
    let lazy = false
    if (source[at] === '?') {
      lazy = true
      at += 1
    } else if (source[at] === '+') at += 1
    if (quantifier(true) !== undefined) return fail('two quantifiers in a row')
    return { kind: 'repeat', item, min: bounds[0], max: bounds[1], lazy }
  }

  function quantifier(peek = false): readonly [number, number] | undefined {
    const start = at
    const c = source[at]
    let found: readonly [number, number] | undefined
    if (c === '*') found = [0, Number.POSITIVE_INFINITY]
    else if (c === '+') found = [1, Number.POSITIVE_INFINITY]
    else if (c === '?') found = [0, 1]
    if (found !== undefined) {
      if (!peek) at += 1
      return found
    }
    if (c !== '{') return undefined
    const match = /^\{(\d{1,5})(,(\d{1,5})?)?\}/.exec(source.slice(at, at + 16))
    if (match === null) return undefined
    const min = Number(match[1])
    const max = match[2] === undefined ? min : match[3] === undefined ? Number.POSITIVE_INFINITY : Number(match[3])
    if (min > max || min > REPEAT_MAX || (max !== Number.POSITIVE_INFINITY && max > REPEAT_MAX)) {
      return fail(`a repeat count out of order or over ${REPEAT_MAX}`)
    }
    at = peek ? start : at + match[0].length
    return [min, max]
  }

  function atom(): Pattern | undefined {
    const c = source[at]!
    at += 1
    if (c === '.') return { kind: 'set', set: new Uint8Array(256).fill(1) }
    if (c === '^') return { kind: 'assert', what: 'start' }
    if (c === '$') return { kind: 'assert', what: 'end' }
    if (c === '(') return group()
    if (c === '[') return { kind: 'set', set: cased(charClass()) }
    if (c === '\\') return escapeSequence()
    if (c === '*' || c === '+' || c === '?') {
      at -= 1
      return fail('a quantifier with nothing before it')
    }
    return single(c.charCodeAt(0))
  }

  function escapeSequence(): Pattern {
    const c = source[at]
    if (c === undefined) return fail('a lone backslash at the end')
    at += 1
    const known = CLASS_ESCAPES.get(c)
    if (known !== undefined) return { kind: 'set', set: known }
    if (c === 'b') return { kind: 'assert', what: 'word' }
    if (c === 'B') return { kind: 'assert', what: 'notWord' }
    if (c === 'A') return { kind: 'assert', what: 'start' }
    if (c === 'z' || c === 'Z') return { kind: 'assert', what: 'end' }
    if (c >= '1' && c <= '9') return { kind: 'backref', index: Number(c) }
    return single(literalEscape(c))
  }

  function literalEscape(c: string): number {
    if (c === 'x') return hexEscape()
    if (c === '0') return 0
    const control = CONTROL_ESCAPES.get(c)
    if (control !== undefined) return control
    if (/[a-zA-Z1-9]/.test(c)) return fail(`the escape \\${c}, which this engine does not know`)
    return c.charCodeAt(0)
  }

  function group(): Pattern {
    let capture = true
    let look: { behind: boolean; negated: boolean } | undefined
    let inner = ignoreCase
    if (source[at] === '?') {
      const head = /^\?(?:(<?)([=!])|(P?<[A-Za-z_]\w*>)|([a-z]*)(?:-([a-z]*))?([:)])|(>))/.exec(source.slice(at, at + 40))
      if (head === null) return fail('a group this engine does not know')
      at += head[0].length
      if (head[2] !== undefined) look = { behind: head[1] === '<', negated: head[2] === '!' }
      else if (head[7] !== undefined) capture = false
      else if (head[6] !== undefined) {
        capture = false
        for (const flag of head[4]!) {
          if (flag === 'i') inner = true
          else if (flag !== 's' && flag !== 'm') return fail(`the flag ${flag}, which this engine does not know`)
        }
        if ((head[5] ?? '').includes('i')) inner = false
        if (head[6] === ')') {
          ignoreCase = inner
          return { kind: 'seq', items: [] }
        }
      }
    }
    const outer = ignoreCase
    ignoreCase = inner
    const item = alternation()
    ignoreCase = outer
    if (source[at] !== ')') return fail('a group that is not closed')
    at += 1
    if (look !== undefined) return { kind: 'look', item, ...look }
    return { kind: 'group', item, capture }
  }

  function charClass(): Uint8Array {
    const set = new Uint8Array(256)
    const negated = source[at] === '^'
    if (negated) at += 1
    let first = true
    for (;;) {
      const c = source[at]
      if (c === undefined) return fail('a character class that is not closed')
      if (c === ']' && !first) break
      first = false
      const low = classItem(set)
      if (low === undefined) continue
      let high = low
      if (source[at] === '-' && source[at + 1] !== ']' && source[at + 1] !== undefined) {
        at += 1
        const end = classItem(set)
        if (end === undefined || end < low) return fail('a character range out of order')
        high = end
      }
      for (let code = low; code <= high; code += 1) set[code] = 1
    }
    at += 1
    if (!negated) return set
    const members = cased(set)
    return setOf((code) => members[code] === 0)
  }

  /** One member of a class: a character code, or nothing when a whole class was added. */
  function classItem(set: Uint8Array): number | undefined {
    const posix = /^\[:(\^?)([a-z]+):\]/.exec(source.slice(at, at + 14))
    if (posix !== null) {
      const test = POSIX.get(posix[2]!)
      if (test === undefined) return fail(`the class [:${posix[2]}:]`)
      at += posix[0].length
      for (let code = 0; code < 256; code += 1) if (test(code) !== (posix[1] === '^')) set[code] = 1
      return undefined
    }
    const c = source[at]!
    at += 1
    if (c !== '\\') {
      if (c.charCodeAt(0) > 255) fail('a character beyond one byte; write its UTF-8 bytes as \\xHH')
      return c.charCodeAt(0)
    }
    const escaped = source[at]
    if (escaped === undefined) return fail('a lone backslash at the end')
    at += 1
    const known = CLASS_ESCAPES.get(escaped)
    if (known !== undefined) {
      for (let code = 0; code < 256; code += 1) if (known[code] === 1) set[code] = 1
      return undefined
    }
    if (escaped === 'b') return 8
    return literalEscape(escaped)
  }

  const tree = alternation()
  if (at < source.length) fail('a closing parenthesis too many')
  return tree
}
