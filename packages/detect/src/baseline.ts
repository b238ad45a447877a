/**
 * What is usual of many keys: of each measure a median and a spread that forget, in two numbers each, for every hour of the day, weekdays and weekends
 * apart, or for all hours at once.
 *
 * The median follows by steps of a part of the spread, up or down, whatever the distance (stochastic approximation: Robbins, Monro, "A stochastic
 * approximation method", 1951; of a quantile: Tierney, "A space-efficient recursive procedure for estimating a quantile of an unknown
 * distribution", 1983). The spread is the median distance from it, followed by factors (Yazidi, Hammer, "Multiplicative update methods for incremental
 * quantile estimation", 2017). So no single value moves either of them far, and half of all values may be wrong before they say nothing. The
 * first values of a key move them most, and none less than `GAIN_MIN`, so that what was long ago is forgotten.
 *
 * Values are logarithms where what is measured has no upper end. Bounded: one block of numbers, `keysMax` keys; the key that learned longest ago goes first.
 */
import { otherDaySlot, SEASON_SLOTS, seasonSlot, slotsAround } from './season.ts'

/** A slot and those beside it have seen so many windows before they are believed. */
const SEEN_MIN = 6
/** Half of what is remembered is of the last ten or so windows of the slot. */
const GAIN_MIN = 0.07
const SPREAD_FIRST = 0.5
const SPREAD_MIN = 1e-3
const SPREAD_MAX = 16
const SEEN_MAX = 1e6
/** The standard deviation of a normal distribution over its median absolute deviation. */
export const DEVIATIONS_PER_MAD = 1.4826
/** The largest value that was ever learned is forgotten by half in a hundred windows. */
const PEAK_KEEP = 0.993

export interface Usual {
  readonly median: number
  /** Of one standard deviation, as far as values are normal. */
  readonly deviation: number
}

export interface BaselineOptions {
  readonly keysMax: number
  readonly measures: number
  /** By hour and kind of day; otherwise all hours are one. */
  readonly seasonal: boolean
}

export class Baselines {
  readonly #options: BaselineOptions
  readonly #slots: number
  /** Of a slot: how many windows it saw, then median and spread of each measure. */
  readonly #slotLength: number
  /** Of a key: its slots, then the peak of each measure. */
  readonly #rowLength: number
  readonly #numbers: Float32Array
  readonly #sinceMs: Float64Array
  /** The key that learned longest ago first. */
  readonly #rows = new Map<string, number>()
  #evicted = 0

  constructor(options: BaselineOptions) {
    this.#options = options
    this.#slots = options.seasonal ? SEASON_SLOTS : 1
    this.#slotLength = 1 + 2 * options.measures
    this.#rowLength = this.#slots * this.#slotLength + options.measures
    this.#numbers = new Float32Array(options.keysMax * this.#rowLength)
    this.#sinceMs = new Float64Array(options.keysMax)
  }

  get keys(): number {
    return this.#rows.size
  }

  get evicted(): number {
    return this.#evicted
  }

  /** Of its block of numbers: all that grows with keys, but their names. */
  get bytes(): number {
    return this.#numbers.byteLength + this.#sinceMs.byteLength
  }

  /** Since when the key is known, Unix milliseconds; undefined: it is not. */
  since(key: string): number | undefined {
    const row = this.#rows.get(key)
    return row === undefined ? undefined : this.#sinceMs[row]
  }

  /**
   * What is usual of the measure: of this hour and those beside it what is most, as days are not all alike. Weekdays speak for weekends that were not
   * seen, and the other way round. Undefined until enough was seen.
   */
  usual(key: string, measure: number, atMs: number): Usual | undefined {
    const row = this.#rows.get(key)
    if (row === undefined) return undefined
    const from = row * this.#rowLength
    if (this.#slots === 1) return this.#most(from, measure, [0])
    const slot = seasonSlot(atMs)
    return this.#most(from, measure, slotsAround(slot)) ?? this.#most(from, measure, slotsAround(otherDaySlot(slot)))
  }

  #most(from: number, measure: number, slots: readonly number[]): Usual | undefined {
    let [seen, median, spread] = [0, Number.NEGATIVE_INFINITY, 0]
    for (const slot of slots) {
      const at = from + slot * this.#slotLength
      const count = this.#numbers[at]!
      if (count === 0) continue
      seen += count
      median = Math.max(median, this.#numbers[at + 1 + 2 * measure]!)
      spread = Math.max(spread, this.#numbers[at + 2 + 2 * measure]!)
    }
    return seen < SEEN_MIN ? undefined : { median, deviation: spread * DEVIATIONS_PER_MAD }
  }

  /** The most that the key did, which fades. 0: nothing yet. */
  peak(key: string, measure: number): number {
    const row = this.#rows.get(key)
    return row === undefined ? 0 : this.#numbers[this.#peakAt(row, measure)]!
  }

  #peakAt(row: number, measure: number): number {
    return row * this.#rowLength + this.#slots * this.#slotLength + measure
  }

  /** @param values In order of the measures. */
  learn(key: string, values: readonly number[], atMs: number): void {
    const row = this.#touch(key, atMs)
    const slot = this.#slots === 1 ? 0 : seasonSlot(atMs)
    const at = row * this.#rowLength + slot * this.#slotLength
    const seen = this.#numbers[at]!
    for (let measure = 0; measure < this.#options.measures; measure += 1) {
      const value = values[measure]!
      this.#step(at + 1 + 2 * measure, value, seen)
      const peak = this.#peakAt(row, measure)
      this.#numbers[peak] = Math.max(this.#numbers[peak]! * PEAK_KEEP, value)
    }
    this.#numbers[at] = Math.min(SEEN_MAX, seen + 1)
  }

  #step(at: number, value: number, seen: number): void {
    const numbers = this.#numbers
    if (seen === 0) {
      numbers[at] = value
      numbers[at + 1] = SPREAD_FIRST
      return
    }
    const gain = Math.max(GAIN_MIN, 1 / (seen + 1))
    const median = numbers[at]!
    const spread = numbers[at + 1]!
    const away = value - median
    const stride = 2 * gain * Math.max(spread, SPREAD_MIN)
    // Not beyond what was seen: a measure that is always the same stays there.
    numbers[at] = median + Math.sign(away) * Math.min(Math.abs(away), stride)
    const factor = Math.abs(away) > spread ? 1 + gain : 1 / (1 + gain)
    numbers[at + 1] = Math.min(SPREAD_MAX, Math.max(SPREAD_MIN, spread * factor))
  }

  #touch(key: string, atMs: number): number {
    const known = this.#rows.get(key)
    if (known !== undefined) {
      this.#rows.delete(key)
      this.#rows.set(key, known)
      return known
    }
    let row = this.#rows.size
    if (row >= this.#options.keysMax) {
      const [oldest, place] = this.#rows.entries().next().value!
      this.#rows.delete(oldest)
      this.#evicted += 1
      row = place
    }
    this.#numbers.fill(0, row * this.#rowLength, (row + 1) * this.#rowLength)
    this.#sinceMs[row] = atMs
    this.#rows.set(key, row)
    return row
  }
}
