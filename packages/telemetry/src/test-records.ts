/** Records for tests. */
import type { DecisionRecord, Span } from './types.ts'

export function decisionRecord(changes: Partial<DecisionRecord> = {}): DecisionRecord {
  return {
    requestId: 'n1-0000000000aaaaaaaaaaaaaaaa',
    atMs: 1_000,
    node: 'n1',
    region: 'eu',
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    source: '203.0.113.7',
    method: 'GET',
    host: 'shop.example',
    path: '/',
    service: 'shop',
    route: undefined,
    outcome: 'allow',
    shadowOutcome: 'allow',
    check: 'none',
    status: 200,
    reason: '',
    rule: undefined,
    height: 3,
    viewAgeMs: 10,
    stale: false,
    provisional: false,
    wafScore: 0,
    matches: [],
    guardUs: 12,
    totalUs: 400,
    ...changes,
  }
}

export function span(changes: Partial<Span> = {}): Span {
  return {
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    spanId: '00f067aa0ba902b7',
    parentSpanId: undefined,
    name: 'GET shop',
    kind: 'server',
    startUs: 1_763_700_000_000_001,
    endUs: 1_763_700_000_000_500,
    ok: true,
    attributes: { 'http.request.method': 'GET', 'http.response.status_code': 200 },
    ...changes,
  }
}
