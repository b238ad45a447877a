import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCrashes } from './crash-run.ts'

test('a ring of one, killed by SIGKILL at 20 random moments, has every transaction that it acknowledged', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ringwall-crash-'))
  const summary = await runCrashes({ directory, kills: 20, nodes: 1, random: Math.random, progress: () => {} })
  await rm(directory, { recursive: true })
  assert.deepEqual(summary.lost, [])
  assert.deepEqual(summary.problems, [])
  assert.equal(summary.restarts, 20)
  assert.ok(summary.acknowledged > 20, `only ${summary.acknowledged} were acknowledged`)
})

test('what a snapshot stands for is found again too', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ringwall-crash-'))
  const summary = await runCrashes({
    directory,
    kills: 12,
    nodes: 1,
    snapshotBlocks: 7,
    random: Math.random,
    progress: () => {},
  })
  await rm(directory, { recursive: true })
  assert.deepEqual(summary.lost, [])
  assert.deepEqual(summary.problems, [])
  assert.ok(summary.height > 7, `only ${summary.height} blocks: no snapshot`)
})

test('killed at 12 random moments while its disk is sealed, and sealed anew under another key at each start, it loses nothing either', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ringwall-crash-'))
  const summary = await runCrashes({ directory, kills: 12, nodes: 1, rekeys: true, random: Math.random, progress: () => {} })
  await rm(directory, { recursive: true })
  assert.deepEqual(summary.lost, [])
  assert.deepEqual(summary.problems, [])
  assert.equal(summary.restarts, 12)
  assert.ok(summary.acknowledged > 12, `only ${summary.acknowledged} were acknowledged`)
})
