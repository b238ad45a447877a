/**
 * How old nodes may become (`fleet.maxAge`): counted from when the ring added them, which no node says of itself. Shortly before its end a node is drained;
 * at its end the ring lets it go, or, where it votes, gives it nothing any more. A device that is set up anew joins as another node, of age 0.
 *
 * Since when a node is in the ring is kept from the first policy on that has a maximum age; those that were there before begin with it.
 */
import { encodeUtf8 } from './encoding.ts'
import { type Fleet, type Hold, holdOf, labelsOf, type NodeSince, withSince } from './fleet.ts'
import { isSelected } from './fleet-label.ts'
import { RETIRED_MAX } from './nodes.ts'
import type { PolicyFault } from './policy-faults.ts'
import type { FleetPolicy, MaxAge } from './policy-fleet.ts'
import { portableSha256 } from './sha256.ts'
import { isValidator, type RingState } from './state.ts'

export const MAX_AGE_HOLDER = 'fleet.maxAge'
/** Of the denial of the certificates of a node that was let go for its age. */
export const AGED_REASON = 'put out: NODE_AGED'

const DRAIN_MS = 300_000

type State = Pick<RingState, 'fleet' | 'node' | 'nodes' | 'enrolment'>
type Ages = Pick<FleetPolicy, 'maxAge'>

/** Of one node; Unix milliseconds. */
export interface NodeAge {
  readonly rule: MaxAge
  readonly sinceMs: number
  readonly drainAtMs: number
  readonly endsAtMs: number
}

/** Undefined of nodes that may become as old as they like. */
export function ageOf(state: Pick<State, 'fleet' | 'node' | 'enrolment'>, { maxAge }: Ages, id: string): NodeAge | undefined {
  if (maxAge.length === 0) return undefined
  const sinceMs = state.fleet.since?.find((one) => one.id === id)?.atMs
  if (sinceMs === undefined) return undefined
  const labels = labelsOf(state, id)
  const rule = maxAge.find(({ select }) => isSelected(select, labels))
  if (rule === undefined) return undefined
  const endsAtMs = sinceMs + rule.age - Math.floor(rule.age * rule.spread * shareOf(id))
  const drain = rule.drain ?? Math.min(DRAIN_MS, rule.age / 10)
  return { rule, sinceMs, drainAtMs: Math.max(sinceMs, endsAtMs - drain), endsAtMs }
}

const shares = new Map<string, number>()
const SHARES_MAX = 1_000

/** From 0 to 1, by the name: nodes that came together do not end together. */
function shareOf(id: string): number {
  let share = shares.get(id)
  if (share === undefined) {
    share = Number.parseInt(portableSha256(encodeUtf8(id)).slice(0, 8), 16) / 2 ** 32
    if (shares.size >= SHARES_MAX) shares.clear()
    shares.set(id, share)
  }
  return share
}

/** Nothing that it says counts, and it is given nothing: its age is over. */
export function isOverAge(state: State, policy: Ages, id: string, nowMs: number): boolean {
  const age = ageOf(state, policy, id)
  return age !== undefined && age.rule.end === 'out' && age.endsAtMs <= nowMs
}

/** When what the ring gives ends, of nodes whose age does that. */
export function agesOf(state: State, policy: Ages): readonly { readonly node: string; readonly endsAtMs: number }[] {
  if (policy.maxAge.length === 0) return []
  return state.nodes.flatMap(({ id }) => {
    const age = ageOf(state, policy, id)
    return age === undefined || age.rule.end !== 'out' ? [] : [{ node: id, endsAtMs: age.endsAtMs }]
  })
}

/**
 * Those that the ring is to let go, in order. Validators stay, for operators to replace: votes and shares of keys are not to end by a clock.
 */
export function endedNodes(state: State & Pick<RingState, 'retired'>, policy: Ages, nowMs: number): readonly string[] {
  const room = RETIRED_MAX - state.retired.length
  return state.nodes
    .filter((node) => !isValidator(node) && isOverAge(state, policy, node.id, nowMs))
    .map(({ id }) => id)
    .slice(0, Math.max(0, room))
}

/** The device that it is may come again as another node, and this one is out: its age is nearly over, or it is to stay drained. */
export function mayBeSetUpAnew(
  state: Pick<RingState, 'fleet' | 'node' | 'enrolment' | 'retired'>,
  policy: Ages,
  id: string,
  nowMs: number,
): boolean {
  const node = state.node(id)
  const age = ageOf(state, policy, id)
  const isDue = age !== undefined && age.drainAtMs <= nowMs
  return isDue && node !== undefined && !isValidator(node) && state.retired.length < RETIRED_MAX
}

/** Since when those are in the ring that it has. */
export function tickedAges({ fleet, nodes }: Pick<RingState, 'fleet' | 'nodes'>, { maxAge }: Ages, nowMs: number): Fleet {
  const known = new Map(fleet.since?.map((one) => [one.id, one]))
  if (maxAge.length === 0 || nodes.every(({ id }) => known.has(id))) return fleet
  const since = nodes.map(({ id }): NodeSince => known.get(id) ?? { id, atMs: nowMs })
  return withSince(fleet, since)
}

/** What a node is held from: by operators, or since its age is nearly over. */
export function heldOf(state: State, policy: Ages, id: string, nowMs: number): Hold | undefined {
  const hold = holdOf(state.fleet, id, nowMs)
  if (hold?.kind === 'drain') return hold
  const age = ageOf(state, policy, id)
  if (age === undefined || age.drainAtMs > nowMs) return hold
  const isOver = age.endsAtMs <= nowMs
  const end = new Date(age.endsAtMs).toISOString().slice(0, 19)
  return {
    kind: 'drain',
    by: MAX_AGE_HOLDER,
    reason: `NODE_AGED: its age ${isOver ? 'is' : 'will be'} over at ${end}Z: set it up anew`,
    sinceMs: age.drainAtMs,
    untilMs: null,
  }
}

/** A policy that would end nodes at once is a slip, or is to wait for them to be set up anew. */
export function ageFaults({ fleet }: { readonly fleet: Ages }, state: State, nowMs: number): PolicyFault[] {
  const over = new Map<MaxAge, { readonly id: string; readonly days: number }>()
  for (const { id } of state.nodes) {
    const age = ageOf(state, fleet, id)
    if (age === undefined || age.endsAtMs > nowMs || over.has(age.rule)) continue
    over.set(age.rule, { id, days: Math.ceil((nowMs - age.sinceMs) / 86_400_000) })
  }
  return [...over].map(([rule, { id, days }]) => ({
    path: ['fleet', 'maxAge', fleet.maxAge.indexOf(rule), 'age'],
    message: `${id} is older than that, and would be out at once`,
    hint: `set such nodes up anew first, or allow ${days + 1}d`,
  }))
}
