/**
 * Keeps what this node holds as it ought to be, without a command: what it is to hold and has not, or has wrongly, it fetches or makes anew from
 * others' shards; what it holds and others are to, it lets go of once they have it; what the ledger does not know any more, it erases.
 *
 * Each node looks after itself. Who is to hold what follows from the ledger and from who is there (`placement.ts`), so that nobody coordinates:
 * what two nodes see differently for a while costs a copy, never the last one. Passes are resumable, since each begins with what is on disk, and
 * a repair goes on behind the last right piece.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bucket, ObjectVersion } from '@ringwall/ring'
import { BlobShape, type Manifest, type ManifestPart, PartHashes, parseManifest, sha256Hex, VaultError } from '@ringwall/vault'
import { ByteRate } from './byte-rate.ts'
import { type HealStanding, HealTally } from './heal-tally.ts'
import { MendPlan, type MendStatus } from './mend-plan.ts'
import type { ObjectService } from './object-service.ts'
import type { ObjectThread } from './object-thread.ts'
import type { ShardClient } from './shard-client.ts'
import { FolderFull, type HeldShard, type ShardStore, StoreAway } from './shard-store.ts'

/** Versions of which nothing was looked at in this pass, at a time, before others have their turn. */
const SLICE = 64
/** Shards of others that are looked at in one pass, and from which age on. */
const AUDITS = 8
const AUDITED_FROM_MS = 60_000

export interface HealerSettings {
  /** Between passes. */
  readonly everyMs: number
  /** Each shard is read and compared with its hashes so often. */
  readonly scrubMs: number
  readonly scrubBytesPerSecond: number
  readonly repairBytesPerSecond: number
  /** What no version of the ledger names is removed when it is so old by the ring's time: longer than what was asked of the ring may wait for it. */
  readonly residueMs: number
}

export interface HealerOptions {
  readonly self: string
  readonly settings: HealerSettings
  readonly folder: ShardStore
  readonly client: ShardClient
  readonly thread: ObjectThread
  readonly service: ObjectService
  /** Done before each pass. */
  readonly look: () => Promise<void>
  /** This node's view is that of the ring, as far as it knows. */
  readonly isCurrent: () => boolean
  /** When the last block that this node knows was made, Unix milliseconds. */
  readonly agreedAtMs: () => number
  readonly say: (level: 'info' | 'warn', line: string) => void
  readonly now?: () => number
}

/** What the last whole pass found, and what was done. */
export interface HealStatus extends HealStanding {
  /** Since this node started. */
  readonly repaired: number
  readonly corrupt: number
  readonly erased: number
  readonly moved: number
  readonly scrubbedBytes: number
  readonly repairedBytes: number
  /** What it repairs now; null: nothing. */
  readonly repairing: { readonly version: string; readonly index: number; readonly bytes: number; readonly of: number } | null
  /** All that it makes anew in this pass, and how far it is; null: nothing. */
  readonly mending: MendStatus | null
  /** When the last whole pass ended, Unix milliseconds; null: none yet. */
  readonly passedAtMs: number | null
}

/** Shards that are there, and are to be compared with their hashes. */
interface Due {
  readonly version: ObjectVersion
  readonly bucket: Bucket
  readonly index: number
}

export class Healer {
  readonly #options: HealerOptions
  readonly #scrubRate: ByteRate
  readonly #repairRate: ByteRate
  /** When a shard was last compared with its hashes. */
  readonly #scrubbed = new Map<string, { readonly atMs: number; readonly files: number }>()
  /** Versions that the ledger had, and that are on this disk. */
  readonly #known = new Set<string>()
  readonly #stopped = new AbortController()
  #counts = { repaired: 0, corrupt: 0, erased: 0, moved: 0, scrubbedBytes: 0, repairedBytes: 0 }
  /** Of the last whole pass, which goes on while shards are compared. */
  #last = new HealTally()
  #repairing: HealStatus['repairing'] = null
  #plan: MendPlan | undefined
  #passedAtMs: number | null = null
  /** How far shards were compared when something else came first: segments, by version, blob and index. */
  readonly #reached = new Map<string, number>()
  #isHurried = false
  #running: Promise<void> | undefined
  #wake: (() => void) | undefined

  constructor(options: HealerOptions) {
    this.#options = options
    this.#scrubRate = new ByteRate(options.settings.scrubBytesPerSecond)
    this.#repairRate = new ByteRate(options.settings.repairBytesPerSecond)
  }

  get status(): HealStatus {
    const mending = this.#plan?.status(this.#repairing?.bytes ?? 0) ?? null
    return { ...this.#last.standing, ...this.#counts, repairing: this.#repairing, mending, passedAtMs: this.#passedAtMs }
  }

  /** Plaintext of all versions by bucket, as the last whole pass met them; undefined: there was none yet. */
  get bucketBytes(): ReadonlyMap<string, number> | undefined {
    return this.#passedAtMs === null ? undefined : this.#last.bucketBytes
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#wake?.()
    await this.#running
  }

  /** Has the next pass begin soon: what is only read and compared waits for it. */
  hurry(): void {
    this.#isHurried = true
    this.#wake?.()
  }

  /** Its own shard was wrong when it was read: it is compared soon, and not when its turn comes. */
  doubt(version: string, index: number): void {
    if (this.#scrubbed.delete(`${version}.${index}`)) this.hurry()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped
    while (!signal.aborted) {
      try {
        if (this.#options.isCurrent()) await this.pass()
      } catch (error) {
        this.#options.say('warn', `a pass over the objects ended early: ${(error as Error).message}`)
      }
      await new Promise<void>((settle) => {
        const timer = setTimeout(settle, this.#options.settings.everyMs)
        this.#wake = () => {
          clearTimeout(timer)
          settle()
        }
        if (signal.aborted) this.#wake()
      })
      // Several changes that come together are one.
      await sleep(50)
    }
  }

  #now(): number {
    return (this.#options.now ?? Date.now)()
  }

  /** One pass over all that is in the ledger, and all that is on this disk: what is missing first, then what is to be compared. */
  async pass(): Promise<void> {
    const { service, folder, look } = this.#options
    this.#isHurried = false
    const due: Due[] = []
    await look()
    await folder.tend(this.#stopped.signal)
    await this.#eraseUnknown().catch(passStoreAway)
    await this.#audit()
    const tally = new HealTally()
    let at = 0
    try {
      for (const { bucket: name, version } of service.state.objects.versions()) {
        if (this.#stopped.signal.aborted) return
        at += 1
        if (at % SLICE === 0) await new Promise(setImmediate)
        tally.met(name, version.size)
        const bucket = service.state.objects.bucket(name)
        // The ledger goes on meanwhile.
        if (bucket !== undefined && service.state.objects.version(version.id) !== undefined)
          await this.#heal(version, bucket, tally, due)
      }
      this.#plan = undefined
      this.#last = tally
      this.#passedAtMs = this.#now()
      for (const one of due) {
        if (this.#stopped.signal.aborted || this.#isHurried) break
        if (service.state.objects.version(one.version.id) !== undefined) await this.#scrub(one, tally)
        this.#plan = undefined
      }
    } finally {
      this.#plan = undefined
    }
  }

  /** What this node is to hold and has nothing of, with sizes as they are usual: the manifests say it exactly, later. */
  async #survey(): Promise<MendPlan> {
    const { self, folder, service } = this.#options
    const plan = new MendPlan()
    let at = 0
    for (const { bucket: name, version } of service.state.objects.versions()) {
      if (this.#stopped.signal.aborted) break
      at += 1
      if (at % SLICE === 0) await new Promise(setImmediate)
      const bucket = service.state.objects.bucket(name)
      const index = bucket === undefined ? -1 : service.placed(version.id, bucket).indexOf(self)
      if (bucket === undefined || index < 0) continue
      const held = await folder.held(version.id)
      if (!held.some((one) => one.index === index)) plan.want(version.id, new BlobShape(version.size, bucket.data).shardBytes)
    }
    return plan
  }

  async #eraseUnknown(): Promise<void> {
    const { folder, service, settings, agreedAtMs, say } = this.#options
    for await (const version of folder.versions()) {
      if (this.#stopped.signal.aborted) return
      // Before the state: a put that comes with a later block is too late for that block by then.
      const atMs = Math.min(this.#now(), agreedAtMs())
      if (service.state.objects.version(version) !== undefined) {
        this.#known.add(version)
        continue
      }
      const touchedAtMs = (await folder.touchedAtMs(version)) ?? 0
      if (!this.#known.has(version) && atMs - touchedAtMs < settings.residueMs) continue
      const isErased = await folder.erase(version).then(
        () => true,
        (error: unknown) => {
          passStoreAway(error)
          return false
        },
      )
      if (!isErased) continue
      for (const known of [this.#scrubbed, this.#reached])
        for (const name of known.keys()) if (name.startsWith(version)) known.delete(name)
      this.#counts.erased += 1
      if (!this.#known.delete(version)) say('info', `removed what was left of ${version}, which was never acknowledged`)
    }
  }

  /** Pieces of others, at random: a node that lost or changed what it is to hold is named before somebody needs it. */
  async #audit(): Promise<void> {
    const { service, self } = this.#options
    const all = [...service.state.objects.versions()]
    for (let done = 0; done < Math.min(AUDITS, all.length); done += 1) {
      if (this.#stopped.signal.aborted) return
      const { bucket: name, version } = all[Math.floor(Math.random() * all.length)] as (typeof all)[number]
      const bucket = service.state.objects.bucket(name)
      // What was put a moment ago may be on its way.
      if (bucket === undefined || this.#now() - version.atMs < AUDITED_FROM_MS) continue
      const places = service.places(version.id, bucket).filter(({ party }) => party !== self)
      const place = places[Math.floor(Math.random() * places.length)]
      if (place === undefined) continue
      const manifest = await service.manifest(version, bucket).catch(() => undefined)
      if (manifest === undefined) continue
      const said = await this.#isRight(place.party, manifest, place.index)
      if (said === false) service.fault(place.party, version.id, place.index, 'wrong')
    }
  }

  async #heal(version: ObjectVersion, bucket: Bucket, tally: HealTally, due: Due[]): Promise<void> {
    const { self, folder, service } = this.#options
    const index = service.placed(version.id, bucket).indexOf(self)
    if (index >= 0) tally.shards += 1
    try {
      const held = await folder.held(version.id)
      if (index < 0 && held.length === 0) return
      const whole = this.#scrubbed.get(`${version.id}.${index}`)
      const others = held.filter((shard) => shard.index !== index)
      // Nothing to do, as is usual: nothing is read for it.
      if (whole !== undefined && others.length === 0 && held.length === whole.files)
        if (this.#now() - whole.atMs < this.#options.settings.scrubMs) {
          tally.compared(whole.atMs)
          return
        }
      const manifest = await this.#manifest(version, bucket, index >= 0)
      if (index >= 0) {
        const missing = manifest.parts.filter((part) => !isThere(held, manifest, part, index))
        let isWhole = true
        if (missing.length > 0) {
          this.#plan ??= await this.#survey()
          this.#plan.want(
            version.id,
            missing.reduce((sum, { size }) => sum + new BlobShape(size, manifest.data).shardBytes, 0),
          )
        }
        for (const part of missing) if (!(await this.#make(manifest, part, bucket, index))) isWhole = false
        if (!isWhole) tally.missing += 1
        else if (missing.length === manifest.parts.length) this.#isRightNow(manifest, index, tally)
        else {
          tally.uncompared += 1
          due.push({ version, bucket, index })
        }
      }
      await this.#removeStray(version.id, manifest, held)
      if (others.length > 0) await this.#letGo(manifest, bucket, index, others)
    } catch (error) {
      if (error instanceof VaultError || error instanceof FolderFull || error instanceof StoreAway) {
        if (index >= 0) tally.missing += 1
        tally.wait(version.id, error)
        return
      }
      throw error
    }
  }

  async #manifest(version: ObjectVersion, bucket: Bucket, isToKeep: boolean): Promise<Manifest> {
    const { folder, service, say } = this.#options
    const own = await folder.manifest(version.id)
    if (own !== undefined && sha256Hex(own) === version.manifest) return parseManifest(own)
    const bytes = await service.manifestBytes(version.id, version.manifest, bucket)
    if (own !== undefined) {
      this.#counts.corrupt += 1
      say('warn', `the manifest of ${version.id} on this node was changed; it is fetched anew`)
    }
    if (isToKeep) await folder.putManifest(version.id, bytes)
    return parseManifest(bytes)
  }

  #isRightNow({ version, parts }: Manifest, index: number, tally: HealTally): void {
    const atMs = this.#now()
    this.#scrubbed.set(`${version}.${index}`, { atMs, files: parts.length })
    tally.compared(atMs)
  }

  /** Makes it, and says whether it is there now. */
  async #make(manifest: Manifest, part: ManifestPart, bucket: Bucket, index: number): Promise<boolean> {
    await this.#repair(manifest, part, bucket, index)
    if (!isThere(await this.#options.folder.held(manifest.version), manifest, part, index)) return false
    this.#plan?.made(manifest.version, new BlobShape(part.size, manifest.data).shardBytes)
    return true
  }

  /** Compares what is there with its hashes, and makes anew what is wrong. */
  async #scrub({ version, bucket, index }: Due, tally: HealTally): Promise<void> {
    const { self, say } = this.#options
    try {
      const manifest = await this.#manifest(version, bucket, true)
      for (const part of manifest.parts) {
        const wrong = await this.#firstWrong(manifest, part, index)
        if (wrong === 'later') return
        if (wrong === undefined) continue
        const what = `shard ${index} of ${manifest.version}`
        this.#counts.corrupt += 1
        say('warn', `${self} holds a changed ${what} (segment ${wrong}): it is made anew`)
        tally.missing += 1
        this.#plan ??= new MendPlan()
        this.#plan.want(manifest.version, new BlobShape(part.size, manifest.data).shardBytes)
        if (!(await this.#make(manifest, part, bucket, index))) return
        tally.missing -= 1
      }
      for (const { blob } of manifest.parts) this.#reached.delete(`${manifest.version}.${blob}.${index}`)
      this.#isRightNow(manifest, index, tally)
      tally.uncompared -= 1
    } catch (error) {
      if (!(error instanceof VaultError || error instanceof FolderFull || error instanceof StoreAway)) throw error
      tally.wait(version.id, error)
    }
  }

  /** Number of the first segment whose piece is wrong; undefined: all is right; `later`: something else comes first. */
  async #firstWrong(manifest: Manifest, part: ManifestPart, index: number): Promise<number | 'later' | undefined> {
    const { folder, thread } = this.#options
    const shape = new BlobShape(part.size, manifest.data)
    const hashes = new PartHashes(part, manifest.shards)
    const name = `${manifest.version}.${part.blob}.${index}`
    const shard = await folder.openShard(manifest.version, part.blob, index)
    // It was let go of, or deleted, meanwhile: the next pass knows.
    if (shard === undefined) return 'later'
    try {
      for (let number = this.#reached.get(name) ?? 0; number < shape.segments; number += 1) {
        this.#reached.set(name, number)
        if (this.#isHurried || this.#stopped.signal.aborted) return 'later'
        const length = shape.pieceBytes(number)
        await this.#scrubRate.take(length, this.#stopped.signal)
        const piece = thread.slabs.take(length)
        try {
          if (!(await shard.readInto(shape.pieceStart(number), piece.bytes)))
            return isThere(await folder.held(manifest.version), manifest, part, index) ? number : 'later'
          if (!hashes.isHash(number, index, await thread.hash(piece.bytes))) return number
        } finally {
          piece.release()
        }
        this.#counts.scrubbedBytes += length
      }
      this.#reached.set(name, shape.segments)
      return undefined
    } finally {
      await shard.close()
    }
  }

  /**
   * Makes a shard: as it is from who has it, or else of others' shards.
   *
   * @throws {VaultError} VAULT_SHORT when too few can be had now; what was made stays for the next pass.
   */
  async #repair(manifest: Manifest, part: ManifestPart, bucket: Bucket, index: number): Promise<void> {
    const { folder, service, thread, say } = this.#options
    const { version, data, shards } = manifest
    const shape = new BlobShape(part.size, data)
    const hashes = new PartHashes(part, shards)
    const writer = await folder.repair(version, part.blob, index)
    try {
      let number = await resumedAt(writer, shape, hashes, index)
      const of = shape.shardBytes
      const source = number < shape.segments ? await this.#wholeCopy(manifest, part, index) : undefined
      const reader = service.pieceReader(manifest, part, bucket, number, shape.segments, { index, party: this.#options.self })
      try {
        for (; number < shape.segments; number += 1) {
          this.#repairing = { version, index, bytes: writer.bytes, of }
          const length = shape.pieceBytes(number)
          await this.#repairRate.take(length, this.#stopped.signal)
          if (service.state.objects.version(version) === undefined) throw new VaultError('VAULT_SHORT', 'it was deleted')
          const copied = source === undefined ? undefined : await source(number).catch(() => undefined)
          if (copied !== undefined && hashes.fits(number, index, copied)) await writer.write(copied)
          else {
            const made = thread.slabs.take(length)
            const { pieces, release } = await reader.pieces(number)
            try {
              await thread.restore({ data, shards }, pieces, index, made.bytes)
              // What the pieces that were put together do not come to, their author made wrong from the start.
              if (!hashes.isHash(number, index, await thread.hash(made.bytes)))
                throw new VaultError(
                  'VAULT_CORRUPT',
                  `the shards of ${version} do not belong together: whoever put it made them wrong`,
                )
              await writer.write(made.bytes)
            } finally {
              release()
              made.release()
            }
          }
          this.#counts.repairedBytes += length
        }
      } finally {
        reader.end()
      }
      await writer.commit()
      this.#counts.repaired += 1
      say('info', `shard ${index} of ${version} is whole again on this node`)
    } finally {
      this.#repairing = null
      await writer.rest()
    }
  }

  /** From a node that holds this very shard: less to carry than what makes it. */
  async #wholeCopy(
    manifest: Manifest,
    part: ManifestPart,
    index: number,
  ): Promise<((number: number) => Promise<Uint8Array | undefined>) | undefined> {
    const { service, client, self } = this.#options
    const found = await service.whereabouts(manifest.version, part.blob)
    const place = found.find((one) => one.index === index && one.party !== self)
    if (place === undefined) return undefined
    const shape = new BlobShape(part.size, manifest.data)
    return async (number) => {
      const [start, length] = [shape.pieceStart(number), shape.pieceBytes(number)]
      const response = await client.shard(place.party, manifest.version, part.blob, index, start, length)
      if (response === undefined) return undefined
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk as Buffer)
      return Buffer.concat(chunks)
    }
  }

  /** Parts that were put again before the object was: no manifest names them. */
  async #removeStray(version: string, { parts }: Manifest, held: readonly { blob: string; index: number }[]): Promise<void> {
    const named = new Set(parts.map(({ blob }) => blob))
    for (const { blob, index } of held) if (!named.has(blob)) await this.#options.folder.removeShard(version, blob, index)
  }

  /** Shards that others are to hold go once those have them. */
  async #letGo(
    manifest: Manifest,
    bucket: Bucket,
    own: number,
    others: readonly { readonly blob: string; readonly index: number }[],
  ): Promise<void> {
    const { folder, client, service, self } = this.#options
    const placed = service.placed(manifest.version, bucket)
    for (const index of new Set(others.map((one) => one.index))) {
      const party = placed[index]
      if (party === undefined || party === self) continue
      const theirs = await client.held(party, manifest.version).catch(() => undefined)
      const shape = (part: ManifestPart): number => new BlobShape(part.size, manifest.data).shardBytes
      const isThere = manifest.parts.every((part) =>
        theirs?.shards.some((one) => one.blob === part.blob && one.index === index && one.bytes === shape(part)),
      )
      if (theirs?.manifest !== true || !isThere || (await this.#isRight(party, manifest, index)) !== true) continue
      for (const { blob, index: held } of others) if (held === index) await folder.removeShard(manifest.version, blob, index)
      this.#counts.moved += 1
    }
    if (own < 0 && (await folder.held(manifest.version)).length === 0) await folder.erase(manifest.version)
  }

  /** Saying that one has it is easy: a piece of each part, at random, has to be right. Undefined: it cannot be asked, or has none. */
  async #isRight(party: string, manifest: Manifest, index: number): Promise<boolean | undefined> {
    const { client } = this.#options
    for (const part of manifest.parts.slice(0, 16)) {
      const shape = new BlobShape(part.size, manifest.data)
      const number = Math.floor(Math.random() * shape.segments)
      const [start, length] = [shape.pieceStart(number), shape.pieceBytes(number)]
      try {
        const response = await client.shard(party, manifest.version, part.blob, index, start, length)
        if (response === undefined) return undefined
        const chunks: Buffer[] = []
        for await (const chunk of response) chunks.push(chunk as Buffer)
        if (!new PartHashes(part, manifest.shards).fits(number, index, Buffer.concat(chunks))) return false
      } catch {
        return undefined
      }
    }
    return true
  }
}

/** What cannot be asked now is looked at in the next pass. */
function passStoreAway(error: unknown): void {
  if (!(error instanceof StoreAway)) throw error
}

function isThere(held: readonly HeldShard[], { data }: Manifest, { blob, size }: ManifestPart, index: number): boolean {
  const there = held.find((one) => one.blob === blob && one.index === index)
  return there?.bytes === new BlobShape(size, data).shardBytes
}

/** Behind the last right piece of what an earlier repair made. */
async function resumedAt(
  writer: {
    readonly bytes: number
    read(start: number, length: number): Promise<Buffer | undefined>
    cut(bytes: number): Promise<void>
  },
  shape: BlobShape,
  hashes: PartHashes,
  index: number,
): Promise<number> {
  let number = 0
  for (; number < shape.segments; number += 1) {
    const piece = await writer.read(shape.pieceStart(number), shape.pieceBytes(number))
    if (piece === undefined || !hashes.fits(number, index, piece)) break
  }
  const bytes = number < shape.segments ? shape.pieceStart(number) : shape.shardBytes
  if (writer.bytes !== bytes) await writer.cut(bytes)
  return number
}
