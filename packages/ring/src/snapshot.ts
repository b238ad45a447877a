/** A state as bytes, so that a node can join without replaying every block. The reader trusts nothing but the root. */
import { z } from 'zod'
import { canonicalJson } from './canonical-json.ts'
import { decodeUtf8, encodeUtf8, equalBytes } from './encoding.ts'
import { SnapshotInvalid } from './errors.ts'
import { Node } from './genesis.ts'
import { RETIRED_MAX } from './nodes.ts'
import { DENIALS_MAX, RingState } from './state.ts'
import { parseSubject, subjectId } from './tx.ts'
import type { Denial, DenialSubject } from './types.ts'

/** Largest snapshot read, bytes. */
const SNAPSHOT_BYTES_MAX = 268_435_456
/** Transactions of ten minutes. */
const SEEN_MAX = 2_000_000
const FORMAT = 'ringwall/state/3'

/** Entries in one piece: between pieces the caller may let others have their turn. */
const PIECE_ENTRIES = 1_000

const Ms = z.int().min(0)
const Header = z.strictObject({
  format: z.literal(FORMAT),
  ring: z.string(),
  policyText: z.string().max(262_144),
  policyVersion: z.int().min(1),
  nodes: z.array(Node).min(1).max(1_000),
  retired: z.array(z.strictObject({ id: z.string().max(63), publicKey: z.string().length(43) })).max(RETIRED_MAX),
  epoch: z.int().min(0),
  usage: z.array(z.tuple([z.string().max(80), z.array(z.tuple([z.int().min(0), z.int().min(1)])).max(13)])).max(2_000),
  denials: z.int().min(0).max(DENIALS_MAX),
  seen: z.int().min(0).max(SEEN_MAX),
})
const DenialLine = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  subject: z.unknown(),
  reason: z.string().min(1).max(200),
  issuer: z.string().max(80),
  issuedAtMs: Ms,
  expiresAtMs: Ms,
  height: z.int().min(0),
})
const SeenLine = z.tuple([Ms, z.string().regex(/^[0-9a-f]{64}$/)])

/** In pieces: lines of canonical JSON, a header and then an entry each, in the order of their keys. */
export function* encodeSnapshot(ring: string, state: RingState): Generator<Uint8Array, void, undefined> {
  const { denials, seen, ...rest } = state.contents()
  yield encodeUtf8(`${canonicalJson({ format: FORMAT, ring, ...rest, denials: denials.length, seen: seen.length })}\n`)
  for (const entries of [denials, seen]) {
    for (let at = 0; at < entries.length; at += PIECE_ENTRIES) {
      const lines = entries.slice(at, at + PIECE_ENTRIES).map((entry) => `${canonicalJson(entry)}\n`)
      yield encodeUtf8(lines.join(''))
    }
  }
}

/** @throws {SnapshotInvalid} When the bytes are not one snapshot of this ring in its one spelling. */
export function parseSnapshot(ring: string, bytes: Uint8Array): RingState {
  if (bytes.length > SNAPSHOT_BYTES_MAX) throw new SnapshotInvalid(`larger than ${SNAPSHOT_BYTES_MAX} bytes`)
  const lines = new Lines(bytes)
  const header = lines.next(Header)
  if (header.ring !== ring) throw new SnapshotInvalid('it is of another ring')
  const denials = Array.from({ length: header.denials }, () => parseDenial(lines.next(DenialLine)))
  const seen = Array.from({ length: header.seen }, () => lines.next(SeenLine))
  const { policyText, policyVersion, nodes, retired, epoch, usage } = header
  const state = RingState.from({ policyText, policyVersion, nodes, retired, epoch, usage, denials, seen })
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
