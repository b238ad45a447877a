/**
 * Which of several upstreams gets a request.
 *
 * Least-request and EWMA look at two at random and take the better: nearly as even as looking at all, and a herd does not
 * run for the one that was best a moment ago (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE
 * TPDS 12(10), 2001). Pure: randomness and time are arguments.
 */
import type { ServicePolicy } from '@ringwall/ring'

export type Balance = ServicePolicy['balance']

/** What there is to go by. */
export interface Candidate {
  /** Requests that it carries or that wait for it. */
  readonly load: number
  /** Its share of requests against those of the others; more than 0. */
  readonly weight: number
  /** Expected milliseconds to a response's head; undefined: it has not answered yet. */
  expectedLatencyMs(nowMs: number): number | undefined
  /** Round robin's account of it. */
  credit: number
}

/**
 * @param from The first `count` of them are candidates; at least one.
 * @param random From 0 up to but not including 1.
 */
export function choose<T extends Candidate>(
  balance: Balance,
  from: readonly T[],
  count: number,
  random: () => number,
  nowMs: number,
): T {
  const first = from[0]!
  if (count === 1) return first
  if (balance === 'round-robin') return inTurn(from, count)
  let even = true
  for (let at = 1; at < count; at++) if (from[at]!.weight !== first.weight) even = false
  if (!even) {
    // Both drawn by weight and with replacement: a light one is seldom drawn at all, however idle it is.
    const one = drawn(from, count, random)
    const other = drawn(from, count, random)
    if (balance === 'ewma') return cost(other, nowMs) < cost(one, nowMs) ? other : one
    return other.load / other.weight < one.load / one.weight ? other : one
  }
  return betterOfTwo(balance, from, count, random, nowMs)
}

/** The better of two different ones, all being drawn alike. @param count At least 2. */
export function betterOfTwo<T extends Candidate>(
  balance: Balance,
  from: readonly T[],
  count: number,
  random: () => number,
  nowMs: number,
): T {
  const pair = Math.floor(random() * count * (count - 1))
  const at = Math.floor(pair / (count - 1))
  const rest = pair % (count - 1)
  const one = from[at]!
  const other = from[rest < at ? rest : rest + 1]!
  if (balance === 'ewma') return cost(other, nowMs) < cost(one, nowMs) ? other : one
  return other.load < one.load ? other : one
}

function drawn<T extends Candidate>(from: readonly T[], count: number, random: () => number): T {
  let sum = 0
  for (let at = 0; at < count; at++) sum += from[at]!.weight
  let left = random() * sum
  for (let at = 0; at < count - 1; at++) {
    left -= from[at]!.weight
    if (left < 0) return from[at]!
  }
  return from[count - 1]!
}

/** An upstream that has not answered yet is asked once, and not again until it has. */
const UNKNOWN_COST = 1e9

function cost(candidate: Candidate, nowMs: number): number {
  const { load } = candidate
  const latencyMs = candidate.expectedLatencyMs(nowMs)
  return latencyMs === undefined ? load * UNKNOWN_COST : latencyMs * (load + 1)
}

/** Smooth: a heavy one's turns are spread out, not one after the other. */
function inTurn<T extends Candidate>(from: readonly T[], count: number): T {
  let sum = 0
  let best = from[0]!
  for (let at = 0; at < count; at++) {
    const candidate = from[at]!
    candidate.credit += candidate.weight
    sum += candidate.weight
    if (candidate.credit > best.credit) best = candidate
  }
  best.credit -= sum
  return best
}

/**
 * Peak EWMA: a slow answer counts at once and in full, better ones lower the figure over time. What is not asked is
 * forgotten, so that a slow upstream is tried again.
 */
export class PeakLatency {
  readonly #decayMs: number
  #ms: number | undefined
  #atMs = 0

  constructor(decayMs: number) {
    this.#decayMs = decayMs
  }

  observe(ms: number, nowMs: number): void {
    const held = this.#ms
    if (held === undefined || ms >= held) this.#ms = ms
    else {
      const keep = Math.exp(-Math.max(0, nowMs - this.#atMs) / this.#decayMs)
      this.#ms = held * keep + ms * (1 - keep)
    }
    this.#atMs = nowMs
  }

  at(nowMs: number): number | undefined {
    return this.#ms === undefined ? undefined : this.#ms * Math.exp(-Math.max(0, nowMs - this.#atMs) / this.#decayMs)
  }

  forget(): void {
    this.#ms = undefined
  }
}
