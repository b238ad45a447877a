/** Four real processes: a scan that is spread over the nodes is found by what they tell each other, denied on all, and one incident on each. */
import assert from 'node:assert/strict'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ask, eventually, TestRing } from './local-ring.ts'

const ALL = [1, 2, 3, 4]
const SCANNER = '203.0.113.77'
const from = (address: string): { headers: Record<string, string> } => ({ headers: { 'x-forwarded-for': address } })
/** No node sees so many by itself. */
const RULE = `
    - { name: probing, attack: [T1595.003], mode: enforce, by: [source], when: { status: [404] }, over: { paths: 16 }, share: 0.5, within: 1h, denyFor: 10m, reason: asks for what is not there }
`

let ring: TestRing

before(async () => {
  ring = await TestRing.start()
  const { text } = await ring.client(1).policy()
  assert.match(text, /^detectors:\n/m)
  const file = join(ring.data, 'rules.yaml')
  writeFileSync(file, text.replace(/^detectors:\n/m, `detectors:\n  anomalies: {}\n  rules:${RULE}`))
  const applied = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  const { version } = await ring.client(1).policy()
  for (const node of ALL) await eventually(`n${node} has it`, async () => (await ring.client(node).policy()).version === version)
})

after(() => ring?.destroy())

/** A denial cuts what its source has open: that has no status. */
const askAsScanner = (node: number, path: string): Promise<number | undefined> =>
  ask(ring.traffic(node), path, from(SCANNER)).then(
    ({ status }) => status,
    () => undefined,
  )

test('nine paths on each of four nodes: no node has seen sixteen, all refuse the source, and nobody else', async () => {
  for (let path = 0; path < 9; path += 1) {
    for (const node of ALL) await askAsScanner(node, `/nothing/${node}-${path}`)
  }
  for (const node of ALL) {
    await eventually(`n${node} refuses`, async () => (await askAsScanner(node, '/')) === 403)
    assert.equal((await ask(ring.traffic(node), '/', from('203.0.113.78'))).status, 200)
  }
  const { denials } = await ring.client(4).denials()
  const denial = denials.find(({ subject }) => subject.value === SCANNER)
  assert.match(
    denial!.reason,
    /^detector probing: asks for what is not there: \d+ paths in 1 h, \d+ % of what it asked, seen on [2-4] nodes$/,
  )
})

test('every node tells of the same incident, also of what others found, and of who works on it; a node that is killed takes nothing of it along', async () => {
  const told = async (node: number) => (await ring.client(node).incidents({})).incidents
  const ids = async (nodes: readonly number[]): Promise<ReadonlySet<string>> =>
    new Set(
      (await Promise.all(nodes.map(told))).map((incidents) => JSON.stringify(incidents.map(({ id, nodes: by }) => [id, by]))),
    )
  await eventually('all tell the same', async () => (await ids(ALL)).size === 1 && (await told(4))[0]!.nodes.length > 1)
  const [incident] = await told(4)
  assert.deepEqual(incident!.sources, [SCANNER])
  assert.ok(incident!.attack.includes('T1595.003'))
  const assigned = ring.cli('incident', 'assign', incident!.id, '--note', 'knows them')
  assert.equal(assigned.code, 0, assigned.stderr)
  for (const node of ALL)
    await eventually(`n${node} knows who`, async () => (await told(node))[0]!.assigned?.note === 'knows them')
  const [before] = await told(4)
  await ring.kill(1)
  const [after] = await told(4)
  assert.deepEqual(after, before)
})

test('what a node learned is there when it is stopped in order; files of before that cannot be read are told, moved aside and keep it from nothing', async () => {
  const inFolder = (name: string): string => join(ring.data, 'n1', name)
  const damaged = ['anomalies.bin', 'usual.bin', 'insiders.bin']
  for (const name of damaged) writeFileSync(inFolder(name), 'ringwall/memory/0\n\0\0\0\0')
  await ring.restart(1)
  for (const name of damaged) assert.ok(existsSync(inFolder(`${name}.unread`)), name)
  for (const path of ['/', '/nothing']) assert.ok((await ask(ring.traffic(1), path, from('203.0.113.79'))).status < 500)
  process.kill(await ring.pid(1), 'SIGTERM')
  for (const name of damaged)
    await eventually(`${name} is kept`, () => existsSync(inFolder(name)) && (statSync(inFolder(name)).mode & 0o777) === 0o600)
})
