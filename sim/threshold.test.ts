import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fingerprint, runThreshold } from './threshold/run.ts'

/** A few seconds' worth; `npm run sim:threshold` goes on. */
const SEEDS = 10
const ROUND_SEEDS = 40

test('in the exponent every run goes as it goes in the real groups: who lied, who was named, what came of it', () => {
  for (let seed = 1; seed <= 3; seed += 1) {
    const [real, exponent] = (['real', 'exponent'] as const).map((arithmetic) => {
      const options = { parties: 4 + (seed % 2), arithmetic }
      return { result: runThreshold(seed, options), course: fingerprint(seed, options) }
    })
    assert.deepEqual(exponent, real, `seed ${seed}`)
    assert.equal(real?.result.violation, undefined)
  }
})

test(`${ROUND_SEEDS} lives in the exponent, of rings of all sizes`, () => {
  for (let seed = 1; seed <= ROUND_SEEDS; seed += 1) {
    const { violation } = runThreshold(seed, { arithmetic: 'exponent' })
    assert.equal(violation, undefined, `replay: npm run sim:threshold -- --seed ${seed}`)
  }
})

test(`${SEEDS} lives of collectively held keys with liars and crashes: nothing false, every liar named, and success where it is due`, () => {
  const lies = new Set<string>()
  let [uses, ceremonies] = [0, 0]
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const result = runThreshold(seed, { parties: 4 + (seed % 2) })
    const replay = `seed ${seed}; replay: npm run sim:threshold -- --arithmetic real --parties ${result.parties} --seed ${seed}`
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
  const run = (seed: number): string => fingerprint(seed, { parties: 4, arithmetic: 'exponent' })
  assert.equal(run(3), run(3))
  assert.notEqual(run(3), run(4))
})

/** A checker that cannot fail proves nothing. `npm run sim:threshold-mutants` plants faults in the package as well. */
test('the checkers notice a dealer that sends before its dealing is durable', () => {
  const found = Array.from({ length: 60 }, (_, i) => i + 1).some(
    (seed) =>
      runThreshold(seed, { arithmetic: 'exponent', parties: 4 + (seed % 2), mutation: { postsBeforePersist: true } })
        .violation !== undefined,
  )
  assert.ok(found)
})
