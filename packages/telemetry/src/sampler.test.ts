import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SAMPLE_ONE_IN, Sampler } from './sampler.ts'

test('everything up to the rate is kept with weight 1, then one in 64 with weight 64', () => {
  const sampler = new Sampler(10)
  const weights = Array.from({ length: 10 + 2 * SAMPLE_ONE_IN }, () => sampler.take(5_000))
  assert.deepEqual(weights.slice(0, 10), Array(10).fill(1))
  assert.deepEqual(
    weights.slice(10).filter((weight) => weight > 0),
    [SAMPLE_ONE_IN, SAMPLE_ONE_IN],
  )
  assert.equal(sampler.skipped, 2 * SAMPLE_ONE_IN - 2)
})

test('property: kept weights never fall more than one sample short of the requests, and never exceed them', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.nat(200), { maxLength: 400 }), (rate, gaps) => {
      const sampler = new Sampler(rate)
      let nowMs = 0
      let weight = 0
      for (const gap of gaps) weight += sampler.take((nowMs += gap))
      assert.ok(weight <= gaps.length && weight > gaps.length - SAMPLE_ONE_IN)
    }),
  )
})

test('asking and then recording counts each request once', () => {
  const sampler = new Sampler(1)
  const weights = Array.from({ length: 1 + SAMPLE_ONE_IN }, () => (sampler.wants(0) ? sampler.take(0) : 0))
  assert.equal(
    weights.reduce((sum, weight) => sum + weight, 0),
    1 + SAMPLE_ONE_IN,
  )
})
