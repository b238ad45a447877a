import { toByteText } from '../bytes.ts'
import {
  ANCHORED_CHARS_MAX,
  PATTERN_OVERLAP_CHARS,
  PATTERN_WINDOW_CHARS,
  PATTERN_WORK_FACTOR,
  RUNTIME_PATTERN_CHARS_MAX,
  RUNTIME_PATTERNS_MAX,
} from '../limits.ts'
import type { Expandable } from '../macro.ts'
import { emitPattern } from '../regex/emit.ts'
import { requiredLiterals } from '../regex/literals.ts'
import { type Pattern, PatternSyntaxError, parsePattern } from '../regex/syntax.ts'
import { type CompiledOperator, OperatorArgumentError, type OperatorContext, type OperatorFactory } from './operator.ts'

/** A pattern ready to run; also what `/regex/` selectors use. */
export interface CompiledPattern {
  readonly regex: RegExp
  /** Has `^` or `$`, so it cannot be run on windows of a text. */
  readonly anchored: boolean
  readonly literals: readonly string[] | undefined
}

export function compilePattern(source: string, caseless = false): CompiledPattern {
  try {
    const tree = parsePattern(toByteText(source), caseless)
    return { regex: new RegExp(emitPattern(tree)), anchored: anchored(tree), literals: requiredLiterals(tree) }
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

/** `@rx`: a regular expression. A text longer than a window is seen through overlapping windows. */
export const rx: OperatorFactory = ({ text: source, macro }) => {
  if (macro.constant === undefined) return expanding(macro)
  const pattern = compilePattern(source)
  return { literals: pattern.literals, matches: (text, context) => search(pattern, text, context) }
}

function search({ regex, anchored: whole }: CompiledPattern, text: string, context: OperatorContext): boolean {
  if (whole || text.length <= PATTERN_WINDOW_CHARS) {
    const subject = text.length <= ANCHORED_CHARS_MAX ? text : text.slice(0, ANCHORED_CHARS_MAX)
    context.work += subject.length * PATTERN_WORK_FACTOR
    if (!context.capturing) return regex.test(subject)
    return captured(regex.exec(subject), context)
  }
  for (let from = 0; from < text.length; from += PATTERN_WINDOW_CHARS - PATTERN_OVERLAP_CHARS) {
    const window = text.slice(from, from + PATTERN_WINDOW_CHARS)
    context.work += window.length * PATTERN_WORK_FACTOR
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
export function isRegular(node: Pattern): boolean {
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

function anchored(node: Pattern): boolean {
  switch (node.kind) {
    case 'assert':
      return node.what === 'start' || node.what === 'end'
    case 'seq':
    case 'alt':
      return node.items.some(anchored)
    case 'repeat':
    case 'group':
    case 'look':
      return anchored(node.item)
    default:
      return false
  }
}
