import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Tallies } from './tallies.ts'

test('property: no count is too high, none too low by more than two parts of the bound, and the bound holds', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 40 }),
      fc.array(fc.tuple(fc.nat({ max: 120 }), fc.integer({ min: 1, max: 20 })), { maxLength: 400 }),
      (keysMax, stream) => {
        const tallies = new Tallies(keysMax)
        const truth = new Map<string, number>()
        let total = 0
        for (const [key, weight] of stream) {
          tallies.add(`${key}`, weight, weight, 0)
          truth.set(`${key}`, (truth.get(`${key}`) ?? 0) + weight)
          total += weight
          assert.ok(tallies.size <= keysMax)
        }
        assert.equal(tallies.demand, total)
        for (const [key, count] of truth) {
          const kept = tallies.get(key)?.demand ?? 0
          assert.ok(kept <= count + 1e-6, `${key}: ${kept} of ${count}`)
          assert.ok(count - kept <= (2 * total) / keysMax + 1e-6, `${key}: ${kept} of ${count}, ${total} in all`)
        }
      },
    ),
  )
})

test('who makes up a key for every request hides nobody who asks much', () => {
  const tallies = new Tallies(1_024)
  for (let at = 0; at < 200_000; at += 1) {
    tallies.add(`made-up-${at}`, 1, 1, 0)
    if (at % 20 === 0) tallies.add('heavy', 1, 1, 1)
  }
  const heavy = tallies.get('heavy')
  assert.ok(heavy !== undefined && heavy.demand > 9_000, String(heavy?.demand))
  assert.equal(Math.round(heavy.refused), Math.round(heavy.asked))
})

test('what decays to nothing is forgotten', () => {
  const tallies = new Tallies(8)
  tallies.add('a', 8, 8, 4)
  tallies.scale(0.5)
  assert.deepEqual(tallies.get('a'), { demand: 4, asked: 4, refused: 2 })
  tallies.scale(1e-6)
  assert.equal(tallies.size, 0)
})
