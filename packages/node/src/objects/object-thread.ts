/** The object thread as its node sees it. */
import { VaultError } from '@ringwall/vault'
import { TaskThread, ThreadGone } from '../signing/task-thread.ts'
import type { DigestName } from './digests.ts'
import type { FromObjectThread, ObjectAnswer, ObjectTask, SegmentOf } from './object-messages.ts'
import { type Slab, SlabPool } from './slabs.ts'

const TASKS_MAX = 256

/** Digests over all segments of one blob, in their order. */
export interface GoingDigests {
  readonly number: number
  /** As hex, in the order of their names. @throws {ThreadGone} */
  end(): Promise<readonly string[]>
}

export class ObjectThread {
  readonly slabs = new SlabPool()
  readonly #thread = new TaskThread<ObjectTask, ObjectAnswer, FromObjectThread>({
    name: 'object',
    program: new URL('./object-worker.ts', import.meta.url),
    tasksMax: TASKS_MAX,
    onReply: () => {},
  })
  #digests = 0

  /**
   * Overwrites the pieces, and resolves with their hashes.
   *
   * @param plain Of `slabs`, as the pieces are. @throws {ThreadGone}
   */
  async seal(
    segment: SegmentOf,
    plain: Uint8Array,
    pieces: readonly Uint8Array[],
    digests: GoingDigests | undefined,
  ): Promise<Uint8Array> {
    return this.#hashes({ kind: 'seal', plain, pieces, digests: digests?.number, ...segment })
  }

  /**
   * Resolves with the plaintext, which is secret.
   *
   * @param pieces Of `slabs`. @throws {VaultError} VAULT_CORRUPT. @throws {ThreadGone}
   */
  async open(
    segment: SegmentOf,
    pieces: readonly (Uint8Array | undefined)[],
    { sealedBytes, plainBytes }: { readonly sealedBytes: number; readonly plainBytes: number },
  ): Promise<Slab> {
    const length = pieces.find((piece) => piece !== undefined)?.length ?? 0
    const spare = pieces.slice(0, segment.data).flatMap((piece) => (piece === undefined ? [this.slabs.take(length)] : []))
    const plain = this.slabs.take(plainBytes, true)
    try {
      const made = spare.map(({ bytes }) => bytes)
      await this.#ask({ kind: 'open', pieces, spare: made, sealedBytes, plain: plain.bytes, ...segment })
      return plain
    } catch (error) {
      plain.release()
      throw error
    } finally {
      for (const slab of spare) slab.release()
    }
  }

  /** Overwrites `target` with one piece, made of any that are enough. */
  async restore(
    { data, shards }: Pick<SegmentOf, 'data' | 'shards'>,
    pieces: readonly (Uint8Array | undefined)[],
    index: number,
    target: Uint8Array,
  ): Promise<void> {
    await this.#ask({ kind: 'restore', pieces, index, target, data, shards })
  }

  /** SHA-256. @param bytes Of `slabs`. */
  hash(bytes: Uint8Array): Promise<Uint8Array> {
    return this.#hashes({ kind: 'hash', bytes })
  }

  async digests(names: readonly DigestName[]): Promise<GoingDigests> {
    this.#digests += 1
    const number = this.#digests
    await this.#ask({ kind: 'digests', number, names })
    return {
      number,
      end: async () => {
        const answer = await this.#ask({ kind: 'digested', number })
        if (answer.kind === 'digests' && answer.values.length === names.length) return answer.values
        throw new ThreadGone('the object thread failed')
      },
    }
  }

  stop(): Promise<void> {
    this.slabs.clear()
    return this.#thread.stop()
  }

  async #hashes(task: ObjectTask): Promise<Uint8Array> {
    const answer = await this.#ask(task)
    if (answer.kind === 'hashes') return answer.hashes
    throw new ThreadGone('the object thread failed')
  }

  async #ask(task: ObjectTask): Promise<ObjectAnswer> {
    const { refusal } = this.#thread
    if (refusal !== undefined) throw new ThreadGone(refusal)
    this.#thread.start()
    const answer = await this.#thread.post(task)
    if (answer.kind !== 'failed') return answer
    throw answer.isCorrupt ? new VaultError('VAULT_CORRUPT', answer.reason) : new ThreadGone(answer.reason)
  }
}
