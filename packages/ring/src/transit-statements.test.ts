import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { dealTrusted, type KeyShare } from '@ringwall/threshold'
import type { RingApplication } from './application.ts'
import { NO_RING_KEY } from './ring-key.ts'
import type { RingState } from './state.ts'
import { begin, executeAgreed, NOW, POLICY, signed, signedBytes } from './test-ring.ts'
import { TRANSIT_VERSIONS_MAX, transitKey } from './transit-keys.ts'
import { encodeBase64url, encodeTx, txId } from './tx.ts'
import type { TxBody } from './types.ts'

const TRANSIT = `${POLICY}vault:
  transit:
    - key: shop
      use: [service:shop]
      manage: [operator:ada]
`

function dealt(suite: 'ed25519' | 'ristretto255'): string {
  const members = [1, 2, 3].map((index) => ({ party: `n${index}`, index }))
  const parts = { suite, purpose: 'tests', epoch: 0, threshold: 2, members } as const
  const { publicKey } = dealTrusted(parts, [BigInt(`0x${randomBytes(30).toString('hex')}`), 5n])[0] as KeyShare
  return encodeBase64url(publicKey.encode())
}

class Transit {
  readonly app: RingApplication
  state: RingState
  nowMs = NOW
  height = 0

  constructor(policy = TRANSIT) {
    this.app = begin(policy)
    this.state = this.app
      .initial()
      .withKey('sealing', { ...NO_RING_KEY, publicKey: dealt('ristretto255'), attempts: 1 })
      .withKey('signing', { ...NO_RING_KEY, publicKey: dealt('ed25519'), attempts: 1 })
  }

  codeOf(body: TxBody, by: 'operator:ada' | 'operator:bob' | 'node:n1' = 'operator:ada'): string {
    const tx = signedBytes(this.app.ring, by, body, { atMs: this.nowMs, untilMs: this.nowMs + 60_000 })
    const result = this.app.check(this.state, tx, this.nowMs)
    return result.ok ? 'ok' : result.code
  }

  say(body: TxBody, by: 'operator:ada' | 'operator:bob' = 'operator:ada'): void {
    const content = { atMs: this.nowMs, untilMs: this.nowMs + 60_000 }
    this.block(signedBytes(this.app.ring, by, body, content))
  }

  block(...txs: readonly Uint8Array[]): void {
    this.height += 1
    this.state = executeAgreed(this.app, this.state, txs, { height: this.height, timestampMs: this.nowMs, proposer: 'n1' })
  }

  versions(name: string): readonly number[] | undefined {
    return transitKey(this.state.transit, name)?.versions.map(({ version }) => version)
  }
}

test('keys are made, rotated, trimmed and deleted by who may manage them, and a name that comes back is another key', () => {
  const transit = new Transit()
  const create = { type: 'transit.create', name: 'shop/cards', use: 'encrypt' } as const
  assert.equal(transit.codeOf(create, 'operator:bob'), 'TRANSIT_NOT_ENTITLED')
  assert.equal(transit.codeOf(create, 'node:n1'), 'NOT_ENTITLED')
  assert.equal(transit.codeOf({ ...create, name: 'shopping' }), 'TRANSIT_NOT_ENTITLED')
  assert.equal(transit.codeOf({ type: 'transit.rotate', name: 'shop/cards' }), 'TRANSIT_UNKNOWN')
  transit.say(create)
  assert.equal(transit.codeOf(create), 'TRANSIT_EXISTS')
  const { id } = transitKey(transit.state.transit, 'shop/cards')!
  transit.say({ type: 'transit.rotate', name: 'shop/cards' })
  transit.say({ type: 'transit.create', name: 'shop/a', use: 'sign' })
  assert.deepEqual(transit.versions('shop/cards'), [1, 2])
  assert.equal(transitKey(transit.state.transit, 'shop/a')?.versions[0]?.signer.length, 43)
  assert.equal(transitKey(transit.state.transit, 'shop/cards')?.versions[0]?.signer, '')
  for (const least of [0, 1, 3])
    assert.equal(transit.codeOf({ type: 'transit.trim', name: 'shop/cards', least }), 'TRANSIT_VERSION', String(least))
  transit.say({ type: 'transit.trim', name: 'shop/cards', least: 2 })
  assert.deepEqual(transit.versions('shop/cards'), [2])
  transit.say({ type: 'transit.delete', name: 'shop/cards', reason: 'leaked' })
  assert.equal(transit.versions('shop/cards'), undefined)
  transit.nowMs += 1
  transit.say(create)
  assert.notEqual(transitKey(transit.state.transit, 'shop/cards')!.id, id)
  assert.deepEqual(transit.versions('shop/cards'), [1])
})

test('a snapshot brings the keys back, to the same root, and one with keys out of order is refused', () => {
  const transit = new Transit()
  transit.say({ type: 'transit.create', name: 'shop/b', use: 'mac' })
  transit.say({ type: 'transit.create', name: 'shop/a', use: 'encrypt' })
  const bytes = Buffer.concat([...transit.app.snapshot(transit.state)])
  const again = transit.app.restore(bytes)
  assert.deepEqual(again.transit, transit.state.transit)
  assert.equal(again.root(), transit.state.root())
  assert.notEqual(again.root(), again.withTransit([]).root())
  const [first, second] = again.transit
  const swapped = transit.app.snapshot(again.withTransit([second!, first!]))
  assert.throws(() => transit.app.restore(Buffer.concat([...swapped])), { name: 'SnapshotInvalid' })
})

test('the sealing key is not replaced under keys that rest on it, and versions in use are bounded', () => {
  const transit = new Transit()
  transit.say({ type: 'transit.create', name: 'shop/s', use: 'sign' })
  const rotate: TxBody = { type: 'key.rotate', key: 'sealing', reason: 'suspected' }
  assert.equal(transit.codeOf(rotate), 'ok')
  transit.say({ type: 'transit.create', name: 'shop/m', use: 'mac' })
  assert.equal(transit.codeOf(rotate), 'KEY_IN_USE')
  for (let version = 2; version <= TRANSIT_VERSIONS_MAX; version += 1) {
    transit.nowMs += 1
    transit.say({ type: 'transit.rotate', name: 'shop/m' })
  }
  assert.equal(transit.codeOf({ type: 'transit.rotate', name: 'shop/m' }), 'TRANSIT_FULL')
})

test('where deleting secrets takes two operators, so does deleting keys', () => {
  const more = '    - key: shop\n      manage: [operator:bob]\noperators:\n  approvals:\n    vault.delete: 2\n'
  const transit = new Transit(`${TRANSIT}${more}`)
  transit.say({ type: 'transit.create', name: 'shop/s', use: 'sign' })
  const gone = signed(transit.app.ring, 'operator:ada', { type: 'transit.delete', name: 'shop/s', reason: 'old' })
  transit.block(encodeTx(gone))
  assert.deepEqual(transit.versions('shop/s'), [1])
  transit.say({ type: 'tx.approve', id: txId(gone.content), reason: 'seen' }, 'operator:bob')
  assert.equal(transit.versions('shop/s'), undefined)
})

test('keys that sign rest on the signing key in force when they were made; without the ring’s keys there are none', () => {
  const transit = new Transit()
  transit.state = transit.state.withKey('sealing', NO_RING_KEY)
  assert.equal(transit.codeOf({ type: 'transit.create', name: 'shop/s', use: 'sign' }), 'ok')
  assert.equal(transit.codeOf({ type: 'transit.create', name: 'shop/s', use: 'encrypt' }), 'TRANSIT_NO_KEY')
})
