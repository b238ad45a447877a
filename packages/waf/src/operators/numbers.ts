import type { OperatorFactory } from './operator.ts'

/** `@eq`, `@ne`, `@ge`, `@gt`, `@le`, `@lt`: integers; text that is none counts as 0, as in ModSecurity. */
export const eq: OperatorFactory = comparing((value, wanted) => value === wanted)
export const ne: OperatorFactory = comparing((value, wanted) => value !== wanted)
export const ge: OperatorFactory = comparing((value, wanted) => value >= wanted)
export const gt: OperatorFactory = comparing((value, wanted) => value > wanted)
export const le: OperatorFactory = comparing((value, wanted) => value <= wanted)
export const lt: OperatorFactory = comparing((value, wanted) => value < wanted)

function comparing(test: (value: number, wanted: number) => boolean): OperatorFactory {
  return ({ macro }) => {
    const { constant } = macro
    const fixed = constant === undefined ? undefined : integer(constant)
    return {
      number: (value, context) => test(value, fixed ?? integer(context.expand(macro))),
      matches(text, context) {
        const matched = test(integer(text), fixed ?? integer(context.expand(macro)))
        if (matched && context.capturing) context.capture(0, text)
        return matched
      },
    }
  }
}

/** The integer at the start of a text, 0 if there is none. */
export function integer(text: string): number {
  if (text.length === 1) {
    const digit = text.charCodeAt(0) - 48
    return digit >= 0 && digit <= 9 ? digit : 0
  }
  const value = Number.parseInt(text, 10)
  return Number.isSafeInteger(value) ? value : 0
}
