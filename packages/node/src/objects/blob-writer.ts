/**
 * One blob on its way to the nodes that hold it: cut, encrypted and coded in a thread, and written to all at the pace of those that keep up. A node
 * that fails, or holds the others up, is left out as long as enough are left; what it misses it fetches later.
 */
import { randomBytes } from 'node:crypto'
import { BlobShape, blobKey, copyBytes, type ManifestPart, OBJECT_SEGMENT_BYTES } from '@ringwall/vault'
import type { DigestName } from './digests.ts'
import type { GoingDigests, ObjectThread } from './object-thread.ts'
import type { BodyReader } from './pour.ts'
import type { ShardSink } from './shard-client.ts'
import type { Slab } from './slabs.ts'

/** How long enough others wait for one that is slow. */
const LAGGING_MS_MAX = 5_000
/** Segments that are sealed or on their way, besides the one that is being filled. */
const UNDER_WAY_MAX = 2

export class ObjectsUnavailable extends Error {
  override readonly name = 'ObjectsUnavailable'
  readonly code = 'OBJECTS_UNAVAILABLE'
}

export interface BlobWriterOptions {
  readonly thread: ObjectThread
  readonly objectKey: Uint8Array
  /** The label of the object's capsule. */
  readonly about: Uint8Array
  readonly data: number
  readonly shards: number
  /** Fewer are not enough to go on. */
  readonly needed: number
  /** Of plaintext, all of it. */
  readonly length: number
  /** Of the plaintext; handed to who ends it. */
  readonly digests: readonly DigestName[]
  /** By index, for so many bytes; undefined where there is no node. */
  readonly open: (blob: string, index: number, bytes: number) => Promise<ShardSink | undefined>
  /** A node that is left out. */
  readonly onFailed: (party: string, reason: string) => void
}

export interface StoredBlob {
  readonly part: ManifestPart
  /** Nodes that have it on disk. */
  readonly parties: readonly string[]
  /** Since when, Unix milliseconds. */
  readonly atMs: number
}

export class BlobWriter {
  readonly #options: BlobWriterOptions
  readonly #sinks = new Map<number, ShardSink>()
  readonly #blob = randomBytes(8).toString('hex')
  readonly #shape: BlobShape
  readonly #hashes: Uint8Array[] = []
  #plain: Slab | undefined
  #filled = 0
  #size = 0
  #number = 0
  /** Of the last segments, that of the newest last: each begins where the one before it ended. */
  readonly #tails: Promise<void>[] = []
  #isOpen: Promise<void> | undefined
  #digests: Promise<GoingDigests> | undefined

  constructor(options: BlobWriterOptions) {
    this.#options = options
    this.#shape = shapeOf({ size: options.length }, options.data)
  }

  get size(): number {
    return this.#size
  }

  /** Takes the next bytes, as a copy; resolves when more may come. @throws {ObjectsUnavailable} */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#size + chunk.length > this.#options.length) throw new RangeError('more comes than was said')
    for (let at = 0; at < chunk.length; ) {
      const room = await this.#room()
      const count = Math.min(chunk.length - at, room.length)
      copyBytes(chunk, room, 0, at, at + count)
      this.#filled += count
      at += count
    }
    this.#size += chunk.length
  }

  /** Takes all that is to come, straight to where it is sealed; false when it ends before. @throws {ObjectsUnavailable} */
  async writeAll(reader: BodyReader): Promise<boolean> {
    while (this.#size < this.#options.length) {
      const room = await this.#room()
      const count = await reader.fill(room)
      this.#filled += count
      this.#size += count
      if (count < room.length) break
    }
    return this.#size === this.#options.length
  }

  /** What is left of the segment that is being filled; of the next one when there is nothing left. */
  async #room(): Promise<Uint8Array> {
    if (this.#filled === OBJECT_SEGMENT_BYTES) await this.#flush()
    this.#plain ??= this.#options.thread.slabs.take(this.#shape.plainBytes(this.#number), true)
    return this.#plain.bytes.subarray(this.#filled)
  }

  /** Segments are written while the next ones are sealed and filled. */
  async #flush(): Promise<void> {
    const { thread, objectKey, about, data, shards, digests } = this.#options
    // Connections stand by the time that there is something to send.
    this.#begun().catch(() => {})
    this.#digests ??= thread.digests(digests)
    const going = await this.#digests
    const number = this.#number
    const plain = this.#plain ?? thread.slabs.take(0)
    this.#plain = undefined
    this.#filled = 0
    this.#number += 1
    const pieces = Array.from({ length: shards }, () => thread.slabs.take(this.#shape.pieceBytes(number)))
    const key = blobKey(objectKey, this.#blob)
    const isLast = number === this.#shape.segments - 1
    const bytes = pieces.map((piece) => piece.bytes)
    const sealing = thread.seal({ key, about, number, isLast, data, shards }, plain.bytes, bytes, going)
    key.fill(0)
    const before = this.#tails.at(-1)
    const next = (async () => {
      try {
        const hashes = await sealing.finally(() => plain.release())
        await before
        this.#hashes.push(hashes)
        await this.#begun()
      } catch (error) {
        for (const piece of pieces) piece.release()
        throw error
      }
      await this.#spread(pieces)
    })()
    next.catch(() => {})
    this.#tails.push(next)
    if (this.#tails.length > UNDER_WAY_MAX) await this.#tails.shift()
  }

  #begun(): Promise<void> {
    this.#isOpen ??= (async () => {
      const { shards, open } = this.#options
      await Promise.all(
        Array.from({ length: shards }, async (_, index) => {
          const sink = await open(this.#blob, index, this.#shape.shardBytes)
          if (sink !== undefined) this.#sinks.set(index, sink)
        }),
      )
    })()
    return this.#isOpen
  }

  async #spread(pieces: readonly Slab[]): Promise<void> {
    const writing: Promise<void>[] = []
    try {
      await this.#each((sink, index) => {
        const written = sink.write((pieces[index] as Slab).bytes)
        writing.push(written)
        return written
      })
    } finally {
      // Who is left out may still be at it.
      void Promise.allSettled(writing).then(() => {
        for (const piece of pieces) piece.release()
      })
    }
  }

  /** With every sink; those that fail are left out, and those that come last too late. */
  async #each(work: (sink: ShardSink, index: number) => Promise<void>): Promise<void> {
    const { needed, onFailed } = this.#options
    const waiting = new Map(this.#sinks)
    const leave = (index: number, sink: ShardSink, reason: string): void => {
      if (!this.#sinks.delete(index)) return
      sink.abort()
      onFailed(sink.party, reason)
    }
    let late: NodeJS.Timeout | undefined
    let done = 0
    const isLate = new Promise<void>((settle) => {
      for (const [index, sink] of waiting) {
        work(sink, index).then(
          () => {
            waiting.delete(index)
            done += 1
            if (done >= needed) late ??= setTimeout(settle, LAGGING_MS_MAX)
            if (waiting.size === 0) settle()
          },
          (error: Error) => {
            waiting.delete(index)
            leave(index, sink, error.message)
            if (waiting.size === 0) settle()
          },
        )
      }
      if (waiting.size === 0) settle()
    })
    await isLate
    clearTimeout(late)
    for (const [index, sink] of waiting) leave(index, sink, `it was ${LAGGING_MS_MAX / 1_000} s behind the others`)
    if (this.#sinks.size < needed)
      throw new ObjectsUnavailable(
        `${this.#sinks.size} nodes can take it now, and ${needed} must: try again when more are linked`,
      )
  }

  /** Nodes that take it, by now. */
  get parties(): readonly string[] {
    return [...this.#sinks.values()].map(({ party }) => party)
  }

  /**
   * Resolves once all of it is on its way, and it is known what of.
   *
   * @param check Is told the digests before anything is kept: what it throws ends it.
   * @throws {ObjectsUnavailable}
   */
  async finish(check: (digests: readonly string[]) => void): Promise<ManifestPart> {
    if (this.#size !== this.#options.length) throw new RangeError('less came than was said')
    await this.#flush()
    await this.#tails.at(-1)
    const digests = (await this.#digests)?.end()
    this.#digests = undefined
    check((await digests) ?? [])
    return { blob: this.#blob, hashes: Buffer.concat(this.#hashes).toString('base64url'), size: this.#size }
  }

  /** Resolves once it is on the disks of as many as it takes. @param part What `finish` returned. @throws {ObjectsUnavailable} */
  async commit(part: ManifestPart): Promise<StoredBlob> {
    await this.#each((sink) => sink.commit())
    return { part, parties: this.parties, atMs: Date.now() }
  }

  /** Of what is left on disks, nothing is in the ledger: scrubbing removes it. */
  async abort(): Promise<void> {
    for (const sink of this.#sinks.values()) sink.abort()
    await Promise.allSettled(this.#tails)
    await this.#isOpen?.catch(() => {})
    for (const sink of this.#sinks.values()) sink.abort()
    this.#sinks.clear()
    this.#plain?.release()
    this.#plain = undefined
    await this.#digests?.then((going) => going.end()).catch(() => {})
  }
}

/** The shape of a part of a manifest. */
export const shapeOf = ({ size }: Pick<ManifestPart, 'size'>, data: number): BlobShape => new BlobShape(size, data)
