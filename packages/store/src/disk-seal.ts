/**
 * The keys that a directory's files are sealed under. One seals what is written from now on; earlier ones open what was written
 * before, until that has been written anew.
 *
 * A storage key never encrypts anything itself: each file has a key of its own (HKDF-SHA-256, RFC 5869) from a random salt and the
 * file's name below the directory, so that no file passes for another and no nonce of one is a nonce of another.
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject, timingSafeEqual } from 'node:crypto'
import { relative, sep } from 'node:path'
import { StoreError } from './errors.ts'

export const STORAGE_KEY_BYTES = 32
export const KEY_ID_BYTES = 8
export const SALT_BYTES = 32
export const CHECK_BYTES = 16

/** One storage key, and what it is called in files. */
export class StorageKey {
  readonly #secret: KeyObject
  readonly #checks: Buffer
  /** Says which key, and nothing about it. */
  readonly id: Buffer

  constructor(secret: Uint8Array) {
    if (secret.length !== STORAGE_KEY_BYTES) throw new RangeError(`a storage key has ${STORAGE_KEY_BYTES} bytes`)
    this.#secret = createSecretKey(secret)
    this.id = Buffer.from(hkdfSync('sha256', secret, '', 'RINGWALL_STORE_KEY_ID_V1', KEY_ID_BYTES))
    this.#checks = Buffer.from(hkdfSync('sha256', secret, '', 'RINGWALL_STORE_CHECK_V1', STORAGE_KEY_BYTES))
  }

  /** 32 bytes for one purpose. */
  derive(salt: Uint8Array, info: Uint8Array): KeyObject {
    return createSecretKey(Buffer.from(hkdfSync('sha256', this.#secret, salt, info, STORAGE_KEY_BYTES)))
  }

  /** Of the head of a file: tells a head that was changed from one of this key. */
  check(name: string, head: Uint8Array): Buffer {
    return createHmac('sha256', this.#checks).update(head).update(name).digest().subarray(0, CHECK_BYTES)
  }

  checks(name: string, head: Uint8Array, check: Uint8Array): boolean {
    return check.length === CHECK_BYTES && timingSafeEqual(this.check(name, head), check)
  }
}

export interface DiskSealOptions {
  /** Files are named by where they lie below it. */
  readonly root: string
  /** Seals what is written; undefined: it is written in the clear. */
  readonly current: Uint8Array | undefined
  /** These open what is there. */
  readonly earlier?: readonly Uint8Array[]
  /**
   * Is there anything to be expected that is not sealed? Else a file in the clear is refused: whoever can write to the disk could put it
   * in the place of a sealed one.
   */
  readonly acceptsPlain: boolean
}

export class DiskSeal {
  readonly root: string
  readonly acceptsPlain: boolean
  #current: StorageKey | undefined
  readonly #keys = new Map<string, StorageKey>()

  constructor({ root, current, earlier = [], acceptsPlain }: DiskSealOptions) {
    this.root = root
    this.acceptsPlain = acceptsPlain
    for (const secret of earlier) this.#learn(secret)
    this.#current = current === undefined ? undefined : this.#learn(current)
  }

  #learn(secret: Uint8Array): StorageKey {
    const key = new StorageKey(secret)
    this.#keys.set(key.id.toString('hex'), key)
    return key
  }

  /** What new files are sealed under. */
  get current(): StorageKey | undefined {
    return this.#current
  }

  /** From now on this one seals; those of before still open. */
  use(secret: Uint8Array): void {
    this.#current = this.#learn(secret)
  }

  /** What a file is called in its seal, wherever the directory is moved to. @throws {RangeError} Outside of it. */
  nameOf(path: string): string {
    const name = relative(this.root, path).split(sep).join('/')
    if (name === '' || name === '..' || name.startsWith('../')) throw new RangeError(`${path} is not in ${this.root}`)
    return name
  }

  /** @throws {StoreError} `STORE_SEALED` when none of the keys has this id. */
  key(id: Uint8Array, path: string): StorageKey {
    const key = this.#keys.get(Buffer.from(id).toString('hex'))
    if (key !== undefined) return key
    throw new StoreError(
      'STORE_SEALED',
      path,
      `${path} is sealed under another key than this disk's: it is of another node, or of a time before that is not to come back`,
    )
  }

  /** @throws {StoreError} `STORE_UNSEALED` when files in the clear are not to be expected. */
  admitPlain(path: string): void {
    if (this.#current === undefined || this.acceptsPlain) return
    throw new StoreError(
      'STORE_UNSEALED',
      path,
      `${path} is not sealed, and this disk is: it was put there by somebody else. Move it away; what it held is fetched from peers`,
    )
  }
}

/** @throws {StoreError} `STORE_SEALED`. */
export function needSeal(seal: DiskSeal | undefined, path: string): DiskSeal {
  if (seal !== undefined) return seal
  throw new StoreError('STORE_SEALED', path, `${path} is sealed: it takes the disk's key to read it`)
}
