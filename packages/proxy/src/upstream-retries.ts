/**
 * How many requests of a service may be sent again: a share of those that came in the last 10 s, and a few a second in any
 * case. When everything fails, trying again must not double the load of what is left.
 */
const SECONDS = 10

export class RetryBudget {
  readonly #share: number
  readonly #minPerSecond: number
  readonly #requests = new Array<number>(SECONDS).fill(0)
  readonly #resent = new Array<number>(SECONDS).fill(0)
  #requestsSum = 0
  #resentSum = 0
  #second = 0
  #slot = 0

  constructor(terms: { readonly budget: number; readonly minPerSecond: number }) {
    this.#share = terms.budget
    this.#minPerSecond = terms.minPerSecond
  }

  /** A request has come. @param nowMs Monotonic. */
  request(nowMs: number): void {
    this.#turn(nowMs)
    this.#requests[this.#slot]!++
    this.#requestsSum++
  }

  /** Whether one may be sent again now; counts it if so. */
  take(nowMs: number): boolean {
    this.#turn(nowMs)
    if (this.#resent[this.#slot]! >= this.#minPerSecond && this.#resentSum >= this.#share * this.#requestsSum) return false
    this.#resent[this.#slot]!++
    this.#resentSum++
    return true
  }

  #turn(nowMs: number): void {
    const second = Math.floor(nowMs / 1_000)
    const passed = second - this.#second
    if (passed <= 0) return
    this.#second = second
    for (let at = Math.min(passed, SECONDS); at > 0; at--) {
      this.#slot = (this.#slot + 1) % SECONDS
      this.#requestsSum -= this.#requests[this.#slot]!
      this.#resentSum -= this.#resent[this.#slot]!
      this.#requests[this.#slot] = 0
      this.#resent[this.#slot] = 0
    }
  }
}
