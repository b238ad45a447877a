import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AnomalyFinding, Signal } from '@ringwall/detect'
import { correlate, Findings } from '@ringwall/respond'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import { AnomalyWatch, describeAnomaly, followAnomalies } from './anomaly-watch.ts'
import { DetectionWatch } from './detection.ts'
import { ofAnomaly } from './incident-findings.ts'

const T0 = Date.UTC(2_026, 5, 1)
const MINUTE = 60_000
const POLICY = (detectors: string): string => `version: 1
services: { shop: { upstreams: [{ url: "http://127.0.0.1:1" }] } }
denials: { safe: [198.51.100.0/24] }
detectors: ${detectors}
`

function policyOf(text: string): View['policy'] {
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

function watch(detectors: string) {
  const found: AnomalyFinding[] = []
  let policy = policyOf(POLICY(detectors))
  const view = () => ({ policy }) as View
  const anomalies = new AnomalyWatch({ ring: 'a'.repeat(64), view, onFinding: (one) => found.push(one) })
  const detection = new DetectionWatch({
    self: 'n1',
    view,
    anomalies,
    deny: () => assert.fail('nobody is denied for an anomaly'),
    onFinding: () => assert.fail('no rule is in force'),
  })
  return { anomalies, detection, found, use: (text: string) => (policy = policyOf(POLICY(text))) }
}

const signal = (atMs: number, source: string, more: Partial<Signal> = {}): Signal => ({
  atMs,
  service: 'shop',
  route: 'products',
  method: 'GET',
  status: 200,
  bytes: 9_000,
  source,
  fingerprint: undefined,
  account: undefined,
  session: undefined,
  path: 7,
  login: undefined,
  signup: false,
  ...more,
})

/** Twelve requests a minute, for so many hours. */
function live(give: (one: Signal) => void, hours: number): void {
  for (let at = 0; at < hours * 720; at += 1) give(signal(T0 + at * 5_000, `203.0.113.${at % 97}`))
}

const ODD_MS = T0 + 27 * 60 * MINUTE

test('where no rule is in force anomalies are looked for alone: named in one line, one finding in one incident, nobody denied', () => {
  const { detection, anomalies, found } = watch('{ anomalies: {} }')
  assert.ok(detection.isOn)
  live((one) => detection.observe(one), 27)
  assert.deepEqual(found, [])
  for (let at = 0; at < 3_000; at += 1) {
    detection.observe(signal(ODD_MS + at * 90, '2001:db8:0:7::1', { path: at }))
    detection.observe(signal(ODD_MS + at * 90, '198.51.100.3', { path: at }))
  }
  for (let minute = 5; minute < 20; minute += 5) anomalies.expire(ODD_MS + minute * MINUTE)
  const route = found.find(({ rule }) => rule === 'anomaly-route')
  assert.match(
    describeAnomaly(route!),
    /^anomaly-route: not as usual on shop: route products: in 5 min .*\d+ requests \(usual: \d+( to \d+)?\).*; most from 2001:db8:0:7::/,
  )
  assert.ok(!JSON.stringify(found).includes('198.51.100'), 'what is safe is not looked at')
  const desk = new Findings({ self: 'n1', keepMs: 86_400_000 })
  for (const one of found) desk.add(ofAnomaly(one))
  const incidents = correlate(desk.all())
  assert.equal(incidents.length, 1, 'what shares a source is one story')
  assert.deepEqual(incidents[0]!.attack, [])
  assert.ok(incidents[0]!.timeline.every(({ denied }) => !denied))
})

test('off, it looks at nothing and keeps nothing; a changed setting learns anew, other changes of the policy do not', () => {
  const { detection, anomalies, use } = watch('{ anomalies: { mode: off } }')
  assert.ok(!detection.isOn)
  detection.observe(signal(T0, '203.0.113.1'))
  assert.equal(anomalies.size, undefined)
  use('{ anomalies: {} }')
  live((one) => detection.observe(one), 1)
  const { windows } = anomalies.size!
  assert.ok(windows > 0)
  use('{ anomalies: {}, floods: { mode: off } }')
  assert.equal(anomalies.size!.windows, windows)
  use('{ anomalies: { deviations: 9 } }')
  assert.equal(anomalies.size!.windows, 0)
})

test('nodes tell each other what their trees counted; garbage of a peer changes nothing', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const [one, other] = [watch('{ anomalies: {} }'), watch('{ anomalies: {} }')]
  const told: Uint8Array[] = []
  t.after(followAnomalies(one.anomalies, { broadcast: (_channel, payload) => void told.push(payload) }))
  live((each) => one.detection.observe(each), 4)
  live((each) => other.detection.observe(each), 4)
  t.mock.timers.tick(60_000)
  assert.ok(told.length > 0)
  for (const payload of [...told, new Uint8Array(), Uint8Array.of(9, 1, 2), told[0]!.subarray(0, 20)])
    other.anomalies.merge('n2', payload, T0 + 4 * 60 * MINUTE)
  assert.deepEqual(other.found, [])
})
