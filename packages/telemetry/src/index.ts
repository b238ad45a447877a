export type { AnyTelemetryError } from './errors.ts'
export { StoreUnavailable, TelemetryError, TelemetryOptionsInvalid } from './errors.ts'
export type { OtlpOptions } from './otlp-exporter.ts'
export { RequestFeed, type RequestNews } from './request-feed.ts'
export { nodeOfRequestId, requestId } from './request-id.ts'
export { openTelemetry, type TelemetryOptions } from './telemetry.ts'
export { childOf, formatTraceparent, newTrace, parseTraceparent, parseTracestate } from './trace-context.ts'
export type {
  AttributeValue,
  DecisionFilter,
  DecisionRecord,
  DurationCounts,
  LabelledValue,
  Labels,
  RequestCounts,
  RequestMeasure,
  Span,
  Telemetry,
  TopKey,
  TopRow,
  TraceContext,
} from './types.ts'
