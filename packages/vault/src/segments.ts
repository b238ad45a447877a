/**
 * One object as a run of encrypted segments: the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár ("Online Authenticated-Encryption
 * and its Nonce-Reuse Misuse-Resistance", 2015, section 7) over AES-256-GCM of node:crypto.
 *
 *     object  = segment* last
 *     segment = ciphertext(65,536) tag(16)      nonce = zero(7) number(4) 0
 *     last    = ciphertext(0..65,536) tag(16)   nonce = zero(7) number(4) 1
 *
 * The key is of this object alone, so that nonces may begin at zero. Number and end are in the nonce: segments that are dropped, repeated,
 * reordered, or cut off at the end do not verify. No plaintext leaves before its segment has.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { VaultError } from './errors.ts'

export const SEGMENT_BYTES = 65_536
const TAG_BYTES = 16
const SEALED_BYTES = SEGMENT_BYTES + TAG_BYTES
const CIPHER = 'aes-256-gcm'
const SEGMENTS_MAX = 2 ** 32

function nonceOf(number: number, isLast: boolean): Buffer {
  if (number >= SEGMENTS_MAX) throw new VaultError('VAULT_TOO_LARGE', `an object has at most ${SEGMENTS_MAX} segments`)
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32BE(number, 7)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

/** Bytes that wait until a whole run of them is there, and one more: what is last is known only then. */
class Waiting {
  readonly #size: number
  #held: Buffer = Buffer.alloc(0)

  constructor(size: number) {
    this.#size = size
  }

  /** Whole runs that are not the last. */
  push(chunk: Uint8Array): readonly Buffer[] {
    this.#held = this.#held.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk])
    const whole: Buffer[] = []
    let at = 0
    for (; this.#held.length - at > this.#size; at += this.#size) whole.push(this.#held.subarray(at, at + this.#size))
    this.#held = this.#held.subarray(at)
    return whole
  }

  last(): Buffer {
    const last = this.#held
    this.#held = Buffer.alloc(0)
    return last
  }
}

/** Seals one object, in chunks of any size. */
export class Sealer {
  readonly #key: Uint8Array
  readonly #about: Uint8Array
  readonly #waiting = new Waiting(SEGMENT_BYTES)
  #number = 0

  /** @param key 32 bytes, of this object only. @param about What is authenticated with every segment. */
  constructor(key: Uint8Array, about: Uint8Array) {
    this.#key = key
    this.#about = about
  }

  update(chunk: Uint8Array): Buffer {
    return Buffer.concat(this.#waiting.push(chunk).map((segment) => this.#seal(segment, false)))
  }

  final(): Buffer {
    return this.#seal(this.#waiting.last(), true)
  }

  #seal(segment: Uint8Array, isLast: boolean): Buffer {
    const cipher = createCipheriv(CIPHER, this.#key, nonceOf(this.#number, isLast)).setAAD(this.#about)
    this.#number += 1
    return Buffer.concat([cipher.update(segment), cipher.final(), cipher.getAuthTag()])
  }
}

/** Opens one object, in chunks of any size. */
export class Unsealer {
  readonly #key: Uint8Array
  readonly #about: Uint8Array
  readonly #waiting = new Waiting(SEALED_BYTES)
  #number = 0

  /** As for `Sealer`. */
  constructor(key: Uint8Array, about: Uint8Array) {
    this.#key = key
    this.#about = about
  }

  /** @throws {VaultError} VAULT_CORRUPT */
  update(chunk: Uint8Array): Buffer {
    return Buffer.concat(this.#waiting.push(chunk).map((segment) => this.#open(segment, false)))
  }

  /** @throws {VaultError} VAULT_CORRUPT: changed, cut off, or under another key. */
  final(): Buffer {
    return this.#open(this.#waiting.last(), true)
  }

  #open(sealed: Uint8Array, isLast: boolean): Buffer {
    const at = sealed.length - TAG_BYTES
    if (at < 0) throw new VaultError('VAULT_CORRUPT', 'the object is cut off')
    const nonce = nonceOf(this.#number, isLast)
    this.#number += 1
    const decipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(this.#about).setAuthTag(sealed.subarray(at))
    try {
      return Buffer.concat([decipher.update(sealed.subarray(0, at)), decipher.final()])
    } catch {
      throw new VaultError('VAULT_CORRUPT', 'the object was changed, or is sealed under another key')
    }
  }
}
