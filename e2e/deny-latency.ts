/**
 * `npm run e2e:deny-latency`: from the command to the last node's first 403. A ring of four; for each repetition an
 * address of its own is denied through one node (in turn) while all four are asked for it without pause.
 *
 * Two figures: from the call of the admin API, and from the start of the command line's process.
 */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { readOptions, whole } from '../tools/options.ts'
import { quantile } from '../tools/quantile.ts'
import { firstRefusal } from './first-refusal.ts'
import { CLI, TestRing } from './local-ring.ts'

const { count: repetitions } = readOptions({ count: whole(100) })
const NODES = [1, 2, 3, 4]
async function measure(
  ring: TestRing,
  name: string,
  prefix: string,
  deny: (source: string, node: number) => Promise<unknown>,
): Promise<void> {
  const times: number[] = []
  for (let i = 0; i < repetitions; i += 1) {
    const source = `${prefix}.${Math.floor(i / 250)}.${(i % 250) + 1}`
    const began = performance.now()
    const watched = Promise.all(NODES.map((node) => firstRefusal(ring.traffic(node), '/healthz', source, began + 20_000)))
    const denied = deny(source, NODES[i % NODES.length] as number)
    times.push(Math.max(...(await watched)) - began)
    await denied
    if (process.stderr.isTTY) process.stderr.write(`\r${name}: ${i + 1}/${repetitions}`)
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const [p50, p99, worst] = [quantile(times, 0.5), quantile(times, 0.99), Math.max(...times)]
  process.stdout.write(
    `${name.padEnd(34)} ${p50.toFixed(1).padStart(9)} ms ${p99.toFixed(1).padStart(9)} ms ${worst.toFixed(1).padStart(9)} ms\n`,
  )
}

function byCommand(ring: TestRing, source: string, node: number): Promise<void> {
  return new Promise((settle, refuse) => {
    const args = [
      CLI,
      'deny',
      'add',
      'ip',
      source,
      '--ttl',
      '10m',
      '--node',
      `n${node}`,
      '--context',
      join(ring.data, 'operator.json'),
    ]
    spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], { stdio: 'ignore' }).on('exit', (code) =>
      code === 0 ? settle() : refuse(new Error(`ringwall deny add ended with ${code}`)),
    )
  })
}

const ring = await TestRing.start()
try {
  process.stdout.write(
    `${repetitions} denials, 4 nodes, until the last node’s first 403\n${''.padEnd(34)} ${'p50'.padStart(12)} ${'p99'.padStart(12)} ${'max'.padStart(12)}\n`,
  )
  await measure(ring, 'from the API call', '198.18', (source, node) =>
    ring.client(node).denyAdd({ kind: 'ip', value: source }, 600_000, 'latency'),
  )
  await measure(ring, 'from the start of `ringwall deny`', '198.19', (source, node) => byCommand(ring, source, node))
} finally {
  await ring.destroy()
}
