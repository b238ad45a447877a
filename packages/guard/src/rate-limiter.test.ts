import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { createRateLimiter, sharedRateMemory } from './rate-limiter.ts'

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

test('what is charged though it does not fit is owed, up to a whole budget', () => {
  const limiter = createRateLimiter()
  const peek = (nowMs: number) => limiter.peek('k', 10, 1_000, 5, nowMs)
  const charge = (count: number, nowMs: number) => {
    for (let at = 0; at < count; at += 1) limiter.charge('k', 10, 1_000, 5, nowMs)
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
          if (limiter.peek('k', count, windowMs, burst, nowMs) > 0) continue
          // All of a lot looked before any of it counts.
          passed += atOnce
          for (let at = 0; at < atOnce; at += 1) limiter.charge('k', count, windowMs, burst, nowMs)
        }
        assert.ok(passed <= burst + (count * endMs) / windowMs + atOnce, `${passed}`)
      },
    ),
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

/** Draws from every key in turn, as often as it is told, and answers what fitted. */
const DRAWING = `
import { parentPort, workerData } from 'node:worker_threads'
import { createRateLimiter } from ${JSON.stringify(import.meta.resolve('./rate-limiter.ts'))}
const { memory, keys, times } = workerData
const limiter = createRateLimiter({}, memory)
const fitted = new Array(keys).fill(0)
for (let time = 0; time < times; time += 1)
  for (let key = 0; key < keys; key += 1)
    if (limiter.take('key ' + key, 500, 3_600_000, 500, 1_790_000_000_000) === 0) fitted[key] += 1
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
  assert.equal(limiter.take('k', 1, 1_000, 1, 0), 0)
  // One set, and its lock is the last word: whoever held it has ended.
  new Int32Array(memory, memory.byteLength - 8, 1)[0] = 1
  assert.equal(limiter.take('k', 1, 1_000, 1, 0), 1_000)
  assert.equal(limiter.take('k', 1, 1_000, 1, 1_000), 0)
})

test('property: shared memory decides as a table of its own does', () => {
  const call = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), afterMs: fc.nat(2_000), takes: fc.boolean() })
  fc.assert(
    fc.property(fc.array(call, { maxLength: 60 }), fc.integer(), (calls, seed) => {
      const own = createRateLimiter({ entriesMax: 16, seed })
      const shared = createRateLimiter({}, sharedRateMemory({ entriesMax: 16, seed }))
      let nowMs = 1_790_000_000_000
      for (const { key, afterMs, takes } of calls) {
        nowMs += afterMs
        const act = takes ? 'take' : 'peek'
        assert.equal(shared[act](key, 5, 10_000, 3, nowMs), own[act](key, 5, 10_000, 3, nowMs))
      }
      assert.equal(shared.size, own.size)
    }),
  )
})
