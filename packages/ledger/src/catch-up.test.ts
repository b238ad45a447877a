import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Block, type Certificate, genesisBlock, makeBlock } from '@ringwall/consensus'
import type { BlockRecord } from './block-record.ts'
import { CatchUp } from './catch-up.ts'
import { encodeRun } from './sync-codec.ts'

const genesis = genesisBlock('ring')

function childOf(parent: Block, timestampMs = parent.timestampMs + 1): Block {
  return makeBlock({
    round: parent.round + 1,
    height: parent.height + 1,
    parent: parent.digest,
    proposer: 0,
    timestampMs,
    payload: new Uint8Array(0),
  })
}

/** Signatures are another's matter: here a good certificate has one, and a forged one none. */
const certify = ({ round, digest }: Block, good = true): Certificate => ({
  kind: 'finalize',
  round,
  digest,
  signatures: good ? [{ signer: 0, signature: Uint8Array.of(1) }] : [],
})

async function catchUp(answers: readonly (readonly BlockRecord[] | Uint8Array)[], tip = genesis) {
  const applied: number[] = []
  const faults: string[] = []
  const conflicts: string[] = []
  let at = tip
  const queue = [...answers]
  const run = new CatchUp({
    ask: async () => {
      const answer = queue.shift() ?? []
      return answer instanceof Uint8Array ? answer : encodeRun(answer)
    },
    tip: () => at,
    verifyCertificate: ({ signatures }) => signatures.length > 0,
    apply: async (records) => {
      applied.push(...records.map(({ block }) => block.height))
      at = records.at(-1)?.block ?? at
    },
    conflict: (_certificate, peer) => conflicts.push(peer),
    fault: (_peer, what) => faults.push(what),
  })
  await run.from('n2')
  assert.equal(run.running, false)
  return { applied, faults, conflicts }
}

const one = childOf(genesis)
const two = childOf(one)
const three = childOf(two)
const bare = (block: Block): BlockRecord => ({ block, certificate: undefined })
const proven = (block: Block, good = true): BlockRecord => ({ block, certificate: certify(block, good) })

test('blocks are applied when a certificate stands at their end, also when it comes with a later answer', async () => {
  assert.deepEqual(await catchUp([[bare(one), proven(two)], [proven(three)]]), { applied: [1, 2, 3], faults: [], conflicts: [] })
  assert.deepEqual(await catchUp([[bare(one)], [bare(two), proven(three)]]), { applied: [1, 2, 3], faults: [], conflicts: [] })
})

test('blocks without a certificate are never applied', async () => {
  assert.deepEqual((await catchUp([[bare(one), bare(two)]])).applied, [])
})

test('a liar that forges a certificate, breaks a link, skips a height or sends garbage is named, and nothing is applied', async () => {
  const stranger = childOf(one, 77)
  const cases = {
    forged: [[bare(one), proven(two, false)]],
    'another block': [[{ block: one, certificate: certify(two) }]],
    'a vote of another kind': [[{ block: one, certificate: { ...certify(one), kind: 'notarize' as const } }]],
    'broken link': [[bare(one), bare(stranger), proven(three)]],
    'skipped height': [[proven(two)]],
    garbage: [Uint8Array.of(1, 2, 3)],
  }
  for (const [name, answers] of Object.entries(cases)) {
    const { applied, faults, conflicts } = await catchUp(answers)
    assert.deepEqual({ applied, conflicts, faults: faults.length }, { applied: [], conflicts: [], faults: 1 }, name)
  }
})

test('a certified history that does not contain this node’s tip is a conflict, not a fault', async () => {
  const other = childOf(genesis, 99)
  const { applied, conflicts, faults } = await catchUp([[proven(childOf(other))]], one)
  assert.deepEqual({ applied, conflicts, faults }, { applied: [], conflicts: ['n2'], faults: [] })
})
