/**
 * A password as a key: Argon2id (RFC 9106) makes the seed of an Ed25519 key of it, and the ring knows the public half. So a node that takes a
 * password can show all others that it did, and the others need not see it; what is stored logs nobody in.
 */
import { argon2, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import type { PasswordCost } from '@ringwall/ring'

/** The second recommended option (RFC 9106 section 4). */
export const PASSWORD_COST: PasswordCost = { lanes: 4, memoryKiB: 65_536, passes: 3 }
export const PASSWORD_SALT_BYTES = 16
export const PASSWORD_CHARS_MIN = 12
export const PASSWORD_CHARS_MAX = 256
/** PKCS #8 of an Ed25519 key but for its 32 bytes (RFC 8410 section 7). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** Off the main thread; some 100 ms and 64 MiB. */
export function passwordKey(password: string, salt: Uint8Array, { lanes, memoryKiB, passes }: PasswordCost): Promise<KeyObject> {
  return new Promise((settle, refuse) => {
    // One spelling (RFC 8265 section 4.2).
    const message = Buffer.from(password.normalize('NFC'), 'utf8')
    const parameters = { message, nonce: salt, parallelism: lanes, tagLength: 32, memory: memoryKiB, passes }
    argon2('argon2id', parameters, (error, seed) => {
      message.fill(0)
      if (error !== null) {
        refuse(error)
        return
      }
      const key = seededKey(seed)
      seed.fill(0)
      settle(key)
    })
  })
}

/** Of a private Ed25519 key: the public half, raw, base64url. */
export function publicHalf(key: KeyObject): string {
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64url')
}

/** From a seed of 32 bytes. */
export function seededKey(seed: Uint8Array): KeyObject {
  const der = Buffer.concat([PKCS8, seed])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  der.fill(0)
  return key
}
