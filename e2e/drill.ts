/** `npm run e2e:drill`: `ringwall drill restore` of a ring whose disks the ring itself opens: the operators' shares open images and disks. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DrillReport } from '../packages/cli/src/commands/drill.ts'
import { CLI, NODE_FLAGS, TestRing } from './local-ring.ts'
import { sealByRing } from './sealed-disk-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-drill-scene-'))
const ring = await TestRing.start({ extra: ['--seal', 'ring'] })

function good(...args: readonly string[]): string {
  const run = ring.cliAlone(...args)
  assert.equal(run.code, 0, run.stderr)
  return run.stdout.trim()
}

try {
  const shares = join(folder, 'shares')
  const key = good('node', 'recovery', '--operators', '3', '--needed', '2', '--directory', shares)
  await sealByRing(ring, key)
  for (const node of ['n1', 'n2', 'n3', 'n4'])
    good('recovery', 'backup', '--config', join(ring.data, node, 'node.yaml'), '--key', key, '--to', join(folder, node))
  const given = [1, 3].flatMap((share) => ['--share', join(shares, `share-${share}`)])
  const context = ['--context', join(ring.data, 'operator.json')]
  const args = [...NODE_FLAGS, CLI, 'drill', 'restore', '--images', folder, ...given, ...context, '-o', 'json']
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 290_000 })
  if (/namespace/.test(stderr)) console.log(`skipped: ${stderr.trim()}`)
  else {
    assert.equal(stderr, '')
    const { restored, rtoMs, rpoMs, lostTransactions, problems } = JSON.parse(stdout) as DrillReport
    assert.equal(restored?.nodes, 4)
    assert.ok((restored?.height ?? 0) > (restored?.imageHeight ?? 0))
    const times = `back in ${((rtoMs ?? 0) / 1_000).toFixed(1)} s, ${(rpoMs / 1_000).toFixed(1)} s and ${lostTransactions} transactions lost`
    console.log(`four disks that the ring opens, by two of three operators: ${times}; ${problems.join('; ') || 'good'}`)
  }
} finally {
  await ring.destroy()
  rmSync(folder, { recursive: true, force: true })
}
