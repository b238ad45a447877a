/**
 * Rate limits by the generic cell rate algorithm (GCRA, ITU-T I.371): one time per key, no timers. The table is bounded:
 * sets of 8 slots found by hash, in typed arrays; a full set gives up the key that is nearest to having its whole budget
 * back, so that a flood of new keys does not free those that are being throttled.
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
  /** What `take` would say; takes nothing. */
  peek(key: string, count: number, windowMs: number, burst: number, nowMs: number): number
  /** Keys remembered. */
  readonly size: number
}

export interface RateLimiterOptions {
  /** Keys remembered at most; rounded up to a power of two. 65,536 unless given. */
  readonly entriesMax?: number
  /** Any 32-bit number, best a random one: makes it hard to find keys that collide. */
  readonly seed?: number
}

export function createRateLimiter(options: RateLimiterOptions = {}): RateLimiter {
  const sets = Math.max(1, 2 ** Math.ceil(Math.log2(Math.max(1, options.entriesMax ?? 65_536) / WAYS)))
  const slots = sets * WAYS
  /** Two independent hashes name a key; 0 in the first marks a free slot. */
  const names = new Int32Array(slots)
  const checks = new Int32Array(slots)
  /** Theoretical arrival time, microseconds since `originMs`. */
  const arrivals = new Float64Array(slots)
  const seed = (options.seed ?? 0x9e3779b9) | 0
  let originMs: number | undefined
  let size = 0

  /** The slot of a key; a free or freed one when it has none and `claims`, else -1. */
  const slotOf = (key: string, now: number, claims: boolean): number => {
    let name = seed
    let check = ~seed
    for (let at = 0; at < key.length; at += 1) {
      const code = key.charCodeAt(at)
      name = Math.imul(name ^ code, 0x85ebca6b)
      name ^= name >>> 13
      check = Math.imul(check ^ code, 0xc2b2ae35)
      check ^= check >>> 16
    }
    name = name === 0 ? 1 : name

    const first = ((name ^ (name >>> 15)) & (sets - 1)) * WAYS
    let victim = first
    for (let at = first; at < first + WAYS; at += 1) {
      if (names[at] === name && checks[at] === check) return at
      if (names[victim] !== 0 && (names[at] === 0 || arrivals[at]! < arrivals[victim]!)) victim = at
    }
    if (!claims) return -1
    if (names[victim] === 0) size += 1
    names[victim] = name
    checks[victim] = check
    arrivals[victim] = now
    return victim
  }

  const draw = (key: string, count: number, windowMs: number, burst: number, nowMs: number, takes: boolean): number => {
    originMs ??= nowMs
    const now = Math.floor((nowMs - originMs) * US_PER_MS)
    const interval = Math.max(1, Math.floor((windowMs * US_PER_MS) / count))
    const tolerance = interval * (burst - 1)
    const slot = slotOf(key, now, takes)
    if (slot < 0) return 0
    // A clock set back, or a limit made stricter, must not lock a key out for longer than its whole budget.
    const arrival = Math.min(Math.max(arrivals[slot]!, now), now + tolerance + interval)
    const excess = arrival - now - tolerance
    if (excess > 0) {
      arrivals[slot] = arrival
      return Math.max(1, Math.ceil(excess / US_PER_MS))
    }
    if (takes) arrivals[slot] = arrival + interval
    return 0
  }

  return {
    get size() {
      return size
    },
    take: (key, count, windowMs, burst, nowMs) => draw(key, count, windowMs, burst, nowMs, true),
    peek: (key, count, windowMs, burst, nowMs) => draw(key, count, windowMs, burst, nowMs, false),
  }
}
