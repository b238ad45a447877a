/** The opening thread as its node sees it: started at the first opening, and anew when it dies; a bounded number of tasks under way. */
import { Worker } from 'node:worker_threads'
import type { NodeShare } from '../signing/node-share.ts'
import type { FromOpeningThread, OpeningAnswer, OpeningTask, ToOpeningThread } from './opening-messages.ts'

const TASKS_MAX = 1_024

export class OpeningThreadGone extends Error {
  override readonly name = 'OpeningThreadGone'
  readonly code = 'OPENING_THREAD'
}

interface Waiting {
  readonly settle: (answer: OpeningAnswer) => void
  readonly refuse: (error: OpeningThreadGone) => void
}

export class OpeningThread {
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #nextId = 1
  #share: NodeShare | undefined
  #stopped = false

  /** This node's share of the key in force, if it has one. */
  use(share: NodeShare | undefined): void {
    this.#share = share
    if (this.#worker !== undefined) this.#tellShare()
  }

  /** @throws {OpeningThreadGone} When it died over it, has too much to do, or fails at it. */
  async open(capsules: readonly Uint8Array[], proven: boolean): Promise<readonly Uint8Array[]> {
    if (this.#stopped) throw new OpeningThreadGone('the node stops')
    if (this.#waiting.size >= TASKS_MAX) throw new OpeningThreadGone('the opening thread has too much to do')
    if (this.#worker === undefined) this.#start()
    const answer = await this.#post({ kind: 'open', capsules, proven })
    if (answer.kind === 'opened') return answer.partials
    throw new OpeningThreadGone(answer.kind === 'failed' ? answer.reason : 'the opening thread failed')
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
    this.#refuseAll()
  }

  #start(): void {
    const worker = new Worker(new URL('./opening-worker.ts', import.meta.url))
    worker.unref()
    this.#worker = worker
    worker.on('message', ({ id, answer }: FromOpeningThread) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      waiting?.settle(answer)
    })
    // `exit` follows: whoever asked asks other holders.
    worker.on('error', () => {})
    worker.on('exit', () => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#refuseAll()
    })
    this.#tellShare()
  }

  #tellShare(): void {
    const share = this.#share?.copy()
    this.#post({ kind: 'use', share }, share === undefined ? [] : [share.buffer as ArrayBuffer]).catch(() => {})
  }

  /** @param moved Secrets: they are in the thread then, and no longer here. */
  #post(task: OpeningTask, moved: readonly ArrayBuffer[] = []): Promise<OpeningAnswer> {
    return new Promise((settle, refuse) => {
      const id = this.#nextId
      this.#nextId += 1
      this.#waiting.set(id, { settle, refuse })
      this.#worker?.postMessage({ id, task } satisfies ToOpeningThread, moved)
    })
  }

  #refuseAll(): void {
    for (const { refuse } of this.#waiting.values()) refuse(new OpeningThreadGone('the opening thread ended'))
    this.#waiting.clear()
  }
}
