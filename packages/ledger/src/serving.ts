/**
 * Answers that cost this node reading and sending: for each peer one at a time, and no more than its budget. Who asks for more
 * waits, and who does not wait for its answers is refused.
 */
import { LedgerError } from './errors.ts'

export interface ServingLimits {
  /** Units that one peer is served a second, sustained, and at once after a pause. */
  readonly perSecond: number
  readonly burst: number
}

interface Turn {
  /** Below 0 when an answer cost more than was left. */
  left: number
  atMs: number
  waiting: number
  last: Promise<unknown>
}

/** As many as a node that takes over a snapshot asks for at once, and some. */
const WAITING_MAX = 12

export class Serving {
  readonly #limits: ServingLimits
  readonly #turns = new Map<string, Turn>()
  readonly #nowMs: () => number
  readonly #sleep: (ms: number) => Promise<void>

  /** `nowMs` never goes back. */
  constructor(
    limits: ServingLimits,
    nowMs: () => number = () => performance.now(),
    sleep: (ms: number) => Promise<void> = (ms) => new Promise((wake) => setTimeout(wake, ms).unref()),
  ) {
    this.#limits = limits
    this.#nowMs = nowMs
    this.#sleep = sleep
  }

  /** @throws {LedgerError} `LEDGER_HALTED` when too many of the peer's requests wait already. */
  inTurn(peer: string, serve: () => Promise<{ readonly answer: Uint8Array; readonly cost: number }>): Promise<Uint8Array> {
    let turn = this.#turns.get(peer)
    if (turn === undefined) {
      turn = { left: this.#limits.burst, atMs: this.#nowMs(), waiting: 0, last: Promise.resolve() }
      this.#turns.set(peer, turn)
    }
    if (turn.waiting >= WAITING_MAX) return Promise.reject(new LedgerError('LEDGER_HALTED', 'too many requests'))
    turn.waiting += 1
    const answered = turn.last.then(() => this.#serve(turn, serve))
    turn.last = answered.catch(() => {})
    return answered
  }

  async #serve(turn: Turn, serve: () => Promise<{ readonly answer: Uint8Array; readonly cost: number }>): Promise<Uint8Array> {
    const { perSecond, burst } = this.#limits
    try {
      const nowMs = this.#nowMs()
      turn.left = Math.min(burst, turn.left + ((nowMs - turn.atMs) / 1_000) * perSecond)
      turn.atMs = nowMs
      if (turn.left < 0) await this.#sleep((-turn.left / perSecond) * 1_000)
      const { answer, cost } = await serve()
      turn.left -= cost
      return answer
    } finally {
      turn.waiting -= 1
    }
  }
}
