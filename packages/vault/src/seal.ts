/** A secret sealed to the ring: a capsule that holds a fresh key, and the secret under it. */
import { hkdfSync, randomBytes } from 'node:crypto'
import { type SecretLabel, secretLabel } from '@ringwall/ring'
import { encapsulate, type PublicKey } from '@ringwall/threshold'
import { VaultError } from './errors.ts'
import { Sealer, Unsealer } from './segments.ts'

/** Of a secret. */
export const SECRET_BYTES_MAX = 16_384
const DOMAIN = 'RINGWALL_VAULT_OBJECT_V1'

export interface Sealed {
  readonly capsule: Uint8Array
  readonly ciphertext: Uint8Array
}

/** @param key That of the capsule. */
function contentKey(key: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, Buffer.alloc(0), DOMAIN, 32))
}

/** @throws {VaultError} VAULT_TOO_LARGE */
export function sealSecret(publicKey: PublicKey, label: SecretLabel, secret: Uint8Array): Sealed {
  if (secret.length > SECRET_BYTES_MAX)
    throw new VaultError('VAULT_TOO_LARGE', `the secret has ${secret.length} bytes, at most ${SECRET_BYTES_MAX} are taken`)
  return sealedUnder(publicKey, secretLabel(label), secret)
}

function sealedUnder(publicKey: PublicKey, about: Uint8Array, secret: Uint8Array): Sealed {
  const seed = randomBytes(32)
  const { capsule, key } = encapsulate(publicKey, about, seed)
  seed.fill(0)
  const sealer = new Sealer(contentKey(key), about)
  key.fill(0)
  return { capsule, ciphertext: Buffer.concat([sealer.update(secret), sealer.final()]) }
}

/** The key of an object, sealed as a secret is. @param about `objectLabel`. */
export function sealObjectKey(publicKey: PublicKey, about: Uint8Array, objectKey: Uint8Array): Sealed {
  return sealedUnder(publicKey, about, objectKey)
}

/** @param key That of the capsule. @param about Its label. @throws {VaultError} VAULT_CORRUPT */
export function unsealSecret(key: Uint8Array, about: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const unsealer = new Unsealer(contentKey(key), about)
  return Buffer.concat([unsealer.update(ciphertext), unsealer.final()])
}

/** What a capsule says that it is of; undefined for none of a secret. */
export function readSecretLabel(about: Uint8Array): SecretLabel | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(about)
    const label = JSON.parse(text.slice(text.indexOf('\n') + 1)) as SecretLabel
    return Buffer.compare(secretLabel(label), about) === 0 ? label : undefined
  } catch {
    return undefined
  }
}
