/**
 * What is usual: of each measure of a row a median and a spread that forget, in two numbers each, for every hour of the day, weekdays and weekends
 * apart, or for all hours at once.
 *
 * The median follows by steps of a part of the spread, up or down, whatever the distance (stochastic approximation: Robbins, Monro, "A stochastic
 * approximation method", 1951; of a quantile: Tierney, "A space-efficient recursive procedure for estimating a quantile of an unknown
 * distribution", 1983). The spread is the median distance from it, followed by factors (Yazidi, Hammer, "Multiplicative update methods for incremental
 * quantile estimation", 2017). So no single value moves either of them far, and half of all values may be wrong before they say nothing. The
 * first values of a row move them most, and none less than one of `memoryWindows`, so that what was long ago is forgotten.
 *
 * Values are bits, logarithms of what is measured. Bounded: one block of numbers, made at once.
 */
import { type KeptReader, type KeptWriter, TIME_MAX } from './kept.ts'
import { otherDaySlot, SEASON_SLOTS, seasonSlot, slotsAround } from './season.ts'

/** A slot and those beside it have seen so many windows before they are believed. */
const SEEN_MIN = 6
const SPREAD_FIRST = 0.5
/** What is always the same is followed when it changes, too. */
const SPREAD_MIN = 0.1
const SPREAD_MAX = 16
const SEEN_MAX = 1e6
/** The standard deviation of a normal distribution over its median absolute deviation. */
const DEVIATIONS_PER_MAD = 1.4826
/** The largest value that was ever learned loses so much with each window: 1.4 % in a day of them, one after the other. */
const PEAK_KEEP = 0.99995
const ALL_HOURS: readonly number[] = [0]
const DAY_MS = 86_400_000
/** More bits no measure has. */
const BITS_MAX = 64

export interface Usual {
  readonly median: number
  /** One standard deviation, as far as values are normal. */
  readonly deviation: number
}

export interface BaselineOptions {
  readonly rows: number
  readonly measures: number
  /** By hour and kind of day; otherwise all hours are one. */
  readonly seasonal: boolean
  /** Of one slot: about so many that came last are what is usual. */
  readonly memoryWindows: number
  /** Whether the most of the days before is remembered. */
  readonly peaks?: boolean
}

export class Baselines {
  readonly #options: BaselineOptions
  readonly #slots: number
  /** Of a slot: how many windows it saw, then median and spread of each measure. */
  readonly #slotLength: number
  /** Of a row: its slots; with peaks the most of each measure on the days before, the same of the day that is, and which day that is. */
  readonly #rowLength: number
  readonly #numbers: Float32Array

  constructor(options: BaselineOptions) {
    this.#options = options
    this.#slots = options.seasonal ? SEASON_SLOTS : 1
    this.#slotLength = 1 + 2 * options.measures
    this.#rowLength = this.#slots * this.#slotLength + (options.peaks === true ? 2 * options.measures + 1 : 0)
    this.#numbers = new Float32Array(options.rows * this.#rowLength)
  }

  get bytes(): number {
    return this.#numbers.byteLength
  }

  /**
   * What is usual of the measure: of this hour and those beside it what is most, as days are not all alike. Weekdays speak for weekends that were not
   * seen, and the other way round. Undefined until enough was seen.
   */
  usual(row: number, measure: number, atMs: number): Usual | undefined {
    const from = row * this.#rowLength
    if (this.#slots === 1) return this.#most(from, measure, ALL_HOURS)
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

  /**
   * The most of the days before (UTC), which fades. 0: nothing yet. What was learned on the same day does not count: whoever did a little more each
   * time would never do more than before.
   */
  peak(row: number, measure: number, atMs: number): number {
    const at = this.#peaksAt(row)
    const { measures } = this.#options
    const before = this.#numbers[at + measure]!
    return this.#numbers[at + 2 * measures] === Math.floor(atMs / DAY_MS)
      ? before
      : Math.max(before, this.#numbers[at + measures + measure]!)
  }

  #peaksAt(row: number): number {
    return row * this.#rowLength + this.#slots * this.#slotLength
  }

  /** The row is another’s from now on. */
  forget(row: number): void {
    this.#numbers.fill(0, row * this.#rowLength, (row + 1) * this.#rowLength)
  }

  /** @param values In order of the measures. @param followed What median and spread follow: the same unless given. */
  learn(row: number, values: readonly number[], atMs: number, followed: readonly number[] = values): void {
    const slot = this.#slots === 1 ? 0 : seasonSlot(atMs)
    const at = row * this.#rowLength + slot * this.#slotLength
    const seen = this.#numbers[at]!
    for (let measure = 0; measure < this.#options.measures; measure += 1)
      this.#step(at + 1 + 2 * measure, followed[measure]!, seen)
    this.#numbers[at] = Math.min(SEEN_MAX, seen + 1)
    if (this.#options.peaks === true) this.#learnPeaks(this.#peaksAt(row), values, Math.floor(atMs / DAY_MS))
  }

  #learnPeaks(at: number, values: readonly number[], day: number): void {
    const numbers = this.#numbers
    const { measures } = this.#options
    const isNewDay = numbers[at + 2 * measures] !== day
    numbers[at + 2 * measures] = day
    for (let before = at; before < at + measures; before += 1) {
      const today = before + measures
      if (isNewDay) {
        numbers[before] = Math.max(numbers[before]!, numbers[today]!)
        numbers[today] = 0
      }
      numbers[before] = numbers[before]! * PEAK_KEEP
      numbers[today] = Math.max(numbers[today]!, values[before - at]!)
    }
  }

  /** Writes what a row learned, without hours of which nothing is known. */
  keep(row: number, into: KeptWriter): void {
    const from = row * this.#rowLength
    const slots: number[] = []
    for (let slot = 0; slot < this.#slots; slot += 1) if (this.#numbers[from + slot * this.#slotLength] !== 0) slots.push(slot)
    into.u8(slots.length)
    for (const slot of slots) {
      into.u8(slot)
      const at = from + slot * this.#slotLength
      for (let number = at; number < at + this.#slotLength; number += 1) into.f32(this.#numbers[number]!)
    }
    for (let number = this.#peaksAt(row); number < from + this.#rowLength; number += 1) into.f32(this.#numbers[number]!)
  }

  /** Reads what `keep` wrote into a row that has learned nothing. @throws {MemoryMalformed} */
  restore(row: number, from: KeptReader): void {
    const { measures, peaks } = this.#options
    const numbers = this.#numbers
    for (const slot of from.hours(this.#slots)) {
      const at = row * this.#rowLength + slot * this.#slotLength
      numbers[at] = from.f32('windows', 1, SEEN_MAX)
      for (let measure = 0; measure < measures; measure += 1) {
        numbers[at + 1 + 2 * measure] = from.f32('a median', 0, BITS_MAX)
        numbers[at + 2 + 2 * measure] = from.f32('a spread', SPREAD_MIN / 2, SPREAD_MAX)
      }
    }
    if (peaks !== true) return
    const at = this.#peaksAt(row)
    for (let measure = 0; measure < 2 * measures; measure += 1) numbers[at + measure] = from.f32('a peak', 0, BITS_MAX)
    numbers[at + 2 * measures] = from.f32('a day', 0, TIME_MAX / DAY_MS)
  }

  #step(at: number, value: number, seen: number): void {
    const numbers = this.#numbers
    if (seen === 0) {
      numbers[at] = value
      numbers[at + 1] = SPREAD_FIRST
      return
    }
    const gain = Math.max(1 / this.#options.memoryWindows, 1 / (seen + 1))
    const median = numbers[at]!
    const spread = numbers[at + 1]!
    const away = value - median
    const stride = 2 * gain * spread
    // Not beyond what was seen: a measure that is always the same stays there.
    numbers[at] = median + Math.sign(away) * Math.min(Math.abs(away), stride)
    const factor = Math.abs(away) > spread ? 1 + 2 * gain : 1 / (1 + 2 * gain)
    numbers[at + 1] = Math.min(SPREAD_MAX, Math.max(SPREAD_MIN, spread * factor))
  }
}
