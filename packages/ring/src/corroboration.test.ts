import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Corroboration,
  corroborationOf,
  denialOfStatements,
  isCorroborated,
  PENDING_PER_ISSUER_MAX,
  type PendingDenial,
  PendingDenials,
  type Statement,
  withStatement,
} from './corroboration.ts'
import { joinDenials } from './meaning.ts'
import { parsePolicyDocument } from './policy-document.ts'
import type { RingState } from './state.ts'
import { begin, NOW, POLICY, signedBytes } from './test-ring.ts'
import { subjectId } from './tx.ts'
import type { Denial, DenialSubject, RingNode, TxBody } from './types.ts'

const app = begin()
const { ring } = app
const ip = (value: string): DenialSubject => ({ kind: 'ip', value })
const deny = (value: string, ttlMs = 60_000, reason = 'test'): TxBody => ({ type: 'deny.add', subject: ip(value), ttlMs, reason })
const byN1 = (body: TxBody, atMs = NOW) => signedBytes(ring, 'node:n1', body, { atMs, untilMs: atMs + 60_000 })
const byN2 = (body: TxBody, atMs = NOW) => signedBytes(ring, 'node:n2', body, { atMs, untilMs: atMs + 60_000 })

function run(state: RingState, txs: readonly Uint8Array[], timestampMs = NOW, height = 1, of = app): RingState {
  const result = of.execute(state, txs, { height, timestampMs, proposer: 'n1' })
  assert.ok(result.ok, JSON.stringify(result))
  return result.state
}

const isDenied = (state: RingState, value: string, nowMs = NOW): boolean =>
  app.view(state, 1, nowMs).denials.matchAddress(value, nowMs) !== undefined

test('one node’s word is no denial; the second node’s word makes it one, for as long as both want it', () => {
  const one = run(app.initial(), [byN1(deny('10.0.0.1', 50_000))])
  assert.equal(isDenied(one, '10.0.0.1'), false)
  assert.equal(one.pending.size, 1)
  assert.notEqual(app.root(one), app.root(run(app.initial(), [])), 'what waits is in the root')
  const two = run(one, [byN2(deny('10.0.0.1', 90_000))], NOW + 1_000, 2)
  const denial = two.denial(subjectId(ip('10.0.0.1')))
  assert.deepEqual(denial?.statedBy, ['node:n1', 'node:n2'])
  assert.equal(denial?.expiresAtMs, NOW + 50_000)
  assert.equal(denial?.height, 2)
})

test('one node that says it twice is still one node', () => {
  const state = run(app.initial(), [byN1(deny('10.0.0.1')), byN1(deny('10.0.0.1', 60_000, 'again'))])
  assert.equal(isDenied(state, '10.0.0.1'), false)
  assert.equal(state.pending.get(subjectId(ip('10.0.0.1')))?.statements.length, 1)
})

test('an operator’s word is enough', () => {
  assert.ok(isDenied(run(app.initial(), [signedBytes(ring, 'operator:ada', deny('10.0.0.1'))]), '10.0.0.1'))
})

test('a statement that lapsed counts no more, swept or not, and leaves nothing behind', () => {
  const policy = `${POLICY}  corroboration: { within: 10s }\n`
  const own = begin(policy)
  const say = (issuer: 'node:n1' | 'node:n2', atMs: number) =>
    signedBytes(own.ring, issuer, deny('10.0.0.1', 3_000_000), { atMs, untilMs: atMs + 60_000 })
  const one = run(own.initial(), [say('node:n1', NOW)], NOW, 1, own)
  const late = run(one, [say('node:n2', NOW + 10_000)], NOW + 10_000, 2, own)
  assert.equal(late.denial(subjectId(ip('10.0.0.1'))), undefined)
  assert.deepEqual(
    late.pending.contents()[0]?.statements.map(({ issuer }) => issuer),
    ['node:n2'],
  )
  const timely = run(one, [say('node:n2', NOW + 9_999)], NOW + 9_999, 2, own)
  assert.ok(timely.denial(subjectId(ip('10.0.0.1'))))
  assert.equal(run(late, [], NOW + 20_000, 3, own).pending.size, 0)
})

const withdraw = (value: string): TxBody => ({ type: 'deny.withdraw', id: subjectId(ip(value)), reason: 'over' })
const refusedAs = (state: RingState, tx: Uint8Array): string => {
  const checked = app.check(state, tx, NOW)
  return checked.ok ? '' : checked.code
}

test('a node takes back its own word: a denial of several stands until all of them have', () => {
  const both = run(app.initial(), [byN1(deny('10.0.0.1')), byN2(deny('10.0.0.1'))])
  const one = run(both, [byN1(withdraw('10.0.0.1'))], NOW, 2)
  assert.deepEqual(one.denial(subjectId(ip('10.0.0.1')))?.statedBy, ['node:n2'])
  assert.equal(refusedAs(one, byN1(withdraw('10.0.0.1'), NOW - 1)), 'NOT_DENIED', 'it has taken it back already')
  const none = run(one, [byN2(withdraw('10.0.0.1'))], NOW, 3)
  assert.equal(isDenied(none, '10.0.0.1'), false)
  assert.equal(none.pending.size, 0)
  assert.deepEqual(
    app.restore(Buffer.concat([...app.snapshot(one)])).denial(subjectId(ip('10.0.0.1'))),
    one.denial(subjectId(ip('10.0.0.1'))),
  )
})

test('a word that waits is taken back, and counts no more', () => {
  const waiting = run(app.initial(), [byN1(deny('10.0.0.1')), byN1(withdraw('10.0.0.1'))])
  assert.equal(waiting.pending.size, 0)
  assert.equal(isDenied(run(waiting, [byN2(deny('10.0.0.1'))], NOW, 2), '10.0.0.1'), false)
})

test('no node takes back what an operator denied, though nodes denied it for longer; nor the word of another node', () => {
  const operator = signedBytes(ring, 'operator:ada', deny('10.0.0.1', 10_000))
  for (const order of [
    [operator, byN1(deny('10.0.0.1')), byN2(deny('10.0.0.1'))],
    [byN1(deny('10.0.0.1')), byN2(deny('10.0.0.1')), operator],
  ]) {
    const state = run(app.initial(), order)
    assert.equal(state.denial(subjectId(ip('10.0.0.1')))?.operatorToo, true)
    const left = run(state, [byN1(withdraw('10.0.0.1')), byN2(withdraw('10.0.0.1'))], NOW, 2)
    assert.ok(isDenied(left, '10.0.0.1'))
    const restored = app.restore(Buffer.concat([...app.snapshot(left)]))
    assert.equal(app.root(restored), app.root(left))
  }
  const alone = run(app.initial(), [operator])
  assert.equal(refusedAs(alone, byN1(withdraw('10.0.0.1'))), 'NOT_DENIED')
  const others = run(app.initial(), [byN2(deny('10.0.0.1'))])
  assert.equal(refusedAs(others, byN1(withdraw('10.0.0.1'))), 'NOT_DENIED')
  assert.equal(refusedAs(others, signedBytes(ring, 'operator:ada', withdraw('10.0.0.1'))), 'NOT_ENTITLED')
})

test('an operator who lifts a denial also takes back the words that made it', () => {
  const id = subjectId(ip('10.0.0.1'))
  const lift = (): Uint8Array => signedBytes(ring, 'operator:ada', { type: 'deny.remove', id, reason: 'mistaken' })
  const both = run(app.initial(), [byN1(deny('10.0.0.1')), byN2(deny('10.0.0.1'))])
  const lifted = run(both, [lift()], NOW, 2)
  assert.equal(isDenied(run(lifted, [byN1(deny('10.0.0.1'))], NOW, 3), '10.0.0.1'), false)
  const waiting = run(app.initial(), [byN1(deny('10.0.0.1'))])
  assert.equal(run(waiting, [lift()], NOW, 2).pending.size, 0, 'and may be told before the second node says it')
})

test('the policy may let one node’s word suffice, ask for regions, and may not ask for more than there is', () => {
  const alone = begin(`${POLICY}  corroboration: { nodes: 1 }\n`)
  const state = run(alone.initial(), [signedBytes(alone.ring, 'node:n1', deny('10.0.0.1'))], NOW, 1, alone)
  assert.equal(state.denial(subjectId(ip('10.0.0.1')))?.issuer, 'node:n1')
  assert.equal(state.pending.size, 0)
  const apart = begin(`${POLICY}  corroboration: { nodes: 1, regions: 1 }\n`)
  assert.equal(apart.corroboration(apart.initial()).nodes, 1)
  assert.throws(
    () => begin(`${POLICY}  corroboration: { nodes: 3 }\n`),
    /9:27: 3 nodes must say the same, and the ring has 2 \(at most 2\)/,
  )
  assert.throws(() => begin(`${POLICY}  corroboration: { regions: 3 }\n`), /regions: 3|in 3 regions/)
  assert.throws(() => begin(`${POLICY}  corroboration: { nodes: 1, regions: 2 }\n`), /1 nodes cannot be in 2 regions/)
  assert.throws(() => begin(`${POLICY}  corroboration: { within: 1d }\n`), /10s to 1h/)
})

const nodes = (count: number, regions = 3): readonly RingNode[] =>
  Array.from({ length: count }, (_, n) => ({
    id: `n${n}`,
    region: `r${n % regions}`,
    address: '',
    publicKey: '',
    roles: ['validator'],
  }))

test('nodes of one region are one region, however many they are; strangers are nobody', () => {
  const need = { nodes: 2, regions: 2, withinMs: 1 }
  const members = nodes(6)
  assert.equal(isCorroborated(['node:n0', 'node:n3'], need, members), false, 'both in r0')
  assert.equal(isCorroborated(['node:n0', 'node:n1'], need, members), true)
  assert.equal(isCorroborated(['node:n0', 'node:n9', 'operator:n1'], need, members), false)
  const apart = begin(`${POLICY}  corroboration: { regions: 2 }\n`)
  const say = (issuer: 'node:n1' | 'node:n2') => signedBytes(apart.ring, issuer, deny('10.0.0.1'))
  const one = run(apart.initial(), [say('node:n1')], NOW, 1, apart)
  assert.equal(one.denial(subjectId(ip('10.0.0.1'))), undefined)
  assert.ok(run(one, [say('node:n2')], NOW, 2, apart).denial(subjectId(ip('10.0.0.1'))))
})

test('unless the policy says otherwise, one honest node at least has said it; a ring of one needs one', () => {
  const parsed = parsePolicyDocument(POLICY)
  assert.ok(parsed.ok)
  const needed = [1, 2, 3, 4, 6, 7, 10, 13].map((count) => corroborationOf(parsed.policy, nodes(count)).nodes)
  assert.deepEqual(needed, [1, 2, 2, 2, 2, 3, 4, 5])
})

const statement = fc.record({
  issuer: fc.integer({ min: 0, max: 5 }).map((n) => `node:n${n}`),
  reason: fc.constantFrom('a', 'b'),
  issuedAtMs: fc.integer({ min: 0, max: 5 }),
  expiresAtMs: fc.integer({ min: 101, max: 120 }),
  lapsesAtMs: fc.integer({ min: 101, max: 120 }),
})
const subject = ip('10.0.0.1')
const id = subjectId(subject)

/** What statements in this order leave: what waits, and the denials joined as the application joins them. */
function fold(
  statements: readonly Statement[],
  need: Corroboration,
): { pending: PendingDenial | undefined; denial: Denial | undefined } {
  let pending: PendingDenial | undefined
  let denial: Denial | undefined
  for (const one of statements) {
    pending = withStatement(pending, id, subject, one, 100)
    const agreed = denialOfStatements(pending, need, nodes(6), 100, 7)
    if (agreed !== undefined) denial = denial === undefined ? agreed : joinDenials(denial, agreed)
  }
  return { pending, denial }
}

test('property: the order of statements changes neither what waits nor the denial', () => {
  const need = fc.record({
    nodes: fc.integer({ min: 1, max: 4 }),
    regions: fc.integer({ min: 1, max: 3 }),
    withinMs: fc.constant(1),
  })
  fc.assert(
    fc.property(
      fc.array(statement, { maxLength: 10 }),
      need,
      fc.infiniteStream(fc.nat()),
      (statements, { nodes: k, regions, withinMs }, orders) => {
        const needed = { nodes: Math.max(k, regions), regions, withinMs }
        const shuffled = statements.map((one) => [orders.next().value as number, one] as const).sort(([a], [b]) => a - b)
        assert.deepEqual(
          fold(statements, needed),
          fold(
            shuffled.map(([, one]) => one),
            needed,
          ),
        )
      },
    ),
  )
})

test('property: k − 1 nodes, whatever they sign and however often, deny nobody; nor can they prolong what others want', () => {
  fc.assert(
    fc.property(fc.array(statement, { maxLength: 12 }), (statements) => {
      const liars = statements.filter(({ issuer }) => issuer === 'node:n0' || issuer === 'node:n1')
      const need = { nodes: 3, regions: 1, withinMs: 1 }
      assert.equal(fold(liars, need).denial, undefined)
      const honest = statements.filter((one) => !liars.includes(one))
      const longest = Math.max(0, ...honest.map(({ expiresAtMs }) => expiresAtMs))
      const { denial } = fold(statements, need)
      assert.ok(denial === undefined || denial.expiresAtMs <= longest)
    }),
  )
})

test('what waits is bounded, each node’s share by itself', () => {
  const held = { reason: 'x', issuedAtMs: 1, expiresAtMs: 1_000, lapsesAtMs: 500 }
  let all = PendingDenials.empty
  for (let n = 0; n < PENDING_PER_ISSUER_MAX; n += 1) {
    const own = n.toString(16).padStart(16, '0')
    all = all.with({ id: own, subject: ip(`10.1.${n >> 8}.${n & 255}`), statements: [{ issuer: 'node:n1', ...held }] })
  }
  assert.equal(all.heldBy('node:n1'), PENDING_PER_ISSUER_MAX)
  const full = app.initial().withPending(all)
  const refused = app.check(full, byN1(deny('10.0.0.1')), NOW)
  assert.ok(!refused.ok && refused.code === 'PENDING_FULL')
  assert.ok(app.check(full, byN2(deny('10.0.0.1')), NOW).ok)
  const swept = all.swept(500, 10_000)
  assert.deepEqual([swept.size, swept.heldBy('node:n1'), swept.root()], [0, 0, PendingDenials.empty.root()])
  assert.equal(all.swept(499, 10_000).size, PENDING_PER_ISSUER_MAX)
  assert.equal(all.swept(500, 10).size, PENDING_PER_ISSUER_MAX - 10)
})

test('a snapshot holds what waits, in one spelling', () => {
  const state = run(app.initial(), [byN1(deny('10.0.0.1')), byN1(deny('10.0.0.2')), byN2(deny('10.0.0.2'))])
  const bytes = new Uint8Array(Buffer.concat([...app.snapshot(state)]))
  const restored = app.restore(bytes)
  assert.equal(app.root(restored), app.root(state))
  assert.equal(restored.pending.heldBy('node:n1'), 2)
  const next = [byN2(deny('10.0.0.1'))]
  assert.equal(app.root(run(restored, next, NOW, 2)), app.root(run(state, next, NOW, 2)))
  const text = new TextDecoder().decode(bytes)
  const swapped = text.replace(/\["node:n1","node:n2"\]/, '["node:n2","node:n1"]')
  assert.notEqual(swapped, text)
  assert.throws(() => app.restore(new TextEncoder().encode(swapped)), /out of order/)
})
