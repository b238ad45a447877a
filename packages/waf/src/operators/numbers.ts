import type { OperatorFactory, Relation } from './operator.ts'

/** `@eq`, `@ne`, `@ge`, `@gt`, `@le`, `@lt`: integers; text that is none counts as 0, as in ModSecurity. */
export const eq: OperatorFactory = comparing('eq')
export const ne: OperatorFactory = comparing('ne')
export const ge: OperatorFactory = comparing('ge')
export const gt: OperatorFactory = comparing('gt')
export const le: OperatorFactory = comparing('le')
export const lt: OperatorFactory = comparing('lt')

export function holds(relation: Relation, value: number, to: number): boolean {
  switch (relation) {
    case 'eq':
      return value === to
    case 'ne':
      return value !== to
    case 'ge':
      return value >= to
    case 'gt':
      return value > to
    case 'le':
      return value <= to
    case 'lt':
      return value < to
  }
}

function comparing(relation: Relation): OperatorFactory {
  return ({ macro }) => {
    const to = macro.constant === undefined ? undefined : integer(macro.constant)
    const [part, ...more] = macro.parts
    const toName = typeof part === 'object' && part.collection === 'TX' && more.length === 0 ? part.key : undefined
    return {
      comparison: to === undefined && toName === undefined ? undefined : { relation, to: to ?? 0, toName },
      matches(text, context) {
        const matched = holds(relation, integer(text), to ?? integer(context.expand(macro)))
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
