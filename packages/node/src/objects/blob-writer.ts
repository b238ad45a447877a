/**
 * One blob on its way to the nodes that hold it: cut, encrypted and coded in a thread, and written to all at the pace of those that keep up. A node
 * that fails, or holds the others up, is left out as long as enough are left; what it misses it fetches later.
 */
import { randomBytes } from 'node:crypto'
import { BlobShape, blobKey, type ManifestPart, OBJECT_SEGMENT_BYTES } from '@ringwall/vault'
import type { ObjectThread } from './object-thread.ts'
import type { ShardSink } from './shard-client.ts'

/** How long enough others wait for one that is slow. */
const LAGGING_MS_MAX = 5_000

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
  /** By index; undefined where there is no node. */
  readonly open: (blob: string, index: number) => Promise<ShardSink | undefined>
  /** A node that is left out. */
  readonly onFailed: (party: string, reason: string) => void
}

export interface StoredBlob {
  readonly part: ManifestPart
  /** Nodes that have it on disk. */
  readonly parties: readonly string[]
}

export class BlobWriter {
  readonly #options: BlobWriterOptions
  readonly #sinks = new Map<number, ShardSink>()
  readonly #blob = randomBytes(8).toString('hex')
  readonly #hashes: Uint8Array[] = []
  #buffer = new Uint8Array(0)
  #filled = 0
  #size = 0
  #number = 0
  #tail: Promise<void> = Promise.resolve()
  #isOpen: Promise<void> | undefined

  constructor(options: BlobWriterOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  /** Takes the next bytes; resolves when more may come. @throws {ObjectsUnavailable} */
  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      // What is last is only known when no more comes.
      if (this.#filled === OBJECT_SEGMENT_BYTES) await this.#flush(false)
      const count = Math.min(chunk.length - at, OBJECT_SEGMENT_BYTES - this.#filled)
      if (this.#buffer.length < this.#filled + count) this.#grow(this.#filled + count)
      this.#buffer.set(chunk.subarray(at, at + count), this.#filled)
      this.#filled += count
      at += count
    }
    this.#size += chunk.length
  }

  #grow(needed: number): void {
    const size = Math.min(
      OBJECT_SEGMENT_BYTES,
      Math.max(needed, 2 * this.#buffer.length, this.#number > 0 ? OBJECT_SEGMENT_BYTES : 65_536),
    )
    const grown = new Uint8Array(size)
    grown.set(this.#buffer.subarray(0, this.#filled))
    this.#buffer = grown
  }

  /** One segment is written while the next one is sealed. */
  async #flush(isLast: boolean): Promise<void> {
    const { thread, objectKey, about, data, shards } = this.#options
    const plain = this.#filled === this.#buffer.length ? this.#buffer : this.#buffer.slice(0, this.#filled)
    this.#buffer = new Uint8Array(0)
    this.#filled = 0
    const number = this.#number
    this.#number += 1
    const key = blobKey(objectKey, this.#blob)
    const sealing = thread.seal({ key, about, number, isLast, data, shards }, plain)
    key.fill(0)
    const before = this.#tail
    const next = (async () => {
      const [{ pieces, hashes }] = await Promise.all([sealing, before])
      this.#hashes.push(hashes)
      await this.#spread(pieces)
    })()
    next.catch(() => {})
    this.#tail = next
    await before
  }

  #begun(): Promise<void> {
    this.#isOpen ??= (async () => {
      const { shards, open } = this.#options
      await Promise.all(
        Array.from({ length: shards }, async (_, index) => {
          const sink = await open(this.#blob, index)
          if (sink !== undefined) this.#sinks.set(index, sink)
        }),
      )
    })()
    return this.#isOpen
  }

  async #spread(pieces: readonly Uint8Array[]): Promise<void> {
    await this.#begun()
    await this.#each((sink, index) => sink.write(pieces[index] as Uint8Array))
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

  /** Resolves once it is on the disks of as many as it takes. @throws {ObjectsUnavailable} */
  async finish(): Promise<StoredBlob> {
    await this.#flush(true)
    await this.#tail
    await this.#each((sink) => sink.commit())
    const hashes = Buffer.concat(this.#hashes).toString('base64url')
    const parties = [...this.#sinks.values()].map(({ party }) => party)
    return { part: { blob: this.#blob, hashes, size: this.#size }, parties }
  }

  /** Of what is left on disks, nothing is in the ledger: scrubbing removes it. */
  async abort(): Promise<void> {
    await this.#tail.catch(() => {})
    await this.#isOpen?.catch(() => {})
    for (const sink of this.#sinks.values()) sink.abort()
    this.#sinks.clear()
    this.#buffer.fill(0)
  }
}

/** The shape of a part of a manifest. */
export const shapeOf = ({ size }: Pick<ManifestPart, 'size'>, data: number): BlobShape => new BlobShape(size, data)
