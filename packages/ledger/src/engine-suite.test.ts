/** What a ring may rely on, whatever orders its transactions: one suite, run over every engine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LedgerError } from './errors.ts'
import { TestRing, until, type Words, word, wordsApplication } from './test-ring.ts'
import { Sequencer } from './test-sequencer.ts'
import type { FinalBlock, Ledger } from './types.ts'

/** `nodes` are ledgers of one ring; `again` closes and opens the first one. */
interface Running {
  readonly nodes: readonly Ledger<Words>[]
  again(): Promise<Ledger<Words>>
  close(): Promise<void>
}

const ENGINES: Readonly<Record<string, () => Promise<Running>>> = {
  'a sequencer': async () => {
    const sequencer = new Sequencer(wordsApplication)
    const nodes = [sequencer.open(), sequencer.open()]
    const again = async () => {
      await nodes[0]?.stop()
      return sequencer.open()
    }
    return { nodes, again, close: async () => {} }
  },
  'Simplex, a ring of one': () => simplex(1),
  'Simplex, a ring of four': () => simplex(4),
}

async function simplex(size: number): Promise<Running> {
  const ring = await TestRing.create(size)
  const nodes = await ring.openAll()
  const again = async () => {
    await ring.kill('n1')
    return ring.open('n1')
  }
  return { nodes, again, close: () => ring.close() }
}

const WAIT_MS = 60_000
const has = (ledger: Ledger<Words>, value: string) => ledger.state().words.has(value)

const CASES: Readonly<Record<string, (running: Running) => Promise<void>>> = {
  'what is answered for is in a final block that handlers have met': async ({ nodes }) => {
    const [first] = nodes as [Ledger<Words>]
    const met: FinalBlock<Words>[] = []
    first.onBlock((block) => met.push(block))
    const { id, height, digest } = await first.submit(word('hello'), WAIT_MS)
    assert.equal(id, 'hello')
    const found = met.find(({ block }) => block.height === height)
    assert.equal(found?.block.digest, digest)
    assert.deepEqual(found?.results, [{ id: 'hello', ok: true }])
    const stored = await first.block(height)
    assert.deepEqual(
      stored?.txs.map((tx) => Buffer.from(tx).toString()),
      ['hello'],
    )
  },
  'a transaction that is refused names the application’s code; one that came before has its answer again': async ({ nodes }) => {
    const [first] = nodes as [Ledger<Words>]
    await assert.rejects(first.submit(word('NO'), WAIT_MS), (error) => {
      assert.ok(error instanceof LedgerError)
      assert.deepEqual([error.code, error.refusal?.code], ['TX_REFUSED', 'WORD_FORM'])
      return true
    })
    const one = await first.submit(word('once'), WAIT_MS)
    const two = await first.submit(word('once'), WAIT_MS)
    assert.deepEqual([two.height, two.digest], [one.height, one.digest])
    await assert.rejects(first.submit(word('old@1'), WAIT_MS), /WORD_LAPSED/)
  },
  'all nodes meet the same blocks in order, each height once, and hold the same state': async ({ nodes }) => {
    const met = nodes.map(() => [] as string[])
    for (const [i, node] of nodes.entries()) node.onBlock(({ block }) => met[i]?.push(`${block.height} ${block.digest}`))
    const words = Array.from({ length: 60 }, (_, i) => `w${i}`)
    await Promise.all(words.map((value, i) => (nodes[i % nodes.length] as Ledger<Words>).submit(word(value), WAIT_MS)))
    await until('every node has every word', () => nodes.every((node) => words.every((value) => has(node, value))), WAIT_MS)
    await until('one root', () => new Set(nodes.map((node) => node.status().root)).size === 1, WAIT_MS)
    const heights = met.map((list) => list.map((line) => Number(line.split(' ')[0])))
    for (const list of heights)
      assert.deepEqual(
        list,
        [...new Set(list)].sort((a, b) => a - b),
      )
    const least = Math.min(...met.map(({ length }) => length))
    const shared = met.map((list) => list.slice(0, least).join())
    assert.equal(new Set(shared).size, 1)
  },
  'the state after a block can be had, and a snapshot of it is that state': async ({ nodes }) => {
    const [first] = nodes as [Ledger<Words>]
    const { height } = await first.submit(word('kept'), WAIT_MS)
    await first.submit(word('later'), WAIT_MS)
    const { state } = (await first.stateAt(height)) ?? assert.fail('no state')
    assert.deepEqual([state.words.has('kept'), state.words.has('later')], [true, false])
    const restored = wordsApplication.restore(Buffer.concat([...wordsApplication.snapshot(state)]))
    assert.equal(wordsApplication.root(restored), wordsApplication.root(state))
  },
  'a node that was closed opens with what it had answered for': async ({ nodes, again }) => {
    const [first] = nodes as [Ledger<Words>]
    const { height } = await first.submit(word('before'), WAIT_MS)
    const back = await again()
    await until('it is there', () => has(back, 'before') && back.status().height >= height, WAIT_MS)
    await assert.rejects(first.submit(word('late'), WAIT_MS), (error) => error instanceof LedgerError)
    assert.equal((await back.submit(word('after'), WAIT_MS)).id, 'after')
  },
}

for (const [engine, open] of Object.entries(ENGINES)) {
  for (const [name, run] of Object.entries(CASES)) {
    test(`${engine}: ${name}`, async () => {
      const running = await open()
      try {
        await run(running)
      } finally {
        await running.close()
      }
    })
  }
}
