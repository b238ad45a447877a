/**
 * The content of objects, encrypted: segments of 4 MiB, each AES-256-GCM by node:crypto. As in `segments.ts` (STREAM), number and end are in the
 * nonce, so that segments cannot be left out, repeated, moved or cut off; the version that they are of is authenticated with each of them.
 *
 *     object key = of the capsule, 32 bytes
 *     blob key   = HKDF-SHA-256(object key, salt = blob id, info = "RINGWALL_OBJECT_BLOB_V1")
 *     segment    = ciphertext(1..4,194,304, or 0 of an empty blob) tag(16)      nonce = zero(7) number(4) last(1)
 *
 * A blob is what came in one request: an object, or one part of it. Its id is random, so that a part that is put again has another key.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { VaultError } from './errors.ts'

export const OBJECT_SEGMENT_BYTES = 4_194_304
export const OBJECT_TAG_BYTES = 16
const CIPHER = 'aes-256-gcm'
const BLOB_INFO = 'RINGWALL_OBJECT_BLOB_V1'

/** @param blob 16 hex digits. */
export function blobKey(objectKey: Uint8Array, blob: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', objectKey, Buffer.from(blob, 'hex'), BLOB_INFO, 32))
}

function nonceOf(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32BE(number, 7)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

/** @param about The label of the object's capsule. */
export function sealObjectSegment(
  key: Uint8Array,
  about: Uint8Array,
  number: number,
  isLast: boolean,
  plain: Uint8Array,
): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonceOf(number, isLast)).setAAD(about)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** @throws {VaultError} VAULT_CORRUPT: changed, moved, cut off, of another version, or under another key. */
export function openObjectSegment(
  key: Uint8Array,
  about: Uint8Array,
  number: number,
  isLast: boolean,
  sealed: Uint8Array,
): Buffer {
  const at = sealed.length - OBJECT_TAG_BYTES
  if (at < 0) throw new VaultError('VAULT_CORRUPT', 'a segment of the object is cut off')
  const decipher = createDecipheriv(CIPHER, key, nonceOf(number, isLast), { authTagLength: OBJECT_TAG_BYTES })
  decipher.setAAD(about).setAuthTag(sealed.subarray(at))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, at)), decipher.final()])
  } catch {
    throw new VaultError('VAULT_CORRUPT', `segment ${number} of the object was changed, or is of another one`)
  }
}

/** How a blob of so many bytes is cut. */
export class BlobShape {
  readonly segments: number
  readonly #size: number
  readonly #data: number

  /** @param size Of plaintext. @param data Shards that are enough. */
  constructor(size: number, data: number) {
    this.segments = Math.max(1, Math.ceil(size / OBJECT_SEGMENT_BYTES))
    this.#size = size
    this.#data = data
  }

  /** Of a segment's plaintext. */
  plainBytes(number: number): number {
    return number < this.segments - 1 ? OBJECT_SEGMENT_BYTES : this.#size - OBJECT_SEGMENT_BYTES * (this.segments - 1)
  }

  sealedBytes(number: number): number {
    return this.plainBytes(number) + OBJECT_TAG_BYTES
  }

  /** Of what a segment adds to each shard. */
  pieceBytes(number: number): number {
    return Math.ceil(this.sealedBytes(number) / this.#data)
  }

  /** Where in each shard that begins. */
  pieceStart(number: number): number {
    return number * Math.ceil((OBJECT_SEGMENT_BYTES + OBJECT_TAG_BYTES) / this.#data)
  }

  /** Of each shard as a whole. */
  get shardBytes(): number {
    const last = this.segments - 1
    return this.pieceStart(last) + this.pieceBytes(last)
  }
}
