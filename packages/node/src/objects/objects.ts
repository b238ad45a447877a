/** The objects of one node: its shards, what it does with them for peers and for clients, and what it mends. */
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Fabric } from '@ringwall/fabric'
import { verifiesRaw } from '@ringwall/identity'
import { holdOf, OBJECT_VERSIONS_MAX, publicKeyOf, type RingState, type View } from '@ringwall/ring'
import type { TxBody } from '@ringwall/ring/tx'
import type { DiskSeal } from '@ringwall/store'
import type { OpenAnswer, SignedOpenRequest, VaultFacts } from '@ringwall/vault'
import type { EventLog } from '../events.ts'
import { Healer, type HealerSettings, type HealStatus } from './healer.ts'
import { ObjectService } from './object-service.ts'
import { ObjectThread } from './object-thread.ts'
import { ShardClient } from './shard-client.ts'
import { ShardFolder } from './shard-folder.ts'
import { ShardServer, type ShardServerOptions } from './shard-server.ts'

/** The same fault is told once in so long. */
const TOLD_MS = 60_000
const TOLD_MAX = 4_096

export interface ObjectSettings extends HealerSettings {
  /** Of shards on this node's disk. */
  readonly bytesMax: number
  /** A node that cannot be reached for so long has its shards made anew on others. */
  readonly awayMs: number
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
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly open: (request: SignedOpenRequest) => Promise<OpenAnswer>
  readonly submit: (body: TxBody, waitMs: number) => Promise<unknown>
  readonly events: EventLog
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
  /** Nodes whose shards others make anew, because they have been away for long. */
  readonly away: readonly string[]
}

export class Objects {
  readonly service: ObjectService
  readonly healer: Healer
  readonly #options: ObjectsOptions
  readonly #folder: ShardFolder
  readonly #client: ShardClient
  readonly #thread = new ObjectThread()
  readonly #server: ShardServer
  readonly #goneAtMs = new Map<string, number>()
  readonly #startedAtMs = performance.now()
  readonly #told = new Map<string, number>()

  static async open(options: ObjectsOptions): Promise<Objects> {
    const folder = await ShardFolder.open(join(options.data, 'objects'), options.seal, options.settings.bytesMax)
    return new Objects(options, folder)
  }

  private constructor(options: ObjectsOptions, folder: ShardFolder) {
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
        const { fleet } = state()
        const nowMs = Date.now()
        return view().nodes.filter(({ id }) => !this.#isAway(id) && holdOf(fleet, id, nowMs) === undefined)
      },
      onFault: (party, version, index, what) =>
        this.#tell(
          `${party} ${version} ${index} ${what}`,
          `${party} gave ${what === 'wrong' ? 'a wrong' : 'no'} shard ${index} of ${version}`,
        ),
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
      isCurrent: options.isCurrent,
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
      verify: (party, message, signature) => {
        const key = view().nodes.find(({ id }) => id === party)?.publicKey
        return key !== undefined && verifiesRaw(key, message, Buffer.from(signature).toString('base64url'))
      },
    }
  }

  #isAway(id: string): boolean {
    const { self, settings, fabric } = this.#options
    if (id === self || fabric.links().find((link) => link.id === id)?.connected === true) return false
    return performance.now() - (this.#goneAtMs.get(id) ?? this.#startedAtMs) > settings.awayMs
  }

  status(): ObjectsStatus {
    const { view, state, settings } = this.#options
    return {
      ...this.healer.status,
      ...this.service.counts,
      versions: state().objects.size,
      versionsMax: OBJECT_VERSIONS_MAX,
      bytes: this.#folder.bytes,
      bytesMax: settings.bytesMax,
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
    await this.#thread.stop()
  }
}
