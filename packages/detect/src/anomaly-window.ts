/** What is counted of one route, or of one account, session or source, in one window of five minutes. No text of any request is in it. */
import { addDistinctHash, countDistinct, createDistinct, type DistinctSketch } from './distinct.ts'
import type { Signal } from './signal.ts'
import { Tallies } from './tallies.ts'

export const WINDOW_MS = 300_000

/** Counts and amounts are told by the logarithm of one more, in bits; shares by that of their hundredths. */
export const bitsOf = (amount: number): number => Math.log2(1 + amount)
export const amountOf = (bits: number): number => 2 ** bits - 1

const isRefused = (status: number): boolean => status >= 400 && status < 500
const isFailed = (status: number): boolean => status >= 500

/** Of a route. `good` is not judged: it says whether people are still answered. */
export const ROUTE_MEASURES = ['requests', 'refused', 'failed', 'bytes', 'took', 'sources', 'good'] as const
export type RouteMeasure = (typeof ROUTE_MEASURES)[number]

/** Half octaves of milliseconds: what is read off them is at most 19 % too high (as DDSketch: Masson, Rim, Lee, 2019). */
const TOOK_BUCKETS = 44
const SOURCES_KEPT = 32
/** Every so many requests are asked where they come from: whoever makes a fifth of them is among those. */
const SOURCE_STRIDE = 4
const SOURCE_PART = 0.2
const SOURCES_NAMED_MAX = 3

export class RouteWindow {
  requests = 0
  refused = 0
  failed = 0
  bytes = 0
  #timed = 0
  readonly #took = new Uint32Array(TOOK_BUCKETS)
  readonly #sources: DistinctSketch = createDistinct()
  readonly #most = new Tallies(SOURCES_KEPT)

  /** @param hash Of the source: 32 bits, evenly spread. */
  add({ status, bytes, source, tookMs }: Signal, hash: number): void {
    if (this.requests % SOURCE_STRIDE === 0) this.#most.add(source, 1, 1, 0)
    this.requests += 1
    if (isRefused(status)) this.refused += 1
    else if (isFailed(status)) this.failed += 1
    this.bytes += bytes
    addDistinctHash(this.#sources, hash)
    if (tookMs === undefined) return
    this.#timed += 1
    this.#took[Math.min(TOOK_BUCKETS - 1, Math.floor(2 * bitsOf(Math.max(0, tookMs))))]! += 1
  }

  /** Milliseconds that 95 of 100 were answered within. */
  #slow(): number {
    let left = Math.floor(0.05 * this.#timed)
    for (let bucket = TOOK_BUCKETS - 1; bucket >= 0; bucket -= 1) {
      left -= this.#took[bucket]!
      if (left < 0) return amountOf((bucket + 1) / 2)
    }
    return 0
  }

  /** In order of `ROUTE_MEASURES`. */
  values(): readonly number[] {
    // Less what chance makes of it: one of ten is no tenth.
    const share = (count: number): number =>
      bitsOf((100 * Math.max(0, count - 2 * Math.sqrt(count))) / Math.max(1, this.requests))
    return [
      bitsOf(this.requests),
      share(this.refused),
      share(this.failed),
      bitsOf(this.bytes),
      bitsOf(this.#slow()),
      bitsOf(countDistinct(this.#sources)),
      bitsOf(this.requests - this.refused - this.failed),
    ]
  }

  /** Those that made a good part of all requests, most first. */
  sources(): readonly string[] {
    return [...this.#most.entries()]
      .filter(([, { demand }]) => demand >= SOURCE_PART * this.#most.demand)
      .sort(([, a], [, b]) => b.demand - a.demand)
      .slice(0, SOURCES_NAMED_MAX)
      .map(([source]) => source)
  }

  clear(): void {
    this.requests = 0
    this.refused = 0
    this.failed = 0
    this.bytes = 0
    this.#timed = 0
    this.#took.fill(0)
    this.#sources.fill(0)
    this.#most.clear()
  }
}

/** Of an account, a session or a source. `others` of an account or a session are sources, of a source accounts and sessions. */
export const ACTOR_MEASURES = ['requests', 'refused', 'failed', 'writes', 'bytes', 'paths', 'others'] as const
export type ActorMeasure = (typeof ACTOR_MEASURES)[number]

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])
const BITS = 128

/**
 * How many different things, by linear counting (Whang, Vander-Zanden, Taylor, "A linear-time probabilistic counting algorithm", 1990) over 128
 * bits: a standard error of 8 % at 100, and 621 at most.
 */
export class FewDistinct {
  #a = 0
  #b = 0
  #c = 0
  #d = 0

  /** @param hash 32 bits, evenly spread. */
  add(hash: number): void {
    const bit = 1 << (hash & 31)
    const word = (hash >>> 5) & 3
    if (word === 0) this.#a |= bit
    else if (word === 1) this.#b |= bit
    else if (word === 2) this.#c |= bit
    else this.#d |= bit
  }

  clear(): void {
    this.#a = 0
    this.#b = 0
    this.#c = 0
    this.#d = 0
  }

  get count(): number {
    const set = ones(this.#a) + ones(this.#b) + ones(this.#c) + ones(this.#d)
    // One and two are most, and exact.
    return set <= 2 ? set : BITS * Math.log(BITS / Math.max(1, BITS - set))
  }
}

/** Bits that are set. */
function ones(word: number): number {
  let rest = word - ((word >>> 1) & 0x55555555)
  rest = (rest & 0x33333333) + ((rest >>> 2) & 0x33333333)
  return Math.imul((rest + (rest >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

const SMALL_REQUESTS = 3
const SMALL_BYTES = 1_000_000

export type ActorKind = 'account' | 'session' | 'source'

/** It begins with the actor’s first request. */
export class ActorWindow {
  /** Its place among windows. */
  readonly at: number
  who = ''
  hash = 0
  kind: ActorKind = 'source'
  startMs = 0
  /** Of its first request. */
  source = ''
  isOpen = false
  #requests = 0
  #refused = 0
  #failed = 0
  #writes = 0
  #bytes = 0
  readonly #paths = new FewDistinct()
  readonly #others = new FewDistinct()

  constructor(at: number) {
    this.at = at
  }

  begin(who: string, kind: ActorKind, hash: number, { atMs, source }: Signal): void {
    this.who = who
    this.hash = hash
    this.kind = kind
    this.startMs = atMs
    this.source = source
    this.isOpen = true
    this.#requests = 0
    this.#refused = 0
    this.#failed = 0
    this.#writes = 0
    this.#bytes = 0
    this.#paths.clear()
    this.#others.clear()
  }

  /** @param other Hash of the other side; undefined: there is none. */
  add({ status, bytes, method, path }: Signal, other: number | undefined): void {
    this.#requests += 1
    if (isRefused(status)) this.#refused += 1
    else if (isFailed(status)) this.#failed += 1
    if (!SAFE_METHODS.has(method)) this.#writes += 1
    this.#bytes += bytes
    this.#paths.add(path)
    if (other !== undefined) this.#others.add(other)
  }

  /** Whether nothing of it can be out of what is usual. */
  get isSmall(): boolean {
    return this.#requests <= SMALL_REQUESTS && this.#refused + this.#failed === 0 && this.#bytes <= SMALL_BYTES
  }

  /** @param into In order of `ACTOR_MEASURES`. */
  measure(into: number[]): void {
    into[0] = bitsOf(this.#requests)
    into[1] = bitsOf(this.#refused)
    into[2] = bitsOf(this.#failed)
    into[3] = bitsOf(this.#writes)
    into[4] = bitsOf(this.#bytes)
    into[5] = bitsOf(this.#paths.count)
    into[6] = bitsOf(this.#others.count)
  }
}
