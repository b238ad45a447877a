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
  joinRecords,
  PIECE_BYTES_MAX,
  RUN_BLOCKS_MAX,
  RUN_BYTES_SOFT,
  type SyncRequest,
} from './sync-codec.ts'

/**
 * What one peer is given, in units of a block or of 4 KiB, whichever are more: sustained 8 MiB/s, and at once what a node that
 * joins needs for its snapshot.
 */
const SERVED_PER_SECOND = 2_048
const SERVED_BURST = 24_576
const UNIT_BYTES = 4_096

export interface SyncServerOptions {
  readonly blocks: BlockLog
  readonly chain: Pick<Chain<unknown>, 'block'>
  readonly epochs: Epochs
  readonly snapshots: { readonly latest: SnapshotFile | undefined }
}

interface Served {
  readonly answer: Uint8Array
  /** Units. */
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
    if (request.kind === 'piece') return this.#serving.inTurn(from, () => this.#readPiece(request.height, request.offset))
    if (request.kind === 'epochs') return this.#serving.inTurn(from, async () => this.#boundariesFrom(request.from))
    return this.#serving.inTurn(from, () => this.#readRun(request.from, request.count))
  }

  #boundariesFrom(epoch: number): Served {
    const run: BlockRecord[] = []
    let bytes = 0
    for (const record of this.#options.epochs.boundaries.slice(epoch, epoch + RUN_BLOCKS_MAX)) {
      if (bytes >= RUN_BYTES_SOFT) break
      run.push(record)
      bytes += record.block.payload.length
    }
    return costed(encodeRun(run), run.length)
  }

  async #readPiece(height: number, offset: number): Promise<Served> {
    const { latest } = this.#options.snapshots
    const piece = latest?.height === height ? await readStatePiece(latest, offset, PIECE_BYTES_MAX) : undefined
    return costed(piece ?? new Uint8Array(0), 1)
  }

  async #readRun(from: number, count: number): Promise<Served> {
    const run = await this.#options.blocks.readRun(from, Math.min(count, RUN_BLOCKS_MAX), RUN_BYTES_SOFT)
    return costed(joinRecords(run), Math.max(1, run.length))
  }
}

function costed(answer: Uint8Array, count: number): Served {
  return { answer, cost: Math.max(count, answer.length / UNIT_BYTES) }
}
