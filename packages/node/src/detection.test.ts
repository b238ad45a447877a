import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Signal } from '@ringwall/detect'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import { type Detected, DetectionWatch, describeDetected, followDetection, signalOf } from './detection.ts'

const T0 = 1_800_000_000_000
const POLICY = (mode: string, more = ''): string => `version: 1
services: { shop: { upstreams: [{ url: "http://127.0.0.1:1" }] } }
bots: { engines: { userAgent: engine, prefixes: [192.0.2.0/24, "2001:db8:b::/48"] } }
trustedProxies: [198.18.0.1]
denials: { safe: [198.51.100.0/24] }
detectors:
  rules:
    - { name: probing, attack: [T1595.003], mode: ${mode}, by: [source], when: { status: [404] }, over: { paths: 5 }, within: 1h, denyFor: 10m, reason: asks for what is not there ${more} }
`

function policyOf(text: string): View['policy'] {
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

function watch(mode: string) {
  const [found, denied]: [Detected[], string[]] = [[], []]
  let policy = policyOf(POLICY(mode))
  const detection = new DetectionWatch({
    self: 'n1',
    view: () => ({ policy }) as View,
    deny: (subject, ttlMs, reason) => denied.push(`${subject.kind} ${subject.value} ${ttlMs} ${reason}`),
    onFinding: (one) => found.push(one),
  })
  const probe = (source: string, paths: number): void => {
    for (let at = 0; at < paths; at += 1) detection.observe(signal(source, `/x${at}`))
  }
  return { detection, found, denied, probe, use: (text: string) => (policy = policyOf(text)) }
}

function signal(source: string, path: string, session?: string, ring = 'a'.repeat(64)): Signal {
  return signalOf(
    {
      atMs: T0,
      service: 'shop',
      route: undefined,
      method: 'GET',
      path,
      status: 404,
      bytes: 0,
      source,
      fingerprint: undefined,
      account: undefined,
      session,
      login: undefined,
      signup: false,
    },
    ring,
  )
}

test('a signal names no session and no path: hashes that another ring has not; of IPv6 the /64 alone', () => {
  const one = signal('2001:db8::1:2:3:4', '/secret/7', 'token-5ec2e7')
  assert.ok(!/secret|5ec2e7|:1:2/.test(JSON.stringify(one)))
  assert.equal(one.session, signal('203.0.113.1', '/', 'token-5ec2e7').session)
  assert.notEqual(one.session, signal('203.0.113.1', '/', 'token-5ec2e7', 'b'.repeat(64)).session)
  assert.equal(one.source, signal('2001:db8::9', '/').source)
})

test('a rule that observes says whom, and denies nobody; one that enforces denies the source, with why', () => {
  const observing = watch('observe')
  observing.probe('203.0.113.7', 10)
  assert.equal(observing.found.length, 1)
  assert.match(
    describeDetected(observing.found[0]!),
    /^probing \(T1595\.003\): asks for what is not there: source 203\.0\.113\.7: 5 paths in 1 h, seen on 1 node$/,
  )
  assert.deepEqual(observing.denied, [])
  const enforcing = watch('enforce')
  enforcing.probe('2001:db8::7', 10)
  assert.deepEqual(enforcing.denied, [
    'cidr 2001:db8::/64 600000 detector probing: asks for what is not there: 5 paths in 1 h, seen on 1 node',
  ])
})

test('those who are welcome, safe or proxies are not looked at; nobody is when no rule is in force', () => {
  const { found, probe, detection, use } = watch('enforce')
  for (const source of ['192.0.2.9', '2001:db8:b::1', '198.51.100.3', '198.18.0.1']) probe(source, 20)
  assert.deepEqual(found, [])
  assert.ok(detection.isOn)
  use(POLICY('off'))
  assert.ok(!detection.isOn)
  probe('203.0.113.7', 20)
  assert.deepEqual(found, [])
  assert.equal(detection.summary(T0), undefined)
})

test('what was counted stays while the policy changes elsewhere, and begins anew with other rules', () => {
  const { found, probe, use } = watch('observe')
  probe('203.0.113.7', 4)
  use(POLICY('enforce').replace('10m', '20m'))
  probe('203.0.113.7', 5)
  assert.equal(found.length, 1)
  assert.ok(found[0]!.denied)
  const other = watch('observe')
  other.probe('203.0.113.7', 4)
  other.use(POLICY('observe').replace('paths: 5', 'paths: 6'))
  other.probe('203.0.113.7', 5)
  assert.deepEqual(other.found, [])
})

test('garbage of a peer changes nothing, and a peer that talks without end is passed over', () => {
  const { detection, found } = watch('observe')
  for (const payload of [new Uint8Array(), Uint8Array.of(2), Uint8Array.from([2, ...Buffer.from('{"keys":[[1]]}')])])
    detection.merge('n2', payload, T0)
  const liar = watch('observe')
  liar.probe('203.0.113.7', 20)
  const tale = liar.detection.summary(T0)!
  for (let at = 0; at < 1_000; at += 1) detection.merge('n2', tale, T0 + at)
  assert.deepEqual(found, [])
  assert.equal(detection.size.keys, 0)
})

test('a key that is well on its way is told of at once and then once a second, not when the timer comes: the other node denies', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: T0 })
  const [one, other] = [watch('enforce'), watch('enforce')]
  const told: Uint8Array[] = []
  const end = followDetection(one.detection, { broadcast: (_channel, payload) => void told.push(payload) })
  t.after(end)
  one.probe('203.0.113.7', 3)
  assert.equal(told.length, 0, 'what comes together is told together')
  t.mock.timers.tick(100)
  assert.equal(told.length, 1)
  for (const path of ['/a', '/b', '/c']) other.detection.observe(signal('203.0.113.7', path))
  assert.deepEqual(other.denied, [])
  other.detection.merge('n2', told[0]!, T0)
  assert.equal(other.denied.length, 1)
  assert.match(other.denied[0]!, /^ip 203\.0\.113\.7 /)

  one.probe('203.0.113.8', 2)
  t.mock.timers.tick(500)
  assert.equal(told.length, 1, 'others take no more than one in a while')
  t.mock.timers.tick(500)
  assert.equal(told.length, 2)
  t.mock.timers.tick(3_000)
  assert.equal(told.length, 2, 'nothing is news')
})
