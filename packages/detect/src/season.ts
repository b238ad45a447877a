/**
 * What is usual at this time of the day, of weekdays and weekends apart: for each of 48 hours a mean that forgets (half of it in some three
 * days). What is far above the mean is learned as if it were the limit, so that an attack does not become usual while it lasts.
 */
const HOUR_MS = 3_600_000
const SLOTS = 48
/** Observations before a slot is believed. */
const SEEN_MIN = 6
const FORGET = 0.04

export class Season {
  readonly #means = new Float64Array(SLOTS)
  readonly #seen = new Uint32Array(SLOTS)

  #slot(atMs: number): number {
    const hours = Math.floor(atMs / HOUR_MS)
    // 1 January 1970 was a Thursday.
    const day = (Math.floor(hours / 24) + 4) % 7
    return (hours % 24) + (day === 0 || day === 6 ? 24 : 0)
  }

  /** Undefined until enough was seen. A weekday says something about a weekend that was never seen. */
  usual(atMs: number): number | undefined {
    const slot = this.#slot(atMs)
    if (this.#seen[slot]! >= SEEN_MIN) return this.#means[slot]!
    const other = (slot + 24) % SLOTS
    if (this.#seen[other]! >= SEEN_MIN) return this.#means[other]!
    return undefined
  }

  /** @param limit What more than it is learned as. */
  learn(count: number, atMs: number, limit: number): void {
    const slot = this.#slot(atMs)
    const value = Math.min(count, limit)
    const part = Math.max(FORGET, 1 / (this.#seen[slot]! + 1))
    this.#means[slot] = this.#means[slot]! + part * (value - this.#means[slot]!)
    this.#seen[slot]! += 1
  }
}
