/**
 * An allowed request on its way to the upstreams of its service: which of them is asked, again when one fails, and a second one when
 * the first takes long. What comes back of the one that counts goes to the owner.
 */
import type { ServicePolicy } from '@ringwall/ring'
import type { Context } from './context.ts'
import { type AnyProxyError, RequestFault, UpstreamBroken, type UpstreamFull, type UpstreamUnreachable } from './errors.ts'
import type { HeldBody } from './held-body.ts'
import type { Observed } from './recording.ts'
import type { RequestHead } from './request-head.ts'
import type { ResponseHead } from './response-parser.ts'
import type { TraceContext } from './types.ts'
import type { ConnectionWaiter, Upstream } from './upstream.ts'
import type { ResponseListener, Sending, UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamGroup } from './upstream-group.ts'
import { HEDGED, Hedge, type HedgeOwner } from './upstream-hedge.ts'
import { MIRROR_FIELD } from './upstream-mirror.ts'
import type { Wire } from './wire.ts'

/** May be sent twice (RFC 9110 section 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** Whose request it is. */
export interface UpstreamRequestOwner {
  readonly source: string
  /** Whether nobody waits for the answer any more. */
  readonly cancelled: boolean
  /** Whether an answer to the client has begun. */
  readonly answered: boolean
  /** Whether the request has been read whole. */
  readonly requestComplete: boolean
  /** The header section as the upstream gets it. @param bodyBytes Undefined: chunked. */
  headText(span: TraceContext, bodyBytes: number | undefined): string
  /** The rest of the body is to come. @param isBegun Part of it has been held and sent. @param room The upstream takes more now. */
  onBodyWanted(isBegun: boolean, room: boolean): void
  /** The upstream takes more of the body, after `write` said that it does not. */
  onUpstreamDrain(): void
  /** Returns whether it is passed on. */
  onInterim(head: ResponseHead): boolean
  /** The response that counts has begun. @param nowMs Monotonic milliseconds. */
  onHead(head: ResponseHead, nowMs: number): void
  onBody(bytes: Buffer): void
  /** All that has arrived is handed over, and more is due. */
  onQuiet(): void
  onEnd(trailers: readonly string[]): void
  onUpgrade(head: ResponseHead, upstream: Wire, rest: Buffer): void
  /** No upstream was left to ask. @param full Because they have no room. */
  onUnsent(full: boolean): void
  onUpstreamFailure(error: AnyProxyError, url: string): void
  /** It is the request that could not be sent, or not to its end. */
  onRequestFault(fault: RequestFault): void
  /** Others wait for the connection, which has been held up for long. */
  onReclaimed(): void
}

export class UpstreamRequest implements ConnectionWaiter, ResponseListener, HedgeOwner {
  readonly source: string
  readonly #context: Context
  readonly #owner: UpstreamRequestOwner
  readonly #group: UpstreamGroup
  readonly #service: ServicePolicy
  readonly #head: RequestHead
  /** Of the exchange: that of each attempt is its child. */
  readonly #parentSpan: TraceContext
  /** Body held so far: undefined once more of it was sent as it came. */
  #held: HeldBody | undefined
  /** Part of the body has been sent on as it came: it cannot be sent twice. */
  #streamed = false
  #upstream: Upstream | undefined
  #tried: Upstream[] | undefined
  /** Those that cannot carry it: WebSockets go over HTTP/1.1 alone. */
  #unable: readonly Upstream[] | undefined
  /** The upstream that the client was given before. */
  #wanted: Upstream | undefined
  #retriedStale = false
  /** The upstream tried last had no room. */
  #full = false
  #connection: UpstreamConnection | undefined
  #span: TraceContext | undefined
  #sentAtMs = 0
  /** Its head is due within `perTryTimeout`. */
  #hurried = false
  #hedge: Hedge | undefined
  #hedgeTimer: NodeJS.Timeout | undefined
  #mirrored = false
  /** An interim response has been passed on. */
  #interim = false
  /** Its status counts as a failure of the upstream. */
  #failing = false
  /** Of the response that counts. */
  status: number | undefined
  /** How long its head took, milliseconds. */
  headMs = 0

  /** @param held What there is of the body; undefined: nothing was held. */
  constructor(
    context: Context,
    owner: UpstreamRequestOwner,
    group: UpstreamGroup,
    service: ServicePolicy,
    head: RequestHead,
    span: TraceContext,
    held: HeldBody | undefined,
  ) {
    this.#context = context
    this.#owner = owner
    this.#group = group
    this.#service = service
    this.#head = head
    this.#parentSpan = span
    this.#held = held
    this.source = owner.source
  }

  get cancelled(): boolean {
    return this.#owner.cancelled
  }

  /** @param rawHeaders Of the request. @param nowMs Monotonic milliseconds. */
  start(rawHeaders: readonly string[], nowMs: number): void {
    this.#group.budget.request(nowMs)
    this.#wanted = this.#group.sticky?.wanted(rawHeaders)
    if (this.#head.upgrade && !this.#mayUpgrade()) return
    this.#try(false)
  }

  /** Returns whether there is an upstream that a WebSocket can go to; otherwise its client has been told. */
  #mayUpgrade(): boolean {
    const { members } = this.#group
    const unable = members.filter(({ terms }) => terms.http2)
    if (unable.length === 0) return true
    this.#unable = unable
    if (unable.length < members.length) return true
    this.#owner.onRequestFault(new RequestFault(501, 'WebSockets go to upstreams over HTTP/1.1'))
    return false
  }

  /** The value of Set-Cookie that keeps the client on the upstream that answered; undefined: it is on it, or need not be. */
  stickyCookie(secure: boolean): string | undefined {
    const { sticky } = this.#group
    return sticky === undefined || this.#upstream === this.#wanted ? undefined : sticky.cookie(this.#upstream!, secure)
  }

  /** For the record; undefined: it was never sent. */
  get observed(): Observed['upstream'] {
    const upstream = this.#upstream
    if (upstream === undefined || this.#span === undefined) return undefined
    return {
      spanId: this.#span.spanId,
      host: upstream.host,
      port: upstream.port,
      startMs: this.#sentAtMs,
      status: this.status,
    }
  }

  // The request's body, and the flow of the response's.

  /** Returns whether there is room for more; what comes when all is answered is read away. */
  write(bytes: Buffer): boolean {
    return this.#connection?.write(bytes, this.#head.contentLength === undefined) ?? true
  }

  /** The request's body has come whole. */
  complete(): void {
    this.#connection?.complete(this.#head.contentLength === undefined)
  }

  pause(): void {
    this.#connection?.pause()
  }

  resume(): void {
    this.#connection?.resume()
  }

  // Which upstream, and again.

  /** @param fresh Once more the one that was asked, on a connection of its own. */
  #try(fresh: boolean): void {
    const tries = this.#tried?.length ?? 0
    const more = tries <= this.#service.retries.attempts
    const upstream = fresh ? this.#upstream! : more ? this.#group.pick(this.#passedOver, this.#wanted) : 'none'
    if (typeof upstream === 'string') {
      this.#owner.onUnsent(upstream === 'full' || this.#full)
      return
    }
    this.#upstream = upstream
    upstream.acquire(this, fresh)
  }

  onUnreachable(error: UpstreamUnreachable | UpstreamFull): void {
    if (this.#owner.cancelled) return
    this.#full = error.code === 'PROXY_UPSTREAM_FULL'
    this.#giveUp()
    // Overload is counted: a line for each request would add to it.
    if (!this.#full) this.#context.log('warn', `upstream ${this.#upstream!.url}: ${error.message}`)
    this.#try(false)
  }

  #giveUp(): void {
    ;(this.#tried ??= []).push(this.#upstream!)
  }

  get #passedOver(): readonly Upstream[] | undefined {
    if (this.#unable === undefined) return this.#tried
    return this.#tried === undefined ? this.#unable : [...this.#unable, ...this.#tried]
  }

  /** Another than those that were asked. */
  #another(): ReturnType<UpstreamGroup['pick']> {
    return this.#group.pick(this.#tried === undefined ? [this.#upstream!] : [...this.#tried, this.#upstream!])
  }

  /** Whether the request may be sent once more, were there another upstream: nothing of an answer is out, all of it is held. */
  #repeatable(): boolean {
    const { method, upgrade } = this.#head
    return (
      (this.#tried?.length ?? 0) < this.#service.retries.attempts &&
      !this.#streamed &&
      !this.#owner.answered &&
      !this.#interim &&
      !upgrade &&
      IDEMPOTENT.has(method)
    )
  }

  #mayResend(): boolean {
    const { budget, counts } = this.#group
    const may = budget.take(performance.now())
    if (may) counts.retries++
    else counts.retriesRefused++
    return may
  }

  /** @param answer A response that is given up for another. Returns whether the request goes to another upstream. */
  #repeat(answer: ResponseHead | undefined): boolean {
    if (!this.#repeatable()) return false
    const next = this.#another()
    // An answer that is bad is better than none: it is given up for an upstream that is fit.
    if (typeof next === 'string' || (answer !== undefined && !next.healthy)) return false
    if (!this.#mayResend()) return false
    if (answer !== undefined) this.#connection?.discard(answer)
    this.#connection = undefined
    this.#giveUp()
    this.#upstream = next
    next.acquire(this)
    return true
  }

  // Sent.

  onConnection(connection: UpstreamConnection): void {
    const head = this.#head
    this.#connection = connection
    this.#sentAtMs = performance.now()
    const span = this.#context.options.recorder.childOf(this.#parentSpan)
    this.#span = span
    const complete = this.#owner.requestComplete
    const held = this.#held
    const text = this.#owner.headText(span, complete ? (held?.length ?? 0) : head.contentLength)
    const body = held === undefined || held.length === 0 ? undefined : held.bytes
    const chunked = !complete && head.contentLength === undefined
    const { upstreamTimeout, retries } = this.#service
    const perTryMs = complete ? retries.perTryTimeout : undefined
    this.#hurried = perTryMs !== undefined && this.#group.members.length > (this.#tried?.length ?? 0) + 1 && this.#repeatable()
    const timeoutMs = this.#hurried ? perTryMs! : upstreamTimeout
    const sending = { method: head.method, complete, upgrade: head.upgrade, chunked, timeoutMs }
    this.#upstream!.requests++
    const room = connection.send(this, text, body, sending, this.#sentAtMs)
    if (complete) {
      this.#mirror(text, body)
      if (this.#group.hedgeDelay !== undefined) this.#hedgeLater(text, body, { ...sending, timeoutMs: upstreamTimeout })
      return
    }
    this.#streamed = true
    this.#held = undefined
    this.#owner.onBodyWanted(held !== undefined, room)
  }

  /** Once, however often it is sent. */
  #mirror(text: string, body: Buffer | undefined): void {
    const { mirror } = this.#group
    if (mirror !== undefined && !this.#head.upgrade && !this.#mirrored && mirror.wants()) {
      mirror.copy(this.#head.method, `${text.slice(0, -2)}${MIRROR_FIELD}\r\n`, body)
    }
    this.#mirrored = true
  }

  onDrain(): void {
    if (this.#streamed && this.#connection !== undefined) this.#owner.onUpstreamDrain()
  }

  /** Nothing of the response is wanted any more. */
  drop(): void {
    this.#endHedge()
    const connection = this.#connection
    this.#connection = undefined
    connection?.abandon()
  }

  /** Something else stands in for the response that has begun. */
  discard(head: ResponseHead): void {
    this.#connection?.discard(head)
    this.#connection = undefined
    this.#succeeded()
  }

  /** Asks once more, after `discard`. */
  again(): void {
    this.status = undefined
    this.#try(false)
  }

  // A second upstream.

  #hedgeLater(text: string, body: Buffer | undefined, sending: Sending): void {
    const delayMs = this.#group.hedgeDelay!.ms
    // A client that is kept on an upstream would leave it because of one slow answer.
    if (delayMs === undefined || delayMs >= sending.timeoutMs || this.#wanted === this.#upstream) return
    if (sending.upgrade || !HEDGED.has(sending.method)) return
    this.#hedgeTimer = setTimeout(() => {
      if (this.#owner.cancelled || this.#interim || this.#connection === undefined || this.status !== undefined) return
      const next = this.#another()
      if (typeof next === 'string' || !next.healthy) return
      const { budget, counts } = this.#group
      if (!budget.take(performance.now())) {
        counts.retriesRefused++
        return
      }
      counts.hedges++
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
    const group = this.#group
    if (group.outliers.isFailure(head.status)) {
      group.outliers.failed(hedge.upstream, `answers ${head.status}`)
      return false
    }
    const nowMs = performance.now()
    group.counts.hedgesWon++
    group.hedgeDelay?.observe(nowMs - this.#sentAtMs, nowMs)
    this.#upstream!.late(nowMs - this.#sentAtMs, nowMs)
    this.#connection?.abandon()
    this.#adopt(hedge)
    this.#begun(head, nowMs)
    return true
  }

  onHedgeFailed({ upstream }: Hedge, why: string | undefined): void {
    this.#hedge = undefined
    if (why !== undefined) this.#group.outliers.failed(upstream, why)
  }

  /** The second upstream's answer is the one that counts. */
  #adopt(hedge: Hedge): void {
    this.#giveUp()
    this.#sentAtMs = hedge.sentAtMs
    this.#upstream = hedge.upstream
    this.#connection = hedge.handTo(this)
    this.#hurried = false
    this.#hedge = undefined
  }

  // What comes back.

  onInterim(head: ResponseHead): void {
    if (!this.#owner.onInterim(head)) return
    this.#interim = true
    this.#endHedge()
  }

  onHead(head: ResponseHead): void {
    if (this.#owner.cancelled) return
    const nowMs = performance.now()
    this.#group.hedgeDelay?.observe(nowMs - this.#sentAtMs, nowMs)
    this.#begun(head, nowMs)
  }

  /** The response that counts has begun, unless it is one to ask another upstream for. */
  #begun(head: ResponseHead, nowMs: number): void {
    this.#endHedge()
    this.headMs = nowMs - this.#sentAtMs
    this.#upstream!.answered(this.headMs, nowMs)
    if (head.status >= 500) {
      const { outliers } = this.#group
      this.#failing = outliers.isFailure(head.status)
      if (this.#failing) outliers.failed(this.#upstream!, `answers ${head.status}`)
      if ((this.#service.retries.statuses as readonly number[]).includes(head.status) && this.#repeat(head)) {
        this.#failing = false
        return
      }
    }
    this.status = head.status
    if (this.#hurried) this.#connection?.limitSilence(this.#service.upstreamTimeout)
    this.#owner.onHead(head, nowMs)
  }

  onBody(bytes: Buffer): void {
    this.#owner.onBody(bytes)
  }

  onQuiet(): void {
    this.#owner.onQuiet()
  }

  onEnd(trailers: readonly string[]): void {
    this.#connection = undefined
    this.#succeeded()
    this.#owner.onEnd(trailers)
  }

  onUpgrade(head: ResponseHead, upstream: Wire, rest: Buffer): void {
    this.#connection = undefined
    if (this.#owner.cancelled) {
      upstream.destroy()
      return
    }
    this.status = head.status
    this.headMs = performance.now() - this.#sentAtMs
    this.#group.outliers.succeeded(this.#upstream!)
    this.#owner.onUpgrade(head, upstream, rest)
  }

  #succeeded(): void {
    if (!this.#failing) this.#group.outliers.succeeded(this.#upstream!)
  }

  onFailure(error: AnyProxyError): void {
    this.#connection = undefined
    if (this.#owner.cancelled) return
    if (error instanceof RequestFault) {
      this.#endHedge()
      this.#owner.onRequestFault(error)
      return
    }
    const stale = error instanceof UpstreamBroken && error.stale && !this.#retriedStale
    const hedged = this.#hedge?.connection !== undefined
    if (stale && !hedged && !this.#streamed && IDEMPOTENT.has(this.#head.method)) {
      this.#retriedStale = true
      this.#endHedge()
      if (this.#mayResend()) {
        this.#try(true)
        return
      }
    } else if (this.#goesOn(error)) return
    this.#owner.onUpstreamFailure(error, this.#upstream!.url)
  }

  /** The upstream has failed. Returns whether another answers in its place. */
  #goesOn(error: AnyProxyError): boolean {
    if (!this.#failing) this.#group.outliers.failed(this.#upstream!, error.message)
    if (this.status !== undefined) return false
    const hedge = this.#hedge
    if (hedge?.connection !== undefined) {
      this.#adopt(hedge)
      return true
    }
    this.#endHedge()
    return (error instanceof UpstreamBroken || this.#hurried) && this.#repeat(undefined)
  }

  onReclaimed(): void {
    this.#owner.onReclaimed()
  }
}
