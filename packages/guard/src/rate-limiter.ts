/**
 * Rate limits by the generic cell rate algorithm (GCRA, ITU-T I.371): one time per key, no timers. The table is bounded:
 * sets of 8 slots found by hash, in typed arrays; a full set gives up the key that is nearest to having its whole budget
 * back, so that a flood of new keys does not free those that are being throttled.
 *
 * Threads may share one table: then each set is locked for the time of one draw, some hundred nanoseconds.
 */

const WAYS = 8
const US_PER_MS = 1_000

export interface RateLimiter {
  /**
   * Takes one from a key's budget. A window of `windowMs` gives `count`; `burst` may come at once.
   *
   * @returns 0 when it fits, else milliseconds until the next one does; then nothing is taken.
   */
  take(key: string, count: number, windowMs: number, burst: number, nowMs: number): number
  /** Milliseconds until one fits, 0 for now, where `charge` counts; takes nothing. */
  peek(key: string, count: number, windowMs: number, burst: number, nowMs: number): number
  /**
   * Takes one, fit or not: what is counted only when it is over may have been let in with others at once. What is too much is owed, up
   * to as much as a whole budget.
   */
  charge(key: string, count: number, windowMs: number, burst: number, nowMs: number): void
  /** Gives so many back, up to a whole budget. */
  refund(key: string, count: number, windowMs: number, burst: number, nowMs: number, times: number): void
  /** Keys remembered. */
  readonly size: number
}

export interface RateLimiterOptions {
  /** Keys remembered at most; rounded up to a power of two. 65,536 unless given. */
  readonly entriesMax?: number
  /** Any 32-bit number, best a random one: makes it hard to find keys that collide. */
  readonly seed?: number
}

const ENTRIES_MAX = 65_536
const SEED = 0x9e3779b9
/** Of shared memory: sets, seed, keys remembered, and one word free. */
const HEADER_BYTES = 16
/** A slot's two names and its time; a set's lock. */
const SLOT_BYTES = 16
const LOCK_BYTES = 8
/** A lock is held for so short a time that asking again is cheapest; its holder may also have been put aside, or ended. */
const SPINS_MAX = 200
const WAITS_MAX = 20
const WAIT_MS = 1

/** What a draw does: `take` if it fits, only look, take whether it fits or not, or give back. */
const TAKE = 0
const PEEK = 1
const CHARGE = 2
const REFUND = 3
type Draw = typeof TAKE | typeof PEEK | typeof CHARGE | typeof REFUND

interface Table {
  readonly sets: number
  readonly seed: number
  readonly names: Int32Array
  readonly checks: Int32Array
  /** Theoretical arrival time, Unix microseconds: whole numbers, exact up to 2^53. */
  readonly arrivals: Float64Array
  /** Keys remembered, in its first element. */
  readonly size: Int32Array
  /** Undefined: nobody else counts here. */
  readonly locks: Int32Array | undefined
}

function setsFor(entriesMax: number): number {
  return Math.max(1, 2 ** Math.ceil(Math.log2(Math.max(1, entriesMax) / WAYS)))
}

/** One table for all limiters that are given it, on whatever thread. */
export function sharedRateMemory({ entriesMax = ENTRIES_MAX, seed = SEED }: RateLimiterOptions = {}): SharedArrayBuffer {
  const sets = setsFor(entriesMax)
  const memory = new SharedArrayBuffer(HEADER_BYTES + sets * (WAYS * SLOT_BYTES + LOCK_BYTES))
  new Int32Array(memory, 0, 2).set([sets, seed | 0])
  return memory
}

function tableIn(memory: SharedArrayBuffer): Table {
  const [sets = 1, seed = 0] = new Int32Array(memory, 0, 2)
  const slots = sets * WAYS
  const afterTimes = HEADER_BYTES + slots * 8
  return {
    sets,
    seed,
    size: new Int32Array(memory, 8, 1),
    arrivals: new Float64Array(memory, HEADER_BYTES, slots),
    names: new Int32Array(memory, afterTimes, slots),
    checks: new Int32Array(memory, afterTimes + slots * 4, slots),
    locks: new Int32Array(memory, afterTimes + slots * 8, sets),
  }
}

function ownTable({ entriesMax = ENTRIES_MAX, seed = SEED }: RateLimiterOptions): Table {
  const sets = setsFor(entriesMax)
  const slots = sets * WAYS
  const [names, checks] = [new Int32Array(slots), new Int32Array(slots)]
  return { sets, seed: seed | 0, names, checks, arrivals: new Float64Array(slots), size: new Int32Array(1), locks: undefined }
}

/** Who waits for too long goes on all the same: a thread that ended in here must not stop the others. One count may be lost. */
function lock(locks: Int32Array, at: number): void {
  for (let spins = 0; spins < SPINS_MAX; spins += 1) if (Atomics.compareExchange(locks, at, 0, 1) === 0) return
  for (let waits = 0; waits < WAITS_MAX; waits += 1) {
    Atomics.wait(locks, at, 1, WAIT_MS)
    if (Atomics.compareExchange(locks, at, 0, 1) === 0) return
  }
}

/** @param memory Of `sharedRateMemory`, for one count over all who are given it; a table of its own unless given. */
export function createRateLimiter(options: RateLimiterOptions = {}, memory?: SharedArrayBuffer): RateLimiter {
  const { sets, seed, names, checks, arrivals, size, locks } = memory === undefined ? ownTable(options) : tableIn(memory)
  /** Of the key hashed last. Two independent hashes name a key; 0 in the first marks a free slot. */
  let name = 0
  let check = 0

  const hash = (key: string): number => {
    name = seed
    check = ~seed
    for (let at = 0; at < key.length; at += 1) {
      const code = key.charCodeAt(at)
      name = Math.imul(name ^ code, 0x85ebca6b)
      name ^= name >>> 13
      check = Math.imul(check ^ code, 0xc2b2ae35)
      check ^= check >>> 16
    }
    name = name === 0 ? 1 : name
    return (name ^ (name >>> 15)) & (sets - 1)
  }

  /** The slot of the key hashed last; a free or freed one when it has none and `claims`, else -1. */
  const slotOf = (first: number, now: number, claims: boolean): number => {
    let victim = first
    for (let at = first; at < first + WAYS; at += 1) {
      if (names[at] === name && checks[at] === check) return at
      if (names[victim] !== 0 && (names[at] === 0 || arrivals[at]! < arrivals[victim]!)) victim = at
    }
    if (!claims) return -1
    if (names[victim] === 0) Atomics.add(size, 0, 1)
    names[victim] = name
    checks[victim] = check
    arrivals[victim] = now
    return victim
  }

  const drawFrom = (
    set: number,
    count: number,
    windowMs: number,
    burst: number,
    nowMs: number,
    kind: Draw,
    times: number,
  ): number => {
    const now = Math.floor(nowMs * US_PER_MS)
    const interval = Math.max(1, Math.floor((windowMs * US_PER_MS) / count))
    const tolerance = interval * (burst - 1)
    const slot = slotOf(set * WAYS, now, kind === TAKE || kind === CHARGE)
    if (slot < 0) return 0
    // A clock set back, or a limit made stricter, must not lock a key out for longer than its whole budget.
    const budget = tolerance + interval
    const arrival = Math.min(Math.max(arrivals[slot]!, now), now + (kind === TAKE ? budget : 2 * budget))
    if (kind === CHARGE) {
      arrivals[slot] = Math.min(arrival + interval, now + 2 * budget)
      return 0
    }
    if (kind === REFUND) {
      arrivals[slot] = Math.max(now, arrival - interval * times)
      return 0
    }
    const excess = arrival - now - tolerance
    if (excess > 0) {
      arrivals[slot] = arrival
      return Math.max(1, Math.ceil(excess / US_PER_MS))
    }
    if (kind === TAKE) arrivals[slot] = arrival + interval
    return 0
  }

  const draw = (key: string, count: number, windowMs: number, burst: number, nowMs: number, kind: Draw, times = 1): number => {
    const set = hash(key)
    if (locks === undefined) return drawFrom(set, count, windowMs, burst, nowMs, kind, times)
    lock(locks, set)
    const waitMs = drawFrom(set, count, windowMs, burst, nowMs, kind, times)
    Atomics.store(locks, set, 0)
    return waitMs
  }

  return {
    get size() {
      return Atomics.load(size, 0)
    },
    take: (key, count, windowMs, burst, nowMs) => draw(key, count, windowMs, burst, nowMs, TAKE),
    peek: (key, count, windowMs, burst, nowMs) => draw(key, count, windowMs, burst, nowMs, PEEK),
    charge: (key, count, windowMs, burst, nowMs) => {
      draw(key, count, windowMs, burst, nowMs, CHARGE)
    },
    refund: (key, count, windowMs, burst, nowMs, times) => {
      draw(key, count, windowMs, burst, nowMs, REFUND, times)
    },
  }
}
