import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort } from './free-port.ts'
import { backupLedger, restoreLedger, verifyLedgerFiles } from './ledger-files.ts'
import { readOperator, signAsOperator } from './local/operator.ts'
import { contextFile } from './local/provision.ts'
import { startProtect } from './protect.ts'
import { protectOptions } from './test-protect.ts'

test('a ledger is verified, backed up beside its running node, and restored; a changed one is refused', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-files-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const data = join(root, 'data')
  const port = await freePort()
  const start = () => startProtect(protectOptions(data, 'http://127.0.0.1:9', port))
  let node = await start()
  t.after(() => node.stop())
  const operator = readOperator(contextFile(data))
  const deny = (value: string) =>
    signAsOperator(operator, { type: 'deny.add', subject: { kind: 'ip', value }, ttlMs: 600_000, reason: 'test' })
  for (let i = 1; i <= 5; i += 1) await node.propose(deny(`203.0.113.${i}`), 5_000)

  const config = join(data, 'n1', 'node.yaml')
  const backup = join(root, 'backup')
  const saved = await backupLedger(config, backup)
  // A slow machine certifies an empty block now and then.
  assert.ok(saved.ok && saved.height >= 5, `height ${saved.height}`)
  await assert.rejects(backupLedger(config, backup), /is there already/)
  await node.propose(deny('203.0.113.6'), 5_000)
  await node.stop()

  const whole = await verifyLedgerFiles(config, undefined)
  assert.deepEqual([whole.ok, whole.problems], [true, []])
  assert.ok(whole.height > saved.height)
  const old = await verifyLedgerFiles(config, backup)
  assert.deepEqual([old.ok, old.height, old.digest], [true, saved.height, saved.digest])

  await assert.rejects(restoreLedger(config, backup), /holds a ledger; move it away first/)
  renameSync(join(data, 'n1', 'ledger'), join(root, 'away'))
  for (const [name, change] of [
    ['a byte of a block', (folder: string) => flip(join(folder, 'blocks.log'), 0.5)],
    ['a block less', (folder: string) => cut(join(folder, 'blocks.log'), 0.7)],
    ['no manifest', (folder: string) => rmSync(join(folder, 'backup.json'))],
    ['another ring', (folder: string) => edit(join(folder, 'backup.json'), saved.ring, 'ab'.repeat(32))],
    [
      'a height that is not there',
      (folder: string) => edit(join(folder, 'backup.json'), `"height": ${saved.height}`, '"height": 500'),
    ],
  ] as const) {
    const bad = join(root, name)
    cpSync(backup, bad, { recursive: true })
    change(bad)
    await assert.rejects(restoreLedger(config, bad), /nothing was changed/, name)
    assert.equal(existsSync(join(data, 'n1', 'ledger', 'blocks.log')), false)
  }

  assert.equal((await restoreLedger(config, backup)).height, saved.height)
  node = await start()
  assert.equal(node.view().height, saved.height)
  assert.ok(node.view().denials.matchAddress('203.0.113.5', Date.now()))
  assert.equal(node.view().denials.matchAddress('203.0.113.6', Date.now()), undefined)
})

test('a block that was changed is named, and what is before it can be trusted', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-files-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const data = join(root, 'data')
  const node = await startProtect(protectOptions(data, 'http://127.0.0.1:9', await freePort()))
  const operator = readOperator(contextFile(data))
  for (let i = 1; i <= 4; i += 1) {
    const subject = { kind: 'ip', value: `203.0.113.${i}` } as const
    await node.propose(signAsOperator(operator, { type: 'deny.add', subject, ttlMs: 600_000, reason: 'test' }), 5_000)
  }
  await node.stop()
  flip(join(data, 'n1', 'ledger', 'blocks.log'), 0.6)
  const report = await verifyLedgerFiles(join(data, 'n1', 'node.yaml'), undefined)
  assert.equal(report.ok, false)
  assert.ok(report.height < 4)
  assert.match(report.problems.join(), /blocks\.log is corrupt at byte \d+ \(block \d\)/)
})

function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  const index = Math.floor(bytes.length * at)
  bytes[index] = (bytes[index] as number) ^ 1
  writeFileSync(file, bytes)
}

function cut(file: string, at: number): void {
  const bytes = readFileSync(file)
  writeFileSync(file, bytes.subarray(0, Math.floor(bytes.length * at)))
}

function edit(file: string, from: string, to: string): void {
  const text = readFileSync(file, 'utf8')
  assert.ok(text.includes(from))
  writeFileSync(file, text.replace(from, to))
}
