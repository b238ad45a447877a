/**
 * `npm run e2e:playbooks -- --runs 1000 --kills 4`: four real processes, so many runs at once, and nodes that are killed (SIGKILL) while they do a step. Prints how long
 * all took, how long until another node did a killed node's step, and what the receiver got more than once.
 */
import { readOptions, whole } from '../tools/options.ts'
import { eventually } from './local-ring.ts'
import { killWhileItTells, startRuns, startScene } from './playbooks-scene.ts'

const { runs: count, kills } = readOptions({ runs: whole(1_000, 1, 4_000), kills: whole(4, 0, 20) })
const scene = await startScene()
const { ring, desk } = scene
try {
  const begun = Date.now()
  const runs = await startRuns(ring, count, 'many')
  const startedS = (Date.now() - begun) / 1_000
  let open = runs.length
  await eventually(
    'all runs are over',
    async () => {
      const { playbooks } = await ring.client(2).playbooks()
      open = playbooks.find(({ name }) => name === 'tell')?.open ?? 0
      return open === 0
    },
    240_000,
  ).catch(() => {})
  const overS = (Date.now() - begun) / 1_000
  const byRun = Map.groupBy(desk.told, ({ run }) => run)
  const never = runs.filter((run) => !byRun.has(run)).length
  const twice = [...byRun.values()].filter((told) => told.length > 1).length
  process.stdout.write(
    `${count} runs at once: started in ${startedS.toFixed(1)} s, over after ${overS.toFixed(1)} s, ${open} stuck\n`,
  )
  process.stdout.write(`told: ${desk.told.length}; not told ${never}, more than once ${twice}, refused ${desk.refused.length}\n`)
  const tookMs: number[] = []
  for (let kill = 0; kill < kills; kill += 1) tookMs.push(await killWhileItTells(scene, `killed-${kill}`))
  if (kills > 0) {
    const seconds = tookMs.map((ms) => (ms / 1_000).toFixed(1)).join(', ')
    process.stdout.write(`killed while telling: another node told after ${seconds} s, each with the same key\n`)
  }
  if (open > 0 || never > 0) process.exitCode = 1
} finally {
  desk.stop()
  await ring.destroy()
}
