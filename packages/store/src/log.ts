/**
 * An append-only log of records. What `append` has answered for is on disk; what a crash tore is cut off on the next
 * open; what rotted is found by its hash, told, and kept aside as evidence. Format: `record.ts`.
 */
import { constants, type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StoreCorrupt, StoreError } from './errors.ts'
import { FILE_MODE, keepAside, makeDirectory, replaceFile, syncDirectory } from './files.ts'
import { HEADER, lengthIn, payloadMatches, RECORD_HEADER_BYTES, recordHeader } from './record.ts'

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
  /** Records dropped by `dropFirst` since the log was opened: what was record i then is record i - dropped now. */
  readonly dropped: number
  /** Waits for what was begun. */
  close(): Promise<void>
}

const RECORD_BYTES_MAX = 16 * 1024 * 1024
const PENDING_BYTES_MAX = 64 * 1024 * 1024
const READ_CHUNK_BYTES = 1024 * 1024
/** Records larger than this are stepped over one by one, smaller ones read through. */
const SPARSE_BYTES = 16 * 1024

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
  readonly copied: number
}

/**
 * Where the kernel offers it, a write returns once its bytes are on disk (open(2), `O_DSYNC`): one call in the place of a write
 * and a sync, each of which waits for a thread. macOS has it, too, and does not mean the disk by it.
 */
const SYNCS_WRITES = process.platform === 'linux'
const FLAGS = constants.O_RDWR | (SYNCS_WRITES ? constants.O_DSYNC : 0)

/** Opens the log at `path`, creating it and its directory if need be. */
export async function openLog(path: string, options: LogOptions = {}): Promise<RecordLog> {
  const recordBytesMax = options.recordBytesMax ?? RECORD_BYTES_MAX
  await makeDirectory(dirname(path))
  let handle: FileHandle
  try {
    handle = await open(path, FLAGS)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await replaceFile(path, FILE_MODE, [HEADER])
    handle = await open(path, FLAGS)
  }
  try {
    const scan = await scanFile(handle, path, recordBytesMax, options.onRecord, options.from)
    let finding: LogFinding | undefined
    const { offsets, end, size, fault } = scan
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
      if (end === 0) await handle.write(HEADER, 0, HEADER.length, 0)
      await handle.sync()
    }
    return new FileLog(
      path,
      handle,
      offsets,
      Math.max(end, HEADER.length),
      finding,
      recordBytesMax,
      options.pendingBytesMax ?? PENDING_BYTES_MAX,
    )
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** What `inspectLog` found: how many records are good, and what stands where they end. */
export interface LogInspection {
  readonly length: number
  readonly bytes: number
  readonly fault:
    | { readonly kind: 'torn' | 'corrupt'; readonly index: number; readonly offset: number; readonly what: string }
    | undefined
}

/**
 * Reads the log at `path` without changing anything: works beside the process that writes it. `onRecord` meets every
 * good record, in order; the payload is only good during the call.
 */
export async function inspectLog(
  path: string,
  onRecord: (payload: Uint8Array, index: number) => void,
  recordBytesMax: number = RECORD_BYTES_MAX,
): Promise<LogInspection> {
  const handle = await open(path, constants.O_RDONLY)
  try {
    const { offsets, end, size, fault } = await scanFile(handle, path, recordBytesMax, onRecord)
    if (fault === undefined) return { length: offsets.length, bytes: size, fault: undefined }
    const what = fault.kind === 'torn' ? 'the file ends inside a record' : fault.what
    return { length: offsets.length, bytes: size, fault: { kind: fault.kind, index: offsets.length, offset: end, what } }
  } finally {
    await handle.close()
  }
}

/**
 * The first record of the log at `path`, by itself: it works beside the process that writes it. Undefined when there is none, or
 * none that is whole.
 */
export async function firstRecord(path: string, recordBytesMax: number = RECORD_BYTES_MAX): Promise<Uint8Array | undefined> {
  let handle: FileHandle
  try {
    handle = await open(path, constants.O_RDONLY)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const start = await readExactly(handle, 0, HEADER.length + RECORD_HEADER_BYTES)
    const header = start.subarray(HEADER.length)
    if (header.length < RECORD_HEADER_BYTES || !start.subarray(0, HEADER.length).equals(HEADER)) return undefined
    const length = lengthIn(header, 0)
    if (length === undefined || length > recordBytesMax) return undefined
    const payload = await readExactly(handle, start.length, length)
    return payload.length === length && payloadMatches(header, 0, payload) ? payload : undefined
  } finally {
    await handle.close()
  }
}

interface Scan {
  /** Where each good record begins. */
  readonly offsets: number[]
  /** Where the last good record ends. */
  readonly end: number
  readonly size: number
  readonly fault: { readonly kind: 'torn' } | { readonly kind: 'corrupt'; readonly what: string } | undefined
}

/**
 * Reads the file from the start to the first record that is not whole; of those before `from` the headers alone. A tail is torn, and was never answered for, when
 * the file ends before the record does or when only zeros follow (a file system that grew the file before it wrote).
 * All else is corruption: bytes that were written are not the bytes that are read.
 */
async function scanFile(
  handle: FileHandle,
  path: string,
  recordBytesMax: number,
  onRecord: (payload: Uint8Array, index: number) => void = () => {},
  from = 0,
): Promise<Scan> {
  const { size } = await handle.stat()
  const header = await readExactly(handle, 0, Math.min(HEADER.length, size))
  if (/^ringwall-log (?!01)\d\d\n$/.test(header.toString('latin1'))) {
    throw new StoreError('STORE_FORMAT', path, `${path} was written by another version of Ringwall: its format is not 01`)
  }
  const offsets: number[] = []
  if (!header.equals(HEADER)) {
    return { offsets, end: 0, size, fault: { kind: 'corrupt', what: 'the first 16 bytes are not those of a log' } }
  }
  let end = HEADER.length
  let window: Buffer = Buffer.alloc(0)
  let windowStart = end
  const bytesAt = async (offset: number, length: number, ahead = READ_CHUNK_BYTES): Promise<Buffer> => {
    if (offset < windowStart || offset + length > windowStart + window.length) {
      window = await readExactly(handle, offset, Math.min(Math.max(length, ahead), size - offset))
      windowStart = offset
    }
    return window.subarray(offset - windowStart, offset - windowStart + length)
  }
  const faulty = async (what: string): Promise<Scan> => {
    const torn = await onlyZeros(handle, end, size)
    return { offsets, end, size, fault: torn ? { kind: 'torn' } : { kind: 'corrupt', what } }
  }
  let before = 0
  while (end < size) {
    if (size - end < RECORD_HEADER_BYTES) return { offsets, end, size, fault: { kind: 'torn' } }
    const skips = offsets.length < from
    // Between the headers of large records lies nothing to be looked at.
    const ahead = skips && before > SPARSE_BYTES ? RECORD_HEADER_BYTES : READ_CHUNK_BYTES
    const recordStart = Buffer.from(await bytesAt(end, RECORD_HEADER_BYTES, ahead))
    const length = lengthIn(recordStart, offsets.length)
    if (length === undefined) return faulty('the record header does not match its checksum')
    if (length > recordBytesMax) return faulty(`the record has ${length} bytes, more than the ${recordBytesMax} allowed`)
    const next = end + RECORD_HEADER_BYTES + length
    if (next > size) return { offsets, end, size, fault: { kind: 'torn' } }
    if (!skips) {
      const payload = await bytesAt(end + RECORD_HEADER_BYTES, length)
      if (!payloadMatches(recordStart, offsets.length, payload)) return faulty('the record does not match its hash')
      onRecord(payload, offsets.length)
    }
    before = length
    offsets.push(end)
    end = next
  }
  return { offsets, end, size, fault: undefined }
}

async function onlyZeros(handle: FileHandle, from: number, to: number): Promise<boolean> {
  for (let offset = from; offset < to; offset += READ_CHUNK_BYTES) {
    const chunk = await readExactly(handle, offset, Math.min(READ_CHUNK_BYTES, to - offset))
    if (chunk.some((byte) => byte !== 0)) return false
  }
  return true
}

async function readExactly(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return buffer.subarray(0, done)
}

class FileLog implements RecordLog {
  readonly path: string
  readonly finding: LogFinding | undefined
  #handle: FileHandle
  #offsets: number[]
  #end: number
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
    path: string,
    handle: FileHandle,
    offsets: number[],
    end: number,
    finding: LogFinding | undefined,
    recordBytesMax: number,
    pendingBytesMax: number,
  ) {
    this.path = path
    this.#handle = handle
    this.#offsets = offsets
    this.#end = end
    this.finding = finding
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
    const bytes = bytesOf(records)
    if (this.#pendingBytes + bytes > this.#pendingBytesMax) {
      const message = `${this.path}: ${this.#pendingBytes} bytes wait for the disk already: it does not keep up`
      return Promise.reject(new StoreError('STORE_BUSY', this.path, message))
    }
    return this.#enqueue('append', records, bytes, 0)
  }

  replaceWith(records: readonly Uint8Array[]): Promise<void> {
    const tooLarge = this.#tooLarge(records)
    if (tooLarge !== undefined) return Promise.reject(tooLarge)
    return this.#enqueue('replace', records, bytesOf(records), 0)
  }

  truncate(length: number): Promise<void> {
    return this.#enqueue('truncate', [], 0, length)
  }

  async dropFirst(count: number): Promise<void> {
    if (count <= 0) return
    if (this.#dropping) throw new StoreError('STORE_BUSY', this.path, `${this.path}: records are being dropped already`)
    if (count > this.length) throw new RangeError(`${this.path} has ${this.length} records: ${count} cannot be dropped`)
    this.#dropping = true
    const temporary = `${this.path}.drop.tmp`
    const copy = await open(temporary, 'w+', FILE_MODE)
    try {
      await copy.writeFile(HEADER)
      const copied = await this.#copy(copy, count, this.length, count)
      await copy.sync()
      await this.#enqueue('drop', [], 0, count, { copy, temporary, copied })
    } catch (error) {
      await copy.close().catch(() => {})
      await unlink(temporary).catch(() => {})
      throw error
    } finally {
      this.#dropping = false
    }
  }

  /** Appends records `from` to `to` with numbers less by `less`; says where it ended. */
  async #copy(target: FileHandle, from: number, to: number, less: number): Promise<number> {
    for (let index = from; index < to; index++) {
      const record = await this.#readAt(index)
      await target.writeFile(Buffer.concat([recordHeader(index - less, record), record]))
    }
    return to
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
    const offset = this.#offsets[index]
    if (offset === undefined) throw new RangeError(`${this.path} has ${this.length} records: there is no record ${index}`)
    const next = this.#offsets[index + 1] ?? this.#end
    return payloadIn(await readExactly(this.#handle, offset, next - offset), this.path, index, offset, next - offset)
  }

  async readRun(index: number, count: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    if (this.#closed) throw new StoreError('STORE_CLOSED', this.path, `${this.path} is closed`)
    const begin = this.#offsets[index]
    if (begin === undefined || count < 1) return []
    const ends: number[] = []
    for (let at = index + 1; at <= index + count && at <= this.length; at += 1) {
      const end = this.#offsets[at] ?? this.#end
      if (ends.length > 0 && end - begin > bytesMax) break
      ends.push(end)
    }
    const bytes = await readExactly(this.#handle, begin, (ends.at(-1) ?? begin) - begin)
    let from = 0
    return ends.map((end, i) => {
      const record = bytes.subarray(from, end - begin)
      const offset = begin + from
      from = end - begin
      return payloadIn(record, this.path, index + i, offset, end - offset)
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
    const first = this.#offsets.length
    const parts = records.flatMap((record, i) => [recordHeader(first + i, record), record])
    const bytes = Buffer.concat(parts)
    let done = 0
    while (done < bytes.length) {
      done += (await this.#handle.write(bytes, done, bytes.length - done, this.#end + done)).bytesWritten
    }
    if (!SYNCS_WRITES) await this.#handle.datasync()
    for (const record of records) {
      this.#offsets.push(this.#end)
      this.#end += RECORD_HEADER_BYTES + record.length
    }
  }

  async #cut(length: number): Promise<void> {
    const end = this.#offsets[length]
    if (end === undefined) return
    await this.#handle.truncate(end)
    await this.#handle.sync()
    this.#offsets.length = length
    this.#end = end
  }

  async #drop(count: number, { copy, temporary, copied }: HalfDone): Promise<void> {
    await this.#copy(copy, copied, this.length, count)
    await copy.sync()
    await rename(temporary, this.path)
    await syncDirectory(dirname(this.path))
    const fresh = await open(this.path, FLAGS)
    const old = this.#handle
    const gone = (this.#offsets[count] ?? this.#end) - HEADER.length
    this.#handle = fresh
    this.#dropped += count
    this.#offsets = this.#offsets.slice(count).map((offset) => offset - gone)
    this.#end -= gone
    await copy.close()
    await old.close()
  }

  async #replace(records: readonly Uint8Array[]): Promise<void> {
    const parts = [HEADER, ...records.flatMap((record, i) => [recordHeader(i, record), record])]
    await replaceFile(this.path, FILE_MODE, [Buffer.concat(parts)])
    const fresh = await open(this.path, FLAGS)
    const old = this.#handle
    this.#handle = fresh
    this.#offsets = []
    this.#end = HEADER.length
    for (const record of records) {
      this.#offsets.push(this.#end)
      this.#end += RECORD_HEADER_BYTES + record.length
    }
    await old.close()
    await syncDirectory(dirname(this.path))
  }
}

/** @throws {StoreCorrupt} When `record`, which is to have `length` bytes, is not record `index`, whole. */
function payloadIn(record: Buffer, path: string, index: number, offset: number, length: number): Uint8Array {
  const payload = record.subarray(RECORD_HEADER_BYTES)
  const whole = record.length === length && length >= RECORD_HEADER_BYTES && lengthIn(record, index) === payload.length
  if (!whole || !payloadMatches(record, index, payload)) {
    throw new StoreCorrupt(path, index, offset, 'the record does not match its hash')
  }
  return payload
}

function bytesOf(records: readonly Uint8Array[]): number {
  return records.reduce((sum, record) => sum + RECORD_HEADER_BYTES + record.length, 0)
}
