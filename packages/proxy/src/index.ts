export { type AnyProxyError, ListenFailed, ProxyError, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable } from './errors.ts'
export { createProxy } from './proxy.ts'
export {
  type ApiEvent,
  DEFAULT_LIMITS,
  type DecisionRecord,
  type LoginEvent,
  type Proxy,
  type ProxyLimits,
  type ProxyOptions,
  type ProxyStats,
  type Recorder,
  type RequestMeasure,
  type Span,
  type TraceContext,
  type Tracer,
  type UpstreamStatus,
} from './types.ts'
