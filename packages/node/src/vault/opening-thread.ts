/** The opening thread as its node sees it: started at the first opening, and told this node's share again when it starts anew. */
import type { NodeShare } from '../signing/node-share.ts'
import { TaskThread, ThreadGone } from '../signing/task-thread.ts'
import type { FromOpeningThread, OpeningAnswer, OpeningTask, OpeningWork } from './opening-messages.ts'

const TASKS_MAX = 1_024

export class OpeningThread {
  readonly #thread = new TaskThread<OpeningTask, OpeningAnswer, FromOpeningThread>({
    name: 'opening',
    program: new URL('./opening-worker.ts', import.meta.url),
    tasksMax: TASKS_MAX,
    onReply: () => {},
  })
  #share: NodeShare | undefined

  /** This node's share of the key in force, if it has one. */
  use(share: NodeShare | undefined): void {
    this.#share = share
    if (this.#thread.isRunning) this.#tellShare()
  }

  /** @throws {ThreadGone} When it died over it, has too much to do, or fails at it. */
  async open(works: readonly OpeningWork[], proven: boolean): Promise<readonly Uint8Array[]> {
    const { refusal } = this.#thread
    if (refusal !== undefined) throw new ThreadGone(refusal)
    if (this.#thread.start()) this.#tellShare()
    const answer = await this.#thread.post({ kind: 'open', works, proven })
    if (answer.kind === 'opened') return answer.partials
    throw new ThreadGone(answer.kind === 'failed' ? answer.reason : 'the opening thread failed')
  }

  stop(): Promise<void> {
    return this.#thread.stop()
  }

  #tellShare(): void {
    const share = this.#share?.copy()
    const moved = share === undefined ? [] : [share.buffer as ArrayBuffer]
    // Who asked something of a thread that dies is told by that.
    this.#thread.post({ kind: 'use', share }, moved).catch(() => {})
  }
}
