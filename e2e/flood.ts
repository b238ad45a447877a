/** `npm run e2e:flood`: a flood at ten times what a node carries. `--nodes`, `--sources`, `--seconds`, `--times`. */
import { readOptions, whole } from '../tools/options.ts'
import { flood, startRing, table } from './flood-scene.ts'

const options = readOptions({
  nodes: whole(4, 2, 9),
  sources: whole(40, 1, 250),
  seconds: whole(20, 6, 3_600),
  times: whole(10, 1, 100),
})
const plan = {
  nodes: options.nodes,
  sources: options.sources,
  connectionsPerSource: 8,
  times: options.times,
  capacityMs: 4_000,
  idleMs: 4_000,
  floodMs: options.seconds * 1_000,
}
const { ring, stop } = await startRing(plan.nodes)
try {
  process.stdout.write(table(plan, await flood(ring, plan)))
} finally {
  await stop()
}
