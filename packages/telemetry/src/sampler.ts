/**
 * Decides which decisions are kept: all of them up to a rate, then one in 64, which stands for 64. Allows have one budget,
 * everything else a larger one of its own, so that a flood of either leaves the other's record whole. Pure: time comes in.
 */
export const SAMPLE_ONE_IN = 64

export class Sampler {
  readonly #perSecondMax: number
  #second = -1
  #kept = 0
  #past = 0
  #skipped = 0

  constructor(perSecondMax: number) {
    this.#perSecondMax = perSecondMax
  }

  /** How many were left out, since the beginning. */
  get skipped(): number {
    return this.#skipped
  }

  /** Whether the next one would be kept. A no counts it as left out; a yes changes nothing. */
  wants(nowMs: number): boolean {
    this.#turn(nowMs)
    if (this.#kept < this.#perSecondMax || (this.#past + 1) % SAMPLE_ONE_IN === 0) return true
    this.#past++
    this.#skipped++
    return false
  }

  /** How many requests the next one stands for; 0: leave it out. */
  take(nowMs: number): number {
    if (!this.wants(nowMs)) return 0
    if (this.#kept < this.#perSecondMax) {
      this.#kept++
      return 1
    }
    this.#past++
    return SAMPLE_ONE_IN
  }

  #turn(nowMs: number): void {
    const second = Math.floor(nowMs / 1_000)
    if (second === this.#second) return
    this.#second = second
    this.#kept = 0
    // `past` runs on over seconds: a steady stream just above the rate is still sampled one in 64.
  }
}
