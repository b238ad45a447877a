/** What this node answers when others ask it for blocks, snapshots and ends of epochs: bounded in work for each of them. */
import type { BlockLog } from './block-log.ts'
import type { BlockRecord } from './block-record.ts'
import type { Chain } from './chain.ts'
import type { Epochs } from './epochs.ts'
import { Serving } from './serving.ts'
import { readStatePiece, type SnapshotFile } from './snapshot-file.ts'
import {
  encodeBlockAnswer,
  encodeRun,
  encodeSnapshotOffer,
  PIECE_BYTES_MAX,
  RUN_BLOCKS_MAX,
  RUN_BYTES_SOFT,
  type SyncRequest,
} from './sync-codec.ts'

/** Blocks read from disk for one peer: sustained, and what a peer that was away gets at once. */
const SERVED_PER_SECOND = 2_000
const SERVED_BURST = 8_192

export interface SyncServerOptions {
  readonly blocks: BlockLog
  readonly chain: Pick<Chain<unknown>, 'block'>
  readonly epochs: Epochs
  readonly snapshots: { readonly latest: SnapshotFile | undefined }
}

interface Run {
  readonly answer: Uint8Array
  /** Blocks. */
  readonly cost: number
}

export class SyncServer {
  readonly #options: SyncServerOptions
  readonly #serving = new Serving({ perSecond: SERVED_PER_SECOND, burst: SERVED_BURST })

  constructor(options: SyncServerOptions) {
    this.#options = options
  }

  /** @throws {LedgerError} `LEDGER_HALTED` when too many of the peer's requests wait already. */
  async answer(from: string, request: Exclude<SyncRequest, { kind: 'status' }>): Promise<Uint8Array> {
    const { blocks, chain, snapshots } = this.#options
    if (request.kind === 'block') {
      const height = blocks.heightOf(request.digest)
      const block = height === undefined ? chain.block(request.digest) : (await blocks.read(height))?.block
      return encodeBlockAnswer(block)
    }
    if (request.kind === 'snapshot') return encodeSnapshotOffer(snapshots.latest)
    if (request.kind === 'piece') {
      const { latest } = snapshots
      const piece = latest?.height === request.height ? await readStatePiece(latest, request.offset, PIECE_BYTES_MAX) : undefined
      return piece ?? new Uint8Array(0)
    }
    if (request.kind === 'epochs') return this.#serving.inTurn(from, async () => this.#boundariesFrom(request.from))
    return this.#serving.inTurn(from, () => this.#readRun(request.from, request.count))
  }

  #boundariesFrom(epoch: number): Run {
    const run: BlockRecord[] = []
    let bytes = 0
    for (const record of this.#options.epochs.boundaries.slice(epoch, epoch + RUN_BLOCKS_MAX)) {
      if (bytes >= RUN_BYTES_SOFT) break
      run.push(record)
      bytes += record.block.payload.length
    }
    return { answer: encodeRun(run), cost: run.length }
  }

  async #readRun(from: number, count: number): Promise<Run> {
    const run: BlockRecord[] = []
    let bytes = 0
    for (let height = from; run.length < Math.min(count, RUN_BLOCKS_MAX) && bytes < RUN_BYTES_SOFT; height++) {
      const record = await this.#options.blocks.read(height)
      if (record === undefined) break
      run.push(record)
      bytes += record.block.payload.length
    }
    return { answer: encodeRun(run), cost: run.length }
  }
}
