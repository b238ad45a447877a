/**
 * One budget for all nodes, without a central store. Every key has an owner: the first, by rendezvous hashing (Thaler and
 * Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998), of the nodes that a node can reach. The owner counts by
 * the generic cell rate algorithm and leases pieces of the budget to the others, who spend them without asking. A node that meets
 * a key for the first time asks its owner, and the request waits for the answer, unless the budget is so large that what all
 * nodes may let through unasked is at most a twenty-fifth of it.
 *
 * Partitions: a node tells the others whom it reaches. An owner grants the whole budget while most nodes name it as the owner, and
 * the share of those who do otherwise; so the parts of a divided ring give less than twice the budget together. What an owner
 * grants wrongly, a requester's own count of the whole budget still bounds.
 *
 * Pure: messages, time and membership come in as arguments; messages go out by `flush`.
 */
import type { Budget } from './rate-limiter.ts'

const US_PER_MS = 1_000
/** How long what was leased may be spent; the rest is given back. */
const LEASE_MS = 1_000
/** For how long ahead is asked. */
const AHEAD_MS = 500
/** An ask without an answer for so long counts as none. */
const ASK_MS_MAX = 1_000
/** How long an owner waits for what it recalled. */
const RECALL_MS_MAX = 400
/** A node that was not heard for so long is not reached. */
const UNHEARD_MS_MAX = 2_000
/** What a node said of whom it reaches counts for so long. Shorter, so that an old owner steps back before a new one begins. */
const ENDORSED_MS_MAX = 1_200
/** What may be let through unasked by all nodes together, as a part of the burst. */
const UNASKED_SHARE = 0.04
/** A clock that goes back by less is being adjusted, not set. */
const SET_BACK_MS = 1_000
const KEY_CHARS_MAX = 256
const WAITING_MAX = 4_096
export const ASKS_MAX = 512

export type LimitMessage =
  /** `spent`: beyond what was leased; `back`: leased and not spent. Nothing wanted: nothing is held any more. */
  | { readonly kind: 'ask'; readonly key: string; readonly want: number; readonly spent: number; readonly back: number }
  /** `waitMs`: until there is more, when less than wanted was granted. */
  | { readonly kind: 'grant'; readonly key: string; readonly granted: number; readonly waitMs: number }
  /** The sender has nothing left of the key’s budget, and somebody waits: what is not spent is to come back. */
  | { readonly kind: 'recall'; readonly key: string }
  /** The sender does not own this key. */
  | { readonly kind: 'stranger'; readonly key: string }
  /** Whom the sender reaches, itself among them. */
  | { readonly kind: 'reach'; readonly nodes: readonly string[] }

export interface RingLimiterOptions {
  readonly self: string
  /** Keys remembered at most; 65,536 unless given. */
  readonly entriesMax?: number
  /** What a limit gives, by the beginning of a key, as this node’s own policy says; a peer’s word does not count. */
  readonly budgetOf: (key: string) => Budget | undefined
}

interface Entry {
  readonly key: string
  /** Nodes in the order in which they own the key. */
  rank: readonly string[]
  rankedFor: number
  /** Of the owner's count, or of what this node let through. Microseconds. */
  arrival: number
  /** The same for what this node let through, worn off as if all nodes did as much: what a new owner is told. */
  slowArrival: number
  /** As of `version`. */
  owner: string | undefined
  share: number
  version: number
  tokens: number
  leaseEndsMs: number
  /** Spent beyond what was leased, not yet told to the owner. */
  spent: number
  unasked: number
  askedAtMs: number | undefined
  askedOf: string | undefined
  refusedUntilMs: number
  /** Requests since the last ask. */
  demand: number
  demandSinceMs: number
  waiting: Waiting[]
  /** Leased to others and not yet given back, by node; only so much is taken back. */
  leased: Map<string, Lease> | undefined
  /** Since when leases are recalled, and the asks that wait for them. */
  recalledAtMs: number | undefined
  pending: { readonly from: string; readonly want: number }[]
}

interface Lease {
  readonly amount: number
  readonly untilMs: number
}

interface Waiting {
  readonly budget: Budget
  readonly settle: (waitMs: number) => void
}

interface Heard {
  readonly nodes: ReadonlySet<string>
  readonly atMs: number
}

export class RingLimiter {
  readonly #options: RingLimiterOptions
  readonly #entriesMax: number
  readonly #entries = new Map<string, Entry>()
  readonly #outgoing = new Map<string, LimitMessage[]>()
  #members: readonly string[]
  #membersVersion = 1
  readonly #heard = new Map<string, Heard>()
  /** Counts changes of who reaches whom. */
  #version = 1
  #waiting = 0
  /** Those whom time does something to. */
  readonly #active = new Set<Entry>()
  #originMs: number | undefined
  #tickedMs = Number.NEGATIVE_INFINITY

  constructor(options: RingLimiterOptions) {
    this.#options = options
    this.#entriesMax = options.entriesMax ?? 65_536
    this.#members = [options.self]
  }

  get size(): number {
    return this.#entries.size
  }

  /** All nodes of the ring, this one among them. */
  setMembers(ids: readonly string[]): void {
    if (ids.length === this.#members.length && ids.every((id, at) => id === this.#members[at])) return
    this.#members = ids
    this.#membersVersion += 1
    this.#version += 1
    for (const id of this.#heard.keys()) if (!ids.includes(id)) this.#heard.delete(id)
  }

  /**
   * Takes one from a key's budget.
   *
   * @returns 0 when it fits, else milliseconds until the next one might; a promise of that when the owner has to be asked.
   */
  take(given: string, budget: Budget, nowMs: number): number | Promise<number> {
    const entry = this.#entry(shortened(given), nowMs)
    entry.demand += 1
    const owner = this.#ownerOf(entry, nowMs)
    if (owner === this.#options.self) return this.#takeOwn(entry, budget, nowMs)
    // Whatever an owner grants: alone, this node never lets more through than the whole budget.
    const excess = this.#excess(entry, budget, nowMs)
    if (excess > 0) return excess
    if (entry.tokens > 0 && nowMs < entry.leaseEndsMs) {
      entry.tokens -= 1
      this.#add(entry, budget, nowMs)
      if (entry.tokens * 2 < entry.demand) this.#ask(entry, budget, nowMs)
      return 0
    }
    this.#active.add(entry)
    if (nowMs < entry.refusedUntilMs) return Math.max(1, Math.ceil(entry.refusedUntilMs - nowMs))
    const others = this.#members.length - 1
    if (entry.unasked < Math.floor((budget.burst * UNASKED_SHARE) / others)) {
      entry.unasked += 1
      entry.spent += 1
      this.#add(entry, budget, nowMs)
      this.#ask(entry, budget, nowMs)
      return 0
    }
    // Nobody waits without a bound: beyond it each node counts its share for itself.
    if (this.#waiting >= WAITING_MAX) return this.#count(entry, this.#ownShare(budget), nowMs)
    this.#waiting += 1
    return new Promise((settle) => {
      entry.waiting.push({ budget, settle })
      this.#ask(entry, budget, nowMs)
    })
  }

  /** What another node says. Returns false when that makes no sense. */
  receive(from: string, message: LimitMessage, nowMs: number): boolean {
    if (!this.#members.includes(from)) return false
    if (message.kind === 'reach') {
      const nodes = new Set(message.nodes.filter((id) => this.#members.includes(id)))
      const before = this.#heard.get(from)
      if (before === undefined || !isSame(before.nodes, nodes) || nowMs - before.atMs > ENDORSED_MS_MAX) this.#version += 1
      this.#heard.set(from, { nodes, atMs: nowMs })
      return true
    }
    if (message.kind === 'ask') return this.#asked(from, message, nowMs)
    if (message.kind === 'recall') {
      const held = this.#entries.get(message.key)
      this.#send(from, { kind: 'ask', key: message.key, want: 0, spent: held?.spent ?? 0, back: held?.tokens ?? 0 })
      if (held !== undefined) {
        held.tokens = 0
        held.spent = 0
      }
      return true
    }
    const entry = this.#entries.get(message.key)
    // Not what was asked, or too late.
    if (entry === undefined || entry.askedOf !== from) return false
    entry.askedAtMs = undefined
    entry.askedOf = undefined
    if (message.kind === 'stranger') {
      this.#release(entry, nowMs)
      return true
    }
    const budget = this.#options.budgetOf(message.key)
    if (budget === undefined) return false
    entry.tokens = Math.min(budget.burst, entry.tokens + message.granted)
    if (message.granted > 0) {
      entry.leaseEndsMs = nowMs + LEASE_MS
      entry.unasked = 0
    }
    entry.refusedUntilMs = message.granted > 0 ? 0 : nowMs + Math.min(message.waitMs, budget.windowMs)
    this.#serve(entry, nowMs)
    return true
  }

  /** The link to a node is down: no need to wait until it is missed. */
  lost(id: string): void {
    if (this.#heard.delete(id)) this.#version += 1
  }

  /** Every 50 ms or so. */
  tick(nowMs: number): void {
    for (const { atMs } of this.#heard.values()) {
      const ageMs = nowMs - atMs
      // What others said has become too old to count, or they have.
      if ((ageMs > ENDORSED_MS_MAX && ageMs < ENDORSED_MS_MAX + 500) || (ageMs > UNHEARD_MS_MAX && ageMs < UNHEARD_MS_MAX + 500))
        this.#version += 1
    }
    // A clock that was set back: what was to end at some time would last as long as it was set back.
    const isBack = nowMs < this.#tickedMs - SET_BACK_MS
    this.#tickedMs = nowMs
    if (isBack) {
      const now = this.#us(nowMs)
      for (const entry of this.#entries.values()) {
        entry.arrival = Math.min(entry.arrival, now)
        entry.slowArrival = Math.min(entry.slowArrival, now)
      }
    }
    for (const entry of this.#active) {
      if (isBack) entry.refusedUntilMs = 0
      if (entry.askedAtMs !== undefined && (isBack || nowMs - entry.askedAtMs > ASK_MS_MAX)) {
        entry.askedAtMs = undefined
        entry.askedOf = undefined
        this.#release(entry, nowMs)
      }
      if (entry.tokens > 0 && (isBack || nowMs >= entry.leaseEndsMs)) this.#giveBack(entry)
      // What is refused now and still wanted has its lease when there is one to have.
      if (entry.demand > 0 && entry.refusedUntilMs !== 0 && nowMs >= entry.refusedUntilMs && entry.askedAtMs === undefined) {
        const budget = this.#options.budgetOf(entry.key)
        if (budget !== undefined && this.#ownerOf(entry, nowMs) !== this.#options.self) this.#ask(entry, budget, nowMs)
      }
      if (entry.recalledAtMs !== undefined && (isBack || nowMs - entry.recalledAtMs > RECALL_MS_MAX)) {
        entry.leased?.clear()
        this.#recalled(entry, nowMs)
      }
      const rests = entry.askedAtMs === undefined && entry.recalledAtMs === undefined && entry.tokens === 0
      if (rests && nowMs >= entry.refusedUntilMs) this.#active.delete(entry)
    }
  }

  /** What this node tells the others, every 400 ms or so. */
  reach(nowMs: number): LimitMessage {
    return { kind: 'reach', nodes: this.#members.filter((id) => this.#reaches(id, nowMs)) }
  }

  /** Messages to send, by receiver; at most {@link ASKS_MAX} each. */
  flush(): ReadonlyMap<string, readonly LimitMessage[]> {
    if (this.#outgoing.size === 0) return NOTHING
    const all = new Map(this.#outgoing)
    this.#outgoing.clear()
    return all
  }

  get hasNews(): boolean {
    return this.#outgoing.size > 0
  }

  // The owner's side.

  #asked(from: string, message: LimitMessage & { readonly kind: 'ask' }, nowMs: number): boolean {
    const { key, want, spent, back } = message
    const budget = this.#options.budgetOf(key)
    if (budget === undefined || key.length > KEY_CHARS_MAX) return false
    const entry = this.#entry(key, nowMs)
    if (this.#ownerOf(entry, nowMs) !== this.#options.self) {
      this.#send(from, { kind: 'stranger', key })
      return true
    }
    const own = this.#ownBudget(entry, budget)
    if (own === undefined) {
      if (want > 0) this.#send(from, { kind: 'grant', key, granted: 0, waitMs: LEASE_MS })
      return true
    }
    const leases = (entry.leased ??= new Map())
    const lease = leases.get(from)
    const leased = lease === undefined || nowMs > lease.untilMs ? 0 : lease.amount
    const returned = Math.min(back, leased)
    const interval = intervalUs(own)
    const now = this.#us(nowMs)
    // No more is charged than would use the budget up once more: a lie costs its key one window at most.
    const charged = Math.min(spent, own.burst) - returned
    entry.arrival = Math.min(Math.max(now, Math.max(entry.arrival, now) + charged * interval), now + 2 * own.burst * interval)
    if (want === 0) {
      leases.delete(from)
      if (entry.recalledAtMs !== undefined && !isLent(leases, nowMs)) this.#recalled(entry, nowMs)
      return true
    }
    leases.set(from, { amount: leased - returned, untilMs: nowMs + 3 * LEASE_MS })
    if (this.#room(entry, own, nowMs) === 0 && this.#recalls(entry, from, nowMs)) entry.pending.push({ from, want })
    else this.#grant(entry, own, from, want, nowMs)
    return true
  }

  #grant(entry: Entry, own: Budget, to: string, want: number, nowMs: number): void {
    const interval = intervalUs(own)
    const room = this.#room(entry, own, nowMs)
    // Some is kept for others who may be about to ask.
    const granted = Math.min(want, Math.ceil(room / 2))
    entry.arrival = Math.max(entry.arrival, this.#us(nowMs)) + granted * interval
    const lease = entry.leased?.get(to)
    if (lease !== undefined) entry.leased?.set(to, { ...lease, amount: lease.amount + granted })
    const excess = entry.arrival - this.#us(nowMs) - interval * (own.burst - 1)
    const waitMs = excess > 0 ? Math.max(1, Math.ceil(excess / US_PER_MS)) : 0
    this.#send(to, { kind: 'grant', key: entry.key, granted, waitMs })
  }

  /** How many fit now. */
  #room(entry: Entry, own: Budget, nowMs: number): number {
    const interval = intervalUs(own)
    const now = this.#us(nowMs)
    return Math.max(0, Math.floor((now + interval * (own.burst - 1) - Math.max(entry.arrival, now)) / interval) + 1)
  }

  /** Whether others hold what they may not need; they are asked for it, unless they are already. */
  #recalls(entry: Entry, wanting: string, nowMs: number): boolean {
    if (entry.recalledAtMs !== undefined) return entry.pending.length < this.#members.length
    let asked = false
    for (const [id, { amount, untilMs }] of entry.leased ?? []) {
      if (id === wanting || amount === 0 || nowMs > untilMs) continue
      asked = this.#send(id, { kind: 'recall', key: entry.key }) || asked
    }
    if (!asked) return false
    entry.recalledAtMs = nowMs
    this.#active.add(entry)
    return true
  }

  /** What was recalled is back, or will not come. */
  #recalled(entry: Entry, nowMs: number): void {
    entry.recalledAtMs = undefined
    const budget = this.#options.budgetOf(entry.key)
    const own = budget === undefined ? undefined : this.#ownBudget(entry, budget)
    while (entry.waiting.length > 0) {
      const { settle } = entry.waiting[0]!
      this.#settle(entry, settle, this.#count(entry, own, nowMs))
    }
    for (const { from, want } of entry.pending.splice(0)) {
      if (own === undefined) this.#send(from, { kind: 'grant', key: entry.key, granted: 0, waitMs: LEASE_MS })
      else this.#grant(entry, own, from, want, nowMs)
    }
  }

  #takeOwn(entry: Entry, budget: Budget, nowMs: number): number | Promise<number> {
    const waitMs = this.#count(entry, this.#ownBudget(entry, budget), nowMs)
    if (waitMs === 0 || this.#waiting >= WAITING_MAX || !this.#recalls(entry, this.#options.self, nowMs)) return waitMs
    this.#waiting += 1
    return new Promise((settle) => entry.waiting.push({ budget, settle }))
  }

  #ownBudget(entry: Entry, budget: Budget): Budget | undefined {
    return entry.share === 1 ? budget : scaled(budget, entry.share, this.#members.length)
  }

  /** What this node gives when it can ask nobody. */
  #ownShare(budget: Budget): Budget | undefined {
    return scaled(budget, 1 / this.#members.length, this.#members.length)
  }

  // The requester's side.

  #ask(entry: Entry, budget: Budget, nowMs: number): void {
    const { owner } = entry
    if (entry.askedAtMs !== undefined || owner === undefined) return
    const elapsedMs = Math.max(50, nowMs - entry.demandSinceMs)
    const expected = Math.ceil((entry.demand * AHEAD_MS) / elapsedMs)
    const held = nowMs < entry.leaseEndsMs ? entry.tokens : 0
    const least = Math.ceil(budget.burst / (2 * this.#members.length))
    const want = Math.max(1, Math.min(budget.burst, Math.max(expected, entry.waiting.length, least) - held))
    const back = held === 0 ? entry.tokens : 0
    if (held === 0) entry.tokens = 0
    if (this.#send(owner, { kind: 'ask', key: entry.key, want, spent: entry.spent, back })) {
      entry.askedAtMs = nowMs
      entry.askedOf = owner
      entry.spent = 0
      entry.demand = 0
      entry.demandSinceMs = nowMs
      this.#active.add(entry)
    }
  }

  #giveBack(entry: Entry): void {
    // An ask under way is answered with a new lease, which what is left becomes a part of.
    if (entry.askedAtMs !== undefined) return
    const back = entry.tokens
    entry.tokens = 0
    if (entry.owner === undefined || entry.owner === this.#options.self) return
    // Nothing is wanted: the answer grants nothing.
    this.#send(entry.owner, { kind: 'ask', key: entry.key, want: 0, spent: entry.spent, back })
    entry.spent = 0
  }

  /** Lets those go on who wait, as far as the lease goes; asks again for the rest, or says when. */
  #serve(entry: Entry, nowMs: number): void {
    while (entry.waiting.length > 0) {
      const { budget, settle } = entry.waiting[0]!
      const excess = this.#excess(entry, budget, nowMs)
      const refused = excess > 0 ? excess : entry.refusedUntilMs - nowMs
      if (entry.tokens > 0 && excess <= 0) {
        entry.tokens -= 1
        this.#add(entry, budget, nowMs)
        this.#settle(entry, settle, 0)
      } else if (refused > 0) this.#settle(entry, settle, Math.max(1, Math.ceil(refused)))
      else {
        this.#ask(entry, budget, nowMs)
        if (entry.askedAtMs === undefined) this.#settle(entry, settle, 1)
        else return
      }
    }
  }

  /** Nobody has answered: those who wait are judged by this node's own share. */
  #release(entry: Entry, nowMs: number): void {
    while (entry.waiting.length > 0) {
      const { budget, settle } = entry.waiting[0]!
      this.#settle(entry, settle, this.#count(entry, this.#ownShare(budget), nowMs))
    }
  }

  #settle(entry: Entry, settle: (waitMs: number) => void, waitMs: number): void {
    entry.waiting.shift()
    this.#waiting -= 1
    settle(waitMs)
  }

  // Counting.

  #us(nowMs: number): number {
    this.#originMs ??= nowMs
    return Math.floor((nowMs - this.#originMs) * US_PER_MS)
  }

  /** Milliseconds until one more fits; 0 when it does. */
  #excess(entry: Entry, budget: Budget, nowMs: number): number {
    const interval = intervalUs(budget)
    const now = this.#us(nowMs)
    // A clock set back, or a limit made stricter, must not lock a key out for longer than twice its budget.
    entry.arrival = Math.min(Math.max(entry.arrival, now), now + 2 * budget.burst * interval)
    const excess = entry.arrival - now - interval * (budget.burst - 1)
    return excess > 0 ? Math.max(1, Math.ceil(excess / US_PER_MS)) : 0
  }

  #add(entry: Entry, budget: Budget, nowMs: number): void {
    const now = this.#us(nowMs)
    const interval = intervalUs(budget)
    entry.arrival = Math.max(entry.arrival, now) + interval
    entry.slowArrival = Math.max(entry.slowArrival, now) + interval * this.#members.length
  }

  /** Takes one here and now. @param budget Undefined: so small a part of so small a budget that it is nothing. */
  #count(entry: Entry, budget: Budget | undefined, nowMs: number): number {
    if (budget === undefined) return LEASE_MS
    const excess = this.#excess(entry, budget, nowMs)
    if (excess === 0) this.#add(entry, budget, nowMs)
    return excess
  }

  // Who owns what.

  #reaches(id: string, nowMs: number): boolean {
    if (id === this.#options.self) return true
    const heard = this.#heard.get(id)
    return heard !== undefined && nowMs - heard.atMs <= UNHEARD_MS_MAX
  }

  /** Somebody always: at the least this node itself. */
  #ownerOf(entry: Entry, nowMs: number): string | undefined {
    if (entry.version === this.#version) return entry.owner
    if (entry.rankedFor !== this.#membersVersion) {
      entry.rank = ranked(entry.key, this.#members)
      entry.rankedFor = this.#membersVersion
    }
    const before = entry.owner
    const { self } = this.#options
    entry.owner = entry.rank.find((id) => this.#reaches(id, nowMs))
    entry.version = this.#version
    entry.share = 1
    if (entry.owner === self && this.#members.length > 1) {
      let endorsed = 1
      for (const id of this.#members) {
        const heard = id === self ? undefined : this.#heard.get(id)
        if (heard === undefined || nowMs - heard.atMs > ENDORSED_MS_MAX) continue
        if (entry.rank.find((each) => heard.nodes.has(each)) === self) endorsed += 1
      }
      if (endorsed * 2 <= this.#members.length) entry.share = endorsed / this.#members.length
    }
    if (before !== entry.owner && before !== undefined && entry.owner !== self) {
      // The new owner has not seen what the old one counted: it is told what this node let through of late.
      const budget = this.#options.budgetOf(entry.key)
      if (budget !== undefined) {
        const now = this.#us(nowMs)
        const interval = intervalUs(budget)
        const members = this.#members.length
        const least = Math.floor((entry.arrival - now) / interval)
        const debt = Math.floor((entry.slowArrival - now) / (interval * members))
        entry.spent = Math.max(0, Math.min(budget.burst, debt, least * members))
      }
      entry.tokens = 0
      entry.refusedUntilMs = 0
      entry.askedAtMs = undefined
      entry.askedOf = undefined
    }
    return entry.owner
  }

  #entry(key: string, nowMs: number): Entry {
    const found = this.#entries.get(key)
    if (found !== undefined) return found
    if (this.#entries.size >= this.#entriesMax) this.#evict(nowMs)
    const entry: Entry = {
      key,
      rank: [],
      rankedFor: 0,
      arrival: this.#us(nowMs),
      slowArrival: 0,
      owner: undefined,
      share: 1,
      version: 0,
      tokens: 0,
      leaseEndsMs: 0,
      spent: 0,
      unasked: 0,
      askedAtMs: undefined,
      askedOf: undefined,
      refusedUntilMs: 0,
      demand: 0,
      demandSinceMs: nowMs,
      waiting: [],
      leased: undefined,
      recalledAtMs: undefined,
      pending: [],
    }
    this.#entries.set(key, entry)
    return entry
  }

  /**
   * Of the oldest sixteen the one nearest to having its whole budget back goes; of the others, those that are being used up become
   * the newest: a flood of new keys frees none that is throttled.
   */
  #evict(nowMs: number): void {
    let victim: Entry | undefined
    const oldest: Entry[] = []
    for (const entry of this.#entries.values()) {
      if (victim === undefined || entry.arrival < victim.arrival) victim = entry
      if (oldest.push(entry) === 16) break
    }
    if (victim === undefined) return
    this.#release(victim, nowMs)
    this.#active.delete(victim)
    this.#entries.delete(victim.key)
    const now = this.#us(nowMs)
    for (const entry of oldest) {
      if (entry === victim || entry.arrival <= now) continue
      this.#entries.delete(entry.key)
      this.#entries.set(entry.key, entry)
    }
  }

  #send(to: string, message: LimitMessage): boolean {
    const queue = this.#outgoing.get(to)
    if (queue === undefined) this.#outgoing.set(to, [message])
    else if (queue.length >= ASKS_MAX) return false
    else queue.push(message)
    return true
  }
}

const NOTHING: ReadonlyMap<string, readonly LimitMessage[]> = new Map()

function intervalUs({ count, windowMs }: Budget): number {
  return Math.max(1, Math.floor((windowMs * US_PER_MS) / count))
}

/**
 * A part of a budget. At least one at a time, unless so many ones would be more than twice the whole; undefined then.
 *
 * @param parts Into how many the ring may fall.
 */
function scaled({ count, windowMs, burst }: Budget, share: number, parts: number): Budget | undefined {
  const part = Math.floor(burst * share)
  if (part === 0 && parts > 2 * burst) return undefined
  return { count: count * share, windowMs, burst: Math.max(1, part) }
}

function isLent(leases: ReadonlyMap<string, Lease>, nowMs: number): boolean {
  for (const { amount, untilMs } of leases.values()) if (amount > 0 && nowMs <= untilMs) return true
  return false
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((id) => b.has(id))
}

/** Long keys carry what a client sent: a digest stands for them. */
function shortened(key: string): string {
  if (key.length <= KEY_CHARS_MAX) return key
  const words = [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35].map((seed) => mixed(key, seed).toString(16).padStart(8, '0'))
  return `${key.slice(0, KEY_CHARS_MAX - 48)}\n…${words.join('')}`
}

function mixed(text: string, seed: number): number {
  let hash = seed | 0
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function ranked(key: string, members: readonly string[]): readonly string[] {
  return members
    .map((id) => ({ id, weight: mixed(`${id}\n${key}`, 0x811c9dc5) }))
    .sort((a, b) => b.weight - a.weight || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id)
}
