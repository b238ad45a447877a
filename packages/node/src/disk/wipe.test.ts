import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { eraseNode } from './wipe.ts'

test('a wipe erases all that a node writes, its key file and its audit log, counts them, and can be done again', async () => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-wipe-'))
  const audit = mkdtempSync(join(tmpdir(), 'ringwall-wipe-audit-'))
  try {
    const written = [
      'disk.json',
      'peers.json',
      'pass-keys',
      'logins.bin',
      'incidents.findings',
      'incidents.closings',
      'incidents.assignments',
      'insiders.bin',
      'anomalies.bin',
      'usual.bin',
      'anomalies.bin.unread',
      'insiders.bin.0123456789ab.tmp',
      'usual.bin.corrupt-1',
      'signal-streams',
      'taxii/feed/state.json',
      'model/1.weights',
      'keys/share.sealed',
      'keys/sealing/share.sealed',
      'traces/key',
      'traces/telemetry.db-wal',
      'ledger/blocks.log',
      'vault/openings.log',
      'acme/www.pem',
      'rules/a.rules',
    ]
    for (const name of [...written, 'node.yaml', 'node.key']) {
      mkdirSync(join(data, name, '..'), { recursive: true })
      writeFileSync(join(data, name), 'twelve bytes')
    }
    writeFileSync(join(audit, 'audit.log'), 'x')
    const erased = await eraseNode(data, join(data, 'node.key'), [join(audit, 'audit.log')])
    assert.deepEqual(erased, { files: written.length + 2, bytes: 12 * (written.length + 1) + 1 })
    assert.deepEqual(readdirSync(data), ['node.yaml'])
    assert.equal(existsSync(join(audit, 'audit.log')), false)
    assert.deepEqual(await eraseNode(data, join(data, 'node.key')), { files: 0, bytes: 0 })
  } finally {
    rmSync(data, { recursive: true })
    rmSync(audit, { recursive: true })
  }
})
