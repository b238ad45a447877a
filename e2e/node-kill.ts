/** `npm run e2e:node-kill`: SIGKILL of a node at 1,000 requests/s. `--nodes`, `--rate`, `--seconds`, `--rounds`. */
import { parseArgs } from 'node:util'
import { TestRing } from './local-ring.ts'
import { killOne, killTable } from './node-kill-scene.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '4' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
})
const plan = { nodes: Number(values.nodes), perSecond: Number(values.rate), ms: Number(values.seconds) * 1_000 }
const ring = await TestRing.start({ nodes: plan.nodes })
try {
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const victim = (round % plan.nodes) + 1
    process.stdout.write(`${killTable(plan, victim, await killOne(ring, plan, victim))}\n`)
    await ring.restart(victim)
  }
} finally {
  await ring.destroy()
}
