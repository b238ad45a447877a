/**
 * The shards that this node holds, in an S3 bucket of somebody else. Whoever has the bucket has ciphertext, in pieces that are too few; what they change,
 * swap or put back as it was, the hashes of the manifest tell. Manifests, with the capsules that open, stay on this node's disk: a bucket that keeps
 * what was deleted keeps nothing that opens.
 *
 *     PREFIX RING/NODE/VERSION/BLOB.INDEX       RING: the first 16 digits of the ring's id
 *     DATA/objects/                             manifests, and repairs on their way (`shard-folder.ts`)
 *
 * What the bucket has is listed when the node starts and every so often, and known in between; a bucket that does not answer makes every call fail at
 * once for some seconds, so that whoever reads goes elsewhere.
 */
import type { IncomingMessage } from 'node:http'
import { type BucketClient, BucketFault } from './bucket-client.ts'
import { BodyReader } from './pour.ts'
import type { ShardFolder } from './shard-folder.ts'
import {
  FolderFull,
  type HeldShard,
  type OpenShard,
  type RepairWriter,
  type ShardStore,
  type ShardWriter,
  StoreAway,
} from './shard-store.ts'

/** Of an upload in parts: all are as long, as some servers will have it, and 10,000 of them are more than any shard. */
const PART_BYTES = 8_388_608
/** Read of a shard on the disk at a time. */
const RUN_BYTES = 1_048_576
/** Shards that come in at a time: each holds up to one part in memory. */
const WRITERS_MAX = 24
/** After a failure nothing is asked for so long. */
const REST_MS = 5_000
const NAME = /^([0-9a-f]{32})\/([0-9a-f]{16})\.([0-7])$/
const VERSION = /^[0-9a-f]{32}$/

export interface ShardBucketOptions {
  readonly client: BucketClient
  /** For people. */
  readonly where: string
  /** Of all keys; ends in `/`. */
  readonly prefix: string
  readonly bytesMax: number
  /** What there is in the bucket is listed anew so often. */
  readonly listMs: number
  /** Uploads in parts that are so old are given up. */
  readonly residueMs: number
  readonly say: (level: 'info' | 'warn', line: string) => void
  readonly now?: () => number
}

interface Entry {
  readonly bytes: number
  readonly atMs: number
}

export class ShardBucket implements ShardStore {
  readonly where: string
  readonly #options: ShardBucketOptions
  readonly #local: ShardFolder
  /** By version, and `BLOB.INDEX`. */
  #known = new Map<string, Map<string, Entry>>()
  #bytes = 0
  #coming = 0
  #writers = 0
  /** What changed while a list was under way. */
  #changes: Map<string, Entry | undefined> | undefined
  #listing: Promise<void> | undefined
  #listedAtMs: number | undefined
  #away: { readonly sinceMs: number; readonly reason: string } | undefined
  /** By `performance.now()`. */
  #askAgainAtMs = 0
  #saidRefused = false
  #answeredAtMs = Number.NEGATIVE_INFINITY

  constructor(local: ShardFolder, options: ShardBucketOptions) {
    this.#local = local
    this.#options = options
    this.where = options.where
  }

  get bytes(): number {
    return this.#bytes + this.#local.bytes
  }

  get away(): { readonly sinceMs: number; readonly reason: string } | undefined {
    return this.#away
  }

  stop(): void {
    this.#options.client.stop()
  }

  #now(): number {
    return (this.#options.now ?? Date.now)()
  }

  #key(version: string, name: string): string {
    if (!NAME.test(`${version}/${name}`)) throw new RangeError('no name of a shard')
    return `${this.#options.prefix}${version}/${name}`
  }

  /** Asks the bucket, unless it failed a moment ago. @throws {StoreAway} */
  async #ask<T>(work: () => Promise<T>): Promise<T> {
    if (this.#away !== undefined && performance.now() < this.#askAgainAtMs) throw new StoreAway(this.#away.reason)
    // Of those that would ask again, one does.
    this.#askAgainAtMs = performance.now() + REST_MS
    try {
      const answer = await work()
      this.#answered()
      return answer
    } catch (error) {
      if (!(error instanceof BucketFault)) throw error
      this.#failed(error.message)
      throw new StoreAway(error.message)
    }
  }

  /** A bucket that lets nothing be removed can be read all the same. @throws {StoreAway} */
  async #remove(version: string, name: string): Promise<void> {
    let refused: BucketFault | undefined
    await this.#ask(async () => {
      try {
        await this.#options.client.remove(this.#key(version, name))
      } catch (error) {
        if (!(error instanceof BucketFault) || error.s3Code === undefined) throw error
        refused = error
      }
    })
    if (refused === undefined) this.#note(version, name, undefined)
    else {
      if (!this.#saidRefused) this.#options.say('warn', `a shard that is to go stays: ${refused.message}`)
      this.#saidRefused = true
      throw new StoreAway(refused.message)
    }
  }

  #answered(): void {
    this.#answeredAtMs = performance.now()
    if (this.#away === undefined) return
    this.#options.say('info', `${this.where} answers again`)
    this.#away = undefined
  }

  #failed(reason: string): void {
    this.#askAgainAtMs = performance.now() + REST_MS
    if (this.#away === undefined)
      this.#options.say('warn', `the shards of this node cannot be had: ${reason}. Others’ are read meanwhile`)
    this.#away = { sinceMs: this.#away?.sinceMs ?? this.#now(), reason }
  }

  async isThere(): Promise<boolean> {
    if (this.#away === undefined && performance.now() - this.#answeredAtMs < REST_MS) return true
    return this.#ask(() => this.#options.client.probe(this.#options.prefix)).then(
      () => true,
      () => false,
    )
  }

  /** Lists when it was never done; that it is old is for `tend`. @throws {StoreAway} */
  async #listed(): Promise<void> {
    if (this.#listedAtMs === undefined) await this.#list()
  }

  #list(): Promise<void> {
    this.#listing ??= this.#ask(() => this.#listAll()).finally(() => {
      this.#listing = undefined
    })
    return this.#listing
  }

  async #listAll(): Promise<void> {
    const { client, prefix } = this.#options
    const found = new Map<string, Entry>()
    const changes = new Map<string, Entry | undefined>()
    this.#changes = changes
    try {
      for await (const { key, bytes, atMs } of client.list(prefix)) {
        const name = key.slice(prefix.length)
        if (NAME.test(name)) found.set(name, { bytes, atMs })
      }
    } finally {
      this.#changes = undefined
    }
    for (const [name, entry] of changes) {
      if (entry === undefined) found.delete(name)
      else found.set(name, entry)
    }
    this.#known = new Map()
    this.#bytes = 0
    for (const [name, entry] of found) this.#note(name.slice(0, 32), name.slice(33), entry)
    this.#listedAtMs = performance.now()
  }

  #note(version: string, name: string, entry: Entry | undefined): void {
    this.#changes?.set(`${version}/${name}`, entry)
    const names = this.#known.get(version) ?? new Map<string, Entry>()
    this.#bytes += (entry?.bytes ?? 0) - (names.get(name)?.bytes ?? 0)
    if (entry === undefined) names.delete(name)
    else names.set(name, entry)
    if (names.size > 0) this.#known.set(version, names)
    else this.#known.delete(version)
  }

  /** Lists, brings shards that lie on the disk into the bucket, and gives up old uploads. */
  async tend(signal: AbortSignal): Promise<void> {
    try {
      const isOld = this.#listedAtMs === undefined || performance.now() - this.#listedAtMs > this.#options.listMs
      if (isOld) {
        await this.#list()
        await this.#abandonOld()
      }
      for await (const version of this.#local.versions())
        for (const { blob, index, bytes } of await this.#local.held(version)) {
          if (signal.aborted) return
          await this.#bring(version, blob, index, bytes)
        }
    } catch (error) {
      // What is left is done when the bucket answers again.
      if (!(error instanceof StoreAway) && !(error instanceof FolderFull)) throw error
    }
  }

  async #abandonOld(): Promise<void> {
    const { client, prefix, residueMs } = this.#options
    // Some servers do not list uploads: theirs end by a rule of the bucket.
    const uploads = await client.uploads(prefix).catch(() => [])
    for (const { key, upload, atMs } of uploads)
      if (this.#now() - atMs > residueMs) await this.#ask(() => client.abandon(key, upload))
  }

  /** From the disk into the bucket. */
  async #bring(version: string, blob: string, index: number, bytes: number): Promise<void> {
    const shard = await this.#local.openShard(version, blob, index)
    if (shard === undefined) return
    try {
      const writer = await this.receive(version, blob, index)
      try {
        const run = Buffer.allocUnsafeSlow(Math.min(RUN_BYTES, bytes))
        for (let at = 0; at < bytes; at += run.length) {
          const piece = run.subarray(0, bytes - at)
          if (!(await shard.readInto(at, piece))) throw new Error('a shard on this disk became shorter')
          await writer.write(piece)
        }
        await writer.commit()
      } finally {
        await writer.abort()
      }
    } finally {
      await shard.close()
    }
    await this.#local.removeShard(version, blob, index)
  }

  async *versions(): AsyncGenerator<string> {
    await this.#listed()
    const seen = new Set<string>()
    for await (const version of this.#local.versions()) {
      seen.add(version)
      yield version
    }
    for (const version of [...this.#known.keys()]) if (!seen.has(version)) yield version
  }

  async touchedAtMs(version: string): Promise<number | undefined> {
    await this.#listed()
    const times = [...(this.#known.get(version)?.values() ?? [])].map(({ atMs }) => atMs)
    const own = await this.#local.touchedAtMs(version)
    if (own !== undefined) times.push(own)
    return times.length === 0 ? undefined : Math.max(...times)
  }

  async held(version: string): Promise<readonly HeldShard[]> {
    await this.#listed()
    const found = [...(this.#known.get(version) ?? [])].map(([name, { bytes }]) => {
      const [blob = '', index] = name.split('.')
      return { blob, index: Number(index), bytes }
    })
    const own = await this.#local.held(version)
    return [...found, ...own.filter((one) => !found.some(({ blob, index }) => blob === one.blob && index === one.index))]
  }

  manifest(version: string): Promise<Uint8Array | undefined> {
    return this.#local.manifest(version)
  }

  putManifest(version: string, bytes: Uint8Array): Promise<void> {
    return this.#local.putManifest(version, bytes)
  }

  async receive(version: string, blob: string, index: number): Promise<ShardWriter> {
    if (!VERSION.test(version)) throw new RangeError('no id of a version')
    const name = `${blob}.${index}`
    const key = this.#key(version, name)
    await this.#listed()
    if (this.#writers >= WRITERS_MAX) throw new StoreAway(`${WRITERS_MAX} shards are on their way into ${this.where}`)
    this.#writers += 1
    return new BucketWriter(this.#options.client, key, (work) => this.#ask(work), {
      need: (bytes) => {
        if (this.bytes + this.#coming + bytes > this.#options.bytesMax)
          throw new FolderFull(
            `the objects of this node have ${this.#options.bytesMax} bytes, and no more are allowed (objects.bytesMax)`,
          )
        this.#coming += bytes
      },
      end: (bytes, isKept) => {
        this.#writers -= 1
        this.#coming -= bytes
        if (isKept) this.#note(version, name, { bytes, atMs: this.#now() })
      },
    })
  }

  /** On the disk until it is whole: what a repair made must be there to go on from. */
  async repair(version: string, blob: string, index: number): Promise<RepairWriter> {
    await this.#listed()
    const writer = await this.#local.repair(version, blob, index)
    return {
      get bytes() {
        return writer.bytes
      },
      write: (piece) => writer.write(piece),
      read: (start, length) => writer.read(start, length),
      cut: (bytes) => writer.cut(bytes),
      abort: () => writer.abort(),
      rest: () => writer.rest(),
      commit: async () => {
        const { bytes } = writer
        await writer.commit()
        await this.#bring(version, blob, index, bytes)
      },
    }
  }

  async openShard(version: string, blob: string, index: number, until?: number): Promise<OpenShard | undefined> {
    const own = await this.#local.openShard(version, blob, index)
    if (own !== undefined) return own
    const name = `${blob}.${index}`
    const key = this.#key(version, name)
    await this.#listed()
    const entry = this.#known.get(version)?.get(name)
    if (entry === undefined) return undefined
    return new BucketShard(Math.min(until ?? entry.bytes, entry.bytes), async (start, length) => {
      const stream = await this.#ask(() => this.#options.client.get(key, start, length))
      // The list said that it is there: whoever has the bucket took it away, or cut it.
      if (stream === undefined) this.#note(version, name, undefined)
      return stream
    })
  }

  async removeShard(version: string, blob: string, index: number): Promise<void> {
    const name = `${blob}.${index}`
    await this.#local.removeShard(version, blob, index)
    await this.#remove(version, name)
  }

  async erase(version: string): Promise<void> {
    await this.#local.erase(version)
    await this.#listed()
    for (const name of [...(this.#known.get(version)?.keys() ?? [])]) await this.#remove(version, name)
  }
}

/** A shard of the bucket, read as one stream as long as it is read in order. */
class BucketShard implements OpenShard {
  readonly #until: number
  readonly #get: (start: number, length: number) => Promise<IncomingMessage | undefined>
  #stream: IncomingMessage | undefined
  #reader: BodyReader | undefined
  #at = 0

  constructor(until: number, get: (start: number, length: number) => Promise<IncomingMessage | undefined>) {
    this.#until = until
    this.#get = get
  }

  async readInto(start: number, room: Uint8Array): Promise<boolean> {
    if (start + room.length > this.#until) return false
    // A stream that lay still may have been cut by the server: it is begun once more.
    if (this.#reader !== undefined && this.#at === start && (await this.#take(room).catch(() => false))) return true
    await this.close()
    this.#stream = await this.#get(start, this.#until - start)
    if (this.#stream === undefined) return false
    this.#reader = new BodyReader(this.#stream)
    this.#at = start
    const isWhole = await this.#take(room).catch((error: Error) => {
      throw new StoreAway(error.message)
    })
    if (!isWhole) throw new StoreAway('the bucket sent less than it said')
    return true
  }

  async #take(room: Uint8Array): Promise<boolean> {
    if ((await (this.#reader as BodyReader).fill(room)) < room.length) return false
    this.#at += room.length
    return true
  }

  async close(): Promise<void> {
    this.#stream?.destroy()
    this.#stream = undefined
    this.#reader = undefined
  }
}

interface WriterEnds {
  /** @throws {FolderFull} */
  need(bytes: number): void
  end(bytes: number, isKept: boolean): void
}

/** One request for a shard that is no longer than a part; parts, sent at the pace of the bucket, for others. */
class BucketWriter implements ShardWriter {
  readonly #client: BucketClient
  readonly #key: string
  readonly #ask: <T>(work: () => Promise<T>) => Promise<T>
  readonly #ends: WriterEnds
  readonly #etags: string[] = []
  /** The part that is being filled: what is written is used again by who wrote it. */
  #part = Buffer.alloc(0)
  #held = 0
  #bytes = 0
  #upload: string | undefined
  #isOver = false

  constructor(client: BucketClient, key: string, ask: <T>(work: () => Promise<T>) => Promise<T>, ends: WriterEnds) {
    this.#client = client
    this.#key = key
    this.#ask = ask
    this.#ends = ends
  }

  async write(piece: Uint8Array): Promise<void> {
    if (this.#isOver) throw new StoreAway('the shard is given up')
    this.#ends.need(piece.length)
    this.#bytes += piece.length
    for (let at = 0; at < piece.length; ) {
      if (this.#held === PART_BYTES) await this.#sendPart()
      const count = Math.min(piece.length - at, PART_BYTES - this.#held)
      this.#makeRoom(this.#held + count)
      this.#part.set(piece.subarray(at, at + count), this.#held)
      this.#held += count
      at += count
    }
  }

  #makeRoom(bytes: number): void {
    if (this.#part.length >= bytes) return
    const grown = Buffer.allocUnsafeSlow(Math.min(PART_BYTES, Math.max(bytes, 2 * this.#part.length)))
    grown.set(this.#part.subarray(0, this.#held))
    this.#part = grown
  }

  async #sendPart(): Promise<void> {
    this.#upload ??= await this.#ask(() => this.#client.begin(this.#key))
    const [upload, number, body] = [this.#upload, this.#etags.length + 1, this.#part.subarray(0, this.#held)]
    this.#etags.push(await this.#ask(() => this.#client.putPart(this.#key, upload, number, body)))
    this.#held = 0
  }

  async commit(): Promise<void> {
    if (this.#isOver) throw new StoreAway('the shard is given up')
    if (this.#upload === undefined) await this.#ask(() => this.#client.put(this.#key, this.#part.subarray(0, this.#held)))
    else {
      if (this.#held > 0) await this.#sendPart()
      const upload = this.#upload
      await this.#ask(() => this.#client.complete(this.#key, upload, this.#etags))
    }
    this.#end(true)
  }

  async abort(): Promise<void> {
    if (this.#isOver) return
    this.#end(false)
    const upload = this.#upload
    // One that stays is given up when it is old.
    if (upload !== undefined) await this.#ask(() => this.#client.abandon(this.#key, upload)).catch(() => {})
  }

  #end(isKept: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#part = Buffer.alloc(0)
    this.#ends.end(this.#bytes, isKept)
  }
}
