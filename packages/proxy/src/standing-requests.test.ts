import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type KeptStanding, StandingRequests } from './standing.ts'

const one = (): KeptStanding => ({ standingAt: -1, judgement: {} as KeptStanding['judgement'], end: () => {} })

test('property: what was added and not deleted is in it, once, whatever came and went meanwhile', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(11)), { maxLength: 80 }), (steps) => {
      const all = Array.from({ length: 12 }, one)
      const kept = new StandingRequests()
      const expected = new Set<KeptStanding>()
      for (const [adds, at] of steps) {
        const it = all[at]!
        if (adds) kept.add(it)
        else kept.delete(it)
        if (adds) expected.add(it)
        else expected.delete(it)
        assert.equal(kept.size, expected.size)
        assert.deepEqual(new Set(kept.all()), expected)
        for (const each of all) assert.equal(kept.has(each), expected.has(each))
      }
    }),
  )
})

test('who looks at all of them may end some meanwhile', () => {
  const kept = new StandingRequests()
  const [first, second, third] = [one(), one(), one()]
  for (const it of [first, second, third]) kept.add(it)
  const seen = kept.all()
  kept.delete(first)
  assert.deepEqual(
    seen.map((it) => kept.has(it)),
    [false, true, true],
  )
})
