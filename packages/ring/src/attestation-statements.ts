/** What nodes say of their measured state, what operators say of reference values, what of it may be said, and what becomes of it. */
import { faultsOf } from '@ringwall/consensus'
import {
  ATTESTATION_KINDS,
  type AttestationKind,
  begunRecord,
  type ExpulsionCode,
  FORMER_BOOTS_KEPT,
  type Measured,
  mustAttest,
  quoteNonce,
  REFERENCES_MAX,
  type Reference,
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
  | (Reference & { readonly type: 'attest.reference'; readonly allowed: boolean; readonly reason: string })
  /** Of operators: whatever the node measures next is how it is to be. */
  | { readonly type: 'attest.accept'; readonly node: string; readonly reason: string }

export type AttestationRefusalCode =
  | 'ATTESTATION_OFF'
  | 'ATTESTATION_EARLY'
  | 'ATTESTATION_TOO_WEAK'
  | 'BEACON_OLD'
  | 'AK_UNKNOWN'
  | 'AK_KNOWN'
  | 'EK_UNKNOWN'
  | 'VERDICTS_SHORT'
  | 'REFERENCE_UNKNOWN'
  | 'REFERENCES_FULL'
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
  const isKnown = trust.references.some(({ kind, digest }) => kind === body.kind && digest === body.digest)
  if (!body.allowed && !isKnown) return refuse('REFERENCE_UNKNOWN', 'there is no such reference value')
  if (body.allowed && !isKnown && trust.references.length >= REFERENCES_MAX)
    return refuse('REFERENCES_FULL', `the ring holds ${REFERENCES_MAX} reference values; take old ones back`)
  return undefined
}

const rank = (kind: AttestationKind): number => ATTESTATION_KINDS.indexOf(kind)

/** The record that it is about; a refusal when this node has nothing to attest. */
function heldOf({ state, issuer, nowMs }: Meeting, { policy }: EnrolmentMeans): TrustRecord | Refusal {
  const { least, every } = policy.attestation
  if (least === 'none') return refuse('ATTESTATION_OFF', 'the policy asks for no attestation (devices.attestation.least)')
  if (!mustAttest(state, issuer.name, policy))
    return refuse('ATTESTATION_OFF', `${issuer.name} did not join as a device, and has nothing to attest`)
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
  if (rank(kind) < rank(least) || rank(kind) < rank(held.kind))
    return refuse(
      'ATTESTATION_TOO_WEAK',
      `${kind} is less than ${rank(least) > rank(held.kind) ? 'the policy asks for' : 'it attested by before'}`,
    )
  if (held.atMs !== null && nowMs - held.atMs < every / EARLY_SHARE)
    return refuse('ATTESTATION_EARLY', 'the last quote is too new')
  if (body.tpm !== null && held.ak === null)
    return refuse('AK_UNKNOWN', 'no attestation key of this node is enrolled: validators see first that it lives in its TPM')
  const reading = readQuote(meeting, body, held, means)
  if (body.tpm !== null && reading === undefined) return refuse('QUOTE_MALFORMED', 'this node reads no quotes')
  if (reading?.ok === false) return refuse(reading.code, reading.reason)
  if (reading?.ok === true && held.clock !== null) {
    const { resetCount, clockMs } = reading.clock
    if (resetCount < held.clock.resetCount || (resetCount === held.clock.resetCount && clockMs <= held.clock.clockMs))
      return refuse(
        'QUOTE_CLOCK',
        'the TPM’s clock does not go on from its last quote: it is shown again, or its TPM was put back in time',
      )
  }
  return tamperOf(meeting, body, held, reading) === undefined ? undefined : refusalOfNodeRemoval(meeting, issuer.name)
}

/** What is wrong with a node that said something valid. */
function tamperOf(
  { state, content }: Pick<Meeting, 'state' | 'content'>,
  { alarm, boot, measured }: Of<'attest.quote'>,
  held: TrustRecord,
  reading: QuoteReading | undefined,
): ExpulsionCode | undefined {
  const { references } = state.enrolment.trust
  const isAsWas = (kind: Reference['kind'], digest: string, pinned: string | null): boolean => {
    const known = references.filter((one) => one.kind === kind)
    return known.length > 0 ? known.some((one) => one.digest === digest) : pinned === null || pinned === digest
  }
  if (alarm !== null) return 'TAMPER_ALARM'
  // A process that was followed by another has ended; its machine's clock tells a late transaction from one that was made since.
  if (held.former.includes(boot) && held.boot !== null && content.atMs > held.boot.sinceMs) return 'CLONED'
  if (held.boot?.id === boot && content.atMs < held.saidMs - ROLLBACK_MS_MAX) return 'CLOCK_ROLLBACK'
  if (held.configuration !== null && held.configuration !== measured.configuration) return 'CONFIGURATION_CHANGED'
  if (!isAsWas('program', measured.program, held.program)) return 'PROGRAM_CHANGED'
  if (reading?.ok === true && !isAsWas('pcrs', reading.pcrs, held.pcrs)) return 'PCRS_CHANGED'
  return undefined
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
  const ek = state.enrolment.deviceOfNode(issuer.name)?.ek ?? null
  if (ek === null) return refuse('EK_UNKNOWN', 'the voucher of this device names no TPM; make the device with --tpm')
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
    return still(withRecord(trust, { ...held, ak: null, configuration: null, kind: 'none', pcrs: null, program: null }))
  }
  if (body.type === 'attest.reference') {
    const { kind, digest, label, allowed } = body
    const others = trust.references.filter((one) => one.kind !== kind || one.digest !== digest)
    const order = (one: Reference): string => `${one.kind} ${one.digest}`
    const references = (allowed ? [...others, { digest, kind, label }] : others).sort((a, b) => (order(a) < order(b) ? -1 : 1))
    return still({ ...trust, references })
  }
  const held = recordOf(trust, name) ?? begunRecord(name, nowMs, every)
  if (body.type === 'attest.enrol') return still(withRecord(trust, { ...held, ak: body.ak }))
  const meeting = { state, content, issuer: { kind: 'node', name } } as const
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
    kind: body.tpm === null ? 'software' : 'tpm',
    pcrs: reading?.ok === true ? reading.pcrs : held.pcrs,
    program: body.measured.program,
    saidMs: Math.max(held.saidMs, content.atMs),
    ...untilOf(nowMs, every),
  }
  return still(withRecord(trust, record))
}
