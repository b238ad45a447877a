/**
 * Accounts and sessions, or sources, of one service that are not as others are, nor as they were themselves. What one did in five minutes is a point;
 * half-space trees say how rare it is among those of all (`half-space-trees.ts`), and baselines what in it is out of what is usual for all at that
 * hour and for itself (`baseline.ts`). Only what is both counts. What somebody did before, up to the most of it, is usual for them. A single
 * measure that is out of it has to be so twice within an hour; several at once are found at once.
 *
 * A window begins with an actor’s first request, so that they end one by one. Bounded: windows and actors, each by a number.
 */
import { type AnomalyFeature, type AnomalyFinding, type AnomalyRule, describeFeatures } from './anomaly-finding.ts'
import { RarityRanks } from './anomaly-ranks.ts'
import type { AnomalyLimits } from './anomaly-routes.ts'
import { HashRows } from './anomaly-rows.ts'
import { ACTOR_MEASURES, type ActorKind, type ActorMeasure, ActorWindow, WINDOW_MS } from './anomaly-window.ts'
import { Baselines, type Usual } from './baseline.ts'
import { HalfSpaceTrees, type Masses, POINTS_MAX } from './half-space-trees.ts'
import { isKeepable, type KeptReader, type KeptWriter, TIME_MAX } from './kept.ts'
import type { Signal } from './signal.ts'

/** With more actors in five minutes the oldest windows end early. */
export const WINDOWS_MAX = 20_000
export const ACTORS_MAX = 10_000
/** Actors of which it is remembered when they were out of what is usual. */
const STRIKES_MAX = 1_000
/** The trees’ window ends after so long, if it has so many points by then. */
const TURN_MS = 3_600_000
const TURN_POINTS_MIN = 64
/** Points that a score rests on. */
const POINTS_MIN = 500
/** As rare as this part of all windows, or rarer. */
const RARE_PART = 0.002
/** Windows that are looked at for each signal: one begins at most, so that this catches up. */
const SWEPT_EACH = 2
const REARM_MS = 6 * 3_600_000
const STRIKE_MS = 3_600_000
/** Measures out of what is usual that are enough at once. */
const AT_ONCE = 2
/** Of a deviation, in bits, and of one of a count that is next to none. */
const DEVIATION_MIN = 0.25
const RANDOM_BITS: number = Math.LOG2E
/** Within so many bits of the most that it did, it does again what it did. */
const AGAIN_BITS = 1
/** Windows that what is usual rests on: of all actors at an hour, and of one. */
const ALL_MEMORY = 1_000
const OWN_MEMORY = 20
/** Of small windows, which are most and never found, one of so many is learned from, for all of them. */
const SMALL_STRIDE = 4
/** Of the table of open windows: a power of 2. */
const PLACES = 32_768
const PLACE_SHIFT = 32 - Math.log2(PLACES)
/** Actors in one piece of what is kept. */
const KEPT_ACTORS = 256
export type ActorsPiece = 'actors' | 'trees' | 'rows'
const NOTHING: readonly AnomalyFinding[] = []

/** Where a measure is in its dimension: bits at 0 and at 1. Few do less or more. */
const RANGES: Readonly<Record<ActorMeasure, readonly [number, number]>> = {
  requests: [0, 12],
  refused: [0, 9],
  failed: [0, 9],
  writes: [0, 9],
  bytes: [8, 30],
  paths: [0, 10],
  others: [0, 8],
}
const LOWS: readonly number[] = ACTOR_MEASURES.map((name) => RANGES[name][0])
const SPANS: readonly number[] = ACTOR_MEASURES.map((name) => RANGES[name][1] - RANGES[name][0])

interface Strike {
  atMs: number
  firedMs: number
}

export interface AnomalyActorsOptions extends AnomalyLimits {
  readonly rule: AnomalyRule
  readonly service: string
  /** Of the trees: the same on all nodes. */
  readonly seed: string
  /** What was counted in the trees’ window that is over. */
  readonly onTurned: (masses: Masses) => void
  readonly windowsMax?: number | undefined
  /** Whoever does not know it cannot choose actors that are looked for at one place: 32 bits. */
  readonly salt: number
}

export class AnomalyActors {
  readonly #options: AnomalyActorsOptions
  #limits: AnomalyLimits
  /** Nothing is said before. */
  #quietUntilMs = 0
  readonly #windowsMax: number
  /** In the order of their beginning: a ring, used again and again. */
  readonly #queue: ActorWindow[] = []
  #head = 0
  #length = 0
  /** Open windows, by the lowest bits of their hashes: one more than the place of the first of a chain in the ring; 0: none. */
  readonly #firsts = new Int32Array(PLACES)
  readonly #nexts: Int32Array
  #openCount = 0
  readonly #rows = new HashRows(ACTORS_MAX)
  readonly #own = new Baselines({
    rows: ACTORS_MAX,
    measures: ACTOR_MEASURES.length,
    seasonal: false,
    memoryWindows: OWN_MEMORY,
    peaks: true,
  })
  readonly #all = new Baselines({ rows: 1, measures: ACTOR_MEASURES.length, seasonal: true, memoryWindows: ALL_MEMORY })
  readonly #trees: HalfSpaceTrees
  readonly #ranks = new RarityRanks()
  #sinceMs = 0
  #turnMs = 0
  /** Windows of the trees that ended since this began. */
  #turns = 0
  /** Of the trees’ window that ended last. */
  #points = 0
  readonly #strikes = new Map<string, Strike>()
  readonly #values: number[] = ACTOR_MEASURES.map(() => 0)
  readonly #point = new Float32Array(ACTOR_MEASURES.length)
  #cutShort = 0
  #small = 0

  constructor(options: AnomalyActorsOptions) {
    this.#options = options
    this.#limits = options
    this.#windowsMax = options.windowsMax ?? WINDOWS_MAX
    this.#nexts = new Int32Array(this.#windowsMax)
    this.#trees = new HalfSpaceTrees({ seed: options.seed, dimensions: ACTOR_MEASURES.length })
  }

  /** What was learned stays. */
  use(limits: AnomalyLimits): void {
    this.#limits = limits
  }

  get turns(): number {
    return this.#turns
  }

  /** `cutShort`: windows that ended early to stay within the bound; `bytes`: of blocks of numbers. */
  get size(): { readonly windows: number; readonly actors: number; readonly cutShort: number; readonly bytes: number } {
    return {
      windows: this.#openCount,
      actors: this.#rows.used,
      cutShort: this.#cutShort,
      bytes:
        this.#own.bytes +
        this.#all.bytes +
        this.#trees.bytes +
        this.#ranks.bytes +
        this.#rows.bytes +
        this.#firsts.byteLength +
        this.#nexts.byteLength,
    }
  }

  /**
   * @param who Unlike any other of the service. @param hash Of it: 32 bits, evenly spread. @param other Hash of the other side; undefined: there is
   * none.
   */
  observe(who: string, kind: ActorKind, hash: number, signal: Signal, other: number | undefined): readonly AnomalyFinding[] {
    let findings = NOTHING
    let window = this.#find(who, hash)
    if (window !== undefined && signal.atMs - window.startMs >= WINDOW_MS) {
      findings = this.#close(window)
      window = undefined
    }
    if (window === undefined) {
      if (this.#length >= this.#windowsMax) findings = [...findings, ...this.#cut()]
      window = this.#begin(who, kind, hash, signal)
    }
    window.add(signal, other)
    const swept = this.sweep(signal.atMs, SWEPT_EACH)
    return swept.length === 0 ? findings : [...findings, ...swept]
  }

  #placeOf(hash: number): number {
    return Math.imul(hash ^ this.#options.salt, 0x9e3779b1) >>> PLACE_SHIFT
  }

  #find(who: string, hash: number): ActorWindow | undefined {
    for (let place = this.#firsts[this.#placeOf(hash)]!; place !== 0; place = this.#nexts[place - 1]!) {
      const window = this.#queue[place - 1]!
      if (window.hash === hash && window.who === who) return window
    }
    return undefined
  }

  /** Windows are used again: they live too long to be made anew. */
  #begin(who: string, kind: ActorKind, hash: number, signal: Signal): ActorWindow {
    const at = (this.#head + this.#length) % this.#windowsMax
    let window = this.#queue[at]
    if (window === undefined) {
      window = new ActorWindow(at)
      this.#queue[at] = window
    }
    window.begin(who, kind, hash, signal)
    const first = this.#placeOf(hash)
    this.#nexts[at] = this.#firsts[first]!
    this.#firsts[first] = at + 1
    this.#openCount += 1
    this.#length += 1
    return window
  }

  /** Out of its chain. */
  #unlink({ hash, at }: ActorWindow): void {
    const first = this.#placeOf(hash)
    const next = this.#nexts[at]!
    this.#openCount -= 1
    if (this.#firsts[first] === at + 1) {
      this.#firsts[first] = next
      return
    }
    let place = this.#firsts[first]!
    while (this.#nexts[place - 1] !== at + 1) place = this.#nexts[place - 1]!
    this.#nexts[place - 1] = next
  }

  /** The oldest window ends before its time. */
  #cut(): readonly AnomalyFinding[] {
    const window = this.#queue[this.#head]!
    if (window.isOpen) this.#cutShort += 1
    const findings = window.isOpen ? this.#close(window) : NOTHING
    this.#forget()
    return findings
  }

  #forget(): void {
    this.#head = (this.#head + 1) % this.#windowsMax
    this.#length -= 1
  }

  /** Closes windows that are over, at most `max`. */
  sweep(nowMs: number, max: number): readonly AnomalyFinding[] {
    let findings = NOTHING
    for (let at = 0; at < max && this.#length > 0; at += 1) {
      const window = this.#queue[this.#head]!
      if (window.isOpen) {
        if (nowMs - window.startMs < WINDOW_MS) break
        const found = this.#close(window)
        if (found.length > 0) findings = [...findings, ...found]
      }
      this.#forget()
    }
    return findings
  }

  #close(window: ActorWindow): readonly AnomalyFinding[] {
    window.isOpen = false
    this.#unlink(window)
    const { isSmall } = window
    if (isSmall) {
      this.#small += 1
      if (this.#small % SMALL_STRIDE !== 0) return NOTHING
    }
    const weight = isSmall ? SMALL_STRIDE : 1
    const atMs = window.startMs + WINDOW_MS
    window.measure(this.#values)
    for (let at = 0; at < SPANS.length; at += 1)
      this.#point[at] = Math.min(1, Math.max(0, (this.#values[at]! - LOWS[at]!) / SPANS[at]!))
    if (this.#sinceMs === 0) [this.#sinceMs, this.#turnMs] = [atMs, atMs + TURN_MS]
    if (atMs >= this.#turnMs && this.#trees.latestCount >= TURN_POINTS_MIN) this.#turn(atMs)
    const rarity = this.#trees.observe(this.#point, weight)
    const finding = this.#judge(window, rarity, weight, atMs)
    for (let time = 0; time < weight; time += 1) this.#all.learn(0, this.#values, atMs)
    const { row, isNew } = this.#rows.give(window.hash, atMs)
    if (isNew) this.#own.forget(row)
    this.#own.learn(row, this.#values, atMs, isSmall ? this.#values : this.#held(row, atMs))
    return finding === undefined ? NOTHING : [finding]
  }

  /** What is far above what is usual for all, and above what it did on the days before, moves its own median as if it were the limit. */
  #held(row: number, atMs: number): readonly number[] {
    return this.#values.map((value, at) => {
      const all = this.#all.usual(0, at, atMs)
      if (all === undefined) return value
      const limit = all.median + this.#limits.deviations * deviationOf(all, all.median)
      return Math.min(value, Math.max(limit, this.#own.peak(row, at, atMs) + AGAIN_BITS))
    })
  }

  #turn(nowMs: number): void {
    const masses = this.#trees.turn()
    this.#points = masses.count
    this.#turns += 1
    this.#turnMs = nowMs + TURN_MS
    this.#ranks.fade()
    this.#options.onTurned(masses)
  }

  /**
   * Of a time nothing is known: the node was away, or its clock was set. That time taught nothing, and nothing is said until `quietUntilMs`.
   *
   * @param gapMs Below 0: the clock went back. How long windows that are open lasted nobody knows then.
   */
  wasAway(gapMs: number, quietUntilMs: number): void {
    this.#quietUntilMs = quietUntilMs
    if (this.#sinceMs !== 0) {
      this.#sinceMs += gapMs
      this.#turnMs += gapMs
    }
    if (gapMs >= 0) return
    for (; this.#length > 0; this.#forget()) {
      const window = this.#queue[this.#head]!
      if (!window.isOpen) continue
      window.isOpen = false
      this.#unlink(window)
    }
  }

  /** What was learned, in pieces. Windows that are open are left out. @param begin Begins one. */
  *memory(begin: (kind: ActorsPiece) => KeptWriter): Generator<Uint8Array> {
    if (this.#sinceMs === 0) return
    const head = begin('actors').f64(this.#sinceMs).f64(this.#turnMs).u32(Math.min(POINTS_MAX, this.#points))
    this.#all.keep(0, head)
    this.#ranks.keep(head)
    const strikes = [...this.#strikes].filter(([who]) => isKeepable(who))
    head.u16(strikes.length)
    for (const [who, { atMs, firedMs }] of strikes) head.text(who).f64(atMs).time(firedMs)
    yield head.done()
    const trees = begin('trees')
    this.#trees.keep(trees)
    yield trees.done()
    let rows: [row: number, hash: number, touchedMs: number][] = []
    for (const [row, hash, touchedMs] of this.#rows.entries()) {
      rows.push([row, hash, touchedMs])
      if (rows.length < KEPT_ACTORS) continue
      yield this.#keptRows(begin('rows'), rows)
      rows = []
    }
    if (rows.length > 0) yield this.#keptRows(begin('rows'), rows)
  }

  #keptRows(into: KeptWriter, rows: readonly (readonly [row: number, hash: number, touchedMs: number])[]): Uint8Array {
    into.u16(rows.length)
    for (const [row, hash, touchedMs] of rows) {
      into.u32(hash).f64(touchedMs)
      this.#own.keep(row, into)
    }
    return into.done()
  }

  /** One piece, into what has seen nothing. What was touched in a time to come was so now. @throws {MemoryMalformed} */
  restore(kind: ActorsPiece, from: KeptReader, nowMs: number): void {
    if (kind === 'trees') this.#trees.restore(from)
    else if (kind === 'rows') this.#restoreRows(from, nowMs)
    else this.#restoreHead(from)
  }

  #restoreHead(from: KeptReader): void {
    if (this.#sinceMs !== 0) from.fail('each service once')
    this.#sinceMs = from.f64('since when it learns', -TIME_MAX, TIME_MAX)
    this.#turnMs = from.f64('when the trees turn', -TIME_MAX, TIME_MAX)
    this.#points = from.u32('points of an hour', POINTS_MAX)
    this.#all.restore(0, from)
    this.#ranks.restore(from)
    for (let left = from.u16('actors that were odd', STRIKES_MAX); left > 0; left -= 1) {
      const who = from.text('an actor')
      const atMs = from.f64('when it was odd', -TIME_MAX, TIME_MAX)
      this.#strikes.set(who, { atMs, firedMs: from.time('when it was said') })
    }
  }

  #restoreRows(from: KeptReader, nowMs: number): void {
    for (let left = from.u16('actors', KEPT_ACTORS); left > 0; left -= 1) {
      const hash = from.u32('an actor')
      const touchedMs = from.f64('when it was there', 1, TIME_MAX)
      const { row, isNew } = this.#rows.give(hash, Math.min(touchedMs, nowMs))
      if (!isNew) from.fail('each actor once')
      this.#own.forget(row)
      this.#own.restore(row, from)
    }
  }

  /** What another node counted: at most as much as this one did itself. */
  fold(masses: Masses): void {
    if (this.#points > 0) this.#trees.fold(masses, Math.min(1, this.#points / masses.count))
  }

  #judge(window: ActorWindow, rarity: number | undefined, weight: number, atMs: number): AnomalyFinding | undefined {
    if (rarity === undefined || this.#trees.referenceCount < POINTS_MIN) return undefined
    const part = this.#ranks.partAsRare(rarity)
    this.#ranks.add(rarity, weight)
    if (part > RARE_PART || atMs - this.#sinceMs < this.#limits.learnMs || atMs < this.#quietUntilMs) return undefined
    const features = this.#features(window.hash, atMs)
    if (features.length === 0 || !this.#isDue(window.who, features.length, atMs)) return undefined
    const { rule, service } = this.#options
    const rare = part === 0 ? 'rarer than all that is remembered' : `as rare as ${Math.ceil(part * 10_000)} of 10,000`
    return {
      rule,
      service,
      key: [window.kind, window.who],
      sources: [window.source],
      atMs,
      features,
      rarity,
      reason: `in 5 min ${describeFeatures(rule, features)}; ${rare}`,
    }
  }

  /** Whether it is to be said now: at once, or the second time, and not again for a while. */
  #isDue(who: string, measures: number, atMs: number): boolean {
    let strike = this.#strikes.get(who)
    const isSecond = strike !== undefined && Math.abs(atMs - strike.atMs) <= STRIKE_MS
    if (strike === undefined) {
      strike = { atMs, firedMs: Number.NEGATIVE_INFINITY }
      this.#strikes.set(who, strike)
      if (this.#strikes.size > STRIKES_MAX) this.#strikes.delete(this.#strikes.keys().next().value as string)
    }
    strike.atMs = atMs
    if ((measures < AT_ONCE && !isSecond) || Math.abs(atMs - strike.firedMs) < REARM_MS) return false
    strike.firedMs = atMs
    return true
  }

  /** Out of what is usual for all, and for itself, the highest first. */
  #features(hash: number, atMs: number): readonly AnomalyFeature[] {
    const features: AnomalyFeature[] = []
    const row = this.#rows.find(hash)
    for (const [at, name] of ACTOR_MEASURES.entries()) {
      const value = this.#values[at]!
      const all = this.#all.usual(0, at, atMs)
      if (all === undefined || (row >= 0 && this.#own.peak(row, at, atMs) >= value - AGAIN_BITS)) continue
      const own = row < 0 ? undefined : this.#own.usual(row, at, atMs)
      const median = Math.max(all.median, own?.median ?? 0)
      // Its own deviation is not asked: whoever does a little more each time has a large one.
      const deviation = deviationOf(all, median)
      const away = (value - median) / deviation
      if (away >= this.#limits.deviations) features.push({ name, value, median, deviation, away })
    }
    return features.sort((a, b) => b.away - a.away)
  }
}

/** At least what chance alone makes of a count. */
function deviationOf(all: Usual, median: number): number {
  return Math.max(all.deviation, DEVIATION_MIN, RANDOM_BITS / Math.sqrt(2 ** Math.min(median, 10) + 3))
}
