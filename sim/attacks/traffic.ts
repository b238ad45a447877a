/** What is played: one request of somebody, and what the application answers when it gets it. The text of nothing is kept. */
import type { Random } from '../random.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** Of the simulated shop. */
export type RouteName =
  | 'home'
  | 'assets'
  | 'product'
  | 'search'
  | 'login'
  | 'signup'
  | 'reset'
  | 'credentials'
  | 'account'
  | 'orders'
  | 'export'
  | 'coupon'
  | 'checkout'
  | 'health'
  | 'other'

export interface Play {
  /** Unix milliseconds of the simulated clock. */
  readonly atMs: number
  /** Which node it meets, from 0. */
  readonly node: number
  readonly source: string
  readonly ja4: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** What the application answers. */
  readonly status: number
  readonly bytes: number
  /** The name typed, on routes about accounts. */
  readonly account?: string
  /** Of somebody who is logged in. */
  readonly session?: string
  /** Who plays: a person, from 0, or of an attack the number of its instance, below 0: −1 the first. Undefined: a machine that belongs there. */
  readonly who: number | undefined
}

/** What waits to be played, by minute. */
export class Calendar {
  readonly #minutes = new Map<number, Play[]>()

  /** The time may have a fraction, which is dropped. */
  add(given: Play): void {
    const play = Number.isInteger(given.atMs) ? given : { ...given, atMs: Math.floor(given.atMs) }
    const minute = Math.floor(play.atMs / MINUTE)
    const plays = this.#minutes.get(minute)
    if (plays === undefined) this.#minutes.set(minute, [play])
    else plays.push(play)
  }

  /** What belongs to the minute, in order of time, taken out. */
  take(minute: number): readonly Play[] {
    const plays = this.#minutes.get(minute)
    if (plays === undefined) return []
    this.#minutes.delete(minute)
    return plays.sort((a, b) => a.atMs - b.atMs)
  }
}

/** A number in [0, 2³²) of a few numbers: what is fixed about somebody. */
export function hashOf(...parts: readonly number[]): number {
  let hash = 0x9e3779b9
  for (const part of parts) {
    hash = Math.imul(hash ^ (part >>> 0), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    hash ^= hash >>> 16
  }
  return hash >>> 0
}

/** The same in [0, 1). */
export function shareOf(...parts: readonly number[]): number {
  return hashOf(...parts) / 2 ** 32
}

export function formatIpv4(value: number): string {
  return `${(value >>> 24) & 255}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
}

/** How long until the next of what happens at random, this long apart on average. */
export function waitMs(random: Random, meanMs: number): number {
  return -Math.log(1 - random.next()) * meanMs
}

/** How many of what happens `mean` times on average (Knuth below 30, else by the normal distribution). */
export function poisson(random: Random, mean: number): number {
  if (mean > 30) {
    const normal = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next())
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal))
  }
  const least = Math.exp(-mean)
  let count = 0
  for (let product = random.next(); product > least; product *= random.next()) count += 1
  return count
}
