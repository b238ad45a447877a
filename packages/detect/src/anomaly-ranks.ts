import type { KeptReader, KeptWriter } from './kept.ts'

/** How large a part of all that was seen was as rare: a histogram that fades. */
const BUCKETS = 256
/** Bits: what is rarer, or more common, is at the ends. */
const REACH = 12
const KEEP = 0.97
const COUNT_MAX = 1e12

export class RarityRanks {
  readonly #counts = new Float32Array(BUCKETS)
  #total = 0

  get bytes(): number {
    return this.#counts.byteLength
  }

  #bucketOf(rarity: number): number {
    const at = Math.floor(((rarity + REACH) / (2 * REACH)) * BUCKETS)
    return Math.min(BUCKETS - 1, Math.max(0, at))
  }

  add(rarity: number, weight: number): void {
    this.#counts[this.#bucketOf(rarity)]! += weight
    this.#total += weight
  }

  /** From 0 to 1; 1 while nothing was seen. */
  partAsRare(rarity: number): number {
    if (this.#total === 0) return 1
    let rarer = 0
    for (let at = this.#bucketOf(rarity); at < BUCKETS; at += 1) rarer += this.#counts[at]!
    return rarer / this.#total
  }

  fade(): void {
    for (let at = 0; at < BUCKETS; at += 1) this.#counts[at]! *= KEEP
    this.#total *= KEEP
  }

  keep(into: KeptWriter): void {
    for (const count of this.#counts) into.f32(count)
    into.f64(this.#total)
  }

  /** @throws {MemoryMalformed} */
  restore(from: KeptReader): void {
    let sum = 0
    for (let at = 0; at < BUCKETS; at += 1) {
      this.#counts[at] = from.f32('how rare windows were', 0, COUNT_MAX)
      sum += this.#counts[at]!
    }
    this.#total = from.f64('how many windows were ranked', 0.99 * sum - 1, 1.01 * sum + 1)
  }
}
