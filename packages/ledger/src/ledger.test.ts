import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { decodeMessage, encodeMessage } from '@ringwall/consensus'
import { LedgerError } from './errors.ts'
import { FIRST_START_FILE } from './marks.ts'
import { isSnapshotName } from './snapshot-file.ts'
import { encodeTransactions } from './spread.ts'
import { encodeRequest } from './sync-codec.ts'
import { TestRing, until, type Words, word } from './test-ring.ts'
import type { FinalBlock, Ledger } from './types.ts'
import { verifyLedgerDirectory } from './verify-directory.ts'

const withCode = (code: string) => (error: unknown) => {
  assert.ok(error instanceof LedgerError, String(error))
  assert.equal(error.code, code)
  return true
}

const ringOf = async (size: number, run: (ring: TestRing) => Promise<void>) => {
  const ring = await TestRing.create(size)
  try {
    await run(ring)
  } finally {
    await ring.close()
  }
}

const has = (ledger: Ledger<{ readonly words: ReadonlySet<string> }> | undefined, value: string) =>
  ledger?.state().words.has(value) === true

const ledgerOf = (ring: TestRing, id: string) => {
  const ledger = ring.ledgers.get(id)
  assert.ok(ledger, id)
  return ledger
}

const verdictOf = (ring: TestRing, id: string) =>
  verifyLedgerDirectory({ directory: ring.directory(id), application: ring.application, genesis: ring.genesis })

test('a ring of one commits alone, in order, and a handler has met the block when the submitter hears of it', () =>
  ringOf(1, async (ring) => {
    const ledger = await ring.open('n1')
    const met: FinalBlock<unknown>[] = []
    ledger.onBlock((block) => met.push(block))
    const committed = await ledger.submit(word('hello'), 60_000)
    assert.equal(committed.id, 'hello')
    assert.equal(committed.height, 1)
    assert.ok(met.some(({ block, results }) => block.digest === committed.digest && results[0]?.id === 'hello'))
    assert.ok(has(ledger, 'hello'))
    const all = await Promise.all(['a', 'b', 'c', 'd'].map((value) => ledger.submit(word(value), 60_000)))
    assert.ok(all.every(({ height }) => height > 1))
    const { height, digest, root, quorum, reachable, lag } = ledger.status()
    assert.equal(height, met.at(-1)?.block.height)
    assert.deepEqual({ quorum, reachable, lag }, { quorum: 1, reachable: ['n1'], lag: 0 })
    assert.deepEqual(
      met.map(({ block }) => block.height),
      met.map((_, i) => i + 1),
    )
    const first = await ledger.block(1)
    assert.deepEqual(
      first?.txs.map((tx) => Buffer.from(tx).toString()),
      ['hello'],
    )
    assert.equal(await ledger.block(height + 1), undefined)
    assert.equal(await ledger.block(0), undefined)
    assert.equal(digest.length, 64)
    assert.equal(root, ledger.state().root)
  }))

test('a restart resumes the same ledger, and a transaction submitted again has the answer that it had', () =>
  ringOf(1, async (ring) => {
    const ledger = await ring.open('n1')
    const first = await ledger.submit(word('one'), 60_000)
    assert.deepEqual({ ...(await ledger.submit(word('one'), 60_000)), elapsedMs: 0 }, { ...first, elapsedMs: 0 })
    const [twin, other] = await Promise.all([ledger.submit(word('two'), 60_000), ledger.submit(word('two'), 5000)])
    assert.equal(twin.digest, other.digest)
    const before = ledger.status()
    await ring.kill('n1')
    await assert.rejects(ledger.submit(word('late'), 1000), withCode('LEDGER_STOPPED'))
    const again = await ring.open('n1')
    const after = again.status()
    assert.equal(after.digest, before.digest)
    assert.equal(after.height, before.height)
    assert.equal(after.root, before.root)
    assert.deepEqual(after.repairs, [])
    assert.equal((await again.submit(word('one'), 60_000)).digest, first.digest)
    assert.equal((await again.submit(word('three'), 60_000)).height, before.height + 1)
  }))

test('what the application refuses is refused with its words, and nothing is ordered', () =>
  ringOf(1, async (ring) => {
    const ledger = await ring.open('n1')
    await assert.rejects(ledger.submit(word('NO!'), 60_000), (error) => {
      assert.ok(error instanceof LedgerError)
      assert.deepEqual(error.refusal, { code: 'WORD_FORM', reason: 'not a word' })
      return withCode('TX_REFUSED')(error)
    })
    await assert.rejects(ledger.submit(new Uint8Array(0), 5000), withCode('TX_REFUSED'))
    await assert.rejects(ledger.submit(new Uint8Array(1024 * 1024), 5000), withCode('TX_REFUSED'))
    assert.equal(ledger.status().height, 0)
  }))

test('a directory in use is refused naming the process, and one of another ring, or another key, is refused', async () => {
  const ring = await TestRing.create(1)
  const other = await TestRing.create(1)
  try {
    const ledger = await ring.open('n1')
    await ledger.submit(word('mine'), 60_000)
    await assert.rejects(ring.open('n1'), { code: 'STORE_LOCKED', pid: process.pid })
    await ring.kill('n1')
    await assert.rejects(other.open('n1', { directory: ring.directory('n1') }), withCode('LEDGER_WRONG_RING'))
    const { privateKey } = generateKeyPairSync('ed25519')
    await assert.rejects(ring.open('n1', { privateKey }), withCode('LEDGER_CONFIG'))
    assert.ok(has(await ring.open('n1'), 'mine'))
  } finally {
    await ring.close()
    await other.close()
  }
})

test('a ring of one with a corrupt block refuses to start, changes nothing, and says where and what to do', () =>
  ringOf(1, async (ring) => {
    const ledger = await ring.open('n1')
    for (const value of ['one', 'two', 'three']) await ledger.submit(word(value), 60_000)
    await ring.kill('n1')
    const path = join(ring.directory('n1'), 'blocks.log')
    const bad = await readFile(path)
    bad[Math.floor(bad.length / 2)]! ^= 4
    await writeFile(path, bad)
    for (const _ of [1, 2]) {
      await assert.rejects(ring.open('n1'), (error) => {
        assert.match((error as Error).message, /blocks\.log is corrupt at byte \d+ .*backup/)
        return withCode('LEDGER_CORRUPT')(error)
      })
    }
    assert.deepEqual(await readFile(path), bad)
    assert.equal((await verdictOf(ring, 'n1')).ok, false)
    const rescued = await ring.open('n1', { onCorrupt: 'keep-prefix' })
    assert.ok(has(rescued, 'one') && !has(rescued, 'three'))
    assert.match(rescued.status().repairs.join(), /corrupt-1/)
    assert.deepEqual(await readFile(`${path}.corrupt-1`), bad)
    await rescued.submit(word('three'), 60_000)
    await ring.kill('n1')
    assert.equal((await verdictOf(ring, 'n1')).ok, true)
  }))

test('four nodes agree on one history, and all of it verifies offline', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    const values = Array.from({ length: 24 }, (_, i) => `word-${i}`)
    await Promise.all(values.map((value, i) => ledgers[i % 4]!.submit(word(value), 60_000)))
    await until('all have all', () => ledgers.every((ledger) => values.every((value) => has(ledger, value))))
    assert.deepEqual(held(ring), [])
    await until('all are equally far', () => new Set(ledgers.map((ledger) => ledger.status().digest)).size === 1)
    assert.equal(new Set(ledgers.map((ledger) => ledger.status().root)).size, 1)
    await until('all hear all', () => ledgers.every((ledger) => ledger.status().reachable.length === 4))
    const { height, digest } = ledgers[0]!.status()
    for (const id of ring.ids) {
      await ring.kill(id)
      const verdict = await verdictOf(ring, id)
      assert.deepEqual([verdict.ok, verdict.firstHeight, verdict.problems], [true, 1, []])
      // An empty block may have become final since.
      assert.ok(verdict.height > height || (verdict.height === height && verdict.digest === digest))
      assert.ok(verdict.certificates > 0)
    }
  }))

/** Of honest nodes, whatever befalls them: too much or too late at the most. */
const held = (ring: TestRing) => ring.faults.filter(({ kind, isMuted }) => kind !== 'excess' || isMuted)

test('with one of four gone the ring goes on; with two it says who is missing; when one is back it commits what waited', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    const [first] = ledgers
    await first!.submit(word('four'), 60_000)
    await ring.kill('n4')
    await first!.submit(word('three'), 60_000)
    await ring.kill('n3')
    await assert.rejects(first!.submit(word('two'), 700), (error) => {
      assert.ok(error instanceof LedgerError)
      assert.deepEqual([...error.missing].sort(), ['n3', 'n4'])
      assert.match(error.message, /2 of 4 .* 3 must agree; missing: n3, n4/)
      return withCode('NO_QUORUM')(error)
    })
    assert.equal(first!.status().mempool, 1)
    const back = await ring.open('n3')
    await until('what waited is committed', () => has(first, 'two'))
    await until('the one that was away has it too', () => has(back, 'two') && has(back, 'three'))
    assert.equal((await first!.submit(word('two'), 1000)).id, 'two')
    assert.deepEqual(held(ring), [])
  }))

test('a node that was away for longer than its peers remember votes catches up alone, and takes part again', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    await ledgers[1]!.submit(word('here'), 60_000)
    await ring.kill('n2')
    for (let i = 0; i < 40; i++) await ledgers[0]!.submit(word(`w${i}`), 60_000)
    const back = await ring.open('n2')
    await until('it is as far as the others', () => has(back, 'w39') && back.status().lag === 0)
    await ring.kill('n4')
    await back.submit(word('again'), 60_000)
    assert.ok(has(back, 'again'))
    assert.deepEqual(held(ring), [])
  }))

test('a node whose block file rotted keeps the good part, fetches the rest from its peers, and says what it found', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    for (let i = 0; i < 6; i++) await ledgers[0]!.submit(word(`w${i}`), 60_000)
    await until('n3 has all', () => has(ledgers[2], 'w5'))
    await ring.kill('n3')
    const path = join(ring.directory('n3'), 'blocks.log')
    const bad = await readFile(path)
    bad[Math.floor(bad.length / 2)]! ^= 1
    await writeFile(path, bad)
    let votes = 0
    ring.network.tamper = (from, _to, channel, payload) => {
      if (from === 'n3' && channel === 'consensus' && payload[0] === 0 && decodeMessage(payload.subarray(5)).kind === 'vote')
        votes++
      return payload
    }
    const back = await ring.open('n3')
    assert.match(back.status().repairs.join(), /blocks\.log at byte \d+ .*corrupt.*kept at/)
    assert.ok(ring.lines.some((line) => line.startsWith('n3 warn') && line.includes('corrupt')))
    assert.deepEqual(await readFile(`${path}.corrupt-1`), bad)
    await until('it has all again', () => has(back, 'w5'))
    await until('and the same root', () => back.status().root === ledgers[0]!.status().root)
    await ledgers[0]!.submit(word('more'), 60_000)
    await until('it follows', () => has(back, 'more'))
    assert.equal(votes, 0, 'it does not know all that it signed, so it signs nothing for now')
    await ring.kill('n3')
    assert.equal((await verdictOf(ring, 'n3')).ok, true)
    assert.ok((await readdir(ring.directory('n3'))).includes('blocks.log.corrupt-1'))
  }))

test('a validator that lost its whole folder says nothing until the ring has gone on without it', () =>
  ringOf(4, async (ring) => {
    for (const id of ring.ids) await ring.open(id)
    await ledgerOf(ring, 'n1').submit(word('before'), 60_000)
    await ring.kill('n4')
    await rm(ring.directory('n4'), { recursive: true })
    const spoken: number[] = []
    const { tamper } = ring.network
    ring.network.tamper = (from, to, channel, payload) => {
      if (from === 'n4' && channel === 'consensus' && payload[0] === 0) {
        const message = decodeMessage(payload.subarray(5))
        if (message.kind === 'vote') spoken.push(message.vote.round)
      }
      return tamper(from, to, channel, payload)
    }
    const back = await ring.open('n4')
    await until('it knows that the ring is not new', () => ring.lines.some((line) => /n4 warn .*folder was empty/.test(line)))
    await until('it has caught up', () => has(back, 'before'))
    await ledgerOf(ring, 'n2').submit(word('meanwhile'), 60_000)
    assert.equal(back.status().votes, false)
    assert.deepEqual(spoken, [])
    for (let i = 0; !back.status().votes && i < 60; i += 1) {
      await ledgerOf(ring, 'n1').submit(word(`go-on-${i}`), 60_000)
      await new Promise((wake) => setTimeout(wake, 250))
    }
    await ledgerOf(ring, 'n1').submit(word('after'), 60_000)
    await until('it votes again', () => spoken.length > 0)
  }))

test('a new ring whose folders are all empty starts at once; a mark of the first start is used up', () =>
  ringOf(4, async (ring) => {
    await mkdir(ring.directory('n1'), { recursive: true })
    await writeFile(join(ring.directory('n1'), FIRST_START_FILE), '')
    // Together: who comes when the others have agreed on a block already has no way to know that it is not one that forgot.
    await Promise.all(ring.ids.map((id) => ring.open(id)))
    await ledgerOf(ring, 'n3').submit(word('first'), 60_000)
    await until('all vote', () => ring.ids.every((id) => ledgerOf(ring, id).status().votes))
    assert.equal((await readdir(ring.directory('n1'))).includes(FIRST_START_FILE), false)
  }))

test('messages lost and late delay the ring and do not stop it', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    ring.network.loss = 0.1
    ring.network.delayMs = 2
    const values = Array.from({ length: 12 }, (_, i) => `word-${i}`)
    await Promise.all(values.map((value, i) => ledgers[i % 4]!.submit(word(value), 30_000)))
    ring.network.loss = 0
    await until('all have all', () => ledgers.every((ledger) => values.every((value) => has(ledger, value))))
  }))

test('a transaction that comes again has its answer again, also where the application would take it twice', () =>
  ringOf(1, async (ring) => {
    const application = {
      ...ring.application,
      check: (_state: Words, tx: Uint8Array) => ({ ok: true, id: Buffer.from(tx).toString() }) as const,
    }
    const ledger = await ring.open('n1', { application })
    const { height } = await ledger.submit(word('once'), 60_000)
    assert.equal((await ledger.submit(word('once'), 60_000)).height, height)
    assert.equal(ledger.status().height, height)
    assert.equal(ledger.status().mempool, 0)
    await ring.kill('n1')
    const again = await ring.open('n1', { application })
    assert.equal((await again.submit(word('once'), 60_000)).height, height)
  }))

test('what ended a round is told to each peer once, however many votes come late; again over a link that was cut', () =>
  ringOf(4, async (ring) => {
    const told = new Map<string, number>()
    ring.network.tamper = (from, to, channel, payload) => {
      // The voter's, and a certificate.
      if (channel !== 'consensus' || payload[0] !== 0 || payload[5] !== 3) return payload
      const name = `${from} ${to} ${Buffer.from(payload).toString('base64')}`
      told.set(name, (told.get(name) ?? 0) + 1)
      return payload
    }
    // Long rounds: what is said again when one runs out is another matter.
    const ledgers = await Promise.all(ring.ids.map((id) => ring.open(id, { roundMs: 20_000 })))
    for (let i = 0; i < 12; i++) await ledgers[i % 4]!.submit(word(`word-${i}`), 60_000)
    assert.ok(told.size > 12)
    assert.deepEqual(
      [...told].filter(([, count]) => count > 1),
      [],
    )
    ring.network.cut('n1', 'n2')
    await ledgers[2]!.submit(word('while-cut'), 60_000)
    ring.network.heal()
    for (let i = 0; i < 4; i++) await ledgers[i]!.submit(word(`healed-${i}`), 60_000)
    await until('all have all', () => ledgers.every((ledger) => has(ledger, 'healed-3')))
  }))

test('a validator that floods garbage and invalid transactions stops nobody, and is named in the log', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    await ring.kill('n4')
    ring.network.join('n4')
    const invalid = Buffer.concat([Uint8Array.of(1), ...encodeTransactions([word('NOT A WORD')])])
    const garbage = [Uint8Array.of(0, 1, 2, 3), Uint8Array.of(9), new Uint8Array(0), Uint8Array.of(1, 0, 0, 0, 9), invalid]
    const flood = setInterval(() => {
      for (let i = 0; i < 400; i++)
        for (const to of ['n1', 'n2', 'n3']) ring.network.inject('n4', to, 'consensus', garbage[i % garbage.length]!)
    }, 2)
    try {
      for (let i = 0; i < 5; i++) await ledgers[i % 3]!.submit(word(`w${i}`), 60_000)
    } finally {
      clearInterval(flood)
    }
    assert.ok(
      ring.lines.some((line) => /warn n4 sent/.test(line)),
      ring.lines.join('\n'),
    )
    assert.deepEqual(new Set(held(ring).map(({ peer, kind }) => `${peer} ${kind}`)), new Set(['n4 malformed']))
    assert.ok(held(ring).some(({ isMuted }) => isMuted))
  }))

test('a peer whose transactions no honest node passes on, or are final long since, is named, dropped and read slowly', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    await ledgers[0]!.submit(word('final'), 60_000)
    await until('all have it', () => ledgers.every((ledger) => has(ledger, 'final')))
    await ring.kill('n4')
    ring.network.join('n4')
    const batch = (value: string) =>
      Buffer.concat([Uint8Array.of(1), ...encodeTransactions(Array.from({ length: 500 }, () => word(value)))])
    for (let i = 0; i < 10; i++) ring.network.inject('n4', 'n1', 'consensus', batch('final'))
    await until('n1 takes none of its transactions', () => ledgers[0]!.status().muted.includes('n4'))
    assert.ok(ring.lines.some((line) => /n1 warn n4 sent too many transactions that are final or refused/.test(line)))
    assert.deepEqual([...ring.network.curbed], [])
    ring.network.inject('n4', 'n2', 'consensus', batch('NO WORD'))
    await until('n2 does not listen', () => ledgers[1]!.status().muted.includes('n4'))
    assert.ok(ring.lines.some((line) => /n2 warn n4 sent what no honest .*again and again .*WORD_FORM/.test(line)))
    assert.deepEqual([...ring.network.curbed], ['n2 n4'])
    assert.deepEqual(ledgers[2]!.status().muted, [])
    await ledgers[0]!.submit(word('goes-on'), 60_000)
  }))

test('a validator that sends badly signed votes without end is named in the log, and the others go on', () =>
  ringOf(4, async (ring) => {
    const ledgers = await ring.openAll()
    await ring.kill('n4')
    ring.network.join('n4')
    const flood = setInterval(() => {
      const { round } = ledgers[0]!.status()
      for (let i = 0; i < 50; i++) {
        const vote = {
          kind: 'nullify',
          round: round + 1 + (i % 8),
          digest: undefined,
          signer: 3,
          signature: randomBytes(64),
        } as const
        const bytes = Buffer.concat([Buffer.alloc(5), encodeMessage({ kind: 'vote', vote })])
        for (const to of ['n1', 'n2', 'n3']) ring.network.inject('n4', to, 'consensus', bytes)
      }
    }, 2)
    try {
      for (let i = 0; i < 5; i++) await ledgers[i % 3]!.submit(word(`w${i}`), 10_000)
    } finally {
      clearInterval(flood)
    }
    assert.ok(
      ring.lines.some((line) => /warn n4 sent .*a vote that its signer did not sign/.test(line)),
      ring.lines.join('\n'),
    )
    assert.deepEqual(new Set(held(ring).map(({ peer, kind }) => `${peer} ${kind}`)), new Set(['n4 forged']))
  }))

test('blocks of a validator whose clock is far ahead are refused, its clock is named, and the ring goes on', () =>
  ringOf(4, async (ring) => {
    const ledgers = await Promise.all(ring.ids.map((id) => ring.open(id, id === 'n3' ? { now: () => Date.now() + 42_000 } : {})))
    for (let i = 0; i < 5; i++) await ledgers[0]!.submit(word(`w${i}`), 60_000)
    assert.ok(ledgers[0]!.status().timestampMs < Date.now() + 5000)
    await until('the clock is named', () => ring.lines.some((line) => /n3's clock is 4\d s ahead/.test(line)))
  }))

test('a transaction that lapses while it waits is refused to who waits for it', () =>
  ringOf(4, async (ring) => {
    const ledger = await ring.open('n1')
    await assert.rejects(ledger.submit(word(`brief@${Date.now() + 300}`), 10_000), (error) => {
      assert.equal((error as LedgerError).refusal?.code, 'WORD_LAPSED')
      return withCode('TX_REFUSED')(error)
    })
    assert.equal(ledger.status().mempool, 0)
  }))

test('a full mempool refuses and keeps what it has', () =>
  ringOf(4, async (ring) => {
    const ledger = await ring.open('n1', { mempoolCountMax: 2 })
    const waiting = ['a', 'b'].map((value) => ledger.submit(word(value), 300))
    await assert.rejects(ledger.submit(word('c'), 300), withCode('MEMPOOL_FULL'))
    for (const submission of waiting) await assert.rejects(submission, withCode('NO_QUORUM'))
    assert.equal(ledger.status().mempool, 2)
  }))

test('a torn tail after a crash is cut off, said, and loses nothing that was acknowledged', () =>
  ringOf(1, async (ring) => {
    const ledger = await ring.open('n1')
    await ledger.submit(word('kept'), 60_000)
    const before = ledger.status()
    await ring.kill('n1')
    const path = join(ring.directory('n1'), 'blocks.log')
    await writeFile(path, Buffer.concat([await readFile(path), (await readFile(path)).subarray(16, 80)]).subarray(0, -40))
    const again = await ring.open('n1')
    assert.equal(again.status().digest, before.digest)
    assert.match(again.status().repairs.join(), /unfinished write/)
  }))

const fill = async (ledger: Ledger<unknown>, from: number, count: number) => {
  for (let i = from; i < from + count; i++) await ledger.submit(word(`fill-${i}`), 60_000)
}

test('a transaction in a block that was notarized and missed its finality does not wait for the heartbeat', () =>
  ringOf(4, async (ring) => {
    const [first] = await ring.openAll()
    await first!.submit(word('early'), 60_000)
    let missed: number | undefined
    ring.network.tamper = (_from, _to, channel, payload) => {
      if (channel !== 'consensus' || payload[0] !== 0) return payload
      const message = decodeMessage(payload.subarray(5))
      if (message.kind !== 'vote' || message.vote.kind !== 'finalize') return payload
      missed ??= message.vote.round
      return message.vote.round === missed ? undefined : payload
    }
    // The heartbeat is a minute: what comes earlier comes by a child of the block.
    const { elapsedMs } = await first!.submit(word('late'), 60_000)
    assert.ok(elapsedMs < 50_000)
    assert.ok(missed !== undefined, 'the block was not finalized by itself')
  }))

test('a new node takes over a snapshot instead of every block, goes on from it, and resumes from it after a restart', () =>
  ringOf(4, async (ring) => {
    const three = await Promise.all(['n1', 'n2', 'n3'].map((id) => ring.open(id, { snapshotBlocks: 40 })))
    const [first] = three as [Ledger<Words>]
    await fill(first, 0, 130)
    await until('every one has a snapshot', () => three.every((ledger) => ledger.status().snapshotHeight >= 100))
    const late = await ring.open('n4', { snapshotBlocks: 40 })
    await until('it has all words', () => has(late, 'fill-129') && has(late, 'fill-0'))
    assert.ok(late.status().firstHeight > 100, `it began with block ${late.status().firstHeight}`)
    assert.equal(await late.block(1), undefined)
    await fill(first, 130, 5)
    await until('it goes on', () => has(late, 'fill-134'))
    assert.equal(late.status().root, first.status().root)
    await ring.kill('n4')
    const again = await ring.open('n4')
    assert.deepEqual(again.status().repairs, [])
    assert.ok(has(again, 'fill-0') && has(again, 'fill-134'))
    const verdict = await verdictOf(ring, 'n4')
    assert.deepEqual(verdict.problems, [])
    assert.equal(verdict.height, again.status().height)
  }))

test('blocks before the older of two snapshots go when only some are to be kept; a node that needs them gets a snapshot', () =>
  ringOf(4, async (ring) => {
    const options = { snapshotBlocks: 20, keepBlocks: 10 }
    const three = await Promise.all(['n1', 'n2', 'n3'].map((id) => ring.open(id, options)))
    const [first] = three as [Ledger<Words>]
    const fourth = await ring.open('n4', options)
    await fill(first, 0, 5)
    await until('the fourth is there', () => has(fourth, 'fill-4'))
    await ring.kill('n4')
    await fill(first, 5, 110)
    await until('blocks are gone', () => three.every((ledger) => ledger.status().firstHeight > 40))
    // A third one may be on its way at any moment.
    const snapshots = () => readdirSync(ring.directory('n1')).filter(isSnapshotName)
    await until('two snapshots stay', () => snapshots().length === 2)
    const back = await ring.open('n4', options)
    await until('it caught up', () => has(back, 'fill-114'))
    assert.ok(has(back, 'fill-50'))
    assert.deepEqual((await verdictOf(ring, 'n1')).problems, [])

    // The newest rots: the older one and the blocks after it make the same state.
    const before = first.status()
    await ring.kill('n1')
    const [newest = ''] = snapshots().sort((a, b) => Number(b.slice(9, -4)) - Number(a.slice(9, -4)))
    const bytes = await readFile(join(ring.directory('n1'), newest))
    bytes[bytes.length - 40]! ^= 1
    await writeFile(join(ring.directory('n1'), newest), bytes)
    const again = await ring.open('n1', options)
    assert.match(again.status().repairs[0] ?? '', /is of no use and was removed: its bytes do not match its hash/)
    assert.ok(again.status().height >= before.height)
    assert.ok(has(again, 'fill-0') && has(again, 'fill-114'))
  }))

test('a start reads the blocks from the snapshot on; rot before it is found when the block is read, and by verifying the folder', () =>
  ringOf(4, async (ring) => {
    const options = { snapshotBlocks: 30 }
    const ledgers = await Promise.all(['n1', 'n2', 'n3', 'n4'].map((id) => ring.open(id, options)))
    const [first] = ledgers as [Ledger<Words>]
    await fill(first, 0, 80)
    await until('n3 has a snapshot', () => ledgerOf(ring, 'n3').status().snapshotHeight >= 30)
    await until('n3 has all', () => has(ledgerOf(ring, 'n3'), 'fill-79'))
    await ring.kill('n3')
    const path = join(ring.directory('n3'), 'blocks.log')
    const bytes = await readFile(path)
    // In the payload of the second record: its header stands after the file's, the first record's, and the first record.
    const second = 16 + 40 + bytes.readUInt32BE(16)
    bytes[second + 40 + 20]! ^= 1
    await writeFile(path, bytes)
    const verdict = await verdictOf(ring, 'n3')
    assert.match(verdict.problems.join(), /blocks\.log is corrupt at byte \d+ \(block 2\)/)

    const back = await ring.open('n3', options)
    assert.deepEqual(back.status().repairs, [])
    assert.equal(back.status().firstHeight, 1)
    assert.ok(has(back, 'fill-0') && has(back, 'fill-79'))
    const { height } = back.status()
    assert.equal((await back.block(height))?.block.height, height)
    await assert.rejects(back.block(2), /blocks\.log is corrupt at byte \d+ \(record 1\)/)
    await back.submit(word('again'), 60_000)

    // One that needs the block gets it from the others, and n3's people hear of the rot when it is asked.
    await ring.kill('n4')
    await rm(ring.directory('n4'), { recursive: true })
    const asked = ring.network.join('n4')
    await assert.rejects(asked.request('n3', 'sync', encodeRequest({ kind: 'blocks', from: 1, count: 8 }), 5_000))
    await until('it is told', () => ring.lines.some((line) => /n3 warn .*is corrupt at byte .*n4 asked for it/.test(line)))
    const fresh = await ring.open('n4', options)
    await until('it has all', () => has(fresh, 'again'))
  }))

test('a crash after a snapshot was taken over and before the blocks made way for it is mended at the next start', () =>
  ringOf(4, async (ring) => {
    const three = await Promise.all(['n1', 'n2', 'n3'].map((id) => ring.open(id, { snapshotBlocks: 40 })))
    const [first] = three as [Ledger<unknown>]
    const fourth = await ring.open('n4')
    await fill(first, 0, 3)
    await until('the fourth has blocks', () => fourth.status().height >= 3)
    await ring.kill('n4')
    await fill(first, 3, 60)
    await until('there is a snapshot', () => first.status().snapshotHeight > 0)
    const name = `snapshot-${first.status().snapshotHeight}.bin`
    await writeFile(join(ring.directory('n4'), name), await readFile(join(ring.directory('n1'), name)))
    const back = await ring.open('n4')
    assert.match(back.status().repairs[0] ?? '', /does not reach the snapshot at block/)
    assert.ok(has(back, 'fill-30'))
    await until('it caught up', () => has(back, 'fill-62'))
    assert.equal(back.status().root, first.status().root)
  }))

test('a snapshot that no quorum certified is not believed', () =>
  ringOf(1, async (ring) => {
    const other = await TestRing.create(1)
    try {
      const theirs = await other.open('n1', { snapshotBlocks: 5 })
      await fill(theirs, 0, 12)
      await until('there is a snapshot', () => theirs.status().snapshotHeight > 0)
      const name = `snapshot-${theirs.status().snapshotHeight}.bin`
      await mkdir(ring.directory('n1'), { recursive: true })
      await writeFile(join(ring.directory('n1'), name), await readFile(join(other.directory('n1'), name)))
      const ledger = await ring.open('n1')
      assert.match(ledger.status().repairs[0] ?? '', /its certificate does not verify/)
      assert.equal(ledger.status().height, 0)
    } finally {
      await other.close()
    }
  }))

test('what an application foresees is executed once it has, with others’ transactions and others’ blocks', () =>
  ringOf(4, async (ring) => {
    const early: string[] = []
    const asked = new Set<string>()
    await Promise.all(
      ring.ids.map((id) => {
        const foreseen = new Set<string>()
        const wordsIn = (txs: readonly Uint8Array[]) => txs.map((tx) => Buffer.from(tx).toString())
        return ring.open(id, {
          application: {
            ...ring.application,
            foresee: (_state, txs) => {
              const fresh = wordsIn(txs).filter((text) => text.startsWith('slow') && !foreseen.has(text))
              if (fresh.length === 0) return undefined
              asked.add(id)
              return new Promise((settle) => {
                setTimeout(() => {
                  for (const text of fresh) foreseen.add(text)
                  settle()
                }, 40)
              })
            },
            execute: (state, txs, context) => {
              // Whoever submitted it knows what it submitted.
              for (const text of wordsIn(txs))
                if (text.startsWith('slow') && !text.endsWith(id) && !foreseen.has(text)) early.push(`${id} ${text}`)
              return ring.application.execute(state, txs, context)
            },
          },
        })
      }),
    )
    const [first, second] = ring.ids as [string, string]
    await Promise.all([
      ledgerOf(ring, first).submit(word(`slow-one-${first}`), 60_000),
      ledgerOf(ring, second).submit(word(`slow-two-${second}`), 60_000),
      ledgerOf(ring, second).submit(word('quick'), 60_000),
    ])
    const all = [`slow-one-${first}`, `slow-two-${second}`, 'quick']
    await until('all have all', () => ring.ids.every((id) => all.every((value) => has(ledgerOf(ring, id), value))))
    assert.deepEqual(early, [])
    assert.equal(asked.size, 4)
  }))
