import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FIRST_START_FILE } from './marks.ts'
import { TestRing, until, type Words, word } from './test-ring.ts'
import type { Ledger } from './types.ts'
import { verifyLedgerDirectory } from './verify-directory.ts'

const has = (ledger: Ledger<Words> | undefined, value: string) => ledger?.state().words.has(value) === true

const ringOf = async (size: number, more: number, run: (ring: TestRing) => Promise<void>) => {
  const ring = await TestRing.create(size, more)
  try {
    await run(ring)
  } finally {
    await ring.close()
  }
}

/** As whoever makes a node does: its folder says that it never spoke. */
async function openNew(ring: TestRing, id: string): Promise<Ledger<Words>> {
  await mkdir(ring.directory(id), { recursive: true })
  await writeFile(join(ring.directory(id), FIRST_START_FILE), '')
  return ring.open(id)
}

const all = (ring: TestRing, holds: (ledger: Ledger<Words>) => boolean) => [...ring.ledgers.values()].every(holds)

const verdictOf = (ring: TestRing, id: string) =>
  verifyLedgerDirectory({ directory: ring.directory(id), application: ring.application, genesis: ring.genesis })

test('a ring of one grows to four, and shrinks again, with transactions all the while', () =>
  ringOf(1, 3, async (ring) => {
    const first = await ring.open('n1')
    await first.submit(word('alone'), 60_000)
    for (const [i, id] of ['n2', 'n3', 'n4'].entries()) {
      const joined = await openNew(ring, id)
      await until('it follows', () => has(joined, 'alone'))
      assert.equal(joined.status().role, 'follower')
      await first.submit(word(`plus-${id}`), 60_000)
      await until('all are in the epoch', () => all(ring, (ledger) => ledger.status().epoch === i + 1))
      assert.equal(joined.status().role, 'validator')
      await joined.submit(word(`by-${id}`), 60_000)
    }
    assert.deepEqual(first.status().quorum, 3)
    await first.submit(word('minus-n1'), 60_000)
    await until('it is a follower', () => first.status().role === 'follower')
    await first.submit(word('still-heard'), 60_000)
    await until('all have it', () => all(ring, (ledger) => has(ledger, 'still-heard')))
    for (const id of ['n1', 'n4']) {
      const { ok, problems, height } = await verdictOf(ring, id)
      assert.deepEqual(problems, [])
      assert.ok(ok && height > 0)
    }
  }))

test('validators that are away while the set changes twice come back into the newest epoch, also after a restart', () =>
  ringOf(4, 2, async (ring) => {
    const [first] = await ring.openAll()
    await first!.submit(word('before'), 60_000)
    await openNew(ring, 'n5')
    await ring.kill('n4')
    await first!.submit(word('plus-n5'), 60_000)
    await openNew(ring, 'n6')
    await first!.submit(word('minus-n2'), 60_000)
    await first!.submit(word('plus-n6'), 60_000)
    const back = await ring.open('n4')
    await until('all are in the newest epoch', () => all(ring, (ledger) => ledger.status().epoch === 3))
    assert.equal(back.status().role, 'validator')
    assert.equal(ring.ledgers.get('n2')?.status().role, 'follower')
    await ring.kill('n1')
    await back.submit(word('without-n1'), 60_000)
    for (const id of ['n5', 'n6']) {
      await ring.kill(id)
      const again = await ring.open(id)
      assert.equal(again.status().epoch, 3)
      assert.deepEqual(again.status().repairs, [])
      assert.ok(again.status().votes)
    }
    await back.submit(word('after'), 60_000)
    await until('all have it', () => all(ring, (ledger) => has(ledger, 'after')))
  }))

test('a node that joins late learns of all epochs from the genesis on, from blocks or from a snapshot', () =>
  ringOf(1, 2, async (ring) => {
    const few = { snapshotBlocks: 10, keepBlocks: 5 }
    const first = await ring.open('n1', few)
    await openNew(ring, 'n2')
    await first.submit(word('plus-n2'), 60_000)
    await first.submit(word('minus-n2'), 60_000)
    for (let i = 0; i < 40; i++) await first.submit(word(`w${i}`), 60_000)
    await until('old blocks are gone', () => first.status().firstHeight > 5)
    const late = await openNew(ring, 'n3')
    await until('it has all', () => has(late, 'w39'))
    assert.equal(late.status().epoch, 2)
    assert.ok(late.status().firstHeight > 3)
    await ring.kill('n3')
    const again = await ring.open('n3')
    assert.deepEqual(again.status().repairs, [])
    assert.equal(again.status().epoch, 2)
    assert.deepEqual((await verdictOf(ring, 'n3')).problems, [])
    await ring.kill('n1')
    assert.deepEqual((await ring.open('n1', few)).status().epoch, 2)
    await again.submit(word('plus-n3'), 60_000)
    await until('it votes', () => again.status().role === 'validator')
    await again.submit(word('end'), 60_000)
  }))
