/** The launcher, with programs that do what a node says to it and nothing else. `e2e/updates.ts` does it with nodes. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { installRelease } from './install-release.ts'
import { Launcher } from './launcher.ts'
import { makeRelease, unpackRelease } from './release-archive.ts'
import { Slots } from './slots.ts'

const { privateKey } = generateKeyPairSync('ed25519')

/** Serves, hands over, asks for a trial when there is a file `ask`, and judges itself as it was made to. */
function program(version: string, verdict: string): string {
  return `import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
const config = process.argv.at(process.argv.indexOf('--config') + 1)
const log = (what) => appendFileSync(config, '${version} ' + what + '\\n')
log('started')
${verdict === 'dies' ? 'process.exit(3)' : ''}
process.send({ type: 'serving' })
process.on('SIGUSR2', () => process.send({ type: 'handed-over' }))
process.on('SIGTERM', () => { log('stopped'); process.exit(0) })
process.on('disconnect', () => process.exit(0))
setInterval(() => {
  if (process.env.RINGWALL_FLEET_TRIAL !== undefined) return
  if (!existsSync(config + '.ask')) return
  const ask = JSON.parse(readFileSync(config + '.ask', 'utf8'))
  rmSync(config + '.ask')
  process.send(ask)
}, 20)
if (process.env.RINGWALL_FLEET_TRIAL !== undefined)
  setTimeout(() => process.send(${JSON.stringify(verdict === 'good' ? { type: 'good' } : { type: 'bad', reason: 'too many errors' })}), 100)
`
}

async function release(work: string, version: string, verdict: string) {
  const root = join(work, `tree-${version}`)
  mkdirSync(join(root, 'packages/cli/bin'), { recursive: true })
  writeFileSync(join(root, 'packages/cli/package.json'), '{"name":"@ringwall/cli"}')
  writeFileSync(join(root, 'packages/cli/bin/ringwall.mjs'), program(version, verdict))
  const file = join(work, `${version}.release`)
  return { file, ...(await makeRelease(root, file, { version, key: privateKey })) }
}

async function machine(t: TestContext, verdict: string) {
  const work = mkdtempSync(join(tmpdir(), 'ringwall-launcher-'))
  const folder = join(work, 'machine')
  const old = await release(work, '0.1.0', 'good')
  const next = await release(work, '0.2.0', verdict)
  await installRelease(old.file, folder, old.key)
  const slots = new Slots(folder)
  await unpackRelease(next.file, slots.path(await slots.clear()), next.digest)
  const config = join(work, 'log')
  writeFileSync(config, '')
  const launcher = new Launcher({ folder, config, say: () => {} })
  const running = launcher.run()
  t.after(async () => {
    await launcher.stop()
    await running
    rmSync(work, { recursive: true })
  })
  const said = () => readFileSync(config, 'utf8').trim().split('\n')
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await sleep(10)
  }
  const ask = (digest = next.digest): void => {
    const terms = { version: '0.2.0', trialMs: 1_000, errors: 0 }
    writeFileSync(`${config}.next`, JSON.stringify({ type: 'try', terms, digest }))
    writeFileSync(`${config}.ask`, readFileSync(`${config}.next`))
  }
  await until(() => said().includes('0.1.0 started'))
  return { slots, said, until, ask, launcher, folder }
}

test('a release that was found good is current from then on', async (t) => {
  const { slots, said, until, ask } = await machine(t, 'good')
  ask()
  await until(() => slots.current() === 'b' && slots.trial() === undefined)
  assert.deepEqual(said(), ['0.1.0 started', '0.2.0 started', '0.1.0 stopped'])
  assert.equal(slots.outcome(), undefined)
})

for (const [verdict, reason] of [
  ['dies', 'it ended (code 3)'],
  ['bad', 'too many errors'],
] as const)
  test(`a release that ${verdict === 'dies' ? 'ends at once' : 'finds itself bad'} is given up, and the one before runs again`, async (t) => {
    const { slots, said, until, ask } = await machine(t, verdict)
    ask()
    await until(() => said().filter((line) => line === '0.1.0 started').length === 2)
    assert.equal(slots.current(), 'a')
    assert.deepEqual([slots.outcome(), slots.trial()], [{ version: '0.2.0', reason }, undefined])
    await until(() => said().includes('0.1.0 stopped'))
  })

test('a slot that holds another release than was asked for, or a changed byte, is not tried', async (t) => {
  const { slots, said, until, ask, folder } = await machine(t, 'good')
  ask('ab'.repeat(32))
  await until(() => slots.outcome() !== undefined)
  assert.match(slots.outcome()!.reason, /another release/)
  await slots.setOutcome(undefined)
  writeFileSync(join(folder, 'b/packages/cli/package.json'), '{}')
  ask()
  await until(() => slots.outcome() !== undefined)
  assert.match(slots.outcome()!.reason, /was changed/)
  assert.deepEqual(said(), ['0.1.0 started'])
  assert.ok(existsSync(join(folder, 'current')))
})

test('a trial that was interrupted three times is given up at the next start', async () => {
  const work = mkdtempSync(join(tmpdir(), 'ringwall-launcher-'))
  const { file, key } = await release(work, '0.1.0', 'good')
  const folder = join(work, 'machine')
  await installRelease(file, folder, key)
  const slots = new Slots(folder)
  for (const attempt of [1, 3]) {
    await slots.setTrial({ version: '0.2.0', slot: 'b', attempt })
    const launcher = new Launcher({ folder, config: join(work, 'log'), say: () => {} })
    const running = launcher.run()
    await sleep(50)
    await launcher.stop()
    await running
    assert.equal(slots.outcome()?.reason, attempt === 3 ? 'its trial was interrupted 3 times' : undefined)
    assert.equal(slots.trial() === undefined, attempt === 3)
  }
  rmSync(work, { recursive: true })
})
