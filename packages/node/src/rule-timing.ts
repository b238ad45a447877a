/** Which requests have their rules timed one by one: few, and not in step with anything. */

const GAP_MAX = 128

/** A fine clock costs tens of nanoseconds a rule: one request in 64, on average, pays them. */
export class RuleTiming {
  readonly #random: () => number
  #left: number

  constructor(random: () => number = Math.random) {
    this.#random = random
    this.#left = this.#gap()
  }

  /** A stopwatch for the request that begins now, or nothing. */
  next(): (() => number) | undefined {
    this.#left -= 1
    if (this.#left > 0) return undefined
    this.#left = this.#gap()
    return microseconds
  }

  #gap(): number {
    return 1 + Math.floor(this.#random() * (GAP_MAX - 1))
  }
}

function microseconds(): number {
  return performance.now() * 1_000
}
