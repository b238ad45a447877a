/** Keys on disk, and the few uses of node:crypto's Ed25519 that a node passes to the pure packages. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto'
import { StartError } from './errors.ts'
import { readTextFile } from './text-file.ts'

/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const KEY_BYTES = 32
const KEYS_CACHED_MAX = 1_024

export function generateKey(): { readonly privateKey: KeyObject; readonly publicKey: Uint8Array } {
  const { privateKey } = generateKeyPairSync('ed25519')
  return { privateKey, publicKey: rawPublicKey(privateKey) }
}

/** Raw 32 bytes of the public key that belongs to `privateKey`. */
export function rawPublicKey(privateKey: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length))
}

/** @throws {StartError} `KEY_INVALID`. The message never holds the key. */
export function readPrivateKey(file: string): KeyObject {
  const pem = readTextFile(file, 'KEY_INVALID', 'the private key')
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Falls through: the cause may quote the file.
  }
  throw new StartError('KEY_INVALID', `${file}: expected a PEM file with an Ed25519 private key (PKCS#8)`)
}

const parsedKeys = new Map<string, KeyObject>()

/** Ed25519 (RFC 8032) over raw keys. False for anything malformed. Parsed keys are kept: parsing costs as much as verifying. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== 64) return false
  const name = Buffer.from(publicKey).toString('latin1')
  let key = parsedKeys.get(name)
  if (key === undefined) {
    try {
      key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' })
    } catch {
      return false
    }
    if (parsedKeys.size >= KEYS_CACHED_MAX) parsedKeys.clear()
    parsedKeys.set(name, key)
  }
  return verify(null, message, key, signature)
}

export function signMessage(privateKey: KeyObject, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, message, privateKey))
}

/** SHA-256 as lower-case hex. */
export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

/** 16 random bytes, base64url: the nonce of a transaction. */
export function randomNonce(): string {
  return randomBytes(16).toString('base64url')
}
