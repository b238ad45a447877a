/**
 * Where accounts were last logged in to, and whether somebody can have come from there in the time between: faster than an airliner over the shortest distance
 * that both places leave open is impossible. Places are as wide as whoever names them says that they are wrong.
 *
 * Two addresses of one autonomous system say nothing: carriers and VPNs move people between places without their moving. Nor does a distance below `NEAR_KM`.
 *
 * Bounded: the account that was logged in to longest ago goes first.
 */
import type { SignalPlace } from './signal.ts'

const EARTH_KM = 6_371
/** Faster than airliners, with the way to the airport left out. */
const SPEED_KMH_MAX = 1_000
/** Databases of addresses are off by as much. */
const NEAR_KM = 500
/** What a place that does not say is wide. */
export const RADIUS_KM_USUAL = 200
const ACCOUNTS_MAX = 100_000
/** After so long everybody may be anywhere. */
const FORGET_MS = 24 * 3_600_000
export const TRAVEL_TOLD_MAX = 500
const UNTOLD_MAX = 5_000

/** A good login: the account as signals name it, and its service before it. */
export interface LoginPlace {
  readonly account: string
  readonly atMs: number
  readonly place: SignalPlace
}

export interface Travel {
  /** At the least, kilometres. */
  readonly km: number
  readonly ms: number
}

const radians = (degrees: number): number => (degrees * Math.PI) / 180

/** Great circle, by haversines. */
export function distanceKm(a: SignalPlace, b: SignalPlace): number {
  const north = Math.sin(radians(b.latitude - a.latitude) / 2) ** 2
  const east = Math.sin(radians(b.longitude - a.longitude) / 2) ** 2
  const chord = north + Math.cos(radians(a.latitude)) * Math.cos(radians(b.latitude)) * east
  return 2 * EARTH_KM * Math.asin(Math.sqrt(Math.min(1, chord)))
}

/** Undefined: it is possible. */
export function impossibleTravel(from: LoginPlace, place: SignalPlace, atMs: number): Travel | undefined {
  const ms = Math.abs(atMs - from.atMs)
  if (ms >= FORGET_MS || (place.asn !== 0 && place.asn === from.place.asn)) return undefined
  const km = distanceKm(from.place, place) - from.place.radiusKm - place.radiusKm
  return km > NEAR_KM && km > (SPEED_KMH_MAX * ms) / 3_600_000 ? { km, ms } : undefined
}

export class Travels {
  readonly #last = new Map<string, LoginPlace>()
  readonly #untold = new Map<string, LoginPlace>()
  readonly #max: number

  constructor(accountsMax: number = ACCOUNTS_MAX) {
    this.#max = accountsMax
  }

  get size(): number {
    return this.#last.size
  }

  /** Whether nobody can have come there from where the account was logged in to last. */
  look(account: string, place: SignalPlace, atMs: number): Travel | undefined {
    const last = this.#last.get(account)
    return last === undefined ? undefined : impossibleTravel(last, place, atMs)
  }

  add(login: LoginPlace): void {
    if (!this.#keep(login)) return
    this.#untold.delete(login.account)
    this.#untold.set(login.account, login)
    if (this.#untold.size > UNTOLD_MAX) this.#untold.delete(this.#untold.keys().next().value as string)
  }

  /** What another node saw; of one account the later. What is said to come is not believed. */
  merge(logins: readonly LoginPlace[], nowMs: number): void {
    for (const login of logins) if (login.atMs <= nowMs + 60_000) this.#keep(login)
  }

  #keep(login: LoginPlace): boolean {
    const before = this.#last.get(login.account)
    // One of a time far to come is of a clock that was set.
    if (before !== undefined && before.atMs > login.atMs && before.atMs - login.atMs < FORGET_MS) return false
    this.#last.delete(login.account)
    this.#last.set(login.account, login)
    if (this.#last.size > this.#max) this.#last.delete(this.#last.keys().next().value as string)
    return true
  }

  /** What was seen here and is not told of yet. */
  news(): readonly LoginPlace[] {
    const news = [...this.#untold.values()].slice(0, TRAVEL_TOLD_MAX)
    for (const { account } of news) this.#untold.delete(account)
    return news
  }
}
