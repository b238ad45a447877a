/**
 * What the ring knows of the measured state of its nodes, and until when it believes them. Part of the state; immutable.
 *
 * A node says what it measured, over a beacon of the ring that nobody knew before; every validator judges the same words by the same references.
 * What is invalid is refused and changes nothing: trust then lapses by itself. What is valid and shows that something changed puts the node out,
 * by its own word.
 */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'
import type { DevicesPolicy } from './policy-devices.ts'
import type { RingState } from './state.ts'
import { portableSha256 } from './tx.ts'

export const ATTESTATION_KINDS = ['none', 'software', 'tpm'] as const
export type AttestationKind = (typeof ATTESTATION_KINDS)[number]

/** Beacons that quotes may be made over: each stands for half an interval. */
const BEACONS_KEPT = 4
export const EXPELLED_KEPT = 64
export const FORMER_BOOTS_KEPT = 4
export const REFERENCES_MAX = 64
/** Intervals without a quote after which a node is shown as stale, and after which it is out. */
export const STALE_INTERVALS = 2
export const TRUST_INTERVALS = 3
/** What a node that has just joined has, at least, until its first quote is agreed on. */
const FIRST_QUOTE_MS = 60_000
/** Without a block for so long, or three intervals if those are longer, the ring stood still. */
const STALL_MS_MIN = 15_000
const BEACON_DOMAIN = 'RINGWALL_BEACON_V1\n'
const QUOTE_DOMAIN = 'RINGWALL_QUOTE_V1\n'
const VERDICT_DOMAIN = 'RINGWALL_TPM_VERDICT_V1\n'

export interface Beacon {
  readonly atMs: number
  /** Lower-case hex, 32 bytes. */
  readonly value: string
}

export interface TrustRecord {
  readonly node: string
  /** Of the last quote: what vouched for it. */
  readonly kind: AttestationKind
  /** TPM2B_PUBLIC of its attestation key, base64url; null until validators saw that it lives in the device's TPM. */
  readonly ak: string | null
  /** Of the last quote, by the ring's clock; null before the first. */
  readonly atMs: number | null
  readonly staleAtMs: number
  readonly untilMs: number
  /** When it is out, but for the absence that the policy allows: `untilMs`, or later when the ring stood still. */
  readonly outAtMs: number
  /** By the node's clock: when it signed the last quote. */
  readonly saidMs: number
  /** The process that attests, and since when it does, by its clock. */
  readonly boot: { readonly id: string; readonly sinceMs: number } | null
  /** Processes before it: none of them may speak again. */
  readonly former: readonly string[]
  readonly clock: { readonly resetCount: number; readonly clockMs: number } | null
  /** What it measured last: hashes, lower-case hex; null: the next quote says. Its configuration must stay. */
  readonly configuration: string | null
  readonly program: string | null
  readonly pcrs: string | null
  /** What it is held to where no reference value says otherwise: what it measured first, or what was last allowed to all. */
  readonly held: { readonly program: string | null; readonly pcrs: string | null }
}

/** `all`, `region:NAME` or `node:ID`: a measured state is tried out on few before all may be in it. */
export type ReferenceScope = string

/** A measured state that nodes may be in. */
export interface Reference {
  readonly kind: 'program' | 'pcrs'
  readonly digest: string
  readonly label: string
  readonly scope: ReferenceScope
  /** It was taken back, and whoever is still in it then is out; null: it stands. */
  readonly endsAtMs: number | null
}

/** The TPM of a node that did not join as a device: operators say which it is. */
export interface Endorsement {
  readonly node: string
  /** As `Device.ek`. */
  readonly ek: string
}

export interface Expelled {
  readonly node: string
  readonly code: ExpulsionCode
  readonly atMs: number
}

export const EXPULSION_CODES = [
  'ATTESTATION_LATE',
  'CASE_OPENED',
  'DEBUGGER_ATTACHED',
  'CLONED',
  'CLOCK_ROLLBACK',
  'CONFIGURATION_CHANGED',
  'PROGRAM_CHANGED',
  'PCRS_CHANGED',
  'TPM_CHANGED',
] as const
export type ExpulsionCode = (typeof EXPULSION_CODES)[number]

export interface Trust {
  /** Newest last. */
  readonly beacons: readonly Beacon[]
  /** In order of node. */
  readonly endorsements: readonly Endorsement[]
  readonly expelled: readonly Expelled[]
  /** In order of node. */
  readonly nodes: readonly TrustRecord[]
  /** In order of kind and digest. */
  readonly references: readonly Reference[]
}

export const NO_TRUST: Trust = { beacons: [], endorsements: [], expelled: [], nodes: [], references: [] }

export function isNoTrust({ beacons, endorsements, expelled, nodes, references }: Trust): boolean {
  return beacons.length + endorsements.length + expelled.length + nodes.length + references.length === 0
}

const hashes = new WeakMap<Trust, string>()

export function trustHash(trust: Trust): string {
  let hash = hashes.get(trust)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(trust)))
    hashes.set(trust, hash)
  }
  return hash
}

export interface Measured {
  /** SHA-256 of what was measured, lower-case hex. */
  readonly configuration: string
  readonly program: string
}

/** What a TPM's quote is made over: everything that is said, so that a quote serves for nothing else. */
export function quoteNonce(said: {
  readonly ring: string
  readonly node: string
  readonly beacon: string
  readonly boot: string
  readonly measured: Measured
}): string {
  const { ring, node, beacon, boot, measured } = said
  return portableSha256(encodeUtf8(QUOTE_DOMAIN + canonicalJson({ beacon, boot, measured, node, ring })))
}

/** What a validator signs once an attestation key answered for the endorsement key of a device. */
export function verdictBytes(ring: string, node: string, ak: string, ek: string): Uint8Array {
  return encodeUtf8(VERDICT_DOMAIN + canonicalJson({ ak, ek, node, ring }))
}

export function recordOf(trust: Trust, node: string): TrustRecord | undefined {
  return trust.nodes.find((record) => record.node === node)
}

export function withRecord(trust: Trust, record: TrustRecord): Trust {
  const others = trust.nodes.filter(({ node }) => node !== record.node)
  return { ...trust, nodes: [...others, record].sort((a, b) => (a.node < b.node ? -1 : 1)) }
}

export function withExpelled(trust: Trust, expelled: Expelled): Trust {
  return {
    ...trust,
    expelled: [...trust.expelled, expelled].slice(-EXPELLED_KEPT),
    nodes: trust.nodes.filter(({ node }) => node !== expelled.node),
  }
}

/** Trust that begins, or goes on, now. */
export function untilOf(nowMs: number, every: number): Pick<TrustRecord, 'staleAtMs' | 'untilMs' | 'outAtMs'> {
  const untilMs = nowMs + TRUST_INTERVALS * every
  return { outAtMs: untilMs, staleAtMs: nowMs + STALE_INTERVALS * every, untilMs }
}

/** Of a node that has said nothing yet: it has a minute at least, for validators to look at its TPM. */
export function begunRecord(node: string, nowMs: number, every: number): TrustRecord {
  const { staleAtMs, untilMs } = untilOf(nowMs, every)
  const firstMs = Math.max(untilMs, nowMs + FIRST_QUOTE_MS)
  return {
    ak: null,
    atMs: null,
    boot: null,
    clock: null,
    configuration: null,
    former: [],
    held: { pcrs: null, program: null },
    kind: 'none',
    node,
    pcrs: null,
    program: null,
    saidMs: 0,
    staleAtMs,
    outAtMs: firstMs,
    untilMs: firstMs,
  }
}

/** Does this node have to attest? */
export function mustAttest(state: RingState, node: string, { attestation }: DevicesPolicy): boolean {
  if (attestation.least === 'none' || state.node(node) === undefined) return false
  return attestation.nodes === 'all' || state.enrolment.deviceOfNode(node) !== undefined
}

/** SHA-256 of the endorsement key of the TPM that a node is known by; null: none. */
export function endorsementOf({ enrolment }: RingState, node: string): string | null {
  const bound = enrolment.trust.endorsements.find((one) => one.node === node)
  return bound?.ek ?? enrolment.deviceOfNode(node)?.ek ?? null
}

/**
 * With the time of a block: a beacon when it is due, records of who has to attest, none of who is gone. Who is late is not out yet.
 *
 * @param entropy Not known before the block: what the ring has agreed on since the beacon before.
 */
export function tickedTrust(state: RingState, policy: DevicesPolicy, nowMs: number, entropy: () => string): Trust {
  const { trust } = state.enrolment
  const { least, every } = policy.attestation
  if (least === 'none') return trust.nodes.length + trust.beacons.length === 0 ? trust : { ...trust, beacons: [], nodes: [] }
  let next = trust
  const last = trust.beacons.at(-1)
  if (last === undefined || nowMs - last.atMs >= every / 2) {
    const value = portableSha256(encodeUtf8(BEACON_DOMAIN + canonicalJson([last?.value ?? '', entropy(), nowMs])))
    next = { ...next, beacons: [...trust.beacons, { atMs: nowMs, value }].slice(-BEACONS_KEPT) }
  }
  // Blocks that nobody could agree on are nobody's fault: whoever could not say anything meanwhile is not late, though not believed either.
  if (last !== undefined && nowMs - last.atMs >= Math.max(TRUST_INTERVALS * every, STALL_MS_MIN))
    next = { ...next, nodes: next.nodes.map((one) => ({ ...one, outAtMs: Math.max(one.outAtMs, nowMs + FIRST_QUOTE_MS) })) }
  const gone = trust.nodes.some(({ node }) => !mustAttest(state, node, policy))
  if (gone) next = { ...next, nodes: next.nodes.filter(({ node }) => mustAttest(state, node, policy)) }
  if (trust.endorsements.some(({ node }) => state.node(node) === undefined))
    next = { ...next, endorsements: next.endorsements.filter(({ node }) => state.node(node) !== undefined) }
  for (const { id } of state.nodes) {
    if (recordOf(next, id) === undefined && mustAttest(state, id, policy)) next = withRecord(next, begunRecord(id, nowMs, every))
  }
  return next
}

/** Those whose trust has lapsed for longer than they may be absent, in order. */
export function lateNodes({ nodes }: Trust, nowMs: number, absence: number): readonly string[] {
  return nodes.filter(({ outAtMs }) => outAtMs + absence <= nowMs).map(({ node }) => node)
}

/** Nothing that a node says counts once its trust has lapsed, until it attests. */
export function isLapsed(trust: Trust, node: string, nowMs: number): boolean {
  const record = recordOf(trust, node)
  return record !== undefined && record.untilMs <= nowMs
}
