/** The objects of one node: its shards, what it does with them for peers and for clients, and what it mends. */
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fabric } from '@ringwall/fabric'
import { verifiesRaw } from '@ringwall/identity'
import { heldOf, OBJECT_VERSIONS_MAX, publicKeyOf, type RingState, type View } from '@ringwall/ring'
import type { TxBody } from '@ringwall/ring/tx'
import type { DiskSeal } from '@ringwall/store'
import type { OpenAnswer, SignedOpenRequest, VaultFacts } from '@ringwall/vault'
import type { EventLog } from '../events.ts'
import { Healer, type HealerSettings, type HealStatus } from './healer.ts'
import { type Culprit, ObjectService } from './object-service.ts'
import { ObjectThread } from './object-thread.ts'
import { openStore, type StoreSettings } from './open-store.ts'
import { ShardClient } from './shard-client.ts'
import { ShardServer, type ShardServerOptions } from './shard-server.ts'
import type { ShardStore } from './shard-store.ts'

/** What a peer has to say whether it can get at its shards. */
const READY_MS_MAX = 2_000
/** The same fault is told once in so long. */
const TOLD_MS = 60_000
const TOLD_MAX = 4_096

export interface ObjectSettings extends HealerSettings {
  /** Of shards on this node's disk. */
  readonly bytesMax: number
  /** A node that cannot be reached for so long, or that cannot get at its shards, has them made anew on others. */
  readonly awayMs: number
  /** Where shards lie; undefined: in a folder of `data`. */
  readonly store?: StoreSettings | undefined
}

export interface ObjectsOptions {
  readonly self: string
  readonly ring: string
  readonly data: string
  readonly seal: DiskSeal | undefined
  readonly settings: ObjectSettings
  readonly fabric: Pick<Fabric, 'links' | 'connect' | 'onStream' | 'onLink'>
  readonly view: () => View
  readonly state: () => RingState
  readonly isCurrent: () => boolean
  /** As of the healer. */
  readonly agreedAtMs: () => number
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly open: (request: SignedOpenRequest) => Promise<OpenAnswer>
  readonly submit: (body: TxBody, waitMs: number) => Promise<unknown>
  readonly events: EventLog
  /** A node gave a shard that is not what was put. */
  readonly onWrong: (party: string, version: string, index: number) => void
  /** As `VaultFacts`. */
  readonly onLiars: (parties: readonly string[]) => void
  /** As of the shard server. */
  readonly other?: ShardServerOptions['other']
}

export interface ObjectsStatus extends HealStatus {
  readonly versions: number
  readonly versionsMax: number
  readonly bytes: number
  readonly bytesMax: number
  readonly put: number
  readonly read: number
  readonly faults: number
  readonly culprits: readonly Culprit[]
  /** Where this node keeps its shards: `folder`, or the bucket. */
  readonly store: string
  /** Since when, Unix milliseconds, and why they cannot be had; null when they can. */
  readonly storeAway: { readonly sinceMs: number; readonly reason: string } | null
  /** Nodes whose shards others make anew, because they have been away for long. */
  readonly away: readonly string[]
}

export class Objects {
  readonly service: ObjectService
  readonly healer: Healer
  readonly #options: ObjectsOptions
  readonly #folder: ShardStore
  readonly #client: ShardClient
  readonly #thread = new ObjectThread()
  readonly #server: ShardServer
  readonly #goneAtMs = new Map<string, number>()
  /** Of nodes that say that they cannot get at their shards: since when. */
  readonly #emptyAtMs = new Map<string, number>()
  readonly #startedAtMs = performance.now()
  readonly #told = new Map<string, number>()

  static async open(options: ObjectsOptions): Promise<Objects> {
    const { self, ring, data, seal, settings, events } = options
    const say = (level: 'info' | 'warn', line: string): void => events.add('vault', level, line)
    return new Objects(options, await openStore({ self, ring, folder: join(data, 'objects'), seal, settings, say }))
  }

  private constructor(options: ObjectsOptions, folder: ShardStore) {
    const { self, ring, fabric, view, state, settings, events } = options
    this.#options = options
    this.#folder = folder
    this.#client = new ShardClient(fabric)
    this.#server = new ShardServer({ fabric, folder, slabs: this.#thread.slabs, state, other: options.other })
    fabric.onLink(({ id, connected }) => {
      if (connected) this.#goneAtMs.delete(id)
      else if (!this.#goneAtMs.has(id)) this.#goneAtMs.set(id, performance.now())
      this.healer.hurry()
    })
    this.service = new ObjectService({
      self,
      ring,
      fabric,
      folder,
      client: this.#client,
      thread: this.#thread,
      view,
      state,
      facts: () => this.#facts(),
      sign: options.sign,
      open: options.open,
      submit: options.submit,
      present: () => {
        const { nodes, policy } = view()
        const [now, nowMs] = [state(), Date.now()]
        return nodes.filter(({ id }) => !this.#isAway(id) && heldOf(now, policy.fleet, id, nowMs) === undefined)
      },
      onFault: (party, version, index, what) => {
        if (party === self) this.healer.doubt(version, index)
        else if (what === 'wrong') options.onWrong(party, version, index)
        this.#tell(
          `${party} ${version} ${index} ${what}`,
          `${party} gave ${what === 'wrong' ? 'a wrong' : 'no'} shard ${index} of ${version}`,
        )
      },
      onLeftOut: (party, version, reason) =>
        this.#tell(`${party} left out`, `${party} did not take its shard of ${version}: ${reason}`),
      onChange: () => this.healer.hurry(),
    })
    this.healer = new Healer({
      self,
      settings,
      folder,
      client: this.#client,
      thread: this.#thread,
      service: this.service,
      look: () => this.#askPeers(),
      isCurrent: options.isCurrent,
      agreedAtMs: options.agreedAtMs,
      say: (level, line) => events.add('vault', level, line),
    })
  }

  /** Each fault once in a while. */
  #tell(name: string, line: string): void {
    const nowMs = performance.now()
    if (nowMs - (this.#told.get(name) ?? Number.NEGATIVE_INFINITY) < TOLD_MS) return
    if (this.#told.size >= TOLD_MAX) this.#told.clear()
    this.#told.set(name, nowMs)
    this.#options.events.add('vault', 'warn', line)
  }

  /** Over the connections of shards. Undefined when the peer has nothing there. @throws {PeerFailed} */
  get(from: string, path: string): Promise<IncomingMessage | undefined> {
    return this.#client.get(from, path)
  }

  #facts(): VaultFacts | undefined {
    const { ring, state, view } = this.#options
    const publicKey = publicKeyOf(state().sealingKey)
    if (publicKey === undefined) return undefined
    return {
      ring,
      publicKey,
      onLiars: this.#options.onLiars,
      verify: (party, message, signature) => {
        const key = view().nodes.find(({ id }) => id === party)?.publicKey
        return key !== undefined && verifiesRaw(key, message, Buffer.from(signature).toString('base64url'))
      },
    }
  }

  /** Who is there, and cannot get at its shards, is known by asking. */
  async #askPeers(): Promise<void> {
    const { fabric, self } = this.#options
    const note = (id: string, isReady: boolean): void => {
      if (isReady) this.#emptyAtMs.delete(id)
      else if (!this.#emptyAtMs.has(id)) this.#emptyAtMs.set(id, performance.now())
    }
    note(self, await this.#folder.isThere())
    const linked = fabric.links().filter(({ connected }) => connected)
    const asked = linked.map(async ({ id }) => note(id, await this.#client.isReady(id)))
    // Who does not answer says nothing of its shards; nobody waits for it.
    await Promise.race([Promise.allSettled(asked), sleep(READY_MS_MAX, undefined, { ref: false })])
  }

  #isAway(id: string): boolean {
    const { self, settings, fabric } = this.#options
    if (performance.now() - (this.#emptyAtMs.get(id) ?? Number.POSITIVE_INFINITY) > settings.awayMs) return true
    if (id === self || fabric.links().find((link) => link.id === id)?.connected === true) return false
    return performance.now() - (this.#goneAtMs.get(id) ?? this.#startedAtMs) > settings.awayMs
  }

  status(): ObjectsStatus {
    const { view, state, settings } = this.#options
    return {
      ...this.healer.status,
      ...this.service.counts,
      culprits: this.service.culprits,
      versions: state().objects.size,
      versionsMax: OBJECT_VERSIONS_MAX,
      bytes: this.#folder.bytes,
      bytesMax: settings.bytesMax,
      store: this.#folder.where,
      storeAway: this.#folder.away ?? null,
      away: view()
        .nodes.map(({ id }) => id)
        .filter((id) => this.#isAway(id)),
    }
  }

  start(): void {
    this.healer.start()
  }

  async stop(): Promise<void> {
    await this.healer.stop()
    this.#server.stop()
    this.#client.stop()
    this.#folder.stop()
    await this.#thread.stop()
  }
}
