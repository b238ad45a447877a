/**
 * Machines become nodes of a real ring by a line of text or by what they were made as. Processes, sockets, the command line; steps build on one
 * another, in order.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ask, CLI, eventually, freePorts, TestRing } from './local-ring.ts'

let ring: TestRing
const children: ChildProcess[] = []

before(async () => {
  ring = await TestRing.start()
})

after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await ring?.destroy()
})

interface Joining {
  readonly child: ChildProcess
  readonly traffic: number
  readonly home: string
  said(): string
  /** Exit code, once it ended. */
  ended(): Promise<number | null>
}

async function joinWith(line: string, id: string, ...more: readonly string[]): Promise<Joining> {
  const base = await freePorts(1)
  const home = join(ring.data, id)
  const where = [
    '--fabric',
    `127.0.0.1:${base + 10}`,
    '--traffic',
    `127.0.0.1:${base + 1}`,
    '--admin',
    `127.0.0.1:${base + 1_001}`,
  ]
  const args = [
    '--disable-warning=ExperimentalWarning',
    CLI,
    'node',
    'join',
    line,
    '--id',
    id,
    '--directory',
    home,
    ...where,
    ...more,
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  children.push(child)
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += String(chunk)
  })
  const end = new Promise<number | null>((settle) => child.once('exit', (code) => settle(code)))
  return { child, traffic: base + 1, home, said: () => said, ended: () => end }
}

let line = ''

test('01 a line makes a machine a node that serves, without an operator there', async () => {
  const invited = ring.cli('node', 'invite', '--region', 'eu-west', '--roles', 'edge')
  assert.equal(invited.code, 0, invited.stderr)
  line = invited.stdout.trim()
  assert.match(line, /^ringwall-invite-1\.[A-Za-z0-9_-]+$/)
  const joining = await joinWith(line, 'e1')
  await eventually('e1 serves the application', async () => (await ask(joining.traffic, '/')).status === 200, 30_000)
  for (const node of [1, 2, 3, 4]) {
    await eventually(`n${node} knows e1`, async () => (await ring.client(node).nodes()).nodes.some(({ id }) => id === 'e1'))
  }
  const { nodes } = await ring.client(1).nodes()
  assert.deepEqual(nodes.find(({ id }) => id === 'e1')?.roles, ['edge'])
  await eventually('it says so', () => /e1 joined at height \d+ after [\d.]+ s, as edge in eu-west/.test(joining.said()))
})

test('02 the line serves once, whichever node is asked, and leaves nothing behind where it is refused', async () => {
  const again = await joinWith(line, 'e2')
  assert.equal(await again.ended(), 1)
  assert.match(again.said(), /INVITATION_USED: this invitation let in e1 already/)
  assert.equal(existsSync(again.home), false)
})

test('03 two who share a line at the same moment: one becomes a node', async () => {
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
})

test('04 nobody becomes more than it was invited to be, and a changed line is told from a refused one', async () => {
  const invited = ring.cli('node', 'invite', '--region', 'us-east', '--roles', 'edge').stdout.trim()
  const more = await joinWith(invited, 'e5', '--roles', 'validator')
  assert.equal(await more.ended(), 1)
  assert.match(more.said(), /INVITATION_EXCEEDED: the invitation allows edge, not validator/)
  const elsewhere = await joinWith(invited, 'e5', '--region', 'eu-west')
  assert.equal(await elsewhere.ended(), 1)
  assert.match(elsewhere.said(), /INVITATION_EXCEEDED: the invitation is for the region us-east/)
  const cut = await joinWith(invited.slice(0, -3), 'e5')
  assert.equal(await cut.ended(), 1)
  assert.match(cut.said(), /this is no invitation: a part of it is missing/)
  const listed = ring.cli('node', 'invite', 'ls', '-o', 'json')
  assert.deepEqual((JSON.parse(listed.stdout) as { state: string }[]).map(({ state }) => state).sort(), ['open', 'used', 'used'])
})
