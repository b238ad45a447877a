/**
 * `npm run e2e:wan`: seven validators in three regions, on hosts of their own with relays that delay what passes between regions; one
 * is not there and one lies. Prints how long a denial takes to be enforced on every honest node, and to be final; then how long
 * the ring stands still when a node that leads is killed. Measured from when the ring has its signing key on, which takes it some minutes with one
 * that is silent. Linux, root, and iproute2. `--count N` denials, 300 unless given.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseContext, RingwallClient } from '@ringwall/client'
import { readOptions, whole } from '../tools/options.ts'
import { quantile } from '../tools/quantile.ts'
import { APP_PORT, address, buildNetwork, HOST, NODE_MAIN, nameOf, status, tearDown, whyNot, writeRing } from './namespaces.ts'

const NODES = [1, 2, 3, 4, 5, 6, 7] as const
const LIAR = 5
const ABSENT = 7
const REGIONS: Readonly<Record<number, 'a' | 'b' | 'c'>> = { 1: 'a', 2: 'a', 3: 'a', 4: 'b', 5: 'b', 6: 'c', 7: 'c' }
/** Round trips between regions, milliseconds. */
const ROUND_TRIP_MS: Readonly<Record<string, number>> = { ab: 80, bc: 150, ac: 250 }
const CONSENSUS = '{ roundMs: 700, heartbeatMs: 2000 }'
const HONEST = NODES.filter((node) => node !== LIAR && node !== ABSENT)
/** One is absent and one lies: phases of the ceremony end when their time is over. */
const KEY_S_MAX = 240
const FLAGS = ['--disable-warning=ExperimentalWarning']

const oneWayMs = (from: number, to: number): number => (ROUND_TRIP_MS[[REGIONS[from], REGIONS[to]].sort().join('')] ?? 0) / 2

const { count: COUNT } = readOptions({ count: whole(300) })

const row = (name: string, list: readonly number[]): string =>
  `${name.padEnd(56)} ${[0.5, 0.99, 1].map((q) => `${quantile(list, q).toFixed(0)} ms`.padStart(9)).join('')}\n`

async function firstRefusal(node: number, source: string, beganMs: number): Promise<number> {
  for (;;) {
    if ((await status(node, source)) === 403) return performance.now() - beganMs
    if (performance.now() - beganMs > 20_000) throw new Error(`n${node} still serves ${source}`)
    await sleep(4)
  }
}

async function main(): Promise<void> {
  const reason = whyNot()
  if (reason !== undefined) {
    process.stdout.write(`skipped: ${reason}\n`)
    return
  }
  const root = mkdtempSync(join(tmpdir(), 'ringwall-wan-'))
  const children = new Map<string, ChildProcess>()
  buildNetwork(NODES)
  const app = createServer((_, response) => response.end('fine\n')).listen(APP_PORT, HOST)
  const start = (name: string, node: number, args: readonly string[]): void =>
    void children.set(
      name,
      spawn('ip', ['netns', 'exec', nameOf(node), process.execPath, ...FLAGS, ...args], { stdio: 'ignore' }),
    )
  const startNode = (node: number): void => start(`n${node}`, node, [NODE_MAIN, '--config', join(root, `n${node}`, 'node.yaml')])
  try {
    const region = (node: number): string => REGIONS[node] ?? ''
    const { context } = writeRing(root, NODES, { listenFabric: '127.0.0.1:7081', consensus: CONSENSUS, region })
    const operator = parseContext(context)
    const client = (node: number): RingwallClient => new RingwallClient({ baseUrl: `http://${address(node)}:9080`, operator })
    for (const node of NODES) {
      const delays = Object.fromEntries(NODES.map((other) => [address(other), oneWayMs(other, node)]))
      start(`relay ${node}`, node, [
        resolve(import.meta.dirname, 'relay.ts'),
        address(node),
        '7080',
        '7081',
        JSON.stringify(delays),
      ])
    }
    await sleep(1_500)
    for (const node of HONEST) startNode(node)
    const liar = [
      resolve(import.meta.dirname, 'liar.ts'),
      join(root, 'genesis.json'),
      `n${LIAR}`,
      join(root, `n${LIAR}`, 'node.key'),
      'equivocator',
      '7081',
    ]
    start(`n${LIAR}`, LIAR, liar)
    for (const node of HONEST) while ((await status(node, '198.51.100.1')) !== 200) await sleep(200)
    for (let waited = 0; waited < KEY_S_MAX; waited += 1) {
      const { keys } = await client(1).keys()
      const signing = keys.find(({ name }) => name === 'signing')
      if (signing?.ceremony === null && signing.keyId !== null) break
      if (process.stderr.isTTY) process.stderr.write(`\rthe key: ${signing?.ceremony?.phase ?? 'not begun'}, ${waited} s `)
      await sleep(1_000)
    }

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
      over.push(last - Math.max(...HONEST.map((node) => oneWayMs(from, node))))
      if (process.stderr.isTTY) process.stderr.write(`\r${i + 1}/${COUNT}`)
      // Anywhere within a round, as real ones come.
      await sleep(Math.random() * 700)
    }
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
    process.stdout.write(
      `7 validators, 3 regions (round trips 80, 150, 250 ms), n7 absent, n5 lies; ${final.length} of ${COUNT} denials final\n`,
    )
    process.stdout.write(`${''.padEnd(56)} ${['p50', 'p99', 'max'].map((name) => name.padStart(9)).join('')}\n`)
    process.stdout.write(row('until the last honest node’s first 403', enforced))
    process.stdout.write(row('  of that, beyond the one-way delay to the farthest', over))
    process.stdout.write(row('until final', final))

    startNode(ABSENT)
    for (let waited = 0; waited < 60 && (await status(ABSENT, '198.51.100.1')) !== 200; waited += 1) await sleep(500)
    await sleep(3_000)
    const gaps: number[] = []
    for (let i = 0; i < 3; i += 1) {
      const victim = ([6, 4, 6] as const)[i] as number
      children.get(`n${victim}`)?.kill('SIGKILL')
      const began = performance.now()
      await client(1).denyAdd({ kind: 'ip', value: `203.0.200.${i + 1}` }, 600_000, 'measured', { waitMs: 30_000 })
      gaps.push(performance.now() - began)
      startNode(victim)
      await sleep(12_000)
    }
    process.stdout.write(row('final after a node was killed just before', gaps))
  } finally {
    for (const child of children.values()) child.kill('SIGTERM')
    app.close()
    app.closeAllConnections()
    await sleep(1_500)
    for (const child of children.values()) child.kill('SIGKILL')
    tearDown(NODES)
    rmSync(root, { recursive: true, force: true })
  }
}

await main()
