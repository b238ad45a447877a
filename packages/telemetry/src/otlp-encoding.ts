/**
 * OTLP traces in JSON: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, by the JSON rules of the OTLP specification
 * (ids as hex, 64-bit integers as decimal strings, enums as numbers).
 */
import type { AttributeValue, Span } from './types.ts'

const SPAN_KIND = { internal: 1, server: 2, client: 3 } as const
const STATUS_ERROR = { code: 2 } as const

export function encodeTraces(spans: readonly Span[], resource: Readonly<Record<string, AttributeValue>>): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: encodeAttributes(resource) },
        scopeSpans: [{ scope: { name: 'ringwall' }, spans: spans.map(encodeSpan) }],
      },
    ],
  })
}

function encodeSpan(span: Span): object {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId === undefined ? {} : { parentSpanId: span.parentSpanId }),
    name: span.name,
    kind: SPAN_KIND[span.kind],
    startTimeUnixNano: nanoseconds(span.startUs),
    endTimeUnixNano: nanoseconds(span.endUs),
    attributes: encodeAttributes(span.attributes),
    status: span.ok ? {} : STATUS_ERROR,
  }
}

/** As text: Unix nanoseconds exceed what a double holds exactly. */
function nanoseconds(us: number): string {
  return `${Math.round(us)}000`
}

function encodeAttributes(attributes: Readonly<Record<string, AttributeValue>>): object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: encodeValue(value) }))
}

function encodeValue(value: AttributeValue): object {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}
