/** What is under way and was allowed by what may change: judged again when it does. */
import type { Decision, Judgement } from '@ringwall/guard'

export interface Standing {
  readonly judgement: Judgement
  /** It is allowed no more. */
  end(decision: Decision): void
}

/** One that knows where it is kept. */
export interface KeptStanding extends Standing {
  /** -1 where it is not. */
  standingAt: number
}

/**
 * All of them. No `Set`: each time one has been filled and emptied it makes another table, and the old one keeps what was in it and the way to the next. Once
 * one of them is in the old generation, young requests survive by it although they are over, a third of the time of a worker.
 */
export class StandingRequests {
  readonly #all: KeptStanding[] = []

  get size(): number {
    return this.#all.length
  }

  /** As they are now. */
  all(): readonly Standing[] {
    return [...this.#all]
  }

  has(one: Standing): boolean {
    return (one as KeptStanding).standingAt >= 0
  }

  add(one: KeptStanding): void {
    if (one.standingAt >= 0) return
    one.standingAt = this.#all.length
    this.#all.push(one)
  }

  delete(one: KeptStanding): void {
    const at = one.standingAt
    if (at < 0) return
    one.standingAt = -1
    const last = this.#all.pop()!
    if (last === one) return
    this.#all[at] = last
    last.standingAt = at
  }
}
