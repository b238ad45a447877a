/**
 * Which upstream of a service does so much worse than it should that it is left out for a time: one that fails so often in
 * a row, or succeeds far less often than the others do. Never more of them than the policy lets be out at a time, those
 * that are down counted: where all fail alike, leaving some out would only crowd the rest.
 */
import type { ServicePolicy } from '@ringwall/ring'
import type { Upstream } from './upstream.ts'

/** Successes are compared over this time. */
const WINDOW_MS = 10_000
/** Fewer answers than this in the time say nothing. */
const ANSWERS_MIN = 100
/** How many standard errors a gap must have to be none of chance. */
const SIGMAS = 3

export class Outliers {
  readonly #members: readonly Upstream[]
  readonly #policy: ServicePolicy['outliers']
  #windowEndsMs = performance.now() + WINDOW_MS

  constructor(members: readonly Upstream[], policy: ServicePolicy['outliers']) {
    this.#members = members
    this.#policy = policy
  }

  /** A response has come whole. */
  succeeded(upstream: Upstream): void {
    const { tally } = upstream
    tally.good++
    tally.inRow = 0
  }

  isFailure(status: number): boolean {
    return status >= 500 && this.#policy.statuses.includes(status)
  }

  /** @param what For the operator: `answers 503`. */
  failed(upstream: Upstream, what: string): void {
    const { tally } = upstream
    tally.bad++
    tally.inRow++
    tally.failures++
    const { consecutive } = this.#policy
    if (consecutive === 0 || tally.inRow < consecutive) return
    this.#eject(upstream, `${what}, ${tally.inRow} failures in a row`)
  }

  /** Called every so often with monotonic time. */
  sweep(nowMs: number): void {
    if (nowMs < this.#windowEndsMs) return
    this.#windowEndsMs = nowMs + WINDOW_MS
    const { successGap } = this.#policy
    let good = 0
    let bad = 0
    for (const { tally } of this.#members) {
      good += tally.good
      bad += tally.bad
    }
    if (successGap < 1) {
      for (const upstream of this.#members) {
        const { tally } = upstream
        const share = lag(tally.good, tally.bad, good - tally.good, bad - tally.bad)
        if (share === undefined || share <= successGap) continue
        const percent = Math.round((100 * tally.good) / (tally.good + tally.bad))
        this.#eject(upstream, `${percent}% of its answers are good, ${Math.round(share * 100)}% fewer than those of the others`)
      }
    }
    for (const { tally } of this.#members) {
      tally.good = 0
      tally.bad = 0
    }
  }

  #eject(upstream: Upstream, reason: string): void {
    if (!upstream.healthy) return
    const { maxEjected, ejectFor, ejectForMax } = this.#policy
    const out = this.#members.filter(({ healthy }) => !healthy).length
    if (out + 1 > Math.floor(this.#members.length * maxEjected)) return
    upstream.eject(ejectFor, ejectForMax, reason)
  }
}

/** How far its share of successes lies below that of the others; undefined when that may be chance. */
export function lag(good: number, bad: number, othersGood: number, othersBad: number): number | undefined {
  const own = good + bad
  const others = othersGood + othersBad
  if (own < ANSWERS_MIN || others < ANSWERS_MIN) return undefined
  const gap = othersGood / others - good / own
  const pooled = (good + othersGood) / (own + others)
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / own + 1 / others))
  return gap > SIGMAS * error ? gap : undefined
}
