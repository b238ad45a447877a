/**
 * What is done with the answer of an upstream, or of the cache in its place: judged where rules ask for it, rewritten, kept, compressed, sent
 * as fast as the client takes it. Part of the exchange, see `exchange.ts`.
 */
import { type GuardEnvironment, type Judgement, PASS_COOKIE } from '@ringwall/guard'
import type { CachePolicy } from '@ringwall/ring'
import { invitesKeeping } from './cache-control.ts'
import { cacheRequest } from './cache-terms.ts'
import { type CachedAnswer, CacheTurn } from './cache-turn.ts'
import { CachedDelivery, packedAnswer, representedHead } from './cached-delivery.ts'
import { CompressedDelivery, type DeliveryOwner } from './compressed-delivery.ts'
import { type Compressing, compressedHead, compressing } from './compression.ts'
import type { AnyProxyError } from './errors.ts'
import { ExchangeEnd } from './exchange-end.ts'
import { headerPairs } from './header-pairs.ts'
import type { HeldBody } from './held-body.ts'
import { HeldResponse, type HeldResponseOwner } from './held-response.ts'
import type { ResponseHead } from './response-parser.ts'
import { type Rewriting, rewrittenFields } from './rewriting.ts'
import { keptTrailers } from './trailers.ts'
import type { UpstreamGroup } from './upstream-group.ts'
import type { Wire } from './wire.ts'

const EMPTY = new Uint8Array(0)

/** What there is methods for that change nothing (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

const PASS_ONLY: readonly string[] = [PASS_COOKIE]

/** What a client is told to wait when there is no room for its request. */
export const OVERLOADED_RETRY_AFTER_S = 1

export abstract class ExchangeResponse extends ExchangeEnd implements HeldResponseOwner, DeliveryOwner {
  protected group: UpstreamGroup | undefined
  protected rewriting: Rewriting | undefined
  protected turn: CacheTurn | undefined
  #turnTimer: NodeJS.Timeout | undefined
  /** The answer that is kept, while it is sent. */
  #cached: CachedDelivery | undefined
  /** The answer, where it is compressed on its way to the client. */
  #compressed: CompressedDelivery | undefined
  /** The response, while its beginning is judged. */
  #heldResponse: HeldResponse | undefined
  #upstreamPaused = false
  /** All has come, and the client has not got it yet. */
  #trailersDue: readonly string[] | undefined

  protected abstract toUpstream(): void

  // The cache.

  /** Returns whether the cache may have a part in this: then its turn has begun. */
  protected takesTurn(policy: CachePolicy): boolean {
    const { cache } = this.context
    if (policy.mode !== 'on' || cache.store.bytesMax <= 0) return false
    const { label, service } = this.judged!.route!
    const head = this.head!
    const { rawHeaders } = this.request
    const { people } = service
    const told = [people?.userHeader, people?.groupsHeader].flatMap((name) => name?.toLowerCase() ?? [])
    const request = cacheRequest(head, rawHeaders, this.proto, this.#isKnown, policy, this.#ownCookies, told)
    if (request === undefined) return false
    const resume = (): void => this.askCache()
    this.turn = new CacheTurn(cache, request, head.method, policy, label, cache.countsOf(service.name), this.startMs, resume)
    return true
  }

  /** Whether the answer may be for this caller alone: it came with a credential, or a certificate of which the upstream is told. */
  get #isKnown(): boolean {
    const { credential, peer } = this.judged!
    return credential !== undefined || peer !== undefined
  }

  /** Cookies that we gave the client ourselves: no answer depends on them. */
  get #ownCookies(): readonly string[] {
    const { sticky } = this.judged!.route!.service
    return sticky === undefined ? PASS_ONLY : [PASS_COOKIE, sticky.cookie]
  }

  /** What is kept may answer; the guard has let the request pass before. */
  protected askCache(): void {
    clearTimeout(this.#turnTimer)
    if (this.over) return
    const step = this.turn!.look(performance.now())
    if (step.kind === 'answer') this.#sendCached(step.answer)
    else if (step.kind === 'unavailable') this.refuse(504, undefined)
    else if (step.kind === 'forward') this.toUpstream()
    else {
      this.#turnTimer = setTimeout(() => {
        if (this.over) return
        this.turn!.hurry()
        this.toUpstream()
      }, step.ms)
    }
  }

  /** In place of what the upstream might say. */
  #sendCached(answer: CachedAnswer): void {
    const { compressor, cache } = this.context
    const form = this.#compressing(representedHead(answer))
    const packed = packedAnswer(answer, form, this.head!.method === 'HEAD', compressor, cache.store)
    if (packed instanceof Promise) {
      packed
        .then((made) => {
          if (!this.over) this.#sendKept(made)
        })
        .catch((error: Error) => this.failed(error))
    } else this.#sendKept(packed)
  }

  #sendKept({ head, body, own }: CachedAnswer): void {
    this.answerCounts(head)
    this.beginResponse(head, [...this.ownFields(true), ...own])
    this.#cached = new CachedDelivery(head.status, body)
    this.#sendCachedRest(this.#cached)
  }

  /** As fast as the client takes it. */
  #sendCachedRest(cached: CachedDelivery): void {
    while (!this.over) {
      const part = cached.next()
      if (part === undefined) {
        this.#cached = undefined
        this.client.end([], this.finish(cached.status, undefined))
        return
      }
      this.send(part)
      if (!this.client.flush()) return
    }
  }

  /** What is kept may do when the upstream fails. */
  #sentStale(): boolean {
    const answer = this.over ? undefined : this.turn?.inTrouble(performance.now())
    if (answer === undefined) return false
    this.upstream?.drop()
    this.#sendCached(answer)
    return true
  }

  // The upstream.

  onUnsent(full: boolean): void {
    if (this.#sentStale()) return
    const { counters } = this.context
    if (full) {
      counters.overloaded++
      this.group!.counts.overloaded++
      this.refuse(503, 'PROXY_UPSTREAM_FULL', OVERLOADED_RETRY_AFTER_S)
      return
    }
    counters.upstreamErrors++
    this.refuse(502, 'no upstream can be reached')
  }

  onUpstreamFailure(error: AnyProxyError, url: string): void {
    this.context.counters.upstreamErrors++
    this.context.log('warn', `upstream ${url}: request ${this.requestId}: ${error.message}`)
    if (this.answered) this.cutShort(this.upstream!.status!, error.code)
    else if (!this.#sentStale()) this.refuse(error.code === 'PROXY_UPSTREAM_TIMEOUT' ? 504 : 502, error.code)
  }

  onReclaimed(): void {
    this.cutShort(this.upstream!.status ?? 499, 'the client reads too slowly, and others wait for the upstream')
  }

  pauseUpstream(): void {
    this.upstream!.pause()
  }

  resumeUpstream(): void {
    this.upstream!.resume()
  }

  /** The client is slow: the upstream is to wait for it, unless what it says is kept for others too: then the client reads that. */
  holdUp(): void {
    if (this.#upstreamPaused) return
    if (this.turn?.keeps === true) {
      this.turn.fallBehind()
      return
    }
    this.#upstreamPaused = true
    this.pauseUpstream()
  }

  letOn(): void {
    if (this.turn?.isBehind === true && !this.#catchesUp(this.turn)) return
    if (!this.#upstreamPaused) return
    this.#upstreamPaused = false
    this.resumeUpstream()
  }

  /** Returns whether the client has got all that has come meanwhile, and more is due. */
  #catchesUp(turn: CacheTurn): boolean {
    while (!this.over) {
      const part = turn.next()
      if (part === undefined) break
      this.#deliver(part)
      if (!this.#takesMore) return false
    }
    if (this.#trailersDue !== undefined) this.#endDelivery(this.#trailersDue)
    return !this.over
  }

  // The response.

  onInterim(head: ResponseHead): boolean {
    // RFC 9110 section 15.2: passed on, but for what HTTP/1.0 does not know and what we have said ourselves.
    if (this.over || this.answered || this.request.httpVersion === '1.0' || (head.status === 100 && this.continued)) return false
    this.client.inform(head)
    return true
  }

  onHead(head: ResponseHead, nowMs: number): void {
    if (this.turn !== undefined && this.#isAnsweredInstead(head, nowMs)) return
    const { cache } = this.context
    if (!SAFE.has(this.head!.method) && !cache.isEmpty) cache.changed(this.head!.authority, this.head!.target, head)
    this.tellLogin(head.status)
    this.answerCounts(head)
    if (!this.judged!.responseWanted || this.#passes(head)) this.#sendHead(head)
  }

  /** Whether what is kept stands in for the upstream's answer. */
  #isAnsweredInstead(head: ResponseHead, nowMs: number): boolean {
    const upstream = this.upstream!
    const instead = this.turn!.instead(this.#rewritten(head), nowMs, Date.now(), upstream.headMs)
    if (instead === undefined) return false
    upstream.discard(head)
    if (instead === 'again') upstream.again()
    else this.#sendCached(instead)
    return true
  }

  /** Whether the response may go on now: it may have to wait for its body, or have been refused. */
  #passes(head: ResponseHead): boolean {
    const { status, bodyBytes } = head
    const headers = headerPairs(head.rawHeaders, head.section)
    const { guard } = this.context.options
    const judged = this.#judgeResponse((judgement, environment) =>
      guard.responseHead(judgement, { status, protocol: 'HTTP/1.1', headers }, environment),
    )
    if (!judged) return false
    const wanted = this.judged!.responseBytesWanted
    if (wanted > 0 && bodyBytes !== 0) {
      this.#heldResponse = new HeldResponse(this, head, wanted)
      return false
    }
    return this.judgeResponseBody(EMPTY, false)
  }

  judgeResponseBody(body: Uint8Array, truncated: boolean): boolean {
    const { guard } = this.context.options
    return this.#judgeResponse((judgement, environment) => guard.responseBody(judgement, body, truncated, environment))
  }

  /** Returns whether the response may still go on; what may not has been refused. */
  #judgeResponse(judge: (judgement: Judgement, environment: GuardEnvironment) => Judgement): boolean {
    const startMs = performance.now()
    try {
      this.judged = judge(this.judged!, this.environment!)
    } catch (error) {
      this.guardFailed(error)
      return false
    }
    this.guardMs += performance.now() - startMs
    const { outcome, status } = this.judged.decision!
    if (outcome !== 'allow') this.refuse(status, undefined)
    return outcome === 'allow'
  }

  onReleased(head: ResponseHead, body: HeldBody, trailers: readonly string[] | undefined): void {
    this.#heldResponse = undefined
    this.#sendHead(head)
    if (body.length > 0) this.onBody(body.bytes)
    if (trailers !== undefined) this.#sendEnd(trailers)
  }

  onInspectionFailure(error: Error): void {
    this.failed(error)
  }

  #sendHead(head: ResponseHead): void {
    const upstream = this.upstream!
    const cookie = upstream.stickyCookie(this.proto === 'https')
    const standing = this.ownFields(this.renewed !== undefined && invitesKeeping(head.rawHeaders))
    let own = cookie === undefined ? standing : [...standing, 'set-cookie', cookie]
    const rewritten = this.#rewritten(head)
    if (this.turn !== undefined) own = [...own, ...this.turn.begins(rewritten, performance.now(), Date.now(), upstream.headMs)]
    const form = this.#compressing(rewritten)
    if (form === undefined) this.beginResponse(rewritten, own)
    else this.#beginCompressed(rewritten, own, form)
  }

  #beginCompressed(head: ResponseHead, own: readonly string[], form: Compressing): void {
    const isHead = this.head!.method === 'HEAD'
    if (form.coding === undefined) this.beginResponse(compressedHead(head, form), own)
    else if (isHead) this.beginResponse({ ...compressedHead(head, form), bodyBytes: 0 }, own)
    else if (head.bodyBytes === 0) this.beginResponse(compressedHead(head, { coding: undefined }), own)
    else {
      const { compressor, counters } = this.context
      this.#compressed = new CompressedDelivery(this, compressor, counters, head, own, form)
      this.#compressed.start()
    }
  }

  beginResponse(head: ResponseHead, own: readonly string[]): void {
    this.sends(head.rawHeaders, own)
    this.client.respond(head, this.head!, own, this.environment!.nowMs)
    this.answered = true
  }

  /** Undefined: it goes out as it is, whatever the client likes. */
  #compressing(head: ResponseHead): Compressing | undefined {
    const { route } = this.judged!
    const policy = route!.route?.compress ?? route!.service.compress
    return policy && compressing(head, this.request.rawHeaders, this.#isKnown, policy, this.#ownCookies)
  }

  /** As the policy wants it changed. */
  #rewritten(head: ResponseHead): ResponseHead {
    const rewriting = this.rewriting?.response
    return rewriting === undefined ? head : { ...head, rawHeaders: rewrittenFields(rewriting, head.rawHeaders) }
  }

  onBody(bytes: Buffer): void {
    if (this.over) return
    if (this.#heldResponse !== undefined) {
      this.#heldResponse.add(bytes)
      return
    }
    const { turn } = this
    turn?.add(bytes)
    if (turn?.isBehind !== true) this.#deliver(bytes)
    else if (!turn.keeps) this.holdUp()
  }

  #deliver(bytes: Buffer): void {
    if (this.#compressed === undefined) this.send(bytes)
    else this.#compressed.write(bytes)
  }

  get #takesMore(): boolean {
    return this.#compressed?.isStreamed === true ? this.#compressed.takesMore : this.client.flush()
  }

  onQuiet(): void {
    if (this.#heldResponse !== undefined) {
      this.#heldResponse.hurry(this.context.limits.responseHoldMsMax)
      return
    }
    if (this.turn?.isBehind === true) return
    this.#compressed?.quiet()
    // Also the head, when its body takes its time: server-sent events begin with nothing.
    if (!this.over && !this.client.flush() && this.#compressed?.isStreamed !== true) this.holdUp()
  }

  onEnd(trailers: readonly string[]): void {
    if (this.over) return
    if (this.#heldResponse === undefined) this.#sendEnd(trailers)
    else this.#heldResponse.end(trailers)
  }

  #sendEnd(trailers: readonly string[]): void {
    this.turn?.complete(performance.now())
    if (this.turn?.isBehind === true) this.#trailersDue = trailers
    else this.#endDelivery(trailers)
  }

  #endDelivery(trailers: readonly string[]): void {
    this.#trailersDue = undefined
    if (this.#compressed === undefined) this.endResponse(trailers)
    else this.#compressed.end(trailers)
  }

  send(bytes: Buffer): void {
    this.bytesOut += bytes.length
    this.client.send(bytes)
  }

  flush(): boolean {
    return this.client.flush()
  }

  endResponse(trailers: readonly string[]): void {
    this.client.end(keptTrailers(trailers), this.finish(this.upstream!.status!, undefined))
  }

  onCompressionFailure(message: string): void {
    this.context.log('warn', `request ${this.requestId}: compressing failed: ${message}`)
    this.cutShort(this.upstream!.status!, 'compressing failed')
  }

  onUpgrade(head: ResponseHead, upstream: Wire, rest: Buffer): void {
    const ends = { wire: upstream, rest, source: this.source, standing: this.lasting() }
    const [rewritten, own] = [this.#rewritten(head), this.ownFields()]
    this.sends(rewritten.rawHeaders, own)
    this.client.switchProtocols(rewritten, own, ends, this.environment!.nowMs)
    this.finish(101, undefined)
  }

  onClientDrain(): void {
    this.#compressed?.resume()
    if (this.#cached !== undefined) this.#sendCachedRest(this.#cached)
    else if (this.#compressed?.isStreamed !== true) this.letOn()
  }

  protected stopAnswer(endMs: number): void {
    this.#heldResponse?.stop()
    clearTimeout(this.#turnTimer)
    this.turn?.stop(endMs)
    this.#compressed?.destroy()
  }
}
