import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { StoreLocked } from './errors.ts'
import { lockDirectory } from './lock.ts'

const freshDirectory = () => mkdtemp(join(tmpdir(), 'ringwall-lock-'))

const HOLDER = `
  const { lockDirectory } = await import(${JSON.stringify(new URL('./lock.ts', import.meta.url).href)})
  await lockDirectory(process.argv[1])
  console.log('held')
  setInterval(() => {}, 1000)
`

test('a second start is refused naming the process, and a lock left by SIGKILL is taken over', async () => {
  const directory = await freshDirectory()
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await once(child.stdout, 'data')
    await assert.rejects(lockDirectory(directory), (error) => {
      assert.ok(error instanceof StoreLocked)
      assert.equal(error.pid, child.pid)
      assert.match(error.message, new RegExp(`process ${child.pid}\\b`))
      return true
    })
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const lock = await lockDirectory(directory)
  assert.equal(lock.takenOver, true)
  await lock.release()
  assert.deepEqual(await readdir(directory), [])
  await rm(directory, { recursive: true })
})

test('one process cannot hold a directory twice, and can again once it let go', async () => {
  const directory = await freshDirectory()
  const first = await lockDirectory(directory)
  assert.equal(first.takenOver, false)
  await assert.rejects(lockDirectory(directory), { code: 'STORE_LOCKED', pid: process.pid })
  await first.release()
  await (await lockDirectory(directory)).release()
  await rm(directory, { recursive: true })
})

test('a live process that merely reuses the id of the dead holder does not keep the lock', {
  skip: process.platform !== 'linux',
}, async () => {
  const directory = await freshDirectory()
  await writeFile(
    join(directory, `lock.${process.pid}.0123456789ab`),
    JSON.stringify({ pid: process.pid, started: 'another boot:1' }),
  )
  const lock = await lockDirectory(directory)
  assert.equal(lock.takenOver, true)
  await lock.release()
  await rm(directory, { recursive: true })
})

test('of many starts at once on a stale lock exactly one wins, however slow each of them is', async () => {
  const directory = await freshDirectory()
  await writeFile(join(directory, 'lock'), 'half a li')
  const starts = await Promise.allSettled(Array.from({ length: 12 }, () => lockDirectory(directory)))
  assert.equal(starts.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const start of starts) if (start.status === 'rejected') assert.equal(start.reason.code, 'STORE_LOCKED')
  await rm(directory, { recursive: true })
})

test('of many processes that start at once, over the lock of a dead one, one wins, again and again', async () => {
  const directory = await freshDirectory()
  for (let round = 0; round < 3; round++) {
    const children = Array.from({ length: 6 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', HOLDER, directory], { stdio: ['ignore', 'pipe', 'ignore'] }),
    )
    // Held, or ended because somebody else holds it.
    const ends = children.map((child) =>
      Promise.race([once(child.stdout, 'data').then(() => 'held'), once(child, 'exit').then(() => 'refused')]),
    )
    assert.deepEqual((await Promise.all(ends)).sort(), ['held', ...Array(5).fill('refused')])
    for (const child of children) child.kill('SIGKILL')
    await Promise.all(children.map((child) => ((child.exitCode ?? child.signalCode) === null ? once(child, 'exit') : undefined)))
  }
  await rm(directory, { recursive: true })
})
