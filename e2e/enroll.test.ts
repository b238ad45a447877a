/**
 * Machines become nodes of a real ring by a line of text or by what they were made as. Processes, sockets, the command line; steps build on one
 * another, in order.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { addressesAt, ask, CLI, eventually, freePorts, TestRing } from './local-ring.ts'

let ring: TestRing
const children: ChildProcess[] = []

before(async () => {
  ring = await TestRing.start({ nodes: 2 })
})

after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await ring?.destroy()
})

interface Joining {
  readonly child: ChildProcess
  readonly traffic: number
  readonly directory: string
  said(): string
  /** Exit code, once it ended. */
  ended(): Promise<number | null>
}

async function joinWith(line: string, id: string, ...more: readonly string[]): Promise<Joining> {
  const base = await freePorts(1)
  const directory = join(ring.data, id)
  return launch(['node', 'join', line, '--id', id, '--directory', directory, ...addressesAt(base), ...more], base + 1, directory)
}

function launch(given: readonly string[], traffic: number, directory: string): Joining {
  const args = ['--disable-warning=ExperimentalWarning', CLI, ...given]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  children.push(child)
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += String(chunk)
  })
  const end = new Promise<number | null>((settle) => child.once('exit', (code) => settle(code)))
  return { child, traffic, directory, said: () => said, ended: () => end }
}

let line = ''

test('01 a line makes a machine a node that serves, without an operator there', async () => {
  const invited = ring.cli('node', 'invite', '--region', 'eu-west', '--roles', 'edge')
  assert.equal(invited.code, 0, invited.stderr)
  line = invited.stdout.trim()
  assert.match(line, /^ringwall-invite-1\.[A-Za-z0-9_-]+$/)
  const joining = await joinWith(line, 'e1')
  await eventually('e1 serves the application', async () => (await ask(joining.traffic, '/')).status === 200, 30_000)
  for (const node of [1, 2]) {
    await eventually(`n${node} knows e1`, async () => (await ring.client(node).nodes()).nodes.some(({ id }) => id === 'e1'))
  }
  const { nodes } = await ring.client(1).nodes()
  assert.deepEqual(nodes.find(({ id }) => id === 'e1')?.roles, ['edge'])
  await eventually('it says so', () => /e1 joined at height \d+ after [\d.]+ s, as edge in eu-west/.test(joining.said()))
})

test('02 two who share a line at the same moment: one becomes a node, the other leaves nothing behind', async () => {
  const invited = ring.cli('node', 'invite', '--region', 'us-east')
  const both = [await joinWith(invited.stdout.trim(), 'e3'), await joinWith(invited.stdout.trim(), 'e4')]
  await eventually('one joined, the other was refused', () => {
    const said = both.map((one) => one.said())
    return (
      said.filter((text) => / joined at height /.test(text)).length === 1 && said.some((text) => /INVITATION_USED/.test(text))
    )
  })
  const { nodes } = await ring.client(2).nodes()
  assert.equal(nodes.filter(({ id }) => id === 'e3' || id === 'e4').length, 1)
  const refused = both.find((one) => /INVITATION_USED/.test(one.said()))
  assert.equal(await refused?.ended(), 1)
  const again = await joinWith(line, 'e2')
  assert.equal(await again.ended(), 1)
  assert.match(again.said(), /INVITATION_USED: this invitation let in e1 already/)
  assert.equal(existsSync(again.directory), false)
})

const home = (name: string): string => join(ring.data, name)

/** A command that must succeed; what it wrote. */
function done(run: { readonly code: number; readonly stdout: string; readonly stderr: string }): string {
  assert.equal(run.code, 0, run.stderr)
  return run.stdout.trim()
}

function makeDevice(serial: string, ...more: readonly string[]): string {
  const directory = home(serial)
  done(ring.cliAlone('device', 'make', serial, '--manufacturer', home('factory'), '--directory', directory, ...more))
  return directory
}

const ship = (directory: string, to = home('ring.json')) =>
  ring.cliAlone('device', 'ship', join(directory, 'voucher.json'), '--key', home('factory/manufacturer.key'), '--to', to)

const register = (directory: string) => ring.cli('device', 'register', join(directory, 'voucher.json'), '--region', 'eu-west')

async function powerOn(directory: string): Promise<Joining> {
  const base = await freePorts(1)
  return launch(['node', '--device', directory, ...addressesAt(base)], base + 1, directory)
}

/** Where AC-1 takes traffic, as the node that it is first. */
let firstTraffic = 0

test('03 a device that was made, shipped and registered serves when it is powered on, and after it was off', async () => {
  const key = done(ring.cliAlone('device', 'manufacturer', 'acme', '--directory', home('factory')))
  const { text } = await ring.client(1).policy()
  writeFileSync(
    home('ringwall.yaml'),
    `${text}
devices:
  attestation: { least: software, every: 20s }
  manufacturers:
    - { name: acme, key: ${key} }
fleet:
  maxAge:
    - { select: role=brief, age: 10s, drain: 2s, spread: 0% }
    - { age: 365d, end: drain }
`,
  )
  done(ring.cli('policy', 'apply', home('ringwall.yaml'), '--yes'))
  writeFileSync(home('ring.json'), done(ring.cli('device', 'address')))
  const directory = makeDevice('AC-1')
  assert.match(register(directory).stderr, /VOUCHER_OTHER_RING: the voucher is of no ring yet/)
  done(ship(directory))
  done(register(directory))
  const on = await powerOn(directory)
  firstTraffic = on.traffic
  await eventually('AC-1 serves the application', async () => (await ask(on.traffic, '/')).status === 200, 40_000)
  await eventually('it says so', () => /ac-1-[0-9a-f]{8} joined at height \d+/.test(on.said()))
  const shown = ring.cli('device', 'show', 'AC-1')
  assert.match(shown.stdout, /status +joined\nnode +ac-1-/)
  on.child.kill('SIGTERM')
  await on.ended()
  await powerOn(directory)
  await eventually('AC-1 serves again', async () => (await ask(on.traffic, '/')).status === 200, 40_000)
  await eventually('it is trusted, by software', async () => {
    const { trust } = await ring.client(1).enrolment()
    return trust.some(({ kind, state }) => kind === 'software' && state === 'trusted')
  })
})

/** As it was shipped: a copy, or the device set up anew. */
function shipped(name: string): string {
  const directory = home(name)
  mkdirSync(directory)
  for (const file of ['device.key', 'device.pem', 'manufacturer.pem', 'voucher.json'])
    cpSync(join(home('AC-1'), file), join(directory, file))
  return directory
}

test('04 a copy of the disk that was shipped is refused, and leaves nothing behind', async () => {
  const copy = shipped('copy')
  const on = await powerOn(copy)
  assert.equal(await on.ended(), 1)
  assert.match(on.said(), /DEVICE_JOINED: AC-1 is the node ac-1-[0-9a-f]{8} already: this is a copy of it/)
  assert.equal(existsSync(join(copy, 'node')), false)
})

test('04b a node whose age is over is out on all nodes and says why; set up anew, its device is another node of age 0', async () => {
  const aged = async (): Promise<readonly { readonly id: string; readonly sinceMs: number }[]> =>
    (await ring.client(1).fleet()).nodes.flatMap(({ id, age }) =>
      id.startsWith('ac-1-') && age !== null ? [{ id, sinceMs: age.sinceMs }] : [],
    )
  const [before] = await aged()
  assert.ok(before)
  const { status } = await ask(firstTraffic + 1_000, '/readyz')
  assert.equal(status, 200)
  done(ring.cli('device', 'label', 'AC-1', 'role=brief'))
  await eventually('it says why', async () => {
    const readyz = await ask(firstTraffic + 1_000, '/readyz')
    return readyz.status === 503 && /NODE_AGED: .*set it up anew/.test(readyz.body)
  })
  await eventually('and takes no traffic', () =>
    ask(firstTraffic, '/').then(
      () => false,
      () => true,
    ),
  )
  for (const at of [1, 2]) {
    await eventually(
      `n${at} has let it go`,
      async () => !(await ring.client(at).nodes()).nodes.some(({ id }) => id === before.id),
    )
    const { events } = await ring.client(at).events({ limit: 200 })
    assert.ok(events.some(({ what }) => what === `${before.id} is out: NODE_AGED: its age is over (fleet.maxAge)`))
  }
  done(ring.cli('device', 'label', 'AC-1', 'role-'))
  const anew = await powerOn(home('copy'))
  await eventually('it serves again', async () => (await ask(anew.traffic, '/')).status === 200, 40_000)
  await eventually('as another node, of age 0', async () => {
    const [now] = await aged()
    return now !== undefined && now.id !== before.id && now.sinceMs > before.sinceMs
  })
  await eventually('it is trusted, too', async () => {
    const { trust } = await ring.client(1).enrolment()
    return trust.some(({ node, state }) => node !== before.id && state === 'trusted')
  })
})

test('05 one whose configuration is changed is out on all nodes, and does not come back by itself', async () => {
  const [record] = (await ring.client(1).enrolment()).trust
  appendFileSync(join(home('copy'), 'node/node.yaml'), '# changed\n')
  for (const at of [1, 2]) {
    const isOut = async (): Promise<boolean> => {
      const { expelled, addresses } = await ring.client(at).enrolment()
      const isNamed = expelled.some(({ node, code }) => node === record?.node && code === 'CONFIGURATION_CHANGED')
      return isNamed && !addresses.some(({ id }) => id === record?.node)
    }
    await eventually(`n${at} has put it out`, isOut, 40_000)
  }
  assert.match(ring.cli('device', 'trust').stdout, /ac-1-[0-9a-f]{8} +out: CONFIGURATION_CHANGED/)
  const on = await powerOn(shipped('another'))
  assert.equal(await on.ended(), 1)
  assert.match(on.said(), /DEVICE_EXPELLED: the ring put ac-1-[0-9a-f]{8} out.*ringwall device accept/)
})

test('06 a device that was given away is out, here and with every older voucher', async () => {
  const older = shipped('older')
  const buyer = done(ring.cliAlone('device', 'manufacturer', 'buyer', '--directory', home('buyer')))
  const file = join(home('AC-1'), 'voucher.json')
  done(ring.cli('device', 'transfer', 'AC-1', '--voucher', file, '--to', buyer, '--reason', 'sold'))
  const on = await powerOn(older)
  assert.equal(await on.ended(), 1)
  assert.match(on.said(), /DEVICE_TRANSFERRED: AC-1 was given to another owner/)
  assert.match(register(older).stderr, /VOUCHER_SUPERSEDED: this voucher of AC-1 is older than its transfer/)
  const back = ring.cliAlone('device', 'ship', file, '--key', home('factory/manufacturer.key'), '--to', home('ring.json'))
  assert.match(back.stderr, /this key is not its owner’s/)
  done(ring.cliAlone('device', 'ship', file, '--key', home('buyer/manufacturer.key'), '--to', home('ring.json')))
  done(ring.cli('device', 'register', file))
  assert.match(ring.cli('device', 'ls').stdout, /AC-1 +registered/)
})
