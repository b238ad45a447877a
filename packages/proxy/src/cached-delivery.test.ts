import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CachedDelivery } from './cached-delivery.ts'

test('a kept body comes in parts of 64 KiB, whole, and none of it is a copy', () => {
  const body = Buffer.alloc(150_000, 1)
  body[149_999] = 7
  const delivery = new CachedDelivery(200, body)
  const parts: Buffer[] = []
  for (let part = delivery.next(); part !== undefined; part = delivery.next()) parts.push(part)
  assert.deepEqual(
    parts.map(({ length }) => length),
    [65_536, 65_536, 18_928],
  )
  assert.ok(parts.every(({ buffer }) => buffer === body.buffer))
  assert.deepEqual(Buffer.concat(parts), body)
  assert.equal(delivery.next(), undefined)
  assert.equal(new CachedDelivery(204, Buffer.alloc(0)).next(), undefined)
})
