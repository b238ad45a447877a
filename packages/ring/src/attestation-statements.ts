/** What nodes say of their measured state, what operators say of reference values, what of it may be said, and what becomes of it. */
import { faultsOf } from '@ringwall/consensus'
import {
  ATTESTATION_KINDS,
  type AttestationKind,
  begunRecord,
  type ExpulsionCode,
  endorsementOf,
  FORMER_BOOTS_KEPT,
  type Measured,
  mustAttest,
  quoteNonce,
  REFERENCES_MAX,
  type Reference,
  type ReferenceScope,
  recordOf,
  type Trust,
  type TrustRecord,
  untilOf,
  verdictBytes,
  withRecord,
} from './attestation.ts'
import type { ALARMS } from './attestation-parse.ts'
import { decodeBase64url } from './encoding.ts'
import type { Enrolment } from './enrolment.ts'
import type { EnrolmentMeans } from './enrolment-statements.ts'
import { isReleased } from './fleet-statements.ts'
import type { Meeting, Refusal } from './meaning.ts'
import { refusalOfNodeRemoval } from './nodes.ts'
import type { RingState } from './state.ts'
import type { TxContent } from './types.ts'

/** How far a node's own clock may step back between two quotes. */
const ROLLBACK_MS_MAX = 30_000
/** Of an interval: quotes that come faster are refused. */
const EARLY_SHARE = 8

export interface TpmEvidence {
  /** TPMS_ATTEST and TPMT_SIGNATURE, base64url. */
  readonly quote: string
  readonly signature: string
  /** SHA-256 values of the quoted registers, in order of their indexes. */
  readonly pcrs: readonly string[]
  /** TCG event log, base64url; empty: there is none. */
  readonly log: string
}

export type AttestationStatement =
  /** Of a node about itself. */
  | {
      readonly type: 'attest.quote'
      /** What it notices of an attack on itself. */
      readonly alarm: (typeof ALARMS)[number] | null
      readonly beacon: string
      /** Of its process: 16 hex digits. */
      readonly boot: string
      readonly measured: Measured
      readonly tpm: TpmEvidence | null
    }
  /** Of a node with a TPM: its attestation key, and validators who saw that it lives beside the device's endorsement key. */
  | {
      readonly type: 'attest.enrol'
      readonly ak: string
      readonly verdicts: readonly { readonly node: string; readonly signature: string }[]
    }
  /** Of operators: a state that nodes may be in, or may no longer. */
  | (Omit<Reference, 'endsAtMs'> & {
      readonly type: 'attest.reference'
      readonly allowed: boolean
      readonly reason: string
      /** Of one that is taken back: how long nodes may take to leave it. */
      readonly withinMs: number
    })
  /** Of operators: whatever the node measures next is how it is to be. */
  | { readonly type: 'attest.accept'; readonly node: string; readonly reason: string }
  /** Of operators: the TPM of a node that did not join as a device. */
  | { readonly type: 'attest.bind'; readonly ek: string; readonly node: string; readonly reason: string }

export type AttestationRefusalCode =
  | 'ATTESTATION_OFF'
  | 'ATTESTATION_EARLY'
  | 'ATTESTATION_TOO_WEAK'
  | 'BEACON_OLD'
  | 'AK_UNKNOWN'
  | 'AK_KNOWN'
  | 'EK_UNKNOWN'
  | 'EK_KNOWN'
  | 'VERDICTS_SHORT'
  | 'REFERENCE_UNKNOWN'
  | 'REFERENCES_FULL'
  | 'REFERENCE_NARROWS'
  | 'REFERENCE_UNPROVEN'
  | 'TRUST_LAPSED'
  | 'NODE_AGED'
  | QuoteRefusalCode

export type QuoteRefusalCode = 'QUOTE_MALFORMED' | 'QUOTE_SIGNATURE' | 'QUOTE_NONCE' | 'QUOTE_PCRS' | 'QUOTE_LOG' | 'QUOTE_CLOCK'

/** What a TPM's quote says, once it was verified. */
export type QuoteReading =
  | { readonly ok: true; readonly pcrs: string; readonly clock: { readonly resetCount: number; readonly clockMs: number } }
  | { readonly ok: false; readonly code: QuoteRefusalCode; readonly reason: string }

/** Reads and verifies quotes, for the ring. Deterministic. @param ak TPM2B_PUBLIC, base64url. @param nonce 32 bytes in hex. */
export type QuoteReader = (tpm: TpmEvidence, ak: string, nonce: string) => QuoteReading

type Of<T extends AttestationStatement['type']> = Extract<AttestationStatement, { type: T }>

function refuse(code: AttestationRefusalCode, reason: string): Refusal {
  return { code, reason }
}

export function refusalOfAttestation(meeting: Meeting, body: AttestationStatement, means: EnrolmentMeans): Refusal | undefined {
  if (body.type === 'attest.quote') return refusalOfQuote(meeting, body, means)
  if (body.type === 'attest.enrol') return refusalOfKey(meeting, body, means)
  const { trust } = meeting.state.enrolment
  if (body.type === 'attest.accept')
    return recordOf(trust, body.node) === undefined && meeting.state.enrolment.deviceOfNode(body.node)?.status !== 'expelled'
      ? { code: 'NODE_UNKNOWN', reason: `${body.node} is no node that has to attest; ringwall device trust lists them` }
      : undefined
  if (body.type === 'attest.bind') return refusalOfBinding(meeting, body)
  return refusalOfReference(meeting, body)
}

function refusalOfReference({ state, nowMs }: Meeting, body: Of<'attest.reference'>): Refusal | undefined {
  const { trust } = state.enrolment
  const known = trust.references.find(({ kind, digest }) => kind === body.kind && digest === body.digest)
  if (!body.allowed) return known === undefined ? refuse('REFERENCE_UNKNOWN', 'there is no such reference value') : undefined
  if (known === undefined) {
    const standing = trust.references.filter(({ endsAtMs }) => endsAtMs === null || endsAtMs > nowMs)
    if (standing.length < REFERENCES_MAX) return undefined
    return refuse('REFERENCES_FULL', `the ring holds ${REFERENCES_MAX} reference values; take old ones back`)
  }
  if (known.endsAtMs !== null || known.scope === body.scope) return undefined
  if (!isWider(state, known.scope, body.scope))
    return refuse(
      'REFERENCE_NARROWS',
      `it stands for ${known.scope} and goes on from one node to its region, and to all: not to ${body.scope}. Take it back instead: ringwall device reference DIGEST --remove`,
    )
  const isProven = trust.nodes.some(
    (one) => one[body.kind] === body.digest && one.staleAtMs > nowMs && isInScope(state, one.node, known.scope),
  )
  if (isProven) return undefined
  return refuse(
    'REFERENCE_UNPROVEN',
    `no node of ${known.scope} is in this state and trusted: nothing shows that it works. Have it upgraded first: ringwall device trust`,
  )
}

function isInScope(state: RingState, node: string, scope: ReferenceScope): boolean {
  if (scope === 'all' || scope === `node:${node}`) return true
  const region = state.node(node)?.region
  return region !== undefined && scope === `region:${region}`
}

/** From a node to its region, and to all. */
function isWider(state: RingState, from: ReferenceScope, to: ReferenceScope): boolean {
  if (to === 'all') return true
  return from.startsWith('node:') && to.startsWith('region:') && isInScope(state, from.slice('node:'.length), to)
}

function refusalOfBinding({ state }: Meeting, { node, ek }: Of<'attest.bind'>): Refusal | undefined {
  if (state.node(node) === undefined)
    return {
      code: 'NODE_UNKNOWN',
      reason: `${node} is no node of this ring; its nodes are ${state.nodes.map(({ id }) => id).join(', ')}`,
    }
  if (state.enrolment.deviceOfNode(node) !== undefined)
    return refuse('EK_KNOWN', `${node} joined as a device: its voucher says which TPM it has`)
  const other = state.nodes.find(({ id }) => id !== node && endorsementOf(state, id) === ek)
  return other === undefined ? undefined : refuse('EK_KNOWN', `this is the TPM of ${other.id}; each node has one of its own`)
}

const rank = (kind: AttestationKind): number => ATTESTATION_KINDS.indexOf(kind)

function tooWeak(kind: AttestationKind, least: AttestationKind, held: Pick<TrustRecord, 'kind'>): Refusal | undefined {
  if (rank(kind) >= rank(least) && rank(kind) >= rank(held.kind)) return undefined
  const asked = rank(least) > rank(held.kind) ? 'the policy asks for' : 'it attested by before'
  return refuse('ATTESTATION_TOO_WEAK', `${kind} is less than ${asked}`)
}

/** The record that it is about; a refusal when this node has nothing to attest. */
function heldOf({ state, issuer, nowMs }: Meeting, { policy }: EnrolmentMeans): TrustRecord | Refusal {
  const { least, every } = policy.attestation
  if (least === 'none') return refuse('ATTESTATION_OFF', 'the policy asks for no attestation (devices.attestation.least)')
  if (!mustAttest(state, issuer.name, policy))
    return refuse(
      'ATTESTATION_OFF',
      `${issuer.name} did not join as a device, and has nothing to attest (devices.attestation.nodes)`,
    )
  return recordOf(state.enrolment.trust, issuer.name) ?? begunRecord(issuer.name, nowMs, every)
}

function readQuote(
  meeting: Pick<Meeting, 'content' | 'issuer'>,
  body: Of<'attest.quote'>,
  held: TrustRecord,
  means: EnrolmentMeans,
) {
  const { content, issuer } = meeting
  if (body.tpm === null || held.ak === null || means.quote === undefined) return undefined
  const { beacon, boot, measured } = body
  return means.quote(body.tpm, held.ak, quoteNonce({ ring: content.ring, node: issuer.name, beacon, boot, measured }))
}

function refusalOfQuote(meeting: Meeting, body: Of<'attest.quote'>, means: EnrolmentMeans): Refusal | undefined {
  const { state, nowMs, issuer } = meeting
  const held = heldOf(meeting, means)
  if ('code' in held) return held
  const { least, every } = means.policy.attestation
  if (!state.enrolment.trust.beacons.some(({ value }) => value === body.beacon))
    return refuse('BEACON_OLD', 'the quote is over a beacon that the ring has let go of: it was delayed, or is shown again')
  const kind = body.tpm === null ? 'software' : 'tpm'
  const weak = tooWeak(kind, least, held)
  if (weak !== undefined) return weak
  if (body.tpm !== null && held.ak === null)
    return refuse('AK_UNKNOWN', 'no attestation key of this node is enrolled: validators see first that it lives in its TPM')
  const reading = readQuote(meeting, body, held, means)
  if (body.tpm !== null && reading === undefined) return refuse('QUOTE_MALFORMED', 'this node reads no quotes')
  // By the node's own key, and by another TPM: that no node says of itself that is what it was.
  if (reading?.ok === false && reading.code !== 'QUOTE_SIGNATURE') return refuse(reading.code, reading.reason)
  if (reading?.ok === true && held.clock !== null) {
    const { resetCount, clockMs } = reading.clock
    if (resetCount < held.clock.resetCount || (resetCount === held.clock.resetCount && clockMs <= held.clock.clockMs))
      return refuse(
        'QUOTE_CLOCK',
        'the TPM’s clock does not go on from its last quote: it is shown again, or its TPM was put back in time',
      )
  }
  if (tamperOf(meeting, body, held, reading) !== undefined) return refusalOfNodeRemoval(meeting, issuer.name)
  if (held.atMs !== null && nowMs - held.atMs < every / EARLY_SHARE)
    return refuse('ATTESTATION_EARLY', 'the last quote is too new')
  return undefined
}

const ALARM_CODES = { case: 'CASE_OPENED', clock: 'CLOCK_ROLLBACK', debugger: 'DEBUGGER_ATTACHED' } as const

/** What is wrong with a node that said something valid. */
function tamperOf(
  { state, content, nowMs }: Pick<Meeting, 'state' | 'content' | 'nowMs'>,
  { alarm, boot, measured }: Of<'attest.quote'>,
  held: TrustRecord,
  reading: QuoteReading | undefined,
): ExpulsionCode | undefined {
  if (reading?.ok === false) return 'TPM_CHANGED'
  if (alarm !== null) return ALARM_CODES[alarm]
  // A process that was followed by another has ended; its machine's clock tells a late transaction from one that was made since.
  if (held.former.includes(boot) && held.boot !== null && content.atMs > held.boot.sinceMs) return 'CLONED'
  if (held.boot?.id === boot && content.atMs < held.saidMs - ROLLBACK_MS_MAX) return 'CLOCK_ROLLBACK'
  return changeOf(state, held, measured, reading, nowMs)
}

/** What a node measured that it may not. */
function changeOf(
  state: RingState,
  held: TrustRecord,
  measured: Measured,
  reading: QuoteReading | undefined,
  nowMs: number,
): ExpulsionCode | undefined {
  if (held.configuration !== null && held.configuration !== measured.configuration) return 'CONFIGURATION_CHANGED'
  if (!isAllowed(state, held, 'program', measured.program, nowMs)) return 'PROGRAM_CHANGED'
  if (reading?.ok === true && !isAllowed(state, held, 'pcrs', reading.pcrs, nowMs)) return 'PCRS_CHANGED'
  return undefined
}

/** What a node would be put out for if it said that it measured this; undefined: nothing. */
export function changeMeasured(
  state: RingState,
  node: string,
  measured: Measured,
  reading: QuoteReading | undefined,
  nowMs: number,
): ExpulsionCode | undefined {
  const held = recordOf(state.enrolment.trust, node)
  return held === undefined ? undefined : changeOf(state, held, measured, reading, nowMs)
}

/** One that was taken back counts no more, whatever the node is held to; one for all holds all to what is named. */
function isAllowed(
  state: RingState,
  { node, held }: TrustRecord,
  kind: Reference['kind'],
  digest: string,
  nowMs: number,
): boolean {
  const known = state.enrolment.trust.references.filter((one) => one.kind === kind)
  const named = known.find((one) => one.digest === digest)
  if (named !== undefined && named.endsAtMs !== null) return nowMs < named.endsAtMs
  if (named !== undefined && isInScope(state, node, named.scope)) return true
  if (kind === 'program' && isReleased(state, node, digest)) return true
  if (known.some(({ scope, endsAtMs }) => scope === 'all' && endsAtMs === null)) return false
  return held[kind] === null || held[kind] === digest
}

/** What a node is held to once it measured this: what is being tried out does not count before it is for all. */
function heldAfter(state: RingState, { held }: TrustRecord, kind: Reference['kind'], digest: string): string | null {
  const isForAll = state.enrolment.trust.references.some(
    (one) => one.kind === kind && one.digest === digest && one.scope === 'all' && one.endsAtMs === null,
  )
  return isForAll ? digest : (held[kind] ?? digest)
}

/** What a node shows of itself for the ring to open its disk. */
export interface BootEvidence {
  readonly measured: Measured
  readonly tpm: TpmEvidence | null
}

/**
 * Whether a node may have its disk opened that shows this, by what the ring knows. Changes nothing, and puts nobody out.
 *
 * @param nonce What its TPM's quote is made over: 32 bytes in hex, of the very request.
 */
export function refusalOfBoot(
  state: RingState,
  node: string,
  { measured, tpm }: BootEvidence,
  nonce: string,
  means: Pick<EnrolmentMeans, 'policy' | 'quote'>,
  nowMs: number,
): { readonly code: Refusal['code'] | ExpulsionCode; readonly reason: string } | undefined {
  const { least, every } = means.policy.attestation
  const held = recordOf(state.enrolment.trust, node) ?? begunRecord(node, nowMs, every)
  const weak = tooWeak(tpm === null ? 'software' : 'tpm', least, held)
  if (weak !== undefined) return weak
  if (tpm !== null && held.ak === null)
    return refuse('AK_UNKNOWN', 'no attestation key of this node is enrolled: it has to run once before the policy asks for it')
  const reading = tpm === null || held.ak === null ? undefined : means.quote?.(tpm, held.ak, nonce)
  if (tpm !== null && reading === undefined) return refuse('QUOTE_MALFORMED', 'this node reads no quotes')
  if (reading?.ok === false) return reading
  const changed = changeOf(state, held, measured, reading, nowMs)
  if (changed === undefined) return undefined
  const fix = 'put back what was changed, or an operator takes it as it is: ringwall device accept'
  return { code: changed, reason: `it measured something else than it may; ${fix} ${node}` }
}

function refusalOfKey(meeting: Meeting, { ak, verdicts }: Of<'attest.enrol'>, means: EnrolmentMeans): Refusal | undefined {
  const { state, content, issuer } = meeting
  const held = heldOf(meeting, means)
  if ('code' in held) return held
  if (held.ak !== null)
    return refuse(
      'AK_KNOWN',
      'an attestation key of this node is enrolled; an operator lets it have another: ringwall device accept',
    )
  const ek = endorsementOf(state, issuer.name)
  if (ek === null)
    return refuse(
      'EK_UNKNOWN',
      'the ring knows no TPM of this node; make the device with --tpm, or bind the node’s: ringwall device bind',
    )
  const validators = state.validators
  const needed = validators.length - faultsOf(validators.length)
  const signed = verdictBytes(content.ring, issuer.name, ak, ek)
  const good = verdicts.filter(({ node, signature }) => {
    const key = validators.find(({ id }) => id === node)?.publicKey
    return key !== undefined && means.verify(decodeBase64url(key), signed, decodeBase64url(signature))
  })
  const vouching = new Set(good.map(({ node }) => node)).size
  if (vouching < needed)
    return refuse('VERDICTS_SHORT', `${vouching} validators vouch for the attestation key, and it takes ${needed}`)
  return undefined
}

/** What becomes of one that may be applied. Whom it puts out is expelled here, and still a node. */
export function withAttestation(
  state: RingState,
  content: TxContent,
  name: string,
  body: AttestationStatement,
  nowMs: number,
  means: EnrolmentMeans,
): Enrolment {
  const { enrolment } = state
  const { trust } = enrolment
  const { every } = means.policy.attestation
  const still = (next: Trust): Enrolment => enrolment.withTrust(next)
  if (body.type === 'attest.accept') {
    const held = recordOf(trust, body.node)
    const device = enrolment.deviceOfNode(body.node)
    if (device?.status === 'expelled') return enrolment.withDevice({ ...device, status: 'registered' })
    if (held === undefined) return enrolment
    const anew = { ak: null, configuration: null, held: { pcrs: null, program: null }, pcrs: null, program: null } as const
    return still(withRecord(trust, { ...held, ...anew, kind: 'none' }))
  }
  if (body.type === 'attest.bind') {
    const { node, ek } = body
    const others = trust.endorsements.filter((one) => one.node !== node)
    const endorsements = [...others, { ek, node }].sort((a, b) => (a.node < b.node ? -1 : 1))
    const held = recordOf(trust, node)
    return still({ ...(held === undefined ? trust : withRecord(trust, { ...held, ak: null })), endorsements })
  }
  if (body.type === 'attest.reference') {
    return still({ ...trust, references: withReference(trust.references, body, nowMs) })
  }
  const held = recordOf(trust, name) ?? begunRecord(name, nowMs, every)
  if (body.type === 'attest.enrol') return still(withRecord(trust, { ...held, ak: body.ak }))
  const meeting = { state, content, issuer: { kind: 'node', name }, nowMs } as const
  const reading = readQuote(meeting, body, held, means)
  const code = tamperOf(meeting, body, held, reading)
  if (code !== undefined) return enrolment.withExpelled({ atMs: nowMs, code, node: name })
  const isSame = held.boot?.id === body.boot
  const isLate = held.former.includes(body.boot)
  const former = held.boot === null || isSame || isLate ? held.former : [...held.former, held.boot.id].slice(-FORMER_BOOTS_KEPT)
  const record: TrustRecord = {
    ...held,
    atMs: nowMs,
    boot: isSame || isLate ? held.boot : { id: body.boot, sinceMs: content.atMs },
    clock: reading?.ok === true ? reading.clock : held.clock,
    configuration: body.measured.configuration,
    former,
    held: {
      pcrs: reading?.ok === true ? heldAfter(state, held, 'pcrs', reading.pcrs) : held.held.pcrs,
      program: heldAfter(state, held, 'program', body.measured.program),
    },
    kind: body.tpm === null ? 'software' : 'tpm',
    pcrs: reading?.ok === true ? reading.pcrs : held.pcrs,
    program: body.measured.program,
    saidMs: Math.max(held.saidMs, content.atMs),
    ...untilOf(nowMs, every),
  }
  return still(withRecord(trust, record))
}

/** One that was taken back is remembered, until others need its room: whoever is in it is not to be believed. */
function withReference(references: readonly Reference[], body: Of<'attest.reference'>, nowMs: number): readonly Reference[] {
  const { kind, digest, label, scope, allowed, withinMs } = body
  const others = references.filter((one) => one.kind !== kind || one.digest !== digest)
  const order = (one: Reference): string => `${one.kind} ${one.digest}`
  const ended = others.filter(({ endsAtMs }) => endsAtMs !== null && endsAtMs <= nowMs)
  const oldest = ended.sort((a, b) => (a.endsAtMs ?? 0) - (b.endsAtMs ?? 0))[0]
  const kept = others.length >= REFERENCES_MAX ? others.filter((one) => one !== oldest) : others
  const held = references.find((one) => one.kind === kind && one.digest === digest)
  const one: Reference = allowed
    ? { digest, endsAtMs: null, kind, label, scope }
    : { digest, endsAtMs: nowMs + withinMs, kind, label: held?.label ?? label, scope: held?.scope ?? scope }
  return [...kept, one].sort((a, b) => (order(a) < order(b) ? -1 : 1))
}
