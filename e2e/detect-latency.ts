/**
 * `npm run e2e:detect-latency`: from the request with which a source goes over a rule's limit to the last node's first 403. A ring of four; each repetition has
 * a source of its own, which asks for what is not there: all of it of one node (in turn), or evenly of all four, so that no node has seen the limit by itself. All four are asked for
 * it without pause from the deciding request on.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readOptions, whole } from '../tools/options.ts'
import { quantile } from '../tools/quantile.ts'
import { firstRefusal, statusFor } from './first-refusal.ts'
import { eventually, TestRing } from './local-ring.ts'

const { count: repetitions } = readOptions({ count: whole(50) })
const NODES = [1, 2, 3, 4]
const LIMIT = 16
const RULE = `
    - { name: probing, attack: [T1595.003], mode: enforce, by: [source], when: { status: [404] }, over: { paths: ${LIMIT} }, within: 1h, denyFor: 10m, reason: asks for what is not there }
`
/** @param gapMs Between two of its requests. */
async function measure(
  ring: TestRing,
  name: string,
  prefix: string,
  nodeOf: (at: number, i: number) => number,
  gapMs: number,
): Promise<void> {
  const times: number[] = []
  for (let i = 0; i < repetitions; i += 1) {
    const source = `${prefix}.${Math.floor(i / 250)}.${(i % 250) + 1}`
    for (let at = 0; at < LIMIT - 1; at += 1) {
      await statusFor(ring.traffic(nodeOf(at, i)), `/nothing/${i}-${at}`, source)
      if (gapMs > 0) await sleep(gapMs)
    }
    const began = performance.now()
    await statusFor(ring.traffic(nodeOf(LIMIT - 1, i)), `/nothing/${i}-last`, source)
    const refused = await Promise.all(NODES.map((node) => firstRefusal(ring.traffic(node), '/', source, began + 30_000)))
    times.push(Math.max(...refused) - began)
    if (process.stderr.isTTY) process.stderr.write(`\r${name}: ${i + 1}/${repetitions}`)
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const [p50, p99, worst] = [quantile(times, 0.5), quantile(times, 0.99), Math.max(...times)]
  const late = times.filter((time) => time > 2_000).length
  process.stdout.write(
    `${name.padEnd(44)} ${p50.toFixed(0).padStart(7)} ms ${p99.toFixed(0).padStart(7)} ms ${worst.toFixed(0).padStart(7)} ms   ${late} of ${times.length} over 2 s\n`,
  )
}

const ring = await TestRing.start()
try {
  const { text } = await ring.client(1).policy()
  const file = join(ring.data, 'rules.yaml')
  writeFileSync(file, text.replace(/^detectors:\n/m, `detectors:\n  rules:${RULE}`))
  const applied = ring.cli('policy', 'apply', file, '--yes')
  if (applied.code !== 0) throw new Error(applied.stderr)
  const { version } = await ring.client(1).policy()
  for (const node of NODES)
    await eventually(`n${node} has it`, async () => (await ring.client(node).policy()).version === version)
  process.stdout.write(
    `${repetitions} sources each, 4 nodes, until the last node’s first 403\n${''.padEnd(44)} ${'p50'.padStart(10)} ${'p99'.padStart(10)} ${'max'.padStart(10)}\n`,
  )
  const turn = (i: number): number => NODES[i % NODES.length] as number
  await measure(ring, 'all of it on one node', '198.18', (_, i) => turn(i), 0)
  await measure(ring, 'evenly on four, at once', '198.19', turn, 0)
  await measure(ring, 'evenly on four, a request every 100 ms', '198.51', turn, 100)
} finally {
  await ring.destroy()
}
