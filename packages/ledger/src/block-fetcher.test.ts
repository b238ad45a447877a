import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Block, genesisBlock, makeBlock } from '@ringwall/consensus'
import { BlockFetcher } from './block-fetcher.ts'
import { encodeBlockAnswer, parseRequest } from './sync-codec.ts'

const genesis = genesisBlock('ring')

const blockOf = (timestampMs: number): Block =>
  makeBlock({ round: 1, height: 1, parent: genesis.digest, proposer: 0, timestampMs, payload: new Uint8Array(0) })

/** @param answers By peer, in the order of links. Whoever has none gives no answer. */
function fetcher(answers: Readonly<Record<string, () => Uint8Array | Promise<Uint8Array>>>) {
  const seen = { asked: [] as string[], fetched: [] as Block[], faults: [] as string[], missing: 0 }
  let isStopped = false
  const blocks = new BlockFetcher({
    connected: () => Object.keys(answers),
    ask: async (peer, request) => {
      const { kind } = parseRequest(request)
      seen.asked.push(`${peer} ${kind}`)
      return answers[peer]!()
    },
    isStopped: () => isStopped,
    fetched: (block) => void seen.fetched.push(block),
    missing: () => void (seen.missing += 1),
    fault: (peer, what) => void seen.faults.push(`${peer}: ${what}`),
  })
  return { blocks, seen, stop: () => (isStopped = true) }
}

const none = (): Uint8Array => encodeBlockAnswer(undefined)
const silent = (): Promise<Uint8Array> => Promise.reject(new Error('no answer'))

test('whoever should have the block is asked first; silence, another block and garbage lead to the next peer, and lies are told of', async () => {
  const wanted = blockOf(1)
  const { blocks, seen } = fetcher({
    silent,
    broken: () => Uint8Array.of(255, 1, 2),
    honest: () => encodeBlockAnswer(wanted),
    liar: () => encodeBlockAnswer(blockOf(2)),
    last: none,
  })
  await blocks.fetch(wanted.digest, 'liar')
  assert.deepEqual(seen.asked, ['liar block', 'silent block', 'broken block', 'honest block'])
  assert.deepEqual([seen.faults.length, seen.faults[0]], [2, 'liar: another block than the one asked for'])
  assert.match(seen.faults[1]!, /^broken: /)
  assert.deepEqual(
    seen.fetched.map(({ digest }) => digest),
    [wanted.digest],
  )
  assert.equal(seen.missing, 0)
})

test('nobody has it: each is asked once, what is malformed is a fault, and silence is none', async () => {
  const { blocks, seen } = fetcher({ broken: () => Uint8Array.of(255, 1, 2), silent, last: none })
  await blocks.fetch(blockOf(1).digest, 'last')
  assert.deepEqual(seen.asked, ['last block', 'broken block', 'silent block'])
  assert.equal(seen.faults.length, 1)
  assert.match(seen.faults[0]!, /^broken: /)
  assert.deepEqual([seen.fetched.length, seen.missing], [0, 1])
})

test('a block is asked for once at a time, 64 are at once, and once the ledger has stopped nothing is taken', async () => {
  const gate = Promise.withResolvers<void>()
  const { blocks, seen, stop } = fetcher({
    n1: async () => {
      await gate.promise
      return encodeBlockAnswer(blockOf(0))
    },
  })
  const running = Array.from({ length: 70 }, (_, at) => blocks.fetch(blockOf(at).digest, 'n1'))
  running.push(blocks.fetch(blockOf(0).digest, 'n1'))
  assert.equal(seen.asked.length, 64)
  stop()
  gate.resolve()
  await Promise.all(running)
  assert.deepEqual([seen.fetched.length, seen.missing], [0, 0])
})
