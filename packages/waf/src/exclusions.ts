/** What some rules do not look at, said from outside of the rules. */
import { toByteText } from './bytes.ts'
import type { RemovedTarget } from './rule.ts'
import type { TargetExclusion } from './types.ts'

/** Valid for every rule set. A name after the colon is one member; without one, the variable itself and no member of it. */
export function compileExclusions(exclusions: readonly TargetExclusion[]): readonly RemovedTarget[] {
  return exclusions.map(({ ruleId, variable }) => {
    const text = toByteText(variable)
    const colon = text.indexOf(':')
    const collection = (colon < 0 ? text : text.slice(0, colon)).toUpperCase()
    const wanted = colon < 0 ? '' : text.slice(colon + 1).toLowerCase()
    const target = {
      key: text,
      collection,
      count: collection.startsWith('&'),
      exclude: true,
      selects: (lower: string) => lower === wanted,
      exact: wanted,
      query: undefined,
    }
    return { target, from: ({ id }) => id === ruleId }
  })
}
