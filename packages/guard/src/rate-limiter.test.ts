import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { createRateLimiter, sharedRateMemory } from './rate-limiter.ts'

const ALGORITHMS = ['gcra', 'fixed-window', 'sliding-window'] as const

test('the burst fits, the next one waits exactly one interval', () => {
  const limiter = createRateLimiter()
  const take = (nowMs: number) => limiter.take('k', { count: 20, windowMs: 60_000, burst: 5 }, nowMs)
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
    [0, 0, 99, 100, 199, 200].map((nowMs) => limiter.take('k', { count: 10, windowMs: 1_000, burst: 1 }, nowMs)),
    [0, 100, 1, 0, 1, 0],
  )
})

test('what is charged though it does not fit is owed, up to a whole budget', () => {
  const limiter = createRateLimiter()
  const peek = (nowMs: number) => limiter.peek('k', { count: 10, windowMs: 1_000, burst: 5 }, nowMs)
  const charge = (count: number, nowMs: number) => {
    for (let at = 0; at < count; at += 1) limiter.charge('k', { count: 10, windowMs: 1_000, burst: 5 }, nowMs)
  }
  assert.equal(peek(1_000), 0)
  charge(5, 1_000)
  assert.equal(peek(1_000), 100)
  charge(3, 1_000)
  assert.equal(peek(1_000), 400)
  assert.equal(peek(1_399), 1)
  assert.equal(peek(1_400), 0)
  charge(1_000, 1_400)
  assert.equal(peek(1_400), 600)
})

test('property: however many are let in at once and counted later, what passes stays within the rate, one lot a budget', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 40, max: 80 }),
      fc.integer({ min: 1, max: 20 }),
      (atOnce, burst, rounds) => {
        const limiter = createRateLimiter()
        const [count, windowMs, stepMs] = [10, 1_000, 10]
        let passed = 0
        const endMs = rounds * 1_000
        for (let nowMs = 0; nowMs < endMs; nowMs += stepMs) {
          if (limiter.peek('k', { count, windowMs, burst }, nowMs) > 0) continue
          // All of a lot looked before any of it counts.
          passed += atOnce
          for (let at = 0; at < atOnce; at += 1) limiter.charge('k', { count, windowMs, burst }, nowMs)
        }
        assert.ok(passed <= burst + (count * endMs) / windowMs + atOnce, `${passed}`)
      },
    ),
  )
})

test('a fixed window gives its count in each window of the clock, and says when the next begins', () => {
  const limiter = createRateLimiter()
  const budget = { count: 3, windowMs: 60_000, burst: 3, algorithm: 'fixed-window' } as const
  const take = (nowMs: number) => limiter.take('k', budget, nowMs)
  assert.deepEqual([59_000, 59_500, 59_999, 59_999].map(take), [0, 0, 0, 1])
  assert.deepEqual([60_000, 60_000, 60_001, 60_001, 119_000].map(take), [0, 0, 0, 59_999, 1_000])
  // Days begin at midnight, UTC.
  const day = { ...budget, count: 1, windowMs: 86_400_000 }
  const noon = Date.UTC(2027, 0, 31, 12)
  assert.equal(limiter.take('d', day, noon), 0)
  assert.equal(limiter.take('d', day, noon), 43_200_000)
  assert.equal(limiter.take('d', day, noon + 43_200_000), 0)
  limiter.refund('d', day, noon + 43_200_000, 5)
  assert.equal(limiter.take('d', day, noon + 43_200_001), 0)
  assert.ok(limiter.take('d', day, noon + 43_200_001) > 0)
})

test('a sliding window lets in what the fading part of the one before leaves', () => {
  const limiter = createRateLimiter()
  const budget = { count: 10, windowMs: 1_000, burst: 10, algorithm: 'sliding-window' } as const
  const take = (nowMs: number) => limiter.take('k', budget, nowMs)
  for (let at = 0; at < 10; at += 1) assert.equal(take(900), 0)
  // Nine of ten count until a tenth of the next window is over.
  assert.equal(take(900), 200)
  assert.equal(take(1_099), 1)
  assert.equal(take(1_100), 0)
  assert.equal(take(1_100), 100)
  assert.equal(take(1_500), 0)
  // What was two windows ago does not count.
  for (let at = 0; at < 10; at += 1) assert.equal(take(3_000), 0)
})

test('property: whoever waits as long as it is told gets in, and a moment before it does not, however it is counted', () => {
  const budgets = fc.record({
    count: fc.integer({ min: 1, max: 20 }),
    windowMs: fc.constantFrom(1_000, 60_000),
    burst: fc.integer({ min: 1, max: 20 }),
    algorithm: fc.constantFrom(...ALGORITHMS),
  })
  fc.assert(
    fc.property(budgets, fc.array(fc.nat(70_000), { minLength: 1, maxLength: 60 }), (given, gaps) => {
      const budget = given.algorithm === 'gcra' ? given : { ...given, burst: given.count }
      const limiter = createRateLimiter()
      let nowMs = 1_790_000_000_000
      for (const gap of gaps) {
        nowMs += gap % 3 === 0 ? gap : gap % 50
        const waitMs = limiter.take('k', budget, nowMs)
        if (waitMs === 0) continue
        if (waitMs > 2) assert.ok(limiter.peek('k', budget, nowMs + waitMs - 2) > 0)
        assert.equal(limiter.peek('k', budget, nowMs + waitMs), 0, `${budget.algorithm} after ${waitMs} ms`)
      }
    }),
  )
})

test('property: no window of the clock has more than its count, whether it slides or not', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(gaps, fc.integer({ min: 1, max: 30 }), fc.boolean(), (schedule, count, slides) => {
      const limiter = createRateLimiter()
      const budget = { count, windowMs: 1_000, burst: count, algorithm: slides ? 'sliding-window' : 'fixed-window' } as const
      const passed = new Map<number, number>()
      let nowMs = 1_790_000_000_000
      for (const gap of schedule) {
        nowMs += gap
        const window = Math.floor(nowMs / 1_000)
        if (limiter.take('k', budget, nowMs) === 0) passed.set(window, (passed.get(window) ?? 0) + 1)
      }
      for (const times of passed.values()) assert.ok(times <= count)
    }),
  )
})

test('what is charged by its cost is owed, up to twice a window', () => {
  const limiter = createRateLimiter()
  const cells = { count: 100, windowMs: 1_000, burst: 100 }
  limiter.charge('k', cells, 0, 150)
  assert.equal(limiter.peek('k', cells, 0), 510)
  limiter.charge('k', cells, 0, 1_000_000)
  assert.equal(limiter.peek('k', cells, 0), 1_010)
  const window = { ...cells, algorithm: 'sliding-window' } as const
  limiter.charge('w', window, 0, 1_000_000)
  assert.ok(limiter.peek('w', window, 999) > 500)
  assert.equal(limiter.peek('w', window, 1_510), 0)
})

test('keys have budgets of their own', () => {
  const limiter = createRateLimiter()
  assert.equal(limiter.take('a', { count: 1, windowMs: 1_000, burst: 1 }, 0), 0)
  assert.equal(limiter.take('b', { count: 1, windowMs: 1_000, burst: 1 }, 0), 0)
  assert.equal(limiter.take('a', { count: 1, windowMs: 1_000, burst: 1 }, 0), 1_000)
})

test('a clock set back does not lock a key out for longer than its whole budget', () => {
  const limiter = createRateLimiter()
  assert.equal(limiter.take('k', { count: 1, windowMs: 1_000, burst: 3 }, 10_000_000), 0)
  assert.ok(limiter.take('k', { count: 1, windowMs: 1_000, burst: 3 }, 0) <= 1_000)
  assert.equal(limiter.take('k', { count: 1, windowMs: 1_000, burst: 3 }, 1_000), 0)
})

test('a flood of new keys neither grows the table nor frees a key that is throttled', () => {
  const limiter = createRateLimiter({ entriesMax: 64, seed: 7 })
  const take = () => limiter.take('victim', { count: 5, windowMs: 3_600_000, burst: 5 }, 0)
  while (take() === 0);
  for (let n = 0; n < 10_000; n += 1) limiter.take(`flood ${n}`, { count: 100, windowMs: 1_000, burst: 100 }, 0)
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
        if (limiter.take('k', { count, windowMs: 1_000, burst }, now) === 0) passed.push(now)
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

/** Draws from every key in turn, as often as it is told, and answers what fitted. */
const DRAWING = `
import { parentPort, workerData } from 'node:worker_threads'
import { createRateLimiter } from ${JSON.stringify(import.meta.resolve('./rate-limiter.ts'))}
const { memory, keys, times } = workerData
const limiter = createRateLimiter({}, memory)
const fitted = new Array(keys).fill(0)
for (let time = 0; time < times; time += 1)
  for (let key = 0; key < keys; key += 1)
    if (limiter.take('key ' + key, { count: 500, windowMs: 3_600_000, burst: 500 }, 1_790_000_000_000) === 0) fitted[key] += 1
parentPort.postMessage(fitted)
`

test('threads that share a table let through together what one would', async () => {
  const [threads, keys, times] = [4, 40, 400]
  const memory = sharedRateMemory({ entriesMax: 1_024, seed: 7 })
  const each = await Promise.all(
    Array.from({ length: threads }, async () => {
      const url = new URL(`data:text/javascript,${encodeURIComponent(DRAWING)}`)
      const worker = new Worker(url, { workerData: { memory, keys, times } })
      return new Promise<number[]>((settle, refuse) => {
        worker.on('message', settle)
        worker.on('error', refuse)
      })
    }),
  )
  for (let key = 0; key < keys; key += 1) {
    const together = each.reduce((sum, fitted) => sum + fitted[key]!, 0)
    assert.equal(together, 500, `key ${key}`)
  }
  assert.equal(createRateLimiter({}, memory).size, keys)
})

test('a lock that nobody gives back stops nobody', () => {
  const memory = sharedRateMemory({ entriesMax: 8 })
  const limiter = createRateLimiter({}, memory)
  assert.equal(limiter.take('k', { count: 1, windowMs: 1_000, burst: 1 }, 0), 0)
  // One set, and its lock is the last word: whoever held it has ended.
  new Int32Array(memory, memory.byteLength - 8, 1)[0] = 1
  assert.equal(limiter.take('k', { count: 1, windowMs: 1_000, burst: 1 }, 0), 1_000)
  assert.equal(limiter.take('k', { count: 1, windowMs: 1_000, burst: 1 }, 1_000), 0)
})

test('property: shared memory decides as a table of its own does', () => {
  const call = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), afterMs: fc.nat(2_000), takes: fc.boolean() })
  fc.assert(
    fc.property(fc.array(call, { maxLength: 60 }), fc.integer(), fc.constantFrom(...ALGORITHMS), (calls, seed, algorithm) => {
      const own = createRateLimiter({ entriesMax: 16, seed })
      const shared = createRateLimiter({}, sharedRateMemory({ entriesMax: 16, seed }))
      const budget = { count: 5, windowMs: 10_000, burst: 3, algorithm }
      let nowMs = 1_790_000_000_000
      for (const { key, afterMs, takes } of calls) {
        nowMs += afterMs
        const act = takes ? 'take' : 'peek'
        assert.equal(shared[act](key, budget, nowMs), own[act](key, budget, nowMs))
      }
      assert.equal(shared.size, own.size)
    }),
  )
})
