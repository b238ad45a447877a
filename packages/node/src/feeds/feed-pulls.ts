/** When a feed is pulled, and how that went: one pull at a time, the next later after each failure, and a failure told once. */

export interface FeedStatus {
  readonly name: string
  readonly url: string
  readonly lastMs: number | null
  readonly problem: string | null
  /** Decisions that the node says, or indicators that it keeps. */
  readonly held: number
  /** That the policy does not let a node say: safe, too wide, too many. */
  readonly refused: number
  /** Of other kinds. */
  readonly leftOut: number
}

export interface FeedPullsOptions {
  /** Of the feed. */
  readonly name: string
  readonly everyMs: number
  /** Between pulls, after many failures. */
  readonly waitMsMax: number
  readonly log: (level: 'info' | 'warn', line: string) => void
}

const DOUBLINGS_MAX = 10
const PROBLEM_CHARS_MAX = 300

export class FeedPulls {
  readonly #options: FeedPullsOptions
  readonly #aborter = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #pulling: Promise<void> = Promise.resolve()
  #failures = 0
  #lastMs: number | undefined
  #problem: string | undefined
  #waitMs = 0

  constructor(options: FeedPullsOptions) {
    this.#options = options
  }

  /** Aborts when the feed is stopped. */
  get signal(): AbortSignal {
    return this.#aborter.signal
  }

  get failures(): number {
    return this.#failures
  }

  /** Of the last pull that went well. */
  get lastMs(): number | undefined {
    return this.#lastMs
  }

  status(): Pick<FeedStatus, 'lastMs' | 'problem'> {
    return { lastMs: this.#lastMs ?? null, problem: this.#problem ?? null }
  }

  /** At once, and then every so often. */
  start(pull: (nowMs: number) => Promise<void>): void {
    this.#plan(0, pull)
  }

  async stop(): Promise<void> {
    this.#aborter.abort()
    clearTimeout(this.#timer)
    await this.#pulling
  }

  /** The next pull is not before that, as a server asks for (Retry-After); the longest pause bounds it. */
  wait(ms: number): void {
    this.#waitMs = Math.min(this.#options.waitMsMax, ms)
  }

  /** One pull. @returns False when the feed was stopped meanwhile. */
  async run(nowMs: number, work: () => Promise<void>): Promise<boolean> {
    const { name, log } = this.#options
    this.#waitMs = 0
    try {
      await work()
      if (this.#failures > 0) log('info', `feed ${name}: answers again`)
      this.#failures = 0
      this.#problem = undefined
      this.#lastMs = nowMs
    } catch (error) {
      if (this.signal.aborted) return false
      this.#failures += 1
      this.#problem = (error as Error).message.slice(0, PROBLEM_CHARS_MAX)
      if (this.#failures === 1) log('warn', `feed ${name}: ${this.#problem}; what it said stands until it lapses`)
    }
    return true
  }

  #plan(waitMs: number, pull: (nowMs: number) => Promise<void>): void {
    if (this.signal.aborted) return
    this.#timer = setTimeout(() => {
      this.#pulling = pull(Date.now()).finally(() => {
        const { everyMs, waitMsMax } = this.#options
        const backOffMs = everyMs * 2 ** Math.min(this.#failures, DOUBLINGS_MAX)
        this.#plan(Math.max(this.#waitMs, Math.min(Math.max(waitMsMax, everyMs), backOffMs)), pull)
      })
    }, waitMs)
    this.#timer.unref()
  }
}
