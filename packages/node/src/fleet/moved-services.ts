/** What a node serves goes by its labels and the policy (`services.NAME.nodes`): says what it begins and ends to serve. */
import type { View } from '@ringwall/ring'

const NAMES_MAX = 10

/** Undefined: it serves what it served before. */
export function movedServices(before: View, now: View): string | undefined {
  const served = ({ policy, elsewhere }: View): Set<string> =>
    new Set(Object.keys(policy.services).filter((name) => elsewhere?.has(name) !== true))
  if (now.elsewhere === before.elsewhere) return undefined
  const [was, is] = [served(before), served(now)]
  // Only by its labels: services that come and go with a policy are told of with it.
  const begun = [...is].filter((name) => before.elsewhere?.has(name) === true)
  const ended = [...was].filter((name) => now.elsewhere?.has(name) === true)
  if (begun.length + ended.length === 0) return undefined
  const list = (names: readonly string[]): string =>
    names.length <= NAMES_MAX ? names.join(', ') : `${names.slice(0, NAMES_MAX).join(', ')} and ${names.length - NAMES_MAX} more`
  const parts = [
    ...(begun.length === 0 ? [] : [`begins to serve ${list(begun)}`]),
    ...(ended.length === 0 ? [] : [`no longer serves ${list(ended)}`]),
  ]
  return `by its labels it ${parts.join(', and ')}`
}
