/** The signing thread as its node sees it: tasks in, answers out, a bounded number under way. Starts anew when it dies. */
import { Worker } from 'node:worker_threads'
import type { PublicKey } from '@ringwall/threshold'
import type { NodeShare } from './node-share.ts'
import type { FromThread, ThreadAnswer, ThreadTask } from './thread-messages.ts'

const TASKS_MAX = 1_024

export class ThreadGone extends Error {
  override readonly name = 'ThreadGone'
  readonly code = 'SIGNING_THREAD'
}

interface Waiting {
  readonly settle: (answer: ThreadAnswer) => void
  readonly refuse: (error: ThreadGone) => void
}

export class SigningThread {
  readonly #waiting = new Map<number, Waiting>()
  readonly #self: string
  readonly #onStock: (stock: Readonly<Record<string, number>>) => void
  #worker: Worker | undefined
  #nextId = 1
  #publicKey: PublicKey | undefined
  #share: NodeShare | undefined
  #stopped = false

  /** @param self The node's name. */
  constructor(self: string, onStock: (stock: Readonly<Record<string, number>>) => void) {
    this.#self = self
    this.#onStock = onStock
  }

  /** The key in force, and this node's share of it, if it has one. */
  use(publicKey: PublicKey, share: NodeShare | undefined): void {
    this.#publicKey = publicKey
    this.#share = share
    if (this.#worker === undefined) this.#start()
    else this.#tellKey()
  }

  /** @throws {ThreadGone} When it died over it, or has too much to do. */
  run(task: ThreadTask): Promise<ThreadAnswer> {
    if (this.#stopped || this.#publicKey === undefined) return Promise.reject(new ThreadGone('there is no signing thread'))
    if (this.#waiting.size >= TASKS_MAX) return Promise.reject(new ThreadGone('the signing thread has too much to do'))
    if (this.#worker === undefined) this.#start()
    return this.#post(task)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
    this.#refuseAll()
  }

  #start(): void {
    const worker = new Worker(new URL('./signing-worker.ts', import.meta.url), { workerData: { self: this.#self } })
    worker.unref()
    this.#worker = worker
    worker.on('message', ({ id, answer, stock }: FromThread) => {
      if (stock !== undefined) this.#onStock(stock)
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      waiting?.settle(answer)
    })
    // `exit` follows; what it did is done anew by whoever asked.
    worker.on('error', () => {})
    worker.on('exit', () => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#refuseAll()
    })
    this.#tellKey()
  }

  #tellKey(): void {
    if (this.#publicKey === undefined) return
    const share = this.#share?.copy()
    const ignore = (): void => {}
    this.#post({ kind: 'key', publicKey: this.#publicKey.encode() }).catch(ignore)
    this.#post({ kind: 'share', share }, share === undefined ? [] : [share.buffer as ArrayBuffer]).catch(ignore)
  }

  /** @param moved Secrets: they are in the thread then, and no longer here. */
  #post(task: ThreadTask, moved: readonly ArrayBuffer[] = []): Promise<ThreadAnswer> {
    return new Promise((settle, refuse) => {
      const id = this.#nextId
      this.#nextId += 1
      this.#waiting.set(id, { settle, refuse })
      this.#worker?.postMessage({ id, task }, moved)
    })
  }

  #refuseAll(): void {
    for (const { refuse } of this.#waiting.values()) refuse(new ThreadGone('the signing thread ended'))
    this.#waiting.clear()
  }
}
