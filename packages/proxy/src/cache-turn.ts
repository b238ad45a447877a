/** What one request and its answer have to do with the cache, see `response-cache.ts`. */
import type { CachePolicy } from '@ringwall/ring'
import { answerForm } from './cache-answer.ts'
import { valuesOf } from './cache-control.ts'
import type { Stored } from './cache-store.ts'
import { type CacheRequest, keepingTerms, variantOf } from './cache-terms.ts'
import { responseFields } from './forward-head.ts'
import { detached } from './header-names.ts'
import { HeldBody } from './held-body.ts'
import type { CacheCounts, Fill, ResponseCache } from './response-cache.ts'
import type { ResponseHead } from './response-parser.ts'
import type { HeaderRewriting } from './rewriting.ts'

/** Requests that wait for one answer; more go to the upstream. */
const WAITERS_MAX = 1_024
/** How often one request waits, each time for somebody else's answer. */
const WAITS_MAX = 3
/** Of a body, given to a client in one go. */
export const PART_BYTES = 65_536

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
  /** What has come, for a client that reads more slowly than it comes, and how much of it that has been given. */
  #lag: { body: { readonly bytes: Buffer }; given: number } | undefined
  /** The same where none of it is kept any more: its room is in use until the client has it. */
  #late: { readonly body: HeldBody; readonly fill: Fill } | undefined
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
    const how = `ringwall; fwd=${this.#forwarded}`
    if (fill === undefined || terms === undefined || variant === undefined || !this.#fits(fill, bodyBytes)) {
      this.#endFill(status >= 500 ? undefined : false, nowMs)
      return ['cache-status', how]
    }
    const fields = kept(responseFields(status, rawHeaders, unixMs, NO_FIELDS))
    this.#keeping = { variant, status, statusText: detached(statusText), fields, terms }
    this.#bodyBytes = bodyBytes
    this.#body = new HeldBody()
    return ['cache-status', `${how}; stored`]
  }

  /** Whether there is room for the body. @param bodyBytes Undefined: nobody knows how long it is, room is made as it comes. */
  #fits(fill: Fill, bodyBytes: number | undefined): boolean {
    return bodyBytes === undefined || (bodyBytes <= this.#policy.objectBytesMax && this.#cache.reserve(fill, bodyBytes))
  }

  /** Its body is being kept: it comes as fast as the upstream sends it. */
  get keeps(): boolean {
    return this.#body !== undefined
  }

  add(bytes: Buffer): void {
    const body = this.#body
    if (body === undefined) {
      this.#late?.body.add(bytes, Number.POSITIVE_INFINITY)
      return
    }
    if (this.#bodyBytes === undefined) {
      const fits = body.length + bytes.length <= this.#policy.objectBytesMax && this.#cache.reserve(this.#fill!, bytes.length)
      if (!fits) this.#endFill(false, this.#startMs)
    }
    if (this.#body !== undefined || this.#late !== undefined) body.add(bytes, this.#bodyBytes ?? Number.POSITIVE_INFINITY)
  }

  /** While the body is being kept: the client takes no more now, and will have what comes from here, by `next`. */
  fallBehind(): void {
    if (this.#lag === undefined && this.#body !== undefined) this.#lag = { body: this.#body, given: this.#body.length }
  }

  get isBehind(): boolean {
    return this.#lag !== undefined
  }

  /** The next bytes for a client that has fallen behind; undefined: it has all that has come, and is not behind any more. */
  next(): Buffer | undefined {
    const lag = this.#lag
    if (lag === undefined) return undefined
    const part = lag.body.bytes.subarray(lag.given, lag.given + PART_BYTES)
    lag.given += part.length
    if (part.length > 0) return part
    this.#catchUp()
    return undefined
  }

  #catchUp(): void {
    this.#lag = undefined
    if (this.#late !== undefined) this.#cache.unreserve(this.#late.fill)
    this.#late = undefined
  }

  /** It has come whole. */
  complete(nowMs: number): void {
    const fill = this.#fill
    if (this.#body === undefined || fill === undefined) return
    const { bytes } = this.#body
    const isWhole = this.#bodyBytes === undefined || bytes.length === this.#bodyBytes
    // Its room is its own from here on.
    const { reserved } = fill
    this.#cache.unreserve(fill)
    const stored: Stored = {
      ...this.#keeping!,
      key: fill.key,
      place: this.#place,
      body: this.#bodyBytes === undefined ? Buffer.from(new Uint8Array(bytes).buffer) : bytes,
      atMs: nowMs,
      extraBytes: 0,
      readers: 0,
      state: 'once',
    }
    const isKept = isWhole && fill.isRight && this.#cache.store.add(stored)
    if (this.#lag !== undefined && isKept) {
      this.#lag.body = { bytes: stored.body }
      this.#hold(stored)
    } else if (this.#lag !== undefined) this.#cache.retain(fill, reserved)
    this.#endFill(isKept ? true : undefined, nowMs)
  }

  /** The request is over, whatever became of it. */
  stop(nowMs: number): void {
    this.#waitsFor?.waiters.delete(this.#resume)
    this.#waitsFor = undefined
    this.#endFill(undefined, nowMs)
    this.#catchUp()
    if (this.#held === undefined) return
    this.#cache.store.release(this.#held)
    this.#held = undefined
  }

  #endFill(kept: boolean | undefined, nowMs: number): void {
    const [fill, body] = [this.#fill, this.#body]
    this.#fill = undefined
    this.#body = undefined
    if (fill === undefined) return
    if (this.#lag !== undefined && body !== undefined && kept !== true) this.#late = { body, fill }
    else this.#cache.unreserve(fill)
    this.#cache.end(fill, kept, nowMs)
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
