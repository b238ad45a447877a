/**
 * Counts of whoever counts most, in bounded memory: when there are more keys than fit, the median of all counts is taken off each, and those
 * that are left with nothing are forgotten (Misra, Gries, "Finding repeated elements", 1982; by medians: Anderson et al., "A
 * High-Performance Algorithm for Identifying Frequent Items in Data Streams", 2017). No count is too high, and none is too low by more than
 * two parts of `keysMax` of all that was counted: whoever makes up keys hides nobody who counts for more than that.
 *
 * Decays by being scaled. Pure.
 */

/** What is counted of one key. `demand` decides who stays. */
export interface Tally {
  demand: number
  asked: number
  refused: number
}

export class Tallies {
  readonly #keysMax: number
  readonly #byKey = new Map<string, Tally>()
  #demand = 0

  /** @param keysMax At least 2. */
  constructor(keysMax: number) {
    this.#keysMax = keysMax
  }

  get size(): number {
    return this.#byKey.size
  }

  /** Of all, forgotten ones included. */
  get demand(): number {
    return this.#demand
  }

  get(key: string): Tally | undefined {
    return this.#byKey.get(key)
  }

  entries(): IterableIterator<[string, Tally]> {
    return this.#byKey.entries()
  }

  /** @param demand Above 0. */
  add(key: string, demand: number, asked: number, refused: number): void {
    this.#demand += demand
    const known = this.#byKey.get(key)
    if (known !== undefined) {
      known.demand += demand
      known.asked += asked
      known.refused += refused
      return
    }
    if (this.#byKey.size >= this.#keysMax) this.#purge()
    this.#byKey.set(key, { demand, asked, refused })
  }

  /** @param factor 0 to 1. What is left with next to nothing is forgotten. */
  scale(factor: number, demandMin = 1e-3): void {
    this.#demand *= factor
    for (const [key, tally] of this.#byKey) {
      tally.demand *= factor
      tally.asked *= factor
      tally.refused *= factor
      if (tally.demand < demandMin) this.#byKey.delete(key)
    }
  }

  clear(): void {
    this.#byKey.clear()
    this.#demand = 0
  }

  /** Lets go of half of the keys or more. */
  #purge(): void {
    const counts = Float64Array.from(this.#byKey.values(), ({ demand }) => demand).sort()
    const off = counts[counts.length >> 1]!
    for (const [key, tally] of this.#byKey) {
      const left = tally.demand - off
      if (left <= 0) {
        this.#byKey.delete(key)
        continue
      }
      const part = left / tally.demand
      tally.demand = left
      tally.asked *= part
      tally.refused *= part
    }
  }
}
