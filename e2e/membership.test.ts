/**
 * Real processes, traffic and transactions all the while: a validator that lies is evicted by its own signatures, a new node joins,
 * another leaves. Steps build on one another, in order.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { ask, CLI, eventually, freePorts, TestRing } from './local-ring.ts'

const children: ChildProcess[] = []
let ring: TestRing
let denials = 0
let load: NodeJS.Timeout | undefined
const failures: string[] = []

/** One transaction after another, to n1. */
async function deny(): Promise<void> {
  denials += 1
  const value = `198.51.${100 + Math.floor(denials / 250)}.${1 + (denials % 250)}`
  try {
    await ring.client(1).denyAdd({ kind: 'ip', value }, 600_000, 'load', { waitMs: 20_000 })
  } catch (error) {
    failures.push((error as Error).message)
  }
}

before(async () => {
  ring = await TestRing.start()
  let busy = false
  load = setInterval(() => {
    if (busy) return
    busy = true
    void deny().finally(() => {
      busy = false
    })
  }, 50)
})

after(async () => {
  clearInterval(load)
  for (const child of children) child.kill('SIGKILL')
  await ring?.destroy()
})

const epochOf = async (node: number): Promise<number> => (await ring.client(node).status()).ledger.epoch
const idsSeenBy = async (node: number): Promise<readonly string[]> => (await ring.client(node).nodes()).nodes.map(({ id }) => id)

/** Incidents about nodes of the ring: how severe, about which nodes, found by which detectors. */
async function misconduct(node: number): Promise<readonly string[]> {
  const client = ring.client(node)
  const { incidents } = await client.incidents({ state: 'all' })
  const all = await Promise.all(incidents.map(({ id }) => client.incident(id)))
  return all.flatMap(({ severity, timeline }) => {
    const about = timeline.filter(({ subject }) => subject.kind === 'node')
    const nodes = new Set(about.map(({ subject }) => subject.value))
    return about.length === 0 ? [] : [`${severity} ${[...nodes]}: ${about.map(({ detector }) => detector)}`]
  })
}

test('01 a validator that proposes two blocks in a round is evicted and named, without an operator', async () => {
  await ring.kill(4)
  const script = resolve(import.meta.dirname, 'liar.ts')
  const home = join(ring.data, 'n4')
  const args = [script, join(ring.data, 'genesis.json'), 'n4', join(home, 'node.key'), 'equivocator', String(ring.base - 996)]
  children.push(spawn(process.execPath, args, { stdio: 'ignore' }))
  for (const node of [1, 2, 3]) {
    await eventually(`n${node} has evicted n4`, async () => (await epochOf(node)) === 1, 30_000)
    assert.deepEqual(await idsSeenBy(node), ['n1', 'n2', 'n3'])
  }
  const { events } = await ring.client(1).events({ limit: 200 })
  assert.ok(events.some(({ what }) => /^n4 is evicted: it signed two contradicting statements/.test(what)))
  for (const node of [1, 2, 3])
    await eventually(`n${node} tells the incident`, async () =>
      (await misconduct(node)).some((incident) => incident.startsWith('high n4')),
    )
})

interface Joined {
  readonly key: string
  readonly fabric: string
  readonly traffic: number
  readonly admin: string
}

/** As people do it: files by one command, a process, and an operator who adds it. */
async function joinRing(id: string, roles: string): Promise<Joined> {
  const base = await freePorts(1)
  const home = join(ring.data, id)
  const [fabric, traffic, admin] = [`127.0.0.1:${base + 10}`, base + 1, `127.0.0.1:${base + 1_001}`]
  const genesis = ['--genesis', join(ring.data, 'genesis.json'), '--region', 'eu-west', '--directory', home]
  const listen = ['--fabric', fabric, '--traffic', `127.0.0.1:${traffic}`, '--admin', admin]
  const made = ring.cliAlone('node', 'init', id, ...genesis, ...listen)
  assert.equal(made.code, 0, made.stderr)
  const key = made.stdout.trim()
  const args = ['--disable-warning=ExperimentalWarning', CLI, 'node', '--config', join(home, 'node.yaml')]
  children.push(spawn(process.execPath, args, { stdio: 'ignore' }))
  const added = ring.cli('node', 'add', id, '--key', key, '--address', fabric, '--region', 'eu-west', '--roles', roles)
  assert.equal(added.code, 0, added.stderr)
  await eventually(`${id} serves`, async () => (await ask(traffic, '/')).status === 200, 30_000)
  return { key, fabric, traffic, admin }
}

test('02 a fifth node joins under load: it follows, then votes, and takes traffic', async () => {
  const { key, fabric } = await joinRing('n5', 'validator,edge')
  for (const node of [1, 2, 3]) assert.equal(await epochOf(node), 2)
  await eventually('n5 is listed as up', () => /n5 +eu-west +up/.test(ring.cli('node', 'ls').stdout))
  const again = ring.cli('node', 'add', 'n6', '--key', key, '--address', fabric, '--region', 'eu-west')
  assert.equal(again.code, 1)
  assert.match(again.stderr, /the ring knows this key already/)
})

test('03 an edge joins: it has no vote, enforces what is agreed, and proposes through the others', async () => {
  const { traffic, admin } = await joinRing('e1', 'edge')
  assert.equal(await epochOf(1), 2)
  // It may serve before it has applied the block that made it a member.
  await eventually('e1 follows', () => {
    const status = JSON.parse(ring.cli('status', '--node', `http://${admin}`, '-o', 'json').stdout)
    assert.deepEqual([status.ledger.role, status.ledger.validators, status.roles], ['follower', 4, ['edge']])
    return true
  })
  const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
  const ban = ring.cli('deny', 'add', 'ip', '203.0.113.77', '--reason', 'e2e', '--node', `http://${admin}`)
  assert.equal(ban.code, 0, ban.stderr)
  assert.match(ban.stderr, /certified at height/)
  for (const port of [traffic, ring.traffic(1)])
    await eventually('it is refused', async () => (await ask(port, '/', from('203.0.113.77'))).status === 403)
  assert.equal((await ask(traffic, '/', from('203.0.113.78'))).status, 200)
})

test('04 the ring now stands the loss of one: n3 dies, and n5 is needed and there', async () => {
  await ring.kill(3)
  const before = failures.length
  await deny()
  await deny()
  assert.equal(failures.length, before, failures.join())
  await ring.restart(3)
})

test('05 a node leaves: it says so itself, the others go on without it, and no id comes back', async () => {
  await eventually('n3 is back', async () => (await ring.client(1).nodes()).nodes.every(({ reachable }) => reachable), 30_000)
  const gone = ring.cli('node', 'rm', 'n2', '--reason', 'e2e')
  assert.equal(gone.code, 0, gone.stderr)
  assert.match(gone.stderr, /n2 is out since height \d+; 3 validators stay, of which 0 may fail or lie/)
  await eventually('n2 knows', async () => {
    const { events } = await ring.client(2).events({ limit: 200 })
    return events.some(({ what }) => /the ring has let this node go/.test(what))
  })
  assert.equal((await ring.client(2).status()).ledger.role, 'follower')
  assert.deepEqual(await idsSeenBy(1), ['n1', 'n3', 'n5', 'e1'])
  await ring.kill(2)
  await ring.restart(2)
  await eventually('n2 still knows when it starts again', async () => {
    const { notReady } = await ring.client(2).status()
    return notReady === 'the ring has let it go'
  })
  await deny()
  const verified = ring.cliAlone('ledger', 'verify', '--config', join(ring.data, 'n1', 'node.yaml'))
  assert.equal(verified.code, 0, verified.stderr + verified.stdout)
})

test('06 nothing that was proposed meanwhile was lost, and nobody is found at fault but the one that lied', async () => {
  clearInterval(load)
  assert.deepEqual(failures, [])
  assert.ok(denials > 20, String(denials))
  for (const node of [1, 3])
    for (const incident of await misconduct(node)) assert.match(incident, /^high n4: [^,]*node-equivocation/)
})
