import type { KeptReader, KeptWriter } from './kept.ts'

/**
 * What is usual at this time of the day, of weekdays and weekends apart: for each of 48 hours a mean that forgets. What is far above it is learned as if it
 * were the limit, so that an attack does not become usual while it lasts.
 */
const HOUR_MS = 3_600_000
export const SEASON_SLOTS = 48
/** Observations of an hour and those beside it before it is believed. */
const SEEN_MIN = 3
const COUNT_MAX = 1e15
/** Of what an hour of the day was, each further one takes so much: half is forgotten in some three days. */
const FORGET = 0.2

/** The hour of the day (UTC) of a weekday, or 24 more at a weekend. */
export function seasonSlot(atMs: number): number {
  const hours = Math.floor(atMs / HOUR_MS)
  // 1 January 1970 was a Thursday.
  const day = (Math.floor(hours / 24) + 4) % 7
  return (hours % 24) + (day === 0 || day === 6 ? 24 : 0)
}

/** The hour and those beside it, of the same kind of day. */
export function slotsAround(slot: number): readonly [number, number, number] {
  const days = slot < 24 ? 0 : 24
  return [slot, ((slot + 1) % 24) + days, ((slot + 23) % 24) + days]
}

/** The same hour of the other kind of day. */
export function otherDaySlot(slot: number): number {
  return (slot + 24) % SEASON_SLOTS
}

export class Season {
  readonly #means = new Float64Array(SEASON_SLOTS)
  readonly #seen = new Uint32Array(SEASON_SLOTS)

  /**
   * The most of this hour and those beside it, as days are not all alike. Undefined until enough was seen; weekdays say something about a
   * weekend that was never seen.
   */
  usual(atMs: number): number | undefined {
    const slot = seasonSlot(atMs)
    return this.#around(slot) ?? this.#around(otherDaySlot(slot))
  }

  #around(slot: number): number | undefined {
    if (this.#seen[slot] === 0) return undefined
    let [seen, most] = [0, 0]
    for (const at of slotsAround(slot)) {
      seen += this.#seen[at]!
      most = Math.max(most, this.#means[at]!)
    }
    return seen < SEEN_MIN ? undefined : most
  }

  /** @param limit What more than it is learned as. @param everyMs How often it is called. */
  learn(count: number, atMs: number, limit: number, everyMs: number): void {
    const slot = seasonSlot(atMs)
    const value = Math.min(count, limit)
    const least = FORGET * Math.min(1, everyMs / HOUR_MS)
    const before = this.#seen[slot] === 0 ? this.usual(atMs) : undefined
    if (before !== undefined) {
      // A first weekend begins as weekdays are, and not as what happens to come first.
      this.#means[slot] = before
      this.#seen[slot] = Math.ceil(1 / least)
    }
    const part = Math.max(least, 1 / (this.#seen[slot]! + 1))
    this.#means[slot] = this.#means[slot]! + part * (value - this.#means[slot]!)
    this.#seen[slot]! += 1
  }

  /** Hours of which something is known. */
  keep(into: KeptWriter): void {
    const slots = [...this.#seen.keys()].filter((slot) => this.#seen[slot] !== 0)
    into.u8(slots.length)
    for (const slot of slots) into.u8(slot).f64(this.#means[slot]!).u32(this.#seen[slot]!)
  }

  /** Into one that knows nothing. @throws {MemoryMalformed} */
  restore(from: KeptReader): void {
    for (const slot of from.hours(SEASON_SLOTS)) {
      this.#means[slot] = from.f64('a mean', 0, COUNT_MAX)
      this.#seen[slot] = from.u32('observations')
    }
  }
}
