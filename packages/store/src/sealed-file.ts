/**
 * Whole files, sealed: AES-256-GCM in segments, so that a part of a large file can be read by itself and none need be in memory at once.
 *
 *     file    = header segment+
 *     header  = "ringwall-seal 01\n" key id(8) salt(32) check(16)                 73 bytes
 *     segment = ciphertext(at most 65,536) tag(16)
 *     key     = HKDF-SHA-256(storage key, salt, "RINGWALL_STORE_FILE_V1\n" name)
 *     nonce   = index(11) last(1)
 *
 * The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance",
 * 2015): segments cannot be left out, moved or taken from another file, and the end cannot be cut off. Every writing draws a salt and so has a
 * key of its own. What remains to whoever writes to the disk is to put back an older file of the same name.
 */
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { CHECK_BYTES, type DiskSeal, KEY_ID_BYTES, needSeal, SALT_BYTES } from './disk-seal.ts'
import { StoreError } from './errors.ts'
import { FILE_MODE, replaceFile } from './files.ts'

const MAGIC = Buffer.from('ringwall-seal 01\n')
const HEADER_BYTES = MAGIC.length + KEY_ID_BYTES + SALT_BYTES + CHECK_BYTES
const SEGMENT_BYTES = 65_536
const TAG_BYTES = 16
const SEALED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES
const CIPHER = 'aes-256-gcm'

type Parts = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

function corrupt(path: string, what: string): StoreError {
  return new StoreError('STORE_CORRUPT', path, `${path} is corrupt: ${what}`)
}

function nonceOf(index: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(index, 5, 6)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

/** Does it begin as a sealed file? */
export function isSealedFile(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, MAGIC.length))
}

/** The id of the storage key that it is sealed under, hex; undefined when it is none. */
export function sealedFileKey(bytes: Uint8Array): string | undefined {
  if (!isSealedFile(bytes) || bytes.length < HEADER_BYTES) return undefined
  return Buffer.from(bytes.subarray(MAGIC.length, MAGIC.length + KEY_ID_BYTES)).toString('hex')
}

function beginFile(seal: DiskSeal, path: string): { readonly header: Buffer; readonly key: KeyObject } | undefined {
  const { current } = seal
  if (current === undefined) return undefined
  const name = seal.nameOf(path)
  const salt = randomBytes(SALT_BYTES)
  const head = Buffer.concat([MAGIC, current.id, salt])
  return { header: Buffer.concat([head, current.check(name, head)]), key: current.derive(salt, infoOf(name)) }
}

const infoOf = (name: string): Uint8Array => Buffer.from(`RINGWALL_STORE_FILE_V1\n${name}`)

/** @throws {StoreError} `STORE_SEALED`; `STORE_CORRUPT`. */
function resumeFile(seal: DiskSeal, path: string, header: Uint8Array): KeyObject {
  if (header.length < HEADER_BYTES) throw corrupt(path, 'it ends in its header')
  const key = seal.key(header.subarray(MAGIC.length, MAGIC.length + KEY_ID_BYTES), path)
  const name = seal.nameOf(path)
  const head = header.subarray(0, HEADER_BYTES - CHECK_BYTES)
  if (!key.checks(name, head, header.subarray(head.length, HEADER_BYTES)))
    throw corrupt(path, 'its header was changed, or is of another file')
  return key.derive(head.subarray(MAGIC.length + KEY_ID_BYTES), infoOf(name))
}

function sealSegment(key: KeyObject, index: number, isLast: boolean, plain: Uint8Array): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonceOf(index, isLast))
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** @throws {StoreError} `STORE_CORRUPT`. */
function openSegment(key: KeyObject, path: string, index: number, isLast: boolean, sealed: Buffer): Buffer {
  if (sealed.length < TAG_BYTES) throw corrupt(path, 'it was cut off')
  const decipher = createDecipheriv(CIPHER, key, nonceOf(index, isLast), { authTagLength: TAG_BYTES })
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()])
  } catch {
    throw corrupt(path, `segment ${index} was changed, moved or cut off`)
  }
}

/** What the file at `path` is to hold, as it is to lie on disk: as it is, where nothing is sealed. */
export async function* sealParts(seal: DiskSeal | undefined, path: string, parts: Parts): AsyncGenerator<Uint8Array> {
  const begun = seal === undefined ? undefined : beginFile(seal, path)
  if (begun === undefined) {
    yield* parts
    return
  }
  yield begun.header
  let waiting = Buffer.alloc(0)
  let index = 0
  for await (const part of parts) {
    waiting = Buffer.concat([waiting, part])
    let at = 0
    // The last segment is only known at the end.
    for (; waiting.length - at > SEGMENT_BYTES; at += SEGMENT_BYTES) {
      yield sealSegment(begun.key, index, false, waiting.subarray(at, at + SEGMENT_BYTES))
      index += 1
    }
    waiting = waiting.subarray(at)
  }
  yield sealSegment(begun.key, index, true, waiting)
}

/** As `sealParts`, of what is in memory. */
export function sealBytes(seal: DiskSeal | undefined, path: string, bytes: Uint8Array): Uint8Array {
  const begun = seal === undefined ? undefined : beginFile(seal, path)
  if (begun === undefined) return bytes
  const parts: Uint8Array[] = [begun.header]
  const count = Math.max(1, Math.ceil(bytes.length / SEGMENT_BYTES))
  for (let index = 0; index < count; index += 1)
    parts.push(
      sealSegment(begun.key, index, index === count - 1, bytes.subarray(index * SEGMENT_BYTES, (index + 1) * SEGMENT_BYTES)),
    )
  return Buffer.concat(parts)
}

/**
 * What the file at `path` holds, from its bytes.
 *
 * @throws {StoreError} `STORE_SEALED` without the key that it takes, `STORE_UNSEALED` when it is in the clear and ought not to be, `STORE_CORRUPT`.
 */
export function openSealedBytes(seal: DiskSeal | undefined, path: string, bytes: Uint8Array): Uint8Array {
  if (!isSealedFile(bytes)) {
    seal?.admitPlain(path)
    return bytes
  }
  const key = resumeFile(needSeal(seal, path), path, bytes)
  const body = Buffer.from(bytes.buffer, bytes.byteOffset + HEADER_BYTES, bytes.length - HEADER_BYTES)
  const count = Math.max(1, Math.ceil(body.length / SEALED_SEGMENT_BYTES))
  return Buffer.concat(
    Array.from({ length: count }, (_, index) => {
      const segment = body.subarray(index * SEALED_SEGMENT_BYTES, (index + 1) * SEALED_SEGMENT_BYTES)
      return openSegment(key, path, index, index === count - 1, segment)
    }),
  )
}

/** Replaces `path` as a whole, durably, sealed where the seal says so. */
export async function writeFileSealed(path: string, data: Uint8Array | string, seal: DiskSeal | undefined): Promise<void> {
  await replaceFile(path, FILE_MODE, sealParts(seal, path, [typeof data === 'string' ? Buffer.from(data) : data]))
}

/** Undefined when there is no such file. @throws {StoreError} As `openSealedBytes`, and `STORE_TOO_LARGE`. */
export async function readFileSealed(
  path: string,
  seal: DiskSeal | undefined,
  bytesMax: number = Number.POSITIVE_INFINITY,
): Promise<Uint8Array | undefined> {
  let handle: FileHandle
  try {
    handle = await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const { size } = await handle.stat()
    const most = bytesMax + HEADER_BYTES + Math.ceil(size / SEALED_SEGMENT_BYTES) * TAG_BYTES
    const bytes = size > most ? undefined : openSealedBytes(seal, path, await handle.readFile())
    if (bytes !== undefined && bytes.length <= bytesMax) return bytes
    throw new StoreError('STORE_TOO_LARGE', path, `${path} has ${size} bytes, more than the ${bytesMax} allowed`)
  } finally {
    await handle.close()
  }
}

/**
 * `length` bytes of what the file at `path` holds, from `offset` on; fewer where it ends.
 *
 * @throws {StoreError} As `openSealedBytes`.
 */
export async function readPieceSealed(
  path: string,
  seal: DiskSeal | undefined,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const handle = await open(path, 'r')
  try {
    const read = async (at: number, count: number): Promise<Buffer> => {
      const buffer = Buffer.alloc(Math.max(0, count))
      let done = 0
      while (done < buffer.length) {
        const { bytesRead } = await handle.read(buffer, done, buffer.length - done, at + done)
        if (bytesRead === 0) break
        done += bytesRead
      }
      return buffer.subarray(0, done)
    }
    const header = await read(0, HEADER_BYTES)
    if (!isSealedFile(header)) {
      seal?.admitPlain(path)
      return await read(offset, length)
    }
    const key = resumeFile(needSeal(seal, path), path, header)
    const body = (await handle.stat()).size - HEADER_BYTES
    const count = Math.ceil(body / SEALED_SEGMENT_BYTES)
    const first = Math.floor(offset / SEGMENT_BYTES)
    const until = Math.min(count, Math.ceil((offset + length) / SEGMENT_BYTES))
    if (first >= until) return new Uint8Array(0)
    const begin = first * SEALED_SEGMENT_BYTES
    const sealed = await read(HEADER_BYTES + begin, Math.min(body, until * SEALED_SEGMENT_BYTES) - begin)
    const plain = Buffer.concat(
      Array.from({ length: until - first }, (_, i) => {
        const segment = sealed.subarray(i * SEALED_SEGMENT_BYTES, (i + 1) * SEALED_SEGMENT_BYTES)
        return openSegment(key, path, first + i, first + i === count - 1, segment)
      }),
    )
    const from = offset - first * SEGMENT_BYTES
    return plain.subarray(from, from + length)
  } finally {
    await handle.close()
  }
}
