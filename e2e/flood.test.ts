/** The same as `npm run e2e:flood`, shorter: what it measures is printed, what must hold on any machine is asserted. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type FloodPlan, flood, startRing, table } from './flood-scene.ts'
import type { TestRing } from './local-ring.ts'

const PLAN: FloodPlan = {
  nodes: 2,
  sources: 20,
  connectionsPerSource: 12,
  times: 10,
  capacityMs: 600,
  idleMs: 500,
  floodMs: 6_500,
}

let ring: TestRing
let stop: (() => Promise<void>) | undefined

before(async () => {
  ;({ ring, stop } = await startRing(PLAN.nodes))
})

after(async () => {
  await stop?.()
})

test('a flood at ten times what a node carries: normal clients are served after 5 s, the second node drops its sources', {
  timeout: 60_000,
}, async (t) => {
  const result = await flood(ring, PLAN)
  for (const line of table(PLAN, result).trimEnd().split('\n')) t.diagnostic(line)
  const { idle, after5s, dropsMs, innocentDenied, denied } = result
  assert.equal(idle.good, idle.asked)
  assert.ok(after5s.asked > 20 && after5s.good >= 0.99 * after5s.asked, `${after5s.good} of ${after5s.asked}`)
  assert.equal(dropsMs.length, PLAN.sources)
  assert.equal(denied, PLAN.sources)
  assert.deepEqual(innocentDenied, [])
})
