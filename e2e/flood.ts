/** `npm run e2e:flood`: a flood at ten times what a node carries. `--nodes`, `--sources`, `--seconds`, `--times`. */
import { parseArgs } from 'node:util'
import { flood, startRing, table } from './flood-scene.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '4' },
    sources: { type: 'string', default: '40' },
    seconds: { type: 'string', default: '20' },
    times: { type: 'string', default: '10' },
  },
})
const plan = {
  nodes: Number(values.nodes),
  sources: Number(values.sources),
  connectionsPerSource: 8,
  times: Number(values.times),
  capacityMs: 4_000,
  idleMs: 4_000,
  floodMs: Number(values.seconds) * 1_000,
}
const { ring, stop } = await startRing(plan.nodes)
try {
  process.stdout.write(table(plan, await flood(ring, plan)))
} finally {
  await stop()
}
