import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePolicyDocument } from '@ringwall/ring'
import { type Indicators, judgeIndicators } from './indicators.ts'
import { createRateLimiter } from './rate-limiter.ts'

const T0 = 1_800_000_000_000

function policy(rules: string) {
  const document = parsePolicyDocument(
    `version: 1\nservices: { a: { upstreams: [{ url: "http://127.0.0.1:1" }] } }\ndenials: { safe: ["192.0.2.9"] }\nindicators: ${rules}\n`,
  )
  assert.ok(document.ok, document.ok ? '' : document.problems[0]?.message)
  return document.policy
}

/** 192.0.2.0/24 with confidence 60, all of IPv6 with 90. */
const listed: Indicators = {
  match(set, version, words, confidenceMin) {
    const isListed = version === 6 || words[0]! >>> 8 === 0xc00002
    const confidence = version === 6 ? 90 : 60
    return set === 'bad' && isListed && confidence >= confidenceMin ? { confidence, label: 'botnet', length: 24 } : undefined
  },
}

test('a set that is refused is refused, unless the source is safe, not in it, or not surely enough', () => {
  const deny = policy('[{ set: bad, mode: deny, confidenceMin: 50 }]')
  const judge = (source: string, by = deny) => judgeIndicators(by, listed, source, undefined, T0)
  assert.deepEqual(judge('192.0.2.1'), {
    mode: 'deny',
    rule: 'indicator:bad',
    reason: 'the source is in the indicators bad, confidence 60 (botnet)',
    retryAfterS: 0,
  })
  for (const source of ['192.0.2.9', '198.51.100.1', 'unknown', '']) assert.equal(judge(source), undefined, source)
  assert.equal(judge('192.0.2.1', policy('[{ set: bad, mode: deny, confidenceMin: 61 }]')), undefined)
  assert.equal(judge('192.0.2.1', policy('[{ set: other, mode: deny }]')), undefined)
})

test('watching is the default, and a later rule that refuses stands before it', () => {
  assert.equal(judgeIndicators(policy('[{ set: bad }]'), listed, '192.0.2.1', undefined, T0)?.mode, 'shadow')
  const both = policy('[{ set: bad }, { set: bad, mode: deny, confidenceMin: 60 }]')
  assert.equal(judgeIndicators(both, listed, '192.0.2.1', undefined, T0)?.mode, 'deny')
})

test('a limit is for each address, or IPv6 /64; where budgets are not touched it lets pass', () => {
  const limit = policy('[{ set: bad, mode: limit, rate: 2/m }]')
  const limiter = createRateLimiter()
  const judge = (source: string) => judgeIndicators(limit, listed, source, limiter, T0)?.mode
  assert.deepEqual(
    ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8:0:1::1'].map(
      judge,
    ),
    [undefined, undefined, 'limit', undefined, undefined, undefined, 'limit', undefined],
  )
  for (let i = 0; i < 5; i += 1) assert.equal(judgeIndicators(limit, listed, '192.0.2.3', undefined, T0), undefined)
})

test('a limit has a rate, and nothing else has one', () => {
  for (const rules of ['[{ set: bad, mode: limit }]', '[{ set: bad, mode: deny, rate: 1/s }]'])
    assert.throws(() => policy(rules), /needs a rate|has no rate/)
})
