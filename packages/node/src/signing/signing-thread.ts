/** The signing thread as its node sees it: always there once there is a share, and told the key and the share again when it starts anew. */
import type { PublicKey } from '@ringwall/threshold'
import type { NodeShare } from './node-share.ts'
import { TaskThread, ThreadGone } from './task-thread.ts'
import type { FromThread, ThreadAnswer, ThreadTask } from './thread-messages.ts'

const TASKS_MAX = 1_024
/** Without a share, a thread that nobody asks ends after so long: it takes some 50 MB. */
const IDLE_MS = 60_000

export class SigningThread {
  readonly #thread: TaskThread<ThreadTask, ThreadAnswer, FromThread>
  #publicKey: PublicKey | undefined
  readonly #onStock: (stock: Readonly<Record<string, number>>) => void
  #share: NodeShare | undefined
  #idle: NodeJS.Timeout | undefined

  /** @param self The node's name. */
  constructor(self: string, onStock: (stock: Readonly<Record<string, number>>) => void) {
    this.#onStock = onStock
    this.#thread = new TaskThread({
      name: 'signing',
      program: new URL('./signing-worker.ts', import.meta.url),
      workerData: { self },
      tasksMax: TASKS_MAX,
      onReply: ({ stock }) => {
        if (stock !== undefined) onStock(stock)
      },
      onIdle: () => this.#rest(),
    })
  }

  /** The key in force, and this node's share of it, if it has one. */
  use(publicKey: PublicKey, share: NodeShare | undefined): void {
    this.#publicKey = publicKey
    this.#share = share
    // A node without a share signs nothing with others: the thread is started when it has something signed.
    if (share !== undefined) this.#thread.start()
    if (this.#thread.isRunning) this.#tellKey()
  }

  /** @throws {ThreadGone} When it died over it, has too much to do, or there is no key. */
  run(task: ThreadTask): Promise<ThreadAnswer> {
    const refusal = this.#publicKey === undefined ? 'there is no signing key' : this.#thread.refusal
    if (refusal !== undefined) return Promise.reject(new ThreadGone(refusal))
    if (this.#thread.start()) this.#tellKey()
    return this.#thread.post(task)
  }

  stop(): Promise<void> {
    clearTimeout(this.#idle)
    return this.#thread.stop()
  }

  /** What was kept ready goes with the thread. */
  #rest(): void {
    clearTimeout(this.#idle)
    if (this.#share !== undefined) return
    this.#idle = setTimeout(() => {
      if (this.#share !== undefined || this.#thread.size > 0) return
      this.#onStock({})
      void this.#thread.end()
    }, IDLE_MS)
    this.#idle.unref()
  }

  #tellKey(): void {
    if (this.#publicKey === undefined) return
    const share = this.#share?.copy()
    const ignore = (): void => {}
    this.#thread.post({ kind: 'key', publicKey: this.#publicKey.encode() }).catch(ignore)
    this.#thread.post({ kind: 'share', share }, share === undefined ? [] : [share.buffer as ArrayBuffer]).catch(ignore)
  }
}
