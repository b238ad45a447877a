/** The object thread as its node sees it. */
import { VaultError } from '@ringwall/vault'
import { TaskThread, ThreadGone } from '../signing/task-thread.ts'
import type { FromObjectThread, ObjectAnswer, ObjectTask, SegmentOf } from './object-messages.ts'

const TASKS_MAX = 256

export class ObjectThread {
  readonly #thread = new TaskThread<ObjectTask, ObjectAnswer, FromObjectThread>({
    name: 'object',
    program: new URL('./object-worker.ts', import.meta.url),
    tasksMax: TASKS_MAX,
    onReply: () => {},
  })

  /** @param plain Is gone afterwards. @throws {ThreadGone} */
  async seal(
    segment: SegmentOf,
    plain: Uint8Array,
  ): Promise<{ readonly pieces: readonly Uint8Array[]; readonly hashes: Uint8Array }> {
    const moved = plain.byteLength === plain.buffer.byteLength ? [plain.buffer as ArrayBuffer] : []
    const answer = await this.#ask({ kind: 'seal', plain, ...segment }, moved)
    if (answer.kind === 'sealed') return answer
    throw new ThreadGone('the object thread failed')
  }

  /** @throws {VaultError} VAULT_CORRUPT. @throws {ThreadGone} */
  async open(segment: SegmentOf, pieces: readonly (Uint8Array | undefined)[], sealedBytes: number): Promise<Uint8Array> {
    const answer = await this.#ask({ kind: 'open', pieces, sealedBytes, ...segment })
    if (answer.kind === 'opened') return answer.plain
    throw new ThreadGone('the object thread failed')
  }

  /** One piece of any that are enough. */
  async restore(
    { data, shards }: Pick<SegmentOf, 'data' | 'shards'>,
    pieces: readonly (Uint8Array | undefined)[],
    index: number,
  ): Promise<Uint8Array> {
    const answer = await this.#ask({ kind: 'restore', pieces, index, data, shards })
    if (answer.kind === 'restored') return answer.piece
    throw new ThreadGone('the object thread failed')
  }

  stop(): Promise<void> {
    return this.#thread.stop()
  }

  async #ask(task: ObjectTask, moved: readonly ArrayBuffer[] = []): Promise<ObjectAnswer> {
    const { refusal } = this.#thread
    if (refusal !== undefined) throw new ThreadGone(refusal)
    this.#thread.start()
    const answer = await this.#thread.post(task, moved)
    if (answer.kind !== 'failed') return answer
    throw answer.isCorrupt ? new VaultError('VAULT_CORRUPT', answer.reason) : new ThreadGone(answer.reason)
  }
}
