/**
 * An append-only log of records. What `append` has answered for is on disk; what a crash tore is cut off on the next
 * open; what rotted is found by its hash, told, and kept aside as evidence. Format: `record.ts`.
 */
import { constants, type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { DiskSeal } from './disk-seal.ts'
import { StoreCorrupt, StoreError } from './errors.ts'
import { FILE_MODE, keepAside, makeDirectory, replaceFile, syncDirectory } from './files.ts'
import { RECORD_BYTES_MAX, readExactly, scanFile } from './log-scan.ts'
import { PLAIN_RECORDS } from './record.ts'
import { encodeRun, LINK_BYTES, type RecordFormat } from './record-format.ts'
import { SealedRecords } from './sealed-record.ts'

export interface LogOptions {
  /** Largest payload, bytes; 16 MiB unless given. A larger one is refused on the way in and is corruption on disk. */
  readonly recordBytesMax?: number
  /** Bytes that may wait for the disk before `append` refuses with `STORE_BUSY`; 64 MiB unless given. */
  readonly pendingBytesMax?: number
  /**
   * What to do about corruption: `keep-prefix` copies the file aside and goes on with the records before the bad one;
   * `throw` leaves everything as it is and throws `StoreCorrupt`.
   */
  readonly onCorrupt?: 'keep-prefix' | 'throw'
  /** Meets every good record from `from` on while the log is opened, in order; the payload is only good during the call. */
  readonly onRecord?: (payload: Uint8Array, index: number) => void
  /**
   * Of the records before this one (0 unless given) only the headers are checked, which say where each begins; their payloads
   * are, as ever, when they are read. Opening costs what the rest costs.
   */
  readonly from?: number
  /**
   * Seals what is written, and opens what is sealed. A file that is in the clear, or under an earlier key, is written anew under the
   * current one before `openLog` resolves.
   */
  readonly seal?: DiskSeal | undefined
}

/** What was wrong with the file when it was opened, and what was done about it. */
export type LogFinding =
  | { readonly kind: 'torn'; readonly path: string; readonly index: number; readonly offset: number; readonly bytesCut: number }
  | {
      readonly kind: 'corrupt'
      readonly path: string
      readonly index: number
      readonly offset: number
      /** Everything from `offset` on, bad and unreadable alike. */
      readonly bytesLost: number
      /** Where the file as found is kept. */
      readonly aside: string
      readonly what: string
    }

export interface RecordLog {
  readonly path: string
  /** Records that are on disk. */
  readonly length: number
  /** Bytes of the file up to the end of the last record on disk. */
  readonly bytes: number
  /** Undefined when the file was whole. */
  readonly finding: LogFinding | undefined
  /** Resolves once all `records` are on disk, in order. Calls made while the disk is busy share one sync. */
  append(records: readonly Uint8Array[]): Promise<void>
  /** Checks the hash again. @throws {StoreCorrupt} When the record rotted since; RangeError beyond `length`. */
  read(index: number): Promise<Uint8Array>
  /** At most `count` records from `index` on, in one read of about `bytesMax` (at least one record). Checked as by `read`. */
  readRun(index: number, count: number, bytesMax: number): Promise<readonly Uint8Array[]>
  /** Records from `from` (0 unless given) to the length at the time of the call. */
  records(from?: number): AsyncGenerator<Uint8Array, void, undefined>
  /** Drops the records from `length` on, durably. */
  truncate(length: number): Promise<void>
  /** Puts `records` in place of all that was appended before this call: all or nothing, whatever happens. */
  replaceWith(records: readonly Uint8Array[]): Promise<void>
  /**
   * Drops the first `count` records, durably and all or nothing. Most of the rest is copied while appends go on; only
   * what they added meanwhile holds them up. One call at a time, and none to `truncate` or `replaceWith` meanwhile.
   */
  dropFirst(count: number): Promise<void>
  /** Writes it anew under the seal's current key, if it is under another one or in the clear; as `dropFirst` does, with appends going on. */
  reseal(): Promise<void>
  /** Records dropped by `dropFirst` since the log was opened: what was record i then is record i - dropped now. */
  readonly dropped: number
  /** Waits for what was begun. */
  close(): Promise<void>
}

const PENDING_BYTES_MAX = 64 * 1024 * 1024
/** Of what is copied at a time. */
const COPY_BYTES = 4 * 1024 * 1024

interface Job {
  readonly kind: 'append' | 'truncate' | 'replace' | 'drop' | 'close'
  readonly records: readonly Uint8Array[]
  readonly length: number
  readonly bytes: number
  readonly half: HalfDone | undefined
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** A log that is to take the place of this one, with the records up to `copied`. */
interface HalfDone {
  readonly copy: FileHandle
  readonly temporary: string
  readonly format: RecordFormat
  readonly offsets: number[]
  copied: number
  end: number
  link: Uint8Array
}

/**
 * Where the kernel offers it, a write returns once its bytes are on disk (open(2), `O_DSYNC`): one call in the place of a write
 * and a sync, each of which waits for a thread. macOS has it, too, and does not mean the disk by it.
 */
const SYNCS_WRITES = process.platform === 'linux'
const FLAGS = constants.O_RDWR | (SYNCS_WRITES ? constants.O_DSYNC : 0)

function temporaryOf(path: string): string {
  return `${path}.drop.tmp`
}

/** As a new file at `path` is to be written. */
export function freshFormat(path: string, seal: DiskSeal | undefined): RecordFormat {
  const key = seal?.current
  return seal === undefined || key === undefined ? PLAIN_RECORDS : SealedRecords.begin(key, seal.nameOf(path))
}

/**
 * Opens the log at `path`, creating it and its directory if need be.
 *
 * @throws {StoreError} `STORE_FORMAT`; `STORE_SEALED` when it takes a key that is not there, `STORE_UNSEALED` when it is in the clear and ought
 * not to be; {StoreCorrupt} as `onCorrupt` says.
 */
export async function openLog(path: string, options: LogOptions = {}): Promise<RecordLog> {
  const { seal, onRecord, from, recordBytesMax = RECORD_BYTES_MAX } = options
  await makeDirectory(dirname(path))
  // Of a copy that a crash left half done.
  await unlink(temporaryOf(path)).catch(() => {})
  let handle: FileHandle
  try {
    handle = await open(path, FLAGS)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await replaceFile(path, FILE_MODE, [freshFormat(path, seal).header])
    handle = await open(path, FLAGS)
  }
  let log: FileLog
  try {
    const scan = await scanFile(handle, path, { recordBytesMax, seal, onRecord, from })
    let finding: LogFinding | undefined
    let { format, end, link } = scan
    const { offsets, size, fault } = scan
    const index = offsets.length
    if (fault?.kind === 'torn') {
      finding = { kind: 'torn', path, index, offset: end, bytesCut: size - end }
      await handle.truncate(end)
      await handle.sync()
    } else if (fault !== undefined) {
      if (options.onCorrupt === 'throw') throw new StoreCorrupt(path, index, end, fault.what)
      const aside = await keepAside(path)
      finding = { kind: 'corrupt', path, index, offset: end, bytesLost: size - end, aside, what: fault.what }
      await handle.truncate(end)
      if (format === undefined) {
        format = freshFormat(path, seal)
        await handle.write(format.header, 0, format.header.length, 0)
        end = format.header.length
        link = format.header.subarray(-LINK_BYTES)
      }
      await handle.sync()
    }
    const whole = { path, handle, format: format ?? freshFormat(path, seal), offsets, end, link }
    log = new FileLog(whole, finding, seal, recordBytesMax, options.pendingBytesMax ?? PENDING_BYTES_MAX)
  } catch (error) {
    await handle.close()
    throw error
  }
  try {
    if (seal !== undefined) await log.reseal()
    return log
  } catch (error) {
    await log.close()
    throw error
  }
}

/** A file as it stands, with nothing after its last record. */
interface WholeLog {
  readonly path: string
  readonly handle: FileHandle
  readonly format: RecordFormat
  readonly offsets: number[]
  readonly end: number
  /** The last 16 bytes before `end`. */
  readonly link: Uint8Array
}

class FileLog implements RecordLog {
  readonly path: string
  readonly finding: LogFinding | undefined
  readonly #seal: DiskSeal | undefined
  #handle: FileHandle
  #format: RecordFormat
  #offsets: number[]
  #end: number
  #link: Uint8Array
  readonly #recordBytesMax: number
  readonly #pendingBytesMax: number
  #jobs: Job[] = []
  #pendingBytes = 0
  #working = false
  #closed = false
  #failure: StoreError | undefined
  #dropping = false
  #dropped = 0

  constructor(
    { path, handle, format, offsets, end, link }: WholeLog,
    finding: LogFinding | undefined,
    seal: DiskSeal | undefined,
    recordBytesMax: number,
    pendingBytesMax: number,
  ) {
    this.path = path
    this.#handle = handle
    this.#format = format
    this.#offsets = offsets
    this.#end = end
    this.#link = link
    this.finding = finding
    this.#seal = seal
    this.#recordBytesMax = recordBytesMax
    this.#pendingBytesMax = pendingBytesMax
  }

  get length(): number {
    return this.#offsets.length
  }

  get bytes(): number {
    return this.#end
  }

  get dropped(): number {
    return this.#dropped
  }

  append(records: readonly Uint8Array[]): Promise<void> {
    const tooLarge = this.#tooLarge(records)
    if (tooLarge !== undefined) return Promise.reject(tooLarge)
    const bytes = this.#bytesOf(records)
    if (this.#pendingBytes + bytes > this.#pendingBytesMax) {
      const message = `${this.path}: ${this.#pendingBytes} bytes wait for the disk already: it does not keep up`
      return Promise.reject(new StoreError('STORE_BUSY', this.path, message))
    }
    return this.#enqueue('append', records, bytes, 0)
  }

  replaceWith(records: readonly Uint8Array[]): Promise<void> {
    const tooLarge = this.#tooLarge(records)
    if (tooLarge !== undefined) return Promise.reject(tooLarge)
    return this.#enqueue('replace', records, this.#bytesOf(records), 0)
  }

  truncate(length: number): Promise<void> {
    return this.#enqueue('truncate', [], 0, length)
  }

  async dropFirst(count: number): Promise<void> {
    if (count <= 0) return
    if (count > this.length) throw new RangeError(`${this.path} has ${this.length} records: ${count} cannot be dropped`)
    await this.#copyFrom(count)
  }

  async reseal(): Promise<void> {
    if (this.#format.keyId === this.#seal?.current?.id.toString('hex')) return
    await this.#copyFrom(0)
  }

  async #copyFrom(count: number): Promise<void> {
    if (this.#dropping) throw new StoreError('STORE_BUSY', this.path, `${this.path}: records are being dropped already`)
    this.#dropping = true
    const temporary = temporaryOf(this.path)
    const copy = await open(temporary, 'w+', FILE_MODE)
    try {
      const format = freshFormat(this.path, this.#seal)
      await copy.writeFile(format.header)
      const link = format.header.subarray(-LINK_BYTES)
      const half: HalfDone = { copy, temporary, format, offsets: [], copied: count, end: format.header.length, link }
      await this.#copy(half, this.length, count)
      await copy.sync()
      await this.#enqueue('drop', [], 0, count, half)
    } catch (error) {
      await copy.close().catch(() => {})
      await unlink(temporary).catch(() => {})
      throw error
    } finally {
      this.#dropping = false
    }
  }

  /** Appends the records up to `to`, with numbers less by `less`. */
  async #copy(half: HalfDone, to: number, less: number): Promise<void> {
    while (half.copied < to) {
      const records = await this.#readRun(half.copied, to - half.copied, COPY_BYTES)
      const { bytes, ends, link } = encodeRun(half.format, half.copied - less, records, half.link)
      await half.copy.writeFile(bytes)
      for (const end of [0, ...ends.slice(0, -1)]) half.offsets.push(half.end + end)
      half.copied += records.length
      half.end += bytes.length
      half.link = link
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    const closing = this.#enqueue('close', [], 0, 0)
    this.#closed = true
    await closing
  }

  async read(index: number): Promise<Uint8Array> {
    if (this.#closed) throw new StoreError('STORE_CLOSED', this.path, `${this.path} is closed`)
    return this.#readAt(index)
  }

  async #readAt(index: number): Promise<Uint8Array> {
    if (index < 0 || index >= this.length)
      throw new RangeError(`${this.path} has ${this.length} records: there is no record ${index}`)
    const [record] = await this.#readRun(index, 1, 0)
    return record as Uint8Array
  }

  async readRun(index: number, count: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    if (this.#closed) throw new StoreError('STORE_CLOSED', this.path, `${this.path} is closed`)
    return this.#readRun(index, count, bytesMax)
  }

  async #readRun(index: number, count: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    const begin = this.#offsets[index]
    if (begin === undefined || count < 1) return []
    // A rewritten file has another format: both belong to this read.
    const format = this.#format
    const ends: number[] = []
    for (let at = index + 1; at <= index + count && at <= this.length; at += 1) {
      const end = this.#offsets[at] ?? this.#end
      if (ends.length > 0 && end - begin > bytesMax) break
      ends.push(end)
    }
    const base = begin - LINK_BYTES
    const bytes = await readExactly(this.#handle, base, (ends.at(-1) ?? begin) - base)
    let from = LINK_BYTES
    return ends.map((end, i) => {
      const record = bytes.subarray(from, end - base)
      const payload =
        record.length === end - base - from && record.length >= format.overheadBytes
          ? format.payloadIn(record, index + i, bytes.subarray(from - LINK_BYTES, from))
          : undefined
      if (payload === undefined) throw new StoreCorrupt(this.path, index + i, base + from, 'the record does not match its hash')
      from = end - base
      return payload
    })
  }

  async *records(from = 0): AsyncGenerator<Uint8Array, void, undefined> {
    const to = this.length
    for (let index = from; index < to; index++) yield await this.read(index)
  }

  #tooLarge(records: readonly Uint8Array[]): StoreError | undefined {
    const large = records.find((record) => record.length > this.#recordBytesMax)
    if (large === undefined) return undefined
    const message = `${this.path}: a record of ${large.length} bytes is larger than the ${this.#recordBytesMax} allowed`
    return new StoreError('STORE_TOO_LARGE', this.path, message)
  }

  #enqueue(kind: Job['kind'], records: readonly Uint8Array[], bytes: number, length: number, half?: HalfDone): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError('STORE_CLOSED', this.path, `${this.path} is closed`))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#jobs.push({ kind, records, bytes, length, half, resolve, reject })
    this.#pendingBytes += bytes
    // Once the caller has said all that it has to say for now: a vote shares the sync of the block that it is for.
    if (!this.#working) {
      this.#working = true
      queueMicrotask(() => void this.#work())
    }
    return promise
  }

  async #work(): Promise<void> {
    while (this.#jobs.length > 0) {
      const batch = this.#takeBatch()
      try {
        await this.#perform(batch)
        for (const job of batch) job.resolve()
      } catch (error) {
        for (const job of batch) job.reject(error)
      }
      for (const job of batch) this.#pendingBytes -= job.bytes
    }
    this.#working = false
  }

  /** All appends at the head of the queue, or one job of another kind. */
  #takeBatch(): Job[] {
    const stop = this.#jobs.findIndex((job) => job.kind !== 'append')
    const count = stop === -1 ? this.#jobs.length : Math.max(stop, 1)
    return this.#jobs.splice(0, count)
  }

  async #perform(batch: readonly Job[]): Promise<void> {
    const [job] = batch
    if (job === undefined) return
    if (job.kind === 'close') return this.#handle.close()
    if (this.#failure !== undefined) throw this.#failure
    try {
      if (job.kind === 'append') await this.#write(batch.flatMap(({ records }) => records))
      else if (job.kind === 'truncate') await this.#cut(job.length)
      else if (job.half !== undefined) await this.#drop(job.length, job.half)
      else await this.#replace(job.records)
    } catch (error) {
      // After a failed write or sync the kernel may have dropped the pages: nothing later may be answered for.
      const reason = (error as NodeJS.ErrnoException).code ?? String(error)
      const message = `${this.path} could not be written (${reason}): free space or check the disk, then restart`
      this.#failure = new StoreError('STORE_WRITE_FAILED', this.path, message, { cause: error })
      throw this.#failure
    }
  }

  async #write(records: readonly Uint8Array[]): Promise<void> {
    if (records.length === 0) return
    const { bytes, ends, link } = encodeRun(this.#format, this.#offsets.length, records, this.#link)
    let done = 0
    while (done < bytes.length) {
      done += (await this.#handle.write(bytes, done, bytes.length - done, this.#end + done)).bytesWritten
    }
    if (!SYNCS_WRITES) await this.#handle.datasync()
    for (const end of [0, ...ends.slice(0, -1)]) this.#offsets.push(this.#end + end)
    this.#end += bytes.length
    this.#link = link
  }

  async #cut(length: number): Promise<void> {
    const end = this.#offsets[length]
    if (end === undefined) return
    const link = await readExactly(this.#handle, end - LINK_BYTES, LINK_BYTES)
    await this.#handle.truncate(end)
    await this.#handle.sync()
    this.#offsets.length = length
    this.#end = end
    this.#link = link
  }

  async #drop(count: number, half: HalfDone): Promise<void> {
    await this.#copy(half, this.length, count)
    await half.copy.sync()
    await rename(half.temporary, this.path)
    await syncDirectory(dirname(this.path))
    await half.copy.close()
    this.#dropped += count
    await this.#become(half)
  }

  async #replace(records: readonly Uint8Array[]): Promise<void> {
    const format = freshFormat(this.path, this.#seal)
    const { bytes, ends, link } = encodeRun(format, 0, records, format.header.subarray(-LINK_BYTES))
    await replaceFile(this.path, FILE_MODE, [format.header, bytes])
    const begin = format.header.length
    const offsets = ends.slice(0, -1).map((end) => begin + end)
    await this.#become({ format, offsets: ends.length === 0 ? [] : [begin, ...offsets], end: begin + bytes.length, link })
  }

  /** The file at the path is another one now. */
  async #become({ format, offsets, end, link }: Pick<HalfDone, 'format' | 'offsets' | 'end' | 'link'>): Promise<void> {
    const fresh = await open(this.path, FLAGS)
    const old = this.#handle
    this.#handle = fresh
    this.#format = format
    this.#offsets = offsets
    this.#end = end
    this.#link = link
    await old.close()
  }

  #bytesOf(records: readonly Uint8Array[]): number {
    return records.reduce((sum, record) => sum + this.#format.overheadBytes + record.length, 0)
  }
}
