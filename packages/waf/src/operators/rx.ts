import { ANCHORED_CHARS_MAX, PATTERN_OVERLAP_CHARS, PATTERN_WINDOW_CHARS, PATTERN_WORK_FACTOR } from '../limits.ts'
import { emitPattern } from '../regex/emit.ts'
import { requiredLiterals } from '../regex/literals.ts'
import { type Pattern, PatternSyntaxError, parsePattern } from '../regex/syntax.ts'
import { OperatorArgumentError, type OperatorFactory } from './operator.ts'

/** A pattern ready to run; also what `/regex/` selectors use. */
export interface CompiledPattern {
  readonly regex: RegExp
  /** Has `^` or `$`, so it cannot be run on windows of a text. */
  readonly anchored: boolean
  readonly literals: readonly string[] | undefined
}

export function compilePattern(source: string, caseless = false): CompiledPattern {
  try {
    const tree = parsePattern(source, caseless)
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
export const rx: OperatorFactory = ({ text: source }) => {
  const { regex, anchored: whole, literals } = compilePattern(source)
  return {
    literals,
    matches(text, context) {
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
    },
  }
}

function captured(match: RegExpExecArray | null, context: { capture(index: number, text: string): void }): boolean {
  if (match === null) return false
  for (let i = 0; i < match.length && i < 10; i += 1) context.capture(i, match[i] ?? '')
  return true
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
