/**
 * What a node, or one of its threads, sees of who asks how much: counted between two readings, in bounded memory. While there is time for all it
 * looks at a sample only, for what is usual; under pressure at everything. Pure: time comes in.
 */
import { Tallies } from './tallies.ts'

/** Sources, and fingerprints, told apart. */
const SOURCES_MAX = 4_096
const FINGERPRINTS_MAX = 256
/** Sources told in a reading. */
const TOLD_MAX = 1_024
const CALM_SAMPLE = 16
const PRESSED_MS = 100
const CALM_MS = 1_000
/**
 * A client that is refused and asks on at once is not read from for a second, so that little of what it asks is seen: each time stands
 * for so many requests.
 */
export const INSISTED_DEMAND = 12

/** Of one source: what it asks, as far as that is known; what it was seen to ask; what of that was refused; its open connections. */
export type SourceReading = readonly [
  source: string,
  demand: number,
  asked: number,
  refused: number,
  connections: number | undefined,
]

/** What was seen since the reading before. Plain data. */
export interface FloodReading {
  readonly spanMs: number
  /** There is too little time for all. */
  readonly pressed: boolean
  readonly demand: number
  readonly served: number
  /** Those who ask most, at least. */
  readonly sources: readonly SourceReading[]
  readonly fingerprints: readonly (readonly [fingerprint: string, demand: number])[]
  /** Connections of denied sources that were dropped. */
  readonly knocks: readonly (readonly [source: string, count: number])[]
}

export class FloodMeter {
  readonly #sources = new Tallies(SOURCES_MAX)
  readonly #fingerprints = new Tallies(FINGERPRINTS_MAX)
  readonly #knocks = new Tallies(SOURCES_MAX)
  #served = 0
  #pressed = false
  #skipped = 0
  #sinceMs: number | undefined

  /** A request. @param source As `sourceKey` has it. @param insisted Refused before, it asked on at once. */
  asked(source: string, fingerprint: string | undefined, isRefused: boolean, insisted: boolean): void {
    let weight = 1
    if (!this.#pressed) {
      if (++this.#skipped < CALM_SAMPLE) return
      this.#skipped = 0
      weight = CALM_SAMPLE
    }
    const demand = insisted ? weight * INSISTED_DEMAND : weight
    this.#sources.add(source, demand, weight, isRefused ? weight : 0)
    if (fingerprint !== undefined) this.#fingerprints.add(fingerprint, demand, weight, 0)
    if (!isRefused) this.#served += weight
  }

  /** A connection of a denied source that was dropped before anything was read. */
  knocked(source: string): void {
    this.#knocks.add(source, 1, 1, 1)
  }

  /**
   * Called a few times a second. @param pressed Whether there is too little time for all. @param nowMs Monotonic.
   * @returns What is to be told, when there is something.
   */
  look(pressed: boolean, nowMs: number, connectionsOf: (source: string) => number | undefined): FloodReading | undefined {
    this.#sinceMs ??= nowMs
    if (pressed && !this.#pressed) {
      // What was seen before is calm, and sampled: told apart from what comes now.
      const calm = this.#reading(nowMs, connectionsOf)
      this.#pressed = true
      return calm
    }
    const spanMs = nowMs - this.#sinceMs
    if (spanMs < (this.#pressed ? PRESSED_MS : CALM_MS)) return undefined
    const reading = this.#reading(nowMs, connectionsOf)
    this.#pressed = pressed
    return reading
  }

  #reading(nowMs: number, connectionsOf: (source: string) => number | undefined): FloodReading {
    const spanMs = nowMs - this.#sinceMs!
    const reading: FloodReading = {
      spanMs,
      pressed: this.#pressed,
      demand: this.#sources.demand,
      served: this.#served,
      sources: [...this.#sources.entries()]
        .sort(([, a], [, b]) => b.demand - a.demand)
        .slice(0, TOLD_MAX)
        .map(([source, { demand, asked, refused }]) => [source, demand, asked, refused, connectionsOf(source)]),
      fingerprints: [...this.#fingerprints.entries()].map(([fingerprint, { demand }]) => [fingerprint, demand]),
      knocks: [...this.#knocks.entries()]
        .sort(([, a], [, b]) => b.demand - a.demand)
        .slice(0, TOLD_MAX)
        .map(([source, { demand }]) => [source, demand]),
    }
    this.#sources.clear()
    this.#fingerprints.clear()
    this.#knocks.clear()
    this.#served = 0
    this.#sinceMs = nowMs
    return reading
  }
}
