import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { dealTrusted, encapsulate, type KeyShare, type PublicKey } from '@ringwall/threshold'
import type { RingApplication } from './application.ts'
import { NO_RING_KEY } from './ring-key.ts'
import type { RingState } from './state.ts'
import { begin, executeAgreed, NOW, POLICY, signed, signedBytes } from './test-ring.ts'
import { encodeBase64url, encodeTx, txId } from './tx.ts'
import type { TxBody } from './types.ts'
import { secretLabel } from './vault-label.ts'

const VAULT = `${POLICY}vault:
  rules:
    - path: shop
      read: [service:shop, operator:ada]
      write: [operator:ada]
    - path: all/of/us
      write: ['operator:*']
`
const share = (): PublicKey => {
  const members = [1, 2, 3].map((index) => ({ party: `n${index}`, index }))
  const parts = { suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold: 2, members } as const
  return (dealTrusted(parts, [BigInt(`0x${randomBytes(30).toString('hex')}`), 5n])[0] as KeyShare).publicKey
}

class Vault {
  readonly app: RingApplication
  readonly publicKey = share()
  state: RingState
  nowMs = NOW
  height = 0

  constructor(policy = VAULT) {
    this.app = begin(policy)
    const key = { ...NO_RING_KEY, publicKey: encodeBase64url(this.publicKey.encode()), attempts: 1 }
    this.state = this.app.initial().withKey('sealing', key)
  }

  put(name: string, expectVersion: number, changes: { ttlMs?: number; label?: object; publicKey?: PublicKey } = {}): TxBody {
    const { ttlMs = 0 } = changes
    const expiresAtMs = ttlMs === 0 ? 0 : this.nowMs + ttlMs
    const label = { ring: this.app.ring, name, version: expectVersion + 1, sealedAtMs: this.nowMs, expiresAtMs, ...changes.label }
    const { capsule } = encapsulate(changes.publicKey ?? this.publicKey, secretLabel(label), randomBytes(32))
    const ciphertext = encodeBase64url(randomBytes(40))
    return { type: 'vault.put', name, expectVersion, ttlMs, capsule: encodeBase64url(capsule), ciphertext }
  }

  tx(body: TxBody, by: 'operator:ada' | 'operator:bob' | 'node:n1' = 'operator:ada', atMs = this.nowMs): Uint8Array {
    return signedBytes(this.app.ring, by, body, { atMs, untilMs: atMs + 60_000 })
  }

  codeOf(body: TxBody, by: 'operator:ada' | 'operator:bob' | 'node:n1' = 'operator:ada', atMs = this.nowMs): string {
    const result = this.app.check(this.state, this.tx(body, by, atMs), this.nowMs)
    return result.ok ? 'ok' : result.code
  }

  block(...txs: readonly Uint8Array[]): void {
    this.height += 1
    this.state = executeAgreed(this.app, this.state, txs, { height: this.height, timestampMs: this.nowMs, proposer: 'n1' })
  }
}

test('a secret is put by who may write it, one version after the other, and read back as it was sealed', () => {
  const vault = new Vault()
  const first = vault.put('shop/db', 0)
  assert.equal(vault.codeOf(first), 'ok')
  assert.equal(vault.codeOf(first, 'operator:bob'), 'VAULT_NOT_ENTITLED')
  assert.equal(vault.codeOf(first, 'node:n1'), 'NOT_ENTITLED')
  assert.equal(vault.codeOf(vault.put('shopping', 0)), 'VAULT_NOT_ENTITLED', 'a path ends at a /')
  assert.equal(vault.codeOf(vault.put('all/of/us/x', 0), 'operator:bob'), 'ok')
  vault.block(vault.tx(first))
  assert.equal(vault.codeOf(first), 'VAULT_CONFLICT')
  assert.equal(vault.codeOf(vault.put('shop/db', 2)), 'VAULT_CONFLICT')
  vault.block(vault.tx(vault.put('shop/db', 1)))
  const held = vault.state.vault.body('shop/db', 1, NOW)
  assert.ok(first.type === 'vault.put' && held?.capsule === first.capsule && held.ciphertext === first.ciphertext)
  assert.deepEqual(
    vault.state.vault.get('shop/db')?.versions.map(({ version, by }) => [version, by]),
    [
      [1, 'operator:ada'],
      [2, 'operator:ada'],
    ],
  )
})

test('a capsule of another name, version, time, expiry, ring or key is refused, and so is one whose proof was changed', () => {
  const vault = new Vault()
  for (const label of [
    { name: 'shop/other' },
    { version: 2 },
    { sealedAtMs: NOW - 1 },
    { expiresAtMs: 1 },
    { ring: '0'.repeat(64) },
  ])
    assert.equal(vault.codeOf(vault.put('shop/db', 0, { label })), 'VAULT_CAPSULE', JSON.stringify(label))
  assert.equal(vault.codeOf(vault.put('shop/db', 0, { publicKey: share() })), 'VAULT_CAPSULE')
  const good = vault.put('shop/db', 0) as Extract<TxBody, { type: 'vault.put' }>
  const bytes = Buffer.from(good.capsule, 'base64url')
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
  assert.equal(vault.codeOf({ ...good, capsule: bytes.toString('base64url') }), 'VAULT_CAPSULE')
  assert.equal(vault.codeOf(good), 'ok')
  // Kept by somebody, and put again under the same name and version after all of it was deleted and forgotten: its time is over.
  assert.equal(vault.codeOf(good, 'operator:ada', NOW + 1), 'VAULT_CAPSULE')
})

test('what is deleted or has expired is no part of the state any more, and its versions do not come back', () => {
  const vault = new Vault()
  vault.block(vault.tx(vault.put('shop/db', 0)), vault.tx(vault.put('shop/short', 0, { ttlMs: 5_000 })))
  vault.block(vault.tx(vault.put('shop/db', 1)))
  const gone = (versions: readonly number[]): TxBody => ({ type: 'vault.delete', name: 'shop/db', versions, reason: 'leaked' })
  assert.equal(vault.codeOf(gone([]), 'operator:bob'), 'VAULT_NOT_ENTITLED')
  assert.equal(vault.codeOf(gone([7])), 'VAULT_UNKNOWN')
  assert.equal(vault.codeOf({ ...gone([]), name: 'shop/none' } as TxBody), 'VAULT_UNKNOWN')
  vault.block(vault.tx(gone([1])))
  assert.equal(vault.state.vault.body('shop/db', 1, NOW), undefined)
  assert.notEqual(vault.state.vault.body('shop/db', 2, NOW), undefined)
  assert.equal(vault.codeOf(gone([1])), 'VAULT_UNKNOWN')
  vault.block(vault.tx(gone([])))
  assert.equal(vault.codeOf(vault.put('shop/db', 0)), 'VAULT_CONFLICT')
  assert.equal(vault.codeOf(vault.put('shop/db', 2)), 'ok')
  vault.nowMs += 5_000
  assert.equal(vault.state.vault.body('shop/short', 1, vault.nowMs), undefined, 'before a block has swept it')
  vault.block()
  assert.deepEqual(vault.state.vault.get('shop/short')?.versions[0]?.end, { atMs: NOW + 5_000, why: 'expired' })
  assert.deepEqual([vault.state.vault.sealed, vault.state.vault.bytes], [0, 0])
  const snapshot = Buffer.concat([...vault.app.snapshot(vault.state)]).toString()
  assert.ok(!snapshot.includes('ciphertext'))
})

test('without rules or without a key the vault takes nothing', () => {
  const closed = begin(POLICY)
  const vault = new Vault()
  const body = vault.put('shop/db', 0)
  const tx = signedBytes(closed.ring, 'operator:ada', body)
  const refused = closed.check(closed.initial(), tx, NOW)
  assert.ok(!refused.ok && refused.code === 'VAULT_CLOSED')
  const early = vault.app.check(vault.app.initial(), vault.tx(body), NOW)
  assert.ok(!early.ok && early.code === 'VAULT_CLOSED' && /no sealing key yet/.test(early.reason))
})

test('a sealing key is not replaced while anything is sealed to it, and nothing is sealed to one that is being replaced', () => {
  const vault = new Vault()
  const rotate: TxBody = { type: 'key.rotate', key: 'sealing', reason: 'suspected' }
  vault.block(vault.tx(vault.put('shop/db', 0)))
  assert.equal(vault.codeOf(rotate), 'KEY_IN_USE')
  assert.equal(vault.codeOf({ type: 'key.refresh', key: 'sealing', reason: 'monthly' }), 'ok')
  vault.block(vault.tx({ type: 'vault.delete', name: 'shop/db', versions: [], reason: 'moved' }))
  assert.equal(vault.codeOf(rotate), 'ok')
  vault.block(vault.tx(rotate))
  assert.equal(vault.codeOf(vault.put('shop/db', 1)), 'VAULT_CLOSED')
})

test('a policy that names operators whom the ring has not is refused, with those it has', () => {
  const { ring, initial, check } = begin(POLICY)
  const policy = VAULT.replace('write: [operator:ada]', 'write: [operator:dora]')
  const refused = check(initial(), signedBytes(ring, 'operator:ada', { type: 'policy.set', policy, expectVersion: 1 }), NOW)
  assert.ok(!refused.ok && /no operator dora/.test(refused.reason), JSON.stringify(refused))
})

test('where the policy asks for two operators, what one deletes opens until another one who may has approved it', () => {
  const policy = `${VAULT}    - path: shop
      write: [operator:bob]
operators:
  approvals:
    vault.delete: 2
`
  const vault = new Vault(policy)
  vault.block(vault.tx(vault.put('shop/db', 0)))
  const gone = signed(vault.app.ring, 'operator:ada', { type: 'vault.delete', name: 'shop/db', versions: [], reason: 'leaked' })
  vault.block(encodeTx(gone))
  assert.notEqual(vault.state.vault.body('shop/db', 1, NOW), undefined)
  const approve: TxBody = { type: 'tx.approve', id: txId(gone.content), reason: 'seen' }
  assert.equal(vault.codeOf(approve), 'APPROVAL_REPEATED')
  vault.block(vault.tx(approve, 'operator:bob'))
  assert.equal(vault.state.vault.body('shop/db', 1, NOW), undefined)
})
