import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { keepAside, replaceFile, writeFileAtomic } from './files.ts'

test('a file is replaced as a whole, for its owner alone, and a write that fails leaves the old one and no litter', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ringwall-files-'))
  const path = join(directory, 'x')
  await writeFileAtomic(path, 'old')
  await writeFileAtomic(path, new TextEncoder().encode('new'))
  assert.equal(await readFile(path, 'utf8'), 'new')
  if (process.platform !== 'win32') assert.equal((await stat(path)).mode & 0o777, 0o600)
  const failing = (function* () {
    yield Buffer.from('half')
    throw new Error('the source broke')
  })()
  await assert.rejects(replaceFile(path, 0o600, failing), /the source broke/)
  assert.equal(await readFile(path, 'utf8'), 'new')
  assert.deepEqual(await readdir(directory), ['x'])
  await rm(directory, { recursive: true })
})

test('evidence never overwrites earlier evidence', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ringwall-files-'))
  const path = join(directory, 'x')
  await writeFileAtomic(path, 'first')
  assert.equal(await keepAside(path), `${path}.corrupt-1`)
  await writeFileAtomic(path, 'second')
  assert.equal(await keepAside(path), `${path}.corrupt-2`)
  assert.equal(await readFile(`${path}.corrupt-1`, 'utf8'), 'first')
  assert.equal(await readFile(`${path}.corrupt-2`, 'utf8'), 'second')
  await rm(directory, { recursive: true })
})
