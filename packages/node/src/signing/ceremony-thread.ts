/** The ceremony thread as its node sees it. It is ended some time after its last task: ceremonies are rare, and a thread takes memory. */
import type { Finding } from '@ringwall/threshold'
import type { CeremonyOutcome, CeremonyTask, FromCeremonyThread } from './ceremony-messages.ts'
import { TaskThread, ThreadGone } from './task-thread.ts'

const TASKS_MAX = 128
const IDLE_MS = 60_000
const PROGRAM = new URL('./ceremony-worker.ts', import.meta.url)

export class CeremonyThread {
  readonly #thread: TaskThread<CeremonyTask, CeremonyOutcome, FromCeremonyThread>
  readonly #idleMs: number
  #idle: NodeJS.Timeout | undefined

  /** @param onFindings Told before the outcome of the task that they came of. */
  constructor(
    onFindings: (findings: readonly Finding[]) => void,
    { idleMs = IDLE_MS, program = PROGRAM }: { readonly idleMs?: number; readonly program?: URL } = {},
  ) {
    this.#idleMs = idleMs
    this.#thread = new TaskThread({
      name: 'ceremony',
      program,
      tasksMax: TASKS_MAX,
      onReply: ({ findings }) => {
        if (findings.length > 0) onFindings(findings)
      },
      onIdle: () => this.#rest(),
    })
  }

  get isRunning(): boolean {
    return this.#thread.isRunning
  }

  /** Of tasks under way. */
  get size(): number {
    return this.#thread.size
  }

  /** So that it is there when the first task comes. */
  warm(): void {
    if (this.#thread.start()) this.#rest()
  }

  /**
   * @param task Its secrets are transferred: the caller's views of them are empty afterwards, whatever comes of it.
   * @throws {ThreadGone} When it died over it, has too much to do, or was stopped: nothing came of it, and it can be asked again.
   */
  run(task: CeremonyTask): Promise<CeremonyOutcome> {
    const secrets = secretsOf(task)
    const { refusal } = this.#thread
    if (refusal !== undefined) {
      for (const secret of secrets) secret.fill(0)
      return Promise.reject(new ThreadGone(refusal))
    }
    this.warm()
    clearTimeout(this.#idle)
    return this.#thread.post(
      task,
      secrets.map(({ buffer }) => buffer as ArrayBuffer),
    )
  }

  async stop(): Promise<void> {
    clearTimeout(this.#idle)
    await this.#thread.stop()
  }

  #rest(): void {
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => {
      if (this.#thread.size === 0) void this.#thread.end()
    }, this.#idleMs)
    this.#idle.unref()
  }
}

/** Each in memory of its own: all of it goes to the thread. */
function secretsOf(task: CeremonyTask): readonly Uint8Array[] {
  if (task.kind === 'foresee') return []
  if (task.kind !== 'deal') return [task.encryption]
  return task.share === undefined ? [task.dealing] : [task.dealing, task.share]
}
