/**
 * Files that are written past the system's cache (`O_DIRECT`, open(2)). A shard that is written once, and read later or never, has nothing to do there:
 * pages that are made and filled for it cost more than all encryption, and take the place of those that somebody reads.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { copyBytes } from '@ringwall/vault'
import type { Slab } from './slabs.ts'

/** What goes to a disk at a time. */
export const RUN_BYTES = 1_048_576
/** Place, length and memory of what goes past the cache are whole blocks: 512 bytes on most disks, 4,096 on others. */
const BLOCK_BYTES = 4_096
/** Where there are no more, the cache is used. */
const RUNS_MAX = 64
/** What nobody wanted for so long goes back to the system. */
const KEPT_MS = 10_000
const WASM_PAGE_BYTES = 65_536
const RUN_PAGES = RUN_BYTES / WASM_PAGE_BYTES

interface SharedMemory {
  readonly buffer: SharedArrayBuffer
  grow(pages: number): number
}

/** Of the platform: the only memory of which it says that it begins at a page. Its own types come with those of browsers. */
declare const WebAssembly: {
  readonly Memory: new (limits: { readonly initial: number; readonly maximum: number; readonly shared: true }) => SharedMemory
}

/** Memory that a disk can take from where it lies, in runs that are used again. */
export class DirectRuns {
  #memory: SharedMemory | undefined
  #made = 0
  #out = 0
  #free: Uint8Array[] = []
  /** A memory that grows has another object for each of its sizes. */
  readonly #buffers = new WeakSet<object>()
  #timer: NodeJS.Timeout | undefined

  /** `RUN_BYTES` of it; undefined when there are too many already, or the system has no more. */
  take(): Slab | undefined {
    const bytes = this.#free.pop() ?? this.#make()
    if (bytes === undefined) return undefined
    this.#out += 1
    let isReleased = false
    return {
      bytes,
      release: () => {
        if (isReleased) return
        isReleased = true
        this.#out -= 1
        this.#free.push(bytes)
        if (this.#timer === undefined) this.#timer = setTimeout(() => this.clear(), KEPT_MS).unref()
        else this.#timer.refresh()
      },
    }
  }

  #make(): Uint8Array | undefined {
    if (this.#made >= RUNS_MAX) return undefined
    try {
      this.#memory ??= new WebAssembly.Memory({ initial: 0, maximum: RUNS_MAX * RUN_PAGES, shared: true })
      const at = this.#memory.grow(RUN_PAGES) * WASM_PAGE_BYTES
      this.#made += 1
      this.#buffers.add(this.#memory.buffer)
      return new Uint8Array(this.#memory.buffer, at, RUN_BYTES)
    } catch {
      return undefined
    }
  }

  /** Gives back what there is, unless somebody has some of it. */
  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#out > 0) return
    this.#memory = undefined
    this.#made = 0
    this.#free = []
  }

  /** Is it whole blocks of such memory? */
  isAligned({ buffer, byteOffset, length }: Uint8Array): boolean {
    return this.#buffers.has(buffer) && byteOffset % BLOCK_BYTES === 0 && length % BLOCK_BYTES === 0
  }
}

/** One file, from its beginning to its end. What cannot go past the cache, its last bytes above all, goes through it. */
export class DirectFile {
  readonly #plain: FileHandle
  readonly #runs: DirectRuns
  #direct: FileHandle | undefined
  /** What waits until a run of it is there. */
  #run: Slab | undefined
  #waiting = 0
  #at = 0
  #cachedBytes = 0
  #writing: Promise<void> | undefined

  /** @param plain Of the same file, empty, for writing at any place; stays with the caller. Undefined where that cannot be. */
  static async open(path: string, plain: FileHandle, runs: DirectRuns): Promise<DirectFile | undefined> {
    const flag = constants.O_DIRECT as number | undefined
    if (flag === undefined) return undefined
    try {
      return new DirectFile(await open(path, constants.O_WRONLY | flag), plain, runs)
    } catch {
      return undefined
    }
  }

  private constructor(direct: FileHandle, plain: FileHandle, runs: DirectRuns) {
    this.#direct = direct
    this.#plain = plain
    this.#runs = runs
  }

  /** What went through the cache so far: nobody brings it to the disk but who syncs. */
  get cachedBytes(): number {
    return this.#cachedBytes
  }

  /** Is done with the bytes when it resolves; they may be on their way still. Memory of the runs is not copied. One at a time. */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#waiting === 0 && this.#runs.isAligned(piece)) return this.#next(piece)
    for (let from = 0; from < piece.length; ) {
      this.#run ??= this.#runs.take()
      if (this.#run === undefined) return this.#next(piece.subarray(from))
      const { bytes } = this.#run
      const count = Math.min(piece.length - from, bytes.length - this.#waiting)
      copyBytes(piece, bytes, this.#waiting, from, from + count)
      this.#waiting += count
      from += count
      if (this.#waiting === bytes.length) await this.#pass()
    }
  }

  /** All of it is with the system, or past it, when it resolves; `fdatasync` of any of its handles has it on the disk then. */
  async end(): Promise<void> {
    const whole = this.#waiting - (this.#waiting % BLOCK_BYTES)
    const rest = this.#run?.bytes.subarray(whole, this.#waiting)
    try {
      if (whole > 0) await this.#next((this.#run as Slab).bytes.subarray(0, whole))
      if (rest !== undefined && rest.length > 0) await this.#next(rest)
      await this.#writing
    } finally {
      this.#forget()
    }
  }

  /** What waits is lost. */
  async close(): Promise<void> {
    await this.#writing?.catch(() => {})
    this.#forget()
    const direct = this.#direct
    this.#direct = undefined
    await direct?.close()
  }

  #forget(): void {
    this.#run?.release()
    this.#run = undefined
    this.#waiting = 0
  }

  /** A whole run goes while the next one is filled. */
  async #pass(): Promise<void> {
    const run = this.#run as Slab
    this.#run = undefined
    this.#waiting = 0
    try {
      await this.#writing
    } catch (error) {
      run.release()
      throw error
    }
    this.#writing = this.#put(run.bytes).finally(() => run.release())
    // Whoever comes next is told.
    this.#writing.catch(() => {})
  }

  /** Behind what is on its way. */
  async #next(bytes: Uint8Array): Promise<void> {
    await this.#writing
    await this.#put(bytes)
  }

  async #put(bytes: Uint8Array): Promise<void> {
    const at = this.#at
    this.#at += bytes.length
    let done = 0
    if (this.#direct !== undefined && at % BLOCK_BYTES === 0 && this.#runs.isAligned(bytes)) {
      try {
        done = (await this.#direct.write(bytes, 0, bytes.length, at)).bytesWritten
      } catch (error) {
        if (!isRefusal(error)) throw error
      }
    }
    this.#cachedBytes += bytes.length - done
    while (done < bytes.length) done += (await this.#plain.write(bytes, done, bytes.length - done, at + done)).bytesWritten
  }
}

/** The file system, or the disk below it, does not do it. */
function isRefusal(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EINVAL' || code === 'EOPNOTSUPP'
}
