/**
 * A worker thread that answers tasks, as its node sees it: a bounded number under way, started when somebody asks, started anew when it
 * dies. Whoever waits when it dies is told so, and asks again.
 */
import { Worker } from 'node:worker_threads'

/** What is short-lived in a task is small: left alone, the engine lets it grow to 48 MB a thread. */
const YOUNG_MB_MAX = 6

export class ThreadGone extends Error {
  override readonly name = 'ThreadGone'
  readonly code = 'THREAD_GONE'
}

interface Waiting<Answer> {
  readonly settle: (answer: Answer) => void
  readonly refuse: (error: ThreadGone) => void
}

export interface TaskThreadOptions<Reply> {
  /** In what people read: `the NAME thread`. */
  readonly name: string
  readonly program: URL
  readonly workerData?: unknown
  readonly tasksMax: number
  /** Told of a reply before whoever waits for it. */
  readonly onReply: (reply: Reply) => void
  /** Told when a reply left nothing under way. */
  readonly onIdle?: () => void
}

/** Tasks go out as `{id, task}`, and come back as replies. */
export class TaskThread<Task, Answer, Reply extends { readonly id: number; readonly answer: Answer }> {
  readonly #options: TaskThreadOptions<Reply>
  readonly #waiting = new Map<number, Waiting<Answer>>()
  #worker: Worker | undefined
  #nextId = 1
  #stopped = false

  constructor(options: TaskThreadOptions<Reply>) {
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#worker !== undefined
  }

  /** Of tasks under way. */
  get size(): number {
    return this.#waiting.size
  }

  /** Why it takes no task now; undefined when it does. */
  get refusal(): string | undefined {
    const { name, tasksMax } = this.#options
    if (this.#stopped) return 'the node stops'
    return this.#waiting.size >= tasksMax ? `the ${name} thread has ${tasksMax} tasks already` : undefined
  }

  /** Returns whether it was not running. */
  start(): boolean {
    if (this.#stopped || this.#worker !== undefined) return false
    const { name, program, workerData, onReply, onIdle } = this.#options
    const worker = new Worker(program, { workerData, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB_MAX } })
    worker.unref()
    this.#worker = worker
    let cause = ''
    worker.on('message', (reply: Reply) => {
      onReply(reply)
      const waiting = this.#waiting.get(reply.id)
      this.#waiting.delete(reply.id)
      waiting?.settle(reply.answer)
      if (this.#waiting.size === 0) onIdle?.()
    })
    worker.on('error', (error: Error) => {
      cause = `: ${error.message}`
    })
    worker.on('exit', () => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#refuseAll(`the ${name} thread ended${cause}`)
    })
    return true
  }

  /**
   * @param moved Memory of secrets: it is in the thread then, and no longer here.
   * @throws {ThreadGone} When it is not running, or died over the task: nothing came of it.
   */
  post(task: Task, moved: readonly ArrayBuffer[] = []): Promise<Answer> {
    return new Promise((settle, refuse) => {
      const worker = this.#worker
      if (worker === undefined) {
        refuse(new ThreadGone(`the ${this.#options.name} thread is not running`))
        return
      }
      const id = this.#nextId
      this.#nextId += 1
      this.#waiting.set(id, { settle, refuse })
      worker.postMessage({ id, task }, moved)
    })
  }

  /** Ends the thread; the next start begins another. */
  end(): Promise<void> {
    return this.#end(`the ${this.#options.name} thread was ended`)
  }

  /** Ends it for good. */
  stop(): Promise<void> {
    this.#stopped = true
    return this.#end('the node stops')
  }

  async #end(reason: string): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    // Before the wait: whoever asks meanwhile asks another thread.
    this.#refuseAll(reason)
    await worker?.terminate()
  }

  #refuseAll(reason: string): void {
    for (const { refuse } of this.#waiting.values()) refuse(new ThreadGone(reason))
    this.#waiting.clear()
  }
}
