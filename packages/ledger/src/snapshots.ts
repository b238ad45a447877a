/**
 * Takes snapshots of the state as the ledger grows, and lends them to nodes that join. One is taken after a block as soon as
 * a later block is certified, which proves the state that it builds on. The two newest stay: the older one is for the day
 * when the newer one rotted.
 */
import type { DiskSeal } from '@ringwall/store'
import type { BlockLog } from './block-log.ts'
import type { BlockRecord } from './block-record.ts'
import type { Executed } from './chain.ts'
import type { Epochs } from './epochs.ts'
import { removeSnapshot, type SnapshotFile, snapshotFiles, writeSnapshot } from './snapshot-file.ts'
import { RUN_BLOCKS_MAX } from './sync-codec.ts'
import type { Application } from './types.ts'

export interface SnapshotsOptions<S> {
  readonly directory: string
  readonly application: Application<S>
  readonly blocks: BlockLog
  readonly epochs: Epochs
  /** Blocks after which the next snapshot is due. */
  readonly everyBlocks: number
  /** Bytes of blocks after which it is due, however few they are. */
  readonly everyBytes: number
  /** Blocks that stay before the tip when older ones are let go of; undefined keeps all. */
  readonly keepBlocks: number | undefined
  readonly latest: SnapshotFile | undefined
  readonly seal: DiskSeal | undefined
  readonly log: (level: 'info' | 'warn', line: string) => void
}

const SNAPSHOTS_KEPT = 2
const RETRY_BLOCKS = 100

export class Snapshots<S> {
  readonly #options: SnapshotsOptions<S>
  #latest: SnapshotFile | undefined
  #bytesAtLatest: number
  #pending: Executed<S> | undefined
  #work: Promise<void> | undefined
  #notBefore = 0
  #stopped = false

  constructor(options: SnapshotsOptions<S>) {
    this.#options = options
    this.#latest = options.latest
    this.#bytesAtLatest = options.latest === undefined ? 0 : options.blocks.bytes
  }

  get latest(): SnapshotFile | undefined {
    return this.#latest
  }

  /** A snapshot came from a peer, and the ledger goes on from it. */
  adopt(file: SnapshotFile): void {
    this.#latest = file
    this.#bytesAtLatest = 0
    this.#pending = undefined
  }

  /** `executed` is final and on disk; `isCertified` says whether its record has a certificate. */
  onVisible(executed: Executed<S>, isCertified: boolean): void {
    if (this.#work !== undefined || this.#stopped) return
    const { block } = executed
    if (this.#pending === undefined) {
      if (this.#isDue(block.height)) this.#pending = executed
      return
    }
    if (!isCertified) return
    const base = this.#pending
    this.#pending = undefined
    if (block.height - base.block.height + 1 > RUN_BLOCKS_MAX) return
    this.#work = this.#take(base, block.height)
      .catch((error) => {
        // A full disk does not get better by trying at every block.
        this.#notBefore = block.height + RETRY_BLOCKS
        this.#options.log('warn', `no snapshot was taken after block ${base.block.height}: ${(error as Error).message}`)
      })
      .finally(() => {
        this.#work = undefined
      })
  }

  /** Waits for a snapshot that is being written. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#work
  }

  #isDue(height: number): boolean {
    const { everyBlocks, everyBytes, blocks } = this.#options
    if (height < this.#notBefore) return false
    const since = height - (this.#latest?.height ?? 0)
    return since >= everyBlocks || (since > 0 && blocks.bytes - this.#bytesAtLatest >= everyBytes)
  }

  async #take({ block, state }: Executed<S>, certifiedHeight: number): Promise<void> {
    const { directory, application, blocks, epochs, keepBlocks, seal } = this.#options
    const records: BlockRecord[] = []
    for (let height = block.height; height <= certifiedHeight; height++) {
      const record = await blocks.read(height)
      if (record === undefined) throw new Error(`block ${height} is not there`)
      records.push(record)
    }
    this.#latest = await writeSnapshot(directory, epochs.boundaries, records, application.snapshot(state), seal)
    this.#bytesAtLatest = blocks.bytes
    const [, older] = await this.#tidy()
    if (keepBlocks === undefined || older === undefined) return
    const before = Math.min(older.height + 1, blocks.tip.block.height - keepBlocks)
    if (before <= blocks.first) return
    await blocks.prune(before)
    this.#bytesAtLatest = blocks.bytes
  }

  /** The snapshots that stay, newest first. */
  async #tidy(): Promise<readonly { readonly height: number }[]> {
    const files = await snapshotFiles(this.#options.directory)
    for (const { path } of files.slice(SNAPSHOTS_KEPT)) await removeSnapshot(path)
    return files.slice(0, SNAPSHOTS_KEPT)
  }
}
