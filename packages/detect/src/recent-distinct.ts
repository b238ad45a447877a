/**
 * How many different things were seen within a window, by a sample of their hashes, each with when it was last seen: all of them while
 * they are few, then those whose hash falls into a half, a quarter and so on of all hashes (adaptive sampling: Wegman; Flajolet,
 * "On adaptive sampling", 1990). Exact up to `SAMPLE_MAX`; above, the standard error is at most 1.2 / √`SAMPLE_MAX`, 7.5 %.
 *
 * The union of two is associative, commutative and idempotent: of times the later, of levels the higher. What is over leaves; the level falls
 * only when nothing is left, so that what is counted is always a whole sample.
 */
export const SAMPLE_MAX = 256

export class RecentDistinct {
  /** By hash, the one seen longest ago first. */
  readonly #seen = new Map<number, number>()
  #level = 0

  /** @param hash 32 bits, evenly spread. */
  add(hash: number, atMs: number): void {
    if (!this.#isSampled(hash)) return
    const before = this.#seen.get(hash)
    if (before !== undefined) {
      if (before >= atMs) return
      this.#seen.delete(hash)
    }
    this.#seen.set(hash, atMs)
    while (this.#seen.size > SAMPLE_MAX) this.#raise(this.#level + 1)
  }

  #isSampled(hash: number): boolean {
    return this.#level === 0 || hash >>> (32 - this.#level) === 0
  }

  #raise(level: number): void {
    this.#level = level
    for (const hash of this.#seen.keys()) if (!this.#isSampled(hash)) this.#seen.delete(hash)
  }

  /** Forgets what was last seen before. */
  expire(fromMs: number): void {
    for (const [hash, atMs] of this.#seen) {
      if (atMs >= fromMs) {
        // In order but for what was told late: the rest is looked at when its turn comes.
        break
      }
      this.#seen.delete(hash)
    }
    if (this.#seen.size === 0) this.#level = 0
  }

  get count(): number {
    return this.#seen.size * 2 ** this.#level
  }

  get level(): number {
    return this.#level
  }

  hashes(): readonly number[] {
    return [...this.#seen.keys()]
  }

  /** Adds what the other saw. */
  join(other: RecentDistinct): void {
    if (other.#level > this.#level) this.#raise(other.#level)
    for (const [hash, atMs] of other.#seen) this.add(hash, atMs)
  }
}

/** A sample that was told: how many different things beyond those that `seen` has; adds them to it. */
export function newsOf(sample: { readonly level: number; readonly hashes: readonly number[] }, seen: Set<number>): number {
  let news = 0
  for (const hash of sample.hashes) {
    if (seen.has(hash)) continue
    seen.add(hash)
    news += 1
  }
  return news * 2 ** sample.level
}
