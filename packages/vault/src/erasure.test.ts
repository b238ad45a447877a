import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { ErasureCode, isShard, SHARDS_MAX, ShardTree } from './erasure.ts'
import { combine, inverse, times } from './erasure-kernel.ts'

/** The field by long multiplication, without tables. */
function slowly(a: number, b: number): number {
  let product = 0
  for (let bit = 0; bit < 8; bit += 1) if ((b >> bit) & 1) product ^= a << bit
  for (let bit = 14; bit >= 8; bit -= 1) if ((product >> bit) & 1) product ^= 0x11d << (bit - 8)
  return product
}

test('the tables are the field, all of it, and every element but 0 has its inverse', () => {
  for (let a = 0; a < 256; a += 1) for (let b = 0; b < 256; b += 1) assert.equal(times(a, b), slowly(a, b))
  for (let a = 1; a < 256; a += 1) assert.equal(slowly(a, inverse(a)), 1)
  assert.throws(() => inverse(0), RangeError)
})

test('property: the kernel adds up products as the field has them, at any length', () => {
  const length = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(16_383, 16_384, 16_385, 40_000))
  fc.assert(
    fc.property(length, fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 }), (bytes, from, to) => {
      const inputs = Array.from({ length: from }, () => new Uint8Array(randomBytes(bytes)))
      const rows = Array.from({ length: to }, () => new Uint8Array(randomBytes(from)))
      const outputs = rows.map(() => new Uint8Array(randomBytes(bytes)))
      combine(rows, inputs, outputs)
      for (const [at, row] of rows.entries())
        for (const place of [0, bytes - 1, Math.floor(bytes / 2), Math.min(bytes - 1, 16_384)]) {
          const expected = inputs.reduce((sum, input, i) => sum ^ slowly(row[i] as number, input[place] as number), 0)
          assert.equal(outputs[at]?.[place], expected)
        }
    }),
    { numRuns: 60 },
  )
})

test('every choice of k of n shards brings back every shard and the object: all of 4 of 6, of 3 of 7 and of 1 of 4', () => {
  for (const [k, n] of [
    [4, 6],
    [3, 7],
    [1, 4],
  ] as const) {
    const code = new ErasureCode(k, n)
    const object = randomBytes(1_000)
    const shards = code.encode(object)
    for (let choice = 0; choice < 2 ** n; choice += 1) {
      const held = shards.map((shard, index) => ((choice >> index) & 1 ? shard : undefined))
      const count = held.filter((shard) => shard !== undefined).length
      if (count < k) {
        assert.throws(() => code.restore(held), { code: 'VAULT_SHORT' })
        continue
      }
      for (const [index, shard] of code.restore(held).entries()) assert.ok(Buffer.from(shard).equals(shards[index] as Uint8Array))
      assert.ok(Buffer.from(code.decode(held, object.length)).equals(object))
    }
  }
})

test('property: of codes of every size and objects of any length, any k shards are enough, and a changed one is found by its hash', () => {
  const shape = fc.integer({ min: 2, max: SHARDS_MAX }).chain((n) => fc.tuple(fc.integer({ min: 1, max: n - 1 }), fc.constant(n)))
  fc.assert(
    fc.property(shape, fc.nat(5_000), fc.infiniteStream(fc.nat()), fc.nat(), ([k, n], bytes, noise, at) => {
      const code = new ErasureCode(k, n)
      const object = randomBytes(bytes)
      const shards = code.encode(object)
      assert.ok(shards.every(({ length }) => length === code.shardBytes(bytes)))
      const order = shards.map((_, index) => [noise.next().value as number, index] as const).sort(([a], [b]) => a - b)
      const kept = new Set(order.slice(0, k).map(([, index]) => index))
      const held = shards.map((shard, index) => (kept.has(index) ? shard : undefined))
      assert.ok(Buffer.from(code.decode(held, bytes)).equals(object))
      const tree = new ShardTree(shards)
      const index = at % n
      const good = shards[index] as Uint8Array
      const proof = tree.prove(index)
      assert.ok(isShard(tree.root, good, index, n, proof))
      const flipped = Uint8Array.from(good)
      flipped[at % flipped.length]! ^= 1 << (at % 8)
      assert.ok(!isShard(tree.root, flipped, index, n, proof))
      assert.ok(!isShard(tree.root, good, (index + 1) % n, n, proof))
      assert.ok(!isShard(tree.root, good, index, n, [...proof, new Uint8Array(32)]))
      if (proof.length > 0) assert.ok(!isShard(tree.root, good, index, n, proof.slice(1)))
    }),
    { numRuns: 150 },
  )
})

test('shapes and shards that make no code are refused', () => {
  for (const [k, n] of [
    [0, 2],
    [2, 2],
    [3, 2],
    [1, SHARDS_MAX + 1],
    [1.5, 3],
  ] as const)
    assert.throws(() => new ErasureCode(k, n), RangeError)
  const code = new ErasureCode(2, 3)
  const [a, b] = code.encode(randomBytes(10))
  assert.throws(() => code.restore([a, b]), { code: 'VAULT_MALFORMED' })
  assert.throws(() => code.restore([a, randomBytes(4), undefined]), { code: 'VAULT_MALFORMED' })
  assert.throws(() => code.decode([a, b, undefined], 100), { code: 'VAULT_MALFORMED' })
  assert.ok(!isShard(new Uint8Array(32), randomBytes(3), -1, 3, []))
})
