import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRingApplication, genesisHash, parseGenesis, type RingState } from '@ringwall/ring'
import { encodeBase64url, subjectId, type TxBody } from '@ringwall/ring/tx'
import { compileRules } from '@ringwall/waf'
import { generateKey, verifySignature } from './keys.ts'
import { signAsOperator } from './local/operator.ts'
import { plainPolicy } from './local/up.ts'
import { EarlyDenials, LAPSE_MS } from './provisional.ts'
import { loadRuleLibrary } from './rules.ts'

const operatorKey = generateKey()
const text = (key: Uint8Array): string => encodeBase64url(key)
const genesis = parseGenesis(
  JSON.stringify({
    format: 'ringwall/genesis/1',
    createdAtMs: 1,
    nodes: [
      { id: 'n1', region: 'eu', address: '127.0.0.1:1', publicKey: text(generateKey().publicKey), roles: ['validator', 'edge'] },
    ],
    operators: [{ name: 'ada', publicKey: text(operatorKey.publicKey) }],
    policy: plainPolicy('http://127.0.0.1:3000'),
  }),
)
const application = createRingApplication({ genesis, verify: verifySignature, compile: compileRules, rules: loadRuleLibrary({}) })
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
  early.confirm([denial?.id ?? ''])
  assert.equal(holds(early, nowMs), false)
  assert.deepEqual(early.transactions(), [])
})
