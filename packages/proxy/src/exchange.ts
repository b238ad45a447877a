/**
 * One request from its head to the end of its response. Its way, stage by stage:
 *
 * | stage                                                    | where                                             |
 * | -------------------------------------------------------- | ------------------------------------------------- |
 * | the head is read strictly                                | `request-head.ts`, before the exchange begins      |
 * | answers that need no judging: ACME, redirects            | `#answersUnjudged`                                |
 * | source settled, shed under overload, guard on the head   | `#judgeHead`, `source-address.ts`, `shedding.ts`  |
 * | as much of the body as the guard wants, guard on that    | `#collectBody`, `#judgeBody`, `held-body.ts`      |
 * | refused: a status, a challenge, a page to log in         | `#refuse`, `refusal.ts`, `challenge-page.ts`      |
 * | allowed: a page of ours, the cache, or the upstream      | `#decided`, `people.ts`, `response-cache.ts`      |
 * | asked of an upstream, perhaps of another, or of a second | `upstream-request.ts`                             |
 * | guard on the response, where rules ask for it            | `#passes`, `held-response.ts`                     |
 * | sent, perhaps compressed, or from the cache              | `compressed-delivery.ts`, `cached-delivery.ts`    |
 * | counted, reported and recorded, once                     | `#finish`, `reports.ts`, `recording.ts`           |
 *
 * What the guard has not allowed never reaches an upstream, not a byte of it.
 */
import {
  type Decision,
  type Guard,
  type GuardEnvironment,
  type GuardRequest,
  type Judgement,
  PASS_COOKIE,
  sourceKey,
} from '@ringwall/guard'
import type { CachePolicy, RewritePolicy } from '@ringwall/ring'
import type { HeaderField } from '@ringwall/waf'
import { invitesKeeping } from './cache-control.ts'
import { cacheRequest } from './cache-terms.ts'
import { CachedDelivery, packedAnswer, representedHead } from './cached-delivery.ts'
import { challengeAnswer, passAnswer } from './challenge-page.ts'
import type { Client } from './client.ts'
import { CompressedDelivery, type DeliveryOwner } from './compressed-delivery.ts'
import { type Compressing, compressedHead, compressing } from './compression.ts'
import type { Context, Cuttable, Standing } from './context.ts'
import type { AnyProxyError } from './errors.ts'
import { requestHeadText } from './forward-head.ts'
import { detached } from './header-names.ts'
import { HeldBody } from './held-body.ts'
import { HeldResponse, type HeldResponseOwner } from './held-response.ts'
import { JudgedRequest } from './judged-request.ts'
import { ownDecision, ownJudgement } from './own-decision.ts'
import { loginLocation, type PersonFields, personFields, sessionCookieText } from './people.ts'
import { type Observed, recordExchange } from './recording.ts'
import { type Refusal, refusal, refusalCode } from './refusal.ts'
import { type ReportedRequest, reportApi, reportEnded, reportLogin, withoutQuery } from './reports.ts'
import type { RequestHead } from './request-head.ts'
import type { RawRequest } from './request-parser.ts'
import { type CachedAnswer, CacheTurn } from './response-cache.ts'
import type { ResponseHead } from './response-parser.ts'
import { type Rewriting, rewritingOf, rewrittenFields, rewrittenTarget } from './rewriting.ts'
import { sourceOf } from './source-address.ts'
import { keptTrailers } from './trailers.ts'
import type { TraceContext } from './types.ts'
import type { UpstreamGroup } from './upstream-group.ts'
import { UpstreamRequest, type UpstreamRequestOwner } from './upstream-request.ts'
import type { Wire } from './wire.ts'

const EMPTY = new Uint8Array(0)
const NO_FIELDS: readonly string[] = []

/** What there is methods for that change nothing (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** What a client is told to wait when all upstreams are full. */
const OVERLOADED_RETRY_AFTER_S = 1

export class Exchange implements UpstreamRequestOwner, HeldResponseOwner, DeliveryOwner, Cuttable, Standing {
  readonly #context: Context
  readonly #client: Client
  readonly #request: RawRequest
  /** Monotonic milliseconds. */
  readonly startMs: number = performance.now()
  readonly #requestId: string
  #head: RequestHead | undefined
  /** Of the response to the client, in parts. */
  #responseFields: readonly [readonly string[], readonly string[]] | undefined
  #source: string
  #chain = ''
  #proto: 'http' | 'https'
  #environment: GuardEnvironment | undefined
  #judgement: Judgement | undefined
  /** As the guard gave it, to be given back. */
  #lent: Judgement | undefined
  #span: TraceContext | undefined
  #parentSpanId: string | undefined
  #guardStartMs = 0
  #guardMs = 0
  /** Body held so far, to be judged and then sent. */
  #held: HeldBody | undefined
  #bodyWanted = 0
  #judging = false
  #group: UpstreamGroup | undefined
  #upstream: UpstreamRequest | undefined
  #rewriting: Rewriting | undefined
  #target: string | undefined
  #turn: CacheTurn | undefined
  #turnTimer: NodeJS.Timeout | undefined
  /** The answer that is kept, while it is sent. */
  #cached: CachedDelivery | undefined
  /** The answer, where it is compressed on its way to the client. */
  #compressed: CompressedDelivery | undefined
  /** The response, while its beginning is judged. */
  #heldResponse: HeldResponse | undefined
  /** Of the answer that limits were told of. */
  #countedStatus: number | undefined
  /** In place of the one that was shown: the value of Set-Cookie. */
  #renewed: string | undefined
  #continued = false
  answered = false
  #upstreamPaused = false
  #over = false
  /** Of the response's body. */
  #bytesOut = 0

  constructor(context: Context, client: Client, request: RawRequest) {
    this.#context = context
    this.#client = client
    this.#request = request
    this.#source = client.address
    this.#proto = client.listener.secure ? 'https' : 'http'
    this.#requestId = context.options.recorder.requestId(context.options.node)
    context.counters.requests++
    context.counters.activeRequests++
  }

  get source(): string {
    return this.#source
  }

  get judgement(): Judgement {
    return this.#judgement!
  }

  /** Whether the client has gone, or the request ended some other way. */
  get cancelled(): boolean {
    return this.#over
  }

  start(): void {
    const { head } = this.#request
    if ('refused' in head) {
      this.#refuseMalformed(head.status, head.refused)
      return
    }
    this.#head = head
    if (!this.#answersUnjudged(head)) this.#judgeHead(head)
  }

  /** Returns whether this is nothing to be judged, and has been answered. */
  #answersUnjudged(head: RequestHead): boolean {
    const { secure, options } = this.#client.listener
    const proof = secure ? undefined : this.#context.acme.text(head.host, head.target)
    if (proof !== undefined && (head.method === 'GET' || head.method === 'HEAD')) {
      this.#showProof(head, proof)
      return true
    }
    if (options.redirectToTls !== undefined) {
      this.#redirect(head, options.redirectToTls)
      return true
    }
    if (head.upgrade && this.#context.counters.activeTunnels >= this.#context.limits.tunnelsMax) {
      this.#refuse(503, 'too many tunnels')
      return true
    }
    return false
  }

  // Judged.

  #judgeHead(head: RequestHead): void {
    const { options, pools, cache, shedding } = this.#context
    let judging: Judgement | Promise<Judgement>
    try {
      const environment = options.environment()
      this.#environment = environment
      const { policy } = environment.view
      pools.follow(environment.view)
      cache.follow(policy)
      this.#settleSource(head, (address) => this.#context.isTrustedProxy(policy, address))
      const source = sourceKey(this.#source)
      const isShed = !shedding.admits(source)
      options.meter?.asked(source, this.#client.ja4, isShed, this.#client.insists)
      if (isShed) {
        this.#shed()
        return
      }
      this.#beginTrace(head)
      this.#guardStartMs = this.startMs
      judging = options.guard.head(this.#guardRequest(head), environment)
    } catch (error) {
      this.#guardFailed(error)
      return
    }
    if (judging instanceof Promise) {
      judging
        .then(
          (judgement) => {
            this.#borrow(judgement)
            this.#headJudged(this.#again(judgement))
          },
          (error: unknown) => this.#guardFailed(error),
        )
        .catch((error: Error) => this.#failed(error))
    } else {
      this.#borrow(judging)
      this.#headJudged(judging)
    }
  }

  #settleSource(head: RequestHead, trusted: (address: string) => boolean): void {
    const peer = this.#client.address
    const { address, chain } = sourceOf(peer, head.forwardedFor, trusted)
    this.#source = address
    this.#chain = chain === undefined ? address : `${chain}, ${peer}`
    if (address === peer) return
    // Connections are cut by their own address; requests that a proxy forwards, by what it says.
    this.#context.sources.add(address, this)
    if (head.forwardedProto === 'https' || head.forwardedProto === 'http') this.#proto = head.forwardedProto
  }

  /** The source asks most, and there is too little time for all. */
  #shed(): void {
    this.#context.counters.shed++
    this.#judgement = this.#ownJudgement('deny', 503, 'shed: this source asks most while the node is overloaded')
    if (this.#source === this.#client.address && this.#context.shedding.rests) this.#client.rest()
    this.#refuse(503, undefined, OVERLOADED_RETRY_AFTER_S)
  }

  #beginTrace(head: RequestHead): void {
    const { recorder } = this.#context.options
    const parent = recorder.parseTraceparent(head.traceparent, head.tracestate)
    this.#parentSpanId = parent?.spanId
    this.#span = parent === undefined ? recorder.newTrace() : recorder.childOf(parent)
  }

  #guardRequest(head: RequestHead): GuardRequest {
    const { bounds } = this.#context.shedding
    return new JudgedRequest(this.#request, head, this.#source, this.#requestId, this.#client, bounds, this.#proto === 'https')
  }

  #borrow(judgement: Judgement): void {
    // Its client may have left while it was judged.
    if (this.#over) this.#context.options.guard.release(judgement)
    else this.#lent = judgement
  }

  /** A token that was denied while it was verified: nothing was open yet that could have been cut. */
  #again(judgement: Judgement): Judgement {
    if (judgement.decision !== undefined || !isReviewed(judgement)) return judgement
    const { guard, environment } = this.#context.options
    const decision = guard.review(judgement, environment())
    return decision === undefined ? judgement : ownJudgement(judgement.route, decision)
  }

  #headJudged(judgement: Judgement): void {
    if (this.#over) return
    this.#judgement = judgement
    if (judgement.decision !== undefined) {
      this.#guardMs = performance.now() - this.#guardStartMs
      this.#decided(judgement)
      return
    }
    if (isReviewed(judgement)) this.#context.standing.add(this)
    const { contentLength } = this.#head!
    this.#bodyWanted = judgement.bodyBytesWanted
    if (this.#bodyWanted <= 0 || contentLength === 0 || this.#head!.upgrade) this.#judgeBody(EMPTY, false, this.#guardStartMs)
    else {
      this.#guardMs = performance.now() - this.#guardStartMs
      this.#collectBody()
    }
  }

  #collectBody(): void {
    this.#judging = true
    this.#held = new HeldBody()
    this.#continue()
    this.#client.takeBody(this.#context.limits.inspectedBodyMsMax)
  }

  #continue(): void {
    if (!this.#head!.continueWanted) return
    this.#continued = true
    this.#client.sayContinue()
  }

  onRequestBody(bytes: Buffer): void {
    if (!this.#judging) {
      // Answered already: the rest is read away.
      if (this.#upstream?.write(bytes) === false) this.#client.pauseBody()
      return
    }
    const held = this.#held!
    const declared = this.#head!.contentLength
    held.add(bytes, declared ?? Number.POSITIVE_INFINITY)
    // One byte past the limit proves that there is more; a declared length says so by itself.
    const enough = declared !== undefined && declared > this.#bodyWanted ? this.#bodyWanted : this.#bodyWanted + 1
    if (held.length < enough) return
    this.#client.pauseBody()
    this.#bodyHeld(true)
  }

  /** Trailers of requests are not passed on: the guard has not seen them. */
  onRequestEnd(): void {
    if (this.#judging) this.#bodyHeld(false)
    else this.#upstream?.complete()
  }

  #bodyHeld(truncated: boolean): void {
    this.#judging = false
    if (this.#over) return
    const { bytes } = this.#held!
    this.#judgeBody(truncated ? bytes.subarray(0, this.#bodyWanted) : bytes, truncated, performance.now())
  }

  /** @param startMs Since when the guard has been at it: waiting for the body is not counted. */
  #judgeBody(body: Uint8Array, truncated: boolean, startMs: number): void {
    let slice: ReturnType<Guard['bodyInSlices']>
    try {
      slice = this.#context.options.guard.bodyInSlices(this.#judgement!, body, truncated, this.#environment!)
    } catch (error) {
      this.#guardFailed(error)
      return
    }
    this.#judgeSlice(slice, startMs)
  }

  /** A long inspection gives other requests their turn: nothing of this one goes on meanwhile. */
  #judgeSlice(slice: ReturnType<Guard['bodyInSlices']>, startMs: number): void {
    let judgement: ReturnType<typeof slice>
    try {
      judgement = slice()
    } catch (error) {
      this.#guardFailed(error)
      return
    }
    this.#guardMs += performance.now() - startMs
    if (judgement === undefined || judgement instanceof Promise) {
      const goOn = (): void => {
        if (this.#over) return
        try {
          this.#judgeSlice(slice, performance.now())
        } catch (error) {
          this.#failed(error as Error)
        }
      }
      if (judgement === undefined) setImmediate(goOn)
      else void judgement.then(goOn, (error: unknown) => this.#guardFailed(error))
      return
    }
    this.#judgement = judgement
    if (judgement.decision === undefined) this.#guardFailed(new Error('the guard left the request undecided'))
    else this.#decided(judgement)
  }

  /** A guard that fails has allowed nothing. */
  #guardFailed(error: unknown): void {
    if (this.#over) return
    this.#context.log(
      'warn',
      `request ${this.#requestId}: judging failed: ${error instanceof Error ? error.message : 'unknown error'}`,
    )
    this.#judgement = this.#ownJudgement('deny', 503, 'judging failed')
    this.#refuse(503, undefined)
  }

  // Decided.

  #decided({ decision, route, portal }: Judgement): void {
    if (decision!.outcome !== 'allow') {
      this.#refuse(decision!.status, undefined, decision!.retryAfterS)
      return
    }
    if (portal === true) {
      this.#askPortal()
      return
    }
    this.#renewSession()
    this.#group = route === undefined ? undefined : this.#context.pools.group(route.service.name)
    if (this.#group === undefined) {
      this.#refuse(502, 'no upstream for this service')
      return
    }
    const rewrite = route!.route?.rewrite ?? route!.service.rewrite
    if (rewrite !== undefined && !this.#rewrite(rewrite)) return
    const cache = route!.route?.cache ?? route!.service.cache
    if (cache !== undefined && this.#takesTurn(cache)) this.#askCache()
    else this.#toUpstream()
  }

  /** Returns whether the request may go on; one that may not has been refused. */
  #rewrite(policy: RewritePolicy): boolean {
    const rewriting = rewritingOf(policy)
    this.#rewriting = rewriting
    if (rewriting.path === undefined) return true
    const { target, path } = this.#head!
    this.#target = rewrittenTarget(rewriting.path, target, path)
    if (this.#target !== undefined) return true
    this.#refuseMalformed(400, 'a path that is to be rewritten and can be read in two ways')
    return false
  }

  /** A page of ours: nothing of it is for the upstream. */
  #askPortal(): void {
    const { portal } = this.#context.options
    const head = this.#head!
    if (portal === undefined) {
      this.#refuse(404, undefined)
      return
    }
    const request = {
      service: this.#judgement!.route!.service.name,
      method: head.method,
      target: detached(head.target),
      authority: detached(head.authority),
      host: detached(head.host),
      secure: this.#proto === 'https',
      headers: this.#guardRequest(head).headers.map(([name, value]) => [detached(name), detached(value)] as const),
      body: Uint8Array.from(this.#held?.bytes ?? EMPTY),
      source: this.#source,
      requestId: this.#requestId,
    }
    portal
      .answer(request)
      .then(({ status, headers, body }) => {
        if (this.#over) return
        const own = ['x-request-id', this.#requestId, ...this.#client.listener.ownFields, ...this.#explanation()]
        const fields = [...headers, 'content-length', String(body.length), ...own]
        this.answered = true
        this.#tellLogin(status)
        this.#sends(fields)
        const answer = { status, fields, body: head.method === 'HEAD' ? '' : body, continued: this.#continued }
        this.#client.refuse(answer, head, () => this.#finish(status, undefined))
      })
      .catch((error: Error) => {
        this.#context.log('warn', `request ${this.#requestId}: ${error.message}`)
        this.#refuse(503, 'the page cannot be made now')
      })
  }

  /** While the upstream works: whatever is there when it answers goes to the client, else with the next request. */
  #renewSession(): void {
    const { session } = this.#judgement!
    const { portal } = this.#context.options
    if (session?.isHalfOver !== true || portal === undefined) return
    portal.renew(session.token).then(
      (renewed) => {
        if (renewed !== undefined) this.#renewed = sessionCookieText(renewed, this.#proto === 'https')
      },
      () => {},
    )
  }

  // The cache.

  /** Returns whether the cache may have a part in this: then its turn has begun. */
  #takesTurn(policy: CachePolicy): boolean {
    const { cache } = this.#context
    if (policy.mode !== 'on' || cache.store.bytesMax <= 0) return false
    const { credential, route } = this.#judgement!
    const head = this.#head!
    const hasCredential = credential !== undefined
    const request = cacheRequest(head, this.#request.rawHeaders, this.#proto, hasCredential, policy, this.#ownCookies)
    if (request === undefined) return false
    const { label, service } = route!
    const resume = (): void => this.#askCache()
    this.#turn = new CacheTurn(cache, request, head.method, policy, label, cache.countsOf(service.name), this.startMs, resume)
    return true
  }

  /** Cookies that we gave the client ourselves: no answer depends on them. */
  get #ownCookies(): readonly string[] {
    const { sticky } = this.#judgement!.route!.service
    return sticky === undefined ? PASS_ONLY : [PASS_COOKIE, sticky.cookie]
  }

  /** What is kept may answer; the guard has let the request pass before. */
  #askCache(): void {
    clearTimeout(this.#turnTimer)
    if (this.#over) return
    const step = this.#turn!.look(performance.now())
    if (step.kind === 'answer') this.#sendCached(step.answer)
    else if (step.kind === 'unavailable') this.#refuse(504, undefined)
    else if (step.kind === 'forward') this.#toUpstream()
    else {
      this.#turnTimer = setTimeout(() => {
        if (this.#over) return
        this.#turn!.hurry()
        this.#toUpstream()
      }, step.ms)
    }
  }

  /** In place of what the upstream might say. */
  #sendCached(answer: CachedAnswer): void {
    const { compressor, cache } = this.#context
    const form = this.#compressing(representedHead(answer))
    const packed = packedAnswer(answer, form, this.#head!.method === 'HEAD', compressor, cache.store)
    if (packed instanceof Promise) {
      packed
        .then((made) => {
          if (!this.#over) this.#sendKept(made)
        })
        .catch((error: Error) => this.#failed(error))
    } else this.#sendKept(packed)
  }

  #sendKept({ head, body, own }: CachedAnswer): void {
    this.#answerCounts(head)
    this.beginResponse(head, [...this.#ownFields(true), ...own])
    this.#cached = new CachedDelivery(head.status, body)
    this.#sendCachedRest(this.#cached)
  }

  /** As fast as the client takes it. */
  #sendCachedRest(cached: CachedDelivery): void {
    while (!this.#over) {
      const part = cached.next()
      if (part === undefined) {
        this.#cached = undefined
        this.#client.end([], this.#finish(cached.status, undefined))
        return
      }
      this.send(part)
      if (!this.#client.flush()) return
    }
  }

  /** What is kept may do when the upstream fails. */
  #sentStale(): boolean {
    const answer = this.#over ? undefined : this.#turn?.inTrouble(performance.now())
    if (answer === undefined) return false
    this.#upstream?.drop()
    this.#sendCached(answer)
    return true
  }

  // The upstream.

  #toUpstream(): void {
    const { service } = this.#judgement!.route!
    const held = this.#held
    this.#held = undefined
    const upstream = new UpstreamRequest(this.#context, this, this.#group!, service, this.#head!, this.#span!, held)
    this.#upstream = upstream
    upstream.start(this.#request.rawHeaders, this.startMs)
  }

  get requestComplete(): boolean {
    return this.#client.requestComplete
  }

  headText(span: TraceContext, bodyBytes: number | undefined): string {
    const { recorder } = this.#context.options
    const head = this.#head!
    return requestHeadText({
      head,
      target: this.#target ?? head.target,
      host: this.#rewriting?.host ?? head.authority,
      rewriting: this.#turn === undefined ? this.#rewriting?.request : this.#turn.changes(this.#rewriting?.request),
      rawHeaders: this.#request.rawHeaders,
      section: this.#request.section,
      bodyBytes,
      source: this.#source,
      chain: this.#chain,
      proto: this.#proto,
      requestId: this.#requestId,
      traceparent: recorder.formatTraceparent(span),
      tracestate: span.traceState,
      breached: this.#judgement!.breached === true,
      person: this.#personFields(),
      peer: this.#judgement!.peer,
    })
  }

  /** What the upstream is told of who is logged in; undefined where nobody can be. */
  #personFields(): PersonFields | undefined {
    const { people } = this.#judgement!.route!.service
    if (people === undefined) return undefined
    const { credential, session } = this.#judgement!
    const claims = session === undefined ? undefined : (credential as { claims?: Readonly<Record<string, unknown>> }).claims
    return personFields(people, claims, credential?.subject, this.#request.rawHeaders)
  }

  onBodyWanted(isBegun: boolean, room: boolean): void {
    if (!isBegun) {
      this.#continue()
      this.#client.takeBody(this.#context.limits.requestMsMax)
      return
    }
    this.#client.extendBody()
    if (room) this.#client.resumeBody()
  }

  onUpstreamDrain(): void {
    this.#client.resumeBody()
  }

  onUnsent(full: boolean): void {
    if (this.#sentStale()) return
    const { counters } = this.#context
    if (full) {
      counters.overloaded++
      this.#group!.counts.overloaded++
      this.#refuse(503, 'PROXY_UPSTREAM_FULL', OVERLOADED_RETRY_AFTER_S)
      return
    }
    counters.upstreamErrors++
    this.#refuse(502, 'no upstream can be reached')
  }

  onUpstreamFailure(error: AnyProxyError, url: string): void {
    this.#context.counters.upstreamErrors++
    this.#context.log('warn', `upstream ${url}: request ${this.#requestId}: ${error.message}`)
    if (this.answered) this.#cutShort(this.#upstream!.status!, error.code)
    else if (!this.#sentStale()) this.#refuse(error.code === 'PROXY_UPSTREAM_TIMEOUT' ? 504 : 502, error.code)
  }

  onReclaimed(): void {
    this.#cutShort(this.#upstream!.status ?? 499, 'the client reads too slowly, and others wait for the upstream')
  }

  pauseUpstream(): void {
    this.#upstream!.pause()
  }

  resumeUpstream(): void {
    this.#upstream!.resume()
  }

  /** The client is slow: the upstream is to wait for it, unless what it says is kept for others too. */
  holdUp(): void {
    if (this.#upstreamPaused || this.#turn?.keeps === true) return
    this.#upstreamPaused = true
    this.pauseUpstream()
  }

  letOn(): void {
    if (!this.#upstreamPaused) return
    this.#upstreamPaused = false
    this.resumeUpstream()
  }

  // The response.

  onInterim(head: ResponseHead): boolean {
    // RFC 9110 section 15.2: passed on, but for what HTTP/1.0 does not know and what we have said ourselves.
    if (this.#over || this.answered || this.#request.httpVersion === '1.0' || (head.status === 100 && this.#continued))
      return false
    this.#client.inform(head)
    return true
  }

  onHead(head: ResponseHead, nowMs: number): void {
    if (this.#turn !== undefined && this.#isAnsweredInstead(head, nowMs)) return
    const { cache } = this.#context
    if (!SAFE.has(this.#head!.method) && !cache.isEmpty) cache.changed(this.#head!.authority, this.#head!.target, head)
    this.#tellLogin(head.status)
    this.#answerCounts(head)
    if (!this.#judgement!.responseWanted || this.#passes(head)) this.#sendHead(head)
  }

  /** Whether what is kept stands in for the upstream's answer. */
  #isAnsweredInstead(head: ResponseHead, nowMs: number): boolean {
    const upstream = this.#upstream!
    const instead = this.#turn!.instead(this.#rewritten(head), nowMs, Date.now(), upstream.headMs)
    if (instead === undefined) return false
    upstream.discard(head)
    if (instead === 'again') upstream.again()
    else this.#sendCached(instead)
    return true
  }

  /** Whether the response may go on now: it may have to wait for its body, or have been refused. */
  #passes(head: ResponseHead): boolean {
    const { rawHeaders, status, bodyBytes } = head
    const headers: HeaderField[] = []
    for (let at = 0; at < rawHeaders.length; at += 2) headers.push([rawHeaders[at]!, rawHeaders[at + 1]!])
    const { guard } = this.#context.options
    const judged = this.#judgeResponse((judgement, environment) =>
      guard.responseHead(judgement, { status, protocol: 'HTTP/1.1', headers }, environment),
    )
    if (!judged) return false
    const wanted = this.#judgement!.responseBytesWanted
    if (wanted > 0 && bodyBytes !== 0) {
      this.#heldResponse = new HeldResponse(this, head, wanted)
      return false
    }
    return this.judgeResponseBody(EMPTY, false)
  }

  judgeResponseBody(body: Uint8Array, truncated: boolean): boolean {
    const { guard } = this.#context.options
    return this.#judgeResponse((judgement, environment) => guard.responseBody(judgement, body, truncated, environment))
  }

  /** Returns whether the response may still go on; what may not has been refused. */
  #judgeResponse(judge: (judgement: Judgement, environment: GuardEnvironment) => Judgement): boolean {
    const startMs = performance.now()
    try {
      this.#judgement = judge(this.#judgement!, this.#environment!)
    } catch (error) {
      this.#guardFailed(error)
      return false
    }
    this.#guardMs += performance.now() - startMs
    const { outcome, status } = this.#judgement.decision!
    if (outcome !== 'allow') this.#refuse(status, undefined)
    return outcome === 'allow'
  }

  onReleased(head: ResponseHead, body: HeldBody, trailers: readonly string[] | undefined): void {
    this.#heldResponse = undefined
    this.#sendHead(head)
    if (body.length > 0) this.onBody(body.bytes)
    if (trailers !== undefined) this.#sendEnd(trailers)
  }

  onInspectionFailure(error: Error): void {
    this.#failed(error)
  }

  #sendHead(head: ResponseHead): void {
    const upstream = this.#upstream!
    const cookie = upstream.stickyCookie(this.#proto === 'https')
    const standing = this.#ownFields(this.#renewed !== undefined && invitesKeeping(head.rawHeaders))
    let own = cookie === undefined ? standing : [...standing, 'set-cookie', cookie]
    const rewritten = this.#rewritten(head)
    if (this.#turn !== undefined) own = [...own, ...this.#turn.begins(rewritten, performance.now(), Date.now(), upstream.headMs)]
    const form = this.#compressing(rewritten)
    if (form === undefined) this.beginResponse(rewritten, own)
    else this.#beginCompressed(rewritten, own, form)
  }

  #beginCompressed(head: ResponseHead, own: readonly string[], form: Compressing): void {
    const isHead = this.#head!.method === 'HEAD'
    if (form.coding === undefined) this.beginResponse(compressedHead(head, form), own)
    else if (isHead) this.beginResponse({ ...compressedHead(head, form), bodyBytes: 0 }, own)
    else if (head.bodyBytes === 0) this.beginResponse(compressedHead(head, { coding: undefined }), own)
    else {
      const { compressor, counters } = this.#context
      this.#compressed = new CompressedDelivery(this, compressor, counters, head, own, form)
      this.#compressed.start()
    }
  }

  beginResponse(head: ResponseHead, own: readonly string[]): void {
    this.#sends(head.rawHeaders, own)
    this.#client.respond(head, this.#head!, own, this.#environment!.nowMs)
    this.answered = true
  }

  /** Undefined: it goes out as it is, whatever the client likes. */
  #compressing(head: ResponseHead): Compressing | undefined {
    const { route, credential } = this.#judgement!
    const policy = route!.route?.compress ?? route!.service.compress
    return policy && compressing(head, this.#request.rawHeaders, credential !== undefined, policy, this.#ownCookies)
  }

  /** As the policy wants it changed. */
  #rewritten(head: ResponseHead): ResponseHead {
    const rewriting = this.#rewriting?.response
    return rewriting === undefined ? head : { ...head, rawHeaders: rewrittenFields(rewriting, head.rawHeaders) }
  }

  onBody(bytes: Buffer): void {
    if (this.#over) return
    if (this.#heldResponse !== undefined) {
      this.#heldResponse.add(bytes)
      return
    }
    this.#turn?.add(bytes)
    if (this.#compressed === undefined) this.send(bytes)
    else this.#compressed.write(bytes)
  }

  onQuiet(): void {
    if (this.#heldResponse !== undefined) {
      this.#heldResponse.hurry(this.#context.limits.responseHoldMsMax)
      return
    }
    this.#compressed?.quiet()
    // Also the head, when its body takes its time: server-sent events begin with nothing.
    if (!this.#over && !this.#client.flush() && this.#compressed?.isStreamed !== true) this.holdUp()
  }

  onEnd(trailers: readonly string[]): void {
    if (this.#over) return
    if (this.#heldResponse === undefined) this.#sendEnd(trailers)
    else this.#heldResponse.end(trailers)
  }

  #sendEnd(trailers: readonly string[]): void {
    this.#turn?.complete(performance.now())
    if (this.#compressed === undefined) this.endResponse(trailers)
    else this.#compressed.end(trailers)
  }

  send(bytes: Buffer): void {
    this.#bytesOut += bytes.length
    this.#client.send(bytes)
  }

  flush(): boolean {
    return this.#client.flush()
  }

  endResponse(trailers: readonly string[]): void {
    this.#client.end(keptTrailers(trailers), this.#finish(this.#upstream!.status!, undefined))
  }

  onCompressionFailure(message: string): void {
    this.#context.log('warn', `request ${this.#requestId}: compressing failed: ${message}`)
    this.#cutShort(this.#upstream!.status!, 'compressing failed')
  }

  onUpgrade(head: ResponseHead, upstream: Wire, rest: Buffer): void {
    const ends = { wire: upstream, rest, source: this.#source, standing: this.#lasting() }
    const [rewritten, own] = [this.#rewritten(head), this.#ownFields()]
    this.#sends(rewritten.rawHeaders, own)
    this.#client.switchProtocols(rewritten, own, ends, this.#environment!.nowMs)
    this.#finish(101, undefined)
  }

  /** What we add to a response of the upstream's. @param isForMany Others may get it too: no place for a session. */
  #ownFields(isForMany = false): readonly string[] {
    const id =
      this.#renewed === undefined || isForMany
        ? ['x-request-id', this.#requestId]
        : ['x-request-id', this.#requestId, 'set-cookie', this.#renewed]
    const { ownFields } = this.#client.listener
    return ownFields.length === 0 && !this.#context.options.explainHeader ? id : [...id, ...ownFields, ...this.#explanation()]
  }

  #explanation(): readonly string[] {
    const decision = this.#judgement?.decision
    if (!this.#context.options.explainHeader || decision === undefined) return []
    const ids = [...new Set(decision.matches.map((match) => match.ruleId))].join(',')
    return ['x-ringwall-decision', decision.outcome, 'x-ringwall-rules', ids]
  }

  /** Kept for whoever asks what was answered, if anybody does. */
  #sends(fields: readonly string[], more: readonly string[] = NO_FIELDS): void {
    if (this.#context.options.recorder.finished !== undefined) this.#responseFields = [fields, more]
  }

  // Answers of our own.

  /** To an ACME server that verifies this name just now (RFC 8555 section 8.3). */
  #showProof(head: RequestHead, text: string): void {
    this.#judgement = this.#ownJudgement('allow', 200, 'proof for an ACME server')
    const fields = [
      'content-type',
      'application/octet-stream',
      'content-length',
      String(text.length),
      'cache-control',
      'no-store',
    ]
    this.answered = true
    this.#sends(fields)
    const own = { status: 200, fields, body: head.method === 'HEAD' ? '' : text, continued: false }
    this.#client.refuse(own, head, () => this.#finish(200, undefined))
  }

  /** The same, over TLS. The method and the body are kept (RFC 9110 section 15.4.9). */
  #redirect({ authority, host, target }: RequestHead, port: number): void {
    this.#judgement = this.#ownJudgement('allow', 308, 'redirected to TLS')
    const name = authority.startsWith('[') ? authority.slice(0, authority.indexOf(']') + 1) : host
    this.#refuse(308, undefined, undefined, `https://${name}${port === 443 ? '' : `:${port}`}${target}`)
  }

  #refuse(status: number, error: string | undefined, retryAfterS?: number, location?: string): void {
    if (this.#over) return
    this.#judging = false
    this.#upstream?.drop()
    const head = this.#head
    if (status === 401 && this.#judgement?.loginWanted === true && head !== undefined && location === undefined) {
      const page = loginLocation(head.method, head.target, this.#request.rawHeaders)
      if (page !== undefined) {
        this.#refuse(303, undefined, undefined, page)
        return
      }
    }
    const { headers, body } =
      this.#challengeAnswer(status, retryAfterS) ??
      refusal(status, this.#requestId, {
        jsonWanted: head?.jsonWanted ?? false,
        retryAfterS,
        budget: this.#judgement?.decision?.budget,
        location,
        code: refusalCode(this.#judgement),
      })
    const fields = [...headers, ...this.#client.listener.ownFields, ...this.#explanation()]
    this.answered = true
    this.#sends(fields)
    const own = { status, fields, body: this.#request.method === 'HEAD' ? '' : body, continued: this.#continued }
    this.#client.refuse(own, head, () => this.#finish(status, error))
  }

  /** A challenge, or the pass for one that was done; undefined: it is about neither. */
  #challengeAnswer(status: number, retryAfterS: number | undefined): Refusal | undefined {
    const { decision, challenge, granted } = this.#judgement ?? {}
    const { challenges } = this.#context.options
    if (decision?.outcome !== 'challenge' || decision.status !== status) return undefined
    if (granted !== undefined) return passAnswer(granted, this.#requestId, this.#proto === 'https')
    if (challenge === undefined || challenges === undefined) return undefined
    return challengeAnswer({
      status,
      requestId: this.#requestId,
      method: this.#request.method,
      target: this.#head?.target ?? '',
      rawHeaders: this.#request.rawHeaders,
      retryAfterS,
      difficulty: challenge.difficulty,
      issue: () => challenges.issue(challenge, this.#environment!.nowMs),
    })
  }

  #refuseMalformed(status: number, why: string): void {
    this.#context.counters.malformed++
    this.#judgement = this.#ownJudgement('deny', status, `malformed: ${why}`)
    this.#refuse(status, undefined)
  }

  #ownJudgement(outcome: 'allow' | 'deny', status: number, reason: string): Judgement {
    return ownJudgement(this.#judgement?.route, ownDecision(this.#environment, outcome, status, reason))
  }

  // Ended before it is done.

  /** The body is not HTTP. */
  onRequestBroken(status: number, why: string): void {
    this.#context.counters.malformed++
    this.#judgement = this.#ownJudgement('deny', status, `malformed: ${why}`)
    if (this.answered) this.#cutShort(status, `malformed: ${why}`)
    else this.#refuse(status, undefined)
  }

  onRequestLate(): void {
    if (this.answered) this.#cutShort(this.#upstream?.status ?? 408, 'the body did not arrive in time')
    else this.#refuse(408, 'the body did not arrive in time')
  }

  onClientDrain(): void {
    this.#compressed?.resume()
    if (this.#cached !== undefined) this.#sendCachedRest(this.#cached)
    else if (this.#compressed?.isStreamed !== true) this.letOn()
  }

  onClientGone(): void {
    if (this.#over) return
    this.#context.counters.clientAborts++
    this.#upstream?.drop()
    this.#finish(499, 'client closed the connection')
  }

  /** What allowed it does so no more. */
  end(decision: Decision): void {
    if (this.#over) return
    const before = this.#judgement!
    if (before.responseWanted) this.#context.options.guard.end(before)
    this.#judgement = ownJudgement(before.route, decision)
    if (this.answered) this.#cutShort(decision.status, 'cut')
    else this.#refuse(decision.status, undefined)
  }

  /** The source has been denied: whatever this is, it ends now. */
  cut(): void {
    this.#client.destroy()
  }

  /** Part of the response is out: only cutting the connection tells the client that it is not whole. */
  #cutShort(status: number, error: string): void {
    if (this.#over) return
    this.#upstream?.drop()
    this.#finish(status, error)
    this.#client.destroy()
  }

  /** By a fault of ours. */
  #failed(error: Error): void {
    this.#context.log('warn', `request ${this.#requestId} failed: ${error.message}`)
    this.#client.destroy()
  }

  // Counted, reported, recorded.

  /** Counts and records the request, once. Returns the time, monotonic milliseconds. */
  #finish(status: number, error: string | undefined): number {
    const endMs = performance.now()
    if (this.#over) return endMs
    this.#over = true
    this.#heldResponse?.stop()
    clearTimeout(this.#turnTimer)
    this.#turn?.stop(endMs)
    this.#compressed?.destroy()
    if (this.#judgement?.responseWanted === true) this.#context.options.guard.end(this.#judgement)
    this.#tellCost(endMs)
    if (this.#lent !== undefined) this.#context.options.guard.release(this.#lent)
    const { counters, options, sources, standing } = this.#context
    counters.activeRequests--
    standing.delete(this)
    if (this.#source !== this.#client.address) sources.delete(this.#source, this)
    const decision = this.#judgement?.decision ?? ownDecision(this.#environment, 'deny', status, 'never judged')
    if (decision.outcome === 'allow') counters.allowed++
    else if (decision.outcome === 'throttle') counters.throttled++
    else if (decision.outcome === 'challenge') counters.challenged++
    else counters.denied++
    const route = this.#judgement?.route
    const upstream = this.#upstream
    options.recorder.observeRequest({
      outcome: decision.outcome,
      check: decision.check,
      stale: decision.stale,
      service: route?.service.name,
      guardUs: this.#guardMs * 1_000,
      totalUs: (endMs - this.startMs) * 1_000,
      upstreamUs: upstream?.status === undefined ? undefined : upstream.headMs * 1_000,
    })
    this.#tellEnd(status)
    options.recorder.finished?.(this.#requestId, status, this.#responseFields?.flat() ?? NO_FIELDS)
    if (!options.recorder.wants(decision.outcome)) return endMs
    recordExchange(options.recorder, this.#observed(decision, status, endMs, error))
    return endMs
  }

  /** Limits count what the application answered, or the cache in its place. */
  #answerCounts(head: ResponseHead): void {
    this.#countedStatus = head.status
    this.#context.options.guard.answered(this.#judgement!, head, this.#environment!.nowMs)
  }

  #tellCost(endMs: number): void {
    if (this.#countedStatus === undefined) return
    const ms = endMs - this.startMs
    const cost = { status: this.#countedStatus, bytes: this.#bytesOut, ms }
    this.#context.options.guard.sent(this.#judgement!, cost, this.#environment!.nowMs + ms)
  }

  #reported(): ReportedRequest {
    const { method, rawHeaders } = this.#request
    const target = this.#head!.target
    return { id: this.#requestId, method, target, source: this.#source, ja4: this.#client.ja4, rawHeaders }
  }

  #tellLogin(status: number): void {
    if (this.#judgement!.login !== undefined) reportLogin(this.#context, this.#judgement!, this.#reported(), status)
  }

  #tellEnd(status: number): void {
    const [judgement, environment] = [this.#judgement, this.#environment]
    if (judgement === undefined) return
    if (judgement.api !== undefined) reportApi(this.#context, judgement, this.#reported(), status)
    if (environment === undefined || this.#context.options.ended?.wants() !== true) return
    const tookMs = performance.now() - this.startMs
    reportEnded(this.#context, judgement, this.#reported(), status, this.#bytesOut, tookMs, environment.view.policy)
  }

  /** Nothing of it holds the request's text. */
  #observed(decision: Decision, status: number, endMs: number, error: string | undefined): Observed {
    const { options } = this.#context
    const route = this.#judgement?.route
    return {
      requestId: this.#requestId,
      node: options.node,
      region: options.region,
      source: this.#source,
      ja4: this.#client.ja4,
      scheme: this.#proto,
      method: this.#request.method,
      // These may wait long to be written.
      host: detached(this.#head?.host ?? ''),
      path: detached(withoutQuery(this.#head?.target ?? this.#request.url)),
      service: route?.service.name,
      route: route?.route?.name,
      label: route?.label,
      decision,
      status,
      span: this.#span ?? options.recorder.newTrace(),
      parentSpanId: this.#parentSpanId,
      startMs: this.startMs,
      guardStartMs: this.#guardStartMs === 0 ? this.startMs : this.#guardStartMs,
      guardMs: this.#guardMs,
      endMs,
      upstream: this.#upstream?.observed,
      error,
    }
  }

  /** What is kept of the request while its WebSocket is open, where that is to be judged again. */
  #lasting(): Standing | undefined {
    const { guard, recorder } = this.#context.options
    if (!isReviewed(this.#judgement!)) return undefined
    const observed = this.#observed(this.#judgement!.decision!, 101, 0, undefined)
    return {
      judgement: guard.lasting(this.#judgement!),
      end: (ended) =>
        recordExchange(recorder, {
          ...observed,
          decision: ended,
          status: ended.status,
          endMs: performance.now(),
          error: 'cut',
        }),
    }
  }
}

const PASS_ONLY: readonly string[] = [PASS_COOKIE]

/** Is there something that may change while it is under way? Another policy may ask for more of any service. */
function isReviewed({ route }: Judgement): boolean {
  return route !== undefined
}
