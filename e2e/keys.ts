/**
 * `npm run e2e:keys`: a ring of real processes takes requests that need a token of the ring, at a fixed rate, while its signing key is refreshed,
 * replaced by another, and handed on: a validator joins, one leaves, three more join (3 of 4 sign at first, 5 of 7 in the end). Tokens are
 * minted all the while, by every node in turn, so that those of the former key, the new one and all epochs are in use. Prints for each change
 * how many requests were made, how many failed, and the longest that one took, from when it was due; likewise for minting.
 *
 * `--rate N` requests a second (500), `--mints N` tokens a second (5), `--seconds N` at least, for each change (10).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Key, RingwallClient } from '@ringwall/client'
import { ask, CLI, eventually, freePorts, TestRing } from './local-ring.ts'

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '500' },
    mints: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '10' },
  },
})
const RATE = Number(values.rate)
const MINTS = Number(values.mints)
const SECONDS = Number(values.seconds)
const TICK_MS = 20
const CONNECTIONS = 32
const TOKENS_MAX = 40
const CHANGE_MS_MAX = 180_000

interface Tally {
  readonly took: number[]
  readonly failures: Map<string, number>
}

const tally = (): Tally => ({ took: [], failures: new Map() })
let requests = tally()
let mints = tally()
/** Nodes that are asked: they stay all the while. */
const LOADED = [1, 2, 3] as const
const tokens: string[] = []
const children: ChildProcess[] = []

const ring = await TestRing.start()

interface Joining {
  readonly id: string
  readonly key: string
  readonly fabric: string
  readonly traffic: number
}

/** Its files; as a process of its own it starts later. */
async function prepareNode(id: string): Promise<Joining> {
  const base = await freePorts(1)
  const [fabric, traffic, admin] = [`127.0.0.1:${base + 10}`, base + 1, `127.0.0.1:${base + 1_001}`]
  const place = ['--genesis', join(ring.data, 'genesis.json'), '--region', 'eu-west', '--directory', join(ring.data, id)]
  const listen = ['--fabric', fabric, '--traffic', `127.0.0.1:${traffic}`, '--admin', admin]
  const made = ring.cliAlone('node', 'init', id, ...place, ...listen)
  if (made.code !== 0) throw new Error(made.stderr)
  return { id, key: made.stdout.trim(), fabric, traffic }
}

async function joinRing({ id, key, fabric, traffic }: Joining): Promise<void> {
  const args = ['--disable-warning=ExperimentalWarning', CLI, 'node', '--config', join(ring.data, id, 'node.yaml')]
  children.push(spawn(process.execPath, args, { stdio: 'ignore' }))
  const roles = ['validator', 'edge'] as const
  await client.nodeAdd({ id, region: 'eu-west', address: fabric, publicKey: key, roles: [...roles] }, 'grows', { waitMs: 60_000 })
  await eventually(`${id} takes tokens`, async () => (await get(traffic, tokens.at(-1) ?? '')).status === 200, CHANGE_MS_MAX)
}

const client: RingwallClient = ring.client(1)
const keyOf = async (node = 1): Promise<Key> => (await ring.client(node).keys()).keys[0] as Key

const get = (port: number, token: string): ReturnType<typeof ask> =>
  ask(port, '/search?q=lighthouse', { headers: { authorization: `Bearer ${token}` } })

const agents = new Map(LOADED.map((node) => [node, new Agent({ keepAlive: true, maxSockets: CONNECTIONS })]))
let sent = 0

/** From when it was due, so that what waits for a connection counts. */
function one(dueMs: number): void {
  const tallied = requests
  const node = LOADED[sent % LOADED.length] as (typeof LOADED)[number]
  const token = tokens[sent % tokens.length] as string
  const from = `198.51.${100 + (sent % 100)}.${1 + (sent % 250)}`
  sent += 1
  const fail = (why: string): void => void tallied.failures.set(why, (tallied.failures.get(why) ?? 0) + 1)
  const end = (): void => void tallied.took.push(performance.now() - dueMs)
  const call = request(
    {
      host: '127.0.0.1',
      port: ring.traffic(node),
      path: '/search?q=lighthouse',
      agent: agents.get(node) as Agent,
      headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': from },
    },
    (response) => {
      response.on('error', (error) => fail(`n${node} ${error.message}`))
      response.resume().on('end', () => {
        end()
        if (response.statusCode !== 200) fail(`n${node} answers ${response.statusCode}`)
      })
    },
  )
  call.setTimeout(20_000, () => call.destroy(new Error('no answer in 20 s')))
  call.on('error', (error) => {
    end()
    fail(`n${node} ${error.message}`)
  })
  call.end()
}

let minted = 0
async function mint(): Promise<void> {
  const tallied = mints
  const node = LOADED[minted % LOADED.length] as number
  minted += 1
  const began = performance.now()
  try {
    const made = await ring.client(node).tokenMint({ type: 'token', service: 'load', audience: 'shop', ttlS: 600, claims: {} })
    tokens.push(made.token)
    if (tokens.length > TOKENS_MAX) tokens.shift()
  } catch (error) {
    const why = `n${node} mints nothing: ${(error as Error).message.slice(0, 160)}`
    tallied.failures.set(why, (tallied.failures.get(why) ?? 0) + 1)
  }
  tallied.took.push(performance.now() - began)
}

/** A key that all validators hold, and no ceremony under way. */
async function settled(validators: number, epoch: (key: Key) => boolean): Promise<void> {
  await eventually(
    'the key is handed on',
    async () => {
      const key = await keyOf()
      return key.holders.length === validators && key.ceremony === null && key.asked === 'nothing' && epoch(key)
    },
    CHANGE_MS_MAX,
  )
}

const at = (list: readonly number[], part: number): string => {
  const sorted = [...list].sort((a, b) => a - b)
  return `${(sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? 0).toFixed(0)} ms`
}

let failed = 0
const failuresOf = ({ failures }: Tally): number => [...failures.values()].reduce((sum, count) => sum + count, 0)

async function during(what: string, change: () => Promise<void>): Promise<void> {
  const began = performance.now()
  requests = tally()
  mints = tally()
  await change()
  const tookS = (performance.now() - began) / 1_000
  const restMs = SECONDS * 1_000 - (performance.now() - began)
  if (restMs > 0) await sleep(restMs)
  const [asked, made] = [requests, mints]
  requests = tally()
  mints = tally()
  // What is under way still counts for this change.
  await sleep(1_000)
  const cells = [
    what.padEnd(36),
    `${tookS.toFixed(1)} s`.padStart(9),
    String(asked.took.length).padStart(10),
    String(failuresOf(asked)).padStart(8),
    at(asked.took, 0.5).padStart(10),
    at(asked.took, 0.99).padStart(10),
    at(asked.took, 1).padStart(10),
    String(made.took.length).padStart(8),
    String(failuresOf(made)).padStart(8),
    at(made.took, 1).padStart(10),
  ]
  process.stdout.write(`${cells.join('')}\n`)
  for (const { failures } of [asked, made])
    for (const [why, count] of failures) process.stdout.write(`    ${count} times: ${why}\n`)
  failed += failuresOf(asked) + failuresOf(made)
}

let load: NodeJS.Timeout | undefined
let minting: NodeJS.Timeout | undefined
try {
  await eventually('there is a key', async () => (await keyOf()).state === 'ready', 60_000)
  const { text, version } = await client.policy()
  const route = '      - { name: search-with-token, path: /search, identity: {}, waf: { mode: off } }\n'
  const changed = text.replace(/^ {4}routes:\n/m, (routes) => routes + route)
  await client.policyApply(changed, version, { waitMs: 20_000 })
  for (const node of LOADED)
    await eventually(`n${node} has the policy`, async () => (await get(ring.traffic(node), '')).status === 401)
  for (let i = 0; i < 6; i += 1) await mint()
  if (tokens.length === 0) throw new Error('no token was minted')
  const joining = [] as Joining[]
  for (const id of ['n5', 'n6', 'n7', 'n8']) joining.push(await prepareNode(id))
  const [fifth, ...more] = joining as [Joining, ...Joining[]]

  let dueMs = performance.now()
  load = setInterval(() => {
    for (const nowMs = performance.now(); dueMs < nowMs; dueMs += 1_000 / RATE) one(dueMs)
  }, TICK_MS)
  minting = setInterval(() => void mint(), 1_000 / MINTS)

  const head = ['change', 'took', 'requests', 'failed', 'p50', 'p99', 'worst', 'tokens', 'failed', 'worst']
  const widths = [36, 9, 10, 8, 10, 10, 10, 8, 8, 10]
  process.stdout.write(
    `${RATE} requests/s with a token of the ring through ${LOADED.length} nodes, ${MINTS} tokens/s minted\n\n${head
      .map((name, i) => (i === 0 ? name.padEnd(36) : name.padStart(widths[i] as number)))
      .join('')}\n`,
  )
  await during('nothing', async () => {})
  const { handOvers, keyId } = await keyOf()
  await during('key refresh', async () => {
    await client.keyRefresh('exercise', { waitMs: 20_000 })
    await settled(4, (key) => key.handOvers > handOvers)
  })
  await during('key rotate', async () => {
    await client.keyRotate('exercise', { waitMs: 20_000 })
    await settled(4, (key) => key.keyId !== keyId)
  })
  await during('n5 joins', async () => {
    await joinRing(fifth)
    await settled(5, ({ holders }) => holders.includes('n5'))
  })
  await during('n4 leaves', async () => {
    await client.nodeRemove('n4', 'exercise', { waitMs: 60_000 })
    await settled(4, ({ holders }) => !holders.includes('n4'))
  })
  await during('three join: 3 of 4 becomes 5 of 7', async () => {
    for (const node of more) await joinRing(node)
    await settled(7, ({ threshold }) => threshold === 5)
  })
  const grown = (await keyOf()).handOvers
  await during('key refresh, 5 of 7', async () => {
    await client.keyRefresh('exercise', { waitMs: 20_000 })
    await settled(7, (key) => key.handOvers > grown)
  })
  for (const { id, traffic } of joining)
    if ((await get(traffic, tokens.at(-1) as string)).status !== 200) throw new Error(`${id} does not take the newest token`)
  const { faults } = await keyOf()
  for (const { party, fault } of faults) process.stdout.write(`    ${party} is named: ${fault}\n`)
  process.stdout.write(failed === 0 ? '\n0 failures\n' : `\n${failed} FAILURES\n`)
} finally {
  clearInterval(load)
  clearInterval(minting)
  for (const child of children) child.kill('SIGKILL')
  for (const agent of agents.values()) agent.destroy()
  await ring.destroy()
}
process.exit(failed === 0 ? 0 : 1)
