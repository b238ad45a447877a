/**
 * A storage key under what this machine has: the node's private key file, and where the operator sets one, a passphrase.
 *
 *     key     = HKDF-SHA-256(private key [scrypt(passphrase, salt)], salt, "RINGWALL_DISK_LOCAL_V1\n" ring node)
 *     wrapped = AES-256-GCM, nonce(12) ciphertext tag(16)
 *
 * Without a passphrase it protects copies of the data folder that do not hold the key file. With one, the whole disk of a machine that is off.
 */
import { createCipheriv, createDecipheriv, hkdfSync, type KeyObject, randomBytes, scryptSync } from 'node:crypto'

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SALT_BYTES = 32
/** Some 128 MB and half a second: once a start. */
const SCRYPT = { N: 131_072, r: 8, p: 1, maxmem: 256 * 1024 * 1024 }

export interface LocalLock {
  readonly salt: string
  readonly passphrase: boolean
  readonly wrapped: string
}

export interface LocalSecrets {
  /** The node's, Ed25519. */
  readonly privateKey: KeyObject
  readonly passphrase: string | undefined
  /** Ring and node. */
  readonly context: string
}

function lockingKey({ privateKey, passphrase, context }: LocalSecrets, salt: Buffer): Uint8Array {
  const own = Buffer.from(privateKey.export({ format: 'jwk' }).d as string, 'base64url')
  const stretched = passphrase === undefined ? Buffer.alloc(0) : scryptSync(passphrase.normalize('NFKC'), salt, 32, SCRYPT)
  const secret = Buffer.concat([own, stretched])
  const key = new Uint8Array(hkdfSync('sha256', secret, salt, `RINGWALL_DISK_LOCAL_V1\n${context}`, 32))
  for (const buffer of [own, stretched, secret]) buffer.fill(0)
  return key
}

/** @param about What it is for, authenticated. */
export function wrapKey(key: Uint8Array, secret: Uint8Array, about: string): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(about))
  return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString('base64url')
}

/** Undefined when it was not wrapped by this key for this. */
export function unwrapKey(key: Uint8Array, wrapped: string, about: string): Uint8Array | undefined {
  const bytes = Buffer.from(wrapped, 'base64url')
  if (bytes.length !== NONCE_BYTES + 32 + TAG_BYTES) return undefined
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAAD(Buffer.from(about)).setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    return new Uint8Array(Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]))
  } catch {
    return undefined
  }
}

const ABOUT = 'storage key'

export function lockLocally(secrets: LocalSecrets, storageKey: Uint8Array): LocalLock {
  const salt = randomBytes(SALT_BYTES)
  const wrapped = wrapKey(lockingKey(secrets, salt), storageKey, ABOUT)
  return { salt: salt.toString('base64url'), passphrase: secrets.passphrase !== undefined, wrapped }
}

export function unlockLocally(secrets: LocalSecrets, lock: LocalLock): Uint8Array | undefined {
  const asked = lock.passphrase ? secrets : { ...secrets, passphrase: undefined }
  return unwrapKey(lockingKey(asked, Buffer.from(lock.salt, 'base64url')), lock.wrapped, ABOUT)
}
