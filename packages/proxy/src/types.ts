/** The words of the proxy. */
import type { Guard, GuardEnvironment, LoginAttempt, Outcome } from '@ringwall/guard'
import type { Policy } from '@ringwall/ring'

/** What a proxy needs of telemetry; the same shapes as there. */
export interface TraceContext {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  readonly traceState: string | undefined
}

export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: 'server' | 'client' | 'internal'
  /** Unix microseconds. */
  readonly startUs: number
  readonly endUs: number
  readonly ok: boolean
  readonly attributes: Readonly<Record<string, string | number | boolean>>
}

export interface DecisionRecord {
  readonly requestId: string
  readonly atMs: number
  readonly node: string
  readonly region: string
  readonly traceId: string
  readonly source: string
  readonly method: string
  readonly host: string
  readonly path: string
  readonly service: string | undefined
  readonly route: string | undefined
  readonly outcome: Outcome
  readonly shadowOutcome: Outcome
  readonly check: string
  /** What the client got. */
  readonly status: number
  readonly reason: string
  readonly rule: string | undefined
  readonly height: number
  readonly viewAgeMs: number
  readonly stale: boolean
  readonly provisional: boolean
  readonly wafScore: number
  readonly matches: readonly {
    readonly ruleId: number
    readonly message: string
    readonly severity: string
    readonly variable: string
    readonly excerpt: string
  }[]
  readonly guardUs: number
  readonly totalUs: number
}

export interface RequestMeasure {
  readonly outcome: Outcome
  readonly check: string
  /** The view was older than the route tolerates. */
  readonly stale: boolean
  readonly service: string | undefined
  readonly guardUs: number
  readonly totalUs: number
  readonly upstreamUs: number | undefined
}

/** Trace contexts and request ids. */
export interface Tracer {
  parseTraceparent(traceparent: string | undefined, tracestate?: string): TraceContext | undefined
  newTrace(): TraceContext
  childOf(parent: TraceContext): TraceContext
  formatTraceparent(context: TraceContext): string
  /** Unique, unguessable, and names the node. Visible ASCII without spaces. */
  requestId(node: string): string
}

/** Where requests are recorded. Nothing here may block or throw. */
export interface Recorder extends Tracer {
  /** Asked just before a record and its spans are built. */
  wants(outcome: Outcome): boolean
  recordDecision(record: DecisionRecord): void
  recordSpan(span: Span): void
  /** Every request, recorded or not. */
  observeRequest(measure: RequestMeasure): void
  /** Every request, at its end. `status` is what the client got. */
  finished?(requestId: string, status: number): void
}

/** Bounds on what the network can make the proxy hold. */
export interface ProxyLimits {
  /** Open connections; more are closed at once. */
  readonly connectionsMax: number
  /** New connections of denied sources that get their 403 in one second; more are dropped without a word. */
  readonly deniedConnectionsPerSecondMax: number
  readonly headerBytesMax: number
  readonly headersMax: number
  /** Method, target and version. */
  readonly requestLineBytesMax: number
  /** Until a request's head is complete. */
  readonly headersMsMax: number
  /** Until a request is complete, body included. */
  readonly requestMsMax: number
  /** Until the part of a body that is inspected has arrived. */
  readonly inspectedBodyMsMax: number
  /** How long a client may pause within a body that is wanted. */
  readonly bodyStallMsMax: number
  readonly keepAliveMsMax: number
  readonly requestsPerConnectionMax: number
  /** How long a client may leave its response unread. */
  readonly clientStallMsMax: number
  /** WebSocket tunnels, and how long one may be silent. */
  readonly tunnelsMax: number
  readonly tunnelIdleMsMax: number
  readonly upstreamConnectMsMax: number
  /** Connections to one upstream, and requests waiting for one. */
  readonly upstreamConnectionsMax: number
  readonly upstreamWaitingMax: number
  readonly upstreamIdleMsMax: number
  readonly upstreamHeaderBytesMax: number
}

export const DEFAULT_LIMITS: ProxyLimits = {
  connectionsMax: 16_384,
  deniedConnectionsPerSecondMax: 100,
  headerBytesMax: 32_768,
  headersMax: 100,
  requestLineBytesMax: 16_384,
  headersMsMax: 10_000,
  requestMsMax: 300_000,
  inspectedBodyMsMax: 30_000,
  bodyStallMsMax: 30_000,
  keepAliveMsMax: 65_000,
  requestsPerConnectionMax: 100_000,
  clientStallMsMax: 60_000,
  tunnelsMax: 4_096,
  tunnelIdleMsMax: 300_000,
  upstreamConnectMsMax: 2_000,
  upstreamConnectionsMax: 256,
  upstreamWaitingMax: 1_024,
  // Node's own server closes idle connections after 5 s: closing first avoids the race.
  upstreamIdleMsMax: 4_000,
  upstreamHeaderBytesMax: 65_536,
}

export interface LoginEvent extends LoginAttempt {
  readonly source: string
  readonly failed: boolean
  /** Unix milliseconds. */
  readonly atMs: number
}

export interface ProxyOptions {
  readonly host: string
  /** 0: any free port; `start` says which. */
  readonly port: number
  readonly guard: Guard
  /** Called for each request: the view in force, the time. */
  readonly environment: () => GuardEnvironment
  readonly recorder: Recorder
  readonly node: string
  readonly region: string
  /** Adds `x-ringwall-rules` and `x-ringwall-decision` to responses. Tells attackers what matched: for testing. */
  readonly explainHeader: boolean
  readonly limits?: Partial<ProxyLimits>
  /** Called when a login route has answered. */
  readonly onLogin?: (event: LoginEvent) => void
  /** Is `X-Forwarded-For` from this address believed? `isTrustedProxy` of `@ringwall/ring` unless given. */
  readonly isTrustedProxy?: (policy: Policy, address: string) => boolean
  readonly log?: (level: 'info' | 'warn', line: string) => void
}

/** Counts since the start, except `active…`. */
export interface ProxyStats {
  readonly requests: number
  readonly allowed: number
  readonly denied: number
  readonly challenged: number
  readonly throttled: number
  /** Requests refused before judgement: not HTTP, or ambiguous. */
  readonly malformed: number
  /** Requests answered 502 or 504, or cut off by their upstream. */
  readonly upstreamErrors: number
  readonly clientAborts: number
  /** Connections of denied sources that were dropped before they said anything. */
  readonly droppedConnections: number
  readonly activeConnections: number
  readonly activeRequests: number
  readonly activeTunnels: number
}

export interface UpstreamStatus {
  readonly service: string
  readonly url: string
  readonly region: string | undefined
  readonly healthy: boolean
  /** Why it is or is not. */
  readonly reason: string
  /** Of the last connect, or the time to the head of the last response. */
  readonly latencyMs: number | undefined
}

export interface Proxy {
  /** @throws {ListenFailed} Port in use, address not here, no permission. */
  start(): Promise<{ readonly host: string; readonly port: number }>
  /** Takes no new connections, lets running requests end for `graceMs`, then cuts. */
  stop(graceMs: number): Promise<void>
  stats(): ProxyStats
  upstreams(): readonly UpstreamStatus[]
  /**
   * Closes what a denied source has open, WebSockets included. Returns how many.
   *
   * @param source An address or a CIDR prefix.
   */
  cutSource(source: string): number
}
