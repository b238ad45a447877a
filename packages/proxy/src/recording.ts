/** Turns what an exchange knows into one decision record and three spans. Called only when somebody will keep them. */
import type { Decision } from '@ringwall/guard'
import type { DecisionRecord, Recorder, Span, TraceContext } from './types.ts'

/** What is known of a request when it ends. Times are monotonic milliseconds. */
export interface Observed {
  readonly requestId: string
  readonly node: string
  readonly region: string
  readonly source: string
  readonly ja4: string | undefined
  readonly scheme: 'http' | 'https'
  readonly method: string
  readonly host: string
  readonly path: string
  readonly service: string | undefined
  readonly route: string | undefined
  readonly label: string | undefined
  readonly decision: Decision
  readonly status: number
  readonly span: TraceContext
  readonly parentSpanId: string | undefined
  readonly startMs: number
  readonly guardStartMs: number
  readonly guardMs: number
  readonly endMs: number
  readonly upstream:
    | {
        readonly spanId: string
        readonly host: string
        readonly port: number
        readonly startMs: number
        readonly status: number | undefined
      }
    | undefined
  /** Why the request did not end well. */
  readonly error: string | undefined
}

export function recordExchange(recorder: Recorder, observed: Observed): void {
  const { decision } = observed
  recorder.recordDecision(decisionRecord(observed))
  const { traceId } = observed.span
  const serverSpan: Span = {
    traceId,
    spanId: observed.span.spanId,
    parentSpanId: observed.parentSpanId,
    name: observed.label === undefined ? observed.method : `${observed.method} ${observed.label}`,
    kind: 'server',
    startUs: unixUs(observed.startMs),
    endUs: unixUs(observed.endMs),
    // Semantic conventions: a server span fails with 5xx only; 4xx is the client's affair.
    ok: observed.status < 500 && observed.error === undefined,
    attributes: {
      'http.request.method': observed.method,
      'url.path': observed.path,
      'url.scheme': observed.scheme,
      'http.response.status_code': observed.status,
      'server.address': observed.host,
      'client.address': observed.source,
      ...(observed.route === undefined ? {} : { 'http.route': observed.route }),
      ...(observed.error === undefined ? {} : { 'error.type': observed.error }),
      'ringwall.request_id': observed.requestId,
      'ringwall.node': observed.node,
      'ringwall.region': observed.region,
      'ringwall.decision': decision.outcome,
      'ringwall.check': decision.check,
    },
  }
  recorder.recordSpan(serverSpan)
  recorder.recordSpan({
    traceId,
    spanId: recorder.childOf(observed.span).spanId,
    parentSpanId: observed.span.spanId,
    name: 'guard',
    kind: 'internal',
    startUs: unixUs(observed.guardStartMs),
    endUs: unixUs(observed.guardStartMs + observed.guardMs),
    ok: true,
    attributes: {
      'ringwall.decision': decision.outcome,
      'ringwall.shadow_decision': decision.shadowOutcome,
      'ringwall.check': decision.check,
      'ringwall.waf.score': decision.wafScore,
      'ringwall.ledger.height': decision.height,
      'ringwall.view.age_ms': decision.viewAgeMs,
      'ringwall.view.stale': decision.stale,
      ...(decision.rule === undefined ? {} : { 'ringwall.rule': decision.rule }),
    },
  })
  const { upstream } = observed
  if (upstream === undefined) return
  recorder.recordSpan({
    traceId,
    spanId: upstream.spanId,
    parentSpanId: observed.span.spanId,
    name: observed.method,
    kind: 'client',
    startUs: unixUs(upstream.startMs),
    endUs: unixUs(observed.endMs),
    ok: upstream.status !== undefined && upstream.status < 400 && observed.error === undefined,
    attributes: {
      'http.request.method': observed.method,
      'server.address': upstream.host,
      'server.port': upstream.port,
      ...(upstream.status === undefined ? {} : { 'http.response.status_code': upstream.status }),
      ...(observed.error === undefined ? {} : { 'error.type': observed.error }),
    },
  })
}

function decisionRecord(observed: Observed): DecisionRecord {
  const { decision } = observed
  return {
    requestId: observed.requestId,
    atMs: Math.floor(unixUs(observed.startMs) / 1_000),
    node: observed.node,
    region: observed.region,
    traceId: observed.span.traceId,
    source: observed.source,
    ja4: observed.ja4,
    method: observed.method,
    host: observed.host,
    path: observed.path,
    service: observed.service,
    route: observed.route,
    outcome: decision.outcome,
    shadowOutcome: decision.shadowOutcome,
    check: decision.check,
    status: observed.status,
    reason:
      observed.error === undefined ? decision.reason : `${decision.reason}${decision.reason === '' ? '' : '; '}${observed.error}`,
    rule: decision.rule,
    height: decision.height,
    viewAgeMs: decision.viewAgeMs,
    stale: decision.stale,
    provisional: decision.provisional,
    wafScore: decision.wafScore,
    matches: decision.matches.map(({ ruleId, message, severity, variable, excerpt }) => ({
      ruleId,
      message,
      severity,
      variable,
      excerpt,
    })),
    guardUs: Math.round(observed.guardMs * 1_000),
    totalUs: Math.round((observed.endMs - observed.startMs) * 1_000),
  }
}

function unixUs(monotonicMs: number): number {
  return Math.round((performance.timeOrigin + monotonicMs) * 1_000)
}
