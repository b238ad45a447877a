/**
 * What keys of the transit make, as text that says the version of its key.
 *
 *     ciphertext    = "ringwall:v" version ":" base64url(length(2) capsule segments)
 *     signature     = "ringwall:v" version ":" base64url(Ed25519)
 *     authenticator = "ringwall:v" version ":" base64url(32 bytes)
 */
import { createPublicKey, hash, hkdfSync, randomBytes, timingSafeEqual, verify } from 'node:crypto'
import { type TransitPlace, transitCapsuleLabel, transitSignedBytes } from '@ringwall/ring'
import { encapsulate, type PublicKey } from '@ringwall/threshold'
import { VaultError } from './errors.ts'
import { Sealer, Unsealer } from './segments.ts'
import { TRANSIT_CAPSULE_BYTES_MAX } from './transit-request.ts'

const TEXT = /^ringwall:v([1-9][0-9]{0,8}):([A-Za-z0-9_-]+)$/
const DOMAIN = 'RINGWALL_TRANSIT_DATA_V1'
/** Of what is encrypted: more is for files. */
export const TRANSIT_PLAINTEXT_BYTES_MAX = 33_554_432
export const AUTHENTICATOR_BYTES = 32

export function transitText(version: number, bytes: Uint8Array): string {
  return `ringwall:v${version}:${Buffer.from(bytes).toString('base64url')}`
}

/** @throws {VaultError} VAULT_MALFORMED */
export function readTransitText(text: string): { readonly version: number; readonly bytes: Buffer } {
  const match = TEXT.exec(text)
  if (match === null)
    throw new VaultError('VAULT_MALFORMED', 'expected ringwall:vVERSION:BASE64URL, as transit commands print it')
  return { version: Number(match[1]), bytes: Buffer.from(match[2] as string, 'base64url') }
}

/** SHA-256, base64url; empty for no context. */
export function contextDigest(context: Uint8Array): string {
  return context.length === 0 ? '' : hash('sha256', context, 'base64url')
}

/** SHA-512, base64url: what is signed and authenticated of a message. */
export function messageDigest(message: Uint8Array): string {
  return hash('sha512', message, 'base64url')
}

function dataKey(key: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, Buffer.alloc(0), DOMAIN, 32))
}

/** Needs no holder: a fresh key is encapsulated to the ring's, and forgotten. @throws {VaultError} VAULT_TOO_LARGE */
export function encryptTransit(publicKey: PublicKey, place: TransitPlace, plaintext: Uint8Array, context: Uint8Array): string {
  if (plaintext.length > TRANSIT_PLAINTEXT_BYTES_MAX)
    throw new VaultError('VAULT_TOO_LARGE', `${plaintext.length} bytes, at most ${TRANSIT_PLAINTEXT_BYTES_MAX} are encrypted`)
  const label = transitCapsuleLabel(place, contextDigest(context))
  const seed = randomBytes(32)
  const { capsule, key } = encapsulate(publicKey, label, seed)
  seed.fill(0)
  const data = dataKey(key)
  key.fill(0)
  const sealer = new Sealer(data, label)
  const head = Buffer.alloc(2)
  head.writeUInt16BE(capsule.length)
  const bytes = Buffer.concat([head, capsule, sealer.update(plaintext), sealer.final()])
  data.fill(0)
  return transitText(place.version, bytes)
}

export interface TransitCiphertext {
  readonly version: number
  readonly capsule: Uint8Array
  readonly segments: Uint8Array
}

/** @throws {VaultError} VAULT_MALFORMED */
export function readCiphertext(text: string): TransitCiphertext {
  const { version, bytes } = readTransitText(text)
  const length = bytes.length < 2 ? 0 : bytes.readUInt16BE(0)
  if (length === 0 || length > TRANSIT_CAPSULE_BYTES_MAX || bytes.length < 2 + length)
    throw new VaultError('VAULT_MALFORMED', 'the ciphertext is cut off, or none of the transit')
  return { version, capsule: new Uint8Array(bytes.subarray(2, 2 + length)), segments: bytes.subarray(2 + length) }
}

/** @param key That of the capsule. @param label Its label. @throws {VaultError} VAULT_CORRUPT */
export function decryptSegments(key: Uint8Array, label: Uint8Array, segments: Uint8Array): Buffer {
  const data = dataKey(key)
  try {
    const unsealer = new Unsealer(data, label)
    return Buffer.concat([unsealer.update(segments), unsealer.final()])
  } finally {
    data.fill(0)
  }
}

/** @param signer The ring's key that the version signs by, raw, base64url. False for anything malformed, or of another version. */
export function verifiesTransit(place: TransitPlace, signer: string, message: Uint8Array, text: string): boolean {
  const match = TEXT.exec(text)
  if (match === null || Number(match[1]) !== place.version) return false
  const signature = Buffer.from(match[2] as string, 'base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: signer }, format: 'jwk' })
  return signature.length === 64 && verify(null, transitSignedBytes(place, messageDigest(message)), key, signature)
}

/** In constant time. */
export function sameAuthenticator(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => hash('sha256', text, 'buffer'))
  return timingSafeEqual(left as Buffer, right as Buffer)
}
