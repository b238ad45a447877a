/**
 * Access keys as S3's clients have them: an id, and a secret that both sides know. From the secret follows an Ed25519 key too, of which the
 * ledger has the public half: with it the node that a client talks to signs, for the ring, what the client asked for.
 */
import { createPrivateKey, createPublicKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'

const INFO = 'RINGWALL_ACCESS_KEY_V1'
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const ID_CHARS = 18
/** 240 random bits, as S3's clients expect a secret to look. */
const SECRET_BYTES = 30

export function makeAccessKey(): { readonly id: string; readonly secret: string } {
  const id = [...randomBytes(ID_CHARS)].map((byte) => ALPHABET[byte % 32]).join('')
  return { id: `RW${id}`, secret: randomBytes(SECRET_BYTES).toString('base64url') }
}

/** The key that signs for who has this secret. */
export function accessKeySigner(secret: string): KeyObject {
  const seed = Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), INFO, 32))
  const der = Buffer.concat([PKCS8_ED25519, seed])
  seed.fill(0)
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  } finally {
    der.fill(0)
  }
}

/** Its public half, raw, base64url. */
export function accessKeyPublic(secret: string): string {
  return createPublicKey(accessKeySigner(secret)).export({ format: 'jwk' }).x as string
}
