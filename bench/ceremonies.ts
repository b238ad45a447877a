/**
 * `npm run bench:ceremonies`: what requests wait for while a ring's key is handed on. A ring of seven local processes; each is asked over one kept
 * connection, a request at a time, first without a ceremony and then through several refreshes. `NODES` and `ROUNDS` change how many.
 */
import { Agent, request } from 'node:http'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Key } from '@ringwall/client'
import { eventually, TestRing } from '../e2e/local-ring.ts'

const NODES = Number(process.env.NODES ?? 7)
const ROUNDS = Number(process.env.ROUNDS ?? 6)
const PAUSE_MS = 5
const QUIET_MS = 10_000
const CEREMONY_MS_MAX = 120_000

const ring = await TestRing.start({ nodes: NODES })
const key = async (): Promise<Key> => (await ring.client(1).keys()).keys[0] as Key
let took: number[] = []
let going = true

function ask(node: number, agent: Agent): Promise<void> {
  const began = performance.now()
  return new Promise((settle, refuse) => {
    const headers = { 'x-forwarded-for': `198.51.100.${node}` }
    const call = request(
      { host: '127.0.0.1', port: ring.traffic(node), path: '/', method: 'OPTIONS', agent, headers },
      (response) =>
        response.resume().on('end', () => {
          took.push(performance.now() - began)
          settle()
        }),
    )
    call.on('error', refuse)
    call.end()
  })
}

async function keepAsking(node: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (going) {
    await ask(node, agent)
    await sleep(PAUSE_MS)
  }
  agent.destroy()
}

function line(name: string): void {
  const sorted = [...took].sort((a, b) => a - b)
  const at = (part: number): string => `${(sorted[Math.floor((sorted.length - 1) * part)] ?? 0).toFixed(1)} ms`.padStart(10)
  process.stdout.write(`${name.padEnd(24)}p50${at(0.5)}  p99${at(0.99)}  max${at(1)}  n ${sorted.length}\n`)
  took = []
}

try {
  process.stdout.write(
    `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.versions.node}; ${NODES} nodes on this machine\n\n`,
  )
  await eventually('there is a key', async () => (await key()).state === 'ready', CEREMONY_MS_MAX)
  await sleep(QUIET_MS / 2)
  const asking = Array.from({ length: NODES }, (_, i) => keepAsking(i + 1))
  await sleep(QUIET_MS)
  line('no ceremony')
  for (let round = 0; round < ROUNDS; round += 1) {
    const { handOvers } = await key()
    took = []
    await ring.client(1).keyRefresh('measured', { waitMs: 20_000 })
    const isDone = async (): Promise<boolean> => {
      const now = await key()
      return now.handOvers > handOvers && now.ceremony === null && now.asked === 'nothing'
    }
    await eventually('the key is handed on', isDone, CEREMONY_MS_MAX)
    line(`refresh ${round + 1}`)
  }
  going = false
  await Promise.all(asking)
} finally {
  going = false
  await ring.destroy()
}
