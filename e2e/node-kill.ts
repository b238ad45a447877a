/** `npm run e2e:node-kill`: SIGKILL of a node at 1,000 requests/s. `--nodes`, `--rate`, `--seconds`, `--rounds`. */
import { readOptions, whole } from '../tools/options.ts'
import { TestRing } from './local-ring.ts'
import { killOne, killTable } from './node-kill-scene.ts'

const { nodes, rate, seconds, rounds } = readOptions({
  nodes: whole(4, 2, 9),
  rate: whole(1_000, 1, 100_000),
  seconds: whole(5, 1, 3_600),
  rounds: whole(3),
})
const plan = { nodes, perSecond: rate, ms: seconds * 1_000 }
const ring = await TestRing.start({ nodes: plan.nodes })
try {
  for (let round = 0; round < rounds; round += 1) {
    const victim = (round % plan.nodes) + 1
    process.stdout.write(`${killTable(plan, victim, await killOne(ring, plan, victim))}\n`)
    await ring.restart(victim)
  }
} finally {
  await ring.destroy()
}
