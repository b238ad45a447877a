/**
 * A shared cache of answers (RFC 9111), asked once the guard has let a request pass: what is kept answers nobody who would not have been let
 * through to the upstream.
 *
 * One request gets an answer, others of the same address wait for it. No clock of its own: times are monotonic milliseconds that callers
 * give, but for `unixMs`.
 */
import type { CachePolicy, Policy } from '@ringwall/ring'
import { answerForm } from './cache-answer.ts'
import { valuesOf } from './cache-control.ts'
import { CacheStore, type Stored } from './cache-store.ts'
import { type AnswerHead, type CacheRequest, keepingTerms, resourceKey, variantOf } from './cache-terms.ts'
import { responseFields } from './forward-head.ts'
import { detached } from './header-names.ts'
import { HeldBody } from './held-body.ts'
import type { ResponseHead } from './response-parser.ts'
import type { HeaderRewriting } from './rewriting.ts'

/** Requests that wait for one answer; more go to the upstream. */
const WAITERS_MAX = 1_024
/** How often one request waits, each time for somebody else's answer. */
const WAITS_MAX = 3
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
interface Fill {
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

  /** It has come, or will not: who waits looks again. @param kept False: nor will the next one be kept. */
  end(fill: Fill, kept: boolean | undefined, nowMs: number): void {
    if (!this.#arriving.delete(fill)) return
    this.unreserve(fill)
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

/** What the client gets from what is kept. */
export interface CachedAnswer {
  readonly head: ResponseHead
  readonly stored: Stored
  readonly body: Buffer
  /** Names and values to add. */
  readonly own: readonly string[]
}

export type CacheStep =
  | { readonly kind: 'answer'; readonly answer: CachedAnswer }
  | { readonly kind: 'forward' }
  /** `resume` will be called, unless `stop` is before. */
  | { readonly kind: 'wait'; readonly ms: number }
  /** The client wants what is kept or nothing. */
  | { readonly kind: 'unavailable' }

/** One request's dealings with the cache. */
export class CacheTurn {
  readonly #cache: ResponseCache
  readonly #request: CacheRequest
  readonly #method: string
  readonly #policy: CachePolicy
  /** Of the policy: a service or a route. */
  readonly #place: string
  readonly #counts: CacheCounts
  readonly #startMs: number
  readonly #resume: () => void
  #fill: Fill | undefined
  #waitsFor: Fill | undefined
  #waits = 0
  /** Asked about, or to be used if the upstream fails. */
  #known: Stored | undefined
  #asks = false
  #held: Stored | undefined
  #body: HeldBody | undefined
  #keeping: Pick<Stored, 'variant' | 'status' | 'statusText' | 'fields' | 'terms'> | undefined
  #bodyBytes: number | undefined
  #forwarded = 'uri-miss'

  constructor(
    cache: ResponseCache,
    request: CacheRequest,
    method: string,
    policy: CachePolicy,
    place: string,
    counts: CacheCounts,
    startMs: number,
    resume: () => void,
  ) {
    this.#cache = cache
    this.#request = request
    this.#method = method
    this.#policy = policy
    this.#place = place
    this.#counts = counts
    this.#startMs = startMs
    this.#resume = resume
  }

  /** What is to be done now. Asked again after each wait. */
  look(nowMs: number): CacheStep {
    const request = this.#request
    this.#waitsFor = undefined
    const found = this.#find()
    this.#known = found
    const usable = found === undefined ? undefined : this.#usable(found, nowMs)
    if (usable !== undefined) return { kind: 'answer', answer: this.#answer(found!, usable, nowMs) }
    if (request.onlyIfCached) return { kind: 'unavailable' }
    this.#forwarded = found !== undefined ? 'stale' : this.#cache.store.of(request.key).length > 0 ? 'vary-miss' : 'uri-miss'
    if (!request.isShared) {
      this.#forwarded = 'bypass'
      return this.#forward(undefined)
    }
    const waitable =
      (found !== undefined || (!request.hasAuthorization && !request.hasCookies && !request.isConditional)) &&
      request.uncommon.length === 0 &&
      this.#policy.wait > 0
    if (!waitable) return this.#forward(undefined)
    const name = `${request.key}\n${this.#place}\n${this.#group()}`
    const other = this.#cache.underWay(name)
    if (other === undefined) return this.#forward(this.#cache.wasPassed(name, nowMs) ? undefined : name)
    if (found !== undefined && this.#mayBeStale(found, nowMs, found.terms.staleWhileRevalidateMs) && !this.#insists(found, nowMs))
      return { kind: 'answer', answer: this.#answer(found, 'stale', nowMs) }
    const ms = this.#startMs + this.#policy.wait - nowMs
    if (ms <= 0 || this.#waits === WAITS_MAX || other.waiters.size >= WAITERS_MAX) return this.#forward(undefined)
    this.#waits++
    this.#waitsFor = other
    other.waiters.add(this.#resume)
    return { kind: 'wait', ms }
  }

  /** It has waited for long enough: it goes to the upstream itself. */
  hurry(): void {
    this.#waitsFor?.waiters.delete(this.#resume)
    this.#waitsFor = undefined
    this.#forward(undefined)
  }

  #forward(name: string | undefined): CacheStep {
    this.#counts.misses++
    if (this.#waits > 0) this.#counts.collapsed++
    const { isShared, key } = this.#request
    if (isShared) this.#fill = this.#cache.begin(key, name)
    const known = this.#known
    if (known !== undefined) this.#hold(known)
    // What an unusual request is told is not everybody's.
    this.#asks = isShared && this.#request.uncommon.length === 0 && known !== undefined && validators(known).length > 0
    return { kind: 'forward' }
  }

  /** Which requests may get the same answer, as far as is known of what answers vary by. */
  #group(): string {
    const vary = this.#cache.store.of(this.#request.key).at(-1)?.terms.vary ?? []
    return variantOf(this.#request, vary) ?? '?'
  }

  #find(): Stored | undefined {
    const { hasAuthorization, hasCookies } = this.#request
    const all = this.#cache.store.of(this.#request.key)
    for (let at = all.length - 1; at >= 0; at--) {
      const stored = all[at]!
      const { forAuthorized, forCookies, vary } = stored.terms
      if (stored.place !== this.#place || (hasAuthorization && !forAuthorized) || (hasCookies && !forCookies)) continue
      if (variantOf(this.#request, vary) === stored.variant) return stored
    }
    return undefined
  }

  #usable({ terms, atMs }: Stored, nowMs: number): 'fresh' | 'stale' | undefined {
    const { noCache, maxAgeMs, minFreshMs, maxStaleMs } = this.#request
    // It came after this request did: as good as an answer to it.
    if (atMs >= this.#startMs) return 'fresh'
    if (terms.noCache || noCache) return undefined
    const ageMs = terms.initialAgeMs + nowMs - atMs
    if (maxAgeMs !== undefined && ageMs > maxAgeMs) return undefined
    const leftMs = terms.lifetimeMs - ageMs
    if (leftMs > 0) return leftMs >= minFreshMs ? 'fresh' : undefined
    if (maxStaleMs === undefined || terms.mustRevalidate || !terms.maxStaleHolds || minFreshMs > 0) return undefined
    return -leftMs <= maxStaleMs ? 'stale' : undefined
  }

  /** The client wants it fresher than it might be. */
  #insists({ terms, atMs }: Stored, nowMs: number): boolean {
    const { noCache, maxAgeMs, minFreshMs } = this.#request
    const ageMs = terms.initialAgeMs + nowMs - atMs
    return noCache || minFreshMs > 0 || (maxAgeMs !== undefined && ageMs > maxAgeMs)
  }

  #mayBeStale({ terms, atMs }: Stored, nowMs: number, forMs: number): boolean {
    if (terms.mustRevalidate || terms.noCache) return false
    return terms.initialAgeMs + nowMs - atMs - terms.lifetimeMs <= forMs
  }

  #answer(stored: Stored, what: 'fresh' | 'stale' | 'revalidated', nowMs: number): CachedAnswer {
    const { store } = this.#cache
    store.touch(stored)
    this.#hold(stored)
    const form = answerForm(this.#method, this.#request.rawHeaders, stored)
    const { part, fields, status, statusText } = form
    const body = part === undefined ? EMPTY : stored.body.subarray(part.from, part.to)
    const ageMs = stored.terms.initialAgeMs + Math.max(0, nowMs - stored.atMs)
    const ttl = Math.trunc((stored.terms.lifetimeMs - ageMs) / 1_000)
    const collapsed = this.#waits > 0
    if (what === 'revalidated') this.#counts.revalidated++
    else this.#counts.hits++
    if (what === 'stale') this.#counts.stale++
    if (collapsed && what !== 'revalidated') this.#counts.collapsed++
    this.#counts.bytes += body.length
    const how = what === 'revalidated' ? 'fwd=stale; fwd-status=304' : 'hit'
    const head = {
      status,
      statusText,
      rawHeaders: fields,
      keepAlive: true,
      keepAliveS: undefined,
      bodyBytes: body.length,
      contentLength: status === 304 ? undefined : String(stored.body.length),
      upgrade: false,
    }
    const own = ['age', String(Math.floor(ageMs / 1_000)), 'cache-status', `ringwall; ${how}; ttl=${ttl}`]
    return { head, stored, body, own }
  }

  #hold(stored: Stored): void {
    if (this.#held === stored) return
    if (this.#held !== undefined) this.#cache.store.release(this.#held)
    this.#held = stored
    this.#cache.store.hold(stored)
  }

  /** What to change in the request: it asks whether what is kept is still right. */
  changes(rewriting: HeaderRewriting | undefined): HeaderRewriting | undefined {
    if (!this.#asks) return rewriting
    const fields = validators(this.#known!)
    return {
      dropped: new Set([...(rewriting?.dropped ?? []), 'if-none-match', 'if-modified-since']),
      fields: [...(rewriting?.fields ?? []), ...fields],
      added: (rewriting?.added ?? '') + lines(fields),
    }
  }

  /**
   * An answer has begun. What is kept may stand in for it: it is unchanged, or the upstream has failed. `again`: it is about something
   * else than what is kept, and is to be asked for without conditions.
   *
   * @param head As it would go to the client. @param delayMs How long it took to come.
   */
  instead(head: ResponseHead, nowMs: number, unixMs: number, delayMs: number): CachedAnswer | 'again' | undefined {
    if (head.status >= 500) return this.inTrouble(nowMs)
    const known = this.#known
    if (!this.#asks || head.status !== 304 || known === undefined) return undefined
    this.#asks = false
    const [tag] = valuesOf(head.rawHeaders, 'etag')
    const [knownTag] = valuesOf(known.fields, 'etag')
    if (tag !== undefined && tag !== knownTag) {
      this.#cache.store.drop(known)
      this.#known = undefined
      return 'again'
    }
    const { hasAuthorization, hasCookies } = this.#request
    const isPersonal = hasAuthorization || hasCookies
    const fields = freshened(known.fields, responseFields(304, head.rawHeaders, unixMs, NO_FIELDS), isPersonal)
    const dated = [...fields, ...valuesOf(head.rawHeaders, 'age').flatMap((age) => ['age', age])]
    const terms = keepingTerms({ status: known.status, rawHeaders: dated }, this.#request, this.#policy, unixMs, delayMs)
    known.atMs = nowMs
    if (terms !== undefined) known.terms = terms
    const isKept = terms !== undefined && this.#fill?.isRight === true && this.#cache.store.change(known, { fields })
    const answer = this.#answer(known, 'revalidated', nowMs)
    if (!isKept) this.#cache.store.drop(known)
    this.#endFill(isKept, nowMs)
    const cookies = valuesOf(head.rawHeaders, 'set-cookie').flatMap((value) => ['set-cookie', value])
    return cookies.length === 0 ? answer : { ...answer, own: [...answer.own, ...cookies] }
  }

  /** The upstream has failed: what is kept, if it says that it may be used then (RFC 5861 section 4). */
  inTrouble(nowMs: number): CachedAnswer | undefined {
    const known = this.#known
    if (known === undefined || !this.#mayBeStale(known, nowMs, known.terms.staleIfErrorMs) || this.#insists(known, nowMs))
      return undefined
    const answer = this.#answer(known, 'stale', nowMs)
    this.#endFill(undefined, nowMs)
    return answer
  }

  /** The upstream's answer goes to the client. Returns what to add to it. @param head As it goes to the client. */
  begins(head: ResponseHead, nowMs: number, unixMs: number, delayMs: number): readonly string[] {
    const { status, statusText, rawHeaders, bodyBytes } = head
    const fill = this.#fill
    const terms =
      fill === undefined || !isDelimited(head) ? undefined : keepingTerms(head, this.#request, this.#policy, unixMs, delayMs)
    const variant = terms === undefined ? undefined : variantOf(this.#request, terms.vary)
    const fits = bodyBytes === undefined || (bodyBytes <= this.#policy.objectBytesMax && this.#cache.reserve(fill!, bodyBytes))
    const how = `ringwall; fwd=${this.#forwarded}`
    if (fill === undefined || terms === undefined || variant === undefined || !fits) {
      this.#endFill(status >= 500 ? undefined : false, nowMs)
      return ['cache-status', how]
    }
    const fields = kept(responseFields(status, rawHeaders, unixMs, NO_FIELDS))
    this.#keeping = { variant, status, statusText: detached(statusText), fields, terms }
    this.#bodyBytes = bodyBytes
    this.#body = new HeldBody()
    return ['cache-status', `${how}; stored`]
  }

  /** Its body is being kept: it comes as fast as the upstream sends it. */
  get keeps(): boolean {
    return this.#body !== undefined
  }

  add(bytes: Buffer): void {
    const body = this.#body
    if (body === undefined) return
    if (this.#bodyBytes === undefined) {
      const fits = body.length + bytes.length <= this.#policy.objectBytesMax && this.#cache.reserve(this.#fill!, bytes.length)
      if (!fits) {
        this.#endFill(false, this.#startMs)
        return
      }
    }
    body.add(bytes, this.#bodyBytes ?? Number.POSITIVE_INFINITY)
  }

  /** It has come whole. */
  complete(nowMs: number): void {
    const fill = this.#fill
    if (this.#body === undefined || fill === undefined) return
    const { bytes } = this.#body
    const isWhole = this.#bodyBytes === undefined || bytes.length === this.#bodyBytes
    // Its room is its own from here on.
    this.#cache.unreserve(fill)
    const body = this.#bodyBytes === undefined ? Buffer.from(new Uint8Array(bytes).buffer) : bytes
    const isKept =
      isWhole &&
      fill.isRight &&
      this.#cache.store.add({
        ...this.#keeping!,
        key: fill.key,
        place: this.#place,
        body,
        atMs: nowMs,
        extraBytes: 0,
        readers: 0,
        state: 'once',
      })
    this.#endFill(isKept ? true : undefined, nowMs)
  }

  /** The request is over, whatever became of it. */
  stop(nowMs: number): void {
    this.#waitsFor?.waiters.delete(this.#resume)
    this.#waitsFor = undefined
    this.#endFill(undefined, nowMs)
    if (this.#held === undefined) return
    this.#cache.store.release(this.#held)
    this.#held = undefined
  }

  #endFill(kept: boolean | undefined, nowMs: number): void {
    const fill = this.#fill
    this.#fill = undefined
    this.#body = undefined
    if (fill !== undefined) this.#cache.end(fill, kept, nowMs)
  }
}

const EMPTY = Buffer.alloc(0)
const NO_FIELDS: readonly string[] = []

/** Its end is told apart from a connection that broke. */
function isDelimited({ bodyBytes, keepAlive, rawHeaders }: ResponseHead): boolean {
  return bodyBytes !== undefined || keepAlive || valuesOf(rawHeaders, 'transfer-encoding').length > 0
}

/** Without what is said anew each time, or was for one client. */
function kept(fields: readonly string[]): string[] {
  const left: string[] = []
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at] !== 'age' && fields[at] !== 'set-cookie') left.push(detached(fields[at]!), detached(fields[at + 1]!))
  return left
}

/** Of the body that is kept; a 304 has none (RFC 9111 section 3.2). */
const BODYS_OWN: ReadonlySet<string> = new Set([
  'content-encoding',
  'content-range',
  'content-type',
  'content-length',
  'set-cookie',
  'age',
])

/** What one client's 304 may say for all. */
const EVERYBODYS: ReadonlySet<string> = new Set(['cache-control', 'date', 'etag', 'expires', 'last-modified', 'vary'])

/** @param isPersonal The answer is to a request with credentials. */
function freshened(before: readonly string[], news: readonly string[], isPersonal: boolean): string[] {
  const replaced = new Set<string>()
  const added: string[] = []
  for (let at = 0; at < news.length; at += 2) {
    if (BODYS_OWN.has(news[at]!) || (isPersonal && !EVERYBODYS.has(news[at]!))) continue
    replaced.add(news[at]!)
    added.push(news[at]!, news[at + 1]!)
  }
  const left: string[] = []
  for (let at = 0; at < before.length; at += 2) if (!replaced.has(before[at]!)) left.push(before[at]!, before[at + 1]!)
  return kept([...left, ...added])
}

/** The fields that ask whether an answer is still right (RFC 9111 section 4.3.1): names and values in turn. */
function validators({ fields }: Stored): string[] {
  const asked: string[] = []
  const [tag] = valuesOf(fields, 'etag')
  const [modified] = valuesOf(fields, 'last-modified')
  if (tag !== undefined) asked.push('if-none-match', tag)
  if (modified !== undefined) asked.push('if-modified-since', modified)
  return asked
}

function lines(fields: readonly string[]): string {
  let text = ''
  for (let at = 0; at < fields.length; at += 2) text += `${fields[at]}: ${fields[at + 1]}\r\n`
  return text
}
