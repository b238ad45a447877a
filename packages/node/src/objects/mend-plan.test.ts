import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MendPlan } from './mend-plan.ts'

test('what is made counts, part by part, and a shard once all of its parts are there', () => {
  const plan = new MendPlan()
  plan.want('a', 100)
  plan.want('b', 50)
  assert.deepEqual(plan.status(0), { shards: 0, ofShards: 2, bytes: 0, ofBytes: 150 })
  plan.made('a', 60)
  assert.deepEqual(plan.status(10), { shards: 0, ofShards: 2, bytes: 70, ofBytes: 150 })
  plan.made('a', 40)
  assert.deepEqual(plan.status(0), { shards: 1, ofShards: 2, bytes: 100, ofBytes: 150 })
})

test('what was guessed is corrected by what the manifest says; what waits stays to be made', () => {
  const plan = new MendPlan()
  plan.want('a', 100)
  plan.want('a', 80)
  plan.want('waits', 20)
  plan.made('a', 80)
  assert.deepEqual(plan.status(0), { shards: 1, ofShards: 2, bytes: 80, ofBytes: 100 })
})

test('never more is made than there is to make, whatever is said, in whatever order', () => {
  const step = fc.tuple(fc.boolean(), fc.constantFrom('a', 'b', 'c'), fc.nat(1_000), fc.nat(1_000))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const plan = new MendPlan()
      for (const [isWanted, version, bytes, now] of steps) {
        if (isWanted) plan.want(version, bytes)
        else plan.made(version, bytes)
        const status = plan.status(now)
        assert.ok(status.bytes <= status.ofBytes && status.shards <= status.ofShards)
        assert.ok(status.bytes >= 0)
      }
    }),
  )
})
