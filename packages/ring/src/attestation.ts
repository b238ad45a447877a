/**
 * What the ring knows of the measured state of its devices, and until when it believes them. Part of the state; immutable.
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
  /** By the node's clock: when it signed the last quote. */
  readonly saidMs: number
  /** The process that attests, and since when it does, by its clock. */
  readonly boot: { readonly id: string; readonly sinceMs: number } | null
  /** Processes before it: none of them may speak again. */
  readonly former: readonly string[]
  readonly clock: { readonly resetCount: number; readonly clockMs: number } | null
  /** What it must measure again: hashes, lower-case hex; null: the next quote says. */
  readonly configuration: string | null
  readonly program: string | null
  readonly pcrs: string | null
}

/** A measured state that nodes may be in. */
export interface Reference {
  readonly kind: 'program' | 'pcrs'
  readonly digest: string
  readonly label: string
}

export interface Expelled {
  readonly node: string
  readonly code: ExpulsionCode
  readonly atMs: number
}

export const EXPULSION_CODES = [
  'ATTESTATION_LATE',
  'TAMPER_ALARM',
  'CLONED',
  'CLOCK_ROLLBACK',
  'CONFIGURATION_CHANGED',
  'PROGRAM_CHANGED',
  'PCRS_CHANGED',
] as const
export type ExpulsionCode = (typeof EXPULSION_CODES)[number]

export interface Trust {
  /** Newest last. */
  readonly beacons: readonly Beacon[]
  readonly expelled: readonly Expelled[]
  /** In order of node. */
  readonly nodes: readonly TrustRecord[]
  /** In order of kind and digest. */
  readonly references: readonly Reference[]
}

export const NO_TRUST: Trust = { beacons: [], expelled: [], nodes: [], references: [] }

export function isNoTrust({ beacons, expelled, nodes, references }: Trust): boolean {
  return beacons.length + expelled.length + nodes.length + references.length === 0
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
export function untilOf(nowMs: number, every: number): Pick<TrustRecord, 'staleAtMs' | 'untilMs'> {
  return { staleAtMs: nowMs + STALE_INTERVALS * every, untilMs: nowMs + TRUST_INTERVALS * every }
}

/** Of a node that has said nothing yet. */
export function begunRecord(node: string, nowMs: number, every: number): TrustRecord {
  return {
    ak: null,
    atMs: null,
    boot: null,
    clock: null,
    configuration: null,
    former: [],
    kind: 'none',
    node,
    pcrs: null,
    program: null,
    saidMs: 0,
    ...untilOf(nowMs, every),
  }
}

/** Does this node have to attest? Those do that joined as devices. */
export function mustAttest(state: RingState, node: string, { attestation }: DevicesPolicy): boolean {
  return attestation.least !== 'none' && state.node(node) !== undefined && state.enrolment.deviceOfNode(node) !== undefined
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
  const gone = trust.nodes.some(({ node }) => !mustAttest(state, node, policy))
  if (gone) next = { ...next, nodes: next.nodes.filter(({ node }) => mustAttest(state, node, policy)) }
  for (const { id } of state.nodes) {
    if (recordOf(next, id) === undefined && mustAttest(state, id, policy)) next = withRecord(next, begunRecord(id, nowMs, every))
  }
  return next
}

/** Those whose trust has lapsed, in order. */
export function lateNodes({ nodes }: Trust, nowMs: number): readonly string[] {
  return nodes.filter(({ untilMs }) => untilMs <= nowMs).map(({ node }) => node)
}
