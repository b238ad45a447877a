import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlabPool } from './slabs.ts'

test('memory that was given back is used again for lengths alike, once, and secrets are gone from it', () => {
  const pool = new SlabPool()
  const first = pool.take(100_000, true)
  assert.equal(first.bytes.length, 100_000)
  first.bytes.fill(7)
  const { buffer } = first.bytes
  first.release()
  first.release()
  const [second, third] = [pool.take(90_000), pool.take(90_000)]
  assert.equal(second.bytes.buffer, buffer)
  assert.equal(second.bytes.length, 90_000)
  assert.ok(second.bytes.every((byte) => byte === 0))
  assert.notEqual(third.bytes.buffer, buffer)
  pool.clear()
})

test('what is kept is bounded, and an empty slab has memory of its own', () => {
  const pool = new SlabPool()
  const many = Array.from({ length: 20 }, () => pool.take(4_194_304))
  const before = new Set(many.map(({ bytes }) => bytes.buffer))
  for (const slab of many) slab.release()
  const again = Array.from({ length: 20 }, () => pool.take(4_194_304))
  assert.equal(again.filter(({ bytes }) => before.has(bytes.buffer)).length, 16)
  assert.equal(pool.take(0).bytes.length, 0)
  pool.clear()
})
