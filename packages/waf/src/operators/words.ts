import { OperatorArgumentError, type OperatorFactory } from './operator.ts'

/** `@pm`: one of several words occurs, in any case. `|41 42|` stands for bytes. */
export const pm: OperatorFactory = ({ text: source }) => {
  const words = source
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => unhex(word).toLowerCase())
  if (words.length === 0)
    throw new OperatorArgumentError(0, '@pm without words', 'words separated by blanks', 'Give at least one.')
  return {
    literals: words,
    matches(text, context) {
      context.work += text.length
      const lower = text.toLowerCase()
      const word = words.find((candidate) => lower.includes(candidate))
      if (word === undefined) return false
      if (context.capturing) context.capture(0, word)
      return true
    },
  }
}

function unhex(word: string): string {
  return word.replace(/\|([0-9a-fA-F]{2}(?: ?[0-9a-fA-F]{2})*)\|/g, (_, digits: string) =>
    (digits.match(/[0-9a-fA-F]{2}/g) ?? []).map((pair) => String.fromCharCode(Number.parseInt(pair, 16))).join(''),
  )
}
