/** Playbooks on four real processes; `npm run e2e:playbooks` has a thousand runs at once. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, eventually } from './local-ring.ts'
import { killWhileItTells, type Scene, startRuns, startScene } from './playbooks-scene.ts'

let scene: Scene

before(async () => {
  scene = await startScene()
})

after(async () => {
  scene?.desk.stop()
  await scene?.ring.destroy()
})

test('by hand: a rehearsal changes nothing; a run denies, tells, keeps evidence, waits for an operator; undo lets the source in again', async () => {
  const { ring, desk } = scene
  const rehearsed = ring.cli('playbook', 'test', 'contain', '--source', '203.0.113.9')
  assert.equal(rehearsed.code, 0, rehearsed.stderr)
  assert.match(rehearsed.stdout, /deny +denies ip 203\.0\.113\.9 for 3600 s/)
  assert.match(ring.cli('playbook', 'run', 'contain').stderr, /needs source: give it with --source/)
  const started = ring.cli('playbook', 'run', 'contain', '--source', '203.0.113.9', '--reason', 'it looks bad')
  assert.equal(started.code, 0, started.stderr)
  const run = started.stdout.trim()
  const statusFor = async (node: number): Promise<number> =>
    (await ask(ring.traffic(node), '/', { headers: { 'x-forwarded-for': '203.0.113.9' } })).status
  for (const node of [1, 2, 3, 4]) await eventually(`n${node} refuses`, async () => (await statusFor(node)) === 403)
  await eventually('it waits for approval', async () => (await ring.client(1).playbookRun(run)).at === 3)
  assert.equal(desk.told.filter((one) => one.run === run).length, 1)
  const { outcomes } = await ring.client(2).playbookRun(run)
  const keeper = outcomes.find(({ note }) => note.startsWith('sha256:'))!.by.slice('node:'.length)
  const kept = await ring.client(Number(keeper.slice(1))).playbookEvidence(run)
  assert.equal(kept.format, 'ringwall/evidence/1')
  assert.ok(JSON.stringify(kept.denials).includes('203.0.113.9'))
  assert.equal(ring.cli('playbook', 'approve', run).code, 0)
  assert.match(ring.cli('playbook', 'show', run).stdout, /contain +done/)
  const undone = ring.cli('playbook', 'undo', run, '--reason', 'a mistake')
  assert.match(undone.stderr, /not undone: notify cannot be undone/)
  await eventually('it is let in', async () => (await statusFor(3)) === 200)
})

test('what several nodes find starts one run', async () => {
  const { ring, desk } = scene
  const from = { headers: { 'x-forwarded-for': '203.0.113.77' } }
  for (let path = 0; path < 9; path += 1)
    for (const node of [1, 2, 3, 4]) await ask(ring.traffic(node), `/nothing/${node}-${path}`, from)
  await eventually('a run is under way', async () => {
    const { runs } = await ring.client(1).playbookRuns({ state: 'open' })
    return runs.some(({ at, statedBy, inputs }) => at === 3 && statedBy.length >= 2 && inputs[0]?.value === '203.0.113.77')
  })
  const { runs } = await ring.client(1).playbookRuns({ state: 'open' })
  assert.equal(runs.length, 1)
  assert.equal(desk.told.filter((one) => one.run === runs[0]!.id).length, 1)
})

test('twenty at once are all done, each told once; and a node killed while it tells is made up for by another', async () => {
  const { ring, desk } = scene
  const runs = await startRuns(ring, 20, 'many')
  await eventually('all are done', async () => {
    const all = (await ring.client(2).playbookRuns({ state: 'over' })).runs
    return runs.every((id) => all.some((run) => run.id === id && run.status === 'done'))
  })
  for (const id of runs) assert.equal(desk.told.filter((one) => one.run === id).length, 1)
  await killWhileItTells(scene, 'killed')
  assert.deepEqual(desk.refused, [])
})
