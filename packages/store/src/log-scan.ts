/** Reading a log from disk: which format it is in, where its records begin, and where what is good ends. */
import { constants, type FileHandle, open } from 'node:fs/promises'
import { type DiskSeal, needSeal } from './disk-seal.ts'
import { StoreError } from './errors.ts'
import { HEADER, PLAIN_RECORDS } from './record.ts'
import { LINK_BYTES, type RecordFormat } from './record-format.ts'
import { SEALED_HEADER_BYTES, SEALED_MAGIC, SealedRecords } from './sealed-record.ts'

export const RECORD_BYTES_MAX: number = 16 * 1024 * 1024
const READ_CHUNK_BYTES = 1024 * 1024
/** Records larger than this are stepped over one by one, smaller ones read through. */
const SPARSE_BYTES = 16 * 1024

export interface Scan {
  /** Undefined when the file does not begin as a log. */
  readonly format: RecordFormat | undefined
  /** Where each good record begins. */
  readonly offsets: number[]
  /** Where the last good record ends. */
  readonly end: number
  /** The last 16 bytes before `end`. */
  readonly link: Uint8Array
  readonly size: number
  readonly fault: { readonly kind: 'torn' } | { readonly kind: 'corrupt'; readonly what: string } | undefined
}

export interface ScanOptions {
  readonly recordBytesMax: number
  readonly seal: DiskSeal | undefined
  readonly onRecord?: ((payload: Uint8Array, index: number) => void) | undefined
  /** Of the records before it the heads alone are looked at. */
  readonly from?: number | undefined
}

/** Undefined when the first bytes are not those of a log. @throws {StoreError} `STORE_FORMAT`, `STORE_SEALED`, `STORE_UNSEALED`. */
async function formatOf(
  handle: FileHandle,
  path: string,
  size: number,
  seal: DiskSeal | undefined,
): Promise<RecordFormat | undefined> {
  const header = await readExactly(handle, 0, Math.min(SEALED_HEADER_BYTES, size))
  const magic = header.subarray(0, SEALED_MAGIC.length)
  if (magic.equals(HEADER)) {
    seal?.admitPlain(path)
    return PLAIN_RECORDS
  }
  if (magic.equals(SEALED_MAGIC)) return SealedRecords.resume(needSeal(seal, path), path, header)
  if (/^ringwall-log \d\d\n$/.test(magic.toString('latin1')))
    throw new StoreError('STORE_FORMAT', path, `${path} was written by another version of Ringwall: its format is not 01 or 02`)
  return undefined
}

/**
 * Reads the file from the start to the first record that is not whole; of those before `from` the heads alone. A tail is torn, and was never answered for, when
 * the file ends before the record does or when only zeros follow (a file system that grew the file before it wrote).
 * All else is corruption: bytes that were written are not the bytes that are read.
 */
export async function scanFile(handle: FileHandle, path: string, options: ScanOptions): Promise<Scan> {
  const { recordBytesMax, seal, onRecord = () => {}, from = 0 } = options
  const { size } = await handle.stat()
  const format = await formatOf(handle, path, size, seal)
  const offsets: number[] = []
  const none = new Uint8Array(LINK_BYTES)
  if (format === undefined) {
    const what = 'its first bytes are not those of a log that was written here'
    return { format, offsets, end: 0, link: none, size, fault: { kind: 'corrupt', what } }
  }
  let end = format.header.length
  let link: Uint8Array = format.header.subarray(-LINK_BYTES)
  let window: Buffer = Buffer.alloc(0)
  let windowStart = end
  const bytesAt = async (offset: number, length: number, ahead = READ_CHUNK_BYTES): Promise<Buffer> => {
    if (offset < windowStart || offset + length > windowStart + window.length) {
      window = await readExactly(handle, offset, Math.min(Math.max(length, ahead), size - offset))
      windowStart = offset
    }
    return window.subarray(offset - windowStart, offset - windowStart + length)
  }
  const ended = async (fault: Scan['fault']): Promise<Scan> => {
    const link = await readExactly(handle, end - LINK_BYTES, LINK_BYTES)
    return { format, offsets, end, link, size, fault }
  }
  const faulty = async (what: string): Promise<Scan> =>
    ended((await onlyZeros(handle, end, size)) ? { kind: 'torn' } : { kind: 'corrupt', what })
  let before = 0
  while (end < size) {
    if (size - end < format.headBytes) return ended({ kind: 'torn' })
    const skips = offsets.length < from
    // Between the heads of large records lies nothing to be looked at.
    const ahead = skips && before > SPARSE_BYTES ? format.headBytes : READ_CHUNK_BYTES
    const length = format.lengthIn(await bytesAt(end, format.headBytes, ahead), offsets.length)
    if (length === undefined) return faulty('the record header does not match its checksum')
    if (length > recordBytesMax) return faulty(`the record has ${length} bytes, more than the ${recordBytesMax} allowed`)
    const next = end + format.overheadBytes + length
    if (next > size) return ended({ kind: 'torn' })
    if (!skips) {
      if (offsets.length > 0 && offsets.length === from) link = await readExactly(handle, end - LINK_BYTES, LINK_BYTES)
      const record = await bytesAt(end, next - end)
      const payload = format.payloadIn(record, offsets.length, link)
      if (payload === undefined) return faulty('the record does not match its hash')
      link = Uint8Array.from(record.subarray(-LINK_BYTES))
      onRecord(payload, offsets.length)
    }
    before = length
    offsets.push(end)
    end = next
  }
  return ended(undefined)
}

async function onlyZeros(handle: FileHandle, from: number, to: number): Promise<boolean> {
  for (let offset = from; offset < to; offset += READ_CHUNK_BYTES) {
    const chunk = await readExactly(handle, offset, Math.min(READ_CHUNK_BYTES, to - offset))
    if (chunk.some((byte) => byte !== 0)) return false
  }
  return true
}

/** Fewer bytes only where the file ends. */
export async function readExactly(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return buffer.subarray(0, done)
}

/** What `inspectLog` found: how many records are good, and what stands where they end. */
export interface LogInspection {
  readonly length: number
  readonly bytes: number
  readonly fault:
    | { readonly kind: 'torn' | 'corrupt'; readonly index: number; readonly offset: number; readonly what: string }
    | undefined
}

export interface InspectOptions {
  readonly recordBytesMax?: number
  readonly seal?: DiskSeal | undefined
}

/**
 * Reads the log at `path` without changing anything: works beside the process that writes it. `onRecord` meets every
 * good record, in order; the payload is only good during the call.
 *
 * @throws {StoreError} `STORE_FORMAT`, `STORE_SEALED`, `STORE_UNSEALED`.
 */
export async function inspectLog(
  path: string,
  onRecord: (payload: Uint8Array, index: number) => void,
  { recordBytesMax = RECORD_BYTES_MAX, seal }: InspectOptions = {},
): Promise<LogInspection> {
  const handle = await open(path, constants.O_RDONLY)
  try {
    const { offsets, end, size, fault } = await scanFile(handle, path, { recordBytesMax, seal, onRecord })
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
export async function firstRecord(path: string, options: InspectOptions = {}): Promise<Uint8Array | undefined> {
  const { recordBytesMax = RECORD_BYTES_MAX, seal } = options
  let handle: FileHandle
  try {
    handle = await open(path, constants.O_RDONLY)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const { size } = await handle.stat()
    const format = await formatOf(handle, path, size, seal)
    if (format === undefined) return undefined
    const head = await readExactly(handle, format.header.length, format.headBytes)
    const length = head.length < format.headBytes ? undefined : format.lengthIn(head, 0)
    if (length === undefined || length > recordBytesMax) return undefined
    const record = await readExactly(handle, format.header.length, format.overheadBytes + length)
    return record.length < format.overheadBytes + length
      ? undefined
      : format.payloadIn(record, 0, format.header.subarray(-LINK_BYTES))
  } finally {
    await handle.close()
  }
}
