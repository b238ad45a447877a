/** The same as `npm run e2e:node-kill`, shorter. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { TestRing } from './local-ring.ts'
import { failuresOf, killOne, killTable } from './node-kill-scene.ts'

const PLAN = { nodes: 4, perSecond: 400, ms: 1_500 }
const VICTIM = 2

let ring: TestRing

before(async () => {
  ring = await TestRing.start({ nodes: PLAN.nodes })
})

after(async () => {
  await ring?.destroy()
})

test('a node killed under traffic takes with it what it was asked and had not answered, and nothing of the others', async (t) => {
  const result = await killOne(ring, PLAN, VICTIM)
  for (const line of killTable(PLAN, VICTIM, result).trimEnd().split('\n')) t.diagnostic(line)
  assert.ok(result.before.get(VICTIM)!.good > 0 && result.noticedMs !== undefined)
  assert.equal(
    failuresOf(result, (node) => node !== VICTIM),
    0,
  )
  assert.ok(failuresOf(result, (node) => node === VICTIM) <= result.inFlight)
  // The others took over what it would have been asked.
  assert.equal(result.after.get(VICTIM)!.good, 0)
})
