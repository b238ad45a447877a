import type { OperatorFactory } from './operator.ts'

/** `@geoLookup`: fills GEO with what the caller knows about an address; no match when it knows nothing. */
export const geoLookup: OperatorFactory = () => ({
  impure: true,
  matches(text, context) {
    const known = context.environment?.geo?.(text)
    if (known === undefined) return false
    context.geo = new Map(Object.entries(known).map(([name, value]) => [name.toLowerCase(), value]))
    return true
  },
})

/** `@rbl`: the caller's block list of this name has the address. */
export const rbl: OperatorFactory = ({ text: list }) => ({
  impure: true,
  matches: (text, context) => context.environment?.blockListed?.(list.trim(), text) ?? false,
})
