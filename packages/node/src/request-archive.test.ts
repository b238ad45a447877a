import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WafJudgement } from '@ringwall/guard'
import fc from 'fast-check'
import { withoutSecrets } from './recorder.ts'
import { RequestArchive } from './request-archive.ts'

function judged(requestId: string, source = '192.0.2.1', target = '/?q=1'): WafJudgement {
  const headers = [['Host', 'x']] as const
  const request = { method: 'GET', target, httpVersion: '1.1', headers, remoteAddress: source, host: 'x', path: '/', requestId }
  return { request } as unknown as WafJudgement
}

const body = new TextEncoder().encode('a=b')

test('a request is found again as it came in, and does not share memory with what it came in', () => {
  const archive = new RequestArchive(100_000)
  const sent = body.slice()
  archive.add(judged('r1'), sent, true, 3, 1_000)
  sent.fill(0)
  const found = archive.find('r1')
  assert.deepEqual(Buffer.from(found!.body).toString(), 'a=b')
  assert.deepEqual([found?.policyVersion, found?.atMs, found?.truncated], [3, 1_000, true])
  assert.deepEqual(found?.request, { ...judged('r1').request })
  assert.equal(archive.find('r2'), undefined)
})

test('one source cannot push out what others sent', () => {
  const archive = new RequestArchive(10_000_000)
  archive.add(judged('kept', '198.51.100.1'), body, false, 1, 0)
  for (let i = 0; i < 10_000; i += 1) archive.add(judged(`flood${i}`), body, false, 1, i * 100)
  assert.ok(archive.find('kept') !== undefined)
  assert.equal(archive.size, 101)
  assert.equal([...archive.all()][0]?.requestId, 'flood9999')
})

test('what comes in within one second is bounded and counted', () => {
  const archive = new RequestArchive(10_000_000)
  for (let i = 0; i < 1_000; i += 1) archive.add(judged(`r${i}`, `198.51.100.${i % 200}`), body, false, 1, 5)
  assert.equal(archive.size, 200)
  assert.equal(archive.skipped, 800)
})

test('no room means that nothing is kept', () => {
  const archive = new RequestArchive(0)
  archive.add(judged('r1'), body, false, 1, 0)
  assert.equal(archive.size, 0)
})

test('property: bytes stay within the bound, whatever comes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ id: fc.string({ maxLength: 6 }), source: fc.constantFrom('a', 'b', 'c'), size: fc.nat(4_000) }), {
        maxLength: 120,
      }),
      (requests) => {
        const archive = new RequestArchive(20_000)
        for (const [at, { id, source, size }] of requests.entries()) {
          archive.add(judged(id, source), new Uint8Array(size), false, 1, at * 1_000)
          assert.ok(archive.bytes <= 20_000)
        }
        const sum = [...archive.all()].reduce((all, one) => all + one.body.length, 0)
        assert.ok(sum <= archive.bytes)
      },
    ),
  )
})

test('credentials are not written into records: not the excerpt, not a message or reason that quotes it', () => {
  const match = { ruleId: 1, severity: 'critical' }
  const record = {
    reason: 'found hunter2x in it',
    matches: [
      { ...match, message: 'found hunter2x in it', variable: 'REQUEST_COOKIES:s', excerpt: 'hunter2x' },
      { ...match, message: 'more', variable: 'ARGS:q', excerpt: 'with hunter2x inside' },
      { ...match, message: 'uri', variable: 'REQUEST_URI', excerpt: '/a?password=topsecret&b=1' },
    ],
  } as unknown as Parameters<typeof withoutSecrets>[0]
  const text = JSON.stringify(withoutSecrets(record))
  assert.doesNotMatch(text, /hunter2x|topsecret/)
  assert.match(text, /\[masked\]&b=1/)
})
