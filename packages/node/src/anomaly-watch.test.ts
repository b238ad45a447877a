import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { AnomalyFinding, Signal } from '@ringwall/detect'
import { correlate, Findings } from '@ringwall/respond'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import { AnomalyWatch, describeAnomaly, followAnomalies, keepAnomalies } from './anomaly-watch.ts'
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

function watch(detectors: string, ring = 'a'.repeat(64)) {
  const found: AnomalyFinding[] = []
  let policy = policyOf(POLICY(detectors))
  const view = () => ({ policy }) as View
  const anomalies = new AnomalyWatch({ ring, view, onFinding: (one) => found.push(one) })
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

test('off, it looks at nothing and keeps nothing; a changed setting leaves what was learned', () => {
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
  assert.equal(anomalies.size!.windows, windows)
  use('{ anomalies: { mode: off } }')
  assert.equal(anomalies.size, undefined)
  use('{ anomalies: {} }')
  assert.equal(anomalies.size!.windows, 0, 'off forgets')
})

test('what was learned is there after a restart; a file that was changed, cut or of another ring is told once, moved aside and learned anew', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-anomalies-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  t.mock.timers.enable({ apis: ['setInterval', 'Date'], now: T0 + 27 * 60 * MINUTE })
  const file = join(folder, 'anomalies.bin')
  const lines: string[] = []
  const start = async (ring?: string) => {
    const made = watch('{ anomalies: {} }', ring)
    const options = { file, log: (_: 'warn', line: string) => void lines.push(line) }
    return { ...made, stop: await keepAnomalies(made.anomalies, options) }
  }
  const first = await start()
  assert.equal(first.anomalies.size!.routes, 0)
  live((one) => first.detection.observe(one), 27)
  await first.stop()
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const again = await start()
  const { routes, actors } = first.anomalies.size!
  assert.ok(actors > 90)
  assert.deepEqual([again.anomalies.size!.routes, again.anomalies.size!.actors], [routes, actors])
  for (let at = 0; at < 3_000; at += 1)
    again.detection.observe(signal(ODD_MS + 6 * MINUTE + at * 90, '2001:db8:0:7::1', { path: at }))
  for (let minute = 5; minute < 25; minute += 5) again.anomalies.expire(ODD_MS + minute * MINUTE)
  assert.ok(again.found.length > 0, 'it need not learn for another day')
  assert.deepEqual(lines, [])

  const whole = readFileSync(file)
  for (const wrong of [whole.subarray(0, 5_000), Buffer.from(whole.with(9_000, whole[9_000]! ^ 1)), Buffer.alloc(0)]) {
    writeFileSync(file, wrong)
    const other = await start()
    assert.equal(other.anomalies.size!.routes, 0)
    assert.match(
      lines.splice(0).join(),
      /^what is usual cannot be read and is learned anew: .*; the file is .*anomalies\.bin\.unread now$/,
    )
    assert.deepEqual(readFileSync(`${file}.unread`), wrong)
    await other.stop()
  }
  writeFileSync(file, whole)
  const stranger = await start('b'.repeat(64))
  assert.match(lines.splice(0).join(), /it is of another ring/)
  assert.equal(stranger.anomalies.size!.actors, 0)
  stranger.use('{ anomalies: { mode: off } }')
  await stranger.stop()
  assert.ok(!existsSync(file), 'off, nothing is kept')
  assert.deepEqual(lines, [])
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
    other.anomalies.merge('n2', payload)
  assert.deepEqual(other.found, [])
})
