/**
 * The shards that this node holds, as files. What is acknowledged is on disk under its name; what is not lies in `incoming` and is gone at the
 * next start, but for repairs, which go on where they were.
 *
 *     DATA/objects/versions/vv/VERSION/manifest            sealed as the disk is
 *     DATA/objects/versions/vv/VERSION/BLOB.INDEX          ciphertext as it is
 *     DATA/objects/incoming/NAME
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type DiskSeal, readFileSealed, syncDirectory, writeFileSealed } from '@ringwall/store'
import { MANIFEST_BYTES_MAX } from '@ringwall/vault'
import { DirectFile, DirectRuns } from './direct-file.ts'
import {
  FolderFull,
  type HeldShard,
  type OpenShard,
  type RepairWriter,
  type ShardStore,
  type ShardWriter,
} from './shard-store.ts'
import type { Slab } from './slabs.ts'

/** What is written goes on to the disk after so much, while more comes: the end has little left to wait for. */
const SYNC_BYTES = 8_388_608
/** Shards of so much go past the system's cache; what is smaller is soon read, or costs little. */
const DIRECT_BYTES_MIN = 2_097_152
/** Left free on the disk, of all its bytes: ledger and traces need some. */
const FREE_SHARE = 0.05
const VERSION = /^[0-9a-f]{32}$/
const SHARD = /^([0-9a-f]{16})\.([0-7])$/

const missing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT'

export class ShardFolder implements ShardStore {
  readonly where = 'folder'
  readonly away = undefined
  readonly #root: string
  readonly #seal: DiskSeal | undefined
  readonly #bytesMax: number
  /** Folders of versions that are being made. */
  readonly #homes = new Map<string, Promise<void>>()
  readonly #runs = new DirectRuns()
  #bytes = 0
  #coming = 0
  #freeAtMs = Number.NEGATIVE_INFINITY
  #isFree = true

  private constructor(root: string, seal: DiskSeal | undefined, bytesMax: number) {
    this.#root = root
    this.#seal = seal
    this.#bytesMax = bytesMax
  }

  /** @param bytesMax Of shards, all together. */
  static async open(root: string, seal: DiskSeal | undefined, bytesMax: number): Promise<ShardFolder> {
    const folder = new ShardFolder(root, seal, bytesMax)
    for (const name of ['versions', 'incoming']) await mkdir(join(root, name), { recursive: true, mode: 0o700 })
    for (const name of await readdir(join(root, 'incoming')))
      if (!name.startsWith('repair-')) await rm(join(root, 'incoming', name), { force: true })
    for await (const version of folder.versions()) for (const { bytes } of await folder.held(version)) folder.#bytes += bytes
    return folder
  }

  /** Of shards on disk. */
  get bytes(): number {
    return this.#bytes
  }

  #home(version: string): string {
    if (!VERSION.test(version)) throw new RangeError('no id of a version')
    return join(this.#root, 'versions', version.slice(0, 2), version)
  }

  #shard(version: string, blob: string, index: number): string {
    const name = `${blob}.${index}`
    if (!SHARD.test(name)) throw new RangeError('no name of a shard')
    return join(this.#home(version), name)
  }

  async *versions(): AsyncGenerator<string> {
    for (const part of await readdir(join(this.#root, 'versions')))
      for (const version of await readdir(join(this.#root, 'versions', part)).catch(() => []))
        if (VERSION.test(version)) yield version
  }

  /** When the newest of its files was written, Unix milliseconds; undefined: there is nothing of it. */
  async touchedAtMs(version: string): Promise<number | undefined> {
    try {
      return (await stat(this.#home(version))).mtimeMs
    } catch (error) {
      if (missing(error)) return undefined
      throw error
    }
  }

  async held(version: string): Promise<readonly HeldShard[]> {
    const home = this.#home(version)
    const shards: HeldShard[] = []
    for (const name of await readdir(home).catch(() => [])) {
      const found = SHARD.exec(name)
      if (found === null) continue
      const { size } = await stat(join(home, name)).catch(() => ({ size: -1 }))
      if (size >= 0) shards.push({ blob: found[1] as string, index: Number(found[2]), bytes: size })
    }
    return shards
  }

  /** Undefined when it is not there, or cannot be read. */
  async manifest(version: string): Promise<Uint8Array | undefined> {
    try {
      return await readFileSealed(join(this.#home(version), 'manifest'), this.#seal, MANIFEST_BYTES_MAX)
    } catch {
      return undefined
    }
  }

  async putManifest(version: string, bytes: Uint8Array): Promise<void> {
    await this.#makeHome(version)
    await writeFileSealed(join(this.#home(version), 'manifest'), bytes, this.#seal)
  }

  /** Whoever needs it while it is made waits for the same. */
  #makeHome(version: string): Promise<void> {
    const under = this.#homes.get(version)
    if (under !== undefined) return under
    const making = this.#makeDirectory(version).finally(() => this.#homes.delete(version))
    this.#homes.set(version, making)
    return making
  }

  async #makeDirectory(version: string): Promise<void> {
    const home = this.#home(version)
    const made = await mkdir(home, { recursive: true, mode: 0o700 })
    if (made === undefined) return
    await syncDirectory(join(home, '..'))
    await syncDirectory(join(this.#root, 'versions'))
  }

  /** @throws {FolderFull} */
  async #needRoom(bytes: number): Promise<void> {
    if (this.#bytes + this.#coming + bytes > this.#bytesMax)
      throw new FolderFull(`the objects of this node have ${this.#bytesMax} bytes, and no more are allowed (objects.bytesMax)`)
    const nowMs = performance.now()
    if (nowMs - this.#freeAtMs > 1_000) {
      this.#freeAtMs = nowMs
      const { bavail, blocks } = await statfs(this.#root)
      this.#isFree = bavail > blocks * FREE_SHARE
    }
    if (!this.#isFree) throw new FolderFull('the disk of this node is full')
  }

  async isThere(): Promise<boolean> {
    return true
  }

  async tend(): Promise<void> {}

  stop(): void {
    this.#runs.clear()
  }

  receive(version: string, blob: string, index: number, bytes = 0): Promise<ShardWriter> {
    return this.#receive(version, blob, index, { resumed: false, direct: bytes >= DIRECT_BYTES_MIN })
  }

  repair(version: string, blob: string, index: number): Promise<RepairWriter> {
    return this.#receive(version, blob, index, { resumed: true, direct: false })
  }

  async #receive(
    version: string,
    blob: string,
    index: number,
    { resumed, direct }: { readonly resumed: boolean; readonly direct: boolean },
  ): Promise<FileWriter> {
    const path = this.#shard(version, blob, index)
    const name = resumed ? `repair-${version}-${blob}-${index}` : randomBytes(12).toString('hex')
    const temporary = join(this.#root, 'incoming', name)
    const handle = await open(temporary, resumed ? 'a+' : 'wx+', 0o600)
    const { size } = await handle.stat()
    this.#coming += size
    const past = direct ? await DirectFile.open(temporary, handle, this.#runs) : undefined
    return new FileWriter(handle, size, past, {
      run: () => (past === undefined ? undefined : this.#runs.take()),
      need: async (bytes) => {
        await this.#needRoom(bytes)
        this.#coming += bytes
      },
      cut: (bytes) => {
        this.#coming -= bytes
      },
      prepare: () => this.#makeHome(version),
      end: async (bytes, isKept) => {
        this.#coming -= bytes
        if (!isKept) {
          await unlink(temporary).catch(() => {})
          return
        }
        const before = await stat(path).catch(() => undefined)
        await rename(temporary, path)
        await syncDirectory(this.#home(version))
        this.#bytes += bytes - (before?.size ?? 0)
      },
    })
  }

  async openShard(version: string, blob: string, index: number): Promise<OpenShard | undefined> {
    try {
      const handle = await open(this.#shard(version, blob, index), 'r')
      return { readInto: (start, room) => readInto(handle, start, room), close: () => handle.close() }
    } catch (error) {
      if (missing(error)) return undefined
      throw error
    }
  }

  async removeShard(version: string, blob: string, index: number): Promise<void> {
    const path = this.#shard(version, blob, index)
    const { size } = await stat(path).catch(() => ({ size: 0 }))
    await unlink(path).catch((error: unknown) => {
      if (!missing(error)) throw error
    })
    this.#bytes -= size
  }

  /** All of a version. Its manifest, with the capsule, is overwritten first. */
  async erase(version: string): Promise<void> {
    const home = this.#home(version)
    await overwrite(join(home, 'manifest'))
    for (const { bytes } of await this.held(version)) this.#bytes -= bytes
    await rm(home, { recursive: true, force: true })
    await rmdir(join(home, '..')).catch(() => {})
    for (const name of await readdir(join(this.#root, 'incoming')))
      if (name.startsWith(`repair-${version}-`)) await unlink(join(this.#root, 'incoming', name)).catch(() => {})
  }
}

/** As far as the file system lets one: what is not written in place stays until it is used again. */
async function overwrite(path: string): Promise<void> {
  let handle: FileHandle
  try {
    handle = await open(path, 'r+')
  } catch (error) {
    if (missing(error)) return
    throw error
  }
  try {
    const { size } = await handle.stat()
    await handle.write(randomBytes(Math.min(size, 16_777_216)), 0, undefined, 0)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Undefined when there is less. */
async function readWhole(handle: FileHandle, start: number, length: number): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafeSlow(length)
  return (await readInto(handle, start, bytes)) ? bytes : undefined
}

/** Fills the room from there on; false when there is less. */
async function readInto(handle: FileHandle, start: number, room: Uint8Array): Promise<boolean> {
  for (let done = 0; done < room.length; ) {
    const { bytesRead } = await handle.read(room, done, room.length - done, start + done)
    if (bytesRead === 0) return false
    done += bytesRead
  }
  return true
}

interface WriterEnds {
  run(): Slab | undefined
  need(bytes: number): Promise<void>
  cut(bytes: number): void
  /** While its last bytes go to the disk. */
  prepare(): Promise<void>
  end(bytes: number, isKept: boolean): Promise<void>
}

class FileWriter implements RepairWriter {
  readonly #handle: FileHandle
  readonly #ends: WriterEnds
  /** Where it goes past the cache: what is there is on the disk, but for what the disk itself keeps back. */
  readonly #direct: DirectFile | undefined
  #bytes: number
  #unsynced = 0
  /** Of `#direct`, of which is known already. */
  #cachedBytes = 0
  #syncing: Promise<void> | undefined
  #isOver = false

  constructor(handle: FileHandle, bytes: number, direct: DirectFile | undefined, ends: WriterEnds) {
    this.#handle = handle
    this.#bytes = bytes
    this.#direct = direct
    this.#ends = ends
  }

  get bytes(): number {
    return this.#bytes
  }

  run(): Slab | undefined {
    return this.#ends.run()
  }

  /** @throws {FolderFull} */
  async write(piece: Uint8Array): Promise<void> {
    await this.#ends.need(piece.length)
    this.#bytes += piece.length
    await this.#put(piece)
    if (this.#unsynced >= SYNC_BYTES) await this.#syncOn()
  }

  async #put(piece: Uint8Array): Promise<void> {
    if (this.#direct !== undefined) {
      await this.#direct.write(piece)
      this.#unsynced += this.#direct.cachedBytes - this.#cachedBytes
      this.#cachedBytes = this.#direct.cachedBytes
      return
    }
    this.#unsynced += piece.length
    for (let done = 0; done < piece.length; ) done += (await this.#handle.write(piece, done, piece.length - done)).bytesWritten
  }

  /** All of it. The system says once that bytes did not reach the disk: what failed before has failed. */
  async #sync(): Promise<void> {
    await this.#syncing
    await this.#direct?.end()
    await this.#handle.datasync()
  }

  async #close(): Promise<void> {
    await this.#direct?.close()
    await this.#handle.close()
  }

  /** At most one at a time: a disk that is slower than what comes holds it up. */
  async #syncOn(): Promise<void> {
    await this.#syncing
    this.#unsynced = 0
    this.#syncing = this.#handle.datasync()
    this.#syncing.catch(() => {})
  }

  read(start: number, length: number): Promise<Buffer | undefined> {
    return readWhole(this.#handle, start, length)
  }

  async cut(bytes: number): Promise<void> {
    await this.#handle.truncate(bytes)
    this.#ends.cut(this.#bytes - bytes)
    this.#bytes = bytes
  }

  async commit(): Promise<void> {
    if (this.#isOver) throw new Error('bug: the shard is over')
    await Promise.all([this.#ends.prepare(), this.#sync()])
    if (this.#isOver) throw new Error('the shard was given up')
    this.#isOver = true
    await this.#close()
    await this.#ends.end(this.#bytes, true)
  }

  async abort(): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    await this.#close().catch(() => {})
    await this.#ends.end(this.#bytes, false)
  }

  async rest(): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    await this.#handle.datasync().catch(() => {})
    await this.#handle.close().catch(() => {})
    this.#ends.cut(this.#bytes)
  }
}
