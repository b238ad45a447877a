export {
  type AnyProxyError,
  ListenFailed,
  ProxyError,
  TlsFilesInvalid,
  UpstreamBroken,
  UpstreamTimeout,
  UpstreamUnreachable,
} from './errors.ts'
export { createProxy } from './proxy.ts'
export {
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
  type Span,
  type TlsOptions,
  type TraceContext,
  type Tracer,
  type UpstreamStatus,
} from './types.ts'
