import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { NewFinding } from '@ringwall/respond'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import { signalOf } from './detection.ts'
import { describeInsider, InsiderWatch, watchesRequests } from './insider-watch.ts'

const DAY_MS = 86_400_000
/** A Monday, at 10. */
const T0 = Date.UTC(2_026, 5, 1, 10)
const folder = mkdtempSync(join(tmpdir(), 'ringwall-insiders-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function policyOf(more = '', identity = ''): View['policy'] {
  const document = parsePolicyDocument(
    `version: 1\nservices: { shop: { upstreams: [{ url: "http://127.0.0.1:1" }]${identity} } }\n${more}`,
  )
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

function watch(name: string, more = '') {
  const found: NewFinding[] = []
  const lines: string[] = []
  let nowMs = T0
  let policy = policyOf(more)
  const file = join(folder, name)
  const insiders = new InsiderWatch({
    fabric: { broadcast: () => {} },
    view: () => ({ policy }) as View,
    file,
    onFinding: (finding) => found.push(finding),
    log: (_, line) => lines.push(line),
    now: () => nowMs,
  })
  const opens = (day: number, names: readonly string[], issuer = 'service:billing'): void => {
    nowMs = T0 + day * DAY_MS
    insiders.opened({ atMs: nowMs, issuer, secrets: names.map((one) => [one, 1] as const) })
  }
  return { insiders, found, lines, file, opens, use: (text: string) => (policy = policyOf(text)) }
}

const names = (count: number, prefix = 'shop/key'): readonly string[] =>
  Array.from({ length: count }, (_, at) => `${prefix}-${at}`)

test('a program that opens many secrets for the first time is found, by its name and without those of the secrets; what is kept has neither', async () => {
  const first = watch('kept')
  await first.insiders.start()
  for (let day = 0; day < 20; day += 1) first.opens(day, names(2))
  await first.insiders.stop()
  assert.equal(statSync(first.file).mode & 0o777, 0o600)
  assert.ok(!readFileSync(first.file, 'latin1').includes('shop/key'))
  const again = watch('kept')
  again.opens(20, [])
  await again.insiders.start()
  again.opens(20, [...names(2), ...names(12, 'payments/card')])
  assert.equal(again.found.length, 1)
  const [finding] = again.found
  assert.deepEqual(finding?.subject, { kind: 'identity', value: 'service:billing' })
  assert.equal(finding.denied, false)
  assert.equal(
    describeInsider(finding),
    'insider-secrets (T1078, T1213, T1530): identity service:billing opened 12 secrets within an hour, 10 of them for the first time; in the last 20 days it opened 2, at most 2 an hour',
  )
  assert.deepEqual(again.lines, [])
  await again.insiders.stop()
})

test('a program that gets new objects of its buckets every day is used to that; another bucket is new once, and far more objects than ever are found', () => {
  const { opens, found } = watch('objects')
  const objects = (day: number, count: number, bucket = 'photos'): readonly string[] =>
    Array.from({ length: count }, (_, at) => `${bucket}/${(day * 10_000 + at).toString(16).padStart(32, '0')}`)
  for (let week = 0; week < 4; week += 1)
    for (const day of [0, 2]) opens(week * 7 + day, objects(week * 7 + day, 60), 'key:RWAAAA')
  opens(29, [...objects(29, 60), ...objects(29, 30, 'invoices')], 'key:RWAAAA')
  assert.equal(found.length, 0)
  opens(30, objects(30, 400), 'key:RWAAAA')
  assert.match(found[0]?.reason ?? '', /^opened \d{3} secrets within an hour; in the last 30 days at most (8|9)\d an hour$/)
})

test('limits are the policy’s, and change without what was learned; off is off', () => {
  const { opens, found, use, insiders } = watch('limits', 'detectors: { insider: { secrets: { first: 30 } } }')
  for (let day = 0; day < 20; day += 1) opens(day, names(2))
  opens(20, names(14, 'other'))
  assert.equal(found.length, 0)
  use('detectors: { insider: { secrets: { first: 5 } } }')
  opens(21, names(6, 'more'))
  assert.equal(found.length, 1)
  use('detectors: { insider: { mode: off } }')
  opens(22, names(60, 'all'))
  assert.equal(found.length, 1)
  assert.deepEqual(insiders.counts(), { secrets: 0, admin: 0, account: 0 })
})

test('of operators’ statements those of a block that comes late teach, and are no news; nodes’ are not looked at', () => {
  const { insiders, found, opens } = watch('late')
  const operations = names(8, 'kind')
  for (let day = 0; day < 20; day += 1) {
    opens(day, [])
    insiders.operated('operator:ada', 'deny.add', T0 + day * DAY_MS)
    insiders.operated('node:n1', 'deny.add', T0 + day * DAY_MS)
  }
  opens(21, [])
  for (const operation of operations) insiders.operated('operator:ada', operation, T0 + 20 * DAY_MS)
  assert.equal(found.length, 0)
  assert.deepEqual(insiders.counts(), { secrets: 0, admin: 1, account: 0 })
  for (const operation of [...operations, ...names(8, 'other')]) insiders.operated('operator:ada', operation, T0 + 21 * DAY_MS)
  assert.deepEqual(
    found.map(({ detector, subject }) => [detector, subject.value]),
    [['insider-operations', 'operator:ada']],
  )
})

test('whose token a request came with is an account: a hash, found by endpoints that it never asked for', () => {
  const { insiders, found, opens } = watch('accounts')
  const ended = (day: number, path: string, subject: string | undefined) => {
    opens(day, [])
    const request = {
      atMs: T0 + day * DAY_MS,
      service: 'shop',
      route: undefined,
      method: 'GET',
      path,
      status: 200,
      bytes: 0,
      source: '203.0.113.7',
      fingerprint: undefined,
      account: undefined,
      session: undefined,
      subject,
      login: undefined,
      signup: false,
    }
    insiders.requested(signalOf(request, 'a'.repeat(64)))
  }
  const alice = 'https://id.example\nalice'
  for (let day = 0; day < 20; day += 1)
    for (let order = 0; order < 30; order += 1) ended(day, `/orders/${day * 30 + order}`, alice)
  for (let at = 0; at < 20; at += 1) ended(20, `/reports/r${String.fromCharCode(97 + at)}`, undefined)
  assert.equal(found.length, 0)
  for (let at = 0; at < 20; at += 1) ended(20, `/reports/r${String.fromCharCode(97 + at)}`, alice)
  const [finding] = found
  assert.equal(finding?.detector, 'insider-account')
  assert.equal(finding.service, 'shop')
  assert.match(finding.subject.value, /^[0-9a-f]{32}$/)
  assert.match(
    finding.reason,
    /^used 12 endpoints within an hour for the first time; in the last 20 days it used 1, at most \d+ an hour$/,
  )
})

test('requests are told only where a service asks for tokens, and the detector is on', () => {
  const identity = ', identity: { required: true }'
  assert.equal(watchesRequests({ policy: policyOf() }), false)
  assert.equal(watchesRequests({ policy: policyOf('', identity) }), true)
  assert.equal(watchesRequests({ policy: policyOf('detectors: { insider: { mode: off } }', identity) }), false)
})

test('a file that cannot be read is said, and learned anew; what a peer tells malformed changes nothing', async () => {
  const { insiders, file, lines } = watch('broken')
  writeFileSync(file, Buffer.from([0, 0, 0, 9, 1, 2]))
  await insiders.start()
  assert.match(lines[0] ?? '', /^what identities are used to cannot be read and is learned anew: it is no memory of this version/)
  insiders.merge('n2', Uint8Array.from([8, 9, 9]))
  assert.deepEqual(insiders.counts(), { secrets: 0, admin: 0, account: 0 })
  await insiders.stop()
})
