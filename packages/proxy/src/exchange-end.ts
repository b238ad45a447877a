/**
 * How an exchange ends, whatever it was: refused, answered by ourselves, cut, or gone with its client; and what is counted, reported and
 * recorded of it, once.
 *
 * An exchange is one object in three files, since it is one a request: `exchange.ts` judges the request and builds on `exchange-response.ts`,
 * which sends what an upstream or the cache answers, and that on this one.
 */
import type { Decision, GuardEnvironment, Judgement } from '@ringwall/guard'
import { challengeAnswer, passAnswer } from './challenge-page.ts'
import type { Client } from './client.ts'
import type { Context, Cuttable } from './context.ts'
import { detached } from './header-names.ts'
import { ownDecision, ownJudgement } from './own-decision.ts'
import { loginLocation } from './people.ts'
import { type Observed, recordExchange } from './recording.ts'
import { type Refusal, refusal, refusalCode } from './refusal.ts'
import { type ReportedRequest, reportApi, reportEnded, reportLogin, withoutQuery } from './reports.ts'
import type { RequestHead } from './request-head.ts'
import type { RawRequest } from './request-parser.ts'
import type { ResponseHead } from './response-parser.ts'
import type { KeptStanding, Standing } from './standing.ts'
import type { TraceContext } from './types.ts'
import type { UpstreamRequest } from './upstream-request.ts'

const NO_FIELDS: readonly string[] = []

/** Is there something that may change while it is under way? Another policy may ask for more of any service. */
export function isReviewed({ route }: Judgement): boolean {
  return route !== undefined
}

export abstract class ExchangeEnd implements Cuttable, KeptStanding {
  standingAt = -1
  protected readonly context: Context
  protected readonly client: Client
  protected readonly request: RawRequest
  /** Monotonic milliseconds. */
  readonly startMs: number = performance.now()
  protected readonly requestId: string
  protected head: RequestHead | undefined
  source: string
  protected proto: 'http' | 'https'
  protected environment: GuardEnvironment | undefined
  protected judged: Judgement | undefined
  /** As the guard gave it, to be given back. */
  protected lent: Judgement | undefined
  protected span: TraceContext | undefined
  protected parentSpanId: string | undefined
  protected guardStartMs = 0
  protected guardMs = 0
  /** The body is read for the guard. */
  protected judging = false
  protected upstream: UpstreamRequest | undefined
  /** In place of the one that was shown: the value of Set-Cookie. */
  protected renewed: string | undefined
  protected continued = false
  answered = false
  protected over = false
  /** Of the response's body. */
  protected bytesOut = 0
  /** Of the answer that limits were told of. */
  #countedStatus: number | undefined
  /** Of the response to the client, in parts. */
  #responseFields: readonly [readonly string[], readonly string[]] | undefined

  constructor(context: Context, client: Client, request: RawRequest) {
    this.context = context
    this.client = client
    this.request = request
    this.source = client.address
    this.proto = client.listener.secure ? 'https' : 'http'
    this.requestId = context.options.recorder.requestId(context.options.node)
    context.counters.requests++
    context.counters.activeRequests++
  }

  get judgement(): Judgement {
    return this.judged!
  }

  /** Whether the client has gone, or the request ended some other way. */
  get cancelled(): boolean {
    return this.over
  }

  /** Nothing more is sent of what an upstream or the cache answers. */
  protected abstract stopAnswer(endMs: number): void

  // Answers of our own.

  /** What we add to a response of the upstream's. @param isForMany Others may get it too: no place for a session. */
  protected ownFields(isForMany = false): readonly string[] {
    const id =
      this.renewed === undefined || isForMany
        ? ['x-request-id', this.requestId]
        : ['x-request-id', this.requestId, 'set-cookie', this.renewed]
    const { ownFields } = this.client.listener
    return ownFields.length === 0 && !this.context.options.explainHeader ? id : [...id, ...ownFields, ...this.explanation()]
  }

  protected explanation(): readonly string[] {
    const decision = this.judged?.decision
    if (!this.context.options.explainHeader || decision === undefined) return []
    const ids = [...new Set(decision.matches.map((match) => match.ruleId))].join(',')
    return ['x-ringwall-decision', decision.outcome, 'x-ringwall-rules', ids]
  }

  /** Kept for whoever asks what was answered, if anybody does. */
  protected sends(fields: readonly string[], more: readonly string[] = NO_FIELDS): void {
    if (this.context.options.recorder.finished !== undefined) this.#responseFields = [fields, more]
  }

  /** To an ACME server that verifies this name just now (RFC 8555 section 8.3). */
  protected showProof(head: RequestHead, text: string): void {
    this.judged = this.ownJudgement('allow', 200, 'proof for an ACME server')
    const fields = [
      'content-type',
      'application/octet-stream',
      'content-length',
      String(text.length),
      'cache-control',
      'no-store',
    ]
    this.answered = true
    this.sends(fields)
    const own = { status: 200, fields, body: head.method === 'HEAD' ? '' : text, continued: false }
    this.client.refuse(own, head, () => this.finish(200, undefined))
  }

  /** The same, over TLS. The method and the body are kept (RFC 9110 section 15.4.9). */
  protected redirect({ authority, host, target }: RequestHead, port: number): void {
    this.judged = this.ownJudgement('allow', 308, 'redirected to TLS')
    const name = authority.startsWith('[') ? authority.slice(0, authority.indexOf(']') + 1) : host
    this.refuse(308, undefined, undefined, `https://${name}${port === 443 ? '' : `:${port}`}${target}`)
  }

  protected refuse(status: number, error: string | undefined, retryAfterS?: number, location?: string): void {
    if (this.over) return
    this.judging = false
    this.upstream?.drop()
    const head = this.head
    if (status === 401 && this.judged?.loginWanted === true && head !== undefined && location === undefined) {
      const page = loginLocation(head.method, head.target, this.request.rawHeaders)
      if (page !== undefined) {
        this.refuse(303, undefined, undefined, page)
        return
      }
    }
    const { headers, body } =
      this.#challengeAnswer(status, retryAfterS) ??
      refusal(status, this.requestId, {
        jsonWanted: head?.jsonWanted ?? false,
        retryAfterS,
        budget: this.judged?.decision?.budget,
        location,
        code: refusalCode(this.judged),
      })
    const fields = [...headers, ...this.client.listener.ownFields, ...this.explanation()]
    this.answered = true
    this.sends(fields)
    const own = { status, fields, body: this.request.method === 'HEAD' ? '' : body, continued: this.continued }
    this.client.refuse(own, head, () => this.finish(status, error))
  }

  /** A challenge, or the pass for one that was done; undefined: it is about neither. */
  #challengeAnswer(status: number, retryAfterS: number | undefined): Refusal | undefined {
    const { decision, challenge, granted } = this.judged ?? {}
    const { challenges } = this.context.options
    if (decision?.outcome !== 'challenge' || decision.status !== status) return undefined
    if (granted !== undefined) return passAnswer(granted, this.requestId, this.proto === 'https')
    if (challenge === undefined || challenges === undefined) return undefined
    return challengeAnswer({
      status,
      requestId: this.requestId,
      method: this.request.method,
      target: this.head?.target ?? '',
      rawHeaders: this.request.rawHeaders,
      retryAfterS,
      difficulty: challenge.difficulty,
      issue: () => challenges.issue(challenge, this.environment!.nowMs),
    })
  }

  protected refuseMalformed(status: number, why: string): void {
    this.context.counters.malformed++
    this.judged = this.ownJudgement('deny', status, `malformed: ${why}`)
    this.refuse(status, undefined)
  }

  protected ownJudgement(outcome: 'allow' | 'deny', status: number, reason: string): Judgement {
    return ownJudgement(this.judged?.route, ownDecision(this.environment, outcome, status, reason))
  }

  /** A guard that fails has allowed nothing. */
  protected guardFailed(error: unknown): void {
    if (this.over) return
    this.context.log(
      'warn',
      `request ${this.requestId}: judging failed: ${error instanceof Error ? error.message : 'unknown error'}`,
    )
    this.judged = this.ownJudgement('deny', 503, 'judging failed')
    this.refuse(503, undefined)
  }

  // Ended before it is done.

  /** The body is not HTTP. */
  onRequestBroken(status: number, why: string): void {
    this.context.counters.malformed++
    this.judged = this.ownJudgement('deny', status, `malformed: ${why}`)
    if (this.answered) this.cutShort(status, `malformed: ${why}`)
    else this.refuse(status, undefined)
  }

  onRequestLate(): void {
    if (this.answered) this.cutShort(this.upstream?.status ?? 408, 'the body did not arrive in time')
    else this.refuse(408, 'the body did not arrive in time')
  }

  onClientGone(): void {
    if (this.over) return
    this.context.counters.clientAborts++
    this.upstream?.drop()
    this.finish(499, 'client closed the connection')
  }

  /** What allowed it does so no more. */
  end(decision: Decision): void {
    if (this.over) return
    const before = this.judged!
    if (before.responseWanted) this.context.options.guard.end(before)
    this.judged = ownJudgement(before.route, decision)
    if (this.answered) this.cutShort(decision.status, 'cut')
    else this.refuse(decision.status, undefined)
  }

  /** The source has been denied: whatever this is, it ends now. */
  cut(): void {
    this.client.destroy()
  }

  /** Part of the response is out: only cutting the connection tells the client that it is not whole. */
  protected cutShort(status: number, error: string): void {
    if (this.over) return
    this.upstream?.drop()
    this.finish(status, error)
    this.client.destroy()
  }

  /** By a fault of ours. */
  protected failed(error: Error): void {
    this.context.log('warn', `request ${this.requestId} failed: ${error.message}`)
    this.client.destroy()
  }

  // Counted, reported, recorded.

  /** Counts and records the request, once. Returns the time, monotonic milliseconds. */
  protected finish(status: number, error: string | undefined): number {
    const endMs = performance.now()
    if (this.over) return endMs
    this.over = true
    this.stopAnswer(endMs)
    if (this.judged?.responseWanted === true) this.context.options.guard.end(this.judged)
    this.#tellCost(endMs)
    if (this.lent !== undefined) this.context.options.guard.release(this.lent)
    const { counters, options, sources, standing } = this.context
    counters.activeRequests--
    standing.delete(this)
    if (this.source !== this.client.address) sources.delete(this.source, this)
    const decision = this.judged?.decision ?? ownDecision(this.environment, 'deny', status, 'never judged')
    if (decision.outcome === 'allow') counters.allowed++
    else if (decision.outcome === 'throttle') counters.throttled++
    else if (decision.outcome === 'challenge') counters.challenged++
    else counters.denied++
    const route = this.judged?.route
    const upstream = this.upstream
    options.recorder.observeRequest({
      outcome: decision.outcome,
      check: decision.check,
      stale: decision.stale,
      service: route?.service.name,
      guardUs: this.guardMs * 1_000,
      totalUs: (endMs - this.startMs) * 1_000,
      upstreamUs: upstream?.status === undefined ? undefined : upstream.headMs * 1_000,
    })
    this.#tellEnd(status)
    options.recorder.finished?.(this.requestId, status, this.#responseFields?.flat() ?? NO_FIELDS)
    if (!options.recorder.wants(decision.outcome)) return endMs
    recordExchange(options.recorder, this.#observed(decision, status, endMs, error))
    return endMs
  }

  /** Limits count what the application answered, or the cache in its place. */
  protected answerCounts(head: ResponseHead): void {
    this.#countedStatus = head.status
    this.context.options.guard.answered(this.judged!, head, this.environment!.nowMs)
  }

  #tellCost(endMs: number): void {
    if (this.#countedStatus === undefined) return
    const ms = endMs - this.startMs
    const cost = { status: this.#countedStatus, bytes: this.bytesOut, ms }
    this.context.options.guard.sent(this.judged!, cost, this.environment!.nowMs + ms)
  }

  #reported(): ReportedRequest {
    const { method, rawHeaders } = this.request
    const target = this.head!.target
    return { id: this.requestId, method, target, source: this.source, ja4: this.client.ja4, rawHeaders }
  }

  protected tellLogin(status: number): void {
    if (this.judged!.login !== undefined) reportLogin(this.context, this.judged!, this.#reported(), status)
  }

  #tellEnd(status: number): void {
    const [judgement, environment] = [this.judged, this.environment]
    if (judgement === undefined) return
    if (judgement.api !== undefined) reportApi(this.context, judgement, this.#reported(), status)
    if (environment === undefined || this.context.options.ended?.wants() !== true) return
    const tookMs = performance.now() - this.startMs
    reportEnded(this.context, judgement, this.#reported(), status, this.bytesOut, tookMs, environment.view.policy)
  }

  /** Nothing of it holds the request's text. */
  #observed(decision: Decision, status: number, endMs: number, error: string | undefined): Observed {
    const { options } = this.context
    const route = this.judged?.route
    return {
      requestId: this.requestId,
      node: options.node,
      region: options.region,
      source: this.source,
      ja4: this.client.ja4,
      scheme: this.proto,
      method: this.request.method,
      // These may wait long to be written.
      host: detached(this.head?.host ?? ''),
      path: detached(withoutQuery(this.head?.target ?? this.request.url)),
      service: route?.service.name,
      route: route?.route?.name,
      label: route?.label,
      decision,
      status,
      span: this.span ?? options.recorder.newTrace(),
      parentSpanId: this.parentSpanId,
      startMs: this.startMs,
      guardStartMs: this.guardStartMs === 0 ? this.startMs : this.guardStartMs,
      guardMs: this.guardMs,
      endMs,
      upstream: this.upstream?.observed,
      error,
    }
  }

  /** What is kept of the request while its WebSocket is open, where that is to be judged again. */
  protected lasting(): Standing | undefined {
    const { guard, recorder } = this.context.options
    if (!isReviewed(this.judged!)) return undefined
    const observed = this.#observed(this.judged!.decision!, 101, 0, undefined)
    return {
      judgement: guard.lasting(this.judged!),
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
