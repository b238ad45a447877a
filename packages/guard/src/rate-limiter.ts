/**
 * Rate limits: by the generic cell rate algorithm (GCRA, ITU-T I.371), in windows of the clock, or in one that slides. One time
 * and two counts a key, no timers. The table is bounded: sets of 8 slots found by hash, in typed arrays; a full set gives up
 * the key that is nearest to having its whole budget back, so that a flood of new keys does not free those that are being throttled.
 *
 * Threads may share one table: then each set is locked for the time of one draw, some hundred nanoseconds.
 */

const WAYS = 8
const US_PER_MS = 1_000

/** Of a key. */
export interface Budget {
  readonly count: number
  readonly windowMs: number
  /** How many may come at once; of windows `count`. */
  readonly burst: number
  /**
   * `gcra` unless given: over any time t `burst` + `count` × t / `windowMs`. `fixed-window`: `count` in each window, which begin with
   * multiples of their length since 1970 (UTC). `sliding-window`: `count` in this window and the part of the one before that is
   * less than `windowMs` ago, taken as spread evenly over it.
   */
  readonly algorithm?: 'gcra' | 'fixed-window' | 'sliding-window' | undefined
}

export interface RateLimiter {
  /**
   * Takes one from a key's budget.
   *
   * @returns 0 when it fits, else milliseconds until the next one does; then nothing is taken.
   */
  take(key: string, budget: Budget, nowMs: number): number
  /** Milliseconds until one fits, 0 for now, where `charge` counts; takes nothing. */
  peek(key: string, budget: Budget, nowMs: number): number
  /**
   * Takes so many, fit or not: what is counted only when it is over may have been let in with others at once. What is too much is owed,
   * up to as much as a whole budget.
   */
  charge(key: string, budget: Budget, nowMs: number, times?: number): void
  /** Gives so many back, up to a whole budget. */
  refund(key: string, budget: Budget, nowMs: number, times: number): void
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
/** A slot's two names, its time and its two counts; a set's lock. */
const SLOT_BYTES = 24
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
  /**
   * Unix microseconds: whole numbers, exact up to 2^53. By GCRA the theoretical arrival time; of a fixed window its end, of a
   * sliding one the end of the window after it. So in each case the time at which the whole budget is back.
   */
  readonly arrivals: Float64Array
  /** Of windows: what this one has counted, and the one before. */
  readonly counts: Int32Array
  readonly earlier: Int32Array
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
    counts: new Int32Array(memory, afterTimes + slots * 8, slots),
    earlier: new Int32Array(memory, afterTimes + slots * 12, slots),
    locks: new Int32Array(memory, afterTimes + slots * 16, sets),
  }
}

function ownTable({ entriesMax = ENTRIES_MAX, seed = SEED }: RateLimiterOptions): Table {
  const sets = setsFor(entriesMax)
  const slots = sets * WAYS
  const words = (): Int32Array => new Int32Array(slots)
  const own = { names: words(), checks: words(), counts: words(), earlier: words(), arrivals: new Float64Array(slots) }
  return { sets, seed: seed | 0, ...own, size: new Int32Array(1), locks: undefined }
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
  const { sets, seed, names, checks, arrivals, counts, earlier, size, locks } =
    memory === undefined ? ownTable(options) : tableIn(memory)
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
    counts[victim] = 0
    earlier[victim] = 0
    return victim
  }

  const drawFrom = (set: number, budget: Budget, nowMs: number, kind: Draw, times: number): number => {
    const now = Math.floor(nowMs * US_PER_MS)
    const slot = slotOf(set * WAYS, now, kind === TAKE || kind === CHARGE)
    if (slot < 0) return 0
    const { algorithm } = budget
    return algorithm === undefined || algorithm === 'gcra'
      ? drawCells(slot, budget, now, kind, times)
      : drawWindow(slot, budget, now, kind, times, algorithm === 'sliding-window')
  }

  const drawCells = (slot: number, { count, windowMs, burst }: Budget, now: number, kind: Draw, times: number): number => {
    const interval = Math.max(1, Math.floor((windowMs * US_PER_MS) / count))
    const tolerance = interval * (burst - 1)
    // A clock set back, or a limit made stricter, must not lock a key out for longer than its whole budget.
    const whole = tolerance + interval
    const arrival = Math.min(Math.max(arrivals[slot]!, now), now + (kind === TAKE ? whole : 2 * whole))
    if (kind === CHARGE) {
      arrivals[slot] = Math.min(arrival + interval * times, now + 2 * whole)
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

  const drawWindow = (
    slot: number,
    { count, windowMs }: Budget,
    now: number,
    kind: Draw,
    times: number,
    slides: boolean,
  ): number => {
    const window = windowMs * US_PER_MS
    const end = (Math.floor(now / window) + 1) * window
    const backAt = slides ? end + window : end
    if (arrivals[slot] !== backAt) {
      // Also where the clock was set back: what another window counted is over.
      earlier[slot] = slides && arrivals[slot] === end ? counts[slot]! : 0
      counts[slot] = 0
      arrivals[slot] = backAt
    }
    if (kind === CHARGE) {
      counts[slot] = Math.min(counts[slot]! + times, 2 * count)
      return 0
    }
    if (kind === REFUND) {
      counts[slot] = Math.max(0, counts[slot]! - times)
      return 0
    }
    const here = counts[slot]!
    const before = earlier[slot]!
    if (here + 1 + (before * (end - now)) / window <= count) {
      if (kind === TAKE) counts[slot] = here + 1
      return 0
    }
    // Within this window, as the one before fades; else within the next, as this one does.
    const free =
      here + 1 <= count
        ? end - (window * (count - 1 - here)) / before
        : end + (slides ? Math.max(0, window - (window * (count - 1)) / here) : 0)
    return Math.max(1, Math.ceil((free - now) / US_PER_MS))
  }

  const draw = (key: string, budget: Budget, nowMs: number, kind: Draw, times = 1): number => {
    const set = hash(key)
    if (locks === undefined) return drawFrom(set, budget, nowMs, kind, times)
    lock(locks, set)
    const waitMs = drawFrom(set, budget, nowMs, kind, times)
    Atomics.store(locks, set, 0)
    return waitMs
  }

  return {
    get size() {
      return Atomics.load(size, 0)
    },
    take: (key, budget, nowMs) => draw(key, budget, nowMs, TAKE),
    peek: (key, budget, nowMs) => draw(key, budget, nowMs, PEEK),
    charge: (key, budget, nowMs, times) => {
      draw(key, budget, nowMs, CHARGE, times)
    },
    refund: (key, budget, nowMs, times) => {
      draw(key, budget, nowMs, REFUND, times)
    },
  }
}
