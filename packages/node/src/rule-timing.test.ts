import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RuleTiming } from './rule-timing.ts'

test('about one request in 64 gets a stopwatch, at gaps that vary; it counts microseconds upwards', () => {
  let seed = 7
  const timing = new RuleTiming(() => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed / 2 ** 31
  })
  const gaps: number[] = []
  let since = 0
  for (let request = 0; request < 64_000; request += 1) {
    since += 1
    const stopwatch = timing.next()
    if (stopwatch === undefined) continue
    gaps.push(since)
    since = 0
    const first = stopwatch()
    assert.ok(stopwatch() >= first)
  }
  assert.ok(gaps.length > 800 && gaps.length < 1_200, String(gaps.length))
  assert.ok(new Set(gaps).size > 60)
})
