/**
 * Bouncers written for CrowdSec's local API, which enforce this ring's denials of addresses and prefixes: who they are (the policy lists
 * them, with hashes of their keys), what each was told last, and how much each may ask.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { type Denial, type DenialIndex, formatAddress, type Policy, type View } from '@ringwall/ring'
import { type BouncerDecision, type DecisionFilter, DecisionJournal, decisionOf, fits } from './decision-journal.ts'

/** Bouncers by name and address: those that have not asked for longest are forgotten, and told everything again. */
export const PULLERS_MAX = 1_000
/** Look-ups of one bouncer a second, and at once. */
const LOOKUPS = { perSecond: 500, burst: 1_000 }
/** Answers that may be long. */
const LISTS = { perSecond: 0.5, burst: 10 }
const FOLLOW_MS_MIN = 200
const FOLLOW_MS_MAX = 10_000
const AGENT_CHARS_MAX = 100
/** Following may take this part of the time. */
const FOLLOW_SHARE = 20
const KEY_CHARS_MAX = 256

export interface BouncersOptions {
  readonly view: () => View
  /** What is enforced ahead of the ledger. */
  readonly enforced: DenialIndex
  /** Grows whenever denials may have changed. */
  readonly version: () => number
}

/** One bouncer at one address, as it last asked. */
export interface Puller {
  readonly name: string
  readonly source: string
  readonly agent: string
  readonly kind: 'stream' | 'lookup'
  readonly lastMs: number
  /** Changes that it has not been told of yet; null for one that looks up. */
  readonly behind: number | null
}

export interface Asker {
  readonly name: string
  readonly source: string
  readonly agent: string
}

export interface Told {
  readonly added: readonly BouncerDecision[]
  readonly deleted: readonly BouncerDecision[]
  /** To be called when all of it was written: what is not is told again. */
  done(): void
}

interface Seen extends Asker {
  lastMs: number
  kind: 'stream' | 'lookup'
  /** Up to which it was told all. */
  sequence: number | undefined
}

interface Bucket {
  tokens: number
  atMs: number
}

/** `sha256:` and 64 hex digits. Keys are 256 random bits: a plain hash of them tells nothing. */
export function bouncerKeyHash(key: string): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`
}

export class Bouncers {
  readonly #options: BouncersOptions
  readonly #journal = new DecisionJournal()
  /** By name and source, in the order in which they asked. */
  readonly #seen = new Map<string, Seen>()
  readonly #buckets = new Map<string, Bucket>()
  #listed: Policy['bouncers'] = []
  #followed = { version: -1, nextMs: 0, firstEndMs: 0 }

  constructor(options: BouncersOptions) {
    this.#options = options
  }

  /** Whose key it is. Takes as long whoever it is. */
  ownerOf(key: string): string | undefined {
    if (key.length > KEY_CHARS_MAX) return undefined
    const given = Buffer.from(bouncerKeyHash(key))
    let owner: string | undefined
    for (const { name, keyHash } of this.#options.view().policy.bouncers) {
      if (timingSafeEqual(given, Buffer.from(keyHash))) owner = name
    }
    return owner
  }

  /** Undefined when the bouncer asks too much. */
  news(asker: Asker, startup: boolean, filter: DecisionFilter, nowMs: number): Told | undefined {
    this.#follow(nowMs)
    const seen = this.#remember(asker, 'stream', nowMs)
    const isWhole = startup || seen.sequence === undefined
    if (!this.#take(asker.name, isWhole ? LISTS : LOOKUPS, nowMs)) return undefined
    const { added, deleted, sequence } = this.#journal.since(startup ? undefined : seen.sequence, filter)
    return {
      added,
      deleted,
      done: () => {
        seen.sequence = sequence
      },
    }
  }

  /** Likewise. */
  find(asker: Asker, filter: DecisionFilter, nowMs: number): readonly BouncerDecision[] | undefined {
    const isLookup = filter.about !== undefined && filter.contains
    if (!this.#take(asker.name, isLookup ? LOOKUPS : LISTS, nowMs)) return undefined
    this.#follow(nowMs)
    this.#remember(asker, 'lookup', nowMs)
    const { denials } = this.#options.view()
    const { enforced } = this.#options
    // The journal follows a moment behind: what was lifted since is left out, and what was denied since is looked up.
    const isInForce = ({ denial }: BouncerDecision): boolean =>
      denials.find(denial, nowMs) !== undefined || enforced.find(denial, nowMs) !== undefined
    const found = this.#journal.find(filter).filter(isInForce)
    const { about } = filter
    if (found.length > 0 || about === undefined || !filter.contains || about.length !== about.words.length * 32) return found
    const address = formatAddress(about)
    const denial = denials.matchAddress(address, nowMs) ?? enforced.matchAddress(address, nowMs)
    return denial === undefined ? [] : [decisionOf(denial)].filter((decision) => fits(decision, filter))
  }

  /** Who asked this node, the last first. */
  pullers(): readonly Puller[] {
    return [...this.#seen.values()].reverse().map(({ name, source, agent, kind, lastMs, sequence }) => ({
      name,
      source,
      agent,
      kind,
      lastMs,
      behind: kind === 'lookup' ? null : this.#journal.sequence - (sequence ?? 0),
    }))
  }

  #current(nowMs: number): readonly Denial[] {
    const certain = this.#options.view().denials.list(nowMs)
    const ids = new Set(certain.map(({ id }) => id))
    return [...certain, ...this.#options.enforced.list(nowMs).filter(({ id }) => !ids.has(id))]
  }

  #follow(nowMs: number): void {
    const { version, nextMs, firstEndMs } = this.#followed
    if (nowMs < nextMs || (version === this.#options.version() && nowMs < firstEndMs)) return
    const begun = performance.now()
    const next = this.#options.version()
    const firstEnd = this.#journal.follow(this.#current(nowMs))
    const waitMs = Math.min(FOLLOW_MS_MAX, Math.max(FOLLOW_MS_MIN, (performance.now() - begun) * FOLLOW_SHARE))
    this.#followed = { version: next, nextMs: nowMs + waitMs, firstEndMs: firstEnd }
  }

  #remember({ name, source, agent }: Asker, kind: 'stream' | 'lookup', nowMs: number): Seen {
    this.#forgetRemoved()
    const key = `${kind} ${name} ${source}`
    const before = this.#seen.get(key)
    const seen = { name, source, agent: agent.slice(0, AGENT_CHARS_MAX), kind, lastMs: nowMs, sequence: before?.sequence }
    this.#seen.delete(key)
    this.#seen.set(key, seen)
    if (this.#seen.size > PULLERS_MAX) this.#seen.delete(this.#seen.keys().next().value!)
    return seen
  }

  /** Of bouncers that the policy no longer lists. */
  #forgetRemoved(): void {
    const { bouncers } = this.#options.view().policy
    if (bouncers === this.#listed) return
    this.#listed = bouncers
    const names = new Set(bouncers.map(({ name }) => name))
    for (const [key, { name }] of this.#seen) if (!names.has(name)) this.#seen.delete(key)
    for (const key of this.#buckets.keys()) if (!names.has(key.split(' ', 1)[0]!)) this.#buckets.delete(key)
  }

  /** Buckets are as many as the policy has bouncers. */
  #take(name: string, { perSecond, burst }: typeof LOOKUPS, nowMs: number): boolean {
    const key = `${name} ${burst}`
    const before = this.#buckets.get(key) ?? { tokens: burst, atMs: nowMs }
    const tokens = Math.min(burst, before.tokens + (Math.max(0, nowMs - before.atMs) * perSecond) / 1_000)
    const isGranted = tokens >= 1
    this.#buckets.set(key, { tokens: isGranted ? tokens - 1 : tokens, atMs: nowMs })
    return isGranted
  }
}
