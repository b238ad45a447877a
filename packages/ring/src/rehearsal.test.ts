import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { TEST_REQUESTS_MAX, TESTS_WORK_MAX } from './rehearsal.ts'
import { SAMPLE_CLASSES, SAMPLE_REQUESTS } from './sample-requests.ts'
import { begin, NOW, POLICY, signedBytes } from './test-ring.ts'

const app = begin()
const { ring } = app
const context = { height: 1, timestampMs: NOW, proposer: 'n1' }

const proposal = (policy: string): Uint8Array =>
  signedBytes(ring, 'operator:ada', { type: 'policy.set', policy, expectVersion: 1 })
function refusal(policy: string): string {
  const result = app.check(app.initial(), proposal(policy), NOW)
  return result.ok ? 'ok' : `${result.code} ${result.reason}`
}
const withTests = (...tests: readonly string[]): string => `${POLICY}tests:\n${tests.map((line) => `  - ${line}\n`).join('')}`

const GOOD = '{ name: good, request: { path: / }, expect: allow }'
const BAD = '{ name: bad source, request: { source: 203.0.113.1 }, expect: { outcome: deny, status: 403, rule: 7 } }'
const WRONG = '{ name: wrong, request: { source: 203.0.113.1 }, expect: allow }'

test('a policy whose own tests pass is taken; one that fails is refused, with which test, why and where', () => {
  assert.equal(refusal(withTests(GOOD, BAD)), 'ok')
  assert.match(
    refusal(withTests(GOOD, WRONG)),
    /^POLICY_INVALID .*ringwall\.yaml:11:\d+: the test wrong fails: expected allow, got deny 403 by rule:7 \(bad source\)/,
  )
  const cases: readonly (readonly [string, string])[] = [
    ['{ name: x, request: { source: 203.0.113.1 }, expect: { outcome: deny, status: 404 } }', 'expected deny 404, got deny 403'],
    [
      '{ name: x, request: { source: 203.0.113.1 }, expect: { outcome: deny, rule: 8 } }',
      'expected deny by 8, got deny 403 by rule:7',
    ],
    ['{ name: x, request: { source: 203.0.113.1 }, expect: { outcome: deny, rule: "limit:few" } }', 'expected deny by limit:few'],
    ['{ name: x, request: {}, expect: throttle }', 'expected throttle, got allow 200'],
    ['{ name: x, request: { path: /crash }, expect: allow }', 'got a crash: the guard failed'],
    ['{ name: x, request: {}, expect: nothing }', 'expected allow, deny, challenge or throttle or a map of keys'],
    ['{ name: x, request: { source: nowhere }, expect: allow }', 'expected an IP address'],
    ['{ name: x, request: { paht: / }, expect: allow }', 'did you mean path?'],
  ]
  for (const [line, says] of cases) assert.ok(refusal(withTests(line)).includes(says), `${line}: ${refusal(withTests(line))}`)
  assert.match(refusal(withTests(GOOD, GOOD)), /the test good occurs twice/)
})

test('a validator does not vote for a block with such a policy, and a leader leaves it out', () => {
  const tx = proposal(withTests(WRONG))
  const outcome = app.execute(app.initial(), [tx], context)
  assert.ok(!outcome.ok && /POLICY_INVALID: .*the test wrong fails/.test(outcome.reason))
  assert.deepEqual(app.prepare(app.initial(), [tx], context, 1_000_000), [])
})

test('what a quorum certified is not judged again: rules that changed since must not stop a node that catches up', () => {
  const tx = proposal(withTests(WRONG))
  const outcome = app.execute(app.initial(), [tx], { ...context, certified: true })
  assert.ok(outcome.ok && outcome.state.policyVersion === 2)
  assert.ok(!app.execute(app.initial(), [proposal(`${POLICY}wat: 1\n`)], { ...context, certified: true }).ok)
  assert.equal(begin(withTests(WRONG)).initial().policyVersion, 1, 'nor does the first policy keep a ring from starting')
})

test('tests are bounded in number, repeats and work; what runs over is refused with the figure', () => {
  assert.match(
    refusal(withTests(...Array.from({ length: 201 }, (_, n) => GOOD.replace('good', `good ${n}`)))),
    /POLICY_INVALID .*200/,
  )
  const many = Array.from({ length: 6 }, (_, n) => `{ name: t${n}, request: {}, repeat: 1000, expect: allow }`)
  assert.match(refusal(withTests(...many)), new RegExp(`ask 6000 requests, at most ${TEST_REQUESTS_MAX}`))
  const heavy = '{ name: stalls, request: { path: /heavy }, repeat: 1000, expect: allow }'
  assert.match(refusal(withTests(heavy)), new RegExp(`the tests up to stalls take more than ${TESTS_WORK_MAX} units`))
  assert.equal(refusal(withTests('{ name: two, request: { path: /heavy }, repeat: 2, expect: allow }')), 'ok')
})

test('rules that cost more than the budget are refused with the figure; so are rules that crash', () => {
  const heavy = POLICY.replace('shop:', 'shop:\n    waf: { rules: [heavy] }')
  assert.equal(refusal(heavy), 'ok')
  assert.match(
    refusal(`${heavy}budget: { page: 999999 }\n`),
    /ringwall\.yaml:10:17: shop: the rules do 1000000 units of work on the sample page request, the budget is 999999/,
  )
  assert.match(
    refusal(POLICY.replace('shop:', 'shop:\n    waf: { rules: [crash] }')),
    /the rules crash on the sample page request/,
  )
  const excluding = Array.from(
    { length: 300 },
    (_, n) => `      - { name: r${n}, path: /r${n}, waf: { exclude: [${n + 1}] } }\n`,
  ).join('')
  const many = heavy.replace('denials:', `    routes:\n${excluding}denials:`)
  assert.match(refusal(many), /weighing the rules takes more than \d+ units of work: there are 301 different choices/)
})

test('review tells every problem with its place, each test, and the costs', () => {
  const review = app.review(app.initial(), withTests(GOOD, WRONG), 0)
  assert.deepEqual(
    review.tests.map(({ name, ok }) => [name, ok]),
    [
      ['good', true],
      ['wrong', false],
    ],
  )
  assert.deepEqual(
    review.problems.map(({ line, path }) => [line, path]),
    [[11, '/tests/1/expect']],
  )
  assert.deepEqual(
    review.costs.map(({ where, sample }) => `${where} ${sample}`),
    SAMPLE_CLASSES.map((sample) => `shop ${sample}`),
  )
  assert.deepEqual(app.review(app.initial(), withTests(GOOD), 0).problems, [])
  assert.equal(app.review(app.initial(), 'version: [', 0).policy, undefined)
})

test('the samples are what validators agree on: they stay as they are', () => {
  const hash = createHash('sha256')
  for (const name of SAMPLE_CLASSES) hash.update(JSON.stringify(SAMPLE_REQUESTS[name].request)).update(SAMPLE_REQUESTS[name].body)
  assert.equal(hash.digest('hex'), '7d7d69e3aae445247923f313950531f9c686abb34a8c557afe2bb2fe90debd26')
})
