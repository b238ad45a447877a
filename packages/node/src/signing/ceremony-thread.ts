/**
 * The ceremony thread as its node sees it: tasks in, outcomes out, a bounded number under way. Started when there is something to do, and
 * ended some time after the last: ceremonies are rare, and a thread takes memory. Whoever waits when it dies is told so, and asks again.
 */
import { Worker } from 'node:worker_threads'
import type { Finding } from '@ringwall/threshold'
import type { CeremonyOutcome, CeremonyTask, FromCeremonyThread, ToCeremonyThread } from './ceremony-messages.ts'

const TASKS_MAX = 128
const IDLE_MS = 60_000
const PROGRAM = new URL('./ceremony-worker.ts', import.meta.url)

export class CeremonyThreadGone extends Error {
  override readonly name = 'CeremonyThreadGone'
  readonly code = 'CEREMONY_THREAD'
}

interface Waiting {
  readonly settle: (outcome: CeremonyOutcome) => void
  readonly refuse: (error: CeremonyThreadGone) => void
}

export class CeremonyThread {
  readonly #waiting = new Map<number, Waiting>()
  readonly #onFindings: (findings: readonly Finding[]) => void
  readonly #idleMs: number
  readonly #program: URL
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #nextId = 1
  #stopped = false

  /** @param onFindings Told before the outcome of the task that they came of. */
  constructor(
    onFindings: (findings: readonly Finding[]) => void,
    { idleMs = IDLE_MS, program = PROGRAM }: { readonly idleMs?: number; readonly program?: URL } = {},
  ) {
    this.#onFindings = onFindings
    this.#idleMs = idleMs
    this.#program = program
  }

  get isRunning(): boolean {
    return this.#worker !== undefined
  }

  /** Of tasks under way. */
  get size(): number {
    return this.#waiting.size
  }

  /** So that it is there when the first task comes. */
  warm(): void {
    if (!this.#stopped && this.#worker === undefined) this.#start()
  }

  /**
   * @param task Its secrets are transferred: the caller's views of them are empty afterwards, whatever comes of it.
   * @throws {CeremonyThreadGone} When it died over it, has too much to do, or was stopped: nothing came of it, and it can be asked again.
   */
  run(task: CeremonyTask): Promise<CeremonyOutcome> {
    const secrets = secretsOf(task)
    const refusal = this.#stopped
      ? 'the node stops'
      : this.#waiting.size >= TASKS_MAX
        ? `the ceremony thread has ${TASKS_MAX} tasks already`
        : undefined
    if (refusal !== undefined) {
      for (const secret of secrets) secret.fill(0)
      return Promise.reject(new CeremonyThreadGone(refusal))
    }
    clearTimeout(this.#idle)
    this.warm()
    return new Promise((settle, refuse) => {
      const id = this.#nextId
      this.#nextId += 1
      this.#waiting.set(id, { settle, refuse })
      const message: ToCeremonyThread = { id, task }
      this.#worker?.postMessage(
        message,
        secrets.map(({ buffer }) => buffer as ArrayBuffer),
      )
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#end()
    this.#refuseAll('the node stops')
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }

  #start(): void {
    const worker = new Worker(this.#program)
    worker.unref()
    this.#worker = worker
    let cause = ''
    worker.on('message', ({ id, outcome, findings }: FromCeremonyThread) => {
      if (findings.length > 0) this.#onFindings(findings)
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      waiting?.settle(outcome)
      if (this.#waiting.size === 0) this.#rest()
    })
    worker.on('error', (error: Error) => {
      cause = `: ${error.message}`
    })
    worker.on('exit', () => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#refuseAll(`the ceremony thread ended${cause}`)
    })
    this.#rest()
  }

  #rest(): void {
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => {
      if (this.#waiting.size === 0) void this.#end()
    }, this.#idleMs)
    this.#idle.unref()
  }

  #refuseAll(reason: string): void {
    for (const { refuse } of this.#waiting.values()) refuse(new CeremonyThreadGone(reason))
    this.#waiting.clear()
  }
}

/** Each in memory of its own: all of it goes to the thread. */
function secretsOf(task: CeremonyTask): readonly Uint8Array[] {
  if (task.kind === 'foresee') return []
  if (task.kind !== 'deal') return [task.encryption]
  return task.share === undefined ? [task.dealing] : [task.dealing, task.share]
}
