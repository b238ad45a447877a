/** The cryptography that the voter is given: Ed25519 and SHA-256 of node:crypto. */
import { createHash, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import type { Digest, Scheme } from '@ringwall/consensus'
import { LedgerError } from './errors.ts'
import type { Validator } from './payload.ts'

const PUBLIC_KEY_BYTES = 32
/** Signatures known to be good that are remembered: votes come back inside certificates. */
const VERIFIED_MAX = 16_384

export function sha256(bytes: Uint8Array): Digest {
  return hash('sha256', bytes, 'hex') as Digest
}

/** @throws {LedgerError} `LEDGER_CONFIG` when a key is not an Ed25519 key. */
export function ed25519Scheme(validators: readonly Validator[], privateKey: KeyObject | undefined): Scheme {
  const keys = validators.map(({ id, publicKey }) => publicKeyOf(id, publicKey))
  if (privateKey !== undefined && (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519')) {
    throw new LedgerError('LEDGER_CONFIG', 'the private key is not an Ed25519 private key')
  }
  const verified = new Set<string>()
  return {
    sign(message) {
      if (privateKey === undefined) throw new LedgerError('LEDGER_CONFIG', 'there is no private key to sign with')
      return sign(null, message, privateKey)
    },
    verify(signer, message, signature) {
      const key = keys[signer]
      if (key === undefined || signature.length !== 64) return false
      const name = `${signer}:${createHash('sha256').update(signature).update(message).digest('base64')}`
      if (verified.has(name)) return true
      if (!verify(null, message, key, signature)) return false
      if (verified.size >= VERIFIED_MAX) for (const old of [...verified].slice(0, VERIFIED_MAX / 2)) verified.delete(old)
      verified.add(name)
      return true
    },
    hash: sha256,
  }
}

function publicKeyOf(id: string, raw: Uint8Array): KeyObject {
  if (raw.length !== PUBLIC_KEY_BYTES) {
    throw new LedgerError('LEDGER_CONFIG', `the public key of ${id} has ${raw.length} bytes: ${PUBLIC_KEY_BYTES} expected`)
  }
  const x = Buffer.from(raw).toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
}
