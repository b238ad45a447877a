/**
 * One request from its head to the end of its response: judged, then refused or passed on.
 *
 * The order of things: head read strictly, source settled, guard on the head, as much of the body as the guard wants, guard on
 * the body, upstream, response. What the guard has not allowed never reaches an upstream, not a byte of it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Decision, GuardEnvironment, GuardRequest, Judgement } from '@ringwall/guard'
import type { HeaderField } from '@ringwall/waf'
import type { Context, Cuttable } from './context.ts'
import { type AnyProxyError, UpstreamBroken, type UpstreamUnreachable } from './errors.ts'
import { requestHeadText, responseHeaders } from './forward-head.ts'
import { recordExchange } from './recording.ts'
import { refusal } from './refusal.ts'
import { parseRequestHead, type RequestHead } from './request-head.ts'
import type { ResponseHead } from './response-parser.ts'
import { socketAddress, sourceOf } from './source-address.ts'
import { openTunnel } from './tunnel.ts'
import type { TraceContext } from './types.ts'
import type { ConnectionWaiter, Upstream } from './upstream.ts'
import type { ResponseListener, UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamGroup } from './upstream-pools.ts'

const EMPTY = new Uint8Array(0)
const NO_EXTRA: readonly string[] = []
/** An unread body up to this long is read away and the connection kept; a longer one closes it. */
const DRAIN_BYTES_MAX = 65_536
const DRAIN_MS_MAX = 1_000
const ONE_WRITE_BYTES_MAX = 16_384
/** Upstreams asked for one request, while nothing of it has been sent. */
const UPSTREAMS_TRIED_MAX = 3
/** May be sent twice (RFC 9110 section 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** How a request came in. */
export interface Arrival {
  /** The client waits for `100 Continue` before it sends its body. */
  readonly continueWanted: boolean
  /** Bytes that followed an upgrade's head. */
  readonly upgradeHead: Buffer | undefined
}

export class Exchange implements ConnectionWaiter, ResponseListener, Cuttable {
  readonly #context: Context
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #arrival: Arrival
  readonly #startMs = performance.now()
  readonly #requestId: string
  #head: RequestHead | undefined
  #source = ''
  #socketAddress = ''
  #chain = ''
  #proto: 'http' | 'https' = 'http'
  #environment: GuardEnvironment | undefined
  #judgement: Judgement | undefined
  #span: TraceContext | undefined
  #parentSpanId: string | undefined
  #guardStartMs = 0
  #guardMs = 0
  /** Body held so far, to be judged and then sent. */
  #held: Buffer[] = []
  #heldBytes = 0
  #bodyWanted = 0
  #bodyEnded = false
  #bodyTimer: NodeJS.Timeout | undefined
  #group: UpstreamGroup | undefined
  #upstream: Upstream | undefined
  #tried: Upstream[] | undefined
  #retriedStale = false
  #connection: UpstreamConnection | undefined
  #upstreamSpan: TraceContext | undefined
  #upstreamStartMs = 0
  #upstreamHeadMs = 0
  #upstreamStatus: number | undefined
  /** Length of the response's body as its head says. */
  #responseBytes: number | undefined
  #answered = false
  #ended = false
  #stallTimer: NodeJS.Timeout | undefined
  #over = false

  constructor(context: Context, request: IncomingMessage, response: ServerResponse, arrival: Arrival) {
    this.#context = context
    this.#request = request
    this.#response = response
    this.#arrival = arrival
    this.#requestId = context.options.recorder.requestId(context.options.node)
    context.counters.requests++
    context.counters.activeRequests++
  }

  /** Whether the client has gone, or the request ended some other way. */
  get cancelled(): boolean {
    return this.#over
  }

  start(): void {
    const { options, pools } = this.#context
    const request = this.#request
    this.#response.on('close', () => this.#clientClosed())
    // A write that meets a connection just destroyed; 'close' follows and says the rest.
    this.#response.on('error', ignore)
    this.#socketAddress = this.#source = socketAddress(request.socket.remoteAddress)
    const head = parseRequestHead(request.method ?? '', request.url ?? '', request.httpVersion, request.rawHeaders)
    if ('refused' in head) {
      this.#refuseMalformed(head.status, head.refused)
      return
    }
    if (head.upgrade && this.#arrival.upgradeHead === undefined) {
      this.#refuseMalformed(400, 'an upgrade that is none to Node')
      return
    }
    this.#head = head
    let judging: Judgement | Promise<Judgement>
    try {
      const environment = options.environment()
      this.#environment = environment
      const { policy } = environment.view
      pools.follow(policy)
      this.#settleSource(head, (address) => this.#context.isTrustedProxy(policy, address))
      this.#beginTrace(head)
      this.#guardStartMs = performance.now()
      judging = options.guard.head(this.#guardRequest(head), environment)
    } catch (error) {
      this.#guardFailed(error)
      return
    }
    if (judging instanceof Promise) {
      judging.then(
        (judgement) => this.#headJudged(judgement),
        (error: unknown) => this.#guardFailed(error),
      )
    } else this.#headJudged(judging)
  }

  /** The source has been denied: whatever this is, it ends now. */
  cut(): void {
    this.#request.socket.destroy()
  }

  // What the guard says.

  #headJudged(judgement: Judgement): void {
    this.#guardMs += performance.now() - this.#guardStartMs
    if (this.#over) return
    this.#judgement = judgement
    if (judgement.decision !== undefined) {
      this.#decided(judgement)
      return
    }
    const { contentLength } = this.#head!
    this.#bodyWanted = judgement.bodyBytesWanted
    if (this.#bodyWanted <= 0 || contentLength === 0 || this.#head!.upgrade) this.#judgeBody(EMPTY, false)
    else this.#collectBody()
  }

  #collectBody(): void {
    const request = this.#request
    if (this.#arrival.continueWanted) this.#response.writeContinue()
    this.#bodyTimer = setTimeout(
      () => this.#refuse(408, 'the body did not arrive in time'),
      this.#context.limits.inspectedBodyMsMax,
    )
    request.on('data', this.#onHeldData)
    request.on('end', this.#onHeldEnd)
  }

  readonly #onHeldData = (bytes: Buffer): void => {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    // One byte past the limit proves that there is more; a declared length says so by itself.
    const declared = this.#head!.contentLength
    const enough = declared !== undefined && declared > this.#bodyWanted ? this.#bodyWanted : this.#bodyWanted + 1
    if (this.#heldBytes < enough) return
    this.#request.pause()
    this.#bodyHeld(true)
  }

  readonly #onHeldEnd = (): void => {
    this.#bodyEnded = true
    this.#bodyHeld(false)
  }

  #bodyHeld(truncated: boolean): void {
    clearTimeout(this.#bodyTimer)
    this.#request.off('data', this.#onHeldData)
    this.#request.off('end', this.#onHeldEnd)
    if (this.#over) return
    const whole = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held, this.#heldBytes)
    this.#judgeBody(truncated ? whole.subarray(0, this.#bodyWanted) : whole, truncated)
  }

  #judgeBody(body: Uint8Array, truncated: boolean): void {
    const startMs = performance.now()
    let judgement: Judgement
    try {
      judgement = this.#context.options.guard.body(this.#judgement!, body, truncated, this.#environment!)
    } catch (error) {
      this.#guardFailed(error)
      return
    }
    this.#guardMs += performance.now() - startMs
    this.#judgement = judgement
    if (judgement.decision === undefined) this.#guardFailed(new Error('the guard left the request undecided'))
    else this.#decided(judgement)
  }

  #decided({ decision, route }: Judgement): void {
    if (decision!.outcome !== 'allow') {
      this.#refuse(decision!.status, undefined, decision!.retryAfterS)
      return
    }
    this.#group = route === undefined ? undefined : this.#context.pools.group(route.service.name)
    if (this.#group === undefined) this.#refuse(502, 'no upstream for this service')
    else this.#tryUpstream(false)
  }

  /** A guard that fails has allowed nothing. */
  #guardFailed(error: unknown): void {
    if (this.#over) return
    this.#context.log(
      'warn',
      `request ${this.#requestId}: judging failed: ${error instanceof Error ? error.message : 'unknown error'}`,
    )
    this.#judgement = {
      route: this.#judgement?.route,
      decision: this.#ownDecision('deny', 503, 'none', 'judging failed'),
      bodyBytesWanted: 0,
      login: undefined,
    }
    this.#refuse(503, undefined)
  }

  // Towards the upstream.

  #tryUpstream(fresh: boolean): void {
    const upstream = fresh
      ? this.#upstream
      : (this.#tried?.length ?? 0) < UPSTREAMS_TRIED_MAX
        ? this.#group!.pick(this.#tried)
        : undefined
    if (upstream === undefined) {
      this.#context.counters.upstreamErrors++
      this.#refuse(502, 'no upstream can be reached')
      return
    }
    this.#upstream = upstream
    upstream.acquire(this, fresh)
  }

  onUnreachable(error: UpstreamUnreachable): void {
    if (this.#over) return
    ;(this.#tried ??= []).push(this.#upstream!)
    this.#context.log('warn', `upstream ${this.#upstream!.url}: ${error.message}`)
    this.#tryUpstream(false)
  }

  onConnection(connection: UpstreamConnection): void {
    const head = this.#head!
    const { recorder } = this.#context.options
    this.#connection = connection
    this.#upstreamStartMs = performance.now()
    const span = recorder.childOf(this.#span!)
    this.#upstreamSpan = span
    const complete = this.#bodyEnded || head.contentLength === 0 || head.upgrade
    const text = requestHeadText({
      head,
      rawHeaders: this.#request.rawHeaders,
      bodyBytes: complete ? this.#heldBytes : head.contentLength,
      source: this.#source,
      chain: this.#chain,
      proto: this.#proto,
      requestId: this.#requestId,
      traceparent: recorder.formatTraceparent(span),
      tracestate: span.traceState,
    })
    const timeoutMs = this.#judgement!.route!.service.upstreamTimeout
    if (complete) {
      connection.send(this, text, this.#held, { method: head.method, complete, upgrade: head.upgrade, timeoutMs })
      return
    }
    const held = head.contentLength === undefined ? this.#held.flatMap(frame) : this.#held
    connection.send(this, text, held, { method: head.method, complete, upgrade: false, timeoutMs })
    // Sent for good: a body in part cannot be sent twice.
    this.#held = []
    if (this.#arrival.continueWanted && this.#heldBytes === 0) this.#response.writeContinue()
    this.#request.on('data', this.#onStreamData)
    this.#request.on('end', this.#onStreamEnd)
    this.#request.resume()
  }

  readonly #onStreamData = (bytes: Buffer): void => {
    const connection = this.#connection
    if (connection === undefined) return
    if (this.#head!.contentLength !== undefined) {
      if (!connection.write(bytes)) this.#request.pause()
      return
    }
    connection.socket.cork()
    connection.write(`${bytes.length.toString(16)}\r\n`)
    connection.write(bytes)
    const room = connection.write('\r\n')
    connection.socket.uncork()
    if (!room) this.#request.pause()
  }

  /** Trailers of requests are not passed on: the guard has not seen them. */
  readonly #onStreamEnd = (): void => {
    this.#bodyEnded = true
    if (this.#head!.contentLength === undefined) this.#connection?.write('0\r\n\r\n')
    this.#connection?.complete()
  }

  onDrain(): void {
    if (!this.#bodyEnded) this.#request.resume()
  }

  // From the upstream.

  onInterim(head: ResponseHead): void {
    // 100 has been answered by ourselves; 103 is the only other that clients use (RFC 8297).
    if (head.status !== 103 || this.#request.httpVersion !== '1.1') return
    const links: string[] = []
    for (let at = 0; at < head.rawHeaders.length; at += 2) {
      if (head.rawHeaders[at]!.toLowerCase() === 'link') links.push(head.rawHeaders[at + 1]!)
    }
    try {
      if (links.length > 0) this.#response.writeEarlyHints({ link: links })
    } catch {
      // A hint that Node finds malformed is no reason to fail the request.
    }
  }

  onHead(head: ResponseHead): void {
    const nowMs = performance.now()
    this.#upstreamHeadMs = nowMs - this.#upstreamStartMs
    this.#upstreamStatus = head.status
    this.#responseBytes = head.bodyBytes
    this.#upstream!.answered(this.#upstreamHeadMs)
    this.#reportLogin(head.status)
    const headers = responseHeaders(head.rawHeaders, head.status, this.#requestId, this.#explanation())
    // Answered before the upload was complete: what is left of it is not worth reading.
    if (!this.#uploadComplete()) headers.push('connection', 'close')
    try {
      this.#response.writeHead(head.status, head.statusText, headers)
      this.#answered = true
    } catch {
      this.#dropUpstream()
      this.onFailure(new UpstreamBroken('its response cannot be passed on'))
    }
  }

  onBody(bytes: Buffer): void {
    if (this.#over) return
    // All of it at once: as text it leaves in one write with the head, where bytes would take a slower gathering write.
    if (bytes.length === this.#responseBytes && bytes.length <= ONE_WRITE_BYTES_MAX) {
      this.#ended = true
      this.#response.end(bytes.toString('latin1'), 'latin1')
      return
    }
    // Several pieces may follow the one that filled the client's buffer: one pause is enough, and one timer.
    if (this.#response.write(bytes) || this.#stallTimer !== undefined) return
    const connection = this.#connection
    connection?.pause()
    this.#stallTimer = setTimeout(() => this.#request.socket.destroy(), this.#context.limits.clientStallMsMax)
    this.#response.once('drain', () => {
      clearTimeout(this.#stallTimer)
      this.#stallTimer = undefined
      if (this.#connection === connection) connection?.resume()
    })
  }

  onQuiet(): void {
    // Sends the head on when its body takes its time: server-sent events begin with nothing.
    if (this.#answered && !this.#over) this.#response.flushHeaders()
  }

  onEnd(trailers: readonly string[]): void {
    this.#connection = undefined
    if (this.#over) return
    if (trailers.length > 0) this.#addTrailers(trailers)
    const uploaded = this.#uploadComplete()
    if (!this.#ended) this.#response.end()
    if (!uploaded) this.#readAway()
    this.#finish(this.#upstreamStatus!, undefined)
  }

  onUpgrade(head: ResponseHead, socket: Socket, rest: Buffer): void {
    this.#upstreamStatus = head.status
    this.#upstreamHeadMs = performance.now() - this.#upstreamStartMs
    this.#connection = undefined
    const client = this.#request.socket
    const extra = ['connection', 'upgrade', 'upgrade', 'websocket', ...this.#explanation()]
    const headers = responseHeaders(head.rawHeaders, head.status, this.#requestId, extra)
    let text = 'HTTP/1.1 101 Switching Protocols\r\n'
    for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
    this.#response.detachSocket(client)
    client.write(`${text}\r\n`, 'latin1')
    openTunnel(this.#context, {
      client,
      upstream: socket,
      source: this.#source,
      fromClient: this.#arrival.upgradeHead,
      fromUpstream: rest,
    })
    this.#finish(101, undefined)
  }

  onFailure(error: AnyProxyError): void {
    this.#connection = undefined
    if (this.#over) return
    const head = this.#head!
    const replayable = this.#bodyEnded || head.contentLength === 0
    if (error instanceof UpstreamBroken && error.stale && !this.#retriedStale && replayable && IDEMPOTENT.has(head.method)) {
      this.#retriedStale = true
      this.#tryUpstream(true)
      return
    }
    this.#context.counters.upstreamErrors++
    this.#context.log('warn', `upstream ${this.#upstream!.url}: request ${this.#requestId}: ${error.message}`)
    if (this.#answered) {
      // Part of the response is out: only cutting the connection tells the client that it is not whole.
      this.#finish(this.#upstreamStatus!, error.code)
      this.#request.socket.destroy()
    } else this.#refuse(error.code === 'PROXY_UPSTREAM_TIMEOUT' ? 504 : 502, error.code)
  }

  // To the client.

  #refuse(status: number, error: string | undefined, retryAfterS?: number): void {
    if (this.#over) return
    clearTimeout(this.#bodyTimer)
    this.#dropUpstream()
    const { headers, body } = refusal(status, this.#requestId, {
      jsonWanted: this.#head?.jsonWanted ?? false,
      retryAfterS,
      code: this.#judgement?.decision?.check === 'staleness' ? 'view-stale' : undefined,
      extra: this.#explanation(),
    })
    const close = !this.#uploadComplete() && !this.#drainable()
    this.#answered = true
    this.#response.writeHead(status, close ? [...headers, 'connection', 'close'] : (headers as string[]))
    this.#response.end(this.#request.method === 'HEAD' ? undefined : body)
    if (!this.#uploadComplete()) {
      if (close) this.#readAway()
      else this.#request.resume()
    }
    this.#finish(status, error)
  }

  #refuseMalformed(status: number, why: string): void {
    this.#context.counters.malformed++
    this.#span = this.#context.options.recorder.newTrace()
    this.#judgement = {
      route: undefined,
      decision: this.#ownDecision('deny', status, 'none', `malformed: ${why}`),
      bodyBytesWanted: 0,
      login: undefined,
    }
    const { headers, body } = refusal(status, this.#requestId, { jsonWanted: false })
    this.#answered = true
    // Always closed: where one request ends and the next begins is what cannot be trusted here.
    this.#response.writeHead(status, [...headers, 'connection', 'close'])
    this.#response.end(body)
    this.#readAway()
    this.#finish(status, undefined)
  }

  /** Reads a little of what the client still sends, so that it sees our answer rather than a reset, then cuts. */
  #readAway(): void {
    const request = this.#request
    const { socket } = request
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > DRAIN_BYTES_MAX) socket.destroy()
    })
    request.resume()
    const timer = setTimeout(() => socket.destroy(), DRAIN_MS_MAX)
    timer.unref()
    socket.once('close', () => clearTimeout(timer))
  }

  #drainable(): boolean {
    const length = this.#head?.contentLength
    // A client that waits for 100 Continue will not send what we would wait for.
    return length !== undefined && length <= DRAIN_BYTES_MAX && !this.#arrival.continueWanted
  }

  #uploadComplete(): boolean {
    return this.#bodyEnded || this.#head?.contentLength === 0 || this.#head?.upgrade === true || this.#request.complete
  }

  #addTrailers(trailers: readonly string[]): void {
    const pairs: [string, string][] = []
    for (let at = 0; at < trailers.length; at += 2) {
      const name = trailers[at]!
      if (!TRAILERS_REFUSED.has(name.toLowerCase())) pairs.push([name, trailers[at + 1]!])
    }
    try {
      this.#response.addTrailers(pairs)
    } catch {
      // Trailers that Node refuses are left out: the body is whole without them.
    }
  }

  #explanation(): readonly string[] {
    const decision = this.#judgement?.decision
    if (!this.#context.options.explainHeader || decision === undefined) return NO_EXTRA
    const ids = [...new Set(decision.matches.map((match) => match.ruleId))].join(',')
    return ['x-ringwall-decision', decision.outcome, 'x-ringwall-rules', ids]
  }

  // The rest.

  #clientClosed(): void {
    if (this.#over) return
    this.#context.counters.clientAborts++
    clearTimeout(this.#bodyTimer)
    this.#dropUpstream()
    this.#finish(499, 'client closed the connection')
  }

  #dropUpstream(): void {
    const connection = this.#connection
    this.#connection = undefined
    connection?.abandon()
  }

  #settleSource(head: RequestHead, trusted: (address: string) => boolean): void {
    const { address, chain } = sourceOf(this.#socketAddress, head.forwardedFor, trusted)
    this.#source = address
    this.#chain = chain === undefined ? address : `${chain}, ${this.#socketAddress}`
    if (address === this.#socketAddress) return
    // Connections are cut by their own address; requests that a proxy forwards, by what it says.
    this.#context.sources.add(address, this)
    if (this.#request.headers['x-forwarded-proto'] === 'https') this.#proto = 'https'
  }

  #beginTrace(head: RequestHead): void {
    const { recorder } = this.#context.options
    const parent = recorder.parseTraceparent(head.traceparent, head.tracestate)
    this.#parentSpanId = parent?.spanId
    this.#span = parent === undefined ? recorder.newTrace() : recorder.childOf(parent)
  }

  #guardRequest(head: RequestHead): GuardRequest {
    const { rawHeaders } = this.#request
    const headers: HeaderField[] = new Array(rawHeaders.length >> 1)
    for (let at = 0; at < rawHeaders.length; at += 2) headers[at >> 1] = [rawHeaders[at]!, rawHeaders[at + 1]!]
    return {
      method: head.method,
      target: head.target,
      httpVersion: this.#request.httpVersion,
      headers,
      remoteAddress: this.#source,
      host: head.host,
      path: head.path,
    }
  }

  #reportLogin(status: number): void {
    const login = this.#judgement!.login
    const { onLogin } = this.#context.options
    if (login === undefined || onLogin === undefined) return
    const failed = this.#judgement!.route?.route?.login?.failure.includes(status) ?? false
    try {
      onLogin({ service: login.service, account: login.account, source: this.#source, failed, atMs: Date.now() })
    } catch (error) {
      this.#context.log('warn', `request ${this.#requestId}: reporting a login failed: ${(error as Error).message}`)
    }
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

  /** Counts and records the request, once. */
  #finish(status: number, error: string | undefined): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#stallTimer)
    const { counters, options, sources } = this.#context
    counters.activeRequests--
    if (this.#source !== this.#socketAddress) sources.delete(this.#source, this)
    const decision = this.#judgement?.decision ?? this.#ownDecision('deny', status, 'none', 'never judged')
    if (decision.outcome === 'allow') counters.allowed++
    else if (decision.outcome === 'throttle') counters.throttled++
    else if (decision.outcome === 'challenge') counters.challenged++
    else counters.denied++
    const endMs = performance.now()
    const route = this.#judgement?.route
    options.recorder.observeRequest({
      outcome: decision.outcome,
      check: decision.check,
      stale: decision.stale,
      service: route?.service.name,
      guardUs: this.#guardMs * 1_000,
      totalUs: (endMs - this.#startMs) * 1_000,
      upstreamUs: this.#upstreamStatus === undefined ? undefined : this.#upstreamHeadMs * 1_000,
    })
    if (!options.recorder.wants(decision.outcome)) return
    const upstream = this.#upstream
    recordExchange(options.recorder, {
      requestId: this.#requestId,
      node: options.node,
      region: options.region,
      source: this.#source,
      method: this.#request.method ?? '',
      host: this.#head?.host ?? '',
      path: withoutQuery(this.#head?.target ?? this.#request.url ?? ''),
      service: route?.service.name,
      route: route?.route?.name,
      label: route?.label,
      decision,
      status,
      span: this.#span ?? options.recorder.newTrace(),
      parentSpanId: this.#parentSpanId,
      startMs: this.#startMs,
      guardStartMs: this.#guardStartMs === 0 ? this.#startMs : this.#guardStartMs,
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
    })
  }
}

/** Would change what was already decided from the head (RFC 9110 section 6.5.1). */
const TRAILERS_REFUSED: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'content-type',
  'content-encoding',
  'host',
  'connection',
  'trailer',
  'set-cookie',
  'location',
  'cache-control',
  'x-request-id',
])

function ignore(): void {}

function frame(bytes: Buffer): Buffer[] {
  return [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, CRLF]
}

const CRLF = Buffer.from('\r\n')

function withoutQuery(target: string): string {
  const at = target.indexOf('?')
  return at < 0 ? target : target.slice(0, at)
}
