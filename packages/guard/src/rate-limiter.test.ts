import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createRateLimiter } from './rate-limiter.ts'

test('the burst fits, the next one waits exactly one interval', () => {
  const limiter = createRateLimiter()
  const take = (nowMs: number) => limiter.take('k', 20, 60_000, 5, nowMs)
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => take(1_000)),
    [0, 0, 0, 0, 0, 3_000],
  )
  assert.equal(take(3_999), 1)
  assert.equal(take(4_000), 0)
  assert.equal(take(4_000), 3_000)
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => take(1_000_000)),
    [0, 0, 0, 0, 0, 3_000],
  )
})

test('a burst of one spaces requests evenly', () => {
  const limiter = createRateLimiter()
  assert.deepEqual(
    [0, 0, 99, 100, 199, 200].map((nowMs) => limiter.take('k', 10, 1_000, 1, nowMs)),
    [0, 100, 1, 0, 1, 0],
  )
})

test('keys have budgets of their own', () => {
  const limiter = createRateLimiter()
  assert.equal(limiter.take('a', 1, 1_000, 1, 0), 0)
  assert.equal(limiter.take('b', 1, 1_000, 1, 0), 0)
  assert.equal(limiter.take('a', 1, 1_000, 1, 0), 1_000)
})

test('a clock set back does not lock a key out for longer than its whole budget', () => {
  const limiter = createRateLimiter()
  assert.equal(limiter.take('k', 1, 1_000, 3, 10_000_000), 0)
  assert.ok(limiter.take('k', 1, 1_000, 3, 0) <= 1_000)
  assert.equal(limiter.take('k', 1, 1_000, 3, 1_000), 0)
})

test('a flood of new keys neither grows the table nor frees a key that is throttled', () => {
  const limiter = createRateLimiter({ entriesMax: 64, seed: 7 })
  const take = () => limiter.take('victim', 5, 3_600_000, 5, 0)
  while (take() === 0);
  for (let n = 0; n < 10_000; n += 1) limiter.take(`flood ${n}`, 100, 1_000, 100, 0)
  assert.ok(limiter.size <= 64)
  assert.notEqual(take(), 0)
})

test('property: over any schedule no window lets through more than its burst and its rate', () => {
  const schedule = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(schedule, fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), (gaps, count, burst) => {
      const limiter = createRateLimiter()
      let now = 1_700_000_000_000
      const passed: number[] = []
      for (const gap of gaps) {
        now += gap
        if (limiter.take('k', count, 1_000, burst, now) === 0) passed.push(now)
      }
      passed.forEach((from, start) => {
        for (let end = start; end < passed.length; end += 1) {
          // One more for the microsecond that an interval may be rounded down by.
          const allowed = burst + ((passed[end]! - from) * count) / 1_000 + 1
          assert.ok(end - start + 1 <= allowed)
        }
      })
    }),
  )
})
