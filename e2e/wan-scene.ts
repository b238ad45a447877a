/**
 * Seven validators in three regions, on hosts of their own with relays that delay what passes between regions; one is not there and one lies
 * (`npm run e2e:wan`, `npm run e2e:wan-revocation`). Linux, root, and iproute2.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseContext, RingwallClient } from '@ringwall/client'
import { quantile } from '../tools/quantile.ts'
import { APP_PORT, address, buildNetwork, HOST, NODE_MAIN, nameOf, status, tearDown, whyNot, writeRing } from './namespaces.ts'

export const NODES = [1, 2, 3, 4, 5, 6, 7] as const
const LIAR = 5
export const ABSENT = 7
export const REGIONS: Readonly<Record<number, 'a' | 'b' | 'c'>> = { 1: 'a', 2: 'a', 3: 'a', 4: 'b', 5: 'b', 6: 'c', 7: 'c' }
/** Round trips between regions, milliseconds. */
const ROUND_TRIP_MS: Readonly<Record<string, number>> = { ab: 80, bc: 150, ac: 250 }
const CONSENSUS = '{ roundMs: 700, heartbeatMs: 2000 }'
export const HONEST: readonly number[] = NODES.filter((node) => node !== LIAR && node !== ABSENT)
/** One is absent and one lies: phases of the ceremony end when their time is over. */
const KEY_S_MAX = 240
const FLAGS = ['--disable-warning=ExperimentalWarning']

const oneWayMs = (from: number, to: number): number => (ROUND_TRIP_MS[[REGIONS[from], REGIONS[to]].sort().join('')] ?? 0) / 2

/** To the farthest honest node. */
export const farthestMs = (from: number): number => Math.max(...HONEST.map((node) => oneWayMs(from, node)))

export const SCENE = '7 validators, 3 regions (round trips 80, 150, 250 ms), n7 absent, n5 lies'
const NAME_WIDTH = 62
const CELL_WIDTH = 10
const QUANTILES: Readonly<Record<string, number>> = { p50: 0.5, p99: 0.99, max: 1 }
const line = (name: string, cells: readonly string[]): string =>
  `${name.padEnd(NAME_WIDTH)}${cells.map((cell) => cell.padStart(CELL_WIDTH)).join('')}\n`

export const head = (): string => line('', Object.keys(QUANTILES))

/** @param list Milliseconds. */
export const row = (name: string, list: readonly number[]): string =>
  line(
    name,
    Object.values(QUANTILES).map((q) => `${quantile(list, q).toFixed(0)} ms`),
  )

export interface WanRing {
  /** Of the operator. */
  client(node: number): RingwallClient
  start(node: number): void
  kill(node: number): void
}

/**
 * Has the ring up, with every honest node serving and its signing key made, does the work and takes all down. Says why where it cannot.
 *
 * @param application What is behind the nodes.
 */
export async function withWanRing(application: Server, work: (ring: WanRing) => Promise<void>): Promise<void> {
  const reason = whyNot()
  if (reason !== undefined) {
    process.stdout.write(`skipped: ${reason}\n`)
    return
  }
  const root = mkdtempSync(join(tmpdir(), 'ringwall-wan-'))
  const children = new Map<string, ChildProcess>()
  buildNetwork(NODES)
  application.listen(APP_PORT, HOST)
  const start = (name: string, node: number, args: readonly string[]): void =>
    void children.set(
      name,
      spawn('ip', ['netns', 'exec', nameOf(node), process.execPath, ...FLAGS, ...args], { stdio: 'ignore' }),
    )
  const script = (name: string): string => resolve(import.meta.dirname, name)
  const startNode = (node: number): void => start(`n${node}`, node, [NODE_MAIN, '--config', join(root, `n${node}`, 'node.yaml')])
  try {
    const region = (node: number): string => REGIONS[node] ?? ''
    const { context } = writeRing(root, NODES, { listenFabric: '127.0.0.1:7081', consensus: CONSENSUS, region })
    const operator = parseContext(context)
    const client = (node: number): RingwallClient => new RingwallClient({ baseUrl: `http://${address(node)}:9080`, operator })
    for (const node of NODES) {
      const delays = Object.fromEntries(NODES.map((other) => [address(other), oneWayMs(other, node)]))
      start(`relay ${node}`, node, [script('relay.ts'), address(node), '7080', '7081', JSON.stringify(delays)])
    }
    await sleep(1_500)
    for (const node of HONEST) startNode(node)
    const files = [join(root, 'genesis.json'), `n${LIAR}`, join(root, `n${LIAR}`, 'node.key')]
    start(`n${LIAR}`, LIAR, [script('liar.ts'), ...files, 'equivocator', '7081'])
    for (const node of HONEST) while ((await status(node, '198.51.100.1')) !== 200) await sleep(200)
    await signingKey(client(1))
    await work({ client, start: startNode, kill: (node) => void children.get(`n${node}`)?.kill('SIGKILL') })
  } finally {
    for (const child of children.values()) child.kill('SIGTERM')
    application.close()
    application.closeAllConnections()
    await sleep(1_500)
    for (const child of children.values()) child.kill('SIGKILL')
    tearDown(NODES)
    rmSync(root, { recursive: true, force: true })
  }
}

async function signingKey(client: RingwallClient): Promise<void> {
  for (let waited = 0; waited < KEY_S_MAX; waited += 1) {
    const { keys } = await client.keys()
    const signing = keys.find(({ name }) => name === 'signing')
    if (signing?.ceremony === null && signing.keyId !== null) return
    progress(`the key: ${signing?.ceremony?.phase ?? 'not begun'}, ${waited} s `)
    await sleep(1_000)
  }
}

/** For people who look on. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}
