/** What one rule remembers of one key: counts within a sliding window, samples of what was different, and what other nodes told. */
import { newsOf, RecentDistinct } from '../recent-distinct.ts'
import type { DistinctMeasure, Measure } from './rule.ts'

/** The window’s edge is exact to one of so many parts. */
export const SLOTS = 6
/** What another node told counts for so many parts of the window. */
const TOLD_SLOTS = 2
/** A plain list: typed ones of this size are made outside of the heap, which costs more than all that is counted. */
const NO_COUNTS: readonly number[] = Array.from({ length: SLOTS * 3 }, () => 0)
const SOURCES_MAX = 64
/** Of a beat: shorter ones are a page’s own requests; how far off the next may be. */
const BEAT_MS_MIN = 5_000
const BEAT_SLACK_MS = 1_500
const BEAT_SLACK = 0.02
export const SOURCES_NAMED_MAX = 32

/** One node’s counts of one key, as of a moment. */
export interface ToldCounts {
  readonly events: number
  readonly all: number
  readonly bytes: number
  readonly distinct: readonly { readonly level: number; readonly hashes: readonly number[] }[]
}

interface Told extends ToldCounts {
  readonly atMs: number
}

export class KeyMemory {
  readonly #slotMs: number
  readonly #windowMs: number
  readonly #measures: readonly DistinctMeasure[]
  /** Events, all, bytes of each slot. */
  readonly #counts: number[] = NO_COUNTS.slice()
  readonly #distinct: readonly RecentDistinct[]
  #slot = 0
  #touchedSlot = -1
  /** What was last seen of each source; only where the key is none. */
  #sources: Map<string, number> | undefined
  /** While there is one only. */
  #source: string | undefined
  #sourceCount = 0
  #told: Map<string, Told> | undefined
  #lastMs = 0
  #intervalMs = 0
  #beats = 0
  firedAtMs = 0
  /** When it did what must come before. */
  firstAtMs = 0
  /** Of the limits, when it was last told. */
  toldPart = 0

  constructor(windowMs: number, measures: readonly DistinctMeasure[]) {
    this.#windowMs = windowMs
    this.#slotMs = Math.max(1, Math.ceil(windowMs / SLOTS))
    this.#measures = measures
    this.#distinct = measures.map(() => new RecentDistinct())
  }

  #turn(atMs: number): number {
    const slot = Math.floor(atMs / this.#slotMs)
    const passed = slot - this.#slot
    if (passed > 0) {
      if (passed >= SLOTS) this.#counts.fill(0)
      else
        for (let next = this.#slot + 1; next <= slot; next += 1) this.#counts.fill(0, (next % SLOTS) * 3, (next % SLOTS) * 3 + 3)
      this.#slot = slot
      const from = (slot - SLOTS + 1) * this.#slotMs
      for (const distinct of this.#distinct) distinct.expire(from)
    }
    if (passed <= -SLOTS) {
      // The clock was set back: what was counted would be within the window until it is where it was.
      this.#counts.fill(0)
      for (const distinct of this.#distinct) distinct.expire(Number.POSITIVE_INFINITY)
      this.#slot = slot
    }
    // What comes late is of the slot that is.
    return (this.#slot % SLOTS) * 3
  }

  /** Whether it is touched for the first time in this part of the window. */
  isNewSlot(): boolean {
    if (this.#touchedSlot === this.#slot) return false
    this.#touchedSlot = this.#slot
    return true
  }

  /** A signal of the key that is counted in the share, and no more. */
  among(atMs: number): void {
    this.#counts[this.#turn(atMs) + 1]! += 1
  }

  /** @param hashes In order of the measures; undefined: it has none. */
  add(atMs: number, bytes: number, isAmong: boolean, hashes: readonly (number | undefined)[]): void {
    const at = this.#turn(atMs)
    this.#beat(atMs)
    this.#counts[at]! += 1
    if (isAmong) this.#counts[at + 1]! += 1
    this.#counts[at + 2]! += bytes
    for (const [index, hash] of hashes.entries()) if (hash !== undefined) this.#distinct[index]!.add(hash, atMs)
  }

  /** The interval follows slowly, so that a clock that drifts is one. */
  #beat(atMs: number): void {
    const intervalMs = atMs - this.#lastMs
    this.#lastMs = atMs
    if (
      intervalMs < BEAT_MS_MIN ||
      Math.abs(intervalMs - this.#intervalMs) > Math.max(BEAT_SLACK_MS, BEAT_SLACK * this.#intervalMs)
    ) {
      this.#beats = 0
      this.#intervalMs = intervalMs
      return
    }
    this.#beats += 1
    this.#intervalMs += (intervalMs - this.#intervalMs) / 8
  }

  addSource(source: string): void {
    if (this.#sources === undefined) {
      if (this.#source === undefined || this.#source === source) {
        this.#source = source
        this.#sourceCount += 1
        return
      }
      this.#sources = new Map([[this.#source, this.#sourceCount]])
    }
    const count = this.#sources.get(source)
    // The one that came longest ago goes first.
    this.#sources.delete(source)
    this.#sources.set(source, (count ?? 0) + 1)
    if (this.#sources.size > SOURCES_MAX) this.#sources.delete(this.#sources.keys().next().value as string)
  }

  /** Those that did most first. */
  sources(): readonly string[] {
    if (this.#sources === undefined) return this.#source === undefined ? [] : [this.#source]
    return [...this.#sources]
      .sort((a, b) => b[1] - a[1])
      .slice(0, SOURCES_NAMED_MAX)
      .map(([source]) => source)
  }

  #own(at: 0 | 1 | 2): number {
    let sum = 0
    for (let slot = 0; slot < SLOTS; slot += 1) sum += this.#counts[slot * 3 + at]!
    return sum
  }

  /** Forgets what is over. */
  pass(atMs: number): void {
    this.#turn(atMs)
  }

  /** What this node saw. */
  own(atMs: number): ToldCounts {
    this.#turn(atMs)
    return {
      events: this.#own(0),
      all: this.#own(1),
      bytes: this.#own(2),
      distinct: this.#distinct.map((distinct) => ({ level: distinct.level, hashes: distinct.hashes() })),
    }
  }

  ownOf(measure: Measure): number {
    if (measure === 'events') return this.#own(0)
    if (measure === 'bytes') return this.#own(2)
    if (measure === 'beats') return this.#beats
    return this.#distinct[this.#measures.indexOf(measure)]!.count
  }

  get share(): number {
    const all = this.#own(1)
    return all === 0 ? 1 : this.#own(0) / all
  }

  /** What another node counts, in the place of what it said before, unless that was later. */
  merge(node: string, told: ToldCounts, atMs: number): void {
    this.#told ??= new Map()
    const before = this.#told.get(node)?.atMs ?? 0
    if (before <= atMs || before - atMs > this.#windowMs) this.#told.set(node, { ...told, atMs })
  }

  /**
   * As this node may believe it: what another tells counts at most as much as what this one saw, so that of what it saw nothing
   * of there is nothing. Of the share it believes nobody: it is of what this node saw.
   */
  total(measure: Measure, nowMs: number): { readonly count: number; readonly nodes: number } {
    const own = this.ownOf(measure)
    let [count, nodes] = [own, 1]
    if (this.#told === undefined || measure === 'beats') return { count, nodes }
    const index = measure === 'events' || measure === 'bytes' ? -1 : this.#measures.indexOf(measure)
    const seen = index < 0 ? undefined : new Set(this.#distinct[index]!.hashes())
    for (const [node, told] of this.#told) {
      if (Math.abs(nowMs - told.atMs) > TOLD_SLOTS * this.#slotMs) {
        this.#told.delete(node)
        continue
      }
      const news = seen === undefined ? told[measure as 'events' | 'bytes'] : newsOf(told.distinct[index]!, seen)
      if (news === 0) continue
      count += Math.min(own, news)
      nodes += 1
    }
    return { count, nodes }
  }

  /** Whether nothing of it is within the window any more. */
  isOver(nowMs: number): boolean {
    this.#turn(nowMs)
    return this.#own(0) === 0 && Math.abs(nowMs - this.firstAtMs) > this.#windowMs
  }
}
