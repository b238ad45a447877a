/**
 * Accounts, sessions and sources that are not as others are, nor as they were themselves. What one did in five minutes is a point; half-space trees say how
 * rare it is among those of all (`half-space-trees.ts`), and baselines what in it is out of what is usual for all at that hour and for itself
 * (`baseline.ts`). Only what is both is found. What somebody did before, up to the most of it, is usual for them.
 *
 * A window begins with an actor’s first request, so that they end one by one. Bounded: windows, actors and services, each by a number.
 */
import { type AnomalyFeature, type AnomalyFinding, type AnomalyRule, describeFeatures } from './anomaly-finding.ts'
import type { AnomalyLimits } from './anomaly-routes.ts'
import { ACTOR_MEASURES, type ActorMeasure, ActorWindow, WINDOW_MS } from './anomaly-window.ts'
import { Baselines } from './baseline.ts'
import { HalfSpaceTrees, type Masses } from './half-space-trees.ts'
import { RarityRanks } from './anomaly-ranks.ts'
import type { Signal } from './signal.ts'

/** Half a million requests in five minutes of as many actors; more than these and the oldest windows end early. */
export const WINDOWS_MAX = 10_000
export const ACTORS_MAX = 20_000
export const SERVICES_MAX = 16
const FIRED_MAX = 1_000
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
/** Of a deviation, in bits, and of one of a count that is next to none. */
const DEVIATION_MIN = 0.25
const RANDOM_BITS = 1.4427
/** Within so many bits of the most that it did, it does again what it did. */
const AGAIN_BITS = 1
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

interface Service {
  readonly trees: HalfSpaceTrees
  readonly ranks: RarityRanks
  readonly sinceMs: number
  turnMs: number
  /** Of the window that ended last. */
  points: number
}

export interface AnomalyActorsOptions extends AnomalyLimits {
  readonly rule: AnomalyRule
  /** Of the trees: the same on all nodes. */
  readonly seed: string
  /** What was counted in the trees’ window of a service. */
  readonly onTurned: (service: string, masses: Masses) => void
  readonly windowsMax?: number
}

export class AnomalyActors {
  readonly #options: AnomalyActorsOptions
  readonly #windowsMax: number
  readonly #open = new Map<string, ActorWindow>()
  /** In the order of their beginning: a ring. */
  readonly #queue: (ActorWindow | undefined)[]
  #head = 0
  #length = 0
  readonly #own = new Baselines({ keysMax: ACTORS_MAX, measures: ACTOR_MEASURES.length, seasonal: false })
  readonly #all = new Baselines({ keysMax: SERVICES_MAX, measures: ACTOR_MEASURES.length, seasonal: true })
  readonly #services = new Map<string, Service>()
  readonly #firedMs = new Map<string, number>()
  readonly #point = new Float32Array(ACTOR_MEASURES.length)
  #cutShort = 0

  constructor(options: AnomalyActorsOptions) {
    this.#options = options
    this.#windowsMax = options.windowsMax ?? WINDOWS_MAX
    this.#queue = new Array(this.#windowsMax)
  }

  get size(): { readonly windows: number; readonly actors: number; readonly cutShort: number; readonly bytes: number } {
    const trees = [...this.#services.values()].reduce((sum, { trees, ranks }) => sum + trees.bytes + ranks.bytes, 0)
    const bytes = this.#own.bytes + this.#all.bytes + trees
    return { windows: this.#open.size, actors: this.#own.keys, cutShort: this.#cutShort, bytes }
  }

  /** @param key Whoever it is, of which service and of which kind. @param other Hash of the other side; undefined: there is none. */
  observe(key: string, signal: Signal, other: number | undefined): readonly AnomalyFinding[] {
    let findings = NOTHING
    let window = this.#open.get(key)
    if (window !== undefined && signal.atMs - window.startMs >= WINDOW_MS) {
      findings = this.#close(window)
      window = undefined
    }
    window ??= this.#begin(key, signal)
    window.add(signal, other)
    const swept = this.sweep(signal.atMs, SWEPT_EACH)
    if (swept.length === 0) return findings
    return findings.length === 0 ? swept : [...findings, ...swept]
  }

  #begin(key: string, signal: Signal): ActorWindow {
    // Room for it: what is closed already leaves with the rest.
    while (this.#length >= this.#windowsMax) this.#drop()
    const window = new ActorWindow(key, signal)
    this.#open.set(key, window)
    this.#queue[(this.#head + this.#length) % this.#windowsMax] = window
    this.#length += 1
    return window
  }

  /** The oldest window, which is not judged if it is not over: too much goes on to look at all of it. */
  #drop(): void {
    const window = this.#queue[this.#head]!
    this.#forget()
    if (window.isClosed) return
    window.isClosed = true
    this.#open.delete(window.key)
    this.#cutShort += 1
  }

  #forget(): void {
    this.#queue[this.#head] = undefined
    this.#head = (this.#head + 1) % this.#windowsMax
    this.#length -= 1
  }

  /** Closes windows that are over, at most `max`. */
  sweep(nowMs: number, max: number): readonly AnomalyFinding[] {
    let findings = NOTHING
    for (let at = 0; at < max && this.#length > 0; at += 1) {
      const window = this.#queue[this.#head]!
      if (!window.isClosed) {
        if (nowMs - window.startMs < WINDOW_MS) break
        const found = this.#close(window)
        if (found.length > 0) findings = [...findings, ...found]
      }
      this.#forget()
    }
    return findings
  }

  #close(window: ActorWindow): readonly AnomalyFinding[] {
    window.isClosed = true
    this.#open.delete(window.key)
    const atMs = window.startMs + WINDOW_MS
    const service = this.#serviceOf(window.service, atMs)
    if (service === undefined) return NOTHING
    const values = window.values()
    this.#place(values)
    if (atMs >= service.turnMs && service.trees.latestCount >= TURN_POINTS_MIN) this.#turn(window.service, service, atMs)
    const finding = this.#judge(window, values, service, atMs)
    service.trees.learn(this.#point)
    this.#all.learn(window.service, values, atMs)
    this.#own.learn(window.key, values, atMs)
    return finding === undefined ? NOTHING : [finding]
  }

  #place(values: readonly number[]): void {
    for (let at = 0; at < values.length; at += 1) {
      const [low, high] = RANGES[ACTOR_MEASURES[at]!]
      this.#point[at] = Math.min(1, Math.max(0, (values[at]! - low) / (high - low)))
    }
  }

  #serviceOf(name: string, nowMs: number): Service | undefined {
    const known = this.#services.get(name)
    if (known !== undefined) return known
    if (this.#services.size >= SERVICES_MAX) return undefined
    const trees = new HalfSpaceTrees({ seed: this.#options.seed, dimensions: ACTOR_MEASURES.length })
    const service = { trees, ranks: new RarityRanks(), sinceMs: nowMs, turnMs: nowMs + TURN_MS, points: 0 }
    this.#services.set(name, service)
    return service
  }

  #turn(name: string, service: Service, nowMs: number): void {
    const masses = service.trees.turn()
    service.points = masses.count
    service.turnMs = nowMs + TURN_MS
    service.ranks.fade()
    this.#options.onTurned(name, masses)
  }

  /** What another node counted: at most as much as this one did itself, and nothing of services that it saw nothing of. */
  fold(name: string, masses: Masses): void {
    const service = this.#services.get(name)
    if (service === undefined || service.points === 0) return
    service.trees.fold(masses, Math.min(1, service.points / masses.count))
  }

  #judge(window: ActorWindow, values: readonly number[], service: Service, atMs: number): AnomalyFinding | undefined {
    const { trees, ranks, sinceMs } = service
    if (trees.referenceCount < POINTS_MIN) return undefined
    const rarity = trees.rarity(this.#point)!
    const part = ranks.partAsRare(rarity)
    ranks.add(rarity)
    if (part > RARE_PART || atMs - sinceMs < this.#options.learnMs) return undefined
    const features = this.#features(window, values, atMs)
    if (features.length === 0) return undefined
    const firedMs = this.#firedMs.get(window.key)
    if (firedMs !== undefined && atMs - firedMs < REARM_MS) return undefined
    this.#fired(window.key, atMs)
    const { rule } = this.#options
    const [, kind, value] = window.key.split('\n') as [string, 'account' | 'session' | 'source', string]
    const rare = part === 0 ? 'rarer than all windows remembered' : `as rare as ${Math.max(1, Math.round(part * 10_000))} of 10,000`
    return {
      rule,
      service: window.service,
      key: [kind, value],
      sources: [window.source],
      atMs,
      features,
      rarity,
      reason: `in 5 min ${describeFeatures(rule, features)}; ${rare}`,
    }
  }

  #fired(key: string, atMs: number): void {
    this.#firedMs.delete(key)
    this.#firedMs.set(key, atMs)
    if (this.#firedMs.size > FIRED_MAX) this.#firedMs.delete(this.#firedMs.keys().next().value as string)
  }

  /** Out of what is usual for all, and for itself, the highest first. */
  #features({ service, key }: ActorWindow, values: readonly number[], atMs: number): readonly AnomalyFeature[] {
    const features: AnomalyFeature[] = []
    for (const [at, name] of ACTOR_MEASURES.entries()) {
      const value = values[at]!
      const all = this.#all.usual(service, at, atMs)
      if (all === undefined || this.#own.peak(key, at) >= value - AGAIN_BITS) continue
      const own = this.#own.usual(key, at, atMs)
      const [median, spread] = own === undefined || own.median <= all.median ? [all.median, all.deviation] : [own.median, own.deviation]
      const deviation = Math.max(spread, all.deviation, DEVIATION_MIN, RANDOM_BITS / Math.sqrt(2 ** Math.min(median, 10)))
      const away = (value - median) / deviation
      if (away >= this.#options.deviations) features.push({ name, value, median, deviation, away })
    }
    return features.sort((a, b) => b.away - a.away)
  }
}
