/**
 * What is said of invitations and devices, what of it may be said, and what becomes of it.
 *
 * A join names the whole node and is signed three times: by the key that lets it in (so that nobody else uses it), by the node's own key
 * (so that nobody joins under a key that is another's), and by a node of the ring that carries it in. Nothing in it is secret, and it
 * serves once: seen by others, or shown again, it is worth nothing.
 */
import {
  type AttestationRefusalCode,
  type AttestationStatement,
  type QuoteReader,
  refusalOfAttestation,
} from './attestation-statements.ts'
import { canonicalJson } from './canonical-json.ts'
import { decodeBase64url, encodeUtf8 } from './encoding.ts'
import { DEVICES_MAX, type Device, type Enrolment, INVITATION_TTL_MS_MAX, INVITATIONS_MAX, type Invitation } from './enrolment.ts'
import { type CsrReader, type EstRefusalCode, type EstStatement, isEstType, refusalOfEst, withEst } from './est.ts'
import type { Meeting, Refusal } from './meaning.ts'
import { mayBeSetUpAnew } from './node-age.ts'
import { refusalOfNodeAddition, type Verify } from './nodes.ts'
import type { DevicesPolicy } from './policy-devices.ts'
import type { FleetPolicy } from './policy-fleet.ts'
import type { RingNode, TxContent } from './types.ts'

const INVITED_DOMAIN = 'RINGWALL_INVITED_V1\n'
const DEVICE_JOIN_DOMAIN = 'RINGWALL_DEVICE_JOIN_V1\n'
const INVITATION_TTL_MS_MIN = 10_000
/** How old what a device signed may be, by the ring's clock. */
export const DEVICE_JOIN_MS_MAX = 120_000

export type EnrolmentStatement =
  | AttestationStatement
  | EstStatement
  /** Of operators: the public half of a one-time key, and what its holder may become. */
  | {
      readonly type: 'node.invite'
      readonly key: string
      readonly reason: string
      readonly region: string | null
      readonly roles: RingNode['roles']
      readonly ttlMs: number
    }
  /** Of a node, for the holder of the one-time key: `proof` is by that key, `own` by the node's. */
  | {
      readonly type: 'node.join'
      readonly invitation: string
      readonly node: RingNode
      readonly own: string
      readonly proof: string
    }
  /** Of operators: a voucher with its chain of owners, as text. */
  | {
      readonly type: 'device.register'
      readonly reason: string
      readonly region: string | null
      readonly roles: RingNode['roles']
      readonly voucher: string
    }
  /** Of operators: the same chain, with an entry that gives the device away. */
  | { readonly type: 'device.transfer'; readonly reason: string; readonly serial: string; readonly voucher: string }
  | { readonly type: 'device.remove'; readonly reason: string; readonly serial: string }
  /** Of a node, for the device: `proof` is by the device's key, `own` by that of the node which it becomes. */
  | {
      readonly type: 'device.join'
      /** The ring's time, as the node that carries it in said it. */
      readonly atMs: number
      /** The newest entry of the chain that the device holds. */
      readonly head: string
      readonly node: RingNode
      readonly own: string
      readonly proof: string
      readonly serial: string
    }

export type EnrolmentRefusalCode =
  | 'INVITATION_KEY_USED'
  | 'INVITATION_UNKNOWN'
  | 'INVITATION_USED'
  | 'INVITATION_EXPIRED'
  | 'INVITATION_EXCEEDED'
  | 'INVITATIONS_FULL'
  | 'PROOF_INVALID'
  | 'JOIN_STALE'
  | VoucherRefusalCode
  | AttestationRefusalCode
  | EstRefusalCode
  | 'MANUFACTURER_UNKNOWN'
  | 'DEVICES_FULL'
  | 'DEVICE_KNOWN'
  | 'DEVICE_UNKNOWN'
  | 'DEVICE_JOINED'
  | 'DEVICE_EXPELLED'
  | 'DEVICE_REMOVED'
  | 'DEVICE_TRANSFERRED'
  | 'DEVICE_EXCEEDED'

export type VoucherRefusalCode =
  | 'VOUCHER_INVALID'
  | 'VOUCHER_OTHER_RING'
  | 'VOUCHER_EXPIRED'
  | 'VOUCHER_SUPERSEDED'
  | 'VOUCHER_UNSUPPORTED'

/** What a chain of owners says, once every signature in it was checked. */
export interface VoucherFacts {
  readonly serial: string
  /** Raw Ed25519, base64url: the device's, who made it, and who may pass it on. */
  readonly key: string
  readonly manufacturer: string
  readonly owner: string
  /** Whose it is: null while it is nobody's ring. */
  readonly ring: string | null
  readonly expiresAtMs: number | null
  /** SHA-256 of the public area of its TPM's endorsement key: lower-case hex. */
  readonly ek: string | null
  /** SHA-256 of each entry, the newest last: lower-case hex. */
  readonly entries: readonly string[]
}

/** Reads vouchers, for the ring. Deterministic: every validator comes to the same. */
export type VoucherReader = (
  text: string,
  verify: Verify,
) => { readonly ok: true; readonly voucher: VoucherFacts } | { readonly ok: false; readonly reason: string }

/** What the one-time key and the node's own key sign. */
export function invitedBytes(ring: string, invitation: string, node: RingNode): Uint8Array {
  return encodeUtf8(INVITED_DOMAIN + canonicalJson({ invitation, node, ring }))
}

/** What the device's key and the node's own key sign. */
export function deviceJoinBytes(
  ring: string,
  said: { readonly atMs: number; readonly head: string; readonly node: RingNode; readonly serial: string },
): Uint8Array {
  const { atMs, head, node, serial } = said
  return encodeUtf8(DEVICE_JOIN_DOMAIN + canonicalJson({ atMs, head, node, ring, serial }))
}

function refuse(code: EnrolmentRefusalCode, reason: string): Refusal {
  return { code, reason }
}

export interface EnrolmentMeans {
  readonly verify: Verify
  readonly voucher: VoucherReader | undefined
  readonly quote: QuoteReader | undefined
  readonly csr: CsrReader | undefined
  readonly policy: DevicesPolicy
  readonly fleet: FleetPolicy
}

/** Who may say it is looked at before. */
export function refusalOfEnrolment(meeting: Meeting, body: EnrolmentStatement, means: EnrolmentMeans): Refusal | undefined {
  if (body.type === 'node.invite') return refusalOfInvitation(meeting, body)
  if (body.type === 'node.join') return refusalOfInvited(meeting, body, means)
  if (body.type === 'device.register') return refusalOfRegistration(meeting, body, means)
  if (body.type === 'device.transfer') return refusalOfTransfer(meeting, body, means)
  if (body.type === 'device.join') return refusalOfDeviceJoin(meeting, body, means)
  if (isEstStatement(body)) return refusalOfEst(meeting, body, means)
  if (body.type !== 'device.remove') return refusalOfAttestation(meeting, body, means)
  const device = meeting.state.enrolment.device(body.serial)
  if (device === undefined) return unknownDevice(body.serial)
  return device.status === 'removed' ? goneDevice(device) : undefined
}

function isEstStatement(body: EnrolmentStatement): body is EstStatement {
  return isEstType(body.type)
}

type Of<T extends EnrolmentStatement['type']> = Extract<EnrolmentStatement, { type: T }>

function refusalOfInvitation({ state, operatorKeys, nowMs }: Meeting, { key, ttlMs }: Of<'node.invite'>): Refusal | undefined {
  if (ttlMs < INVITATION_TTL_MS_MIN || ttlMs > INVITATION_TTL_MS_MAX)
    return { code: 'TTL_OUT_OF_RANGE', reason: `an invitation stands for 10 s to 24 h, not ${ttlMs / 1_000} s` }
  const isTaken = [...state.nodes, ...state.retired].some(({ publicKey }) => publicKey === key) || operatorKeys.has(key)
  if (isTaken || state.enrolment.deviceWithKey(key) !== undefined || state.enrolment.invitation(key, nowMs) !== undefined)
    return refuse('INVITATION_KEY_USED', 'the ring knows this key already; an invitation takes a new one')
  if (state.enrolment.invitationCount >= INVITATIONS_MAX)
    return refuse('INVITATIONS_FULL', `the ring holds ${INVITATIONS_MAX} invitations; they are forgotten an hour after they end`)
  return undefined
}

function refusalOfInvited(meeting: Meeting, body: Of<'node.join'>, { verify }: EnrolmentMeans): Refusal | undefined {
  const { state, content, nowMs } = meeting
  const { invitation: key, node, own, proof } = body
  const invitation = state.enrolment.invitation(key, nowMs)
  if (invitation === undefined)
    return refuse('INVITATION_UNKNOWN', 'the ring knows no such invitation; ask an operator for one: ringwall node invite')
  if (invitation.used !== null)
    return refuse('INVITATION_USED', `this invitation let in ${invitation.used.node} already, and serves once; ask for another`)
  if (invitation.expiresAtMs <= nowMs)
    return refuse('INVITATION_EXPIRED', 'the invitation has expired; ask an operator for another: ringwall node invite')
  const beyond = beyondOf(invitation, node)
  if (beyond !== undefined) return refuse('INVITATION_EXCEEDED', `the invitation ${beyond}; ask for one that does`)
  const signed = invitedBytes(content.ring, key, node)
  return refusalOfProofs(signed, { proof, by: key, whose: 'the invitation’s', own, node }, verify) ?? admission(meeting, node)
}

/** The node would be more than it may become. */
function beyondOf({ region, roles }: Pick<Invitation, 'region' | 'roles'>, node: RingNode): string | undefined {
  const more = node.roles.find((role) => !roles.includes(role))
  if (more !== undefined) return `allows ${roles.join(' and ')}, not ${more}`
  if (region !== null && region !== node.region) return `is for the region ${region}, not for ${node.region}`
  return undefined
}

interface Proofs {
  readonly proof: string
  readonly by: string
  readonly whose: string
  readonly own: string
  readonly node: RingNode
}

function refusalOfProofs(signed: Uint8Array, { proof, by, whose, own, node }: Proofs, verify: Verify): Refusal | undefined {
  if (!verify(decodeBase64url(by), signed, decodeBase64url(proof)))
    return refuse('PROOF_INVALID', `the join is not signed by ${whose} key: it is another’s, or was changed on the way`)
  if (!verify(decodeBase64url(node.publicKey), signed, decodeBase64url(own)))
    return refuse('PROOF_INVALID', `the join is not signed by the key of ${node.id}: who joins must hold it`)
  return undefined
}

/** As for `node.add`; and no key lets somebody in and is a node's as well. */
function admission(meeting: Meeting, node: RingNode): Refusal | undefined {
  const { enrolment } = meeting.state
  const isOther =
    enrolment.invitation(node.publicKey, meeting.nowMs) !== undefined || enrolment.deviceWithKey(node.publicKey) !== undefined
  if (isOther) return { code: 'NODE_KEY_USED', reason: 'the node must have a key of its own; make a new one' }
  return refusalOfNodeAddition(meeting, node)
}

function readVoucher(text: string, { voucher, verify }: EnrolmentMeans): VoucherFacts | Refusal {
  if (voucher === undefined) return refuse('VOUCHER_UNSUPPORTED', 'this node reads no vouchers')
  const read = voucher(text, verify)
  return read.ok ? read.voucher : refuse('VOUCHER_INVALID', `the voucher is not valid: ${read.reason}`)
}

function refusalOfRegistration(meeting: Meeting, body: Of<'device.register'>, means: EnrolmentMeans): Refusal | undefined {
  const { state, content, nowMs, operatorKeys } = meeting
  const voucher = readVoucher(body.voucher, means)
  if ('code' in voucher) return voucher
  const { serial, key, ring, expiresAtMs, owner } = voucher
  if (manufacturerOf(voucher, means.policy) === undefined)
    return refuse(
      'MANUFACTURER_UNKNOWN',
      `the policy knows no manufacturer with the key ${voucher.manufacturer}; add it to devices.manufacturers`,
    )
  if (ring !== content.ring) {
    const whose = ring === null ? 'is of no ring yet' : `gives the device to the ring ${ring.slice(0, 16)}…`
    return refuse('VOUCHER_OTHER_RING', `the voucher ${whose}; its owner ships it to this one: ringwall device ship`)
  }
  if (!operatorKeys.has(owner))
    return refuse('VOUCHER_OTHER_RING', 'the voucher names an owner who is no operator of this ring; have it shipped again')
  if (expiresAtMs !== null && expiresAtMs <= nowMs)
    return refuse('VOUCHER_EXPIRED', `the voucher of ${serial} has expired; ask its manufacturer for another`)
  const known = state.enrolment.device(serial)
  if (known !== undefined) return refusalOfReturn(known, voucher)
  if (state.enrolment.deviceWithKey(key) !== undefined)
    return refuse('DEVICE_KNOWN', 'the ring knows a device with this key under another serial number')
  const isTaken = [...state.nodes, ...state.retired].some(({ publicKey }) => publicKey === key) || operatorKeys.has(key)
  if (isTaken || state.enrolment.invitation(key, nowMs) !== undefined)
    return { code: 'NODE_KEY_USED', reason: 'the ring knows the device’s key already, as one of something else' }
  if (state.enrolment.deviceCount >= DEVICES_MAX)
    return refuse('DEVICES_FULL', `the ring knows ${DEVICES_MAX} devices, which is all that it remembers`)
  return undefined
}

/** One that was given away may come back, by a longer chain. */
function refusalOfReturn(known: Device, { entries, key, serial }: VoucherFacts): Refusal | undefined {
  if (known.status === 'removed') return goneDevice(known)
  if (known.status !== 'transferred')
    return refuse('DEVICE_KNOWN', `${serial} is registered already; see it with ringwall device show ${serial}`)
  if (known.key === key && entries.at(-1) !== known.head && entries.includes(known.head)) return undefined
  return refuse(
    'VOUCHER_SUPERSEDED',
    `this voucher of ${serial} is older than its transfer to another owner; ask that owner for the newest`,
  )
}

function manufacturerOf({ manufacturer }: VoucherFacts, { manufacturers }: DevicesPolicy): string | undefined {
  return manufacturers.find(({ key }) => key === manufacturer)?.name
}

function refusalOfTransfer({ state, content }: Meeting, body: Of<'device.transfer'>, means: EnrolmentMeans): Refusal | undefined {
  const { serial } = body
  const device = state.enrolment.device(serial)
  if (device === undefined) return unknownDevice(serial)
  if (device.status === 'removed' || device.status === 'transferred') return goneDevice(device)
  const voucher = readVoucher(body.voucher, means)
  if ('code' in voucher) return voucher
  const { entries, ring } = voucher
  if (voucher.serial !== serial || voucher.key !== device.key)
    return refuse('VOUCHER_INVALID', `the voucher is not of ${serial}, but of ${voucher.serial}`)
  if (entries.at(-2) !== device.head)
    return refuse('VOUCHER_SUPERSEDED', `the voucher does not go on from the one that the ring knows of ${serial}`)
  if (ring === content.ring) return refuse('VOUCHER_OTHER_RING', 'the voucher gives the device to this same ring')
  return undefined
}

function refusalOfDeviceJoin(
  meeting: Meeting,
  body: Of<'device.join'>,
  { verify, policy, fleet }: EnrolmentMeans,
): Refusal | undefined {
  const { state, content, nowMs } = meeting
  const { serial, atMs, head, node, own, proof } = body
  const device = state.enrolment.device(serial)
  if (device === undefined) return unknownDevice(serial)
  if (device.status === 'removed' || device.status === 'transferred') return goneDevice(device)
  if (device.status === 'expelled')
    return refuse(
      'DEVICE_EXPELLED',
      `the ring put ${device.node} out, which ${serial} was; when an operator has looked at it: ringwall device accept ${device.node}`,
    )
  if (device.head !== head)
    return refuse('VOUCHER_SUPERSEDED', `the voucher on ${serial} is not the newest; put that on the device, or register it`)
  if (device.expiresAtMs !== null && device.expiresAtMs <= nowMs)
    return refuse('VOUCHER_EXPIRED', `the voucher of ${serial} has expired; ask its manufacturer for another`)
  if (device.node !== null && state.node(device.node) !== undefined && !mayBeSetUpAnew(state, fleet, device.node, nowMs))
    return refuse(
      'DEVICE_JOINED',
      `${serial} is the node ${device.node} already: this is a copy of it, or it was set up anew. If so, an operator removes that node: ringwall node rm ${device.node}`,
    )
  if (Math.abs(nowMs - atMs) > DEVICE_JOIN_MS_MAX)
    return refuse('JOIN_STALE', 'what the device signed is too old, or was signed ahead of time; it asks again')
  if (policy.attestation.least === 'tpm' && device.ek === null)
    return refuse('ATTESTATION_TOO_WEAK', `the policy asks devices for a TPM, and the voucher of ${serial} names none`)
  const beyond = beyondOf(device, node)
  if (beyond !== undefined) return refuse('DEVICE_EXCEEDED', `its registration ${beyond}`)
  const signed = deviceJoinBytes(content.ring, { atMs, head, node, serial })
  return refusalOfProofs(signed, { proof, by: device.key, whose: 'the device’s', own, node }, verify) ?? admission(meeting, node)
}

function unknownDevice(serial: string): Refusal {
  return refuse('DEVICE_UNKNOWN', `the ring knows no device ${serial}; an operator registers it: ringwall device register`)
}

/** Of one that is nobody's here any more. */
export function goneDevice({ serial, status }: Pick<Device, 'serial' | 'status'>): Refusal {
  return status === 'removed'
    ? refuse('DEVICE_REMOVED', `${serial} was removed for good, as one that is lost or stolen; nothing lets it in again`)
    : refuse('DEVICE_TRANSFERRED', `${serial} was given to another owner; ask that owner`)
}

/** What becomes of one that may be applied. The node that joins is for the caller to add. */
export function withEnrolmentStatement(
  enrolment: Enrolment,
  { issuer }: TxContent,
  body: Exclude<EnrolmentStatement, AttestationStatement>,
  nowMs: number,
  means: EnrolmentMeans,
): Enrolment {
  if (body.type === 'node.invite') {
    const { key, region, roles, ttlMs } = body
    return enrolment.withInvitation({ by: issuer, expiresAtMs: nowMs + ttlMs, key, region, roles, used: null })
  }
  if (body.type === 'node.join') {
    const invitation = enrolment.invitation(body.invitation, nowMs)
    if (invitation === undefined) return enrolment
    return enrolment.withInvitation({ ...invitation, used: { atMs: nowMs, node: body.node.id } })
  }
  if (body.type === 'device.register') {
    const voucher = readVoucher(body.voucher, means)
    if ('code' in voucher) return enrolment
    const { serial, key, expiresAtMs, entries, ek } = voucher
    return enrolment.withDevice({
      by: issuer,
      ek,
      expiresAtMs,
      head: entries.at(-1) ?? '',
      key,
      manufacturer: manufacturerOf(voucher, means.policy) ?? '',
      node: null,
      region: body.region,
      registeredAtMs: nowMs,
      roles: body.roles,
      serial,
      status: 'registered',
    })
  }
  if (isEstStatement(body)) return enrolment.withEst(withEst(enrolment.est, body, nowMs, means))
  const device = enrolment.device(body.serial)
  if (device === undefined) return enrolment
  if (body.type === 'device.join') return enrolment.withDevice({ ...device, node: body.node.id, status: 'joined' })
  if (body.type === 'device.remove') return enrolment.withDevice({ ...device, status: 'removed' })
  const voucher = readVoucher(body.voucher, means)
  if ('code' in voucher) return enrolment
  return enrolment.withDevice({ ...device, head: voucher.entries.at(-1) ?? '', status: 'transferred' })
}
