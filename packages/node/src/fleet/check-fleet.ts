/** What `ringwall check` says of nodes with a maximum age, and of services that no node serves. */
import { ageOf, type FleetPolicy, isValidator, type Policy, type RingState, servedBy } from '@ringwall/ring'
import type { CheckFinding } from '../check.ts'

const SOON_MS = 86_400_000

/** Nothing where the policy sets no maximum age. */
export function checkAges(state: RingState, policy: Pick<FleetPolicy, 'maxAge'>, nowMs: number): readonly CheckFinding[] {
  return state.nodes.flatMap((node): readonly CheckFinding[] => {
    const age = ageOf(state, policy, node.id)
    if (age === undefined) return []
    const { endsAtMs, drainAtMs, sinceMs, rule } = age
    // Of nodes that live for days the last one, of others the last quarter.
    if (endsAtMs - nowMs > Math.min(SOON_MS, (endsAtMs - sinceMs) / 4) && drainAtMs > nowMs) return []
    const end = new Date(endsAtMs).toISOString().slice(0, 16).replace('T', ' ')
    const fix = isValidator(node)
      ? `add another validator, then: ringwall node rm ${node.id}`
      : `set ${node.id} up anew: a device joins again by itself once the ring has let it go`
    const isOver = endsAtMs <= nowMs
    const then =
      rule.end === 'drain'
        ? 'it stays drained'
        : isValidator(node)
          ? 'it votes on, and is given nothing else'
          : 'the ring lets it go'
    const what = isOver
      ? `${node.id} is older than it may be since ${end}Z: ${then}`
      : `the age of ${node.id} is over at ${end}Z: then ${then}`
    return [{ group: 'fleet', level: isOver ? 'bad' : 'warn', what, fix }]
  })
}

/** Labels may come later; but what nobody serves is seldom meant. */
export function checkServed(state: RingState, policy: Policy): readonly CheckFinding[] {
  return servedBy(state, policy).flatMap(({ service, select, nodes }): readonly CheckFinding[] => {
    if (nodes.length > 0) return []
    const what = `no node serves ${service}: none has the labels ${select}`
    return [{ group: 'fleet', level: 'warn', what, fix: 'ringwall node label ID KEY=VALUE, or another selector in the policy' }]
  })
}
