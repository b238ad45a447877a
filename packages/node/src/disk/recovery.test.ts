import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { encodeBase64url } from '@ringwall/ring/tx'
import { encapsulate, type PublicKey } from '@ringwall/threshold'
import { wrapKey } from './local-lock.ts'
import { type HeldByOperators, makeRecovery, OperatorParts, operatorPart, RECOVERY_LOCK, recoveryKeyOf } from './recovery.ts'
import { givePart, listenForOperators, unlockSocketOf } from './unlock-socket.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-recovery-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const storageKey = randomBytes(32)
const made = makeRecovery(3, 2)

function heldBy(text: string): HeldByOperators {
  const { capsule, key } = encapsulate(recoveryKeyOf(text) as PublicKey, Buffer.from('disk'), randomBytes(32))
  return { key: text, capsule: encodeBase64url(capsule), wrapped: wrapKey(key, storageKey, RECOVERY_LOCK) }
}
const held = heldBy(made.key)
const part = (at: number) => operatorPart(made.shares[at] as string, held)

test('any two of three operators open a disk, one of them alone does not, nor twice', () => {
  for (const pair of [
    [0, 1],
    [0, 2],
    [2, 1],
  ] as const) {
    const parts = new OperatorParts(held)
    for (const at of pair) {
      assert.equal(parts.storageKey(), undefined)
      assert.equal(parts.take(part(at).index, part(at).partial), true)
    }
    assert.deepEqual(Buffer.from(parts.storageKey() as Uint8Array), storageKey)
  }
  const alone = new OperatorParts(held)
  for (let times = 0; times < 3; times += 1) alone.take(part(0).index, part(0).partial)
  assert.deepEqual([alone.missing, alone.storageKey()], [1, undefined])
})

test('a part of another disk, another key or another operator is not taken', () => {
  const parts = new OperatorParts(held)
  const otherDisk = operatorPart(made.shares[0] as string, heldBy(made.key))
  assert.equal(parts.take(otherDisk.index, otherDisk.partial), false)
  assert.equal(parts.take(2, part(0).partial), false)
  assert.equal(parts.take(1, 'AAAA'), false)
  assert.throws(() => operatorPart(makeRecovery(3, 2).shares[0] as string, held), { code: 'DISK_LOCKED' })
  assert.throws(() => operatorPart('garbage', held), { code: 'DISK_LOCKED' })
})

test('a recovery key takes two operators at least, and says what is wrong otherwise', () => {
  for (const [operators, needed] of [
    [1, 1],
    [3, 1],
    [2, 3],
    [17, 2],
    [2.5, 2],
  ] as const)
    assert.throws(() => makeRecovery(operators, needed), { code: 'CONFIG_INVALID' })
  assert.equal(recoveryKeyOf('garbage'), undefined)
})

test('a node that waits takes the parts over a socket of its own, and nothing else', {
  skip: process.platform === 'win32',
}, async () => {
  const socket = listenForOperators(folder, held, assert.fail)
  await new Promise((settle) => setTimeout(settle, 50))
  assert.equal(statSync(unlockSocketOf(folder)).mode & 0o777, 0o600)
  for (const bad of ['garbage\n', '{}\n', `${'x'.repeat(10_000)}`]) {
    const caller = connect(unlockSocketOf(folder))
    caller.on('error', () => {})
    caller.write(bad)
    const answer = await new Promise<string>((settle) => {
      let text = ''
      caller.on('data', (chunk: Buffer) => (text += chunk.toString()))
      caller.once('close', () => settle(text))
    })
    assert.ok(answer === '' || JSON.parse(answer).taken === false, answer)
  }
  await assert.rejects(givePart(folder, { index: 2, partial: part(0).partial }), /did not take/)
  assert.deepEqual(await givePart(folder, part(0)), { missing: 1 })
  assert.deepEqual(await givePart(folder, part(2)), { missing: 0 })
  assert.deepEqual(Buffer.from(await socket.opened), storageKey)
  socket.close()
  await assert.rejects(givePart(folder, part(1)), { code: 'DISK_LOCKED', message: /no node waits/ })
})
