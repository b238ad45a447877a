/** The same as `npm run e2e:flood`, shorter: what it measures is printed, what must hold on any machine is asserted. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../tools/free-ports.ts'
import { Clients, type FloodPlan, flood, floodSource, knock, REQUEST, startRing, table, UPSTREAM } from './flood-scene.ts'
import { eventually, type TestRing } from './local-ring.ts'
import { startProtect } from './program.ts'

const PLAN: FloodPlan = {
  nodes: 2,
  sources: 20,
  connectionsPerSource: 12,
  times: 10,
  capacityMs: 600,
  idleMs: 500,
  floodMs: 6_500,
  floodMsMax: 40_000,
}

let ring: TestRing
let stop: (() => Promise<void>) | undefined

before(async () => {
  ;({ ring, stop } = await startRing(PLAN.nodes))
})

after(async () => {
  await stop?.()
})

test('a flood at ten times what a node carries: the second node drops its sources, others are served', {
  timeout: 120_000,
}, async (t) => {
  const result = await flood(ring, PLAN)
  for (const line of table(PLAN, result).trimEnd().split('\n')) t.diagnostic(line)
  const { idle, dropsMs, innocentDenied, denied } = result
  assert.equal(idle.good, idle.asked)
  assert.equal(dropsMs.length, PLAN.sources)
  assert.equal(denied, PLAN.sources)
  assert.deepEqual(innocentDenied, [])
  await eventually('normal clients to be served', async () => (await knock(ring.traffic(1), '127.0.0.12')) === 'passed')
})

test('with several workers, what each sees of a source is one: the flood is dropped by all of them', {
  timeout: 60_000,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-flood-'))
  const upstream = spawn(process.execPath, ['-e', UPSTREAM], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = (await once(upstream.stdout!, 'data')) as [Buffer]
  const url = `http://127.0.0.1:${String(said).trim()}`
  const policy = join(folder, 'policy.yaml')
  writeFileSync(policy, JSON.stringify({ version: 1, services: { app: { upstreams: [{ url }] } } }))
  const port = await freePort()
  const node = await startProtect(url, port, join(folder, 'ring'), '--workers', '2', '--config', policy)
  const clients = await Clients.start()
  let over = false
  t.after(async () => {
    over = true
    await clients.end()
    await node.end()
    upstream.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  // A source alone is no flood: somebody else asks all the while.
  const company = (async () => {
    while (!over) {
      await knock(port, '127.0.0.11')
      await sleep(50)
    }
  })()
  const sources = Array.from({ length: 20 }, (_, at) => floodSource(at))
  clients.begin({ port, sources, connectionsPerSource: 12, perSecond: 20_000, request: REQUEST })
  const dropped = new Set<string>()
  await eventually(
    'all of them to be dropped',
    async () => {
      for (const source of sources) if (!dropped.has(source) && (await knock(port, source)) === 'dropped') dropped.add(source)
      return dropped.size === sources.length
    },
    40_000,
  )
  await clients.stop()
  for (let at = 0; at < 20; at += 1) assert.equal(await knock(port, sources[0]!), 'dropped')
  await eventually('others to be served', async () => (await knock(port, '127.0.0.12')) === 'passed')
  over = true
  await company
})
