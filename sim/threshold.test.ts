import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fingerprint, runThreshold } from './threshold/run.ts'

/** A few seconds' worth; `npm run sim:threshold` goes on. */
const SEEDS = 10

test(`${SEEDS} lives of collectively held keys with liars and crashes: nothing false, every liar named, and success where it is due`, () => {
  const lies = new Set<string>()
  let [uses, ceremonies] = [0, 0]
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const result = runThreshold(seed, { parties: 4 + (seed % 2) })
    const replay = `seed ${seed}; replay: npm run sim:threshold -- --parties ${result.parties} --seed ${seed}`
    assert.equal(result.violation, undefined, replay)
    for (const lie of Object.keys(result.lies)) lies.add(lie)
    uses += result.signatures + result.openings
    ceremonies += result.ceremonies
  }
  assert.ok(uses >= SEEDS, `only ${uses} signatures and openings`)
  assert.ok(ceremonies > SEEDS, 'keys were handed on')
  assert.ok(lies.size >= 12, `only ${lies.size} kinds of lies took part`)
})

test('the same seed is the same run', () => {
  assert.equal(fingerprint(3, { parties: 4 }), fingerprint(3, { parties: 4 }))
  assert.notEqual(fingerprint(3, { parties: 4 }), fingerprint(4, { parties: 4 }))
})

/** A checker that cannot fail proves nothing. `npm run sim:threshold-mutants` plants faults in the package as well. */
test('the checkers notice a dealer that sends before its dealing is durable', () => {
  const found = Array.from({ length: 60 }, (_, i) => i + 1).some(
    (seed) => runThreshold(seed, { parties: 4 + (seed % 2), mutation: { postsBeforePersist: true } }).violation !== undefined,
  )
  assert.ok(found)
})
