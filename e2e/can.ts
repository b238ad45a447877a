/** `npm run e2e:can [-- --requests N --seed S]`: N generated requests, 10,000 unless given, through a node and by `ringwall can`: they agree. */
import { readOptions, whole } from '../tools/options.ts'
import { agreement } from './can-scene.ts'

const { requests, seed } = readOptions({ requests: whole(10_000), seed: whole(1) })
const began = performance.now()
const { counts, differences } = await agreement(requests, seed)
const told = [...counts].sort(([a], [b]) => a - b).map(([status, count]) => `${count} of ${status}`)
process.stdout.write(
  `${requests} requests (seed ${seed}) in ${((performance.now() - began) / 1_000).toFixed(1)} s: ${told.join(', ')}\n`,
)
for (const difference of differences.slice(0, 20)) process.stdout.write(`  ${difference}\n`)
process.stdout.write(`differences between the proxy and ringwall can: ${differences.length}\n`)
process.exitCode = differences.length === 0 ? 0 : 1
