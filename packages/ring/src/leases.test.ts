import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDenialIndex } from './denial-index.ts'
import { LEASE_GIVEN_UP_MS, LEASES_PER_HOLDER_MAX, type Lease, leaseUser, tickedLeases } from './leases.ts'
import type { Policy } from './policy.ts'
import { parsePolicyDocument } from './policy-document.ts'
import type { RingState } from './state.ts'
import { begin, executeAgreed, NOW, POLICY, signedBytes } from './test-ring.ts'
import type { TxBody } from './types.ts'

const TEXT = `${POLICY}vault:
  databases:
    orders:
      host: 127.0.0.1
      database: orders
      user: ringwall
      password: db/orders
      roles:
        reader:
          use: [operator:ada, service:web]
          grant: ['GRANT SELECT ON things TO {{name}}']
          ttl: 1h
          ttlMax: 2h
`
const VERIFIER = `SCRAM-SHA-256$4096:${'A'.repeat(22)}==$${'A'.repeat(43)}=:${'B'.repeat(43)}=`
const BEGIN: TxBody = { type: 'lease.begin', database: 'orders', role: 'reader', ttlMs: 0, verifier: VERIFIER }
const HOUR = 3_600_000

class Ring {
  readonly app = begin(TEXT)
  state: RingState = this.app.initial()
  nowMs = NOW
  #height = 0

  codeOf(body: TxBody, by: 'operator:ada' | 'operator:bob' | 'node:n1' | 'node:n2' = 'operator:ada'): string {
    const result = this.app.check(this.state, this.#tx(body, by), this.nowMs)
    return result.ok ? 'ok' : result.code
  }

  #tx(body: TxBody, by: 'operator:ada' | 'operator:bob' | 'node:n1' | 'node:n2'): Uint8Array {
    return signedBytes(this.app.ring, by, body, { atMs: this.nowMs, untilMs: this.nowMs + 60_000 })
  }

  say(body?: TxBody, by: 'operator:ada' | 'node:n1' = 'operator:ada'): void {
    this.#height += 1
    const context = { height: this.#height, timestampMs: this.nowMs, proposer: 'n1' }
    this.state = executeAgreed(this.app, this.state, body === undefined ? [] : [this.#tx(body, by)], context)
  }

  get lease(): Lease {
    assert.equal(this.state.leases.length, 1)
    return this.state.leases[0] as Lease
  }

  done(): TxBody {
    const { id, work, dueAtMs } = this.lease
    return { type: 'lease.done', id, work: work ?? 'make', dueAtMs }
  }
}

test('a lease is begun by who may, made by a node, renewed within its bounds, ends in time, and is over once a node dropped its user', () => {
  const ring = new Ring()
  assert.equal(ring.codeOf(BEGIN, 'operator:bob'), 'LEASE_NOT_ENTITLED')
  assert.equal(ring.codeOf(BEGIN, 'node:n1'), 'NOT_ENTITLED')
  for (const wrong of [{ role: 'writer' }, { database: 'constructor' }, { role: '__proto__' }])
    assert.equal(ring.codeOf({ ...BEGIN, ...wrong } as TxBody), 'LEASE_NOT_ENTITLED')
  for (const ttlMs of [9_999, 2 * HOUR + 1]) assert.equal(ring.codeOf({ ...BEGIN, ttlMs } as TxBody), 'LEASE_TTL')
  assert.equal(ring.codeOf({ ...BEGIN, verifier: 'md5abc' } as TxBody), 'TX_MALFORMED')
  ring.say(BEGIN)
  const { id } = ring.lease
  assert.match(leaseUser(ring.lease), /^rw_[0-9a-f]{24}$/)
  assert.equal(ring.lease.expiresAtMs, NOW + HOUR)
  assert.equal(ring.codeOf(ring.done(), 'operator:ada'), 'NOT_ENTITLED')
  assert.equal(ring.codeOf({ ...ring.done(), work: 'end' } as TxBody, 'node:n1'), 'LEASE_DONE')
  ring.say(ring.done(), 'node:n1')
  assert.equal(ring.lease.work, null)
  assert.equal(ring.codeOf(ring.done(), 'node:n2'), 'LEASE_DONE', 'once')
  ring.nowMs += HOUR - 1
  ring.say({ type: 'lease.renew', id, ttlMs: 2 * HOUR })
  assert.deepEqual([ring.lease.expiresAtMs, ring.lease.work], [NOW + 2 * HOUR, 'make'], 'not beyond what the role has')
  assert.equal(ring.codeOf({ type: 'lease.revoke', id }, 'operator:bob'), 'LEASE_UNKNOWN')
  ring.nowMs = NOW + 2 * HOUR
  ring.say()
  assert.deepEqual([ring.lease.end, ring.lease.work], ['expired', 'end'])
  assert.equal(ring.codeOf({ type: 'lease.renew', id, ttlMs: 0 }), 'LEASE_UNKNOWN')
  const again = ring.app.restore(Buffer.concat([...ring.app.snapshot(ring.state)]))
  assert.deepEqual([again.leases, again.root()], [ring.state.leases, ring.state.root()])
  ring.say(ring.done(), 'node:n1')
  assert.deepEqual(ring.state.leases, [])
})

test('what was done about a lease before it was renewed or revoked is not what is to be done now', () => {
  const ring = new Ring()
  ring.say(BEGIN)
  const late = ring.done()
  ring.nowMs += 1
  ring.say({ type: 'lease.revoke', id: ring.lease.id })
  assert.equal(ring.codeOf(late, 'node:n1'), 'LEASE_DONE')
  assert.equal(ring.codeOf(ring.done(), 'node:n1'), 'ok')
})

test('a denial of what a service asked by, and a policy that does not name it any more, end its leases; others stay', () => {
  const document = parsePolicyDocument(TEXT, 'test', () => [])
  assert.ok(document.ok)
  const policy: Policy = document.policy
  const ring = new Ring()
  ring.say(BEGIN)
  const credential = {
    issuer: 'urn:ringwall:x',
    subject: 'spiffe://x/service/web',
    tokenId: '1'.repeat(32),
    keys: [],
    issuedAtMs: NOW,
  }
  const own: Lease = { ...ring.lease, holder: 'service:web', credential, work: null }
  const other: Lease = { ...own, id: 'f'.repeat(32), credential: { ...credential, tokenId: '2'.repeat(32) } }
  const stranger: Lease = { ...own, id: '0'.repeat(32), holder: 'service:gone' }
  const denial = {
    reason: 'stolen',
    issuer: 'operator:ada',
    issuedAtMs: NOW,
    expiresAtMs: NOW + HOUR,
    height: 1,
    id: '0'.repeat(16),
  }
  const denials = createDenialIndex([{ ...denial, subject: { kind: 'token', value: '1'.repeat(32) } }])
  const after = tickedLeases([stranger, own, other], policy, denials, NOW + 1)
  assert.deepEqual(
    after.map(({ end, work }) => [end, work]),
    [
      ['denied', 'end'],
      ['denied', 'end'],
      [null, null],
    ],
  )
  assert.equal(tickedLeases([{ ...stranger, credential: null }], policy, denials, NOW + 1)[0]?.end, 'policy')
  assert.equal(tickedLeases(after, policy, denials, NOW + 2), after, 'nothing changed')
  assert.equal(tickedLeases(after, policy, denials, NOW + 2 + LEASE_GIVEN_UP_MS).length, 1, 'given up after a day')
})

test('one holder has so many leases and not more', () => {
  const ring = new Ring()
  for (let count = 0; count < LEASES_PER_HOLDER_MAX; count += 1) {
    ring.nowMs += 1
    ring.say(BEGIN)
  }
  ring.nowMs += 1
  assert.equal(ring.codeOf(BEGIN), 'LEASE_FULL')
})
