import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Baselines } from './baseline.ts'
import { MemoryMalformed } from './errors.ts'
import { KeptReader, KeptWriter } from './kept.ts'

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
  const one = new Baselines({ rows: 1, measures: 1, seasonal: true, memoryWindows: 24, peaks: true })
  const now = (day: number): number => T0 + day * 24 * HOUR
  for (let window = 0; window < 9 * 288; window += 1) one.learn(0, [window < 3 * 288 ? 4 : 6], T0 + window * 300_000)
  assert.ok(one.usual(0, 0, now(9))!.median > 5.5)
  one.learn(0, [20], now(9))
  for (let window = 0; window < 7 * 288; window += 1) one.learn(0, [6], now(9) + window * 300_000)
  assert.ok(one.peak(0, 0, now(16)) > 17)
  one.forget(0)
  assert.equal(one.peak(0, 0, now(16)), 0)
  assert.equal(one.usual(0, 0, now(16)), undefined)
})

test('who does a little more each time has done no more before until the day is over', () => {
  const one = new Baselines({ rows: 1, measures: 1, seasonal: false, memoryWindows: 20, peaks: true })
  one.learn(0, [3], T0 - HOUR)
  for (let window = 0; window < 24; window += 1) {
    assert.equal(Math.round(one.peak(0, 0, T0 + window * 300_000)), 3)
    one.learn(0, [3 + window], T0 + window * 300_000)
  }
  assert.ok(one.peak(0, 0, T0 + 24 * HOUR) > 25)
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

test('property: what is kept of a row is read as it was, into another row, and says the same; a byte less or more is refused', () => {
  const row = fc.record({
    seasonal: fc.boolean(),
    peaks: fc.boolean(),
    values: fc.array(fc.tuple(fc.double({ min: 0, max: 60, noNaN: true }), fc.integer({ min: 0, max: 400 })), { maxLength: 60 }),
  })
  fc.assert(
    fc.property(row, fc.nat(), ({ seasonal, peaks, values }, cut) => {
      const make = () => new Baselines({ rows: 3, measures: 2, seasonal, memoryWindows: 20, peaks })
      const [one, other] = [make(), make()]
      for (const [value, hour] of values) one.learn(1, [value, 60 - value], T0 + hour * HOUR)
      const bytes = kept(one, 1)
      const reader = new KeptReader(bytes)
      other.restore(2, reader)
      reader.end()
      assert.deepEqual(kept(other, 2), bytes)
      for (const [, hour] of values)
        for (const measure of [0, 1]) {
          assert.deepEqual(other.usual(2, measure, T0 + hour * HOUR), one.usual(1, measure, T0 + hour * HOUR))
          if (peaks) assert.equal(other.peak(2, measure, T0 + hour * HOUR), one.peak(1, measure, T0 + hour * HOUR))
        }
      assert.throws(() => make().restore(0, new KeptReader(bytes.subarray(0, cut % bytes.length))), MemoryMalformed)
    }),
    { numRuns: 60 },
  )
})

test('numbers that no row has are refused when they are read: infinite, NaN, below nothing, hours that are not or twice', () => {
  const options = { rows: 1, measures: 1, seasonal: true, memoryWindows: 20 }
  const slot = (hour: number, ...numbers: readonly number[]) => {
    const writer = new KeptWriter().u8(hour)
    for (const number of numbers) writer.f32(number)
    return writer.done()
  }
  const good = slot(3, 7, 2, 0.5)
  const cases: readonly (readonly [number, ...Uint8Array[]])[] = [
    [1, slot(3, 0, 2, 0.5)],
    [1, slot(3, 7, Number.NaN, 0.5)],
    [1, slot(3, 7, Number.POSITIVE_INFINITY, 0.5)],
    [1, slot(3, 7, 2, 0)],
    [1, slot(3, 7, -1, 0.5)],
    [1, slot(48, 7, 2, 0.5)],
    [2, good, good],
    [49, good],
  ]
  const read = (bytes: Uint8Array) => new Baselines(options).restore(0, new KeptReader(bytes))
  read(Uint8Array.from([1, ...good]))
  for (const [count, ...slots] of cases)
    assert.throws(() => read(Uint8Array.from([count, ...slots.flatMap((one) => [...one])])), MemoryMalformed)
})

function kept(baselines: Baselines, row: number): Uint8Array {
  const writer = new KeptWriter()
  baselines.keep(row, writer)
  return writer.done()
}
