/** A state as bytes, so that a node can join without replaying every block. The reader trusts nothing but the root. */
import { z } from 'zod'
import { canonicalJson } from './canonical-json.ts'
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
        issuedAtMs: Ms,
        expiresAtMs: Ms,
        height: z.int().min(0),
      }),
    )
    .max(DENIALS_MAX),
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
  const state = RingState.from({ ...data, denials: data.denials.map(parseDenial) })
  // One spelling: no entry twice, none out of order.
  if (canonicalJson({ format: FORMAT, ring, ...state.contents() }) !== text) throw new SnapshotInvalid('it is not canonical')
  return state
}

function parseDenial(fields: Omit<Denial, 'subject'> & { readonly subject: unknown }): Denial {
  let subject: DenialSubject
  try {
    subject = parseSubject(fields.subject)
  } catch (cause) {
    throw new SnapshotInvalid(`the denial ${fields.id} has no valid subject`, { cause })
  }
  if (subjectId(subject) !== fields.id) throw new SnapshotInvalid(`the denial ${fields.id} is of another subject`)
  return { ...fields, subject }
}
