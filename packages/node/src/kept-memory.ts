/**
 * A detector's memory on disk, from one start of the node to the next:
 *
 *     file  = "ringwall/memory/1\n" piece* end
 *     piece = length(4, above 0) bytes
 *     end   = 0(4) SHA-256 of all before it(32)
 *
 * written as a whole, sealed where the disk is. What cannot be read is told once and moved aside (`FILE.unread`, one at most): a node learns anew rather than
 * from half of what it knew.
 */
import { createHash } from 'node:crypto'
import { rename, rm } from 'node:fs/promises'
import { type DiskSeal, readFileSealed, replaceFile, sealParts } from '@ringwall/store'

const MAGIC = Buffer.from('ringwall/memory/1\n')
const DIGEST_BYTES = 32
const FILE_MODE = 0o600
/** What was learned since is lost with a crash. */
export const KEEP_MS = 600_000

export interface KeptMemoryOptions {
  readonly file: string
  readonly disk?: DiskSeal | undefined
  /** What is in it, for people: `what identities are used to`. */
  readonly what: string
  readonly bytesMax: number
  readonly log: (level: 'warn', line: string) => void
}

export class KeptMemory {
  readonly #options: KeptMemoryOptions
  #keeping: Promise<void> = Promise.resolve()

  constructor(options: KeptMemoryOptions) {
    this.#options = options
  }

  /** Writes it, after what is being written. @param pieces Undefined: nothing is to be kept, and what was is removed. */
  keep(pieces: () => Iterable<Uint8Array> | undefined): Promise<void> {
    this.#keeping = this.#keeping.then(async () => {
      const { file, disk, what, log } = this.#options
      try {
        const all = pieces()
        if (all === undefined) await rm(file, { force: true })
        else await replaceFile(file, FILE_MODE, sealParts(disk, file, framed(all)))
      } catch (error) {
        log('warn', `${what} is not kept: ${(error as Error).message}`)
      }
    })
    return this.#keeping
  }

  /**
   * @param take Takes up what was kept; what it throws says that it cannot be read.
   * @param forget Lets go of what was taken by then: half of it is of no use.
   */
  async takeUp(take: (pieces: readonly Uint8Array[]) => void, forget: () => void): Promise<void> {
    const { file, disk, what, bytesMax, log } = this.#options
    try {
      const bytes = await readFileSealed(file, disk, bytesMax)
      if (bytes !== undefined) take(piecesOf(bytes))
    } catch (error) {
      forget()
      const aside = `${file}.unread`
      const isAside = await rename(file, aside).then(
        () => true,
        () => false,
      )
      const where = isAside ? `; the file is ${aside} now` : ''
      log('warn', `${what} cannot be read and is learned anew: ${(error as Error).message}${where}`)
    }
  }
}

export type KeptFile = Pick<KeptMemoryOptions, 'file' | 'disk' | 'log'>

export interface KeptDetector {
  /** Undefined: it is off. */
  memory(nowMs: number): Iterable<Uint8Array> | undefined
  /** @throws {MemoryMalformed} */
  restore(pieces: Iterable<Uint8Array>, nowMs: number): void
  forget(): void
}

/** Takes up what was kept, and keeps it every ten minutes. @returns Keeps it once more, and ends it. */
export async function keepDetector(detector: KeptDetector, options: KeptMemoryOptions): Promise<() => Promise<void>> {
  const kept = new KeptMemory(options)
  await kept.takeUp(
    (pieces) => detector.restore(pieces, Date.now()),
    () => detector.forget(),
  )
  const keep = (): Promise<void> => kept.keep(() => detector.memory(Date.now()))
  const timer = setInterval(() => void keep(), KEEP_MS)
  timer.unref()
  return () => {
    clearInterval(timer)
    return keep()
  }
}

function* framed(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
  const digest = createHash('sha256')
  const told = (bytes: Uint8Array): Uint8Array => {
    digest.update(bytes)
    return bytes
  }
  yield told(MAGIC)
  for (const piece of pieces) yield told(Buffer.concat([lengthOf(piece.length), piece]))
  yield told(lengthOf(0))
  yield digest.digest()
}

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(length)
  return bytes
}

function piecesOf(read: Uint8Array): readonly Uint8Array[] {
  const bytes = Buffer.from(read.buffer, read.byteOffset, read.byteLength)
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw new Error(`it is no memory of this version (${MAGIC.toString().trim()})`)
  const end = bytes.length - DIGEST_BYTES
  const pieces: Uint8Array[] = []
  let at = MAGIC.length
  for (;;) {
    if (at + 4 > end) throw new Error('it ends early')
    const length = bytes.readUInt32BE(at)
    at += 4
    if (length === 0) break
    if (at + length > end) throw new Error('it ends early')
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  const digest = createHash('sha256').update(bytes.subarray(0, at)).digest()
  if (at !== end || !digest.equals(bytes.subarray(end))) throw new Error('it was changed')
  return pieces
}
