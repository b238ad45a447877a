import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Baselines } from './baseline.ts'

const HOUR = 3_600_000
/** A Monday, at midnight. */
const T0 = Date.UTC(2_026, 5, 1)
/** A plain generator (Numerical Recipes). */
const randomFrom = (seed: number) => () => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
const normalOf = (random: () => number): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

test('median and deviation of what is normal are found within a tenth of a deviation and a third of it, from any beginning', () => {
  for (const first of [0, 5, 40, 60]) {
    const random = randomFrom(7)
    const one = new Baselines({ rows: 1, measures: 1, seasonal: false, memoryWindows: 200 })
    one.learn(0, [first], T0)
    for (let at = 0; at < 4_000; at += 1) one.learn(0, [10 + 2 * normalOf(random)], T0)
    const { median, deviation } = one.usual(0, 0, T0)!
    assert.ok(Math.abs(median - 10) < 0.4, `${first}: ${median}`)
    assert.ok(deviation > 1.4 && deviation < 2.7, `${first}: ${deviation}`)
  }
})

test('a third of all values as far off as can be moves the median by less than a deviation: means would be lost', () => {
  const random = randomFrom(11)
  const one = new Baselines({ rows: 1, measures: 1, seasonal: false, memoryWindows: 200 })
  for (let at = 0; at < 6_000; at += 1) one.learn(0, [random() < 0.33 ? 60 : 10 + 2 * normalOf(random)], T0)
  const { median } = one.usual(0, 0, T0)!
  assert.ok(median > 9 && median < 13, `${median}`)
})

test('hours are apart, those beside one speak for it, weekdays speak for a weekend that was not seen', () => {
  const one = new Baselines({ rows: 2, measures: 2, seasonal: true, memoryWindows: 24 })
  assert.equal(one.usual(0, 0, T0), undefined)
  for (let window = 0; window < 3 * 288; window += 1) {
    const atMs = T0 + window * 300_000
    one.learn(0, [new Date(atMs).getUTCHours() === 12 ? 9 : 3, 1], atMs)
  }
  const medianAt = (atMs: number): number => one.usual(0, 0, atMs)!.median
  assert.equal(medianAt(T0 + 3 * 24 * HOUR + 4 * HOUR), 3)
  for (const hour of [11, 12, 13]) assert.equal(medianAt(T0 + 3 * 24 * HOUR + hour * HOUR), 9)
  assert.equal(medianAt(T0 + 5 * 24 * HOUR + 12 * HOUR), 9, 'a Saturday')
  assert.equal(one.usual(1, 0, T0), undefined, 'of another row nothing is known')
})

test('another level is usual after four weekdays of it, and what a row did last week is its most still', () => {
  const one = new Baselines({ rows: 1, measures: 1, seasonal: true, memoryWindows: 24 })
  for (let window = 0; window < 9 * 288; window += 1) one.learn(0, [window < 3 * 288 ? 4 : 6], T0 + window * 300_000)
  assert.ok(one.usual(0, 0, T0 + 9 * 24 * HOUR)!.median > 5.5)
  one.learn(0, [20], T0 + 9 * 24 * HOUR)
  for (let window = 0; window < 7 * 288; window += 1) one.learn(0, [6], T0 + (9 * 288 + window) * 300_000)
  assert.ok(one.peak(0, 0) > 17)
  one.forget(0)
  assert.equal(one.peak(0, 0), 0)
  assert.equal(one.usual(0, 0, T0), undefined)
})

test('property: whatever is learned, what is usual is finite and within what was seen, and memory is what it was', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 60, noNaN: true }), { minLength: 8, maxLength: 200 }), (values) => {
      const one = new Baselines({ rows: 4, measures: 1, seasonal: false, memoryWindows: 20 })
      const { bytes } = one
      for (const value of values) one.learn(2, [value], T0)
      const { median, deviation } = one.usual(2, 0, T0)!
      assert.ok(median >= Math.min(...values) - 1e-4 && median <= Math.max(...values) + 1e-4)
      assert.ok(deviation > 0 && Number.isFinite(deviation))
      assert.equal(one.bytes, bytes)
      assert.equal(one.usual(1, 0, T0), undefined)
    }),
  )
})
