/**
 * How far an update is, and whose turn it is: a function of the ring's state, its policy and the time of a block, so that all nodes say the same.
 *
 * One node, then its region, then all. A stage is over when all of it that nobody holds run the release, attested where they have to, for as long as the
 * policy waits. A node that failed, or says nothing after it began, stops the update until an operator resumes it.
 */
import { faultsOf } from '@ringwall/consensus'
import { isLapsed } from './attestation.ts'
import { type FleetNode, fleetNode, labelsOf } from './fleet.ts'
import { isSelected } from './fleet-label.ts'
import { heldOf } from './node-age.ts'
import { type FleetPolicy, type FleetUpdate, isInWindow } from './policy-fleet.ts'
import { areNear } from './release-version.ts'
import { isValidator, type RingState } from './state.ts'

/** What a start may take beyond the trial: then a node that tries is taken for failed. */
export const TRIAL_GRACE_MS = 600_000

export type Stage = 'one' | 'region' | 'all' | 'done'

export interface MemberStanding {
  readonly id: string
  readonly state: 'current' | 'trying' | 'failed' | 'silent' | 'held' | 'lapsed' | 'waiting'
}

export interface UpdateStanding {
  readonly name: string
  readonly version: string
  readonly stage: Stage
  /** Why nobody may begin now; undefined: somebody may. */
  readonly stopped: string | undefined
  /** Those who failed, or are silent. */
  readonly failed: readonly string[]
  readonly members: readonly MemberStanding[]
}

type State = Pick<RingState, 'fleet' | 'node' | 'nodes' | 'validators' | 'enrolment'>

/** The one that a node goes by. */
export function updateOf(state: State, { updates }: Pick<FleetPolicy, 'updates'>, id: string): FleetUpdate | undefined {
  const labels = labelsOf(state, id)
  return updates.find(({ select }) => isSelected(select, labels))
}

export function standingOf(state: State, policy: FleetPolicy, update: FleetUpdate, nowMs: number): UpdateStanding {
  const { name, version } = update
  const nodes = state.nodes.filter(({ id }) => updateOf(state, policy, id)?.name === name)
  const members = nodes.map(({ id }) => ({ id, state: memberState(state, policy, update, id, nowMs) }))
  const failed = members.filter((one) => one.state === 'failed' || one.state === 'silent').map(({ id }) => id)
  const stage = stageOf(state, update, members, nowMs)
  const stopped = whyStopped(state, policy, update, failed, stage, nowMs)
  return { name, version, stage, stopped, failed, members }
}

function memberState(
  state: State,
  policy: FleetPolicy,
  { version, trial }: FleetUpdate,
  id: string,
  nowMs: number,
): MemberStanding['state'] {
  const { ran, trying, failed } = fleetNode(state.fleet, id)
  if (failed?.version === version) return 'failed'
  if (trying?.version === version) return nowMs > trying.atMs + trial + TRIAL_GRACE_MS ? 'silent' : 'trying'
  if (heldOf(state, policy, id, nowMs) !== undefined) return 'held'
  if (isLapsed(state.enrolment.trust, id, nowMs)) return 'lapsed'
  return ran?.version === version ? 'current' : 'waiting'
}

/** The node that had it first. */
function firstOf({ fleet }: State, { version, first }: FleetUpdate, members: readonly MemberStanding[]): string | undefined {
  if (first !== undefined && members.some(({ id }) => id === first)) return first
  const begun = members
    .map(({ id }) => fleetNode(fleet, id))
    .flatMap((node) => {
      const at = node.ran?.version === version ? node.ran.atMs : sinceOf(node, version)
      return at === undefined ? [] : [{ id: node.id, at }]
    })
  return begun.sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1))[0]?.id
}

function sinceOf({ trying, failed }: FleetNode, version: string): number | undefined {
  if (trying?.version === version) return trying.atMs
  return failed?.version === version ? failed.atMs : undefined
}

function stageOf(state: State, update: FleetUpdate, members: readonly MemberStanding[], nowMs: number): Stage {
  const first = firstOf(state, update, members)
  const counted = members.filter((one) => one.state !== 'held')
  const isKept = ({ id, state: how }: MemberStanding): boolean =>
    how === 'current' && (fleetNode(state.fleet, id).ran?.atMs ?? nowMs) + update.wait <= nowMs
  if (counted.length > 0 && counted.every((one) => one.state === 'current')) return 'done'
  const one = counted.find(({ id }) => id === first)
  // One that is held by now was good while it was not.
  if (first === undefined || (one !== undefined && !isKept(one))) return 'one'
  const region = state.node(first)?.region
  const near = counted.filter(({ id }) => state.node(id)?.region === region)
  return near.filter((member) => !isKept(member)).length > update.absent ? 'region' : 'all'
}

function whyStopped(
  state: State,
  policy: FleetPolicy,
  { version, failure }: FleetUpdate,
  failed: readonly string[],
  stage: Stage,
  nowMs: number,
): string | undefined {
  const { releases, nodes } = state.fleet
  if (!releases.some((release) => release.version === version))
    return `the ring knows no release ${version}: ringwall release add`
  if (failed.length > 0) {
    const back = failure === 'rollback' ? ', and all go back' : ''
    return `${failed.join(', ')} failed${back}; ringwall fleet resume ${version} tries again`
  }
  const far = nodes.find(({ ran }) => ran !== null && !areNear(ran.version, version))
  if (far !== undefined) return `${far.id} runs ${far.ran?.version}, more than two releases from ${version}`
  if (stage !== 'done' && !isInWindow(policy, nowMs)) return 'outside of the windows (fleet.windows)'
  return undefined
}

/** Why a node may not begin with the release that it is to run; undefined: it may. */
export function whyNotYet(state: State, policy: FleetPolicy, id: string, version: string, nowMs: number): string | undefined {
  const update = updateOf(state, policy, id)
  if (update === undefined || update.version !== version) return `the policy does not have ${id} run ${version} (fleet.updates)`
  const { stage, stopped, members } = standingOf(state, policy, update, nowMs)
  if (stopped !== undefined) return stopped
  const own = members.find((one) => one.id === id)?.state
  if (own !== 'waiting') return own === 'current' ? `${id} runs it already` : `${id} is ${own}`
  const trying = members.filter((one) => one.state === 'trying')
  if (trying.length >= (stage === 'one' ? 1 : update.atOnce)) return `${trying.map((one) => one.id).join(', ')} is at it now`
  const first = firstOf(state, update, members)
  if (stage === 'one' && first !== undefined && first !== id) return `${first} goes first`
  if (stage === 'region' && state.node(id)?.region !== state.node(first ?? '')?.region) return `the region of ${first} goes first`
  return whyNotOfValidators(state, id, nowMs)
}

/** Of all updates together: as many validators must stay as agree. */
function whyNotOfValidators({ fleet, validators, enrolment }: State, id: string, nowMs: number): string | undefined {
  if (!validators.some((node) => node.id === id && isValidator(node))) return undefined
  const away = validators.filter(
    (node) => node.id !== id && (fleetNode(fleet, node.id).trying !== null || isLapsed(enrolment.trust, node.id, nowMs)),
  )
  if (away.length < Math.max(1, faultsOf(validators.length))) return undefined
  return `${away.map((node) => node.id).join(', ')} may be away: of ${validators.length} validators no more at a time`
}

/** Whether a node that runs a release is to go back to what it ran before, since others failed with it. */
export function isToGoBack(state: State, policy: FleetPolicy, id: string, nowMs: number): boolean {
  const update = updateOf(state, policy, id)
  const { ran, before } = fleetNode(state.fleet, id)
  if (update === undefined || update.failure !== 'rollback' || ran?.version !== update.version || before === null) return false
  return standingOf(state, policy, update, nowMs).failed.length > 0
}
