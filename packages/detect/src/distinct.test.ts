import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addDistinct, countDistinct, createDistinct, mergeDistinct } from './distinct.ts'

for (const n of [0, 1, 10, 200, 2_000, 20_000, 300_000]) {
  test(`${n} different addresses are counted to within 12 %`, () => {
    const sketch = createDistinct()
    for (let i = 0; i < n; i += 1) addDistinct(sketch, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    assert.ok(Math.abs(countDistinct(sketch) - n) <= n * 0.12 + 0.5, String(countDistinct(sketch)))
  })
}

test('property: merging is the sketch of the union: commutative, idempotent, never less', () => {
  const texts = fc.array(fc.string(), { maxLength: 200 })
  const sketchOf = (list: readonly string[]) => {
    const sketch = createDistinct()
    for (const text of list) addDistinct(sketch, text)
    return sketch
  }
  fc.assert(
    fc.property(texts, texts, (a, b) => {
      const left = sketchOf(a)
      mergeDistinct(left, sketchOf(b))
      const right = sketchOf(b)
      mergeDistinct(right, sketchOf(a))
      assert.deepEqual(left, right)
      assert.deepEqual(left, sketchOf([...a, ...b]))
      const again = left.slice()
      mergeDistinct(again, left)
      assert.deepEqual(again, left)
    }),
  )
})
