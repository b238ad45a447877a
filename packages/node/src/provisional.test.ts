import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgePolicy } from '@ringwall/guard'
import { createRingApplication, genesisHash, parseGenesis, type RingState } from '@ringwall/ring'
import { encodeBase64url, encodeTx, signingBytes, subjectId, type TxBody } from '@ringwall/ring/tx'
import { compileRules } from '@ringwall/waf'
import { generateKey, randomNonce, signMessage, verifySignature } from './keys.ts'
import { signAsOperator } from './local/operator.ts'
import { plainPolicy } from './local/up.ts'
import { EarlyDenials, LAPSE_MS, UNCONFIRMED_MAX } from './provisional.ts'
import { loadRuleLibrary } from './rules.ts'

const operatorKey = generateKey()
const text = (key: Uint8Array): string => encodeBase64url(key)
const nodeKeys = ['n1', 'n2', 'n3', 'n4'].map((id) => ({ id, key: generateKey() }))
const genesis = parseGenesis(
  JSON.stringify({
    format: 'ringwall/genesis/1',
    createdAtMs: 1,
    nodes: nodeKeys.map(({ id, key }, at) => ({
      id,
      region: 'eu',
      address: `127.0.0.1:${at + 1}`,
      publicKey: text(key.publicKey),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'ada', publicKey: text(operatorKey.publicKey) }],
    policy: plainPolicy('http://127.0.0.1:3000'),
  }),
)
const application = createRingApplication({
  genesis,
  verify: verifySignature,
  compile: compileRules,
  rules: loadRuleLibrary({}),
  judge: judgePolicy,
})
const state: RingState = application.initial()
const operator = { ring: genesisHash(genesis), name: 'ada', privateKey: operatorKey.privateKey }

const subject = { kind: 'ip', value: '203.0.113.7' } as const
const deny: TxBody = { type: 'deny.add', subject, ttlMs: 600_000, reason: 'test' }
const holds = (early: EarlyDenials, nowMs: number): boolean => early.index.matchAddress(subject.value, nowMs) !== undefined

/** Time goes on by seconds, with or without blocks that a quorum certifies. */
function pass(early: EarlyDenials, fromMs: number, seconds: number, isQuorumLive: boolean): number {
  let nowMs = fromMs
  for (let i = 0; i < seconds; i += 1) {
    nowMs += 1_000
    early.tick(nowMs, isQuorumLive ? nowMs - 500 : fromMs - 60_000)
  }
  return nowMs
}

test('a valid denial is enforced at once, told again it is no news, another kind of statement is none', () => {
  const early = new EarlyDenials(application)
  const bytes = signAsOperator(operator, deny)
  const nowMs = Date.now()
  assert.equal(early.take(state, bytes, nowMs)?.subject.value, subject.value)
  assert.equal(early.take(state, bytes, nowMs), undefined)
  assert.equal(
    early.take(state, signAsOperator(operator, { type: 'deny.remove', id: subjectId(subject), reason: 'x' }), nowMs),
    undefined,
  )
  assert.equal(early.take(state, new Uint8Array([1, 2, 3]), nowMs), undefined)
  const forged = signAsOperator({ ...operator, privateKey: generateKey().privateKey }, deny)
  assert.equal(early.take(state, forged, nowMs), undefined)
  assert.equal(early.transactions().length, 1)
})

test('what a live quorum does not confirm lapses, and told again does nothing', () => {
  const early = new EarlyDenials(application)
  const bytes = signAsOperator(operator, deny)
  const nowMs = Date.now()
  early.take(state, bytes, nowMs)
  const soon = pass(early, nowMs, LAPSE_MS / 1_000 - 1, true)
  assert.equal(holds(early, soon), true)
  const later = pass(early, soon, 3, true)
  assert.equal(holds(early, later), false)
  assert.equal(early.take(state, bytes, later), undefined)
  assert.deepEqual(early.transactions(), [])
})

test('without a quorum it stands; once the quorum is back it has its time to confirm', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  early.take(state, signAsOperator(operator, deny), nowMs)
  const parted = pass(early, nowMs, 40, false)
  assert.equal(holds(early, parted), true)
  const healed = pass(early, parted, LAPSE_MS / 1_000 - 1, true)
  assert.equal(holds(early, healed), true)
  assert.equal(holds(early, pass(early, healed, 3, true)), false)
})

test('a confirmed one leaves the provisional table: the view has it now', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  const denial = early.take(state, signAsOperator(operator, deny), nowMs)
  assert.ok(denial)
  early.confirm([denial])
  assert.equal(holds(early, nowMs), false)
  assert.deepEqual(early.transactions(), [])
})

/** Signed by a node: what its detector, or whoever took it over, says. */
function said(node: string, body: TxBody = deny, lifeMs = 60_000, atMs = Date.now()): Uint8Array {
  const { privateKey } = nodeKeys.find(({ id }) => id === node)!.key
  const content = { ring: genesisHash(genesis), issuer: `node:${node}`, atMs, untilMs: atMs + lifeMs, nonce: randomNonce(), body }
  return encodeTx({ content, signature: encodeBase64url(signMessage(privateKey, signingBytes(content))) })
}
const denyOf = (value: string): TxBody => ({ ...deny, subject: { kind: 'ip', value } })
const floodOf = (value: string): TxBody => ({ ...deny, reason: 'flood: 900 requests a second', subject: { kind: 'ip', value } })
const networkOf = (value: string): TxBody => ({ ...deny, subject: { kind: 'cidr', value } })

test('what one node says holds ten seconds, whether or not there is a quorum, and names it when nobody confirms', () => {
  for (const isQuorumLive of [true, false]) {
    const early = new EarlyDenials(application)
    const nowMs = Date.now()
    assert.equal(early.hear(state, said('n1'), nowMs).kind, 'enforced')
    const soon = pass(early, nowMs, LAPSE_MS / 1_000 - 1, isQuorumLive)
    assert.equal(holds(early, soon), true)
    const later = pass(early, soon, 3, isQuorumLive)
    assert.equal(holds(early, later), false)
    const named = isQuorumLive ? [{ issuer: 'node:n1', count: 1 }] : []
    assert.deepEqual(early.unconfirmedByIssuer(later), named, 'without a quorum nobody could confirm it')
  }
})

test('one node cannot keep a denial alive by signing it again and again, nor hide by signing for a moment', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  early.hear(state, said('n1'), nowMs)
  const later = pass(early, nowMs, 12, true)
  assert.equal(early.hear(state, said('n1', deny, 60_000, later), later).kind, 'known')
  assert.equal(holds(early, later), false)
  assert.equal(early.hear(state, said('n1', denyOf('203.0.113.8'), 1_500, later), later).kind, 'enforced')
  assert.equal(early.unconfirmed('node:n1', pass(early, later, 3, true)), 2)
})

test('a second node that says the same is passed on, and makes it stand while there is no quorum', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  early.hear(state, said('n1'), nowMs)
  assert.equal(early.hear(state, said('n2'), nowMs).kind, 'told')
  assert.equal(early.hear(state, said('n2'), nowMs).kind, 'known')
  assert.equal(early.transactions().length, 2)
  assert.equal(holds(early, pass(early, nowMs, 40, false)), true)
})

test('a node with too many that nobody confirmed is enforced early no more; one that the ring confirmed is forgiven', () => {
  const early = new EarlyDenials(application)
  let nowMs = Date.now()
  for (let n = 0; n < UNCONFIRMED_MAX; n += 1) early.hear(state, said('n1', denyOf(`203.0.113.${100 + n}`)), nowMs)
  nowMs = pass(early, nowMs, 12, true)
  assert.equal(early.unconfirmed('node:n1', nowMs), UNCONFIRMED_MAX)
  assert.equal(early.hear(state, said('n1', deny, 60_000, nowMs), nowMs).kind, 'told')
  assert.equal(holds(early, nowMs), false)
  const known = { kind: 'ip', value: '203.0.113.100' } as const
  const times = { issuedAtMs: nowMs, expiresAtMs: nowMs + 60_000, height: 1 }
  early.confirm([{ id: subjectId(known), subject: known, issuer: 'node:n1', reason: 'test', ...times }])
  assert.equal(early.unconfirmed('node:n1', nowMs), UNCONFIRMED_MAX - 1)
  assert.equal(early.hear(state, said('n1', denyOf('203.0.113.9'), 60_000, nowMs), nowMs).kind, 'enforced')
  assert.equal(early.unconfirmed('node:n1', nowMs + 3_600_000), 0)
})

test('everything before a moment: the first block that confirms an earlier moment leaves the later one in force', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  const before = (ms: number): TxBody => {
    const value = new Date(ms).toISOString()
    return { type: 'deny.add', subject: { kind: 'issued-before', value, subject: 'bob' }, ttlMs: 600_000, reason: 'test' }
  }
  const denied = (issuedAtMs: number): boolean =>
    early.enforced.matchCredential({ issuer: 'https://id.example', subject: 'bob', issuedAtMs }, nowMs) !== undefined
  const first = early.take(state, signAsOperator(operator, before(nowMs - 5_000)), nowMs)
  assert.deepEqual([denied(nowMs - 5_001), denied(nowMs - 3_000)], [true, false])
  // Signed later, by the operator's clock.
  const atMs = Date.now() + 10
  const content = {
    ring: operator.ring,
    issuer: 'operator:ada',
    atMs,
    untilMs: atMs + 60_000,
    nonce: randomNonce(),
    body: before(nowMs - 1_000),
  }
  const signature = encodeBase64url(signMessage(operator.privateKey, signingBytes(content)))
  early.take(state, encodeTx({ content, signature }), nowMs)
  assert.equal(denied(nowMs - 3_000), true)
  assert.ok(first)
  early.confirm([{ ...first, height: 1 }])
  assert.equal(denied(nowMs - 3_000), true, 'the block has the earlier moment only')
  early.confirm([{ ...first, subject: { ...first.subject, value: new Date(nowMs - 1_000).toISOString() }, height: 2 }])
  assert.equal(denied(nowMs - 3_000), false, 'the view has it now')
})

test('what a node found by itself it enforces by itself for the whole time, until an operator lifts it', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  const checked = application.provisional(state, said('n1'), nowMs)
  assert.ok(checked.ok && early.keepOwn(checked.denial))
  const enforced = (at: number): boolean => early.enforced.matchAddress(subject.value, at) !== undefined
  const later = pass(early, nowMs, 60, true)
  assert.deepEqual([enforced(later), early.enforced.list(later).length, early.enforced.size], [true, 1, 1])
  assert.equal(enforced(nowMs + 600_001), false)
  early.lift([subjectId(subject)])
  assert.deepEqual([enforced(later), early.enforced.size], [false, 0])
})

test('floods that one node meets and nobody confirms are not held against it; other denials are', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  for (let at = 0; at < 5; at += 1) early.hear(state, said('n1', floodOf(`203.0.113.${at + 1}`)), nowMs)
  for (let at = 0; at < 3; at += 1) early.hear(state, said('n2', denyOf(`198.51.100.${at + 1}`)), nowMs)
  const later = pass(early, nowMs, 12, true)
  assert.equal(early.index.matchAddress('203.0.113.1', later), undefined)
  assert.deepEqual(early.unconfirmedByIssuer(later), [{ issuer: 'node:n2', count: 3 }])
})

test('a network takes the word of as many nodes as a denial; the /64 that one IPv6 source has does not', () => {
  const early = new EarlyDenials(application)
  const nowMs = Date.now()
  assert.equal(early.hear(state, said('n1', networkOf('203.0.113.0/24')), nowMs).kind, 'told')
  assert.equal(holds(early, nowMs), false)
  assert.equal(early.hear(state, said('n1', networkOf('2001:db8:1:2::/64')), nowMs).kind, 'enforced')
  assert.notEqual(early.index.matchAddress('2001:db8:1:2:3::1', nowMs), undefined)
})
