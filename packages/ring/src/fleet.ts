/**
 * Labels of nodes, what operators keep nodes from, which releases there are, and how far each node is with them: a part of the ring's state. Immutable.
 */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'
import type { Labels } from './fleet-label.ts'
import type { ReleaseHeader } from './release.ts'
import { portableSha256 } from './sha256.ts'
import type { RingState } from './state.ts'

export const RELEASES_MAX = 16
/** Measured programs of one release: one for each engine that runs it. */
export const PROGRAMS_MAX = 8

export interface Hold {
  /** Cordoned: it takes no new work of the ring, and no update. Drained: its clients go elsewhere as well. */
  readonly kind: 'cordon' | 'drain'
  readonly by: string
  readonly reason: string
  readonly sinceMs: number
  /** Null: until it is lifted. */
  readonly untilMs: number | null
}

export interface FleetNode {
  readonly id: string
  /** `KEY=VALUE`, in order. */
  readonly labels: readonly string[]
  readonly hold: Hold | null
  /** What it runs, by its own word. */
  readonly ran: { readonly version: string; readonly atMs: number } | null
  /** What it ran before: it may go back. */
  readonly before: string | null
  /** What it tries out now, and has not found good yet. */
  readonly trying: { readonly version: string; readonly atMs: number } | null
  readonly failed: { readonly version: string; readonly atMs: number; readonly reason: string } | null
}

export interface FleetRelease extends ReleaseHeader {
  /** SHA-256 of its header. */
  readonly digest: string
  readonly key: string
  readonly signature: string
  readonly by: string
  readonly atMs: number
}

/** Since when a node is in the ring. */
export interface NodeSince {
  readonly id: string
  readonly atMs: number
}

export interface Fleet {
  /** Labels of devices, which their nodes have as well; in order of serial. */
  readonly devices: readonly { readonly serial: string; readonly labels: readonly string[] }[]
  /** In order of id. */
  readonly nodes: readonly FleetNode[]
  /** In order of version, as text. */
  readonly releases: readonly FleetRelease[]
  /** In order of id. Absent: nobody asked for it yet (`fleet.maxAge`). */
  readonly since?: readonly NodeSince[] | undefined
}

export const NO_FLEET: Fleet = { devices: [], nodes: [], releases: [] }

const hashes = new WeakMap<Fleet, string>()

export function isNoFleet({ devices, nodes, releases, since = [] }: Fleet): boolean {
  return devices.length + nodes.length + releases.length + since.length === 0
}

/** Undefined of none. */
export function hashOfFleet(fleet: Fleet): string | undefined {
  if (isNoFleet(fleet)) return undefined
  let hash = hashes.get(fleet)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(fleet)))
    hashes.set(fleet, hash)
  }
  return hash
}

export function fleetNode({ nodes }: Fleet, id: string): FleetNode {
  return (
    nodes.find((node) => node.id === id) ?? { id, labels: [], hold: null, ran: null, before: null, trying: null, failed: null }
  )
}

/** One of which nothing is to be known is not kept. */
export function withFleetNode(fleet: Fleet, node: FleetNode): Fleet {
  const { labels, hold, ran, trying, failed } = node
  const isNothing = labels.length === 0 && hold === null && ran === null && trying === null && failed === null
  const others = fleet.nodes.filter(({ id }) => id !== node.id)
  return { ...fleet, nodes: isNothing ? others : [...others, node].sort((a, b) => (a.id < b.id ? -1 : 1)) }
}

export function withoutFleetNode(fleet: Fleet, id: string): Fleet {
  const { nodes, since } = fleet
  if (!nodes.some((node) => node.id === id) && since?.some((one) => one.id === id) !== true) return fleet
  const left = { ...fleet, nodes: nodes.filter((node) => node.id !== id) }
  return since === undefined
    ? left
    : withSince(
        left,
        since.filter((one) => one.id !== id),
      )
}

export function withSince(fleet: Fleet, since: readonly NodeSince[]): Fleet {
  const { since: _since, ...others } = fleet
  return since.length === 0 ? others : { ...others, since: [...since].sort((a, b) => (a.id < b.id ? -1 : 1)) }
}

/** That holds now. */
export function holdOf(fleet: Fleet, id: string, nowMs: number): Hold | undefined {
  const { hold } = fleetNode(fleet, id)
  return hold === null || (hold.untilMs !== null && hold.untilMs <= nowMs) ? undefined : hold
}

/** Its own, those of the device that it is, and `node` and `region`. */
export function labelsOf(state: Pick<RingState, 'fleet' | 'node' | 'enrolment'>, id: string): Labels {
  const serial = state.enrolment.deviceOfNode(id)?.serial
  const device = state.fleet.devices.find((one) => one.serial === serial)?.labels ?? []
  const labels = new Map<string, string>()
  for (const label of [...device, ...fleetNode(state.fleet, id).labels]) {
    const at = label.indexOf('=')
    labels.set(label.slice(0, at), label.slice(at + 1))
  }
  const region = state.node(id)?.region
  labels.set('node', id)
  if (region !== undefined) labels.set('region', region)
  return labels
}
