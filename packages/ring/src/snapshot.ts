/** A state as bytes, so that a node can join without replaying every block. The reader trusts nothing but the root. */
import { z } from 'zod'
import { canonicalJson } from './canonical-json.ts'
import { PENDING_DENIALS_MAX, type PendingDenial } from './corroboration.ts'
import { decodeUtf8, encodeUtf8 } from './encoding.ts'
import { SnapshotInvalid } from './errors.ts'
import { DENIALS_MAX, RingState } from './state.ts'
import { parseSubject, subjectId } from './tx.ts'
import type { Denial, DenialSubject } from './types.ts'

/** Largest snapshot read, bytes. */
const SNAPSHOT_BYTES_MAX = 268_435_456
/** Transactions of ten minutes. */
const SEEN_MAX = 2_000_000
const FORMAT = 'ringwall/state/1'

const Ms = z.int().min(0)
const Issuer = z
  .string()
  .regex(/^node:/)
  .max(80)
const Statement = z.strictObject({
  issuer: Issuer,
  reason: z.string().min(1).max(200),
  issuedAtMs: Ms,
  expiresAtMs: Ms,
  lapsesAtMs: Ms,
})
const Schema = z.strictObject({
  format: z.literal(FORMAT),
  ring: z.string(),
  policyText: z.string().max(262_144),
  policyVersion: z.int().min(1),
  denials: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[0-9a-f]{16}$/),
        subject: z.unknown(),
        reason: z.string().min(1).max(200),
        issuer: z.string().max(80),
        statedBy: z.array(Issuer).min(1).max(1_000).optional(),
        issuedAtMs: Ms,
        expiresAtMs: Ms,
        height: z.int().min(0),
      }),
    )
    .max(DENIALS_MAX),
  pending: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[0-9a-f]{16}$/),
        subject: z.unknown(),
        statements: z.array(Statement).min(1).max(1_000),
      }),
    )
    .max(PENDING_DENIALS_MAX),
  seen: z.array(z.tuple([Ms, z.string().regex(/^[0-9a-f]{64}$/)])).max(SEEN_MAX),
  usage: z.array(z.tuple([z.string().max(80), z.array(z.tuple([z.int().min(0), z.int().min(1)])).max(13)])).max(2_000),
})

export function encodeSnapshot(ring: string, state: RingState): Uint8Array {
  return encodeUtf8(canonicalJson({ format: FORMAT, ring, ...state.contents() }))
}

/** @throws {SnapshotInvalid} When the bytes are not one snapshot of this ring in its one spelling. */
export function parseSnapshot(ring: string, bytes: Uint8Array): RingState {
  if (bytes.length > SNAPSHOT_BYTES_MAX) throw new SnapshotInvalid(`larger than ${SNAPSHOT_BYTES_MAX} bytes`)
  let value: unknown
  let text: string
  try {
    text = decodeUtf8(bytes)
    value = JSON.parse(text)
  } catch (cause) {
    throw new SnapshotInvalid('it is not JSON in UTF-8', { cause })
  }
  const parsed = Schema.safeParse(value)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new SnapshotInvalid(`${issue.path.join('.') || 'the snapshot'}: ${issue.message}`)
  }
  const { data } = parsed
  if (data.ring !== ring) throw new SnapshotInvalid('it is of another ring')
  const state = RingState.from({ ...data, denials: data.denials.map(parseDenial), pending: data.pending.map(parsePending) })
  // One spelling: no entry twice, none out of order.
  if (canonicalJson({ format: FORMAT, ring, ...state.contents() }) !== text) throw new SnapshotInvalid('it is not canonical')
  return state
}

function parseDenial({
  statedBy,
  ...fields
}: Omit<Denial, 'subject' | 'statedBy'> & {
  readonly subject: unknown
  readonly statedBy?: readonly string[] | undefined
}): Denial {
  const subject = subjectOf(fields.id, fields.subject)
  if (statedBy === undefined) return { ...fields, subject }
  if (!isAscending(statedBy)) throw new SnapshotInvalid(`the denial ${fields.id} names its nodes out of order`)
  return { ...fields, subject, statedBy }
}

function parsePending({
  id,
  subject,
  statements,
}: Omit<PendingDenial, 'subject'> & { readonly subject: unknown }): PendingDenial {
  if (!isAscending(statements.map(({ issuer }) => issuer)))
    throw new SnapshotInvalid(`the statements about ${id} are out of order`)
  return { id, subject: subjectOf(id, subject), statements }
}

function isAscending(names: readonly string[]): boolean {
  return names.every((name, index) => index === 0 || (names[index - 1] as string) < name)
}

function subjectOf(id: string, value: unknown): DenialSubject {
  let subject: DenialSubject
  try {
    subject = parseSubject(value)
  } catch (cause) {
    throw new SnapshotInvalid(`the denial ${id} has no valid subject`, { cause })
  }
  if (subjectId(subject) !== id) throw new SnapshotInvalid(`the denial ${id} is of another subject`)
  return subject
}
