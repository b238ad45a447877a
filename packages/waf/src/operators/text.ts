import { toByteText } from '../bytes.ts'
import type { OperatorFactory } from './operator.ts'

/** `@contains`, `@containsWord`, `@streq`, `@beginsWith`, `@endsWith`, `@within`: plain text, case matters, macros expand. */
export const contains: OperatorFactory = comparing((text, wanted) => text.includes(wanted), true)
export const strmatch: OperatorFactory = contains
export const streq: OperatorFactory = comparing((text, wanted) => text === wanted, false)
export const beginsWith: OperatorFactory = comparing((text, wanted) => text.startsWith(wanted), false)
export const endsWith: OperatorFactory = comparing((text, wanted) => text.endsWith(wanted), false)
/** The value is found inside the argument. */
export const within: OperatorFactory = comparing((text, haystack) => haystack.includes(text), false)

export const containsWord: OperatorFactory = comparing((text, wanted) => {
  if (wanted === '') return true
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
    if (!isWord(text.charCodeAt(at - 1)) && !isWord(text.charCodeAt(at + wanted.length))) return true
  }
  return false
}, true)

function comparing(test: (text: string, argument: string) => boolean, gated: boolean): OperatorFactory {
  return ({ text: source, macro }) => {
    const constant = macro.constant === undefined ? undefined : toByteText(macro.constant)
    return {
      literals: gated && constant !== undefined && source !== '' ? [toByteText(source).toLowerCase()] : undefined,
      matches(text, context) {
        const matched = test(text, constant ?? context.expand(macro))
        if (matched && context.capturing) context.capture(0, text)
        return matched
      },
    }
  }
}

function isWord(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95
}
