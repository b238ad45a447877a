import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import { INVITATION_REMEMBERED_MS, INVITATIONS_MAX } from './enrolment.ts'
import { invitedBytes } from './enrolment-statements.ts'
import { begin, executeAgreed, NOW, POLICY, signed, signedBytes } from './test-ring.ts'
import { encodeBase64url } from './tx.ts'
import type { RingNode, TxBody } from './types.ts'

const app = begin()
const MINUTES = 60_000

function newKey(): { readonly privateKey: KeyObject; readonly key: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey, key: encodeBase64url(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)) }
}

function invite(key: string, changes: Partial<Extract<TxBody, { type: 'node.invite' }>> = {}): TxBody {
  return { type: 'node.invite', key, reason: 'a new edge', region: 'eu', roles: ['edge'], ttlMs: 10 * MINUTES, ...changes }
}

interface Joiner {
  readonly node: RingNode
  readonly own: KeyObject
}

function joiner(id = 'e1', changes: Partial<RingNode> = {}): Joiner {
  const { privateKey, key } = newKey()
  return { own: privateKey, node: { address: '10.0.0.9:7081', id, publicKey: key, region: 'eu', roles: ['edge'], ...changes } }
}

function join(invitation: ReturnType<typeof newKey>, { node, own }: Joiner, said: RingNode = node, ring = app.ring): TxBody {
  const bytes = invitedBytes(ring, invitation.key, node)
  const by = (key: KeyObject): string => encodeBase64url(new Uint8Array(sign(null, bytes, key)))
  return { type: 'node.join', invitation: invitation.key, node: said, own: by(own), proof: by(invitation.privateKey) }
}

const at = (height: number, timestampMs = NOW): Parameters<typeof app.execute>[2] => ({ height, timestampMs, proposer: 'n1' })
const later = { atMs: NOW + 60_000, untilMs: NOW + 2 * MINUTES }

function codeOf(state: ReturnType<typeof app.initial>, tx: Uint8Array, nowMs = NOW): string {
  const result = app.check(state, tx, nowMs)
  return result.ok ? 'ok' : result.code
}

test('an invitation lets in one node, by whichever node carries it in, and then no other', () => {
  const key = newKey()
  const invited = executeAgreed(app, app.initial(), [signedBytes(app.ring, 'operator:ada', invite(key.key))], at(1))
  const [first, second] = [joiner('e1'), joiner('e2')]
  const a = signedBytes(app.ring, 'node:n1', join(key, first))
  const b = signedBytes(app.ring, 'node:n2', join(key, second))
  assert.equal(codeOf(invited, a), 'ok')
  assert.equal(codeOf(invited, b), 'ok')
  assert.deepEqual(app.prepare(invited, [a, b], at(2), 1_000_000), [a], 'one block takes one of the two')
  const state = executeAgreed(app, invited, [a], at(2))
  assert.deepEqual(state.nodes.at(-1), first.node)
  assert.equal(codeOf(state, b), 'INVITATION_USED')
  assert.equal(codeOf(state, signedBytes(app.ring, 'node:n2', join(key, first))), 'INVITATION_USED')
})

test('an invitation bounds role, region and time, and says which it was', () => {
  const key = newKey()
  const state = executeAgreed(app, app.initial(), [signedBytes(app.ring, 'operator:ada', invite(key.key))], at(1))
  const by = (body: TxBody): Uint8Array => signedBytes(app.ring, 'node:n1', body)
  assert.equal(codeOf(state, by(join(key, joiner('e1', { roles: ['validator', 'edge'] })))), 'INVITATION_EXCEEDED')
  assert.equal(codeOf(state, by(join(key, joiner('e1', { region: 'us' })))), 'INVITATION_EXCEEDED')
  const over = NOW + 10 * MINUTES
  const late = signedBytes(app.ring, 'node:n1', join(key, joiner()), { atMs: over, untilMs: over + MINUTES })
  assert.equal(codeOf(state, late, over), 'INVITATION_EXPIRED')
  const forgotten = over + INVITATION_REMEMBERED_MS
  const tooLate = signedBytes(app.ring, 'node:n1', join(key, joiner()), { atMs: forgotten, untilMs: forgotten + MINUTES })
  assert.equal(codeOf(state, tooLate, forgotten), 'INVITATION_UNKNOWN')
  const swept = executeAgreed(app, state, [], at(2, forgotten))
  assert.equal(swept.enrolment.isEmpty, true)
})

test('nobody uses an invitation, a node’s name or a node’s key that is not theirs', () => {
  const [key, other] = [newKey(), newKey()]
  const state = executeAgreed(app, app.initial(), [signedBytes(app.ring, 'operator:ada', invite(key.key))], at(1))
  const by = (body: TxBody): Uint8Array => signedBytes(app.ring, 'node:n1', body)
  const one = joiner()
  assert.equal(codeOf(state, by(join(other, one))), 'INVITATION_UNKNOWN')
  assert.equal(codeOf(state, by({ ...join(other, one), invitation: key.key } as TxBody)), 'PROOF_INVALID')
  assert.equal(
    codeOf(state, by(join(key, one, { ...one.node, address: '10.6.6.6:7081' }))),
    'PROOF_INVALID',
    'changed on the way',
  )
  assert.equal(codeOf(state, by(join(key, { ...one, own: newKey().privateKey }))), 'PROOF_INVALID', 'a key that it does not hold')
  assert.equal(codeOf(state, by(join(key, one, one.node, 'ab'.repeat(32)))), 'PROOF_INVALID', 'signed for another ring')
  assert.equal(codeOf(state, by(join(key, joiner('n2')))), 'NODE_ID_USED')
  assert.equal(codeOf(state, by(join(key, { own: key.privateKey, node: { ...one.node, publicKey: key.key } }))), 'NODE_KEY_USED')
})

test('only operators invite, as many as the policy wants, and only nodes carry joins in', () => {
  const key = newKey()
  const state = app.initial()
  assert.equal(codeOf(state, signedBytes(app.ring, 'node:n1', invite(key.key))), 'NOT_ENTITLED')
  assert.equal(codeOf(state, signedBytes(app.ring, 'operator:ada', join(key, joiner()))), 'NOT_ENTITLED')
  assert.equal(codeOf(state, signedBytes(app.ring, 'operator:ada', invite(key.key, { ttlMs: 1_000 }))), 'TTL_OUT_OF_RANGE')
  assert.equal(codeOf(state, signedBytes(app.ring, 'operator:ada', invite(state.nodes[0]!.publicKey))), 'INVITATION_KEY_USED')
  const two = begin(`${POLICY}operators:\n  approvals:\n    node.add: 2\n`)
  const tx = signed(two.ring, 'operator:ada', invite(key.key))
  const waiting = executeAgreed(two, two.initial(), [signedBytes(two.ring, 'operator:ada', invite(key.key))], at(1))
  assert.equal(waiting.enrolment.isEmpty, true, 'it waits as node.add does')
  assert.equal(waiting.approvals.size, 1)
  const id = waiting.approvals.contents()[0]!.id
  assert.equal(tx.content.body.type, 'node.invite')
  const approve = signedBytes(two.ring, 'operator:bob', { type: 'tx.approve', id, reason: 'yes' }, later)
  const done = executeAgreed(two, waiting, [approve], at(2, NOW + MINUTES))
  assert.equal(
    done.enrolment.invitation(key.key, NOW + MINUTES)?.expiresAtMs,
    NOW + 11 * MINUTES,
    'its time begins when it is approved',
  )
})

test('a ring that has no invitations has the state root of before there were any', () => {
  const state = app.initial()
  assert.equal('enrolment' in state.parts(), false)
  const invited = executeAgreed(app, state, [signedBytes(app.ring, 'operator:ada', invite(newKey().key))], at(1))
  assert.equal('enrolment' in invited.parts(), true)
})

test('invitations are bounded', () => {
  let state = app.initial()
  const txs = Array.from({ length: INVITATIONS_MAX }, () => signedBytes(app.ring, 'operator:ada', invite(newKey().key)))
  state = executeAgreed(app, state, txs, at(1))
  assert.equal(codeOf(state, signedBytes(app.ring, 'operator:ada', invite(newKey().key))), 'INVITATIONS_FULL')
})
