/** How a node that starts asks holders of the sealing key to open its disk, and what they answer. JSON, strictly parsed. */
import { createHash } from 'node:crypto'
import { canonicalJson } from '@ringwall/ring/tx'
import { z } from 'zod'

export const RELEASE_BYTES_MAX = 8_192
/** Of a public key with the commitments of 31 holders, and a reply. */
export const ANSWER_BYTES_MAX = 16_384
const DOMAIN = 'RINGWALL_DISK_RELEASE_V2\n'
const QUOTE_DOMAIN = 'RINGWALL_DISK_QUOTE_V1\n'

const Key = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const Hash = z.string().regex(/^[0-9a-f]{64}$/)
const Bytes = z
  .string()
  .regex(/^[A-Za-z0-9_-]+$/)
  .max(1_400)
const Request = z.strictObject({
  ring: z.string().regex(/^[0-9a-f]{64}$/),
  node: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
  /** SHA-256 of the capsule. */
  capsule: Key,
  /** Of the machine. */
  proof: Key,
  atMs: z.int().min(0),
  nonce: z.string().regex(/^[A-Za-z0-9_-]{22}$/),
  /** X25519, of this request alone. */
  replyTo: Key,
  /** What this holder gave to attest over, and what was measured since; null until it asked for that. */
  attested: z.strictObject({ challenge: Key, measured: z.strictObject({ configuration: Hash, program: Hash }) }).nullable(),
})
const Signed = z.strictObject({
  request: Request,
  signature: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
  /** Over the request, by the node’s TPM. */
  tpm: z.strictObject({ quote: Bytes, signature: Bytes, pcrs: z.array(Hash).max(24) }).nullable(),
})
const Answer = z.union([
  z.strictObject({
    /** `PublicKey.encode`. */
    publicKey: z.string().regex(/^[A-Za-z0-9_-]+$/),
    reply: z.string().regex(/^[A-Za-z0-9_-]+$/),
  }),
  z.strictObject({
    code: z.string().regex(/^[A-Z_]{1,32}$/),
    reason: z.string().max(600),
    /** 32 random bytes to attest over, once. */
    challenge: Key.optional(),
  }),
])

export type ReleaseRequest = z.output<typeof Request>
export type SignedRelease = z.output<typeof Signed>
export type ReleaseAnswer = z.output<typeof Answer>

/** Codes that no later try changes: the disk is not to be opened by the ring. */
export const FINAL_REFUSALS: readonly string[] = ['DISK_GONE', 'DISK_UNKNOWN', 'DISK_MACHINE', 'DISK_KEY_REPLACED']

export function releaseSigningBytes(request: ReleaseRequest): Uint8Array {
  return Buffer.from(DOMAIN + canonicalJson(request))
}

/** What a TPM quotes for a request: 32 bytes in hex. The request names the holder's challenge, so that no quote was made before. */
export function releaseNonce(request: ReleaseRequest): string {
  return createHash('sha256')
    .update(QUOTE_DOMAIN + canonicalJson(request))
    .digest('hex')
}

/** @throws {Error} For anything else. */
export function parseRelease(payload: Uint8Array): SignedRelease {
  if (payload.length > RELEASE_BYTES_MAX) throw new Error('too long')
  return Signed.parse(JSON.parse(Buffer.from(payload).toString('utf8')))
}

/** @throws {Error} For anything else. */
export function parseReleaseAnswer(payload: Uint8Array): ReleaseAnswer {
  if (payload.length > ANSWER_BYTES_MAX) throw new Error('too long')
  return Answer.parse(JSON.parse(Buffer.from(payload).toString('utf8')))
}
