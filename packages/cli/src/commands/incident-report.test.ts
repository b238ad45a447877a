import assert from 'node:assert/strict'
import { test } from 'node:test'
import { incidentReport } from './incident-report.ts'

const BEGAN = Date.UTC(2_026, 4, 3, 10)
const VERDICT = {
  incident: {
    id: '0123456789abcdef',
    title: 'guessing of shop',
    severity: 'medium',
    services: ['shop'],
    attack: ['T1110.003'],
    nodes: ['n1', 'n2'],
    sources: ['198.51.100.7'],
    accounts: [],
    sessions: [],
    firstMs: BEGAN,
    lastMs: BEGAN + 3_600_000,
    findings: 2,
    duplicates: 1,
    closed: null,
    timeline: [
      {
        firstMs: BEGAN,
        lastMs: BEGAN + 3_600_000,
        detector: 'guessing',
        subject: { kind: 'source', value: '198.51.100.7' },
        nodes: ['n1'],
        times: 3,
        reason: 'tries many accounts: 4 in 1 h',
        denied: true,
      },
    ],
  },
  node: 'n1',
  exportedAtMs: BEGAN + 7_200_000,
  provenHeight: 12,
  receipts: [{ decision: { requestId: 'n1-1', node: 'n1', outcome: 'deny', source: '198.51.100.7' } }],
  missing: [],
  denials: [{ id: 'd1', issuer: 'node:n1', reason: 'guessing' }],
  signers: ['n1', 'n2', 'n3'],
}

test('a report tells what happened when, what is proven, and by whom', () => {
  const page = incidentReport(VERDICT)
  for (const said of [
    '<h1>guessing of shop</h1>',
    'as n1 knew it at 2026-05-03 12:00:00 UTC',
    '<th scope="row">From</th><td>2026-05-03 10:00:00 UTC to 2026-05-03 11:00:00 UTC</td>',
    '<td>source 198.51.100.7</td><td>tries many accounts: 4 in 1 h</td><td>n1</td><td>3</td><td>yes</td>',
    '<td>n1-1</td><td>deny</td><td>198.51.100.7</td><td>n1</td>',
    '<td>d1</td><td>node:n1</td><td>guessing</td>',
    'after block 12, which n1, n2, n3 certified',
    'class="denied"',
  ])
    assert.ok(page.includes(said), said)
  assert.match(page, /Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/)
  assert.doesNotMatch(page, /Decisions without proof|NaN|undefined/)
})

test('whatever a node signed, nothing of it is markup, and what is missing or of another kind is nothing', () => {
  const evil = `"'><script>alert(1)</script>&\u0000\u001b`
  const spoil = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(spoil)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, spoil(each)]))
        : typeof value === 'string'
          ? evil
          : value
  const page = incidentReport(spoil(VERDICT) as typeof VERDICT)
  assert.ok(!page.includes('<script') && !page.includes(`"'>`) && !page.includes('\u001b') && !page.includes('\u0000'))
  for (const incident of [
    {},
    { title: 5, timeline: 'none', sources: [{}, null], firstMs: 'soon', closed: 'yes' },
    { timeline: [null, 5, [], { firstMs: Number.MAX_VALUE, lastMs: -5, subject: null }] },
  ])
    assert.doesNotMatch(incidentReport({ ...VERDICT, incident }), /NaN|undefined|\[object/)
})
