/** What is said of labels, holds, releases and updates, what of it may be said, and what becomes of it. */
import { decodeBase64url } from './encoding.ts'
import { type Fleet, type FleetNode, type FleetRelease, fleetNode, holdOf, RELEASES_MAX, withFleetNode } from './fleet.ts'
import { LABELS_MAX, OWN_LABELS } from './fleet-label.ts'
import { isFleetType } from './fleet-parse.ts'
import { whyNotYet } from './fleet-rollout.ts'
import type { Meeting } from './meaning.ts'
import { heldOf } from './node-age.ts'
import type { FleetPolicy } from './policy-fleet.ts'
import { RELEASE_BYTES_MAX, RELEASE_FILES_MAX, type ReleaseHeader, releaseBytes, releaseDigest } from './release.ts'
import { areNear, RELEASES_APART_MAX } from './release-version.ts'
import type { TxBody, TxContent } from './types.ts'

const HOLD_MS_MAX = 365 * 86_400_000
/** Between two reports of one node that say what it runs: a node that lies is not to fill the ledger with them. */
const REPORT_MS_MIN = 1_000

export type FleetStatement =
  /** Of operators. `set` and `unset` in order. */
  | {
      readonly type: 'fleet.label'
      readonly of: 'node' | 'device'
      /** A node's id, or a device's serial. */
      readonly id: string
      readonly set: readonly string[]
      readonly unset: readonly string[]
      readonly reason: string
    }
  /** Of operators; `ttlMs` 0: until it is lifted, which `none` does. */
  | {
      readonly type: 'fleet.hold'
      readonly id: string
      readonly kind: 'cordon' | 'drain' | 'none'
      readonly ttlMs: number
      readonly reason: string
    }
  /** Of a node about itself: it begins with a release, keeps it, or gave it up. */
  | {
      readonly type: 'fleet.report'
      readonly how: 'trying' | 'running' | 'failed'
      readonly version: string
      readonly reason: string
    }
  /** Of operators: nodes that failed with a release may try again. */
  | { readonly type: 'fleet.resume'; readonly version: string; readonly reason: string }
  /** Of operators: a release, signed by its maker. */
  | {
      readonly type: 'release.add'
      readonly header: ReleaseHeader
      readonly key: string
      readonly signature: string
      readonly reason: string
    }
  | { readonly type: 'release.remove'; readonly version: string; readonly reason: string }

export type FleetRefusalCode =
  | 'LABEL_OWN'
  | 'LABELS_FULL'
  | 'LABEL_UNKNOWN'
  | 'NODE_NOT_HELD'
  | 'HOLD_TTL'
  | 'RELEASE_KEY_UNKNOWN'
  | 'RELEASE_SIGNATURE'
  | 'RELEASE_TOO_LARGE'
  | 'RELEASE_KNOWN'
  | 'RELEASE_UNKNOWN'
  | 'RELEASE_IN_USE'
  | 'RELEASES_FULL'
  | 'UPDATE_NOT_YET'
  | 'UPDATE_NOT_BEGUN'
  | 'UPDATE_NOT_FAILED'
  | 'VERSION_SKEW'
  | 'REPORT_REPEATED'

type Refusal = { readonly code: FleetRefusalCode | 'NODE_UNKNOWN' | 'DEVICE_UNKNOWN'; readonly reason: string }
type Of<T extends FleetStatement['type']> = Extract<FleetStatement, { type: T }>

const refuse = (code: Refusal['code'], reason: string): Refusal => ({ code, reason })

export function isFleetStatement(body: TxBody): body is FleetStatement {
  return isFleetType(body.type)
}

/** Undefined: it may be applied. Who may say it at all is looked at before. */
export function refusalOfFleet(meeting: Meeting, body: FleetStatement, policy: FleetPolicy): Refusal | undefined {
  const { state, nowMs } = meeting
  const { fleet } = state
  const unknown = (id: string): Refusal =>
    refuse('NODE_UNKNOWN', `${id} is no node of this ring; its nodes are ${state.nodes.map((node) => node.id).join(', ')}`)
  switch (body.type) {
    case 'fleet.label':
      if (body.of === 'node' && state.node(body.id) === undefined) return unknown(body.id)
      if (body.of === 'device' && state.enrolment.device(body.id) === undefined)
        return refuse('DEVICE_UNKNOWN', `the ring knows no device ${body.id}; ringwall device ls lists them`)
      return refusalOfLabels(fleet, body)
    case 'fleet.hold':
      if (state.node(body.id) === undefined) return unknown(body.id)
      if (body.kind === 'none' && holdOf(fleet, body.id, nowMs) === undefined) {
        const aged = heldOf(state, policy, body.id, nowMs)
        if (aged !== undefined) return refuse('NODE_NOT_HELD', `no operator holds ${body.id}: ${aged.by} does, ${aged.reason}`)
        return refuse('NODE_NOT_HELD', `${body.id} is neither cordoned nor drained`)
      }
      if (body.ttlMs > HOLD_MS_MAX) return refuse('HOLD_TTL', 'a node is held for 365 days at most; leave --for out for no end')
      return undefined
    case 'fleet.report':
      return refusalOfReport(meeting, body, policy)
    case 'fleet.resume':
      if (fleet.nodes.some((node) => isStuck(node, body.version))) return undefined
      return refuse('UPDATE_NOT_FAILED', `no node failed with ${body.version}; ringwall fleet status shows how far each is`)
    case 'release.add':
      return refusalOfRelease(meeting, body, policy)
    case 'release.remove':
      return refusalOfRemoval(meeting, body.version, policy)
  }
}

function refusalOfLabels(fleet: Fleet, { of, id, set, unset }: Of<'fleet.label'>): Refusal | undefined {
  const own = [...set.map(keyOf), ...unset].find((key) => OWN_LABELS.includes(key))
  if (own !== undefined) return refuse('LABEL_OWN', `${own} is what every node has by itself; choose another key`)
  const before = heldLabels(fleet, of, id)
  const missing = unset.find((key) => !before.some((label) => keyOf(label) === key))
  if (missing !== undefined) return refuse('LABEL_UNKNOWN', `${id} has no label ${missing}`)
  if (labelsAfter(before, set, unset).length > LABELS_MAX)
    return refuse('LABELS_FULL', `a ${of} has at most ${LABELS_MAX} labels; take some away with KEY-`)
  return undefined
}

const keyOf = (label: string): string => label.slice(0, label.indexOf('='))

function heldLabels(fleet: Fleet, of: 'node' | 'device', id: string): readonly string[] {
  if (of === 'node') return fleetNode(fleet, id).labels
  return fleet.devices.find(({ serial }) => serial === id)?.labels ?? []
}

function labelsAfter(before: readonly string[], set: readonly string[], unset: readonly string[]): readonly string[] {
  const gone = new Set([...set.map(keyOf), ...unset])
  return [...before.filter((label) => !gone.has(keyOf(label))), ...set].sort()
}

/** It keeps the update from going on: it failed, or began and says nothing. */
function isStuck({ trying, failed }: FleetNode, version: string): boolean {
  return failed?.version === version || trying?.version === version
}

function refusalOfReport(
  { state, issuer, nowMs }: Meeting,
  { how, version }: Of<'fleet.report'>,
  policy: FleetPolicy,
): Refusal | undefined {
  const { fleet } = state
  const { ran, before, trying, failed } = fleetNode(fleet, issuer.name)
  if (how === 'trying') {
    const why = whyNotYet(state, policy, issuer.name, version, nowMs)
    return why === undefined ? undefined : refuse('UPDATE_NOT_YET', why)
  }
  if (how === 'failed') {
    if (failed?.version === version) return refuse('REPORT_REPEATED', `${issuer.name} has said so`)
    if (trying?.version === version || ran?.version === version) return undefined
    return refuse('UPDATE_NOT_BEGUN', `${issuer.name} has not begun with ${version}`)
  }
  if (ran?.version === version && trying === null) return refuse('REPORT_REPEATED', `${issuer.name} has said so`)
  if (ran !== null && nowMs < ran.atMs + REPORT_MS_MIN) return refuse('REPORT_REPEATED', 'it said what it runs just now')
  const isKnown = fleet.releases.some((release) => release.version === version)
  // What it says first is what somebody installed, perhaps before the release was registered.
  if (ran !== null && isKnown && trying?.version !== version && before !== version && ran.version !== version)
    return refuse('UPDATE_NOT_BEGUN', `${issuer.name} has not begun with ${version}: nodes ask before they do`)
  const far = fleet.nodes.find((node) => node.id !== issuer.name && node.ran !== null && !areNear(node.ran.version, version))
  if (far === undefined) return undefined
  return refuse(
    'VERSION_SKEW',
    `${far.id} runs ${far.ran?.version}: nodes of one ring are at most ${RELEASES_APART_MAX} minor releases apart, and ${version} is further`,
  )
}

function refusalOfRelease(
  { state, verify }: Meeting,
  { header, key, signature }: Of<'release.add'>,
  policy: FleetPolicy,
): Refusal | undefined {
  const { releases } = state.fleet
  if (!policy.keys.includes(key))
    return refuse('RELEASE_KEY_UNKNOWN', 'the policy does not name the key that signed this release (fleet.keys)')
  if (header.files < 1 || header.files > RELEASE_FILES_MAX || header.bytes > RELEASE_BYTES_MAX)
    return refuse('RELEASE_TOO_LARGE', `a release has 1 to ${RELEASE_FILES_MAX} files of 1 GiB together`)
  if (!verify(decodeBase64url(key), releaseBytes(header), decodeBase64url(signature)))
    return refuse('RELEASE_SIGNATURE', 'the signature is not by that key over this release')
  const known = releases.find(({ version }) => version === header.version)
  if (known !== undefined)
    return refuse(
      'RELEASE_KNOWN',
      known.digest === releaseDigest(header)
        ? `the ring has ${header.version} already`
        : `the ring has another ${header.version}: a version is never used for two releases`,
    )
  if (releases.length >= RELEASES_MAX)
    return refuse('RELEASES_FULL', `the ring holds ${RELEASES_MAX} releases; let go of one: ringwall release rm`)
  return undefined
}

function refusalOfRemoval({ state }: Meeting, version: string, policy: FleetPolicy): Refusal | undefined {
  const { releases, nodes } = state.fleet
  if (!releases.some((release) => release.version === version))
    return refuse('RELEASE_UNKNOWN', `the ring has no release ${version}; ringwall release ls lists them`)
  const wanted = policy.updates.find((update) => update.version === version)
  if (wanted !== undefined) return refuse('RELEASE_IN_USE', `the policy has nodes run it (fleet.updates: ${wanted.name})`)
  const user = nodes.find(({ ran, trying }) => ran?.version === version || trying?.version === version)
  return user === undefined ? undefined : refuse('RELEASE_IN_USE', `${user.id} runs it`)
}

/** What becomes of one that may be applied. @param name Who said it, without its kind. */
export function withFleetStatement(
  fleet: Fleet,
  { issuer }: Pick<TxContent, 'issuer'>,
  name: string,
  body: FleetStatement,
  nowMs: number,
): Fleet {
  switch (body.type) {
    case 'fleet.label': {
      const labels = labelsAfter(heldLabels(fleet, body.of, body.id), body.set, body.unset)
      if (body.of === 'node') return withFleetNode(fleet, { ...fleetNode(fleet, body.id), labels })
      const others = fleet.devices.filter(({ serial }) => serial !== body.id)
      const devices = labels.length === 0 ? others : [...others, { serial: body.id, labels }]
      return { ...fleet, devices: devices.sort((a, b) => (a.serial < b.serial ? -1 : 1)) }
    }
    case 'fleet.hold': {
      const { id, kind, reason, ttlMs } = body
      const untilMs = ttlMs === 0 ? null : nowMs + ttlMs
      const hold = kind === 'none' ? null : { kind, by: issuer, reason, sinceMs: nowMs, untilMs }
      return withFleetNode(fleet, { ...fleetNode(fleet, id), hold })
    }
    case 'fleet.report':
      return withFleetNode(fleet, reported(fleetNode(fleet, name), body, nowMs))
    case 'fleet.resume':
      return fleet.nodes
        .filter((node) => isStuck(node, body.version))
        .reduce((next, node) => withFleetNode(next, { ...node, failed: null, trying: null }), fleet)
    case 'release.add': {
      const { header, key, signature } = body
      const release: FleetRelease = { ...header, digest: releaseDigest(header), key, signature, by: issuer, atMs: nowMs }
      return { ...fleet, releases: [...fleet.releases, release].sort((a, b) => (a.version < b.version ? -1 : 1)) }
    }
    case 'release.remove':
      return { ...fleet, releases: fleet.releases.filter(({ version }) => version !== body.version) }
  }
}

function reported(node: FleetNode, { how, version, reason }: Of<'fleet.report'>, atMs: number): FleetNode {
  if (how === 'trying') return { ...node, trying: { version, atMs } }
  if (how === 'failed') return { ...node, trying: null, failed: { version, atMs, reason } }
  const { ran } = node
  // Whoever went back has nothing before it any more: not to and fro.
  const before = ran === null || ran.version === version || node.before === version ? null : ran.version
  return { ...node, ran: { version, atMs }, before, trying: null }
}

/**
 * Whether a node may measure this of itself by the releases that the ring agreed on: of what it tries out, runs, or ran before. These are the
 * references of an update, staged as it is.
 */
export function isReleased({ fleet }: { readonly fleet: Fleet }, id: string, digest: string): boolean {
  const { trying, ran, before } = fleetNode(fleet, id)
  const versions = [trying?.version, ran?.version, before]
  return fleet.releases.some(({ version, programs }) => versions.includes(version) && programs.includes(digest))
}
