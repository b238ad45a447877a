/** The states after earlier blocks: late ones are at hand, older ones are executed again from the nearest snapshot or from genesis. */
import type { KeyObject } from 'node:crypto'
import type { DiskSeal } from '@ringwall/store'
import type { BlockLog } from './block-log.ts'
import type { BlockRecord } from './block-record.ts'
import { Chain, type Executed } from './chain.ts'
import type { Epochs } from './epochs.ts'
import { LedgerError } from './errors.ts'
import { LateStates } from './late-states.ts'
import { loadSnapshot, snapshotFiles } from './snapshot-file.ts'
import { encodeStateProof } from './state-proof.ts'
import { RUN_BLOCKS_MAX } from './sync-codec.ts'
import type { Application, Genesis } from './types.ts'

export interface HistoryOptions<S> {
  readonly directory: string
  readonly seal?: DiskSeal | undefined
  readonly application: Application<S>
  readonly genesis: Genesis
  readonly privateKey: KeyObject
  readonly blocks: BlockLog
  readonly epochs: Epochs
}

const REPLAYED_BLOCKS_MAX = 50_000

export class History<S> {
  readonly #options: HistoryOptions<S>
  readonly #late = new LateStates<S>()
  #replaying: Promise<void> = Promise.resolve()

  constructor(options: HistoryOptions<S>) {
    this.#options = options
  }

  /** Heights come in ascending order. */
  add(executed: Executed<S>): void {
    this.#late.add(executed)
  }

  /** As `Ledger.stateAt`, while the blocks up to `visible` are final and on disk. */
  async stateAt(height: number, visible: number): Promise<{ readonly state: S; readonly proof: Uint8Array } | undefined> {
    const records = await this.#proofOf(height, visible)
    if (records === undefined) return undefined
    const proof = encodeStateProof(this.#options.epochs.boundaries, records)
    const held = this.#late.get(height)
    if (held !== undefined) return { state: held, proof }
    // One at a time: executing again is work, whoever asks for it.
    const replay = this.#replaying.then(() => this.#replayTo(height))
    this.#replaying = replay.then(
      () => {},
      () => {},
    )
    return { state: await replay, proof }
  }

  /** The blocks after `height` up to the first that is certified. */
  async #proofOf(height: number, visible: number): Promise<readonly BlockRecord[] | undefined> {
    const records: BlockRecord[] = []
    for (let at = height + 1; at <= visible && records.length < RUN_BLOCKS_MAX; at++) {
      const record = await this.#options.blocks.read(at)
      if (record === undefined) throw gone(height, `block ${at} is not kept here`)
      records.push(record)
      if (record.certificate !== undefined) return records
    }
    return undefined
  }

  async #replayTo(height: number): Promise<S> {
    const { blocks, epochs, application } = this.#options
    const base = await this.#baseBefore(height)
    const chain = new Chain(application, epochs, base)
    for (let at = base.block.height + 1; at <= height; at++) {
      const record = await blocks.read(at)
      const executed = record === undefined ? 'it is not kept' : chain.advance(record.block)
      if (typeof executed === 'string') throw gone(height, `block ${at}: ${executed}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return chain.tip.state
  }

  /** The nearest state at or before `height` that needs no executing. @throws {LedgerError} `STATE_GONE`. */
  async #baseBefore(height: number): Promise<Executed<S>> {
    const { blocks, epochs, application, directory, genesis, privateKey, seal } = this.#options
    const snapshot = (await snapshotFiles(directory)).find(({ height: at }) => at <= height)
    if (snapshot === undefined && blocks.first !== 1) throw gone(height, 'the blocks before it are not kept here')
    const again = height - (snapshot?.height ?? 0)
    if (again > REPLAYED_BLOCKS_MAX) throw gone(height, `${again} blocks would have to be executed again`)
    if (snapshot === undefined) return { block: epochs.genesis, txs: [], results: [], state: application.initial() }
    const loaded = await loadSnapshot(snapshot.path, application, genesis, privateKey, seal)
    if (typeof loaded === 'string') throw gone(height, 'the snapshot before it cannot be read')
    return { block: loaded.anchor.block, txs: [], results: [], state: loaded.state }
  }
}

function gone(height: number, why: string): LedgerError {
  return new LedgerError(
    'STATE_GONE',
    `the state after block ${height} cannot be had on this node: ${why}; ask a node that keeps more`,
  )
}
