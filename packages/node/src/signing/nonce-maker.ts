/**
 * Nonces by OpenSSL's Ed25519, at a tenth of what a multiplication in big integers costs, and in constant time.
 *
 * Signing a message M with a key whose prefix is p (RFC 8032 section 5.1.6) makes r = SHA-512(p || M) mod L and R = rB: R is the first half of
 * the signature, and whoever has p computes r. So r and R are a nonce and its commitment. p is the second half of SHA-512 of a random seed
 * that this process draws once and tells nobody; M is fresh randomness and the share, so that neither a weak generator nor a leaked seed alone
 * gives r away. That is RFC 9591 section 4.1 with a secret prefix in the place of its label: uniform modulo L but for 2^-259. The second half of the
 * signature, r + ka, would give r to whoever had the seed's key; it is wiped with M.
 */
import { createHash, createPrivateKey, hash, randomBytes, sign } from 'node:crypto'
import { edwards, type NonceMaker, ORDER, type Scalar } from '@ringwall/threshold'

/** DER prefix of an Ed25519 PrivateKeyInfo (RFC 8410 section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const LABEL = Buffer.from('RINGWALL_NONCE_V1')
const SEED_BYTES = 32

/**
 * @returns undefined where the engine's Ed25519 does not work like that (it may add randomness of its own): the caller makes nonces by
 * itself then.
 */
export function nativeNonceMaker(): NonceMaker | undefined {
  const seed = randomBytes(SEED_BYTES)
  const der = Buffer.concat([PKCS8_PREFIX, seed])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const expanded = hash('sha512', seed, 'buffer')
  const prefix = Buffer.from(expanded.subarray(SEED_BYTES))
  for (const secret of [seed, der, expanded]) secret.fill(0)
  const make: NonceMaker = (random, secret) => {
    const message = Buffer.concat([LABEL, random, secret])
    const signature = sign(null, message, key)
    const digest = createHash('sha512').update(prefix).update(message).digest()
    const nonce = reduced(digest)
    const commitment = edwards.decodeOfAnyOrder(Uint8Array.from(signature.subarray(0, 32)))
    for (const bytes of [message, signature, digest]) bytes.fill(0)
    return { nonce, commitment }
  }
  const { nonce, commitment } = make(randomBytes(32), randomBytes(32))
  return edwards.equals(edwards.multiplyBase(nonce), commitment) ? make : undefined
}

/** 64 bytes, little-endian, modulo L. */
function reduced(digest: Buffer): Scalar {
  return BigInt(`0x${Buffer.from(digest).reverse().toString('hex')}`) % ORDER
}
