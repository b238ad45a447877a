/**
 * One request from its head to the end of its response: judged, then refused or passed on.
 *
 * The order of things: head read strictly, source settled, guard on the head, as much of the body as the guard wants, guard on
 * the body, upstream, guard on the response where rules ask for it, response. What the guard has not allowed never reaches an
 * upstream, not a byte of it.
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
import type { RewritePolicy } from '@ringwall/ring'
import type { HeaderField } from '@ringwall/waf'
import { invitesKeeping, valuesOf } from './cache-control.ts'
import { cacheRequest } from './cache-terms.ts'
import { challengeAnswer, passAnswer } from './challenge-page.ts'
import type { Client } from './client.ts'
import { type Compressing, compressedHead, compressing, type Encoder, type EncoderOwner, SMALL_BYTES_MAX } from './compression.ts'
import type { Context, Cuttable, Standing } from './context.ts'
import { decodedBody } from './decoded-body.ts'
import { type AnyProxyError, UpstreamBroken, type UpstreamFull, type UpstreamUnreachable } from './errors.ts'
import { requestHeadText } from './forward-head.ts'
import { detached } from './header-names.ts'
import { HeldBody } from './held-body.ts'
import { HeldResponse } from './held-response.ts'
import { JudgedRequest } from './judged-request.ts'
import { loginLocation, type PersonFields, personFields, sessionCookieText } from './people.ts'
import { type Observed, recordExchange } from './recording.ts'
import { type Refusal, refusal } from './refusal.ts'
import { type ReportedRequest, reportApi, reportEnded, reportLogin, withoutQuery } from './reports.ts'
import type { RequestHead } from './request-head.ts'
import type { RawRequest } from './request-parser.ts'
import { type CachedAnswer, CacheTurn } from './response-cache.ts'
import type { ResponseHead } from './response-parser.ts'
import { type Rewriting, rewritingOf, rewrittenFields, rewrittenTarget } from './rewriting.ts'
import { sourceOf } from './source-address.ts'
import { keptTrailers } from './trailers.ts'
import type { TraceContext } from './types.ts'
import type { ConnectionWaiter, Upstream } from './upstream.ts'
import type { ResponseListener, Sending, UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamGroup } from './upstream-group.ts'
import { HEDGED, Hedge, type HedgeOwner } from './upstream-hedge.ts'
import { MIRROR_FIELD } from './upstream-mirror.ts'
import type { Wire } from './wire.ts'

const EMPTY = new Uint8Array(0)
const NO_FIELDS: readonly string[] = []
/** May be sent twice (RFC 9110 section 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** What there is methods for that change nothing (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])
/** Of a kept body, sent in one go. */
const CACHED_PART_BYTES = 65_536

/** What a client is told to wait when all upstreams are full. */
const OVERLOADED_RETRY_AFTER_S = 1

export class Exchange implements ConnectionWaiter, ResponseListener, HedgeOwner, EncoderOwner, Cuttable, Standing {
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
  /** Part of the body has been sent on as it came: it cannot be sent twice. */
  #streamed = false
  #group: UpstreamGroup | undefined
  #upstream: Upstream | undefined
  #tried: Upstream[] | undefined
  /** The upstream that the client was given before. */
  #wanted: Upstream | undefined
  #rewriting: Rewriting | undefined
  #target: string | undefined
  #retriedStale = false
  /** The upstream tried last had no room. */
  #full = false
  #connection: UpstreamConnection | undefined
  #upstreamSpan: TraceContext | undefined
  #upstreamStartMs = 0
  #upstreamHeadMs = 0
  #upstreamStatus: number | undefined
  /** Its head is due within `perTryTimeout`. */
  #hurried = false
  #hedge: Hedge | undefined
  #hedgeTimer: NodeJS.Timeout | undefined
  #mirrored = false
  /** An interim response has been passed on. */
  #interim = false
  /** Its status counts as a failure of the upstream. */
  #failing = false
  #turn: CacheTurn | undefined
  #turnTimer: NodeJS.Timeout | undefined
  /** The answer that is kept, as far as it has not been sent yet. */
  #cachedRest: Buffer | undefined
  #cachedStatus = 200
  /** Of the answer that limits were told of. */
  #countedStatus: number | undefined
  /** Compresses the answer on its way to the client. */
  #encoder: Encoder | undefined
  #trailers: readonly string[] = []
  /** In place of the one that was shown: the value of Set-Cookie. */
  #renewed: string | undefined
  /** An answer that is compressed when all of it has come. */
  #small: SmallAnswer | undefined
  /** The response, while its beginning is judged. */
  #heldResponse: HeldResponse | undefined
  #continued = false
  #answered = false
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

  /** Whether the client has gone, or the request ended some other way. */
  get cancelled(): boolean {
    return this.#over
  }

  start(): void {
    const { options, pools } = this.#context
    const { head } = this.#request
    if ('refused' in head) {
      this.#refuseMalformed(head.status, head.refused)
      return
    }
    this.#head = head
    const proof = this.#client.listener.secure ? undefined : this.#context.acme.text(head.host, head.target)
    if (proof !== undefined && (head.method === 'GET' || head.method === 'HEAD')) {
      this.#showProof(head, proof)
      return
    }
    const { redirectToTls } = this.#client.listener.options
    if (redirectToTls !== undefined) {
      this.#redirect(head, redirectToTls)
      return
    }
    if (head.upgrade && this.#context.counters.activeTunnels >= this.#context.limits.tunnelsMax) {
      this.#refuse(503, 'too many tunnels')
      return
    }
    let judging: Judgement | Promise<Judgement>
    try {
      const environment = options.environment()
      this.#environment = environment
      const { policy } = environment.view
      pools.follow(environment.view)
      this.#context.cache.follow(policy)
      this.#settleSource(head, (address) => this.#context.isTrustedProxy(policy, address))
      const source = sourceKey(this.#source)
      const isShed = !this.#context.shedding.admits(source)
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
        .catch((error: Error) => {
          this.#context.log('warn', `request ${this.#requestId} failed: ${error.message}`)
          this.#client.destroy()
        })
    } else {
      this.#borrow(judging)
      this.#headJudged(judging)
    }
  }

  #borrow(judgement: Judgement): void {
    // Its client may have left while it was judged.
    if (this.#over) this.#context.options.guard.release(judgement)
    else this.#lent = judgement
  }

  /** The source asks most, and there is too little time for all. */
  #shed(): void {
    this.#context.counters.shed++
    this.#judgement = this.#ownJudgement('deny', 503, 'shed: this source asks most while the node is overloaded')
    if (this.#source === this.#client.address && this.#context.shedding.rests) this.#client.rest()
    this.#refuse(503, undefined, OVERLOADED_RETRY_AFTER_S)
  }

  /** A token that was denied while it was verified: nothing was open yet that could have been cut. */
  #again(judgement: Judgement): Judgement {
    if (judgement.decision !== undefined || !isReviewed(judgement)) return judgement
    const { guard, environment } = this.#context.options
    const decision = guard.review(judgement, environment())
    return decision === undefined
      ? judgement
      : { ...this.#ownJudgement('deny', decision.status, ''), route: judgement.route, decision }
  }

  get judgement(): Judgement {
    return this.#judgement!
  }

  /** What allowed it does so no more. */
  end(decision: Decision): void {
    if (this.#over) return
    const before = this.#judgement!
    if (before.responseWanted) this.#context.options.guard.end(before)
    this.#judgement = { ...this.#ownJudgement('deny', decision.status, ''), decision }
    if (this.#answered) this.#cutShort(decision.status, 'cut')
    else this.#refuse(decision.status, undefined)
  }

  /** The source has been denied: whatever this is, it ends now. */
  cut(): void {
    this.#client.destroy()
  }

  // What the guard says.

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

  // From the client.

  onRequestBody(bytes: Buffer): void {
    if (this.#judging) {
      const held = this.#held!
      const declared = this.#head!.contentLength
      held.add(bytes, declared ?? Number.POSITIVE_INFINITY)
      // One byte past the limit proves that there is more; a declared length says so by itself.
      const enough = declared !== undefined && declared > this.#bodyWanted ? this.#bodyWanted : this.#bodyWanted + 1
      if (held.length < enough) return
      this.#client.pauseBody()
      this.#bodyHeld(true)
      return
    }
    const connection = this.#connection
    // Answered already: the rest is read away.
    if (connection === undefined) return
    if (!connection.write(bytes, this.#head!.contentLength === undefined)) this.#client.pauseBody()
  }

  /** Trailers of requests are not passed on: the guard has not seen them. */
  onRequestEnd(): void {
    if (this.#judging) this.#bodyHeld(false)
    else this.#connection?.complete(this.#head!.contentLength === undefined)
  }

  /** The body is not HTTP. */
  onRequestBroken(status: number, why: string): void {
    this.#context.counters.malformed++
    this.#judgement = this.#ownJudgement('deny', status, `malformed: ${why}`)
    if (this.#answered) this.#cutShort(status, `malformed: ${why}`)
    else this.#refuse(status, undefined)
  }

  onRequestLate(): void {
    if (this.#answered) this.#cutShort(this.#upstreamStatus ?? 408, 'the body did not arrive in time')
    else this.#refuse(408, 'the body did not arrive in time')
  }

  onClientDrain(): void {
    this.#encoder?.resume()
    if (this.#cachedRest !== undefined) {
      this.#sendCachedRest()
      return
    }
    if (!this.#upstreamPaused || this.#encoder !== undefined) return
    this.#upstreamPaused = false
    this.#connection?.resume()
  }

  onClientGone(): void {
    if (this.#over) return
    this.#context.counters.clientAborts++
    this.#dropUpstream()
    this.#finish(499, 'client closed the connection')
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
          this.#context.log('warn', `request ${this.#requestId} failed: ${(error as Error).message}`)
          this.#client.destroy()
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

  #decided({ decision, route }: Judgement): void {
    if (decision!.outcome !== 'allow') {
      this.#refuse(decision!.status, undefined, decision!.retryAfterS)
      return
    }
    if (this.#judgement!.portal === true) {
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
    if (cache !== undefined && cache.mode === 'on' && this.#context.cache.store.bytesMax > 0) {
      const hasCredential = this.#judgement!.credential !== undefined
      const request = cacheRequest(this.#head!, this.#request.rawHeaders, this.#proto, hasCredential, cache, this.#ownCookies)
      if (request !== undefined) {
        const counts = this.#context.cache.countsOf(route!.service.name)
        const resume = (): void => this.#askCache()
        this.#turn = new CacheTurn(
          this.#context.cache,
          request,
          this.#head!.method,
          cache,
          route!.label,
          counts,
          this.startMs,
          resume,
        )
        this.#askCache()
        return
      }
    }
    this.#toUpstream()
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
        this.#answered = true
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

  /** What the upstream is told of who is logged in; undefined where nobody can be. */
  #personFields(): PersonFields | undefined {
    const { people } = this.#judgement!.route!.service
    if (people === undefined) return undefined
    const { credential, session } = this.#judgement!
    const claims = session === undefined ? undefined : (credential as { claims?: Readonly<Record<string, unknown>> }).claims
    return personFields(people, claims, credential?.subject, this.#request.rawHeaders)
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
    const { head, stored, body } = answer
    // What a 304 stands for is what would have been sent otherwise.
    const { status, fields: rawHeaders } = stored
    const contentLength = String(stored.body.length)
    const form = this.#compressing(head.status === 304 ? { ...head, status, rawHeaders, contentLength } : head)
    if (form === undefined || head.status === 304 || this.#head!.method === 'HEAD') {
      this.#sendKept(form === undefined ? answer : { ...answer, head: compressedHead(head, form) })
      return
    }
    const isWhole = head.status === stored.status && body.length === stored.body.length && body.length > 0
    const { compressor, cache } = this.#context
    const made = form.coding === undefined || !isWhole ? undefined : compressor.kept(cache.store, stored, form.coding)
    const send = (bytes: Buffer | undefined): void => {
      if (this.#over) return
      if (bytes === undefined) this.#sendKept({ ...answer, head: compressedHead(head, { coding: undefined }) })
      else this.#sendKept({ ...answer, head: compressedHead(head, form, bytes.length), body: bytes })
    }
    if (made instanceof Promise) {
      made.then(send).catch((error: Error) => {
        this.#context.log('warn', `request ${this.#requestId} failed: ${error.message}`)
        this.#client.destroy()
      })
    } else send(made)
  }

  #send(bytes: Buffer): void {
    this.#bytesOut += bytes.length
    this.#client.send(bytes)
  }

  /** Kept for whoever asks what was answered, if anybody does. */
  #sends(fields: readonly string[], more: readonly string[] = NO_FIELDS): void {
    if (this.#context.options.recorder.finished !== undefined) this.#responseFields = [fields, more]
  }

  #sendKept({ head, body, own }: CachedAnswer): void {
    const fields = [...this.#ownFields(true), ...own]
    this.#cachedStatus = head.status
    this.#answerCounts(head)
    this.#sends(head.rawHeaders, fields)
    this.#client.respond(head, this.#head!, fields, this.#environment!.nowMs)
    this.#answered = true
    this.#cachedRest = body
    this.#sendCachedRest()
  }

  /** As fast as the client takes it: what is kept is not copied for a client that does not read. */
  #sendCachedRest(): void {
    while (this.#cachedRest !== undefined && !this.#over) {
      const rest = this.#cachedRest
      if (rest.length === 0) {
        this.#cachedRest = undefined
        this.#client.end([], this.#finish(this.#cachedStatus, undefined))
        return
      }
      this.#cachedRest = rest.subarray(CACHED_PART_BYTES)
      this.#send(rest.subarray(0, CACHED_PART_BYTES))
      if (!this.#client.flush()) return
    }
  }

  #toUpstream(): void {
    this.#group!.budget.request(this.startMs)
    this.#wanted = this.#group!.sticky?.wanted(this.#request.rawHeaders)
    this.#tryUpstream(false)
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

  // Towards the upstream.

  #tryUpstream(fresh: boolean): void {
    const tries = this.#tried?.length ?? 0
    const more = tries <= this.#judgement!.route!.service.retries.attempts
    const upstream = fresh ? this.#upstream! : more ? this.#group!.pick(this.#tried, this.#wanted) : 'none'
    if (typeof upstream === 'string') {
      this.#refuseUnsent(upstream === 'full' || this.#full)
      return
    }
    this.#upstream = upstream
    upstream.acquire(this, fresh)
  }

  #refuseUnsent(full: boolean): void {
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

  onUnreachable(error: UpstreamUnreachable | UpstreamFull): void {
    if (this.#over) return
    this.#full = error.code === 'PROXY_UPSTREAM_FULL'
    ;(this.#tried ??= []).push(this.#upstream!)
    // Overload is counted: a line for each request would add to it.
    if (!this.#full) this.#context.log('warn', `upstream ${this.#upstream!.url}: ${error.message}`)
    this.#tryUpstream(false)
  }

  /** Whether the request may be sent once more, were there another upstream: nothing of an answer is out, all of it is held. */
  #repeatable(): boolean {
    const { method, upgrade } = this.#head!
    return (
      (this.#tried?.length ?? 0) < this.#judgement!.route!.service.retries.attempts &&
      !this.#streamed &&
      !this.#answered &&
      !this.#interim &&
      !upgrade &&
      IDEMPOTENT.has(method)
    )
  }

  #mayResend(): boolean {
    const { budget, counts } = this.#group!
    const may = budget.take(performance.now())
    if (may) counts.retries++
    else counts.retriesRefused++
    return may
  }

  /** @param answer A response that is given up for another. Returns whether the request goes to another upstream. */
  #repeat(answer: ResponseHead | undefined): boolean {
    if (!this.#repeatable()) return false
    const group = this.#group!
    const next = group.pick(this.#tried === undefined ? [this.#upstream!] : [...this.#tried, this.#upstream!])
    // An answer that is bad is better than none: it is given up for an upstream that is fit.
    if (typeof next === 'string' || (answer !== undefined && !next.healthy)) return false
    if (!this.#mayResend()) return false
    if (answer !== undefined) this.#connection?.discard(answer)
    this.#connection = undefined
    ;(this.#tried ??= []).push(this.#upstream!)
    this.#upstream = next
    next.acquire(this)
    return true
  }

  onConnection(connection: UpstreamConnection): void {
    const head = this.#head!
    const { recorder } = this.#context.options
    this.#connection = connection
    this.#upstreamStartMs = performance.now()
    const span = recorder.childOf(this.#span!)
    this.#upstreamSpan = span
    const complete = this.#client.requestComplete
    const held = this.#held
    const text = requestHeadText({
      head,
      target: this.#target ?? head.target,
      host: this.#rewriting?.host ?? head.authority,
      rewriting: this.#turn === undefined ? this.#rewriting?.request : this.#turn.changes(this.#rewriting?.request),
      rawHeaders: this.#request.rawHeaders,
      section: this.#request.section,
      bodyBytes: complete ? (held?.length ?? 0) : head.contentLength,
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
    const body = held === undefined || held.length === 0 ? undefined : held.bytes
    const chunked = !complete && head.contentLength === undefined
    const { upstreamTimeout, retries } = this.#judgement!.route!.service
    const perTryMs = complete ? retries.perTryTimeout : undefined
    this.#hurried = perTryMs !== undefined && this.#group!.members.length > (this.#tried?.length ?? 0) + 1 && this.#repeatable()
    const timeoutMs = this.#hurried ? perTryMs! : upstreamTimeout
    const sending = { method: head.method, complete, upgrade: head.upgrade, chunked, timeoutMs }
    this.#upstream!.requests++
    const room = connection.send(this, text, body, sending, this.#upstreamStartMs)
    const { mirror } = this.#group!
    if (mirror !== undefined && complete && !head.upgrade && !this.#mirrored && mirror.wants()) {
      mirror.copy(head.method, `${text.slice(0, -2)}${MIRROR_FIELD}\r\n`, body)
    }
    this.#mirrored = true
    if (complete) {
      if (this.#group!.hedgeDelay !== undefined) this.#hedgeLater(text, body, { ...sending, timeoutMs: upstreamTimeout })
      return
    }
    this.#streamed = true
    this.#held = undefined
    if (held === undefined) {
      this.#continue()
      this.#client.takeBody(this.#context.limits.requestMsMax)
      return
    }
    this.#client.extendBody()
    if (room) this.#client.resumeBody()
  }

  #hedgeLater(text: string, body: Buffer | undefined, sending: Sending): void {
    const delayMs = this.#group!.hedgeDelay!.ms
    // A client that is kept on an upstream would leave it because of one slow answer.
    if (delayMs === undefined || delayMs >= sending.timeoutMs || this.#wanted === this.#upstream) return
    if (sending.upgrade || !HEDGED.has(sending.method)) return
    this.#hedgeTimer = setTimeout(() => {
      if (this.#over || this.#interim || this.#connection === undefined || this.#upstreamStatus !== undefined) return
      const group = this.#group!
      const next = group.pick(this.#tried === undefined ? [this.#upstream!] : [...this.#tried, this.#upstream!])
      if (typeof next === 'string' || !next.healthy) return
      if (!group.budget.take(performance.now())) {
        group.counts.retriesRefused++
        return
      }
      group.counts.hedges++
      this.#hedge = new Hedge(this, next, text, body, sending)
      this.#hedge.start()
    }, delayMs)
  }

  #endHedge(): void {
    if (this.#hedgeTimer === undefined) return
    clearTimeout(this.#hedgeTimer)
    this.#hedgeTimer = undefined
    this.#hedge?.end()
    this.#hedge = undefined
  }

  onHedgeHead(hedge: Hedge, head: ResponseHead): boolean {
    this.#hedge = undefined
    const group = this.#group!
    if (group.outliers.isFailure(head.status)) {
      group.outliers.failed(hedge.upstream, `answers ${head.status}`)
      return false
    }
    const nowMs = performance.now()
    group.counts.hedgesWon++
    group.hedgeDelay?.observe(nowMs - this.#upstreamStartMs, nowMs)
    this.#upstream!.late(nowMs - this.#upstreamStartMs, nowMs)
    this.#connection?.abandon()
    this.#adopt(hedge)
    this.#begun(head, nowMs)
    return true
  }

  onHedgeFailed({ upstream }: Hedge, why: string | undefined): void {
    this.#hedge = undefined
    if (why !== undefined) this.#group!.outliers.failed(upstream, why)
  }

  /** The second upstream's answer is the one that counts. */
  #adopt(hedge: Hedge): void {
    ;(this.#tried ??= []).push(this.#upstream!)
    this.#upstreamStartMs = hedge.sentAtMs
    this.#upstream = hedge.upstream
    this.#connection = hedge.handTo(this)
    this.#hurried = false
    this.#hedge = undefined
  }

  onDrain(): void {
    if (this.#streamed && this.#connection !== undefined) this.#client.resumeBody()
  }

  // From the upstream.

  onInterim(head: ResponseHead): void {
    // RFC 9110 section 15.2: passed on, but for what HTTP/1.0 does not know and what we have said ourselves.
    if (this.#over || this.#answered || this.#request.httpVersion === '1.0' || (head.status === 100 && this.#continued)) return
    this.#interim = true
    this.#endHedge()
    this.#client.inform(head)
  }

  onHead(head: ResponseHead): void {
    if (this.#over) return
    const nowMs = performance.now()
    this.#group!.hedgeDelay?.observe(nowMs - this.#upstreamStartMs, nowMs)
    this.#begun(head, nowMs)
  }

  /** The response that counts has begun. */
  #begun(head: ResponseHead, nowMs: number): void {
    this.#endHedge()
    this.#upstreamHeadMs = nowMs - this.#upstreamStartMs
    this.#upstream!.answered(this.#upstreamHeadMs, nowMs)
    const { service } = this.#judgement!.route!
    if (head.status >= 500) {
      const { outliers } = this.#group!
      this.#failing = outliers.isFailure(head.status)
      if (this.#failing) outliers.failed(this.#upstream!, `answers ${head.status}`)
      if ((service.retries.statuses as readonly number[]).includes(head.status) && this.#repeat(head)) {
        this.#failing = false
        return
      }
    }
    this.#upstreamStatus = head.status
    if (this.#turn !== undefined && this.#isAnsweredInstead(head, nowMs)) return
    if (!SAFE.has(this.#head!.method) && !this.#context.cache.isEmpty)
      this.#context.cache.changed(this.#head!.authority, this.#head!.target, head)
    if (this.#hurried) this.#connection?.limitSilence(service.upstreamTimeout)
    this.#tellLogin(head.status)
    this.#answerCounts(head)
    if (!this.#judgement!.responseWanted || this.#passes(head)) this.#sendHead(head)
  }

  /** Whether what is kept stands in for the upstream's answer. */
  #isAnsweredInstead(head: ResponseHead, nowMs: number): boolean {
    const instead = this.#turn!.instead(this.#rewritten(head), nowMs, Date.now(), this.#upstreamHeadMs)
    if (instead === undefined) return false
    this.#connection?.discard(head)
    this.#connection = undefined
    if (!this.#failing) this.#group!.outliers.succeeded(this.#upstream!)
    if (instead === 'again') {
      this.#upstreamStatus = undefined
      this.#tryUpstream(false)
    } else this.#sendCached(instead)
    return true
  }

  /** What is kept may do when the upstream fails. */
  #sentStale(): boolean {
    const answer = this.#over ? undefined : this.#turn?.inTrouble(performance.now())
    if (answer === undefined) return false
    this.#dropUpstream()
    this.#sendCached(answer)
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
      this.#heldResponse = new HeldResponse(head, wanted)
      return false
    }
    return this.#judgeResponse((judgement, environment) => guard.responseBody(judgement, EMPTY, false, environment))
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

  /** @param truncated More of the body follows, or may. */
  #inspectHeld(held: HeldResponse, truncated: boolean): void {
    if (held.judging) return
    held.judging = true
    held.stop()
    const { coding, wanted } = held
    const { bytes } = held.body
    if (coding === undefined) {
      this.#releaseHeld(held, bytes, truncated)
      return
    }
    this.#connection?.pause()
    decodedBody(coding, bytes, wanted + 1)
      .then((text) => {
        this.#releaseHeld(held, text.subarray(0, wanted), truncated || text.length > wanted)
        if (this.#over) return
        this.#connection?.resume()
        this.onQuiet()
      })
      .catch((error: Error) => {
        this.#context.log('warn', `request ${this.#requestId} failed: ${error.message}`)
        this.#client.destroy()
      })
  }

  #releaseHeld(held: HeldResponse, body: Uint8Array, truncated: boolean): void {
    if (this.#over) return
    const { guard } = this.#context.options
    if (!this.#judgeResponse((judgement, environment) => guard.responseBody(judgement, body, truncated, environment))) return
    this.#heldResponse = undefined
    this.#sendHead(held.head)
    if (held.body.length > 0) this.onBody(held.body.bytes)
    if (held.trailers !== undefined) this.#sendEnd(held.trailers)
  }

  #sendHead(head: ResponseHead): void {
    const { sticky } = this.#group!
    const isNew = sticky !== undefined && this.#upstream !== this.#wanted
    const cookie = isNew ? sticky.cookie(this.#upstream!, this.#proto === 'https') : undefined
    const standing = this.#ownFields(this.#renewed !== undefined && invitesKeeping(head.rawHeaders))
    let own = cookie === undefined ? standing : [...standing, 'set-cookie', cookie]
    const rewritten = this.#rewritten(head)
    if (this.#turn !== undefined)
      own = [...own, ...this.#turn.begins(rewritten, performance.now(), Date.now(), this.#upstreamHeadMs)]
    const form = this.#compressing(rewritten)
    if (form?.coding !== undefined && maybeSmall(rewritten) && this.#head!.method !== 'HEAD') {
      this.#small = { head: rewritten, own, form, body: new HeldBody() }
      return
    }
    this.#beginResponse(form === undefined ? rewritten : this.#compressed(rewritten, form), own)
  }

  #beginResponse(head: ResponseHead, own: readonly string[]): void {
    this.#sends(head.rawHeaders, own)
    this.#client.respond(head, this.#head!, own, this.#environment!.nowMs)
    this.#answered = true
  }

  /** There is more of it, who knows how much and when. */
  #streamSmall({ head, own, form, body }: SmallAnswer): void {
    this.#small = undefined
    this.#beginResponse(this.#compressed(head, form), own)
    if (body.length === 0) return
    if (this.#encoder === undefined) this.#send(body.bytes)
    else this.#encode(body.bytes)
  }

  /** All of a small body is here. @param isTrailed Trailers follow, and need chunks before them. */
  #sendSmall({ head, own, form, body }: SmallAnswer, isTrailed: boolean): void {
    const { bytes } = body
    const packed = this.#context.compressor.small(form.coding!, bytes)
    if (packed === undefined) {
      this.#beginResponse(compressedHead(head, { coding: undefined }), own)
      if (bytes.length > 0) this.#send(bytes)
      return
    }
    this.#beginResponse(compressedHead(head, form, isTrailed ? undefined : packed.length), own)
    this.#send(packed)
  }

  /** Undefined: it goes out as it is, whatever the client likes. */
  #compressing(head: ResponseHead): Compressing | undefined {
    const { route, credential } = this.#judgement!
    const policy = route!.route?.compress ?? route!.service.compress
    return policy && compressing(head, this.#request.rawHeaders, credential !== undefined, policy, this.#ownCookies)
  }

  /** The head of the answer as the client gets it; its body is compressed from here on, where it says so. */
  #compressed(head: ResponseHead, form: Compressing): ResponseHead {
    const isBodyless = this.#head!.method === 'HEAD' || head.bodyBytes === 0
    const { compressor } = this.#context
    if (form.coding === undefined || (!isBodyless && !compressor.hasRoom)) return compressedHead(head, { coding: undefined })
    if (!isBodyless) {
      const isLive = valuesOf(head.rawHeaders, 'content-type').some((type) => type.toLowerCase().startsWith('text/event-stream'))
      this.#encoder = compressor.encoder(form.coding, isLive, this)
      return compressedHead(head, form)
    }
    return this.#head!.method === 'HEAD'
      ? { ...compressedHead(head, form), bodyBytes: 0 }
      : compressedHead(head, { coding: undefined })
  }

  onEncoded(bytes: Buffer): void {
    this.#context.counters.compressedBytesOut += bytes.length
    this.#send(bytes)
    if (!this.#client.flush()) this.#encoder!.pause()
  }

  onEncoderDrain(): void {
    if (!this.#upstreamPaused) return
    this.#upstreamPaused = false
    this.#connection?.resume()
  }

  onEncoderEnd(): void {
    this.#client.end(keptTrailers(this.#trailers), this.#finish(this.#upstreamStatus!, undefined))
  }

  onEncoderFailure(message: string): void {
    this.#context.log('warn', `request ${this.#requestId}: compressing failed: ${message}`)
    this.#cutShort(this.#upstreamStatus!, 'compressing failed')
  }

  /** As the policy wants it changed. */
  #rewritten(head: ResponseHead): ResponseHead {
    const rewriting = this.#rewriting?.response
    return rewriting === undefined ? head : { ...head, rawHeaders: rewrittenFields(rewriting, head.rawHeaders) }
  }

  onBody(bytes: Buffer): void {
    if (this.#over) return
    const held = this.#heldResponse
    if (held === undefined) {
      this.#turn?.add(bytes)
      const small = this.#small
      if (small !== undefined && small.body.length + bytes.length > SMALL_BYTES_MAX) this.#streamSmall(small)
      if (this.#small !== undefined) this.#small.body.add(bytes, this.#small.head.bodyBytes ?? Number.POSITIVE_INFINITY)
      else if (this.#encoder === undefined) this.#send(bytes)
      else this.#encode(bytes)
    } else {
      held.body.add(bytes, held.head.bodyBytes ?? Number.POSITIVE_INFINITY)
      if (held.full) this.#inspectHeld(held, true)
    }
  }

  #encode(bytes: Buffer): void {
    this.#context.counters.compressedBytesIn += bytes.length
    if (this.#encoder!.write(bytes) || this.#upstreamPaused || this.#turn?.keeps === true) return
    this.#upstreamPaused = true
    this.#connection?.pause()
  }

  onQuiet(): void {
    const held = this.#heldResponse
    if (held !== undefined) {
      held.hurry(this.#context.limits.responseHoldMsMax, () => {
        this.#inspectHeld(held, true)
        if (held.coding === undefined) this.onQuiet()
      })
      return
    }
    if (this.#small !== undefined && this.#small.head.bodyBytes === undefined) this.#streamSmall(this.#small)
    this.#encoder?.quiet()
    // Also the head, when its body takes its time: server-sent events begin with nothing.
    if (this.#over || this.#client.flush() || this.#upstreamPaused || this.#turn?.keeps === true) return
    if (this.#encoder !== undefined) return
    this.#upstreamPaused = true
    this.#connection?.pause()
  }

  onEnd(trailers: readonly string[]): void {
    this.#connection = undefined
    if (!this.#failing) this.#group!.outliers.succeeded(this.#upstream!)
    if (this.#over) return
    const held = this.#heldResponse
    if (held === undefined) this.#sendEnd(trailers)
    else {
      held.trailers = trailers
      this.#inspectHeld(held, false)
    }
  }

  #sendEnd(trailers: readonly string[]): void {
    this.#turn?.complete(performance.now())
    if (this.#small !== undefined) this.#sendSmall(this.#small, trailers.length > 0)
    if (this.#encoder !== undefined) {
      this.#trailers = trailers
      this.#encoder.end()
      return
    }
    this.#client.end(keptTrailers(trailers), this.#finish(this.#upstreamStatus!, undefined))
  }

  onUpgrade(head: ResponseHead, upstream: Wire, rest: Buffer): void {
    this.#connection = undefined
    if (this.#over) {
      upstream.destroy()
      return
    }
    this.#upstreamStatus = head.status
    this.#upstreamHeadMs = performance.now() - this.#upstreamStartMs
    this.#group!.outliers.succeeded(this.#upstream!)
    const ends = { wire: upstream, rest, source: this.#source, standing: this.#lasting() }
    const [rewritten, own] = [this.#rewritten(head), this.#ownFields()]
    this.#sends(rewritten.rawHeaders, own)
    this.#client.switchProtocols(rewritten, own, ends, this.#environment!.nowMs)
    this.#finish(101, undefined)
  }

  onFailure(error: AnyProxyError): void {
    this.#connection = undefined
    if (this.#over) return
    const stale = error instanceof UpstreamBroken && error.stale && !this.#retriedStale
    const hedged = this.#hedge?.connection !== undefined
    if (stale && !hedged && !this.#streamed && IDEMPOTENT.has(this.#head!.method)) {
      this.#retriedStale = true
      this.#endHedge()
      if (this.#mayResend()) {
        this.#tryUpstream(true)
        return
      }
    } else if (this.#goesOn(error)) return
    this.#context.counters.upstreamErrors++
    this.#context.log('warn', `upstream ${this.#upstream!.url}: request ${this.#requestId}: ${error.message}`)
    if (!this.#answered && this.#sentStale()) return
    if (this.#answered) {
      this.#cutShort(this.#upstreamStatus!, error.code)
    } else this.#refuse(error.code === 'PROXY_UPSTREAM_TIMEOUT' ? 504 : 502, error.code)
  }

  onReclaimed(): void {
    this.#cutShort(this.#upstreamStatus ?? 499, 'the client reads too slowly, and others wait for the upstream')
  }

  /** The upstream has failed. Returns whether another answers in its place. */
  #goesOn(error: AnyProxyError): boolean {
    if (!this.#failing) this.#group!.outliers.failed(this.#upstream!, error.message)
    if (this.#upstreamStatus !== undefined) return false
    const hedge = this.#hedge
    if (hedge?.connection !== undefined) {
      this.#adopt(hedge)
      return true
    }
    this.#endHedge()
    return (error instanceof UpstreamBroken || this.#hurried) && this.#repeat(undefined)
  }

  // To the client.

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
    this.#answered = true
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
    this.#dropUpstream()
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
        code: codeOf(this.#judgement?.decision),
      })
    const fields = [...headers, ...this.#client.listener.ownFields, ...this.#explanation()]
    this.#answered = true
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

  /** Part of the response is out: only cutting the connection tells the client that it is not whole. */
  #cutShort(status: number, error: string): void {
    if (this.#over) return
    this.#dropUpstream()
    this.#finish(status, error)
    this.#client.destroy()
  }

  #refuseMalformed(status: number, why: string): void {
    this.#context.counters.malformed++
    this.#judgement = this.#ownJudgement('deny', status, `malformed: ${why}`)
    this.#refuse(status, undefined)
  }

  #ownJudgement(outcome: 'allow' | 'deny', status: number, reason: string): Judgement {
    const decision = this.#ownDecision(outcome, status, 'none', reason)
    return {
      route: this.#judgement?.route,
      decision,
      bodyBytesWanted: 0,
      login: undefined,
      api: undefined,
      responseWanted: false,
      responseBytesWanted: 0,
    }
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

  // The rest.

  #dropUpstream(): void {
    this.#endHedge()
    const connection = this.#connection
    this.#connection = undefined
    connection?.abandon()
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

  #ownDecision(outcome: 'allow' | 'deny', status: number, check: Decision['check'], reason: string): Decision {
    const environment = this.#environment
    const height = environment?.view.height ?? 0
    const viewAgeMs = environment?.certifiedAtMs === undefined ? 0 : Math.max(0, environment.nowMs - environment.certifiedAtMs)
    const rest = {
      rule: undefined,
      stale: false,
      provisional: false,
      retryAfterS: undefined,
      matches: [],
      wafScore: 0,
      shadowOutcome: outcome,
    }
    return { outcome, status, check, reason, height, viewAgeMs, ...rest }
  }

  /** Counts and records the request, once. Returns the time, monotonic milliseconds. */
  #finish(status: number, error: string | undefined): number {
    const endMs = performance.now()
    if (this.#over) return endMs
    this.#over = true
    this.#heldResponse?.stop()
    clearTimeout(this.#turnTimer)
    this.#turn?.stop(endMs)
    this.#encoder?.destroy()
    if (this.#judgement?.responseWanted === true) this.#context.options.guard.end(this.#judgement)
    this.#tellCost(endMs)
    if (this.#lent !== undefined) this.#context.options.guard.release(this.#lent)
    const { counters, options, sources, standing } = this.#context
    counters.activeRequests--
    standing.delete(this)
    if (this.#source !== this.#client.address) sources.delete(this.#source, this)
    const decision = this.#judgement?.decision ?? this.#ownDecision('deny', status, 'none', 'never judged')
    if (decision.outcome === 'allow') counters.allowed++
    else if (decision.outcome === 'throttle') counters.throttled++
    else if (decision.outcome === 'challenge') counters.challenged++
    else counters.denied++
    const route = this.#judgement?.route
    options.recorder.observeRequest({
      outcome: decision.outcome,
      check: decision.check,
      stale: decision.stale,
      service: route?.service.name,
      guardUs: this.#guardMs * 1_000,
      totalUs: (endMs - this.startMs) * 1_000,
      upstreamUs: this.#upstreamStatus === undefined ? undefined : this.#upstreamHeadMs * 1_000,
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

  /** Nothing of it holds the request's text. */
  #observed(decision: Decision, status: number, endMs: number, error: string | undefined): Observed {
    const { options } = this.#context
    const route = this.#judgement?.route
    const upstream = this.#upstream
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
      upstream:
        upstream === undefined || this.#upstreamSpan === undefined
          ? undefined
          : {
              spanId: this.#upstreamSpan.spanId,
              host: upstream.host,
              port: upstream.port,
              startMs: this.#upstreamStartMs,
              status: this.#upstreamStatus,
            },
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

interface SmallAnswer {
  readonly head: ResponseHead
  readonly own: readonly string[]
  readonly form: Compressing
  readonly body: HeldBody
}

function maybeSmall({ bodyBytes }: ResponseHead): boolean {
  return bodyBytes === undefined || (bodyBytes > 0 && bodyBytes <= SMALL_BYTES_MAX)
}

/** What a client may know of why: the ring's own state, and what its user is to mend. */
function codeOf(decision: Decision | undefined): string | undefined {
  if (decision?.check === 'staleness') return 'view-stale'
  if (decision?.outcome !== 'deny') return undefined
  if (decision.rule === 'people:login') return 'login-required'
  return decision.rule === 'password:breached' ? 'password-breached' : undefined
}

/** Is there something that may change while it is under way? Another policy may ask for more of any service. */
function isReviewed({ route }: Judgement): boolean {
  return route !== undefined
}
