/**
 * One request from its head to the end of its response. Its way, stage by stage:
 *
 * | stage                                                    | where                                                |
 * | -------------------------------------------------------- | ---------------------------------------------------- |
 * | the head is read strictly                                | `request-head.ts`, before the exchange begins        |
 * | answers that need no judging: ACME, redirects            | `#answersUnjudged`                                   |
 * | source settled, shed under overload, guard on the head   | `#judgeHead`, `source-address.ts`, `shedding.ts`     |
 * | as much of the body as the guard wants, guard on that    | `#collectBody`, `#judgeBody`, `held-body.ts`         |
 * | refused: a status, a challenge, a page to log in         | `exchange-end.ts`, `refusal.ts`, `challenge-page.ts` |
 * | allowed: a page of ours, the cache, or the upstream      | `#decided`, `people.ts`, `response-cache.ts`         |
 * | asked of an upstream, perhaps of another, or of a second | `upstream-request.ts`                                |
 * | guard on the response, where rules ask for it            | `exchange-response.ts`, `held-response.ts`           |
 * | sent, perhaps compressed, or from the cache              | `compressed-delivery.ts`, `cached-delivery.ts`       |
 * | counted, reported and recorded, once                     | `exchange-end.ts`, `reports.ts`, `recording.ts`      |
 *
 * What the guard has not allowed never reaches an upstream, not a byte of it.
 */
import { type Guard, type GuardRequest, type Judgement, sourceKey } from '@ringwall/guard'
import type { RewritePolicy } from '@ringwall/ring'
import type { RequestFault } from './errors.ts'
import { isReviewed } from './exchange-end.ts'
import { ExchangeResponse, OVERLOADED_RETRY_AFTER_S } from './exchange-response.ts'
import { requestHeadText } from './forward-head.ts'
import { detached } from './header-names.ts'
import { HeldBody } from './held-body.ts'
import { JudgedRequest } from './judged-request.ts'
import { ownJudgement } from './own-decision.ts'
import { type PersonFields, personFields, sessionCookieText } from './people.ts'
import type { RequestHead } from './request-head.ts'
import type { ResponseHead } from './response-parser.ts'
import { rewritingOf, rewrittenTarget } from './rewriting.ts'
import { sourceOf } from './source-address.ts'
import type { TraceContext } from './types.ts'
import { UpstreamRequest, type UpstreamRequestOwner } from './upstream-request.ts'
import type { Wire } from './wire.ts'

const EMPTY = new Uint8Array(0)

const TUNNELS_ARE_MANY = 'too many tunnels'
const SOURCE_HAS_MANY = 'too many tunnels of this source'

export class Exchange extends ExchangeResponse implements UpstreamRequestOwner {
  #chain = ''
  /** Body held so far, to be judged and then sent. */
  #held: HeldBody | undefined
  #bodyWanted = 0
  #target: string | undefined

  start(): void {
    const { head } = this.request
    if ('refused' in head) {
      this.refuseMalformed(head.status, head.refused)
      return
    }
    this.head = head
    if (!this.#answersUnjudged(head)) this.#judgeHead(head)
  }

  /** Returns whether this is nothing to be judged, and has been answered. */
  #answersUnjudged(head: RequestHead): boolean {
    const { secure, options } = this.client.listener
    const proof = secure ? undefined : this.context.acme.text(head.host, head.target)
    if (proof !== undefined && (head.method === 'GET' || head.method === 'HEAD')) {
      this.showProof(head, proof)
      return true
    }
    if (options.redirectToTls !== undefined) {
      this.redirect(head, options.redirectToTls)
      return true
    }
    if (head.upgrade && this.#isFullOfTunnels) {
      this.refuse(503, TUNNELS_ARE_MANY, OVERLOADED_RETRY_AFTER_S)
      return true
    }
    return false
  }

  get #isFullOfTunnels(): boolean {
    return this.context.counters.activeTunnels >= this.context.limits.tunnelsMax
  }

  /** One source must not take the tunnels of all. A trusted proxy that does not say for whom it asks is many. */
  get #hasTooManyTunnels(): boolean {
    const { tunnels, limits, isTrustedProxy } = this.context
    if (tunnels.count(this.source) < limits.tunnelsPerSourceMax) return false
    return !isTrustedProxy(this.environment!.view.policy, this.source)
  }

  // Judged.

  #judgeHead(head: RequestHead): void {
    const { options, pools, cache, shedding } = this.context
    let judging: Judgement | Promise<Judgement>
    try {
      const environment = options.environment()
      this.environment = environment
      const { policy } = environment.view
      pools.follow(environment.view)
      cache.follow(policy)
      this.#settleSource(head, (address) => this.context.isTrustedProxy(policy, address))
      const source = sourceKey(this.source)
      const isShed = !shedding.admits(source)
      options.meter?.asked(source, this.client.ja4, isShed, this.client.insists)
      if (isShed) {
        this.#shed()
        return
      }
      if (head.upgrade && this.#hasTooManyTunnels) {
        this.judged = this.ownJudgement('deny', 503, SOURCE_HAS_MANY)
        this.refuse(503, undefined, OVERLOADED_RETRY_AFTER_S)
        return
      }
      this.#beginTrace(head)
      this.guardStartMs = this.startMs
      judging = options.guard.head(this.#guardRequest(head), environment)
    } catch (error) {
      this.guardFailed(error)
      return
    }
    if (judging instanceof Promise) {
      judging
        .then(
          (judgement) => {
            this.#borrow(judgement)
            this.#headJudged(this.#again(judgement))
          },
          (error: unknown) => this.guardFailed(error),
        )
        .catch((error: Error) => this.failed(error))
    } else {
      this.#borrow(judging)
      this.#headJudged(judging)
    }
  }

  #settleSource(head: RequestHead, trusted: (address: string) => boolean): void {
    const peer = this.client.address
    const { address, chain } = sourceOf(peer, head.forwardedFor, trusted)
    this.source = address
    this.#chain = chain === undefined ? address : `${chain}, ${peer}`
    if (address === peer) return
    // Connections are cut by their own address; requests that a proxy forwards, by what it says.
    this.context.sources.add(address, this)
    if (head.forwardedProto === 'https' || head.forwardedProto === 'http') this.proto = head.forwardedProto
  }

  /** The source asks most, and there is too little time for all. */
  #shed(): void {
    this.context.counters.shed++
    this.judged = this.ownJudgement('deny', 503, 'shed: this source asks most while the node is overloaded')
    if (this.source === this.client.address && this.context.shedding.rests) this.client.rest()
    this.refuse(503, undefined, OVERLOADED_RETRY_AFTER_S)
  }

  #beginTrace(head: RequestHead): void {
    const { recorder } = this.context.options
    const parent = recorder.parseTraceparent(head.traceparent, head.tracestate)
    this.parentSpanId = parent?.spanId
    this.span = parent === undefined ? recorder.newTrace() : recorder.childOf(parent)
  }

  #guardRequest(head: RequestHead): GuardRequest {
    const { bounds } = this.context.shedding
    return new JudgedRequest(this.request, head, this.source, this.requestId, this.client, bounds, this.proto === 'https')
  }

  #borrow(judgement: Judgement): void {
    // Its client may have left while it was judged.
    if (this.over) this.context.options.guard.release(judgement)
    else this.lent = judgement
  }

  /** A token that was denied while it was verified: nothing was open yet that could have been cut. */
  #again(judgement: Judgement): Judgement {
    if (judgement.decision !== undefined || !isReviewed(judgement)) return judgement
    const { guard, environment } = this.context.options
    const decision = guard.review(judgement, environment())
    return decision === undefined ? judgement : ownJudgement(judgement.route, decision)
  }

  #headJudged(judgement: Judgement): void {
    if (this.over) return
    this.judged = judgement
    if (judgement.decision !== undefined) {
      this.guardMs = performance.now() - this.guardStartMs
      this.#decided(judgement)
      return
    }
    if (isReviewed(judgement)) this.context.standing.add(this)
    const { contentLength } = this.head!
    this.#bodyWanted = judgement.bodyBytesWanted
    if (this.#bodyWanted <= 0 || contentLength === 0 || this.head!.upgrade) this.#judgeBody(EMPTY, false, this.guardStartMs)
    else {
      this.guardMs = performance.now() - this.guardStartMs
      this.#collectBody()
    }
  }

  #collectBody(): void {
    this.judging = true
    this.#held = new HeldBody()
    this.#continue()
    this.client.takeBody(this.context.limits.inspectedBodyMsMax)
  }

  #continue(): void {
    if (!this.head!.continueWanted) return
    this.continued = true
    this.client.sayContinue()
  }

  onRequestBody(bytes: Buffer): void {
    if (!this.judging) {
      // Answered already: the rest is read away.
      if (this.upstream?.write(bytes) === false) this.client.pauseBody()
      return
    }
    const held = this.#held!
    const declared = this.head!.contentLength
    held.add(bytes, declared ?? Number.POSITIVE_INFINITY)
    // One byte past the limit proves that there is more; a declared length says so by itself.
    const enough = declared !== undefined && declared > this.#bodyWanted ? this.#bodyWanted : this.#bodyWanted + 1
    if (held.length < enough) return
    this.client.pauseBody()
    this.#bodyHeld(true)
  }

  /** Trailers of requests are not passed on: the guard has not seen them. */
  onRequestEnd(): void {
    if (this.judging) this.#bodyHeld(false)
    else this.upstream?.complete()
  }

  #bodyHeld(truncated: boolean): void {
    this.judging = false
    if (this.over) return
    const { bytes } = this.#held!
    this.#judgeBody(truncated ? bytes.subarray(0, this.#bodyWanted) : bytes, truncated, performance.now())
  }

  /** @param startMs Since when the guard has been at it: waiting for the body is not counted. */
  #judgeBody(body: Uint8Array, truncated: boolean, startMs: number): void {
    let slice: ReturnType<Guard['bodyInSlices']>
    try {
      slice = this.context.options.guard.bodyInSlices(this.judged!, body, truncated, this.environment!)
    } catch (error) {
      this.guardFailed(error)
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
      this.guardFailed(error)
      return
    }
    this.guardMs += performance.now() - startMs
    if (judgement === undefined || judgement instanceof Promise) {
      const goOn = (): void => {
        if (this.over) return
        try {
          this.#judgeSlice(slice, performance.now())
        } catch (error) {
          this.failed(error as Error)
        }
      }
      if (judgement === undefined) setImmediate(goOn)
      else void judgement.then(goOn, (error: unknown) => this.guardFailed(error))
      return
    }
    this.judged = judgement
    if (judgement.decision === undefined) this.guardFailed(new Error('the guard left the request undecided'))
    else this.#decided(judgement)
  }

  // Decided.

  #decided({ decision, route, portal }: Judgement): void {
    if (decision!.outcome !== 'allow') {
      this.refuse(decision!.status, undefined, decision!.retryAfterS)
      return
    }
    if (portal === true) {
      this.#askPortal()
      return
    }
    this.#renewSession()
    this.group = route === undefined ? undefined : this.context.pools.group(route.service.name)
    if (this.group === undefined) {
      this.refuse(502, 'no upstream for this service')
      return
    }
    const rewrite = route!.route?.rewrite ?? route!.service.rewrite
    if (rewrite !== undefined && !this.#rewrite(rewrite)) return
    const cache = route!.route?.cache ?? route!.service.cache
    if (cache !== undefined && this.takesTurn(cache)) this.askCache()
    else this.toUpstream()
  }

  /** Returns whether the request may go on; one that may not has been refused. */
  #rewrite(policy: RewritePolicy): boolean {
    const rewriting = rewritingOf(policy)
    this.rewriting = rewriting
    if (rewriting.path === undefined) return true
    const { target, path } = this.head!
    this.#target = rewrittenTarget(rewriting.path, target, path)
    if (this.#target !== undefined) return true
    this.refuseMalformed(400, 'a path that is to be rewritten and can be read in two ways')
    return false
  }

  /** A page of ours: nothing of it is for the upstream. */
  #askPortal(): void {
    const { portal } = this.context.options
    const head = this.head!
    if (portal === undefined) {
      this.refuse(404, undefined)
      return
    }
    const request = {
      service: this.judged!.route!.service.name,
      method: head.method,
      target: detached(head.target),
      authority: detached(head.authority),
      host: detached(head.host),
      secure: this.proto === 'https',
      headers: this.#guardRequest(head).headers.map(([name, value]) => [detached(name), detached(value)] as const),
      body: Uint8Array.from(this.#held?.bytes ?? EMPTY),
      source: this.source,
      requestId: this.requestId,
    }
    portal
      .answer(request)
      .then(({ status, headers, body }) => {
        if (this.over) return
        const own = ['x-request-id', this.requestId, ...this.client.listener.ownFields, ...this.explanation()]
        const fields = [...headers, 'content-length', String(body.length), ...own]
        this.answered = true
        this.tellLogin(status)
        this.sends(fields)
        const answer = { status, fields, body: head.method === 'HEAD' ? '' : body, continued: this.continued }
        this.client.refuse(answer, head, () => this.finish(status, undefined))
      })
      .catch((error: Error) => {
        this.context.log('warn', `request ${this.requestId}: ${error.message}`)
        this.refuse(503, 'the page cannot be made now')
      })
  }

  /** While the upstream works: whatever is there when it answers goes to the client, else with the next request. */
  #renewSession(): void {
    const { session } = this.judged!
    const { portal } = this.context.options
    if (session?.isHalfOver !== true || portal === undefined) return
    portal.renew(session.token).then(
      (renewed) => {
        if (renewed !== undefined) this.renewed = sessionCookieText(renewed, this.proto === 'https')
      },
      () => {},
    )
  }

  // The upstream.

  protected toUpstream(): void {
    const { service } = this.judged!.route!
    const held = this.#held
    this.#held = undefined
    const upstream = new UpstreamRequest(this.context, this, this.group!, service, this.head!, this.span!, held)
    this.upstream = upstream
    upstream.start(this.request.rawHeaders, this.startMs)
  }

  get requestComplete(): boolean {
    return this.client.requestComplete
  }

  headText(span: TraceContext, bodyBytes: number | undefined): string {
    const { recorder } = this.context.options
    const head = this.head!
    return requestHeadText({
      head,
      target: this.#target ?? head.target,
      host: this.rewriting?.host ?? head.authority,
      rewriting: this.turn === undefined ? this.rewriting?.request : this.turn.changes(this.rewriting?.request),
      rawHeaders: this.request.rawHeaders,
      section: this.request.section,
      bodyBytes,
      source: this.source,
      chain: this.#chain,
      proto: this.proto,
      requestId: this.requestId,
      traceparent: recorder.formatTraceparent(span),
      tracestate: span.traceState,
      breached: this.judged!.breached === true,
      person: this.#personFields(),
      peer: this.judged!.peer,
    })
  }

  /** What the upstream is told of who is logged in; undefined where nobody can be. */
  #personFields(): PersonFields | undefined {
    const { people } = this.judged!.route!.service
    if (people === undefined) return undefined
    const { credential, session } = this.judged!
    const claims = session === undefined ? undefined : (credential as { claims?: Readonly<Record<string, unknown>> }).claims
    return personFields(people, claims, credential?.subject, this.request.rawHeaders)
  }

  onBodyWanted(isBegun: boolean, room: boolean): void {
    if (!isBegun) {
      this.#continue()
      this.client.takeBody(this.context.limits.requestMsMax)
      return
    }
    this.client.extendBody()
    if (room) this.client.resumeBody()
  }

  onUpstreamDrain(): void {
    this.client.resumeBody()
  }

  /** Others may have been opened since this one was asked for. */
  override onUpgrade(head: ResponseHead, upstream: Wire, rest: Buffer): void {
    const why = this.#isFullOfTunnels ? TUNNELS_ARE_MANY : this.#hasTooManyTunnels ? SOURCE_HAS_MANY : undefined
    if (why === undefined) {
      super.onUpgrade(head, upstream, rest)
      return
    }
    upstream.destroy()
    this.refuse(503, why, OVERLOADED_RETRY_AFTER_S)
  }

  onRequestFault({ status, message }: RequestFault): void {
    if (this.answered) this.cutShort(this.upstream!.status ?? status, message)
    else if (status === 400) this.refuseMalformed(status, message)
    else this.refuse(status, message)
  }
}
