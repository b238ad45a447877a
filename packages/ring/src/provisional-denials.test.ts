import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProvisionalDenials } from './provisional-denials.ts'
import { subjectId } from './tx.ts'
import type { Denial } from './types.ts'

function denial(value: string, changes: Partial<Denial> = {}): Denial {
  const subject = { kind: 'ip', value } as const
  const times = { issuedAtMs: 1_000, expiresAtMs: 3_600_000, height: undefined }
  return { id: subjectId(subject), subject, reason: 'test', issuer: 'node:n1', ...times, ...changes }
}

test('a denial by gossip holds at once and lapses after ten seconds, swept or not', () => {
  const denials = new ProvisionalDenials()
  assert.ok(denials.add(denial('10.0.0.1'), 1_000))
  assert.ok(denials.matchAddress('10.0.0.1', 10_999))
  assert.equal(denials.matchAddress('10.0.0.1', 11_000), undefined)
  assert.equal(denials.expire(11_000), 1)
  assert.equal(denials.size, 0)
})

test('a liar cannot keep a refused denial alive by telling it again', () => {
  const denials = new ProvisionalDenials()
  assert.ok(denials.add(denial('10.0.0.1'), 1_000))
  assert.ok(!denials.add(denial('10.0.0.1'), 5_000))
  denials.expire(20_000)
  assert.ok(!denials.add(denial('10.0.0.1'), 20_000))
  assert.equal(denials.matchAddress('10.0.0.1', 20_000), undefined)
})

test('a denial that was confirmed and then removed does not come back with an old message', () => {
  const denials = new ProvisionalDenials()
  denials.add(denial('10.0.0.1'), 1_000)
  denials.confirm(denial('10.0.0.1').id)
  assert.equal(denials.matchAddress('10.0.0.1', 1_001), undefined)
  assert.ok(!denials.add(denial('10.0.0.1'), 2_000))
  assert.ok(denials.add(denial('10.0.0.1', { issuedAtMs: 2_000 }), 2_000))
})

test('one issuer that floods fills its own share only', () => {
  const denials = new ProvisionalDenials({ entriesMax: 4, perIssuerMax: 2 })
  assert.deepEqual(
    ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((value) => denials.add(denial(value), 1_000)),
    [true, true, false],
  )
  assert.ok(denials.add(denial('10.0.0.3', { issuer: 'node:n2' }), 1_000))
  assert.ok(denials.add(denial('10.0.0.4', { issuer: 'node:n2' }), 1_000))
  assert.ok(!denials.add(denial('10.0.0.5', { issuer: 'node:n3' }), 1_000))
  assert.equal(denials.size, 4)
})

test('a denial that is over is no news', () => {
  assert.ok(!new ProvisionalDenials().add(denial('10.0.0.1', { expiresAtMs: 1_000 }), 1_000))
})
