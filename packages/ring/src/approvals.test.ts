import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { APPROVALS_PER_OPERATOR_MAX } from './approvals.ts'
import { APPROVABLE_TYPES } from './policy.ts'
import type { RingState } from './state.ts'
import { begin, NOW, POLICY, signed, signedBytes } from './test-ring.ts'
import { encodeTx, subjectId, txId } from './tx.ts'
import type { SignedTx, TxBody } from './types.ts'

const TWO = `${POLICY}operators: { approvals: { policy.set: 2, deny.remove: 2 } }\n`
const app = begin(TWO)
const { ring } = app
type Operator = 'ada' | 'bob' | 'cy'

function run(state: RingState, txs: readonly Uint8Array[], timestampMs = NOW, of = app): RingState {
  const result = of.execute(state, txs, { height: 1, timestampMs, proposer: 'n1' })
  assert.ok(result.ok, JSON.stringify(result))
  return result.state
}
const codeOf = (state: RingState, tx: Uint8Array, nowMs = NOW): string => {
  const result = app.check(state, tx, nowMs)
  return result.ok ? 'ok' : result.code
}
const propose = (by: Operator, policy: string, expectVersion = 1, of = app): SignedTx =>
  signed(of.ring, `operator:${by}`, { type: 'policy.set', policy, expectVersion })
const approve = (by: Operator | 'n1', tx: SignedTx, atMs = NOW, of = app): Uint8Array =>
  signedBytes(
    of.ring,
    by === 'n1' ? 'node:n1' : `operator:${by}`,
    { type: 'tx.approve', id: txId(tx.content), reason: 'seen' },
    { atMs, untilMs: atMs + 60_000 },
  )
const OTHER = TWO.replace('3000', '4000')

test('what needs two operators waits for the second, and is applied with it', () => {
  const tx = propose('ada', OTHER)
  const waiting = run(app.initial(), [encodeTx(tx)])
  assert.equal(waiting.policyVersion, 1)
  assert.notEqual(app.root(waiting), app.root(run(app.initial(), [])))
  const [pending] = app.approvals(waiting, NOW)
  assert.deepEqual([pending?.id, pending?.signedBy, pending?.needed], [txId(tx.content), ['operator:ada'], 2])
  const applied = run(waiting, [approve('bob', tx)])
  assert.equal(applied.policyVersion, 2)
  assert.equal(applied.policyText, OTHER)
  assert.deepEqual(app.approvals(applied, NOW), [])
  assert.equal(run(app.initial(), [encodeTx(tx), approve('bob', tx)]).policyVersion, 2, 'in one block too')
})

test('one operator does not count twice, a node not at all, and what does not wait cannot be approved', () => {
  const tx = propose('ada', OTHER)
  const waiting = run(app.initial(), [encodeTx(tx)])
  assert.equal(codeOf(waiting, approve('ada', tx)), 'APPROVAL_REPEATED')
  assert.equal(codeOf(waiting, approve('n1', tx)), 'NOT_ENTITLED')
  assert.equal(codeOf(app.initial(), approve('bob', tx)), 'APPROVAL_UNKNOWN')
  assert.equal(codeOf(waiting, encodeTx(tx)), 'TX_REPLAYED')
  const three = begin(`${POLICY}operators: { approvals: { policy.set: 3 } }\n`)
  const first = propose('ada', POLICY, 1, three)
  const one = run(three.initial(), [encodeTx(first), approve('bob', first, NOW, three)], NOW, three)
  assert.equal(one.policyVersion, 1)
  const again = three.check(one, approve('bob', first, NOW, three), NOW)
  assert.ok(!again.ok && again.code === 'APPROVAL_REPEATED')
  assert.equal(run(one, [approve('cy', first, NOW, three)], NOW, three).policyVersion, 2)
})

test('its meaning is checked when it is proposed, and again with each approval', () => {
  assert.equal(codeOf(app.initial(), encodeTx(propose('ada', `${TWO}wat: 1\n`))), 'POLICY_INVALID')
  const [first, second] = [propose('ada', OTHER), propose('bob', TWO.replace('3000', '5000'))]
  const both = run(app.initial(), [encodeTx(first), encodeTx(second)])
  assert.equal(app.approvals(both, NOW).length, 2)
  const applied = run(both, [approve('cy', first)])
  assert.equal(codeOf(applied, approve('cy', second)), 'APPROVAL_UNKNOWN', 'it was made against a policy that is no more')
  const subject = { kind: 'ip', value: '10.0.0.1' } as const
  const deny = signedBytes(ring, 'operator:ada', { type: 'deny.add', subject, ttlMs: 30_000, reason: 'x' })
  const lift = signed(ring, 'operator:ada', { type: 'deny.remove', id: subjectId(subject), reason: 'x' })
  const lifting = run(app.initial(), [deny, encodeTx(lift)])
  assert.ok(lifting.denial(subjectId(subject)), 'it stands until the second says so')
  assert.equal(run(lifting, [approve('bob', lift)]).denial(subjectId(subject)), undefined)
  const refused = app.check(lifting, approve('bob', lift, NOW + 40_000), NOW + 40_000)
  assert.ok(!refused.ok && refused.code === 'NOT_DENIED' && /can no longer be applied/.test(refused.reason))
})

test('it lapses, and then is gone, swept or not', () => {
  const tx = propose('ada', OTHER)
  const waiting = run(app.initial(), [encodeTx(tx)])
  const end = NOW + 86_400_000
  assert.equal(codeOf(waiting, approve('bob', tx, end - 1), end - 1), 'ok')
  assert.equal(codeOf(waiting, approve('bob', tx, end), end), 'APPROVAL_UNKNOWN')
  assert.equal(run(waiting, [], end).approvals.size, 0)
})

test('one operator fills a share of what can wait, not all of it', () => {
  const txs = Array.from({ length: APPROVALS_PER_OPERATOR_MAX }, (_, n) =>
    encodeTx(propose('ada', TWO.replace('3000', String(4_000 + n)))),
  )
  const full = run(app.initial(), txs)
  assert.equal(codeOf(full, encodeTx(propose('ada', OTHER))), 'APPROVALS_FULL')
  assert.equal(codeOf(full, encodeTx(propose('bob', OTHER))), 'ok')
})

test('nobody lowers the bar alone: what a policy asks for less of needs as many as are asked for now', () => {
  const open = begin(`${POLICY}operators: { approvals: { deny.remove: 3 } }\n`)
  const free = run(
    open.initial(),
    [encodeTx(propose('ada', open.initial().policyText.replace('3000', '4000'), 1, open))],
    NOW,
    open,
  )
  assert.equal(free.policyVersion, 2, 'other changes need one')
  for (const lower of [POLICY, `${POLICY}operators: { approvals: { deny.remove: 2 } }\n`]) {
    const tx = propose('ada', lower, 1, open)
    const one = run(open.initial(), [encodeTx(tx)], NOW, open)
    assert.equal(open.approvals(one, NOW)[0]?.needed, 3)
    const two = run(one, [approve('bob', tx, NOW, open)], NOW, open)
    assert.equal(two.policyVersion, 1)
    assert.equal(run(two, [approve('cy', tx, NOW, open)], NOW, open).policyVersion, 2)
  }
  const raised = propose('ada', `${POLICY}operators: { approvals: { deny.remove: 3, policy.set: 2 } }\n`, 1, open)
  assert.equal(run(open.initial(), [encodeTx(raised)], NOW, open).policyVersion, 2, 'raising it needs what is asked for now')
})

test('a policy cannot ask for more operators than there are, nor for approvals of what needs none', () => {
  const refusal = (policy: string): string => {
    const result = app.check(app.initial(), encodeTx(propose('ada', policy)), NOW)
    return result.ok ? 'ok' : result.reason
  }
  assert.match(
    refusal(TWO.replace('policy.set: 2', 'policy.set: 4')),
    /9:39: 4 operators must approve policy\.set, and the ring has 3 \(at most 3\)/,
  )
  assert.match(refusal(TWO.replace('policy.set', 'policy.sett')), /did you mean policy\.set\?/)
  assert.match(refusal(TWO.replace('2, deny', '0, deny')), /policy\.set|too small|>=1/)
  assert.match(refusal(`${POLICY}operators: { within: 8d }\n`), /1m to 7d/)
  assert.throws(() => begin(`${POLICY}operators: { approvals: { policy.set: 4 } }\n`), /4 operators must approve/)
})

test('property: no set of fewer operators than needed, whatever they sign and in whatever order, changes the policy', () => {
  const bodies: readonly TxBody['type'][] = APPROVABLE_TYPES
  assert.deepEqual(bodies, ['policy.set', 'deny.remove', 'node.add', 'node.remove', 'node.wipe', 'vault.delete', 'release.add'])
  const three = begin(`${POLICY}operators: { approvals: { policy.set: 3 } }\n`)
  const step = fc.record({ by: fc.constantFrom<Operator>('ada', 'bob'), what: fc.nat({ max: 5 }), approves: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let state = three.initial()
      const made: SignedTx[] = []
      for (const { by, what, approves } of steps) {
        const tx = propose(by, [POLICY, OTHER, TWO][what % 3] as string, 1, three)
        const target = made[what % Math.max(1, made.length)]
        const bytes = approves && target !== undefined ? approve(by, target, NOW, three) : encodeTx(tx)
        if (!approves) made.push(tx)
        const result = three.execute(state, [bytes], { height: 1, timestampMs: NOW, proposer: 'n1' })
        if (result.ok) state = result.state
        assert.equal(state.policyVersion, 1)
        assert.ok(state.approvals.size <= 2 * APPROVALS_PER_OPERATOR_MAX)
      }
    }),
    { numRuns: 40 },
  )
})

test('a snapshot holds what waits for approval, in one spelling, and goes on from there', () => {
  const tx = propose('ada', OTHER)
  const state = run(app.initial(), [encodeTx(tx)])
  const bytes = new Uint8Array(Buffer.concat([...app.snapshot(state)]))
  const restored = app.restore(bytes)
  assert.equal(app.root(restored), app.root(state))
  const next = approve('bob', tx)
  assert.equal(app.root(run(restored, [next])), app.root(run(state, [next])))
  const text = new TextDecoder().decode(bytes)
  const changed = text.replace('http://127.0.0.1:4000', 'http://127.0.0.1:4001')
  assert.notEqual(changed, text)
  assert.throws(() => app.restore(new TextEncoder().encode(changed)), /another id/)
})
