import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HealTally } from './heal-tally.ts'

test('every shard was compared since the one of longest ago was, and not before all were', () => {
  const tally = new HealTally()
  assert.equal(tally.standing.comparedAtMs, null, 'there are none')
  tally.uncompared = 1
  tally.compared(20)
  tally.compared(10)
  assert.deepEqual([tally.standing.comparedAtMs, tally.standing.uncompared], [null, 1])
  tally.uncompared = 0
  tally.compared(30)
  assert.equal(tally.standing.comparedAtMs, 10)
})

test('all that waits is counted, some of it named, and no reason is longer than people read', () => {
  const tally = new HealTally()
  for (let at = 0; at < 20; at += 1) tally.wait(`v${at}`, new Error('x'.repeat(1_000)))
  const { waiting, waits } = tally.standing
  assert.deepEqual([waiting, waits.length, waits[0]?.version, waits[0]?.reason.length], [20, 8, 'v0', 300])
})

test('content is added up by bucket', () => {
  const tally = new HealTally()
  for (const [bucket, bytes] of [
    ['a', 1],
    ['b', 5],
    ['a', 2],
  ] as const)
    tally.met(bucket, bytes)
  assert.deepEqual(
    [...tally.bucketBytes],
    [
      ['a', 3],
      ['b', 5],
    ],
  )
})
