import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import type { VoucherFacts, VoucherReader } from './enrolment-statements.ts'
import { DEVICE_JOIN_MS_MAX, deviceJoinBytes } from './enrolment-statements.ts'
import { nodeSubject } from './meaning.ts'
import { begin, executeAgreed, genesis, NOW, POLICY, signedBytes } from './test-ring.ts'
import { encodeBase64url, subjectId } from './tx.ts'
import type { RingNode, TxBody } from './types.ts'

function newKey(): { readonly privateKey: KeyObject; readonly key: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey, key: encodeBase64url(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)) }
}

const [maker, device] = [newKey(), newKey()]
/** Vouchers here are their facts in JSON: what their signatures say is the business of `@ringwall/enroll`. */
const voucher: VoucherReader = (text) =>
  text.startsWith('{') ? { ok: true, voucher: JSON.parse(text) as VoucherFacts } : { ok: false, reason: 'it is no JSON' }
const policy = `${POLICY}devices:\n  manufacturers:\n    - { name: acme, key: ${maker.key} }\n`
const app = begin(policy, { voucher })
const owner = genesis.operators[0]!.publicKey
const entry = (digit: string): string => digit.repeat(64)

function facts(changes: Partial<VoucherFacts> = {}): string {
  const held: VoucherFacts = {
    serial: 'AC-1',
    key: device.key,
    manufacturer: maker.key,
    owner,
    ring: app.ring,
    expiresAtMs: NOW + 600_000,
    ek: null,
    entries: [entry('a'), entry('b')],
  }
  return JSON.stringify({ ...held, ...changes })
}

const register = (text: string): TxBody => ({
  type: 'device.register',
  reason: 'new',
  region: 'eu',
  roles: ['edge'],
  voucher: text,
})

function join(changes: { node?: Partial<RingNode>; head?: string; atMs?: number; by?: KeyObject } = {}): TxBody {
  const own = newKey()
  const node: RingNode = {
    address: '10.0.0.9:7081',
    id: 'd1',
    publicKey: own.key,
    region: 'eu',
    roles: ['edge'],
    ...changes.node,
  }
  const said = { atMs: changes.atMs ?? NOW, head: changes.head ?? entry('b'), node, serial: 'AC-1' }
  const bytes = deviceJoinBytes(app.ring, said)
  const signed = (key: KeyObject): string => encodeBase64url(new Uint8Array(sign(null, bytes, key)))
  return { type: 'device.join', ...said, own: signed(own.privateKey), proof: signed(changes.by ?? device.privateKey) }
}

const at = (height: number, timestampMs = NOW) => ({ height, timestampMs, proposer: 'n1' })
type State = ReturnType<typeof app.initial>
const operator = (body: TxBody): Uint8Array => signedBytes(app.ring, 'operator:ada', body)
const node = (body: TxBody): Uint8Array => signedBytes(app.ring, 'node:n2', body)
function codeOf(state: State, tx: Uint8Array): string {
  const result = app.check(state, tx, NOW)
  return result.ok ? 'ok' : result.code
}
const registered = executeAgreed(app, app.initial(), [operator(register(facts()))], at(1))

test('a voucher counts when its maker, ring, owner and time are right', () => {
  const state = app.initial()
  assert.equal(codeOf(state, operator(register(facts()))), 'ok')
  assert.equal(codeOf(state, operator(register('x'))), 'VOUCHER_INVALID')
  assert.equal(codeOf(state, operator(register(facts({ manufacturer: newKey().key })))), 'MANUFACTURER_UNKNOWN')
  assert.equal(codeOf(state, operator(register(facts({ ring: null })))), 'VOUCHER_OTHER_RING')
  assert.equal(codeOf(state, operator(register(facts({ ring: entry('c') })))), 'VOUCHER_OTHER_RING')
  assert.equal(codeOf(state, operator(register(facts({ owner: newKey().key })))), 'VOUCHER_OTHER_RING')
  assert.equal(codeOf(state, operator(register(facts({ expiresAtMs: NOW })))), 'VOUCHER_EXPIRED')
  assert.equal(codeOf(state, operator(register(facts({ key: genesis.nodes[0]!.publicKey })))), 'NODE_KEY_USED')
  assert.equal(codeOf(registered, operator(register(facts()))), 'DEVICE_KNOWN')
  assert.equal(codeOf(registered, operator(register(facts({ serial: 'AC-2' })))), 'DEVICE_KNOWN')
  assert.equal(codeOf(state, signedBytes(app.ring, 'node:n1', register(facts()))), 'NOT_ENTITLED')
})

test('a device joins once, as what it was registered for, by its own key and now', () => {
  assert.equal(codeOf(registered, node(join({ by: newKey().privateKey }))), 'PROOF_INVALID')
  assert.equal(codeOf(registered, node(join({ head: entry('a') }))), 'VOUCHER_SUPERSEDED')
  assert.equal(codeOf(registered, node(join({ atMs: NOW - DEVICE_JOIN_MS_MAX - 1 }))), 'JOIN_STALE')
  assert.equal(codeOf(registered, node(join({ atMs: NOW + DEVICE_JOIN_MS_MAX + 1 }))), 'JOIN_STALE')
  assert.equal(codeOf(registered, node(join({ node: { roles: ['validator'] } }))), 'DEVICE_EXCEEDED')
  assert.equal(codeOf(registered, node(join({ node: { region: 'us' } }))), 'DEVICE_EXCEEDED')
  assert.equal(codeOf(registered, node(join({ node: { id: 'n1' } }))), 'NODE_ID_USED')
  const tx = node(join())
  assert.equal(codeOf(registered, tx), 'ok')
  const joined = executeAgreed(app, registered, [tx], at(2))
  assert.equal(joined.enrolment.deviceOfNode('d1')?.status, 'joined')
  assert.equal(codeOf(joined, node(join({ node: { id: 'd2' } }))), 'DEVICE_JOINED')
  const removed = executeAgreed(app, joined, [operator({ type: 'node.remove', id: 'd1', reason: 'set up anew' })], at(3))
  assert.equal(codeOf(removed, node(join({ node: { id: 'd2' } }))), 'ok', 'set up anew, it comes back under another name')
  assert.equal(codeOf(removed, node(join())), 'NODE_ID_USED')
})

test('a device that is removed is out for good, its node with it', () => {
  const joined = executeAgreed(app, registered, [node(join())], at(2))
  const gone = executeAgreed(app, joined, [operator({ type: 'device.remove', serial: 'AC-1', reason: 'stolen' })], at(3))
  assert.equal(gone.node('d1'), undefined)
  assert.equal(gone.retired.at(-1)?.id, 'd1')
  assert.equal(codeOf(gone, node(join({ node: { id: 'd2' } }))), 'DEVICE_REMOVED')
  assert.equal(codeOf(gone, operator(register(facts({ entries: [entry('a'), entry('b'), entry('c')] })))), 'DEVICE_REMOVED')
})

test('a device that was given away is out, and comes back by a longer chain alone', () => {
  const joined = executeAgreed(app, registered, [node(join())], at(2))
  const transfer = (changes: Partial<VoucherFacts>): TxBody => {
    const away = { ring: null, owner: newKey().key, entries: [entry('a'), entry('b'), entry('c')] }
    return { type: 'device.transfer', reason: 'sold', serial: 'AC-1', voucher: facts({ ...away, ...changes }) }
  }
  assert.equal(codeOf(joined, operator(transfer({ ring: app.ring }))), 'VOUCHER_OTHER_RING')
  assert.equal(codeOf(joined, operator(transfer({ entries: [entry('a'), entry('c')] }))), 'VOUCHER_SUPERSEDED')
  assert.equal(codeOf(joined, operator(transfer({ serial: 'AC-2' }))), 'VOUCHER_INVALID')
  const away = executeAgreed(app, joined, [operator(transfer({}))], at(3))
  assert.equal(away.node('d1'), undefined)
  assert.equal(codeOf(away, node(join({ node: { id: 'd2' } }))), 'DEVICE_TRANSFERRED')
  assert.equal(codeOf(away, operator(register(facts()))), 'VOUCHER_SUPERSEDED')
  const longer = facts({ entries: [entry('a'), entry('b'), entry('c'), entry('d')] })
  const back = executeAgreed(app, away, [operator(register(longer))], at(4))
  assert.equal(codeOf(back, node(join({ head: entry('d'), node: { id: 'd2' } }))), 'ok')
})

test('a device that is set up anew takes the place of its node once that is drained for its age, not before, and begins at age 0', () => {
  const fleet = 'fleet:\n  maxAge:\n    - { age: 60s, drain: 20s, spread: 0% }\n'
  const asked = { type: 'policy.set', policy: policy + fleet, expectVersion: 1 } as const
  const aging = executeAgreed(app, registered, [operator(asked)], at(2))
  const joined = executeAgreed(app, aging, [node(join())], at(3))
  const begun = executeAgreed(app, joined, [], at(4))
  const again = (atMs: number): Uint8Array =>
    signedBytes(app.ring, 'node:n2', join({ atMs, node: { id: 'd2' } }), { atMs, untilMs: atMs + 30_000 })
  const check = (state: State, atMs: number): string => {
    const result = app.check(state, again(atMs), atMs)
    return result.ok ? 'ok' : result.code
  }
  assert.equal(check(begun, NOW + 39_999), 'DEVICE_JOINED')
  const due = NOW + 40_000
  assert.equal(check(begun, due), 'ok')
  const anew = executeAgreed(app, begun, [again(due)], at(5, due))
  assert.deepEqual([anew.node('d1'), anew.enrolment.deviceOfNode('d2')?.serial], [undefined, 'AC-1'])
  assert.equal(anew.denials.find(subjectId(nodeSubject(app.ring, 'd1')), due)?.reason, 'put out: NODE_AGED')
  assert.equal(check(anew, due), 'DEVICE_JOINED', 'another copy comes too late')
  const later = executeAgreed(app, anew, [], at(6, due + 50_000))
  assert.notEqual(later.node('d2'), undefined, 'the first would be out by now')
  assert.equal(executeAgreed(app, later, [], at(7, due + 50_000 + 60_000)).node('d2'), undefined)
})
