import { type Automaton, buildAutomaton } from '../automaton.ts'
import { type CompiledOperator, OperatorArgumentError, type OperatorFactory } from './operator.ts'

/** `@pm`: one of several words occurs, in any case. `|41 42|` stands for bytes. */
export const pm: OperatorFactory = ({ text: source }) =>
  anyOf(splitOutsideBytes(source).map(unhex), '@pm without words', 'words separated by blanks')

/** `@pmFromFile`, `@pmf`: the same with one phrase a line; lines that begin with # are comments. Several files may be named. */
export const pmFromFile: OperatorFactory = ({ text: source, data }) => {
  const lines = source
    .split(/\s+/)
    .filter((name) => name !== '')
    .flatMap((name) => data(name).split('\n'))
    .map(trimBlanks)
    .filter((line) => line !== '' && !line.startsWith('#'))
  return anyOf(lines.map(unhex), `${source} without phrases`, 'a file with one phrase a line')
}

function trimBlanks(line: string): string {
  let from = 0
  let to = line.length
  while (to > from && isBlank(line.charCodeAt(to - 1))) to -= 1
  while (from < to && isBlank(line.charCodeAt(from))) from += 1
  return from === 0 && to === line.length ? line : line.slice(from, to)
}

/** Blank, tab, vertical tab, form feed, carriage return. */
const isBlank = (code: number): boolean => code === 32 || code === 9 || (code >= 11 && code <= 13)

function anyOf(phrases: readonly string[], problem: string, expected: string): CompiledOperator {
  const words = [...new Set(phrases.map((word) => word.toLowerCase()))].filter((word) => word !== '')
  if (words.length === 0) throw new OperatorArgumentError(0, problem, expected, 'Give at least one.')
  // Only rules that capture ask which word it was.
  let automaton: Automaton | undefined
  return {
    literals: words,
    exact: true,
    matches(text, context) {
      context.work += text.length
      automaton ??= buildAutomaton(words.map((word) => [word]))
      const found = automaton.first(text)
      if (found < 0) return false
      if (context.capturing) context.capture(0, words[found]!)
      return true
    },
  }
}

/** Words by blanks, except those inside `|41 42|`. */
function splitOutsideBytes(source: string): string[] {
  return source.match(/(?:\|[0-9a-fA-F]{2}(?: ?[0-9a-fA-F]{2})*\||\S)+/g) ?? []
}

function unhex(word: string): string {
  if (!word.includes('|')) return word
  return word.replace(/\|([0-9a-fA-F]{2}(?: ?[0-9a-fA-F]{2})*)\|/g, (_, digits: string) =>
    (digits.match(/[0-9a-fA-F]{2}/g) ?? []).map((pair) => String.fromCharCode(Number.parseInt(pair, 16))).join(''),
  )
}
