import assert from 'node:assert/strict'
import { sign } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, rmdir, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type Block,
  type Certificate,
  type Digest,
  genesisBlock,
  makeBlock,
  signingBytes,
  verifyCertificate,
} from '@ringwall/consensus'
import { openLog } from '@ringwall/store'
import { type BlockRecord, encodeBlockRecord, parseBlockRecord, proves } from './block-record.ts'
import { Chain } from './chain.ts'
import { FIRST_START_FILE } from './marks.ts'
import { encodePayload } from './payload.ts'
import { ed25519Scheme } from './scheme.ts'
import { encodeStatus } from './sync-codec.ts'
import { changingWords, TestRing, until, type Words, word } from './test-ring.ts'
import type { Genesis, Ledger } from './types.ts'
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

test('a node that follows passes transactions on, keeps what is agreed, and says of itself that it has no vote', () =>
  ringOf(4, 1, async (ring) => {
    await ring.openAll()
    const edge = await openNew(ring, 'n5')
    await edge.submit(word('from-the-edge'), 60_000)
    const { role, votes, quorum, validators } = edge.status()
    assert.deepEqual({ role, votes, quorum, validators }, { role: 'follower', votes: false, quorum: 3, validators: 4 })
    await ring.kill('n5')
    const again = await ring.open('n5')
    assert.ok(has(again, 'from-the-edge'))
    assert.deepEqual(again.status().repairs, [])
    await ring.ledgers.get('n2')?.submit(word('later'), 60_000)
    await until('it has that too', () => has(again, 'later'))
  }))

/** Two validators, of which n1 was alone before: what lies in its folder after the hand-over. */
async function handedOver(ring: TestRing): Promise<{ readonly blocks: string; readonly old: string; readonly next: string }> {
  const paths = { blocks: 'blocks.log', old: 'votes.log', next: 'votes-1.log' }
  const [blocks, old, next] = Object.values(paths).map((name) => join(ring.directory('n1'), name)) as [string, string, string]
  const first = await ring.open('n1')
  await openNew(ring, 'n2')
  await first.submit(word('one'), 60_000)
  const kept = `${old}.kept`
  await copyFile(old, kept)
  await first.submit(word('plus-n2'), 60_000)
  await ring.kill('n1')
  await ring.kill('n2')
  await copyFile(kept, old)
  await unlink(kept)
  return { blocks, old, next }
}

test('a crash after the next journal was made and before its epoch began leaves a validator of the old one', () =>
  ringOf(1, 1, async (ring) => {
    const { blocks, next } = await handedOver(ring)
    await unlink(next)
    await (await openLog(next)).close()
    const log = await openLog(blocks)
    await log.truncate(1)
    await log.close()
    const first = await ring.open('n1')
    assert.deepEqual([first.status().epoch, first.status().votes, first.status().repairs], [0, true, []])
    await first.submit(word('plus-n2'), 60_000)
    assert.equal(first.status().epoch, 1)
    await ring.open('n2')
    await first.submit(word('both'), 60_000)
    await until('the old journal is gone', () => !existsSync(join(ring.directory('n1'), 'votes.log')))
  }))

test('a crash after an epoch began and before the old journal went leaves a validator of the new one', () =>
  ringOf(1, 1, async (ring) => {
    const { old } = await handedOver(ring)
    const first = await ring.open('n1')
    assert.deepEqual([first.status().epoch, first.status().votes, first.status().repairs], [1, true, []])
    assert.ok(!existsSync(old))
    await ring.open('n2')
    await first.submit(word('both'), 60_000)
  }))

test('a validator without the journal of its epoch has forgotten, and is silent, also after another restart', () =>
  ringOf(1, 1, async (ring) => {
    const { next } = await handedOver(ring)
    await unlink(next)
    assert.equal((await ring.open('n1')).status().votes, false)
    await ring.kill('n1')
    assert.equal((await ring.open('n1')).status().votes, false)
  }))

test('a boundary passed off as an ordinary block, and an ordinary one as a boundary, are found by the offline check', () =>
  ringOf(1, 1, async (ring) => {
    const { blocks } = await handedOver(ring)
    const records: Uint8Array[] = []
    const log = await openLog(blocks, { onRecord: (payload) => void records.push(Uint8Array.from(payload)) })
    const change = (at: number, changed: (record: BlockRecord) => BlockRecord) =>
      log.replaceWith(records.map((bytes, i) => (i === at ? encodeBlockRecord(changed(parseBlockRecord(bytes))) : bytes)))
    const boundary = records.findIndex((bytes) => parseBlockRecord(bytes).closing !== undefined)
    assert.ok(boundary > 0)
    assert.deepEqual((await verdictOf(ring, 'n1')).problems, [])
    await change(0, (record) => ({ ...record, closing: [] }))
    assert.match((await verdictOf(ring, 'n1')).problems.join(), /passed off as the end of an epoch/)
    await change(boundary, ({ block, certificate }) => ({ block, certificate }))
    assert.match((await verdictOf(ring, 'n1')).problems.join(), /passed off as an ordinary block/)
    await log.close()
  }))

test('closing blocks have no transactions, follow one another, and end where the certificate is', async () => {
  const at = (parent: Block, txs: readonly Uint8Array[] = []): Block =>
    makeBlock({
      round: parent.round + 1,
      height: parent.height + 1,
      parent: parent.digest,
      proposer: 0,
      timestampMs: parent.timestampMs + 1,
      payload: encodePayload({ root: '00'.repeat(32), txs }),
    })
  const boundary = at(genesisBlock('ring'))
  const [one, other] = [at(boundary), at(boundary, [word('late')])]
  const two = at(one)
  const finalize = ({ round, digest }: Block): Certificate => ({ kind: 'finalize', round, digest, signatures: [] })
  const cases: readonly (readonly [string, BlockRecord, boolean])[] = [
    ['certified itself', { block: boundary, certificate: finalize(boundary), closing: [] }, true],
    ['through two', { block: boundary, certificate: finalize(two), closing: [one, two] }, true],
    ['the certificate of another', { block: boundary, certificate: finalize(two), closing: [one] }, false],
    ['with transactions', { block: boundary, certificate: finalize(other), closing: [other] }, false],
    ['with a gap', { block: boundary, certificate: finalize(two), closing: [two] }, false],
    ['not final', { block: boundary, certificate: { ...finalize(one), kind: 'notarize' }, closing: [one] }, false],
  ]
  for (const [name, record, good] of cases) {
    assert.equal(proves(record), good, name)
    assert.deepEqual(encodeBlockRecord(parseBlockRecord(encodeBlockRecord(record))), encodeBlockRecord(record))
  }
})

test('a block with transactions after one that changes the validators is invalid, and one that does not say so too', () => {
  const ring: Genesis = { ring: 'ab'.repeat(32), validators: [{ id: 'n1', publicKey: new Uint8Array(32) }] }
  const application = changingWords(ring, () => new Uint8Array(32).fill(1))
  const base = genesisBlock(ring.ring)
  const tip = { block: base, txs: [], results: [], state: application.initial() }
  const chain = new Chain(application, { nameOf: () => 'n1' }, tip)
  const context = { height: 1, timestampMs: 10, proposer: 'n1' }
  const child = (parent: Block, payload: Uint8Array, timestampMs: number): Block =>
    makeBlock({ round: parent.round + 1, height: parent.height + 1, parent: parent.digest, proposer: 0, timestampMs, payload })
  const boundary = child(base, chain.compose(tip, [word('plus-n2')], context) as Uint8Array, 10)
  const { root } = tip.state
  const silent = child(base, encodePayload({ root, txs: [word('plus-n2')] }), 11)
  const lying = child(base, encodePayload({ root, next: ring.validators, txs: [word('word')] }), 12)
  for (const block of [boundary, silent, lying]) chain.learn(block)
  assert.equal(chain.execute(silent.digest).kind, 'invalid')
  assert.equal(chain.execute(lying.digest).kind, 'invalid')
  const ended = chain.execute(boundary.digest)
  assert.ok(ended.kind === 'executed' && chain.ends(ended.executed))
  const after = application.root(ended.executed.state)
  const late = child(boundary, encodePayload({ root: after, txs: [word('late')] }), 20)
  const closing = child(boundary, encodePayload({ root: after, txs: [] }), 21)
  for (const block of [late, closing]) chain.learn(block)
  assert.equal(chain.execute(late.digest).kind, 'invalid')
  assert.equal(chain.execute(closing.digest).kind, 'executed')
  const begun = chain.advance(boundary)
  assert.ok(typeof begun !== 'string' && !chain.ends(begun))
  assert.equal(chain.execute(closing.digest).kind, 'unknown')
})

test('validators that die before their first block, and come back, are none that forgot', () =>
  ringOf(4, 0, async (ring) => {
    for (const id of ring.ids.slice(0, 2)) {
      await openNew(ring, id)
      await ring.kill(id)
    }
    const [first] = await ring.openAll()
    await first!.submit(word('hello'), 60_000)
    for (const id of ['n1', 'n2']) assert.ok(ring.ledgers.get(id)?.status().votes)
  }))

test('the block that begins an epoch is not on disk as long as the epoch’s journal is not', () =>
  ringOf(1, 1, async (ring) => {
    const first = await ring.open('n1')
    await openNew(ring, 'n2')
    await first.submit(word('one'), 60_000)
    // Where the journal shall be, something else is.
    const obstacle = join(ring.directory('n1'), 'votes-1.log')
    await mkdir(obstacle)
    await assert.rejects(first.submit(word('plus-n2'), 60_000), { code: 'LEDGER_HALTED' })
    await ring.kill('n1')
    await rmdir(obstacle)
    const again = await ring.open('n1')
    const { epoch, votes, height } = again.status()
    assert.deepEqual({ epoch, votes, height }, { epoch: 0, votes: true, height: 1 })
    await again.submit(word('plus-n2'), 60_000).catch((error: Error) => assert.match(error.message, /WORD_KNOWN|THERE/))
    await until('the hand-over is done after all', () => again.status().epoch === 1)
    await again.submit(word('both'), 60_000)
  }))

test('what is signed in an epoch is no vote in another, and a set that was in office is believed about its own time alone', () =>
  ringOf(4, 1, async (ring) => {
    const ledgers = await ring.openAll()
    const [first] = ledgers
    await openNew(ring, 'n5')
    await first!.submit(word('plus-n5'), 60_000)
    const { height } = await first!.submit(word('later'), 60_000)
    const { certificate } = (await first!.block(height))!
    const keys = ed25519Scheme(first!.validatorsAt(height), undefined)
    const holds = (domain: string) => verifyCertificate({ ring: domain, validators: 5 }, keys, certificate)
    assert.deepEqual([holds(`${ring.genesis.ring}/1`), holds(ring.genesis.ring)], [true, false])

    // The first four have lost their keys since: they sign another history, of heights after their time.
    await until('all are equally far', () => new Set(ledgers.map((ledger) => ledger.status().digest)).size === 1)
    const tip = first!.status()
    const forged = 'ff'.repeat(32) as Digest
    const message = signingBytes('finalize', ring.genesis.ring, 99, forged)
    const signatures = [0, 1, 2, 3].map((signer) => ({
      signer,
      signature: sign(null, message, ring.privateKey(`n${signer + 1}`)),
    }))
    const lie = { kind: 'finalize' as const, round: 99, digest: forged, signatures }
    await ring.kill('n4')
    const liar = ring.network.join('n4')
    liar.onRequest('sync', async () =>
      encodeStatus({ epoch: 0, height: tip.height, digest: forged, certificate: lie, closing: [] }),
    )
    await until('it was heard and refused', () => ring.lines.some((line) => /n1 warn n4 sent what no honest/.test(line)))
    assert.equal(first!.status().halted, undefined)
    await first!.submit(word('goes-on'), 60_000)
  }))
