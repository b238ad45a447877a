/**
 * `npm run e2e:wan`: seven validators in three regions, one absent and one lying (`wan-scene.ts`). Prints how long a denial takes to be
 * enforced on every honest node, and to be final; then how long the ring stands still when a node that leads is killed. Measured from when the
 * ring has its signing key on, which takes it some minutes with one that is silent. `--count N` denials, 300 unless given.
 */

import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { readOptions, whole } from '../tools/options.ts'
import { status } from './namespaces.ts'
import { ABSENT, farthestMs, HONEST, head, progress, row, SCENE, type WanRing, withWanRing } from './wan-scene.ts'

const { count: COUNT } = readOptions({ count: whole(300) })

async function firstRefusal(node: number, source: string, beganMs: number): Promise<number> {
  for (;;) {
    if ((await status(node, source)) === 403) return performance.now() - beganMs
    if (performance.now() - beganMs > 20_000) throw new Error(`n${node} still serves ${source}`)
    await sleep(4)
  }
}

async function denials({ client }: WanRing): Promise<void> {
  const final: number[] = []
  const enforced: number[] = []
  const over: number[] = []
  for (let i = 0; i < COUNT; i += 1) {
    const from = HONEST[i % HONEST.length] as number
    const source = `203.0.${Math.floor(i / 250)}.${(i % 250) + 1}`
    const began = performance.now()
    const watched = Promise.all(HONEST.map((node) => firstRefusal(node, source, began)))
    const answer = await client(from).denyAdd({ kind: 'ip', value: source }, 600_000, 'measured', { waitMs: 20_000 })
    if ('height' in answer) final.push(performance.now() - began)
    const last = Math.max(...(await watched))
    enforced.push(last)
    over.push(last - farthestMs(from))
    progress(`${i + 1}/${COUNT}`)
    // Anywhere within a round, as real ones come.
    await sleep(Math.random() * 700)
  }
  progress('')
  process.stdout.write(`${SCENE}; ${final.length} of ${COUNT} denials final\n`)
  process.stdout.write(head())
  process.stdout.write(row('until the last honest node’s first 403', enforced))
  process.stdout.write(row('  of that, beyond the one-way delay to the farthest', over))
  process.stdout.write(row('until final', final))
}

async function deaths({ client, start, kill }: WanRing): Promise<void> {
  start(ABSENT)
  for (let waited = 0; waited < 60 && (await status(ABSENT, '198.51.100.1')) !== 200; waited += 1) await sleep(500)
  await sleep(3_000)
  const gaps: number[] = []
  for (const [i, victim] of [6, 4, 6].entries()) {
    kill(victim)
    const began = performance.now()
    await client(1).denyAdd({ kind: 'ip', value: `203.0.200.${i + 1}` }, 600_000, 'measured', { waitMs: 30_000 })
    gaps.push(performance.now() - began)
    start(victim)
    await sleep(12_000)
  }
  process.stdout.write(row('final after a node was killed just before', gaps))
}

await withWanRing(
  createServer((_, response) => response.end('fine\n')),
  async (ring) => {
    await denials(ring)
    await deaths(ring)
  },
)
