/**
 * Signatures that were found good, and keys that were parsed: what is asked again, as by each step that a request takes through a node, costs a
 * hash. A good signature stays one; a bad one is looked at each time. Bounded: the oldest go first.
 */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto'

const GOOD_MAX = 4_096
const KEYS_MAX = 1_024

const good = new Set<string>()
const keys = new Map<string, KeyObject>()

/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4). */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex')

/** @param key Ed25519, raw. False for anything malformed. */
export function verifiesEd25519(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return key.length === 32 && verifiesSpki(Buffer.concat([ED25519_SPKI, key]), message, signature)
}

/** @param spki SubjectPublicKeyInfo in DER: Ed25519, or ECDSA with SHA-256. False for anything malformed. */
export function verifiesSpki(spki: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  // Lengths first, so that no two triples are one input.
  const lengths = Buffer.alloc(8)
  lengths.writeUInt32BE(spki.length, 0)
  lengths.writeUInt32BE(signature.length, 4)
  const name = hash('sha256', Buffer.concat([lengths, spki, signature, message]), 'base64')
  if (good.has(name)) return true
  try {
    const key = keyOf(spki)
    if (!verify(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', message, key, signature)) return false
  } catch {
    return false
  }
  if (good.size >= GOOD_MAX) good.delete(good.values().next().value as string)
  good.add(name)
  return true
}

/** @throws When it is none. */
function keyOf(spki: Uint8Array): KeyObject {
  const name = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength).toString('latin1')
  let key = keys.get(name)
  if (key === undefined) {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
    if (keys.size >= KEYS_MAX) keys.delete(keys.keys().next().value as string)
    keys.set(name, key)
  }
  return key
}
