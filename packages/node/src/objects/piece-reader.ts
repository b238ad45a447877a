/**
 * Pieces of one blob's shards, segment after segment, from as many nodes as it takes, the fastest first. Every piece is held against its hash; who
 * sends another is named and left out, as is who fails; who is slow has another one asked beside it.
 *
 * Hashes come first, though the tag of a segment would judge as well what a liar without its key changes. Every node through which a version was read
 * has had its key, and who has it can change its own piece so that the tag still holds (`objects.test.ts` of the vault does it).
 */
import type { IncomingMessage } from 'node:http'
import { BlobShape, type Manifest, type ManifestPart, PartHashes, VaultError } from '@ringwall/vault'
import type { ObjectThread } from './object-thread.ts'
import { BodyReader } from './pour.ts'
import type { ShardClient } from './shard-client.ts'
import type { OpenShard, ShardStore } from './shard-store.ts'
import type { Slab } from './slabs.ts'

/** A node that has not given its piece by then has another one asked beside it. */
const HEDGE_MS = 1_500

export interface ShardPlace {
  readonly index: number
  readonly party: string
}

export interface PieceReaderOptions {
  readonly self: string
  readonly folder: ShardStore
  readonly client: ShardClient
  readonly thread: Pick<ObjectThread, 'slabs' | 'hash'>
  readonly manifest: Manifest
  readonly part: ManifestPart
  /** Segments from, up to and without. */
  readonly from: number
  readonly to: number
  /** Where shards ought to be, in the order in which they are asked for. */
  readonly places: readonly ShardPlace[]
  /** Where else they are, should that not be enough. */
  readonly more: () => Promise<readonly ShardPlace[]>
  /** Somebody gave a wrong piece, or had none that it ought to have. */
  readonly onFault: (party: string, index: number, what: 'wrong' | 'missing') => void
}

/** Enough of one segment. */
export interface PieceSet {
  /** By index. */
  readonly pieces: readonly (Uint8Array | undefined)[]
  /** Nobody looks at them any more. */
  release(): void
}

interface Source {
  readonly place: ShardPlace
  /** Fills the room with its piece; false when it has none. */
  next(number: number, room: Uint8Array): Promise<boolean>
  end(): void
}

export class PieceReader {
  readonly #options: PieceReaderOptions
  readonly #shape: BlobShape
  readonly #hashes: PartHashes
  readonly #sources = new Map<number, Source>()
  readonly #tried = new Set<string>()
  #waiting: ShardPlace[]
  #askedMore = false

  constructor(options: PieceReaderOptions) {
    this.#options = options
    const { manifest, part, places } = options
    this.#shape = new BlobShape(part.size, manifest.data)
    this.#hashes = new PartHashes(part, manifest.shards)
    this.#waiting = [...places]
  }

  /** Enough verified pieces of a segment. One segment at a time, in ascending order. @throws {VaultError} VAULT_SHORT */
  async pieces(number: number): Promise<PieceSet> {
    const { data, shards } = this.#options.manifest
    const found: (Slab | undefined)[] = Array.from({ length: shards })
    const under = new Set<Source>()
    let have = 0
    let isOver = false
    const release = (): void => {
      for (const piece of found) piece?.release()
    }
    let settle: () => void = () => {}
    const ask = (source: Source): void => {
      under.add(source)
      void this.#take(source, number).then((piece) => {
        under.delete(source)
        if (piece === undefined) {
          this.#drop(source)
        } else if (!isOver && have < data && found[source.place.index] === undefined) {
          found[source.place.index] = piece
          have += 1
        } else piece.release()
        settle()
      })
    }
    for (const source of this.#sources.values()) ask(source)
    try {
      while (have < data) {
        let isDry = false
        while (!isDry && under.size + have < data) {
          const source = await this.#another(number)
          if (source === undefined) isDry = true
          else ask(source)
        }
        // Some may have answered while places were looked for.
        if (have >= data) break
        if (under.size === 0) this.#short(have)
        let isLate = false
        await new Promise<void>((resolve) => {
          const timer = setTimeout(() => {
            isLate = true
            resolve()
          }, HEDGE_MS)
          settle = () => {
            clearTimeout(timer)
            resolve()
          }
        })
        const beside = isLate ? await this.#another(number) : undefined
        if (beside !== undefined) ask(beside)
      }
    } catch (error) {
      release()
      throw error
    } finally {
      isOver = true
      settle = () => {}
      // Whoever is behind now stays behind.
      for (const source of under) this.#drop(source)
    }
    return { pieces: found.map((piece) => piece?.bytes), release }
  }

  end(): void {
    for (const source of [...this.#sources.values()]) this.#drop(source)
  }

  #short(have: number): never {
    const { data } = this.#options.manifest
    throw new VaultError('VAULT_SHORT', `${have} right shards can be had, and it takes ${data}`)
  }

  #drop(source: Source): void {
    source.end()
    if (this.#sources.get(source.place.index) === source) this.#sources.delete(source.place.index)
  }

  async #take(source: Source, number: number): Promise<Slab | undefined> {
    const { party, index } = source.place
    const { thread, onFault } = this.#options
    const piece = thread.slabs.take(this.#shape.pieceBytes(number))
    try {
      if (!(await source.next(number, piece.bytes))) onFault(party, index, 'missing')
      else if (this.#hashes.isHash(number, index, await thread.hash(piece.bytes))) return piece
      else onFault(party, index, 'wrong')
    } catch {
      // It cannot be reached: another one is asked.
    }
    piece.release()
    return undefined
  }

  /** One more place to have pieces from, of an index that none has begun with. */
  async #another(number: number): Promise<Source | undefined> {
    for (;;) {
      const place = this.#waiting.shift()
      if (place === undefined) {
        if (this.#askedMore) return undefined
        this.#askedMore = true
        this.#waiting = [...(await this.#options.more())]
        continue
      }
      const name = `${place.index} ${place.party}`
      if (this.#sources.has(place.index)) {
        // Kept for later: the one that is there may fail.
        continue
      }
      if (this.#tried.has(name)) continue
      this.#tried.add(name)
      const source = this.#begin(place, number)
      this.#sources.set(place.index, source)
      return source
    }
  }

  #begin(place: ShardPlace, number: number): Source {
    return place.party === this.#options.self ? this.#ownSource(place) : this.#peerSource(place, number)
  }

  #ownSource(place: ShardPlace): Source {
    const { folder, manifest, part, to } = this.#options
    const until = this.#shape.pieceStart(to - 1) + this.#shape.pieceBytes(to - 1)
    let shard: Promise<OpenShard | undefined> | undefined
    return {
      place,
      next: async (number, room) => {
        shard ??= folder.openShard(manifest.version, part.blob, place.index, until)
        return (await (await shard)?.readInto(this.#shape.pieceStart(number), room)) === true
      },
      end: () => void shard?.then((held) => held?.close()).catch(() => {}),
    }
  }

  #peerSource(place: ShardPlace, first: number): Source {
    const { client, manifest, part, to } = this.#options
    const start = this.#shape.pieceStart(first)
    const length = this.#shape.pieceStart(to - 1) + this.#shape.pieceBytes(to - 1) - start
    let stream: Promise<IncomingMessage | undefined> | undefined
    let reader: BodyReader | undefined
    return {
      place,
      next: async (_number, room) => {
        stream ??= client.shard(place.party, manifest.version, part.blob, place.index, start, length)
        const response = await stream
        if (response === undefined) return false
        reader ??= new BodyReader(response)
        if ((await reader.fill(room)) < room.length) throw new Error('it ended early')
        return true
      },
      end: () => void stream?.then((response) => response?.destroy()).catch(() => {}),
    }
  }
}
