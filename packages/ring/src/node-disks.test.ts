import assert from 'node:assert/strict'
import { randomBytes, sign } from 'node:crypto'
import { test } from 'node:test'
import { dealTrusted, encapsulate, type KeyShare, type PublicKey } from '@ringwall/threshold'
import { type DiskLabel, diskLabel } from './disk-label.ts'
import { wipeReceiptBytes } from './node-disks.ts'
import { NO_RING_KEY } from './ring-key.ts'
import type { RingState } from './state.ts'
import { begin, executeAgreed, genesis, keyOf, NOW, POLICY, signed, signedBytes } from './test-ring.ts'
import { encodeBase64url, encodeTx, txId } from './tx.ts'
import type { TxBody } from './types.ts'

type Issuer = 'operator:ada' | 'operator:bob' | 'node:n1' | 'node:n2'

function sealingKey(): PublicKey {
  const members = [1, 2, 3].map((index) => ({ party: `n${index}`, index }))
  const parts = { suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold: 2, members } as const
  return (dealTrusted(parts, [BigInt(`0x${randomBytes(30).toString('hex')}`), 5n])[0] as KeyShare).publicKey
}

class Disks {
  readonly app
  readonly publicKey = sealingKey()
  state: RingState
  height = 0

  constructor(policy = POLICY) {
    this.app = begin(policy)
    const key = { ...NO_RING_KEY, publicKey: encodeBase64url(this.publicKey.encode()), attempts: 1 }
    this.state = this.app.initial().withKey('sealing', key)
  }

  seal(node = 'n1', changes: Partial<DiskLabel> & { key?: PublicKey } = {}): TxBody {
    const { key = this.publicKey, ...label } = changes
    const machine = encodeBase64url(new Uint8Array(32).fill(7))
    const publicKey = this.state.node(node)?.publicKey ?? ''
    const { capsule } = encapsulate(key, diskLabel({ ring: this.app.ring, node, publicKey, machine, ...label }), randomBytes(32))
    return { type: 'disk.seal', capsule: encodeBase64url(capsule), machine }
  }

  tx(body: TxBody, by: Issuer = 'operator:ada'): Uint8Array {
    return signedBytes(this.app.ring, by, body)
  }

  codeOf(body: TxBody, by: Issuer = 'operator:ada'): string {
    const result = this.app.check(this.state, this.tx(body, by), NOW)
    return result.ok ? 'ok' : result.code
  }

  block(...txs: readonly Uint8Array[]): void {
    this.height += 1
    this.state = executeAgreed(this.app, this.state, txs, { height: this.height, timestampMs: NOW, proposer: 'n1' })
  }

  get sealed(): readonly string[] {
    return this.state.disks.sealed.map(({ id }) => id)
  }
}

test('a node has the ring keep the key of its own disk, for itself and this machine, and of no other', () => {
  const disks = new Disks()
  assert.equal(disks.codeOf(disks.seal(), 'node:n1'), 'ok')
  assert.equal(disks.codeOf(disks.seal(), 'operator:ada'), 'NOT_ENTITLED')
  assert.equal(disks.codeOf(disks.seal('n2'), 'node:n1'), 'DISK_CAPSULE')
  for (const changes of [
    { ring: '0'.repeat(64) },
    { publicKey: encodeBase64url(new Uint8Array(32)) },
    { machine: encodeBase64url(new Uint8Array(32)) },
    { key: sealingKey() },
  ])
    assert.equal(disks.codeOf(disks.seal('n1', changes), 'node:n1'), 'DISK_CAPSULE', JSON.stringify(Object.keys(changes)))
  const keyless = new Disks()
  const good = disks.seal()
  keyless.state = keyless.app.initial()
  assert.equal(keyless.codeOf(good, 'node:n1'), 'DISK_KEY')
  disks.block(disks.tx(good, 'node:n1'))
  disks.block(disks.tx(disks.seal('n2'), 'node:n2'), disks.tx(disks.seal(), 'node:n1'))
  assert.deepEqual(disks.sealed, ['n1', 'n2'])
  assert.notEqual(disks.state.disks.sealed[0]?.capsule, good.type === 'disk.seal' ? good.capsule : '')
})

test('a node that is removed or wiped has no disk in the ring any more, at once and for ever', () => {
  for (const type of ['node.remove', 'node.wipe'] as const) {
    const disks = new Disks()
    disks.block(disks.tx(disks.seal('n2'), 'node:n2'))
    const late = disks.tx(disks.seal('n2'), 'node:n2')
    disks.block(disks.tx({ type, id: 'n2', reason: 'stolen' }))
    assert.deepEqual([disks.sealed, disks.state.node('n2'), disks.state.retired.map(({ id }) => id)], [[], undefined, ['n2']])
    const result = disks.app.check(disks.state, late, NOW)
    assert.equal(result.ok, false)
  }
})

test('a wipe is recorded with who wanted it and why, and with the receipt that the node signs last', () => {
  const disks = new Disks()
  const publicKey = disks.state.node('n2')?.publicKey
  disks.block(disks.tx({ type: 'node.wipe', id: 'n2', reason: 'stolen' }))
  const receipt = { atMs: NOW + 5, files: 12, bytes: 3_456 }
  const of = (by: 'n1' | 'n2', told = receipt): TxBody => {
    const signature = encodeBase64url(sign(null, wipeReceiptBytes(disks.app.ring, 'n2', told), keyOf(by)))
    return { type: 'node.wiped', id: 'n2', receipt, signature }
  }
  assert.equal(disks.codeOf(of('n1'), 'node:n1'), 'WIPE_RECEIPT')
  assert.equal(disks.codeOf(of('n2', { ...receipt, files: 11 }), 'node:n1'), 'WIPE_RECEIPT')
  assert.equal(disks.codeOf({ ...of('n2'), id: 'n1' } as TxBody, 'node:n1'), 'WIPE_UNKNOWN')
  disks.block(disks.tx(of('n2'), 'node:n1'))
  const [wipe] = disks.state.disks.wipes
  assert.deepEqual(
    [wipe?.id, wipe?.publicKey, wipe?.by, wipe?.reason, wipe?.receipt?.files],
    ['n2', publicKey, 'operator:ada', 'stolen', 12],
  )
  assert.equal(disks.codeOf(of('n2'), 'node:n1'), 'WIPE_UNKNOWN', 'one receipt')
})

test('a wipe needs as many operators as the removal of a node does, whatever else the policy says', () => {
  const disks = new Disks(`${POLICY}operators: { approvals: { node.remove: 2 } }\n`)
  const wipe = signed(disks.app.ring, 'operator:ada', { type: 'node.wipe', id: 'n2', reason: 'stolen' })
  disks.block(encodeTx(wipe))
  assert.notEqual(disks.state.node('n2'), undefined)
  disks.block(disks.tx({ type: 'tx.approve', id: txId(wipe.content), reason: 'I saw it' }, 'operator:bob'))
  assert.equal(disks.state.node('n2'), undefined)
  assert.equal(disks.state.disks.wipes[0]?.by, 'operator:ada')
})

test('a snapshot holds disks and wipes, in one spelling; a ring without any commits to what it did without them', () => {
  const disks = new Disks()
  assert.equal('disks' in disks.state.parts(), false)
  disks.block(disks.tx(disks.seal('n2'), 'node:n2'), disks.tx(disks.seal(), 'node:n1'))
  disks.block(disks.tx({ type: 'node.wipe', id: 'n2', reason: 'stolen' }))
  assert.equal('disks' in disks.state.parts(), true)
  const bytes = new Uint8Array(Buffer.concat([...disks.app.snapshot(disks.state)]))
  const restored = disks.app.restore(bytes)
  assert.equal(disks.app.root(restored), disks.app.root(disks.state))
  assert.deepEqual(restored.disks, disks.state.disks)
  const text = new TextDecoder().decode(bytes)
  const changed = new TextEncoder().encode(text.replace('"reason":"stolen"', '"reason":"lost"'))
  assert.notEqual(disks.app.root(disks.app.restore(changed)), disks.app.root(disks.state))
  assert.equal(genesis.nodes.length > 1, true)
})

test('the ring makes a sealing key when the policy has it keep disks, though the vault is closed', () => {
  const open = new Disks(`${POLICY}vault: { disks: true }\n`)
  const signing = { ...NO_RING_KEY, publicKey: open.state.sealingKey.publicKey }
  for (const [app, isDue] of [
    [open.app, true],
    [new Disks().app, false],
  ] as const) {
    const state = app.initial().withKey('signing', signing)
    const next = executeAgreed(app, state, [], { height: 1, timestampMs: NOW, proposer: 'n1' })
    assert.equal(next.sealingKey.ceremony !== null, isDue)
  }
})
