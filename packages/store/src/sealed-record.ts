/**
 * How a sealed log looks on disk: AES-256-GCM (NIST SP 800-38D), a record at a time.
 *
 *     file    = header record*
 *     header  = "ringwall-log 02\n" key id(8) salt(32) check(16)                  72 bytes
 *     record  = length(4) check(4) session(16) counter(8) ciphertext tag(16)      48 bytes beside the payload
 *     check   = CRC-32 of index (8 bytes) and length
 *     key     = HKDF-SHA-256(storage key, salt, "RINGWALL_STORE_LOG_V1\n" name "\n" session)
 *     nonce   = 0(4) counter(8)
 *     aad     = index(8) length(4) and the 16 bytes before the record
 *
 * No nonce is used twice under one key: a session is a random number that each opening of the file draws, and its counter lives in memory
 * alone and only rises. So a tail that is cut and written anew, after a crash or in an old copy that was put back, is sealed under
 * another key, or under a later counter.
 *
 * A record is bound to its file, its place, and the tag of the record before it (the first one to the header's check): none can be moved,
 * taken from another file, or taken from an older copy of the same one. What remains to whoever writes to the disk is to cut the end off, or to
 * put back the whole of an older copy.
 *
 * The CRC tells the torn tail of a crash from a length that rotted. It is no protection against somebody: who changes a length can have
 * the rest of the file pass for a torn tail, which is to cut it off.
 */
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { CHECK_BYTES, type DiskSeal, KEY_ID_BYTES, SALT_BYTES, type StorageKey } from './disk-seal.ts'
import { LINK_BYTES, type RecordFormat } from './record-format.ts'

export const SEALED_MAGIC: Uint8Array = new TextEncoder().encode('ringwall-log 02\n')
export const SEALED_HEADER_BYTES: number = SEALED_MAGIC.length + KEY_ID_BYTES + SALT_BYTES + CHECK_BYTES
const SESSION_BYTES = 16
const COUNTER_BYTES = 8
const TAG_BYTES = 16
const HEAD_BYTES = 8
const FRAME_BYTES = HEAD_BYTES + SESSION_BYTES + COUNTER_BYTES
const CIPHER = 'aes-256-gcm'
/** Keys of sessions that are kept: records of one stand together. */
const SESSIONS_MAX = 32

export class SealedRecords implements RecordFormat {
  readonly header: Uint8Array
  readonly keyId: string
  readonly headBytes = HEAD_BYTES
  readonly overheadBytes: number = FRAME_BYTES + TAG_BYTES
  readonly #key: StorageKey
  readonly #name: string
  readonly #salt: Uint8Array
  readonly #session: Buffer = randomBytes(SESSION_BYTES)
  readonly #sessionKey: KeyObject
  readonly #sessions = new Map<string, KeyObject>()
  #counter = 0n

  private constructor(key: StorageKey, name: string, header: Uint8Array) {
    this.header = header
    this.keyId = key.id.toString('hex')
    this.#key = key
    this.#name = name
    this.#salt = header.subarray(SEALED_MAGIC.length + KEY_ID_BYTES, SEALED_HEADER_BYTES - CHECK_BYTES)
    this.#sessionKey = this.#derive(this.#session)
  }

  /** For a new file. */
  static begin(key: StorageKey, name: string): SealedRecords {
    const head = Buffer.concat([SEALED_MAGIC, key.id, randomBytes(SALT_BYTES)])
    return new SealedRecords(key, name, Buffer.concat([head, key.check(name, head)]))
  }

  /**
   * For a file that begins with `header`. Undefined when that was changed, or is of another file.
   *
   * @throws {StoreError} `STORE_SEALED` when the seal has not its key.
   */
  static resume(seal: DiskSeal, path: string, header: Uint8Array): SealedRecords | undefined {
    if (header.length < SEALED_HEADER_BYTES) return undefined
    const key = seal.key(header.subarray(SEALED_MAGIC.length, SEALED_MAGIC.length + KEY_ID_BYTES), path)
    const name = seal.nameOf(path)
    const head = header.subarray(0, SEALED_HEADER_BYTES - CHECK_BYTES)
    if (!key.checks(name, head, header.subarray(head.length, SEALED_HEADER_BYTES))) return undefined
    return new SealedRecords(key, name, Uint8Array.from(header.subarray(0, SEALED_HEADER_BYTES)))
  }

  #derive(session: Uint8Array): KeyObject {
    return this.#key.derive(this.#salt, Buffer.concat([Buffer.from(`RINGWALL_STORE_LOG_V1\n${this.#name}\n`), session]))
  }

  #keyOf(session: Buffer): KeyObject {
    const id = session.toString('latin1')
    let key = this.#sessions.get(id)
    if (key === undefined) {
      key = this.#derive(session)
      if (this.#sessions.size >= SESSIONS_MAX) this.#sessions.delete(this.#sessions.keys().next().value as string)
      this.#sessions.set(id, key)
    }
    return key
  }

  encode(index: number, payload: Uint8Array, link: Uint8Array): readonly Uint8Array[] {
    const frame = Buffer.allocUnsafe(FRAME_BYTES)
    const about = aadOf(index, payload.length, link)
    frame.writeUInt32BE(payload.length, 0)
    frame.writeUInt32BE(crc32(about.subarray(0, 12)), 4)
    this.#session.copy(frame, HEAD_BYTES)
    frame.writeBigUInt64BE(this.#counter, HEAD_BYTES + SESSION_BYTES)
    this.#counter += 1n
    const cipher = createCipheriv(CIPHER, this.#sessionKey, nonceOf(frame.subarray(HEAD_BYTES + SESSION_BYTES)))
    const ciphertext = cipher.setAAD(about).update(payload)
    cipher.final()
    return [frame, ciphertext, cipher.getAuthTag()]
  }

  lengthIn(head: Uint8Array, index: number): number | undefined {
    const view = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
    const length = view.readUInt32BE(0)
    return view.readUInt32BE(4) === crc32(aadOf(index, length, NO_LINK).subarray(0, 12)) ? length : undefined
  }

  payloadIn(record: Buffer, index: number, link: Uint8Array): Uint8Array | undefined {
    const length = record.length - this.overheadBytes
    if (length < 0 || this.lengthIn(record, index) !== length) return undefined
    const session = record.subarray(HEAD_BYTES, HEAD_BYTES + SESSION_BYTES)
    const nonce = nonceOf(record.subarray(HEAD_BYTES + SESSION_BYTES, FRAME_BYTES))
    const decipher = createDecipheriv(CIPHER, this.#keyOf(session), nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(aadOf(index, length, link)).setAuthTag(record.subarray(-TAG_BYTES))
    try {
      const payload = decipher.update(record.subarray(FRAME_BYTES, FRAME_BYTES + length))
      decipher.final()
      return payload
    } catch {
      return undefined
    }
  }
}

const NO_LINK = new Uint8Array(LINK_BYTES)

function aadOf(index: number, length: number, link: Uint8Array): Buffer {
  const about = Buffer.allocUnsafe(12 + LINK_BYTES)
  about.writeBigUInt64BE(BigInt(index), 0)
  about.writeUInt32BE(length, 8)
  about.set(link, 12)
  return about
}

function nonceOf(counter: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.set(counter, 4)
  return nonce
}
