/**
 * A shared cache of answers (RFC 9111), asked once the guard has let a request pass: what is kept answers nobody who would not have been let
 * through to the upstream.
 *
 * One request gets an answer, others of the same address wait for it. No clock of its own: times are monotonic milliseconds that callers
 * give, but for `unixMs`.
 */
import type { Policy } from '@ringwall/ring'
import { valuesOf } from './cache-control.ts'
import { CacheStore } from './cache-store.ts'
import { type AnswerHead, resourceKey } from './cache-terms.ts'

/** For how long nobody waits for what turned out not to be kept. */
const PASSED_MS = 10_000
const PASSED_MAX = 1_024
/** Of the budget, for bodies that are on their way. */
const ARRIVING_SHARE = 0.25

/** Of one service, since the start. */
export interface CacheCounts {
  /** Answered from what is kept, as it is. */
  hits: number
  /** Of those, past its time. */
  stale: number
  /** Asked for anew, and found unchanged. */
  revalidated: number
  /** Sent to the upstream, because nothing fit; and of those, and of the revalidated, what waited for another's answer. */
  misses: number
  collapsed: number
  /** Bytes of bodies that came from here. */
  bytes: number
}

export interface CacheStatus {
  readonly entries: number
  readonly bytes: number
  readonly bytesMax: number
  readonly evictions: number
  readonly services: readonly (Readonly<CacheCounts> & { readonly service: string })[]
}

/** An answer that is being got. */
export interface Fill {
  readonly key: string
  /** Under which others wait for it; undefined: none do. */
  readonly name: string | undefined
  readonly waiters: Set<() => void>
  /** Nothing has happened meanwhile that makes it wrong. */
  isRight: boolean
  reserved: number
}

export class ResponseCache {
  readonly store: CacheStore
  readonly #fills = new Map<string, Fill>()
  readonly #arriving = new Set<Fill>()
  readonly #passed = new Map<string, number>()
  readonly #counts = new Map<string, CacheCounts>()
  readonly #onInvalidate: ((keys: readonly string[]) => void) | undefined
  #policy: Policy | undefined
  #arrivingBytes = 0

  /** @param onInvalidate Told of addresses that a request has changed: whoever keeps them as well is to drop them. */
  constructor(bytesMax: number, onInvalidate?: (keys: readonly string[]) => void) {
    this.store = new CacheStore(bytesMax)
    this.#onInvalidate = onInvalidate
  }

  /** What was let through by another policy is not what this one lets through. */
  follow(policy: Policy): void {
    if (policy === this.#policy) return
    this.#policy = policy
    this.store.clear()
    this.#passed.clear()
    for (const fill of this.#arriving) fill.isRight = false
    for (const name of [...this.#counts.keys()]) if (!Object.hasOwn(policy.services, name)) this.#counts.delete(name)
  }

  get isEmpty(): boolean {
    return this.store.entries === 0 && this.#arriving.size === 0
  }

  status(): CacheStatus {
    const { entries, bytes, bytesMax, evictions } = this.store
    return {
      entries,
      bytes,
      bytesMax,
      evictions,
      services: [...this.#counts].map(([service, counts]) => ({ service, ...counts })),
    }
  }

  countsOf(service: string): CacheCounts {
    const known = this.#counts.get(service)
    if (known !== undefined) return known
    const counts = { hits: 0, stale: 0, revalidated: 0, misses: 0, collapsed: 0, bytes: 0 }
    this.#counts.set(service, counts)
    return counts
  }

  /** A request with an unsafe method was answered without an error (RFC 9111 section 4.4). */
  changed(authority: string, target: string, { status, rawHeaders }: AnswerHead): void {
    if (status < 200 || status >= 400) return
    const plain = plainAuthority(authority)
    const keys = keysOf(plain, target)
    for (const name of ['location', 'content-location']) {
      const [value] = valuesOf(rawHeaders, name)
      const other = value === undefined || value.length > 4_096 ? undefined : URL.parse(value, `http://${plain}${target}`)
      // Only of the same host: an upstream does not speak for others.
      if (other?.host === URL.parse(`http://${plain}`)?.host && other !== null && other !== undefined)
        keys.push(...keysOf(plain, `${other.pathname}${other.search}`))
    }
    this.invalidate(keys)
    this.#onInvalidate?.(keys)
  }

  invalidate(keys: readonly string[]): void {
    for (const key of keys) this.store.dropAll(key)
    for (const fill of this.#arriving) if (keys.includes(fill.key)) fill.isRight = false
  }

  /**
   * Forgets what is kept of a service at a path, and what is being got of that path: it may be of before.
   *
   * @param path Of the target, as it is sent: of that path, and of what lies below it, with any query.
   */
  purge(service: string, path: string): void {
    this.store.dropWhere(({ place, key }) => (place === service || place.startsWith(`${service} `)) && isBelow(key, path))
    for (const fill of this.#arriving) if (isBelow(fill.key, path)) fill.isRight = false
  }

  underWay(name: string): Fill | undefined {
    return this.#fills.get(name)
  }

  wasPassed(name: string, nowMs: number): boolean {
    const untilMs = this.#passed.get(name)
    if (untilMs === undefined) return false
    if (untilMs > nowMs) return true
    this.#passed.delete(name)
    return false
  }

  /** @param name Undefined: nobody is to wait for it. */
  begin(key: string, name: string | undefined): Fill {
    const fill: Fill = { key, name, waiters: new Set(), isRight: true, reserved: 0 }
    this.#arriving.add(fill)
    if (name !== undefined) this.#fills.set(name, fill)
    return fill
  }

  /** Room for more of a body. */
  reserve(fill: Fill, bytes: number): boolean {
    if (this.#arrivingBytes + bytes > this.store.bytesMax * ARRIVING_SHARE || !this.store.reserve(bytes)) return false
    fill.reserved += bytes
    this.#arrivingBytes += bytes
    return true
  }

  /** For what was counted a moment ago, and turns out to stay. */
  retain(fill: Fill, bytes: number): void {
    this.store.retain(bytes)
    fill.reserved += bytes
    this.#arrivingBytes += bytes
  }

  /**
   * It has come, or will not: who waits looks again. What it has reserved stays so until `unreserve`.
   *
   * @param kept False: nor will the next one be kept.
   */
  end(fill: Fill, kept: boolean | undefined, nowMs: number): void {
    if (!this.#arriving.delete(fill)) return
    if (fill.name === undefined) return
    this.#fills.delete(fill.name)
    if (kept === false) {
      if (this.#passed.size >= PASSED_MAX) this.#passed.delete(this.#passed.keys().next().value!)
      this.#passed.set(fill.name, nowMs + PASSED_MS)
    } else if (kept) this.#passed.delete(fill.name)
    const waiters = [...fill.waiters]
    fill.waiters.clear()
    for (const resume of waiters) resume()
  }

  unreserve(fill: Fill): void {
    this.store.unreserve(fill.reserved)
    this.#arrivingBytes -= fill.reserved
    fill.reserved = 0
  }
}

/** As keys have it: one spelling of one host. */
function plainAuthority(authority: string): string {
  return authority.toLowerCase().replace(/\.(?=$|:)/, '')
}

/** Of both schemes: what changed, changed in both. */
function keysOf(authority: string, target: string): string[] {
  return ['http', 'https'].flatMap((proto) => {
    const port = proto === 'https' ? ':443' : ':80'
    return resourceKey(proto, authority.endsWith(port) ? authority.slice(0, -port.length) : authority, target) ?? []
  })
}

function isBelow(key: string, path: string): boolean {
  const at = key.indexOf('/', key.indexOf('://') + 3)
  if (!key.startsWith(path, at)) return false
  const next = key[at + path.length]
  return next === undefined || path.endsWith('/') || next === '/' || next === '?'
}
