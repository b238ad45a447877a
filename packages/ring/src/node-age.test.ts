import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { nodeSubject } from './meaning.ts'
import { AGED_REASON, ageOf, agesOf, heldOf } from './node-age.ts'
import { parsePolicyDocument } from './policy-document.ts'
import type { RingState } from './state.ts'
import { edge, FleetRing } from './test-fleet-ring.ts'
import { NOW, POLICY } from './test-ring.ts'
import { subjectId } from './tx.ts'
import type { TxBody } from './types.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const withAges = (...rules: readonly string[]): string =>
  `${POLICY}fleet:\n  maxAge:\n${rules.map((rule) => `    - { ${rule} }\n`).join('')}`
const AGES = withAges('age: 7d, drain: 30m, spread: 0%')

class Ring extends FleetRing {
  refusalOf(...said: Parameters<FleetRing['check']>): string {
    const result = this.check(...said)
    return result.ok ? 'ok' : `${result.code}: ${result.reason}`
  }

  setPolicy(policy: string): TxBody {
    return { type: 'policy.set', policy, expectVersion: this.state.policyVersion }
  }

  held(id: string): string | undefined {
    return heldOf(this.state, this.policy, id, this.nowMs)?.reason
  }
}

const ids = ({ nodes }: RingState): string => nodes.map(({ id }) => id).join(' ')
const add = (id: string): TxBody => ({ type: 'node.add', node: edge(id), reason: 'test' })
const deny: TxBody = { type: 'deny.add', subject: { kind: 'ip', value: '198.51.100.7' }, ttlMs: MINUTE, reason: 'test' }

test('an edge is drained before its age is over, and out with the first block after it: its certificates are worth nothing', () => {
  const ring = new Ring(AGES)
  ring.pass(0)
  ring.pass(7 * DAY - 30 * MINUTE - 1)
  assert.equal(ring.held('e3'), undefined)
  ring.pass(1)
  assert.match(ring.held('e3') ?? '', /^NODE_AGED: its age will be over at \d{4}-/)
  const lift = { type: 'fleet.hold', id: 'e3', kind: 'none', ttlMs: 0, reason: 'test' } as const
  assert.match(ring.refusalOf(lift), /^NODE_NOT_HELD: no operator holds e3: fleet\.maxAge does/)
  ring.pass(30 * MINUTE - 1)
  assert.equal(ids(ring.state), 'n1 n2 e3')
  ring.pass(1)
  assert.equal(ids(ring.state), 'n1 n2')
  const denial = ring.state.denials.find(subjectId(nodeSubject(ring.app.ring, 'e3')), ring.nowMs)
  assert.equal(denial?.reason, AGED_REASON)
  assert.equal(
    ring.state.fleet.since?.some(({ id }) => id === 'e3'),
    false,
  )
})

test('a validator whose age is over votes on, and nothing else that it says counts; the others are not concerned', () => {
  const ring = new Ring(withAges('select: node=n1, age: 1d, spread: 0%'))
  ring.pass(0)
  assert.equal(ring.refusalOf(deny, 'node:n1'), 'ok')
  ring.pass(DAY)
  assert.equal(ids(ring.state), 'n1 n2 e3')
  assert.match(ring.refusalOf(deny, 'node:n1'), /^NODE_AGED: n1 is older than fleet\.maxAge allows/)
  assert.equal(ring.refusalOf(deny, 'node:n2'), 'ok')
  assert.match(ring.held('n1') ?? '', /its age is over/)
  assert.deepEqual(ring.app.view(ring.state, 1, ring.nowMs).ages, [{ node: 'n1', endsAtMs: NOW + DAY }])
})

test('where it says so, a node of age stays drained and nothing is refused to it', () => {
  const ring = new Ring(withAges('select: node=e3, age: 1d, spread: 0%, end: drain'))
  ring.pass(0)
  ring.pass(2 * DAY)
  assert.equal(ids(ring.state), 'n1 n2 e3')
  assert.match(ring.held('e3') ?? '', /its age is over/)
  assert.deepEqual(agesOf(ring.state, ring.policy), [])
})

test('a node that joins later, or anew, begins at age 0', () => {
  const ring = new Ring(AGES)
  ring.pass(0)
  ring.pass(5 * DAY, add('e4'))
  ring.pass(2_000)
  assert.equal(ageOf(ring.state, ring.policy, 'e4')?.sinceMs, NOW + 5 * DAY + 2_000, 'from the block after')
  ring.pass(2 * DAY)
  assert.equal(ids(ring.state), 'n1 n2 e4')
  ring.pass(0, add('e5'))
  ring.pass(5 * DAY)
  assert.equal(ids(ring.state), 'n1 n2 e5')
})

test('ages are not known before a policy asks for them: a ring without has the root that it had, and begins with the policy', () => {
  const ring = new Ring(POLICY)
  ring.pass(0)
  assert.equal(ring.state.fleet.since, undefined)
  ring.pass(30 * DAY, ring.setPolicy(AGES))
  ring.pass(2_000)
  assert.equal(ageOf(ring.state, ring.policy, 'e3')?.sinceMs, NOW + 30 * DAY + 2_000)
  ring.pass(0, ring.setPolicy(POLICY))
  ring.pass(3 * DAY, ring.setPolicy(AGES))
  assert.equal(
    ageOf(ring.state, ring.policy, 'e3')?.sinceMs,
    NOW + 30 * DAY + 2_000,
    'whoever leaves it out for a while makes nobody younger',
  )
})

test('a policy by which a node would be out at once is refused with its place, and says how old it is', () => {
  const ring = new Ring(AGES)
  ring.pass(0)
  ring.pass(3 * DAY)
  const shorter = AGES.replace('age: 7d', 'age: 2d')
  assert.match(
    ring.refusalOf(ring.setPolicy(shorter)),
    /^POLICY_INVALID: .*n1 is older than that, and would be out at once \(set such nodes up anew first, or allow 4d\)/,
  )
  const { problems } = ring.app.review(ring.state, shorter, ring.nowMs)
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['/fleet/maxAge/0/age'],
  )
  assert.equal(ring.refusalOf(ring.setPolicy(AGES.replace('age: 7d', 'age: 4d'))), 'ok')
})

test('the first rule that selects a node is the one that counts, by the labels that operators gave it', () => {
  const ring = new Ring(withAges('select: role=fleeting, age: 1h, spread: 0%', 'select: node=e3, age: 9d, spread: 0%'))
  ring.pass(0)
  assert.deepEqual([ageOf(ring.state, ring.policy, 'n1'), ageOf(ring.state, ring.policy, 'e3')?.rule.age], [undefined, 9 * DAY])
  const label = { type: 'fleet.label', of: 'node', id: 'e3', set: ['role=fleeting'], unset: [], reason: 'test' } as const
  assert.match(ring.refusalOf(label, 'node:n1'), /^NOT_ENTITLED/)
  ring.pass(0, label)
  assert.equal(ageOf(ring.state, ring.policy, 'e3')?.rule.age, HOUR)
})

for (const [what, rule, expected] of [
  ['with a selector that is none', 'select: role in edge, age: 7d', /"role in edge" is no term/],
  ['of no time', 'age: 1s', /expected 10s to 3650d/],
  ['that drains for most of it', 'age: 1h, drain: 50m', /expected at most half of the age/],
  ['without an age', 'select: role=edge', /age is missing/],
] as const)
  test(`a maximum age ${what} is refused`, () => {
    const document = parsePolicyDocument(withAges(rule))
    assert.ok(!document.ok)
    assert.match(document.problems[0]?.message ?? '', expected)
    assert.match(document.problems[0]?.path ?? '', /^\/fleet\/maxAge\/0/)
  })

test('whatever a node says and however blocks fall, its age is never less than the time since the ring added it, nor its end after it', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 3 * HOUR }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(gaps, fc.integer({ min: 0, max: 100 }), fc.constantFrom('n1', 'n2', 'e3'), (given, spread, id) => {
      const ring = new Ring(withAges(`age: 1d, drain: 0s, spread: ${spread}%`))
      ring.pass(0)
      const end = ageOf(ring.state, ring.policy, 'e3')?.endsAtMs ?? 0
      const report = { type: 'fleet.report', how: 'running', version: '0.2.0', reason: '' } as const
      for (const ms of given) {
        if (ring.state.node(id) === undefined) break
        ring.pass(ms)
        if (id !== 'e3' && ring.refusalOf(report, `node:${id}` as 'node:n1') === 'ok')
          ring.pass(0, report, `node:${id}` as 'node:n1')
        const age = ageOf(ring.state, ring.policy, id)
        if (age === undefined) break
        assert.equal(age.sinceMs, NOW)
        assert.ok(age.endsAtMs <= NOW + DAY && age.endsAtMs >= NOW + DAY - DAY * (spread / 100))
      }
      assert.equal(ring.state.node('e3') === undefined, ring.nowMs >= end)
    }),
    { numRuns: 40 },
  )
})
