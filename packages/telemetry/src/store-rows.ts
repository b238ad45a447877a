/**
 * Records as the rows that are written: texts and numbers only, which pass between threads at a fraction of what objects cost.
 * The spans of one request that are told one after the other share a row.
 */
import type { Weighed } from './decision-buffer.ts'
import type { Span } from './types.ts'

/** Request id, milliseconds, whether allowed, weight, outcome, source, path, rule, service, the record as JSON. */
export type DecisionRow = readonly [string, number, 0 | 1, number, string, string, string, string | null, string | null, string]

/** Trace id, milliseconds, a span as JSON or an array of them. */
export type SpanRow = readonly [string, number, string]

const SPANS_PER_ROW_MAX = 8

export function decisionRow({ record, weight }: Weighed): DecisionRow {
  const { requestId, atMs, outcome, source, path, rule, service } = record
  const allowed = outcome === 'allow' ? 1 : 0
  return [requestId, atMs, allowed, weight, outcome, source, path, rule ?? null, service ?? null, JSON.stringify(record)]
}

export function spanRows(spans: readonly Span[]): SpanRow[] {
  const rows: SpanRow[] = []
  for (let at = 0; at < spans.length; ) {
    const { traceId, startUs } = spans[at]!
    let end = at + 1
    while (end < spans.length && end - at < SPANS_PER_ROW_MAX && spans[end]!.traceId === traceId) end++
    rows.push([traceId, Math.floor(startUs / 1_000), JSON.stringify(end - at === 1 ? spans[at] : spans.slice(at, end))])
    at = end
  }
  return rows
}
