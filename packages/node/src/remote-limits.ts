/** Limits of scope `ring` as a traffic worker sees them: the node knows what other nodes have taken, so the node is asked. */
import { type Budget, createRateLimiter, type SharedLimiter } from '@ringwall/guard'
import type { Take } from './worker-messages.ts'

/** Requests that wait for an answer. */
const WAITING_MAX = 10_000
/** The node answers within a millisecond; one that does not has other troubles. */
const WAIT_MS_MAX = 1_000

interface Waiting {
  readonly settle: (waitMs: number) => void
  readonly key: string
  readonly budget: Budget
  readonly sinceMs: number
}

export class RemoteLimits implements SharedLimiter {
  readonly #ask: (takes: readonly Take[]) => void
  /** Counts when the node does not answer: a limit must not go missing. */
  readonly #own = createRateLimiter()
  readonly #waiting = new Map<number, Waiting>()
  #takes: Take[] = []
  #next = 1
  #timer: NodeJS.Timeout | undefined

  constructor(ask: (takes: readonly Take[]) => void) {
    this.#ask = ask
  }

  take(key: string, budget: Budget, nowMs: number): number | Promise<number> {
    if (this.#waiting.size >= WAITING_MAX) return this.#alone(key, budget, nowMs)
    const id = this.#next++
    // Requests that come together are asked about together.
    if (this.#takes.length === 0) setImmediate(() => this.#ask(this.#takes.splice(0)))
    this.#takes.push({ id, key, budget })
    return new Promise((settle) => {
      this.#waiting.set(id, { settle, key, budget, sinceMs: nowMs })
      this.#arm()
    })
  }

  answered(answers: readonly (readonly [id: number, waitMs: number])[]): void {
    for (const [id, waitMs] of answers) {
      this.#waiting.get(id)?.settle(waitMs)
      this.#waiting.delete(id)
    }
  }

  #alone(key: string, budget: Budget, nowMs: number): number {
    return this.#own.take(key, budget, nowMs)
  }

  /** One timer for all that wait, and none while nobody does. */
  #arm(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const nowMs = Date.now()
      for (const [id, { settle, key, budget, sinceMs }] of this.#waiting) {
        if (nowMs - sinceMs < WAIT_MS_MAX) continue
        this.#waiting.delete(id)
        settle(this.#alone(key, budget, nowMs))
      }
      if (this.#waiting.size > 0) this.#arm()
    }, WAIT_MS_MAX)
  }
}
