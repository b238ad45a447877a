/** The words of the proxy. */
import type { X509Certificate } from 'node:crypto'
import type { ConnectionOptions, SecureContext } from 'node:tls'
import type { Guard, GuardEnvironment, LoginAttempt, Outcome, Peer } from '@ringwall/guard'
import type { DenialSubject, Policy } from '@ringwall/ring'
import type { AcmeAnswer } from './acme-answers.ts'
import type { Challenges } from './challenges.ts'
import type { EndedRequests } from './ended-request.ts'
import type { Portal } from './people.ts'
import type { CacheStatus } from './response-cache.ts'
import type { TicketSecret } from './ticket-secret.ts'

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
  /** Of the client's TLS (JA4); absent without TLS. */
  readonly ja4?: string | undefined
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
  /** Every request, at its end. `status` and `fields` (names and values in turn; none when no response began) are what the client got. */
  finished?(requestId: string, status: number, fields: readonly string[]): void
}

/** Bounds on what the network can make the proxy hold. */
export interface ProxyLimits {
  /** Open connections; past it the one that has waited longest for its client goes for the new one. */
  readonly connectionsMax: number
  /** Of one IPv4 address, or one /64 of IPv6, unless it is a trusted proxy. */
  readonly connectionsPerSourceMax: number
  /** New connections of denied sources that get their 403 in one second; more are dropped without a word. */
  readonly deniedConnectionsPerSecondMax: number
  /** Connections that have not said yet what they want over TLS; past it the oldest goes for the newest. */
  readonly handshakesMax: number
  /** Until a handshake is complete. */
  readonly handshakeMsMax: number
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
  /** Of one IPv4 address, or one /64 of IPv6, unless it is a trusted proxy. */
  readonly tunnelsPerSourceMax: number
  readonly tunnelIdleMsMax: number
  readonly upstreamConnectMsMax: number
  readonly upstreamIdleMsMax: number
  readonly upstreamHeaderBytesMax: number
  /** How long the beginning of a response without a length may wait for its end, to be inspected with it. */
  readonly responseHoldMsMax: number
}

export const DEFAULT_LIMITS: ProxyLimits = {
  connectionsMax: 16_384,
  connectionsPerSourceMax: 4_096,
  deniedConnectionsPerSecondMax: 100,
  handshakesMax: 2_048,
  handshakeMsMax: 8_000,
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
  tunnelsPerSourceMax: 1_024,
  tunnelIdleMsMax: 300_000,
  upstreamConnectMsMax: 2_000,
  // Node's own server closes idle connections after 5 s: closing first avoids the race.
  upstreamIdleMsMax: 4_000,
  upstreamHeaderBytesMax: 65_536,
  responseHoldMsMax: 1_000,
}

/** Told who asks how much. Nothing here may block or throw. Sources are as `sourceKey` of `@ringwall/guard` has them. */
export interface SourceMeter {
  /** A request. @param insisted Refused before, it asked on at once. */
  asked(source: string, ja4: string | undefined, isRefused: boolean, insisted: boolean): void
  /** A connection of a denied source that was dropped. */
  knocked(source: string): void
  /** Called a few times a second. @param pressed Whether there is too little time for all. @param nowMs Monotonic. */
  look(pressed: boolean, nowMs: number, connectionsOf: (source: string) => number | undefined): void
}

export interface LoginEvent extends LoginAttempt {
  readonly source: string
  readonly failed: boolean
  /** Unix milliseconds. */
  readonly atMs: number
}

/** A request to a service that declares an API, when it has ended. */
export interface ApiEvent {
  readonly service: string
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** As declared; undefined: no operation is declared for it. */
  readonly operation: string | undefined
  /** What was outside of the API, refused or only watched. */
  readonly rule: string | undefined
  /** What the client got. */
  readonly status: number
  /** Unix milliseconds. */
  readonly atMs: number
}

/** A certificate with its private key, as files in PEM; both may be in one, and it may be sealed. */
export interface CertificateFiles {
  /** The server's own certificate first, then those that issued it. */
  readonly certificate: string
  readonly key: string
  /** Whom it is for, such as `www.example.org` or `*.example.org`; what the certificate says, unless given. */
  readonly names?: readonly string[]
}

/** @param file Its path, which says under what name it was sealed. */
export type Unseal = (file: string, bytes: Uint8Array) => Uint8Array | undefined

export interface TlsOptions {
  /** At least one. */
  readonly certificates: readonly CertificateFiles[]
  /** What clients get that name none of the hosts, or no host: the first certificate, or a refusal. */
  readonly unknownNames: 'first' | 'refuse'
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  /** `Strict-Transport-Security` of every response (RFC 6797); undefined: whatever the upstream says. */
  readonly hsts: string | undefined
  /** In place of `certificates`: whatever these are at the time. */
  readonly source?: TlsSource
  /**
   * Asks clients for certificates, which they may have or not. Whoever shows one has shown that it holds its key; who issued it, and until when, is not
   * looked at: a token that is bound to it says that it is the one (RFC 8705 section 3). `require`: whoever shows none that
   * `ProxyOptions.peer` knows is not let in.
   */
  readonly clientCertificates?: 'ask' | 'require'
}

/** Certificates of a listener that come from elsewhere than files. */
export interface TlsSource {
  /** For the name that a client asks for; undefined: refuse it. */
  contextFor(serverName: string | undefined): SecureContext | undefined
}

/** How connections to upstreams by `https` show who we are, and find out who they are. */
export interface UpstreamTls {
  /** Undefined: as everywhere, by the authorities that Node knows. @param url As the policy has it. */
  options(url: string): ConnectionOptions | undefined
  /** Another number when connections that were made before are to serve nothing new. */
  generation(): number
}

export interface ListenerOptions {
  readonly host: string
  /** 0: any free port; `start` says which. */
  readonly port: number
  readonly tls?: TlsOptions
  /** HTTP/2 by ALPN over TLS; without TLS by prior knowledge, beside HTTP/1.1. */
  readonly http2?: boolean
  /**
   * Connections from these prefixes begin with a header of the PROXY protocol, version 1 or 2, and are whose it says. Others are
   * taken as they are.
   */
  readonly proxyProtocol?: { readonly from: readonly string[] }
  /** Others, who say the same, may take connections to the port as well (SO_REUSEPORT): each connection is one's alone. */
  readonly reusePort?: boolean
  /** Every request is sent to the same address over TLS, at this port. Without `tls`. */
  readonly redirectToTls?: number
}

export interface ProxyOptions {
  /** At least one. */
  readonly listeners: readonly ListenerOptions[]
  readonly guard: Guard
  /** Called for each request: the view in force, the time. */
  readonly environment: () => GuardEnvironment
  readonly recorder: Recorder
  readonly node: string
  readonly region: string
  /** Adds `x-ringwall-rules` and `x-ringwall-decision` to responses. Tells attackers what matched: for testing. */
  readonly explainHeader: boolean
  readonly limits?: Partial<ProxyLimits>
  /** Told who asks how much, unless nobody wants to know. */
  readonly meter?: SourceMeter
  /** Called when a login route has answered. */
  readonly onLogin?: (event: LoginEvent) => void
  /** Told of every request to a service when it has ended, unless nobody wants to know. */
  readonly ended?: EndedRequests
  /** Called when a request that was held against its service's API has ended. */
  readonly onApi?: (event: ApiEvent) => void
  /** Opens files of keys and certificates that are sealed; undefined: it cannot. */
  readonly unseal?: Unseal
  /** Bytes for answers that are kept, where the policy wants some to be; 64 MiB unless given, 0: none. */
  readonly cacheBytes?: number
  /** Told of what a request has changed, by the keys of `Proxy.invalidate`: other proxies of the node may keep it, too. */
  readonly onInvalidate?: (keys: readonly string[]) => void
  /** Is `X-Forwarded-For` from this address believed? `isTrustedProxy` of `@ringwall/ring` unless given. */
  readonly isTrustedProxy?: (policy: Policy, address: string) => boolean
  readonly log?: (level: 'info' | 'warn', line: string) => void
  /** Who a client's certificate says that it is; undefined: nobody that is known. Must not throw. */
  readonly peer?: (certificate: X509Certificate, nowMs: number) => Peer | undefined
  readonly upstreamTls?: UpstreamTls
  /** Makes challenges; the guard opens their passes by the same. Without it, whoever is challenged is refused. */
  readonly challenges?: Challenges
  /** Answers for pages where people log in. Without it there are none, and nobody can. */
  readonly portal?: Portal
  /** Those who share ports share this, or a client could not resume its TLS session with all of them; one of its own unless given. */
  readonly ticketSecret?: TicketSecret
}

/** One certificate of one listener. */
export interface CertificateStatus {
  /** The file. */
  readonly certificate: string
  readonly names: readonly string[]
  /** Unix milliseconds. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Why the files, as they are now, are not in use; what was read before them is. */
  readonly problem: string | undefined
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
  /** Requests answered 503, because their upstreams carry as many as they may. */
  readonly overloaded: number
  /** Requests answered 503 because their sources asked most while there was too little time for all. */
  readonly shed: number
  readonly clientAborts: number
  /** Connections of denied sources, and of those with too many, that were dropped before they said anything. */
  readonly droppedConnections: number
  /** Connections that waited for their client, closed to make room for others. */
  readonly evictedConnections: number
  /** TLS handshakes that were completed; `tlsResumed` of them by a ticket. */
  readonly tlsHandshakes: number
  readonly tlsResumed: number
  /** Broken off by either side, or not completed in time. */
  readonly tlsFailed: number
  /** The oldest of too many that were under way at once. */
  readonly tlsDropped: number
  /** Connections without the PROXY header that their listener expects of their peer. */
  readonly proxyHeadersRefused: number
  /** HTTP/2 connections ended because what they sent is not HTTP/2; or because they sent too much of what does nothing. */
  readonly http2Errors: number
  readonly http2Floods: number
  /** Answers compressed as they came; those that were not for lack of room; and bytes before and after. */
  readonly compressed: number
  readonly compressionSkipped: number
  readonly compressedBytesIn: number
  readonly compressedBytesOut: number
  readonly certificatesTaken: number
  readonly certificatesRefused: number
  readonly activeHandshakes: number
  readonly activeConnections: number
  readonly activeRequests: number
  readonly activeTunnels: number
  /** Requests and WebSockets under way that were ended because their token was denied, or the policy changed. */
  readonly streamsCut: number
}

export interface UpstreamStatus {
  readonly service: string
  readonly url: string
  readonly region: string | undefined
  readonly weight: number
  readonly subset: string | undefined
  readonly healthy: boolean
  /** `starting`: fit, and not at its whole share yet. */
  readonly state: 'up' | 'starting' | 'down' | 'ejected'
  /** Why it is or is not. */
  readonly reason: string
  /** Of the last connect, or the time to the head of the last response. */
  readonly latencyMs: number | undefined
  /** Sent to it since the start, tries and copies among them. */
  readonly requests: number
  /** Of those, what broke, timed out or was answered with a status that counts as a failure; and how often it was ejected. */
  readonly failures: number
  readonly ejections: number
  /** Requests that it carries now, and that wait for a connection to it. */
  readonly active: number
  readonly pending: number
  readonly connections: number
}

/** What became of the requests of a service on their way to its upstreams; counts since the start. */
export interface ServiceStatus {
  readonly service: string
  /** Sent again, after something of them had been sent. */
  readonly retries: number
  /** Not sent again, because the budget was used up. */
  readonly retriesRefused: number
  /** Answered 503, because the upstreams carry as many as they may. */
  readonly overloaded: number
  /** Sent to a second upstream because the first took long, and answered by that one first. */
  readonly hedges: number
  readonly hedgesWon: number
  /** Copied to the mirror, and not copied because it had no room or was out. */
  readonly mirrored: number
  readonly mirrorsDropped: number
}

export interface Proxy {
  /** Where it listens, in the order of the options. @throws {ListenFailed} Port in use, address not here, no permission. */
  start(): Promise<readonly { readonly host: string; readonly port: number }[]>
  /** Takes no new connections, lets running requests end for `graceMs`, then cuts. */
  stop(graceMs: number): Promise<void>
  /**
   * Sends clients elsewhere while it is on: connections end with the answer under way, HTTP/2 by GOAWAY. Whoever comes all the same is served.
   */
  drain(isOn: boolean): void
  stats(): ProxyStats
  upstreams(): readonly UpstreamStatus[]
  services(): readonly ServiceStatus[]
  certificates(): readonly CertificateStatus[]
  cache(): CacheStatus
  /** What ACME servers are to find, in place of what it was before. */
  answerAcme(all: readonly AcmeAnswer[]): void
  /** Forgets answers that are kept. */
  invalidate(keys: readonly string[]): void
  /** Forgets what is kept of a service at a path and below it. */
  purge(service: string, path: string): void
  /** Reads the files of certificates again, which happens by itself when they change. */
  reloadCertificates(): void
  /**
   * Closes what a denied source has open, WebSockets included. Returns how many.
   *
   * @param source An address or a CIDR prefix.
   */
  cutSource(source: string): number
  /** Ends what tokens have open that these denials, already in force, are about. Returns how many requests and WebSockets. */
  cutCredentials(subjects: readonly DenialSubject[]): number
  /** Judges all that is open by the policy in force now, and ends what it does not allow. Returns how many. */
  reviewAll(): Promise<number>
}
