import { toByteText } from '../bytes.ts'
import {
  ANCHORED_CAPTURE_CHARS_MAX,
  ANCHORED_CHARS_MAX,
  CAPTURE_AHEAD_CHARS,
  CAPTURE_CHARS_MAX,
  IRREGULAR_OVERLAP_CHARS,
  IRREGULAR_WINDOW_CHARS,
  IRREGULAR_WORK_FACTOR,
  PATTERN_OVERLAP_CHARS,
  PATTERN_WINDOW_CHARS,
  PATTERN_WORK_FACTOR,
  RUNTIME_PATTERN_CHARS_MAX,
  RUNTIME_PATTERNS_MAX,
  WORK_CHARS_MAX,
} from '../limits.ts'
import type { Expandable } from '../macro.ts'
import type { PatternFacts } from '../prepared.ts'
import { type LinearMatcher, linearMatcher } from '../regex/dfa.ts'
import { emitPattern } from '../regex/emit.ts'
import { requiredLiterals } from '../regex/literals.ts'
import { type Pattern, PatternSyntaxError, parsePattern } from '../regex/syntax.ts'
import { type CompiledOperator, OperatorArgumentError, type OperatorContext, type OperatorFactory } from './operator.ts'

/** A pattern ready to run. */
export interface CompiledPattern {
  readonly regex: RegExp
  /** The same, which matches at `lastIndex` alone. */
  readonly sticky: RegExp
  /** Has `^` or `$`, so it cannot be run on windows of a text. */
  readonly anchored: boolean
  readonly literals: readonly string[] | undefined
  readonly charsMin: number
  parsed(): Pattern
  /** Made when the pattern first runs; null when its counts make it too large. */
  linear(): LinearMatcher | null
}

/** @param facts What an earlier compilation found out: then the pattern is parsed when it first runs. */
export function compilePattern(source: string, facts?: PatternFacts): CompiledPattern {
  let tree: Pattern | undefined
  const parsed = (): Pattern => (tree ??= parsePattern(toByteText(source)))
  let linear: LinearMatcher | null | undefined
  let regex: RegExp | undefined
  let sticky: RegExp | undefined
  const { anchored, literals, charsMin } = facts ?? located(() => factsOf(parsed()))
  return {
    // Most patterns never need V8.
    get regex() {
      return (regex ??= new RegExp(emitPattern(parsed())))
    },
    get sticky() {
      return (sticky ??= new RegExp(emitPattern(parsed()), 'y'))
    },
    anchored,
    literals,
    charsMin,
    parsed,
    linear: () => (linear === undefined ? (linear = linearMatcher(parsed()) ?? null) : linear),
  }
}

function factsOf(tree: Pattern): PatternFacts {
  return { anchored: hasEnds(tree), literals: requiredLiterals(tree), charsMin: Math.min(charsMinOf(tree), CHARS_MIN_MAX) }
}

/** What `/regex/` selectors test names in lower case by. */
export function compileSelector(source: string): RegExp {
  return located(() => new RegExp(emitPattern(parsePattern(toByteText(source), true))))
}

function located<T>(find: () => T): T {
  try {
    return find()
  } catch (error) {
    const offset = error instanceof PatternSyntaxError ? error.offset : 0
    const problem = error instanceof Error ? error.message : 'the pattern cannot be read'
    throw new OperatorArgumentError(
      offset,
      `in the pattern: ${problem}`,
      'a regular expression',
      'See packages/waf/README.md for what is understood.',
    )
  }
}

/** `@rx`: a regular expression. */
export const rx: OperatorFactory = ({ text: source, macro, prepared }) => {
  if (macro.constant === undefined) return expanding(macro)
  const pattern = compilePattern(source, prepared?.read.get(source))
  prepared?.write.set(source, pattern)
  const { literals, charsMin } = pattern
  return {
    literals,
    pattern: { source, parsed: pattern.parsed },
    matches: (text, context) => text.length >= charsMin && search(pattern, text, context),
  }
}

/**
 * Whether a pattern matches is for the linear matcher to say. V8 is asked only what groups captured, near the match that was
 * found, and about look-around and back-references.
 */
function search(pattern: CompiledPattern, text: string, context: OperatorContext): boolean {
  const linear = pattern.linear()
  if (linear === null) return backtrack(pattern, text, context)
  context.work += text.length
  const end = linear.search(text, context, WORK_CHARS_MAX, context.long)
  if (end < 0) return false
  if (!linear.exact) return backtrack(pattern, text, context, linear)
  if (context.capturing) captureLater(pattern, linear, text, end, context)
  return true
}

/** Apart from `search`: a function that makes another one takes memory whenever it is called, and most searches find nothing. */
function captureLater(
  pattern: CompiledPattern,
  linear: LinearMatcher,
  text: string,
  end: number,
  context: OperatorContext,
): void {
  context.captureLater(() => capture(pattern, linear, text, end, context))
}

function capture(pattern: CompiledPattern, linear: LinearMatcher, text: string, end: number, context: OperatorContext): void {
  // A long text is seen around the match only; from its beginning when that is not far and the pattern may speak of it.
  const from = pattern.anchored && end <= ANCHORED_CAPTURE_CHARS_MAX ? 0 : Math.max(0, end - CAPTURE_CHARS_MAX)
  const near = text.slice(from, end + CAPTURE_AHEAD_CHARS)
  if (!captured(matchIn(near, end - from, pattern, linear, context), context)) {
    context.capture(0, '')
    context.captured(1)
  }
}

/** What V8 finds near the end of a match, without its looking for where that begins: at each place before it may try long. */
function matchIn(
  near: string,
  end: number,
  pattern: CompiledPattern,
  linear: LinearMatcher,
  context: OperatorContext,
): RegExpExecArray | null {
  const start = linear.startOf(near, end, context, WORK_CHARS_MAX)
  if (start < 0) return null
  const { sticky } = pattern
  sticky.lastIndex = start
  const found = sticky.exec(near)
  context.work += (found?.[0].length ?? 0) * PATTERN_WORK_FACTOR
  return found
}

/**
 * V8's matcher. It may take time quadratic in what it sees, so a long text goes through overlapping windows; with look-around or
 * back-references, where V8 cannot fall back to its automaton, through small ones, and only where the linear matcher sees a chance.
 */
function backtrack(
  { regex, anchored: whole }: CompiledPattern,
  text: string,
  context: OperatorContext,
  chance?: LinearMatcher,
): boolean {
  const size = chance === undefined ? PATTERN_WINDOW_CHARS : IRREGULAR_WINDOW_CHARS
  const overlap = chance === undefined ? PATTERN_OVERLAP_CHARS : IRREGULAR_OVERLAP_CHARS
  const factor = chance === undefined ? PATTERN_WORK_FACTOR : IRREGULAR_WORK_FACTOR
  if (whole || text.length <= size) {
    const subject = text.length <= ANCHORED_CHARS_MAX ? text : text.slice(0, ANCHORED_CHARS_MAX)
    context.work += subject.length * factor
    if (!context.capturing) return regex.test(subject)
    return captured(regex.exec(subject), context)
  }
  for (let at = 0; at < text.length && context.work <= WORK_CHARS_MAX; at += size - overlap) {
    const window = text.slice(at, at + size)
    context.work += window.length
    if (chance !== undefined && chance.search(window, context, WORK_CHARS_MAX) < 0) continue
    context.work += window.length * factor
    if (context.capturing ? captured(regex.exec(window), context) : regex.test(window)) return true
  }
  return false
}

/**
 * A pattern with macros is made while requests run, from text that may be a client's: one with look-around or a
 * back-reference, whose time V8's automaton could not bound, is not run, and what cannot be read matches nothing.
 */
function expanding(macro: Expandable): CompiledOperator {
  const known = new Map<string, CompiledPattern | undefined>()
  return {
    matches(text, context) {
      const source = context.expand(macro)
      let pattern = known.get(source)
      if (pattern === undefined && !known.has(source)) {
        pattern = runtimePattern(source)
        if (known.size >= RUNTIME_PATTERNS_MAX) known.delete(known.keys().next().value as string)
        known.set(source, pattern)
      }
      return pattern !== undefined && search(pattern, text, context)
    },
  }
}

function runtimePattern(source: string): CompiledPattern | undefined {
  if (source.length > RUNTIME_PATTERN_CHARS_MAX) return undefined
  try {
    const tree = parsePattern(source)
    return isRegular(tree) ? compilePattern(source) : undefined
  } catch {
    return undefined
  }
}

function captured(match: RegExpExecArray | null, context: OperatorContext): boolean {
  if (match === null) return false
  for (let i = 0; i < match.length && i < 10; i += 1) context.capture(i, match[i] ?? '')
  context.captured(match.length)
  return true
}

/** Has neither look-around nor back-references, so V8's automaton can take it over (`boundPatternTime`). */
function isRegular(node: Pattern): boolean {
  switch (node.kind) {
    case 'look':
    case 'backref':
      return false
    case 'seq':
    case 'alt':
      return node.items.every(isRegular)
    case 'repeat':
    case 'group':
      return isRegular(node.item)
    default:
      return true
  }
}

/** More is as good. */
const CHARS_MIN_MAX = 1_000

function charsMinOf(node: Pattern): number {
  switch (node.kind) {
    case 'set':
      return 1
    case 'group':
      return charsMinOf(node.item)
    case 'repeat':
      return node.min === 0 ? 0 : node.min * charsMinOf(node.item)
    case 'seq':
      return node.items.reduce((sum, item) => sum + charsMinOf(item), 0)
    case 'alt':
      return node.items.reduce((least, item) => Math.min(least, charsMinOf(item)), Number.POSITIVE_INFINITY)
    default:
      return 0
  }
}

function hasEnds(node: Pattern): boolean {
  switch (node.kind) {
    case 'assert':
      return node.what === 'start' || node.what === 'end'
    case 'seq':
    case 'alt':
      return node.items.some(hasEnds)
    case 'repeat':
    case 'group':
    case 'look':
      return hasEnds(node.item)
    default:
      return false
  }
}
