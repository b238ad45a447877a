/**
 * Patterns of JSON Schema (ECMA-262, `u` flag), run on the linear matcher: a text is its UTF-8 bytes there, so sets of code
 * points become alternatives of byte sequences. What no automaton can decide, look-around and back-references, is refused.
 */
import { bytesToText } from '../bytes.ts'
import { type LinearMatcher, linearMatcher } from '../regex/dfa.ts'
import type { Pattern } from '../regex/syntax.ts'
import type { WorkMeter } from '../subject.ts'
import { PATTERN_CHARS_MAX } from './limits.ts'

export class PatternRefused extends Error {
  override readonly name = 'PatternRefused'
}

/** Ranges of code points, ends included; in order and apart once `tidied`. */
type Ranges = readonly (readonly [low: number, high: number])[]

const CODE_POINT_MAX = 0x10ffff
const DIGIT: Ranges = [[48, 57]]
const WORD: Ranges = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
]
/** WhiteSpace and LineTerminator (ECMA-262 sections 12.2 and 12.3). */
const SPACE: Ranges = [
  [9, 13],
  [32, 32],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]
const LINE_ENDS: Ranges = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
]
const CONTROLS: ReadonlyMap<string, number> = new Map([
  ['t', 9],
  ['n', 10],
  ['v', 11],
  ['f', 12],
  ['r', 13],
])
const GROUPS_DEPTH_MAX = 50
const REPEAT_MAX = 1_000
/** Instructions that one pattern may take, counts written out. */
const SIZE_MAX = 50_000

function tidied(ranges: Ranges): Ranges {
  const out: [number, number][] = []
  for (const [low, high] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const last = out.at(-1)
    if (last !== undefined && low <= last[1] + 1) last[1] = Math.max(last[1], high)
    else out.push([low, high])
  }
  return out
}

function complement(ranges: Ranges): Ranges {
  const out: [number, number][] = []
  let from = 0
  for (const [low, high] of tidied(ranges)) {
    if (low > from) out.push([from, low - 1])
    from = high + 1
  }
  if (from <= CODE_POINT_MAX) out.push([from, CODE_POINT_MAX])
  return out
}

function utf8(code: number): readonly number[] {
  if (code < 0x80) return [code]
  if (code < 0x800) return [0xc0 | (code >> 6), 0x80 | (code & 63)]
  if (code < 0x10000) return [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)]
  return [0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)]
}

/** Ranges whose encodings differ in the ranges of their bytes only; surrogates have none. */
function byteSequences(low: number, high: number, out: (readonly (readonly [number, number])[])[]): void {
  if (low > high) return
  for (const edge of [0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff]) {
    if (low <= edge && high > edge) {
      byteSequences(low, edge, out)
      byteSequences(edge + 1, high, out)
      return
    }
  }
  if (low >= 0xd800 && high <= 0xdfff) return
  for (let bits = 6; bits <= 18; bits += 6) {
    const mask = (1 << bits) - 1
    if (high < 0x80 || (low & ~mask) === (high & ~mask)) continue
    if ((low & mask) !== 0) {
      byteSequences(low, low | mask, out)
      byteSequences((low | mask) + 1, high, out)
      return
    }
    if ((high & mask) !== mask) {
      byteSequences(low, (high & ~mask) - 1, out)
      byteSequences(high & ~mask, high, out)
      return
    }
  }
  const first = utf8(low)
  const last = utf8(high)
  out.push(first.map((byte, at) => [byte, last[at]!] as const))
}

function byteSet(low: number, high: number): Pattern {
  return { kind: 'set', set: Uint8Array.from({ length: 256 }, (_, byte) => (byte >= low && byte <= high ? 1 : 0)) }
}

function setOf(ranges: Ranges): Pattern {
  const plain = new Uint8Array(256)
  const items: Pattern[] = []
  let hasPlain = false
  for (const [low, high] of tidied(ranges)) {
    for (let code = low; code <= Math.min(high, 0x7f); code += 1) {
      plain[code] = 1
      hasPlain = true
    }
    const sequences: (readonly (readonly [number, number])[])[] = []
    byteSequences(Math.max(low, 0x80), high, sequences)
    for (const sequence of sequences) items.push({ kind: 'seq', items: sequence.map(([a, b]) => byteSet(a, b)) })
  }
  if (hasPlain || items.length === 0) items.unshift({ kind: 'set', set: plain })
  return items.length === 1 ? items[0]! : { kind: 'alt', items }
}

/** @throws {PatternRefused} In words, for what is malformed, and for what has no linear time. */
function parseEcmaPattern(source: string): Pattern {
  const at = { index: 0 }
  const points = Array.from(source)
  let depth = 0
  const fail = (message: string): never => {
    throw new PatternRefused(message)
  }
  const peek = (): string | undefined => points[at.index]
  const take = (): string => points[at.index++]!
  const ahead = (text: string): boolean => points.slice(at.index, at.index + text.length).join('') === text

  function alternation(): Pattern {
    depth += 1
    if (depth > GROUPS_DEPTH_MAX) fail(`groups are nested more than ${GROUPS_DEPTH_MAX} deep`)
    const items = [sequence()]
    while (peek() === '|') {
      take()
      items.push(sequence())
    }
    depth -= 1
    return items.length === 1 ? items[0]! : { kind: 'alt', items }
  }

  function sequence(): Pattern {
    const items: Pattern[] = []
    for (let next = peek(); next !== undefined && next !== '|' && next !== ')'; next = peek()) items.push(quantified(atom()))
    return items.length === 1 ? items[0]! : { kind: 'seq', items }
  }

  function quantified(item: Pattern): Pattern {
    const bounds = quantifier()
    if (bounds === undefined) return item
    if (item.kind === 'assert') fail('a quantifier on an assertion')
    if (peek() === '?') take()
    if (quantifier() !== undefined) fail('two quantifiers in a row')
    return { kind: 'repeat', item, min: bounds[0], max: bounds[1], lazy: false }
  }

  function quantifier(): readonly [number, number] | undefined {
    const next = peek()
    if (next === '*' || next === '+' || next === '?') {
      take()
      return next === '*' ? [0, Number.POSITIVE_INFINITY] : next === '+' ? [1, Number.POSITIVE_INFINITY] : [0, 1]
    }
    if (next !== '{') return undefined
    const match = /^\{(\d{1,7})(,(\d{1,7})?)?\}/.exec(points.slice(at.index, at.index + 20).join(''))
    if (match === null) return undefined
    const min = Number(match[1])
    const max = match[2] === undefined ? min : match[3] === undefined ? Number.POSITIVE_INFINITY : Number(match[3])
    if (min > max) fail(`the count ${match[0]} is out of order`)
    if (min > REPEAT_MAX || (max !== Number.POSITIVE_INFINITY && max > REPEAT_MAX)) {
      fail(`the count ${match[0]} is over ${REPEAT_MAX}; maxLength and minLength bound longer texts`)
    }
    at.index += match[0].length
    return [min, max]
  }

  function atom(): Pattern {
    const next = take()
    if (next === '.') return setOf(complement(LINE_ENDS))
    if (next === '^') return { kind: 'assert', what: 'start' }
    if (next === '$') return { kind: 'assert', what: 'end' }
    if (next === '(') return group()
    if (next === '[') return setOf(charClass())
    if (next === '\\') return escapeSequence()
    if (next === '*' || next === '+' || next === '?') fail('a quantifier with nothing before it')
    const code = next.codePointAt(0)!
    return setOf([[code, code]])
  }

  function group(): Pattern {
    if (peek() === '?') {
      const named = /^\?<[A-Za-z_$][\w$]*>/.exec(points.slice(at.index, at.index + 80).join(''))
      if (ahead('?:')) at.index += 2
      else if (named !== null) at.index += named[0].length
      else if (ahead('?=') || ahead('?!') || ahead('?<=') || ahead('?<!')) fail('look-around cannot be decided in linear time')
      else fail('a group that is not known')
    }
    const item = alternation()
    if (peek() !== ')') fail('a group that is not closed')
    take()
    return { kind: 'group', item, capture: false }
  }

  function escapeSequence(): Pattern {
    const next = peek()
    if (next === 'b' || next === 'B') {
      take()
      return { kind: 'assert', what: next === 'b' ? 'word' : 'notWord' }
    }
    if (next !== undefined && next >= '1' && next <= '9') fail('a back-reference cannot be decided in linear time')
    if (next === 'k') fail('a back-reference cannot be decided in linear time')
    const known = classEscape()
    if (known !== undefined) return setOf(known)
    const code = characterEscape()
    return setOf([[code, code]])
  }

  function classEscape(): Ranges | undefined {
    const next = peek()
    const known = next === undefined ? undefined : CLASS_ESCAPES.get(next)
    if (known !== undefined) take()
    if (next === 'p' || next === 'P') fail('\\p and \\P mean what the Unicode version at hand says; write the ranges out')
    return known
  }

  function characterEscape(): number {
    const next = peek()
    if (next === undefined) return fail('a lone backslash at the end')
    take()
    const control = CONTROLS.get(next)
    if (control !== undefined) return control
    if (next === '0') return 0
    if (next === 'x') return hex(2)
    if (next === 'c') {
      const letter = peek()
      if (letter === undefined || !/[A-Za-z]/.test(letter)) return fail('\\c without a letter')
      take()
      return letter.charCodeAt(0) & 31
    }
    if (next === 'u') {
      if (peek() === '{') {
        const match = /^\{([0-9a-fA-F]{1,6})\}/.exec(points.slice(at.index, at.index + 8).join(''))
        if (match === null || Number.parseInt(match[1]!, 16) > CODE_POINT_MAX) return fail('a malformed \\u{...} escape')
        at.index += match[0].length
        return Number.parseInt(match[1]!, 16)
      }
      const code = hex(4)
      if (code < 0xd800 || code > 0xdbff || !ahead('\\u')) return code
      const before = at.index
      at.index += 2
      const low = hex(4)
      if (low >= 0xdc00 && low <= 0xdfff) return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
      at.index = before
      return code
    }
    if (/[A-Za-z0-9]/.test(next)) return fail(`the escape \\${next} is not known`)
    return next.codePointAt(0)!
  }

  function hex(digits: number): number {
    const text = points.slice(at.index, at.index + digits).join('')
    if (text.length !== digits || !/^[0-9a-fA-F]+$/.test(text)) return fail('a malformed hexadecimal escape')
    at.index += digits
    return Number.parseInt(text, 16)
  }

  function charClass(): Ranges {
    const ranges: (readonly [number, number])[] = []
    const negated = peek() === '^'
    if (negated) take()
    for (;;) {
      const next = peek()
      if (next === undefined) return fail('a character class that is not closed')
      if (next === ']') break
      const low = classAtom(ranges)
      if (peek() !== '-' || points[at.index + 1] === ']' || points[at.index + 1] === undefined) {
        if (low !== undefined) ranges.push([low, low])
        continue
      }
      take()
      const high = classAtom(ranges)
      // A class beside the hyphen: the hyphen stands for itself (Annex B).
      if (low === undefined || high === undefined) {
        ranges.push([45, 45])
        for (const code of [low, high]) if (code !== undefined) ranges.push([code, code])
      } else if (low > high) return fail('a character range out of order')
      else ranges.push([low, high])
    }
    take()
    return negated ? complement(ranges) : ranges
  }

  /** A code point, or nothing when a class was added. */
  function classAtom(ranges: (readonly [number, number])[]): number | undefined {
    const next = take()
    if (next !== '\\') return next.codePointAt(0)!
    if (peek() === 'b') {
      take()
      return 8
    }
    if (peek() === '-') {
      take()
      return 45
    }
    const known = classEscape()
    if (known === undefined) return characterEscape()
    ranges.push(...known)
    return undefined
  }

  const tree = alternation()
  if (at.index < points.length) fail('a closing parenthesis too many')
  return tree
}

const CLASS_ESCAPES: ReadonlyMap<string, Ranges> = new Map([
  ['d', DIGIT],
  ['D', complement(DIGIT)],
  ['w', WORD],
  ['W', complement(WORD)],
  ['s', SPACE],
  ['S', complement(SPACE)],
])

/** Instructions that a tree takes; infinite when that is out of hand. */
function sizeOf(node: Pattern): number {
  switch (node.kind) {
    case 'seq':
    case 'alt':
      return node.items.reduce((sum, item) => sum + sizeOf(item) + 1, 1)
    case 'repeat': {
      const each = sizeOf(node.item) + 1
      return each * (node.max === Number.POSITIVE_INFINITY ? node.min + 1 : Math.max(1, node.max))
    }
    case 'group':
    case 'look':
      return sizeOf(node.item)
    default:
      return 1
  }
}

export interface TextPattern {
  /** Instructions. */
  readonly size: number
  /**
   * Whether the pattern matches somewhere in a text.
   *
   * @returns undefined when that takes more than `workMax`.
   */
  matches(text: string, meter: WorkMeter, workMax: number): boolean | undefined
}

const ENCODER = new TextEncoder()
const BEYOND_ASCII = /[^\0-\x7f]/

/** @throws {PatternRefused} */
export function compileTextPattern(source: string): TextPattern {
  if (source.length > PATTERN_CHARS_MAX) throw new PatternRefused(`longer than ${PATTERN_CHARS_MAX} characters`)
  const tree = parseEcmaPattern(source)
  const size = sizeOf(tree)
  if (size > SIZE_MAX) throw new PatternRefused('its counts make it too large; lower them, or use minLength and maxLength')
  let matcher: LinearMatcher | undefined
  return {
    size,
    matches(text, meter, workMax) {
      // Made at the first use: most policies are compiled more often than run.
      matcher ??= linearMatcher(tree)
      if (matcher === undefined) return undefined
      const bytes = BEYOND_ASCII.test(text) ? bytesToText(ENCODER.encode(text)) : text
      meter.work += bytes.length
      const found = matcher.search(bytes, meter, workMax) >= 0
      return meter.work > workMax ? undefined : found
    },
  }
}
