import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ANOMALY_SUMMARY_VERSION, decodeAnomalySummary, encodeAnomalySummary } from './anomaly-summary.ts'
import { SummaryMalformed } from './errors.ts'
import { HalfSpaceTrees } from './half-space-trees.ts'

function summaryOf(points: readonly (readonly number[])[], service = 'shop') {
  const trees = new HalfSpaceTrees({ seed: 'ring', dimensions: 3 })
  for (const point of points) trees.observe(Float32Array.from(point), 3)
  return { rule: 'anomaly-account' as const, seed: 0xfeed_beef, service, masses: trees.turn() }
}

test('property: what was counted is read as it was written, in one spelling; whatever else comes is refused', () => {
  const points = fc.array(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }), {
    minLength: 1,
    maxLength: 40,
  })
  fc.assert(
    fc.property(points, fc.constantFrom('shop', 'bücher'), fc.nat(), (all, service, cut) => {
      const summary = summaryOf(all, service)
      const bytes = encodeAnomalySummary(summary)
      assert.deepEqual(decodeAnomalySummary(bytes), summary)
      assert.throws(() => decodeAnomalySummary(bytes.subarray(0, cut % bytes.length)), SummaryMalformed)
      assert.throws(() => decodeAnomalySummary(Uint8Array.from([...bytes, 0])), SummaryMalformed)
    }),
    { numRuns: 25 },
  )
})

test('no points, more mass than points, a leaf that no tree has, long numbers, strange names: refused, with where', () => {
  const head = [ANOMALY_SUMMARY_VERSION, 1, 0, 0, 0, 0, 4, ...Buffer.from('shop')]
  const all: readonly (readonly [number[], RegExp])[] = [
    [[...head, 0], /points/],
    [[...head, 2, 0, 3], /mass: at most 2/],
    [[...head, 2, 0x80, 8, 2], /leaves: at most 1023/],
    [[...head, 2, 0, 0], /those that are told of have mass/],
    [[...head, 0x82, 0], /as few bytes/],
    [[...head, 0xff, 0xff, 0xff, 0xff, 1], /points: at most/],
    [[ANOMALY_SUMMARY_VERSION, 9, 0, 0, 0, 0, 1, 97, 1], /a rule of anomalies/],
    [[ANOMALY_SUMMARY_VERSION, 1, 0, 0, 0, 0, 1, 10, 1], /without controls/],
    [[3, 1, 0, 0, 0, 0, 1, 97, 1], /version 9/],
  ]
  for (const [bytes, why] of all)
    assert.throws(
      () => decodeAnomalySummary(Uint8Array.from(bytes)),
      (error: unknown) => error instanceof SummaryMalformed && why.test(error.message),
    )
})
