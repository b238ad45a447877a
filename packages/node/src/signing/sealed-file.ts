/**
 * Small files that only this node can read, each under a name that is authenticated with it, so that one sealed file does not pass for
 * another: under the disk's storage key, and where the disk is not sealed under one derived from the node's own private key (HKDF-SHA-256):
 *
 *     file = "RWS1" nonce(12) ciphertext tag(16)              AES-256-GCM
 *
 * What the latter protects against is a copy of the folder without the node's key file, such as a backup; whoever has both reads everything.
 */
import { createCipheriv, createDecipheriv, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  type DiskSeal,
  isSealedFile,
  openSealedBytes,
  StoreError,
  sealBytes,
  sealedFileKey,
  syncDirectory,
  writeFileAtomic,
} from '@ringwall/store'
import { StartError } from '../errors.ts'

const MAGIC = Buffer.from('RWS1')
const NONCE_BYTES = 12
const TAG_BYTES = 16
const CIPHER = 'aes-256-gcm'

export class Seal {
  readonly #key: Buffer
  readonly #context: string
  readonly #disk: DiskSeal | undefined

  /**
   * @param privateKey The node's, Ed25519. @param context What all its files belong to: the ring and the node. @param disk Of the folder
   * that they lie in, where that is sealed.
   */
  constructor(privateKey: KeyObject, context: string, disk?: DiskSeal) {
    const secret = Buffer.from(privateKey.export({ format: 'jwk' }).d as string, 'base64url')
    this.#key = Buffer.from(hkdfSync('sha256', secret, Buffer.from(context), 'RINGWALL_SEALED_FILE_V1', 32))
    this.#context = context
    this.#disk = disk
    secret.fill(0)
  }

  seal(name: string, bytes: Uint8Array): Uint8Array {
    const disk = this.#disk
    if (disk?.current !== undefined) return sealBytes(disk, join(disk.root, name), bytes)
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(`${this.#context}\n${name}`))
    return Buffer.concat([MAGIC, nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
  }

  /** Undefined when it was not sealed by this node under this name, or was changed since. */
  open(name: string, bytes: Uint8Array): Uint8Array | undefined {
    const disk = this.#disk
    if (isSealedFile(bytes)) {
      if (disk === undefined) return undefined
      try {
        return openSealedBytes(disk, join(disk.root, name), bytes)
      } catch (error) {
        if (error instanceof StoreError) return undefined
        throw error
      }
    }
    // Who has the key file alone is not to hand a sealed disk anything.
    if (disk?.current !== undefined && !disk.acceptsPlain) return undefined
    const sealed = Buffer.from(bytes)
    if (sealed.length < MAGIC.length + NONCE_BYTES + TAG_BYTES || !sealed.subarray(0, MAGIC.length).equals(MAGIC))
      return undefined
    const nonce = sealed.subarray(MAGIC.length, MAGIC.length + NONCE_BYTES)
    const decipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(`${this.#context}\n${name}`)).setAuthTag(sealed.subarray(-TAG_BYTES))
    try {
      const ciphertext = sealed.subarray(MAGIC.length + NONCE_BYTES, -TAG_BYTES)
      return new Uint8Array(Buffer.concat([decipher.update(ciphertext), decipher.final()]))
    } catch {
      return undefined
    }
  }

  /** Durable once it resolves; readable by the owner alone. */
  async write(path: string, name: string, bytes: Uint8Array): Promise<void> {
    await writeFileAtomic(path, this.seal(name, bytes))
  }

  /** Undefined when there is no such file. @throws {StartError} `KEY_INVALID` when it does not open. */
  async read(path: string, name: string): Promise<Uint8Array | undefined> {
    const bytes = await this.#bytes(path)
    return bytes === undefined ? undefined : this.#opened(path, name, bytes)
  }

  /** Seals a file anew that is not under the key in force. @throws {StartError} As `read`. */
  async renew(path: string, name: string): Promise<void> {
    const bytes = await this.#bytes(path)
    if (bytes === undefined || sealedFileKey(bytes) === this.#disk?.current?.id.toString('hex')) return
    await this.write(path, name, this.#opened(path, name, bytes))
  }

  async #bytes(path: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(path)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new StartError('KEY_INVALID', `${path}: cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause })
    }
  }

  #opened(path: string, name: string, bytes: Uint8Array): Uint8Array {
    const opened = this.open(name, bytes)
    if (opened !== undefined) return opened
    throw new StartError(
      'KEY_INVALID',
      `${path}: was not sealed by this node’s key, or was changed; restore it, or move it away: the node gets a new share with the next key refresh`,
    )
  }
}

/** Gone for good once it resolves. What the disk keeps of a deleted file is out of reach. */
export async function eraseFile(path: string): Promise<void> {
  await rm(path, { force: true })
  await syncDirectory(dirname(path))
}
