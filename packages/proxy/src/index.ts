export type { AcmeAnswer } from './acme-answers.ts'
export { Challenges } from './challenges.ts'
export { NO_STATS } from './context.ts'
export { type EndedFacts, type EndedRequest, type EndedRequests, endedRequest } from './ended-request.ts'
export {
  type AnyProxyError,
  ListenFailed,
  ProxyError,
  RequestFault,
  TlsFilesInvalid,
  UpstreamBroken,
  UpstreamFull,
  UpstreamTimeout,
  UpstreamUnreachable,
} from './errors.ts'
export {
  currentPassKeys,
  livingPassKeys,
  PASS_KEY_BYTES,
  PASS_KEY_ID_BYTES,
  PASS_KEYS_MAX,
  type PassKey,
} from './pass-keys.ts'
export { type Portal, type PortalAnswer, type PortalRequest, type RenewedSession, sessionCookieText } from './people.ts'
export { createProxy } from './proxy.ts'
export type { CacheCounts, CacheStatus } from './response-cache.ts'
export { currentTicketSecret, newTicketSecret, type TicketSecret } from './ticket-secret.ts'
export {
  type ApiEvent,
  type CertificateFiles,
  type CertificateStatus,
  DEFAULT_LIMITS,
  type DecisionRecord,
  type ListenerOptions,
  type LoginEvent,
  type Proxy,
  type ProxyLimits,
  type ProxyOptions,
  type ProxyStats,
  type Recorder,
  type RequestMeasure,
  type ServiceStatus,
  type SourceMeter,
  type Span,
  type TlsOptions,
  type TraceContext,
  type Tracer,
  type Unseal,
  type UpstreamStatus,
} from './types.ts'
