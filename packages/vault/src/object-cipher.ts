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
import { copyBytes, giveBack, wipe } from './memory.ts'

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

/**
 * What is encrypted and decrypted at a time: little enough to stay in a core's cache, and small enough that the allocator has it at hand. Memory
 * that is touched for the first time costs more than the cipher does.
 */
const RUN_BYTES = 32_768

/** Bytes one after the other over several pieces. */
class Row {
  readonly #pieces: readonly Uint8Array[]
  #piece = 0
  #at = 0

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces
  }

  put(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const target = this.#next()
      const count = Math.min(bytes.length - from, target.length)
      copyBytes(bytes, target, 0, from, from + count)
      this.#at += count
      from += count
    }
  }

  /** At most so many; fewer at the end of a piece. */
  take(most: number): Uint8Array {
    const taken = this.#next().subarray(0, most)
    this.#at += taken.length
    return taken
  }

  fillUp(): void {
    for (; this.#piece < this.#pieces.length; this.#piece += 1, this.#at = 0) this.#pieces[this.#piece]?.fill(0, this.#at)
  }

  /** What is left of the piece that it is at. */
  #next(): Uint8Array {
    while (this.#at === this.#pieces[this.#piece]?.length) {
      this.#piece += 1
      this.#at = 0
    }
    const piece = this.#pieces[this.#piece]
    if (piece === undefined) throw new RangeError('the pieces are too short')
    return piece.subarray(this.#at)
  }
}

/**
 * Overwrites `pieces`, one after the other, with the segment, and what is left of them with zeros.
 *
 * @param about The label of the object's capsule. @param pieces With room for the plaintext and its tag.
 */
export function sealObjectSegment(
  key: Uint8Array,
  about: Uint8Array,
  number: number,
  isLast: boolean,
  plain: Uint8Array,
  pieces: readonly Uint8Array[],
): void {
  const cipher = createCipheriv(CIPHER, key, nonceOf(number, isLast)).setAAD(about)
  const row = new Row(pieces)
  for (let at = 0; at < plain.length; at += RUN_BYTES) {
    const run = cipher.update(plain.subarray(at, at + RUN_BYTES))
    row.put(run)
    giveBack(run)
  }
  row.put(cipher.final())
  row.put(cipher.getAuthTag())
  row.fillUp()
}

/**
 * Overwrites `plain` with what is sealed in `pieces`, and with zeros when that is not right.
 *
 * @param pieces Those of data, one after the other. @param sealedBytes With the tag, without what fills up the last piece.
 * @throws {VaultError} VAULT_CORRUPT: changed, moved, cut off, of another version, or under another key.
 */
export function openObjectSegment(
  key: Uint8Array,
  about: Uint8Array,
  number: number,
  isLast: boolean,
  { pieces, sealedBytes }: { readonly pieces: readonly Uint8Array[]; readonly sealedBytes: number },
  plain: Uint8Array,
): void {
  const length = sealedBytes - OBJECT_TAG_BYTES
  if (length < 0 || pieces.reduce((sum, piece) => sum + piece.length, 0) < sealedBytes)
    throw new VaultError('VAULT_CORRUPT', 'a segment of the object is cut off')
  if (plain.length !== length) throw new RangeError(`${plain.length} bytes of room for ${length}`)
  const decipher = createDecipheriv(CIPHER, key, nonceOf(number, isLast), { authTagLength: OBJECT_TAG_BYTES })
  decipher.setAAD(about)
  const row = new Row(pieces)
  for (let at = 0; at < length; ) {
    const run = row.take(Math.min(RUN_BYTES, length - at))
    const opened = decipher.update(run)
    copyBytes(opened, plain, at)
    wipe(opened)
    giveBack(opened)
    at += run.length
  }
  const tag = Buffer.alloc(OBJECT_TAG_BYTES)
  for (let at = 0; at < tag.length; ) {
    const run = row.take(tag.length - at)
    tag.set(run, at)
    at += run.length
  }
  try {
    decipher.setAuthTag(tag).final()
  } catch {
    wipe(plain)
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
