/** Real processes, killed by SIGKILL while validators hand over to one another. Longer runs: `npm run e2e:crash -- --nodes 4 --spares 2`. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCrashes } from '../packages/ledger/src/crash-run.ts'

test('validators join and leave while nodes are killed at random moments: what was acknowledged is there, and one history', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ringwall-hand-over-'))
  const summary = await runCrashes({ directory, kills: 8, nodes: 4, spares: 2, random: Math.random, progress: () => {} })
  assert.deepEqual(summary.lost, [])
  assert.deepEqual(summary.problems, [])
  assert.equal(summary.restarts, 8)
  assert.ok(summary.changes > 0, 'nobody joined or left')
  await rm(directory, { recursive: true })
})
