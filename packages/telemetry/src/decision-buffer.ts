/**
 * What waits to be written. Bounded; when full, the oldest allow goes first, and a denial only when nothing but denials
 * is left and a denial comes in. Pure.
 */
import type { DecisionRecord } from './types.ts'

/** A record and how many requests it stands for. */
export interface Weighed {
  readonly record: DecisionRecord
  readonly weight: number
}

export class DecisionBuffer {
  readonly #max: number
  #allows: Weighed[] = []
  #others: Weighed[] = []
  /** Index of the oldest allow still held: shifting an array a record at a time would be quadratic under a flood. */
  #firstAllow = 0
  #firstOther = 0

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#allows.length - this.#firstAllow + this.#others.length - this.#firstOther
  }

  /** Returns what had to go to keep the bound, which may be what came in; undefined when nothing. */
  push(entry: Weighed): Weighed | undefined {
    let dropped: Weighed | undefined
    if (this.size >= this.#max) {
      if (this.#firstAllow < this.#allows.length) dropped = this.#allows[this.#firstAllow++]
      else if (entry.record.outcome === 'allow') return entry
      else dropped = this.#others[this.#firstOther++]
      this.#compact()
    }
    if (entry.record.outcome === 'allow') this.#allows.push(entry)
    else this.#others.push(entry)
    return dropped
  }

  /** Takes out up to `max`, denials first. */
  take(max: number): Weighed[] {
    const others = this.#others.slice(this.#firstOther, this.#firstOther + max)
    this.#firstOther += others.length
    const allows = this.#allows.slice(this.#firstAllow, this.#firstAllow + max - others.length)
    this.#firstAllow += allows.length
    this.#compact()
    return others.length === 0 ? allows : others.concat(allows)
  }

  #compact(): void {
    if (this.#firstAllow > 1_024 || this.#firstAllow === this.#allows.length) {
      this.#allows = this.#allows.slice(this.#firstAllow)
      this.#firstAllow = 0
    }
    if (this.#firstOther > 1_024 || this.#firstOther === this.#others.length) {
      this.#others = this.#others.slice(this.#firstOther)
      this.#firstOther = 0
    }
  }
}
