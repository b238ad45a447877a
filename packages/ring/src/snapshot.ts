/** A state as bytes, so that a node can join without replaying every block. The reader trusts nothing but the root. */
import { z } from 'zod'
import { APPROVALS_MAX, type PendingStatement } from './approvals.ts'
import { isNoTrust, NO_TRUST } from './attestation.ts'
import { canonicalJson } from './canonical-json.ts'
import { PENDING_DENIALS_MAX, type PendingDenial } from './corroboration.ts'
import type { HashSeed } from './denial-index.ts'
import { decodeUtf8, encodeUtf8, equalBytes } from './encoding.ts'
import { DEVICES_MAX, INVITATIONS_MAX } from './enrolment.ts'
import { DeviceLine, InvitationLine } from './enrolment-shape.ts'
import { SnapshotInvalid } from './errors.ts'
import { EST_CLIENTS_MAX, EST_SECRETS_MAX, NO_EST_CLIENTS } from './est.ts'
import { FleetShape } from './fleet-shape.ts'
import { Node } from './genesis.ts'
import { LeasesShape } from './leases.ts'
import { DisksShape } from './node-disks-shape.ts'
import { RETIRED_MAX } from './nodes.ts'
import { ACCESS_KEYS_MAX, BUCKETS_MAX, OBJECT_VERSIONS_MAX } from './objects.ts'
import { AccessKeyLine, BucketLine, ObjectLine } from './objects-shape.ts'
import { CREDENTIALS_MAX, PEOPLE_MAX, type Person } from './people.ts'
import { GROUPS_MAX, parsePersonStatement } from './person-parsing.ts'
import { PLAYS_MAX, type Play, PlayShape } from './plays.ts'
import { RingKeyShape, ringKeyFault } from './ring-key-shape.ts'
import { SECRET_NAME, SECRET_NAME_CHARS_MAX } from './secret-name.ts'
import { DENIALS_MAX, RingState } from './state.ts'
import { TransitShape } from './transit-keys.ts'
import { TrustShape } from './trust-shape.ts'
import { parseContent, parseSubject, type Sha256, subjectId, txId } from './tx.ts'
import type { Denial, DenialSubject } from './types.ts'
import { SECRET_ENDS, SECRET_HISTORY_MAX, SECRET_VERSIONS_MAX, SECRETS_MAX } from './vault-secrets.ts'
import { SECRET_CAPSULE_BYTES_MAX, SECRET_CIPHERTEXT_BYTES_MAX } from './vault-statements.ts'

/** Largest snapshot read, bytes. */
const SNAPSHOT_BYTES_MAX = 268_435_456
/** Transactions of ten minutes. */
const SEEN_MAX = 2_000_000
const FORMAT = 'ringwall/state/7'

/** Entries in one piece: between pieces the caller may let others have their turn. A secret may have some 220 KB. */
const PIECE_ENTRIES = 1_000
const PIECE_SECRETS = 8

const Ms = z.int().min(0)
const Sealed = (bytesMax: number) =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/)
    .max(Math.ceil((bytesMax * 4) / 3))
const Issuer = z
  .string()
  .regex(/^node:/)
  .max(80)
const EstName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
const EstShape = z.strictObject({
  clients: z
    .array(z.strictObject({ name: EstName, publicKey: z.string().max(124), by: z.enum(['secret', 'idevid']), atMs: Ms }))
    .max(EST_CLIENTS_MAX),
  secrets: z
    .array(z.strictObject({ name: EstName, hash: z.string().regex(/^[0-9a-f]{64}$/), expiresAtMs: Ms }))
    .max(EST_SECRETS_MAX),
})

const Header = z.strictObject({
  format: z.literal(FORMAT),
  ring: z.string(),
  policyText: z.string().max(262_144),
  policyVersion: z.int().min(1),
  nodes: z.array(Node).min(1).max(1_000),
  retired: z.array(z.strictObject({ id: z.string().max(63), publicKey: z.string().length(43) })).max(RETIRED_MAX),
  epoch: z.int().min(0),
  signingKey: RingKeyShape,
  sealingKey: RingKeyShape,
  disks: DisksShape.optional(),
  transit: TransitShape.optional(),
  leases: LeasesShape.optional(),
  fleet: FleetShape.optional(),
  usage: z.array(z.tuple([z.string().max(80), z.array(z.tuple([z.int().min(0), z.int().min(1)])).max(13)])).max(2_000),
  denials: z.int().min(0).max(DENIALS_MAX),
  pending: z.int().min(0).max(PENDING_DENIALS_MAX),
  approvals: z.int().min(0).max(APPROVALS_MAX),
  vault: z.int().min(0).max(SECRETS_MAX),
  people: z.int().min(0).max(PEOPLE_MAX),
  seen: z.int().min(0).max(SEEN_MAX),
  plays: z.int().min(1).max(PLAYS_MAX).optional(),
  invitations: z.int().min(1).max(INVITATIONS_MAX).optional(),
  devices: z.int().min(1).max(DEVICES_MAX).optional(),
  buckets: z.int().min(1).max(BUCKETS_MAX).optional(),
  objects: z.int().min(1).max(OBJECT_VERSIONS_MAX).optional(),
  accessKeys: z.int().min(1).max(ACCESS_KEYS_MAX).optional(),
  trust: TrustShape.refine((trust) => !isNoTrust(trust), { error: 'it is empty' }).optional(),
  est: EstShape.refine(({ clients, secrets }) => clients.length + secrets.length > 0, { error: 'it is empty' }).optional(),
})
const DenialLine = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  subject: z.unknown(),
  reason: z.string().min(1).max(200),
  issuer: z.string().max(80),
  operatorToo: z.literal(true).optional(),
  statedBy: z.array(Issuer).min(1).max(1_000).optional(),
  issuedAtMs: Ms,
  expiresAtMs: Ms,
  height: z.int().min(0),
})
const Statement = z.strictObject({
  issuer: Issuer,
  reason: z.string().min(1).max(200),
  issuedAtMs: Ms,
  expiresAtMs: Ms,
  lapsesAtMs: Ms,
})
const PendingLine = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  subject: z.unknown(),
  statements: z.array(Statement).min(1).max(1_000),
})
const ApprovalLine = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{64}$/),
  content: z.unknown(),
  approvedBy: z
    .array(
      z
        .string()
        .regex(/^operator:/)
        .max(80),
    )
    .max(1_000),
  lapsesAtMs: Ms,
})
const SecretLine = z
  .strictObject({
    name: z.string().max(SECRET_NAME_CHARS_MAX).regex(SECRET_NAME),
    versions: z
      .array(
        z.strictObject({
          version: z.int().min(1),
          by: z.string().max(80),
          sealedAtMs: Ms,
          expiresAtMs: Ms,
          end: z.strictObject({ atMs: Ms, why: z.enum(SECRET_ENDS) }).nullable(),
          hiddenAtMs: Ms.optional(),
        }),
      )
      .min(1)
      .max(SECRET_HISTORY_MAX + SECRET_VERSIONS_MAX),
    bodies: z
      .array(z.strictObject({ capsule: Sealed(SECRET_CAPSULE_BYTES_MAX), ciphertext: Sealed(SECRET_CIPHERTEXT_BYTES_MAX) }))
      .max(SECRET_VERSIONS_MAX),
  })
  .refine(({ versions, bodies }) => versions.filter(({ end }) => end === null).length === bodies.length, {
    error: 'not as many sealed bodies as versions that have not ended',
  })
const PersonLine = z.strictObject({
  credentials: z.array(z.unknown()).max(CREDENTIALS_MAX),
  groups: z.array(z.string()).max(GROUPS_MAX),
  invitation: z.unknown(),
  name: z.string(),
  sinceMs: Ms,
})
const SeenLine = z.tuple([Ms, z.string().regex(/^[0-9a-f]{64}$/)])

/** In pieces: lines of canonical JSON, a header and then an entry each, in the order of their keys. */
export function* encodeSnapshot(ring: string, state: RingState): Generator<Uint8Array, void, undefined> {
  const { denials, pending, approvals, vault, people, plays, seen, enrolment, objects: held, ...rest } = state.contents()
  const { invitations, devices, trust, est } = enrolment
  const { buckets, objects, accessKeys } = held
  const counts = {
    denials: denials.length,
    pending: pending.length,
    approvals: approvals.length,
    vault: vault.length,
    people: people.length,
    seen: seen.length,
    ...(plays.length === 0 ? {} : { plays: plays.length }),
    ...(invitations.length === 0 ? {} : { invitations: invitations.length }),
    ...(devices.length === 0 ? {} : { devices: devices.length }),
    ...(isNoTrust(trust) ? {} : { trust }),
    ...(est.clients.length + est.secrets.length === 0 ? {} : { est }),
    ...(buckets.length === 0 ? {} : { buckets: buckets.length }),
    ...(objects.length === 0 ? {} : { objects: objects.length }),
    ...(accessKeys.length === 0 ? {} : { accessKeys: accessKeys.length }),
  }
  yield encodeUtf8(`${canonicalJson({ format: FORMAT, ring, ...rest, ...counts })}\n`)
  for (const entries of [
    denials,
    pending,
    approvals,
    vault,
    people,
    seen,
    invitations,
    devices,
    plays,
    buckets,
    objects,
    accessKeys,
  ]) {
    const count = entries === vault || entries === objects ? PIECE_SECRETS : PIECE_ENTRIES
    for (let at = 0; at < entries.length; at += count) {
      const lines = entries.slice(at, at + count).map((entry) => `${canonicalJson(entry)}\n`)
      yield encodeUtf8(lines.join(''))
    }
  }
}

/** By the portable hash unless given another. @throws {SnapshotInvalid} When the bytes are not one snapshot of this ring in its one spelling. */
export function parseSnapshot(ring: string, bytes: Uint8Array, hash?: Sha256, seed?: HashSeed): RingState {
  if (bytes.length > SNAPSHOT_BYTES_MAX) throw new SnapshotInvalid(`larger than ${SNAPSHOT_BYTES_MAX} bytes`)
  const lines = new Lines(bytes)
  const header = lines.next(Header)
  if (header.ring !== ring) throw new SnapshotInvalid('it is of another ring')
  const denials = Array.from({ length: header.denials }, () => parseDenial(lines.next(DenialLine), hash))
  const pending = Array.from({ length: header.pending }, () => parsePending(lines.next(PendingLine), hash))
  const approvals = Array.from({ length: header.approvals }, () => parseApproval(lines.next(ApprovalLine)))
  const vault = Array.from({ length: header.vault }, () => lines.next(SecretLine))
  const people = Array.from({ length: header.people }, () => parsePerson(lines.next(PersonLine)))
  const seen = Array.from({ length: header.seen }, () => lines.next(SeenLine))
  const invitations = Array.from({ length: header.invitations ?? 0 }, () => lines.next(InvitationLine))
  const devices = Array.from({ length: header.devices ?? 0 }, () => lines.next(DeviceLine))
  const plays = Array.from({ length: header.plays ?? 0 }, (): Play => lines.next(PlayShape))
  const objects = {
    buckets: Array.from({ length: header.buckets ?? 0 }, () => lines.next(BucketLine)),
    objects: Array.from({ length: header.objects ?? 0 }, () => lines.next(ObjectLine)),
    accessKeys: Array.from({ length: header.accessKeys ?? 0 }, () => lines.next(AccessKeyLine)),
  }
  const enrolment = { invitations, devices, trust: header.trust ?? NO_TRUST, est: header.est ?? NO_EST_CLIENTS }
  const { signingKey, sealingKey, disks, transit, leases, fleet, policyText, policyVersion, nodes, retired, epoch, usage } =
    header
  for (const [name, key] of [
    ['signing', signingKey],
    ['sealing', sealingKey],
  ] as const) {
    const fault = ringKeyFault(key)
    if (fault !== undefined) throw new SnapshotInvalid(`the ${name} key: ${fault}`)
  }
  const keys = { signingKey, sealingKey }
  const lists = { denials, pending, approvals, vault, objects, people, plays, seen, enrolment }
  const contents = {
    ...(disks === undefined ? {} : { disks }),
    ...(transit === undefined ? {} : { transit }),
    ...(leases === undefined ? {} : { leases }),
    ...(fleet === undefined ? {} : { fleet }),
    policyText,
    policyVersion,
    nodes,
    retired,
    epoch,
    usage,
    ...keys,
    ...lists,
  }
  const state = RingState.from(contents, seed)
  // One spelling: no entry twice, none out of order, nothing after the last.
  let at = 0
  for (const piece of encodeSnapshot(ring, state)) {
    if (!equalBytes(piece, bytes.subarray(at, at + piece.length))) throw new SnapshotInvalid('it is not canonical')
    at += piece.length
  }
  if (at !== bytes.length) throw new SnapshotInvalid('it is not canonical')
  return state
}

class Lines {
  readonly #bytes: Uint8Array
  #at = 0
  #line = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  next<T>(schema: z.ZodType<T>): T {
    const end = this.#bytes.indexOf(0x0a, this.#at)
    this.#line += 1
    if (end < 0) throw new SnapshotInvalid(`it ends before line ${this.#line} does`)
    let value: unknown
    try {
      value = JSON.parse(decodeUtf8(this.#bytes.subarray(this.#at, end)))
    } catch (cause) {
      throw new SnapshotInvalid(`line ${this.#line} is not JSON in UTF-8`, { cause })
    }
    this.#at = end + 1
    const parsed = schema.safeParse(value)
    if (parsed.success) return parsed.data
    const issue = parsed.error.issues[0]!
    throw new SnapshotInvalid(`line ${this.#line}: ${issue.path.join('.') || 'the value'}: ${issue.message}`)
  }
}

/** Keys in canonical order, as in `denialOf`. */
function parseDenial(line: z.output<typeof DenialLine>, hash: Sha256 | undefined): Denial {
  const { expiresAtMs, height, id, issuedAtMs, issuer, operatorToo, reason, statedBy } = line
  const too = operatorToo === undefined ? {} : { operatorToo }
  const subject = subjectOf(id, line.subject, hash)
  if (statedBy === undefined) return { expiresAtMs, height, id, issuedAtMs, issuer, ...too, reason, subject }
  if (!isAscending(statedBy)) throw new SnapshotInvalid(`the denial ${id} names its nodes out of order`)
  return { expiresAtMs, height, id, issuedAtMs, issuer, ...too, reason, statedBy, subject }
}

function parsePending({ id, subject, statements }: z.output<typeof PendingLine>, hash: Sha256 | undefined): PendingDenial {
  if (!isAscending(statements.map(({ issuer }) => issuer)))
    throw new SnapshotInvalid(`the statements about ${id} are out of order`)
  return { id, subject: subjectOf(id, subject, hash), statements }
}

function parseApproval({ content, ...fields }: z.output<typeof ApprovalLine>): PendingStatement {
  const { id, approvedBy } = fields
  let parsed: PendingStatement['content']
  try {
    parsed = parseContent(content)
    if (txId(parsed) !== id) throw new SnapshotInvalid(`the statement ${id} has another id`)
  } catch (cause) {
    if (cause instanceof SnapshotInvalid) throw cause
    throw new SnapshotInvalid(`the statement ${id} is malformed`, { cause })
  }
  if (!isAscending(approvedBy)) throw new SnapshotInvalid(`the approvals of ${id} are out of order`)
  return { ...fields, content: parsed }
}

/** By the readers of statements: what was stated is what stands. */
function parsePerson({ credentials, groups, invitation, name, sinceMs }: z.output<typeof PersonLine>): Person {
  const fail = (where: string, expected: string): never => {
    throw new SnapshotInvalid(`a person’s ${where} must be ${expected}`)
  }
  const reason = (): string => ''
  const put = parsePersonStatement('person.put', { groups, invitation, name, reason: '', type: 'person.put' }, fail, reason)
  const proof = 'A'.repeat(86)
  const enrolled = credentials.map((credential) =>
    parsePersonStatement('person.enrol', { credential, name, proof, type: 'person.enrol' }, fail, reason),
  )
  if (put.type !== 'person.put') return fail('line', 'a person')
  return {
    credentials: enrolled.flatMap((one) => (one.type === 'person.enrol' ? [one.credential] : [])),
    groups: put.groups,
    invitation: put.invitation,
    name: put.name,
    sinceMs,
  }
}

function isAscending(names: readonly string[]): boolean {
  return names.every((name, index) => index === 0 || (names[index - 1] as string) < name)
}

function subjectOf(id: string, value: unknown, hash: Sha256 | undefined): DenialSubject {
  let subject: DenialSubject
  try {
    subject = parseSubject(value)
  } catch (cause) {
    throw new SnapshotInvalid(`the denial ${id} has no valid subject`, { cause })
  }
  if (subjectId(subject, hash) !== id) throw new SnapshotInvalid(`the denial ${id} is of another subject`)
  return subject
}
