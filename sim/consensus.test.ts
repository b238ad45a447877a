import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIARS } from './liars.ts'
import { runSchedule } from './schedule.ts'

const SEEDS = 200

test(`${SEEDS} schedules with crashes, partitions, liars and changes of the validators: one history, nothing false in it, and progress after healing`, () => {
  const liars = new Set<string>()
  let final = 0
  let changes = 0
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const { violation, liar, epochs, transactions } = runSchedule(seed, { nodes: 4 })
    assert.equal(violation, undefined, `seed ${seed} (${liar}); replay: npm run sim:consensus -- --nodes 4 --seed ${seed}`)
    liars.add(liar)
    final += transactions
    changes += epochs
  }
  assert.ok(final > SEEDS, `only ${final} transactions became final`)
  assert.ok(changes > SEEDS / 4, `only ${changes} changes of the validators`)
  assert.equal(liars.size, Object.keys(LIARS).length + 1, 'every kind of liar took part, and none')
})

test('seven validators, two of them lying', () => {
  for (let seed = 1; seed <= 20; seed += 1) assert.equal(runSchedule(seed, { nodes: 7 }).violation, undefined, `seed ${seed}`)
})

test('the same seed is the same schedule', () => {
  const trace = (): readonly string[] => {
    const lines: string[] = []
    runSchedule(4_711, { nodes: 4, trace: (line) => lines.push(line) })
    return lines
  }
  const first = trace()
  assert.ok(first.length > 50)
  assert.deepEqual(trace(), first)
})

/** A checker that cannot fail proves nothing. `sim/mutants.ts` plants faults in the voter as well. */
test('the checkers notice a validator that forgets its votes, and one that does not look at blocks', () => {
  const noticed = (mutation: { forgetsJournal?: true; acceptsAnything?: true }): boolean =>
    Array.from({ length: 400 }, (_, i) => i + 1).some((seed) => runSchedule(seed, { nodes: 4, mutation }).violation !== undefined)
  assert.ok(noticed({ forgetsJournal: true }), 'forgotten votes')
  assert.ok(noticed({ acceptsAnything: true }), 'blocks not looked at')
})
