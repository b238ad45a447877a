/**
 * `@rx`: a regular expression, searched for anywhere in the value. Nothing can interrupt V8's matcher, so that a value is
 * looked at in pieces: matching time is then bounded by the piece's length for every pattern, and pieces overlap by more
 * than our own rules' longest match.
 */
import { fail, type ParsedOperator } from '../parser.ts'
import type { Test } from './index.ts'

const PIECE_CHARS = 8_192
const OVERLAP_CHARS = 1_024

export function rx(operator: ParsedOperator): Test {
  const pattern = toJavaScript(operator)
  return (value) => {
    if (value.length <= PIECE_CHARS) return pattern.exec(value)?.map((group) => group ?? '')
    for (let at = 0; at < value.length; at += PIECE_CHARS - OVERLAP_CHARS) {
      const found = pattern.exec(value.slice(at, at + PIECE_CHARS))
      if (found !== null) return found.map((group) => group ?? '')
    }
    return undefined
  }
}

/** PCRE to JavaScript: leading `(?i)`, `(?s)`, `(?si)` become flags; what JavaScript has not is refused. */
function toJavaScript(operator: ParsedOperator): RegExp {
  let source = operator.argument
  // ModSecurity compiles with DOTALL and DOLLAR_ENDONLY.
  let flags = 's'
  const leading = /^\(\?([ims]+)\)/.exec(source)
  if (leading !== null) {
    source = source.slice(leading[0].length)
    for (const flag of leading[1] as string) if (!flags.includes(flag)) flags += flag
  }
  const escapes = source.replace(/\\\\/g, '  ')
  const plain = source.replace(/\\[\s\S]/g, '_').replace(/\[[^\]]*\]/g, '_')
  const strange = /\\[AZzGKQE]|\[:\w+:\]/.exec(escapes) ?? /\(\?[ims]+\)|\(\?>|[*+?}]\+|\(\?#/.exec(plain)
  if (strange !== null) fail(operator, `@rx: ${strange[0]} is not supported in a pattern; write it another way`)
  try {
    return new RegExp(source, flags)
  } catch (cause) {
    return fail(operator, `@rx: ${(cause as Error).message}`)
  }
}
