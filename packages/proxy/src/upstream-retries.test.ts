import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RetryBudget } from './upstream-retries.ts'

const taken = (budget: RetryBudget, tries: number, nowMs: number): number => {
  let count = 0
  for (let at = 0; at < tries; at++) if (budget.take(nowMs)) count++
  return count
}

test('a fifth of the last ten seconds’ requests may be sent again, and then no more until these are over', () => {
  const budget = new RetryBudget({ budget: 0.2, minPerSecond: 0 })
  for (let at = 0; at < 1_000; at++) budget.request(5_000 + at)
  assert.equal(taken(budget, 500, 6_000), 200)
  assert.equal(taken(budget, 500, 14_999), 0)
  // The second in which the requests came is forgotten, and what was sent again a second later.
  assert.equal(taken(budget, 500, 15_001), 0)
  for (let at = 0; at < 100; at++) budget.request(16_500)
  assert.equal(taken(budget, 500, 16_500), 20)
})

test('a few a second are sent again whatever the share', () => {
  const budget = new RetryBudget({ budget: 0, minPerSecond: 3 })
  assert.deepEqual(
    [0, 500, 1_000, 1_999, 2_000].map((nowMs) => taken(budget, 10, nowMs)),
    [3, 0, 3, 0, 3],
  )
})

test('what is sent again never exceeds share and minimum, over any ten seconds', () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 3_000 }), fc.nat(50), fc.nat(50)), { maxLength: 60 })
  fc.assert(
    fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(5), (all, share, minPerSecond) => {
      const budget = new RetryBudget({ budget: share, minPerSecond })
      const log: { second: number; requests: number; resent: number }[] = []
      let nowMs = 0
      for (const [passed, requests, tries] of all) {
        nowMs += passed
        for (let at = 0; at < requests; at++) budget.request(nowMs)
        log.push({ second: Math.floor(nowMs / 1_000), requests, resent: taken(budget, tries, nowMs) })
        const window = log.filter(({ second }) => second > Math.floor(nowMs / 1_000) - 10)
        const sum = (of: 'requests' | 'resent') => window.reduce((total, entry) => total + entry[of], 0)
        // A request that came before may have left the window since; its retry leaves no later than one more turn of it.
        const longer = log.filter(({ second }) => second > Math.floor(nowMs / 1_000) - 19)
        const requestsEver = longer.reduce((total, entry) => total + entry.requests, 0)
        assert.ok(sum('resent') <= Math.ceil(share * requestsEver) + 10 * minPerSecond)
      }
    }),
  )
})
