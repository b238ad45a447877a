import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { type Block, type Certificate, genesisBlock, makeBlock } from '@ringwall/consensus'
import type { BlockRecord } from './block-record.ts'
import { Malformed } from './bytes.ts'
import { CatchUp } from './catch-up.ts'
import { encodePayload } from './payload.ts'
import { encodeRun, encodeSnapshotOffer, PIECE_BYTES_MAX } from './sync-codec.ts'

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

async function catchUp(
  answers: readonly (readonly BlockRecord[] | Uint8Array)[],
  tip = genesis,
  seeksSnapshot = false,
  msAPiece = 0,
) {
  let clock = 0
  const applied: number[] = []
  const installed: number[] = []
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
    certifies: ({ certificate }) => (certificate?.signatures.length ?? 0) > 0,
    epoch: () => ({ number: 0, height: 0 }),
    endEpoch: () => {},
    apply: async (records) => {
      applied.push(...records.map(({ block }) => block.height))
      at = records.at(-1)?.block ?? at
    },
    install: async ({ state }, { block, root }) => {
      if (createHash('sha256').update(state).digest('hex') !== root) throw new Malformed('another state')
      installed.push(block.height)
      at = block
    },
    monotonicMs: () => clock,
    progress() {
      clock += msAPiece
    },
    conflict: (_certificate, peer) => conflicts.push(peer),
    fault: (_peer, what) => faults.push(what),
  })
  await run.from('n2', seeksSnapshot)
  assert.equal(run.running, false)
  return seeksSnapshot ? { applied, faults, conflicts, installed } : { applied, faults, conflicts }
}

const one = childOf(genesis)
const two = childOf(one)
const three = childOf(two)
const bare = (block: Block): BlockRecord => ({ block, certificate: undefined })
const proven = (block: Block, good = true): BlockRecord => ({ block, certificate: certify(block, good) })

const stray = childOf(genesis, 1_234)

/** The state after block 1, which block 2 commits to. */
function snapshotOf(stateBytes: number): { readonly state: Buffer; readonly records: readonly BlockRecord[] } {
  const state = Buffer.alloc(stateBytes, 'state')
  const root = createHash('sha256').update(state).digest('hex')
  const { round, height, digest } = one
  const next = makeBlock({
    round: round + 1,
    height: height + 1,
    parent: digest,
    proposer: 0,
    timestampMs: 2_000,
    payload: encodePayload({ root, txs: [] }),
  })
  return { state, records: [bare(one), proven(next)] }
}

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

/** No epoch has ended yet. */
const none = new Uint8Array(0)

test('a snapshot is taken over in pieces, and the blocks after it follow', async () => {
  const { state, records } = snapshotOf(PIECE_BYTES_MAX * 9 + 5)
  const offer = encodeSnapshotOffer({ stateBytes: state.length, records })
  const pieces = Array.from({ length: 10 }, (_, i) => state.subarray(i * PIECE_BYTES_MAX, (i + 1) * PIECE_BYTES_MAX))
  const after = records.slice(1)
  assert.deepEqual(await catchUp([offer, none, ...pieces, after], genesis, true), {
    applied: after.map(({ block }) => block.height),
    faults: [],
    conflicts: [],
    installed: [1],
  })
})

test('a snapshot with another state, a forged certificate, a broken link, a piece too long or no end is refused', async () => {
  const { state, records } = snapshotOf(100)
  const [base, next] = records as [BlockRecord, BlockRecord]
  const offer = (changed: readonly BlockRecord[], stateBytes = state.length) =>
    encodeSnapshotOffer({ stateBytes, records: changed })
  const cases = {
    'another state': [offer(records), none, state.map((byte) => byte ^ 1)],
    'forged certificate': [offer([base, proven(next.block, false)]), none, state],
    'no certificate': [offer([base, bare(next.block)]), state],
    'broken link': [offer([bare(stray), next]), state],
    'one block alone': [offer([proven(base.block)]), state],
    'a piece too long': [offer(records), none, Buffer.concat([state, state])],
    'no end': [offer(records, 2 ** 40), none, state],
    garbage: [Uint8Array.of(0, 1, 2), state],
  }
  for (const [name, answers] of Object.entries(cases)) {
    const { installed, faults } = await catchUp(answers, genesis, true)
    assert.deepEqual({ installed, faults: faults.length }, { installed: [], faults: 1 }, name)
  }
})

test('a peer that has pruned the blocks that are missing gives its snapshot', async () => {
  const { state, records } = snapshotOf(10)
  const offer = encodeSnapshotOffer({ stateBytes: state.length, records })
  const { applied, faults } = await catchUp([[], offer, none, state, records.slice(1)], genesis)
  assert.deepEqual({ applied, faults }, { applied: [2], faults: [] })
})

test('a peer that gives a snapshot drop by drop is left for another', async () => {
  const { state, records } = snapshotOf(PIECE_BYTES_MAX * 9)
  const offer = encodeSnapshotOffer({ stateBytes: state.length, records })
  const pieces = Array.from({ length: 9 }, (_, i) => state.subarray(i * PIECE_BYTES_MAX, (i + 1) * PIECE_BYTES_MAX))
  const { installed, faults } = await catchUp([offer, none, ...pieces], genesis, true, 60_000)
  assert.deepEqual([installed, faults], [[], []])
})

test('what follows the end of an epoch is asked for again, once those who certify it are known', async () => {
  const next = [{ id: 'n9', publicKey: new Uint8Array(32) }]
  const boundary = makeBlock({
    round: 2,
    height: 2,
    parent: one.digest,
    proposer: 0,
    timestampMs: 2_000,
    payload: encodePayload({ root: '00'.repeat(32), next, txs: [] }),
  })
  const after = childOf(boundary)
  const run = [bare(one), { ...proven(boundary), closing: [] }, bare(after)]
  const { applied, faults } = await catchUp([run, [proven(after)]])
  assert.deepEqual([applied, faults], [[1, 2, 3], []])
  const forged = [bare(one), { ...proven(boundary, false), closing: [] }]
  assert.deepEqual(await catchUp([forged]), { applied: [], faults: ['a certificate that does not verify'], conflicts: [] })
})
