/**
 * Insiders out of pattern (MITRE ATT&CK T1078, T1213, T1530): people and programs with valid credentials that suddenly use what they never used, at hours
 * at which they never did, or far more than ever. Each identity is compared with its own past, and with nobody else's. Nothing is found of one that is still
 * being learned; one that was away for a month is learned anew.
 *
 * Nodes tell each other; each judges by itself, when it sees something itself, and what others tell counts at most as much as what it saw.
 * Pure and bounded: time is an argument; of identities of each sort, those that did something last are kept, so that whoever makes accounts pushes out accounts.
 */

import {
  decodeInsiderSummary,
  encodeInsiderSummary,
  INSIDER_SORTS,
  type InsiderSort,
  SUMMARY_PROFILES_MAX,
} from './insider-summary.ts'
import {
  forgetFuture,
  isKnown,
  isUsualHour,
  joinProfile,
  knownCount,
  newProfile,
  noteMost,
  noteUse,
  type Past,
  type Profile,
  pastOf,
  usedWithinHour,
} from './profile.ts'

export interface InsiderUse {
  /** Unix milliseconds. */
  readonly atMs: number
  readonly sort: InsiderSort
  /** At most 255 bytes. Of an account `SERVICE\nHASH`. */
  readonly subject: string
  /** What is used for the first time or not: a secret, a kind of operation, an endpoint. A hash. */
  readonly item: number
  /** What counts for how much it is: the same, or a path. A hash. */
  readonly thing: number
}

/** What is out of pattern, of one sort of use. */
export interface InsiderLimits {
  /** For the first time, within an hour. */
  readonly first: number
  /** The same at an hour at which it was never active. */
  readonly firstAtOddHour: number
  /** Within an hour, whatever was usual, for `times` to count. */
  readonly many: number
}

export interface InsidersOptions {
  readonly limits: Readonly<Record<InsiderSort, InsiderLimits>>
  /** Before anything is found, in whole days. */
  readonly learnDays: number
  /** What is new is at least this part of all that is remembered. */
  readonly share: number
  /** The most of any hour before. */
  readonly times: number
  /** Of each sort. */
  readonly identitiesMax?: number
}

export interface InsiderFinding {
  readonly sort: InsiderSort
  readonly subject: string
  readonly what: 'first' | 'odd-hour' | 'many'
  readonly reason: string
}

interface Identity {
  readonly own: Profile
  told: Profile | undefined
  readonly fired: Map<InsiderFinding['what'], { readonly atMs: number; readonly count: number }>
}

/** Operators and programs are few, and made by operators alone. */
export const INSIDERS_MAX: Readonly<Record<InsiderSort, number>> = { secrets: 3_000, admin: 1_000, account: 6_000 }
/** A finding of one identity comes again after so long, or when it is twice as much. */
const REARM_MS = 3_600_000
/** Days before today on which it did something: one is a first visit. */
const DAYS_ACTIVE_MIN = 2
/** Told again and again, since messages get lost and nodes begin anew: as many a summary. */
const RETOLD_MAX = 16

const WORDS: Readonly<
  Record<InsiderSort, { readonly did: string; readonly items: readonly [string, string]; readonly things: string }>
> = {
  secrets: { did: 'opened', items: ['secret', 'secrets'], things: 'secrets' },
  admin: { did: 'used', items: ['administrative operation', 'administrative operations'], things: 'administrative operations' },
  account: { did: 'used', items: ['endpoint', 'endpoints'], things: 'paths' },
}

export class Insiders {
  #options: InsidersOptions
  /** By sort, then by sort and subject, the one that did something longest ago first. */
  readonly #identities: Readonly<Record<InsiderSort, Map<string, Identity>>> = {
    secrets: new Map(),
    admin: new Map(),
    account: new Map(),
  }
  readonly #untold = new Set<string>()
  #retelling: Generator<[string, Identity]> | undefined
  #evicted = 0

  constructor(options: InsidersOptions) {
    this.#options = options
  }

  /** Identities in memory, and those that were forgotten to stay within the bound. */
  get size(): { readonly identities: number; readonly evicted: number } {
    const { secrets, admin, account } = this.counts()
    return { identities: secrets + admin + account, evicted: this.#evicted }
  }

  *#all(): Generator<[string, Identity]> {
    for (const sort of INSIDER_SORTS) yield* this.#identities[sort]
  }

  /** Its clock was set back: what was noted of a time to come would keep the present out. */
  setBack(nowMs: number): void {
    for (const [, { own, told }] of this.#all()) {
      forgetFuture(own, nowMs)
      if (told !== undefined) forgetFuture(told, nowMs)
    }
  }

  /** In memory, by sort. */
  counts(): Readonly<Record<InsiderSort, number>> {
    const { secrets, admin, account } = this.#identities
    return { secrets: secrets.size, admin: admin.size, account: account.size }
  }

  /** What was learned stays. */
  use(options: InsidersOptions): void {
    this.#options = options
  }

  observe({ atMs, sort, subject, item, thing }: InsiderUse): readonly InsiderFinding[] {
    const key = `${sort}\n${subject}`
    const identity = this.#met(key)
    const isFirst = !isKnown(identity, atMs, item)
    // The same again within the half hour changes nothing that is judged.
    if (!noteUse(identity.own, atMs, item, thing, isFirst)) return []
    this.#untold.add(key)
    const isOdd = !isUsualHour(identity, atMs)
    const count = usedWithinHour(identity, atMs, 'all')
    noteMost(identity.own, atMs, Math.max(1, count))
    const past = pastOf(identity, atMs)
    if (past.days < this.#options.learnDays || past.daysActive < DAYS_ACTIVE_MIN) return []
    return this.#judged(identity, { sort, subject, atMs, count, past, isOdd })
  }

  #judged(
    identity: Identity,
    seen: Pick<InsiderUse, 'sort' | 'subject' | 'atMs'> & {
      readonly count: number
      readonly past: Past
      readonly isOdd: boolean
    },
  ): readonly InsiderFinding[] {
    const { share, times, limits } = this.#options
    const { sort, subject, atMs, count, past, isOdd } = seen
    const limit = limits[sort]
    const { did, items, things } = WORDS[sort]
    const first = usedWithinHour(identity, atMs, 'first')
    const known = Math.max(0, knownCount(identity, atMs) - first)
    const since = `in the last ${past.days} days`
    const name = (number: number): string => `${number} ${items[number === 1 ? 0 : 1]}`
    const found: [InsiderFinding['what'], string][] = []
    if (first >= Math.max(limit.first, share * known)) {
      const much = things === items[1] ? `${name(count)} within an hour, ${first} of them` : `${name(first)} within an hour`
      found.push(['first', `${did} ${much} for the first time; ${since} it ${did} ${known}, at most ${past.most} an hour`])
    }
    if (isOdd && first >= limit.firstAtOddHour)
      found.push(['odd-hour', `${did} ${name(first)} for the first time ${hourText(atMs)}, when it was never active ${since}`])
    if (count >= Math.max(limit.many, times * past.most))
      found.push(['many', `${did} ${count} ${things} within an hour; ${since} at most ${past.most} an hour`])
    return found.flatMap(([what, reason]) => {
      const last = identity.fired.get(what)
      if (last !== undefined && Math.abs(atMs - last.atMs) < REARM_MS && count < 2 * last.count) return []
      identity.fired.set(what, { atMs, count })
      return [{ sort, subject, what, reason }]
    })
  }

  #met(key: string): Identity {
    const sort = sortOf(key)
    const identities = this.#identities[sort]
    const known = identities.get(key)
    if (known !== undefined) identities.delete(key)
    const identity = known ?? { own: newProfile(), told: undefined, fired: new Map() }
    identities.set(key, identity)
    if (identities.size > (this.#options.identitiesMax ?? INSIDERS_MAX[sort])) {
      const oldest = identities.keys().next().value as string
      identities.delete(oldest)
      this.#untold.delete(oldest)
      this.#evicted += 1
    }
    return identity
  }

  /** What this node saw: what changed, and some of the rest again. Undefined: nothing. */
  summary(): Uint8Array | undefined {
    const told = new Map<string, Profile>()
    for (const key of this.#untold) {
      if (told.size >= SUMMARY_PROFILES_MAX - RETOLD_MAX) break
      this.#untold.delete(key)
      const identity = this.#identities[sortOf(key)].get(key)
      if (identity !== undefined) told.set(key, identity.own)
    }
    this.#retelling ??= this.#all()
    for (let count = 0; count < RETOLD_MAX; count += 1) {
      const next = this.#retelling.next()
      if (next.done === true) {
        this.#retelling = undefined
        break
      }
      told.set(next.value[0], next.value[1].own)
    }
    return told.size === 0 ? undefined : encodeInsiderSummary(told)
  }

  /** What another node saw. Of identities that did nothing here nothing is kept. @throws {SummaryMalformed} */
  merge(payload: Uint8Array, nowMs: number): void {
    for (const [key, profile] of decodeInsiderSummary(payload)) {
      const identity = this.#identities[sortOf(key)].get(key)
      if (identity === undefined) continue
      identity.told ??= newProfile()
      joinProfile(identity.told, profile, nowMs)
    }
  }

  /** What this node saw, in pieces, to be kept while it is away. */
  *memory(): Generator<Uint8Array> {
    let piece = new Map<string, Profile>()
    for (const [key, { own }] of this.#all()) {
      piece.set(key, own)
      if (piece.size < SUMMARY_PROFILES_MAX) continue
      yield encodeInsiderSummary(piece)
      piece = new Map()
    }
    if (piece.size > 0) yield encodeInsiderSummary(piece)
  }

  /** A piece that `memory` gave. @throws {SummaryMalformed} */
  restore(piece: Uint8Array, nowMs: number): void {
    for (const [key, profile] of decodeInsiderSummary(piece)) joinProfile(this.#met(key).own, profile, nowMs)
  }
}

const sortOf = (key: string): InsiderSort => key.slice(0, key.indexOf('\n')) as InsiderSort

/** In UTC. */
function hourText(atMs: number): string {
  const hour = new Date(atMs).getUTCHours()
  const two = (value: number): string => String(value % 24).padStart(2, '0')
  const weekday = new Date(atMs).getUTCDay()
  return `between ${two(hour)}:00 and ${two(hour + 1)}:00 UTC on a ${weekday === 0 || weekday === 6 ? 'weekend' : 'weekday'}`
}
