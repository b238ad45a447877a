/**
 * Who floods a node: of the sources that are refused because the node has too little time for all, those that ask most, until what is left to
 * serve is what the node can serve.
 *
 * The rules, each of which a source must meet:
 *
 * - the node has been under pressure for half a second, and is now: who asks much of a node that bears it is no flood;
 * - the source asks `perSource` a second or more, four times what it asked in calm times or more, and five times a second for each
 *   connection that it has open: many people behind one address have many connections, each of which asks little;
 * - it is being refused: others ask less than it does;
 * - without it the node still had more to do than it can: heaviest first, and no more than it takes, but for those that ask as much as the last.
 *
 * A network is judged the same way by what its sources ask that no rule names by themselves, ten times `perSource` and sixteen sources at
 * least. A TLS fingerprint from which most of a flood comes is named to be known: many people share one. A source that is denied and
 * goes on connecting more often than people or programs that mean well do is named whatever the node bears: that is the second
 * opinion on what another node found, and renews what this one did.
 *
 * Pure and bounded: time is an argument; what is forgotten is forgotten smallest first (`Tallies`).
 */
import type { FloodReading } from './flood-meter.ts'
import { Tallies } from './tallies.ts'

export interface FloodLimits {
  /** Requests a second of one source, below which it is never named. */
  readonly perSource: number
  /** Of the first denial; each further one within the hour is four times as long, up to `denyForMaxMs`. */
  readonly denyForMs: number
  readonly denyForMaxMs: number
}

export interface FloodsOptions {
  readonly limits: FloodLimits
  /** The network that a source is of, as denials write it; undefined: of none. */
  readonly networkOf: (source: string) => string | undefined
  /** Who is never named: found only once it would be. */
  readonly isSpared?: (source: string) => boolean
}

/** What floods. A fingerprint is told to people, and denied by nobody. */
export interface FloodFinding {
  readonly kind: 'flood'
  readonly subject: { readonly kind: 'source' | 'network' | 'fingerprint'; readonly value: string }
  /** Requests, or connections where it `knocks`. */
  readonly perSecond: number
  /** 0 to 1: how far it is beyond what would not have been named, 0.9 at ten times as much. */
  readonly confidence: number
  /** How often it was named within the hour, this time counted. */
  readonly times: number
  readonly denyForMs: number
  readonly reason: string
}

const SOURCES_MAX = 8_192
const FINGERPRINTS_MAX = 512
const NAMED_MAX = 20_000
/** A reading that calls for more is followed by another. */
const FINDINGS_MAX = 64
const PRESSURE_MS_MIN = 500
/** Without a reading that says so for this long, there is no pressure. */
const PRESSURE_GAP_MS = 1_000
const NOW_HALF_MS = 400
const CALM_HALF_MS = 60_000
const KNOCK_HALF_MS = 1_000
/** Below so much time of calm nothing is known of what is usual. */
const CALM_MS_MIN = 2_000
const CALM_GAP_MS_MAX = 5_000
/** Beyond what is usual for it. */
const USUAL_TIMES = 4
const PER_CONNECTION = 5
const REFUSED_SHARE_MIN = 0.1
/** Of what the last one asks that is named: who asks as much is named with it, as what a source asks beyond what there is time for is not seen. */
const ALIKE = 0.8
const NETWORK_SOURCES_MIN = 16
const NETWORK_TIMES = 10
const FINGERPRINT_SHARE_MIN = 0.5
const FINGERPRINT_AGAIN_MS = 60_000
/** New connections a second of a source that none of them is served. */
const KNOCKS_MIN = 50
const REPEAT_TIMES = 4
const REPEAT_MS = 3_600_000
/** This near its end a denial is renewed if it is still needed. */
const RENEW_PART = 0.1
const LN2 = Math.LN2

interface Named {
  times: number
  untilMs: number
  renewMs: number
}

interface Candidate {
  readonly key: string
  readonly perSecond: number
  readonly least: number
}

export class Floods {
  readonly #options: FloodsOptions
  readonly #now = new Tallies(SOURCES_MAX)
  readonly #calm = new Tallies(SOURCES_MAX)
  readonly #knocks = new Tallies(SOURCES_MAX)
  readonly #fingerprints = new Tallies(FINGERPRINTS_MAX)
  readonly #calmFingerprints = new Tallies(FINGERPRINTS_MAX)
  /** By source, of each thread. */
  readonly #connections = new Map<string, number[]>()
  readonly #named = new Map<string, Named>()
  #served = 0
  /** Decayed as `#calm`: its tallies by this are what is asked in a millisecond. */
  #calmMs = 0
  #calmAtMs: number | undefined
  #nowAtMs = 0
  #knockAtMs: number | undefined
  #pressedSinceMs: number | undefined
  #pressedAtMs = Number.NEGATIVE_INFINITY
  #fingerprintAtMs = Number.NEGATIVE_INFINITY

  constructor(options: FloodsOptions) {
    this.#options = options
  }

  /** Whether there is too little time for all. */
  get pressed(): boolean {
    return this.#pressedSinceMs !== undefined
  }

  /** Takes in what one thread saw. @param nowMs Monotonic. @param thread From 0. */
  observe(reading: FloodReading, nowMs: number, thread = 0): readonly FloodFinding[] {
    const findings: FloodFinding[] = []
    this.#knocked(reading, nowMs, findings)
    if (nowMs - this.#pressedAtMs > PRESSURE_GAP_MS) this.#pressedSinceMs = undefined
    if (!reading.pressed) {
      if (this.#pressedSinceMs === undefined) this.#learn(reading, nowMs)
      return findings
    }
    this.#pressedAtMs = nowMs
    if (this.#pressedSinceMs === undefined) {
      this.#pressedSinceMs = nowMs - reading.spanMs
      this.#nowAtMs = this.#pressedSinceMs
      this.#now.clear()
      this.#fingerprints.clear()
      this.#connections.clear()
      this.#served = 0
    }
    this.#take(reading, nowMs, thread)
    if (nowMs - this.#pressedSinceMs >= PRESSURE_MS_MIN) this.#judge(nowMs, findings)
    return findings
  }

  #take({ sources, fingerprints, served }: FloodReading, nowMs: number, thread: number): void {
    const factor = 2 ** ((this.#nowAtMs - nowMs) / NOW_HALF_MS)
    this.#nowAtMs = nowMs
    this.#now.scale(factor)
    this.#fingerprints.scale(factor)
    this.#served = this.#served * factor + served
    for (const [source, demand, asked, refused, connections] of sources) {
      if (demand > 0) this.#now.add(source, demand, asked, refused)
      if (connections === undefined) continue
      const counts = this.#connections.get(source) ?? []
      counts[thread] = connections
      this.#connections.set(source, counts)
    }
    for (const source of this.#connections.keys()) if (this.#now.get(source) === undefined) this.#connections.delete(source)
    for (const [fingerprint, demand] of fingerprints) this.#fingerprints.add(fingerprint, demand, demand, 0)
  }

  #learn({ sources, fingerprints }: FloodReading, nowMs: number): void {
    const passedMs = Math.min(CALM_GAP_MS_MAX, nowMs - (this.#calmAtMs ?? nowMs))
    const factor = 2 ** (-passedMs / CALM_HALF_MS)
    this.#calmAtMs = nowMs
    this.#calm.scale(factor)
    this.#calmFingerprints.scale(factor)
    this.#calmMs = this.#calmMs * factor + passedMs
    for (const [source, demand, asked] of sources) if (demand > 0) this.#calm.add(source, asked, asked, 0)
    for (const [fingerprint, demand] of fingerprints) this.#calmFingerprints.add(fingerprint, demand, demand, 0)
  }

  /** Requests a second in calm times. */
  #usual(tallies: Tallies, key: string): number {
    if (this.#calmMs < CALM_MS_MIN) return 0
    return ((tallies.get(key)?.demand ?? 0) * 1_000) / this.#calmMs
  }

  #judge(nowMs: number, findings: FloodFinding[]): void {
    const { limits, networkOf } = this.#options
    // What has decayed since the pressure began, made good: the sums are of so short a time.
    const seenMs = Math.max(1, nowMs - this.#pressedSinceMs!)
    const perSecond = (LN2 * 1_000) / NOW_HALF_MS / (1 - 2 ** (-seenMs / NOW_HALF_MS))
    const served = this.#served * perSecond
    let left = this.#now.demand * perSecond
    const candidates: Candidate[] = []
    const networks = new Map<string, { sources: number; demand: number; connections: number; usual: number }>()
    for (const [key, { demand, asked, refused }] of this.#now.entries()) {
      const rate = demand * perSecond
      if (this.#isNamed(key, nowMs)) {
        left -= rate
        continue
      }
      // Sparse where a thread has seen nothing of it.
      const connections = this.#connections.get(key)?.reduce((sum, count) => sum + count, 0) ?? 0
      const usual = this.#usual(this.#calm, key)
      const least = Math.max(limits.perSource, USUAL_TIMES * usual, PER_CONNECTION * connections)
      if (rate >= least && refused >= REFUSED_SHARE_MIN * asked) {
        candidates.push({ key, perSecond: rate, least })
        continue
      }
      const network = networkOf(key)
      if (network === undefined) continue
      const sum = networks.get(network) ?? { sources: 0, demand: 0, connections: 0, usual: 0 }
      networks.set(network, sum)
      sum.sources += 1
      sum.demand += rate
      sum.connections += connections
      sum.usual += usual
    }
    if (left > served) this.#judgeFingerprints(nowMs, perSecond, findings)
    candidates.sort((a, b) => b.perSecond - a.perSecond)
    let last = Number.POSITIVE_INFINITY
    for (const candidate of candidates) {
      if (findings.length >= FINDINGS_MAX) return
      if (left > served) last = candidate.perSecond
      else if (candidate.perSecond < ALIKE * last) return
      left -= candidate.perSecond
      if (this.#options.isSpared?.(candidate.key) === true) continue
      this.#name('source', candidate, nowMs, findings)
    }
    const wide = [...networks]
      .filter(([network, { sources }]) => sources >= NETWORK_SOURCES_MIN && !this.#isNamed(network, nowMs))
      .map(([key, { demand, connections, usual }]): Candidate => {
        const least = Math.max(NETWORK_TIMES * limits.perSource, USUAL_TIMES * usual, PER_CONNECTION * connections)
        return { key, perSecond: demand, least }
      })
      .filter(({ perSecond: rate, least }) => rate >= least)
      .sort((a, b) => b.perSecond - a.perSecond)
    for (const candidate of wide) {
      if (left <= served || findings.length >= FINDINGS_MAX) return
      left -= candidate.perSecond
      if (this.#options.isSpared?.(candidate.key) === true) continue
      this.#name('network', candidate, nowMs, findings)
    }
  }

  #judgeFingerprints(nowMs: number, perSecond: number, findings: FloodFinding[]): void {
    if (nowMs - this.#fingerprintAtMs < FINGERPRINT_AGAIN_MS) return
    const total = this.#now.demand
    for (const [fingerprint, { demand }] of this.#fingerprints.entries()) {
      const rate = demand * perSecond
      const least = Math.max(
        NETWORK_TIMES * this.#options.limits.perSource,
        USUAL_TIMES * this.#usual(this.#calmFingerprints, fingerprint),
      )
      if (demand < FINGERPRINT_SHARE_MIN * total || rate < least) continue
      this.#fingerprintAtMs = nowMs
      const share = `${Math.round((100 * demand) / total)} %`
      findings.push({
        kind: 'flood',
        subject: { kind: 'fingerprint', value: fingerprint },
        perSecond: rate,
        confidence: 1 - least / rate,
        times: 1,
        denyForMs: 0,
        reason: `${share} of what is asked while the node is overloaded comes from clients with the TLS fingerprint ${fingerprint}`,
      })
      return
    }
  }

  /** Of those that are denied and go on. */
  #knocked({ knocks }: FloodReading, nowMs: number, findings: FloodFinding[]): void {
    const passedMs = nowMs - (this.#knockAtMs ?? nowMs)
    this.#knockAtMs = nowMs
    if (this.#knocks.size > 0) this.#knocks.scale(2 ** (-passedMs / KNOCK_HALF_MS), 0.1)
    for (const [source, count] of knocks) this.#knocks.add(source, count, count, count)
    const perSecond = (LN2 * 1_000) / KNOCK_HALF_MS
    for (const [key] of knocks) {
      const rate = (this.#knocks.get(key)?.demand ?? 0) * perSecond
      if (rate < KNOCKS_MIN || this.#isNamed(key, nowMs) || findings.length >= FINDINGS_MAX) continue
      if (this.#options.isSpared?.(key) === true) continue
      this.#name('source', { key, perSecond: rate, least: KNOCKS_MIN }, nowMs, findings, true)
    }
  }

  #isNamed(key: string, nowMs: number): boolean {
    return (this.#named.get(key)?.renewMs ?? 0) > nowMs
  }

  #name(
    kind: 'source' | 'network',
    { key, perSecond, least }: Candidate,
    nowMs: number,
    findings: FloodFinding[],
    knocks = false,
  ): void {
    const { denyForMs: first, denyForMaxMs } = this.#options.limits
    const before = this.#named.get(key)
    const times = before === undefined || nowMs - before.untilMs > REPEAT_MS ? 1 : before.times + 1
    const denyForMs = Math.min(denyForMaxMs, first * REPEAT_TIMES ** (times - 1))
    // The youngest last: the first is forgotten first.
    this.#named.delete(key)
    if (this.#named.size >= NAMED_MAX) this.#named.delete(this.#named.keys().next().value as string)
    this.#named.set(key, { times, untilMs: nowMs + denyForMs, renewMs: nowMs + denyForMs * (1 - RENEW_PART) })
    const confidence = Math.max(0, 1 - least / perSecond)
    const rate = Math.round(perSecond)
    const what = knocks
      ? `${rate} connections a second though it is denied`
      : `${rate} requests a second ${kind === 'network' ? 'of many addresses ' : ''}while the node is overloaded`
    const again = times > 1 ? `, for the ${ordinal(times)} time in an hour` : ''
    const reason = `${what}${again} (confidence ${confidence.toFixed(2)})`
    findings.push({ kind: 'flood', subject: { kind, value: key }, perSecond, confidence, times, denyForMs, reason })
  }
}

function ordinal(count: number): string {
  const last = count % 100 >= 11 && count % 100 <= 13 ? 0 : count % 10
  return `${count}${last === 1 ? 'st' : last === 2 ? 'nd' : last === 3 ? 'rd' : 'th'}`
}
