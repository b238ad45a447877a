import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Block, type Certificate, genesisBlock, makeBlock } from '@ringwall/consensus'
import { Peers } from './peers.ts'
import { encodeStatus, type TipStatus } from './sync-codec.ts'
import { linksTo } from './test-links.ts'
import { TipExchange, type TipExchangePorts } from './tip-exchange.ts'

const genesis = genesisBlock('ring')

function childOf(parent: Block, timestampMs = parent.timestampMs + 1): Block {
  const { round, height, digest } = parent
  const above = { round: round + 1, height: height + 1, parent: digest }
  return makeBlock({ ...above, proposer: 0, timestampMs, payload: new Uint8Array(0) })
}

/** Signatures are another's matter: here a good certificate has one by signer 0, and a forged one by signer 1. */
const certify = ({ round, digest }: Block, signer = 0): Certificate => ({
  kind: 'finalize',
  round,
  digest,
  signatures: [{ signer, signature: new Uint8Array(64) }],
})

const status = (block: Block, more: Partial<TipStatus> = {}): TipStatus => ({
  epoch: 0,
  height: block.height,
  digest: block.digest,
  certificate: certify(block),
  closing: [],
  ...more,
})

type Outcome = Awaited<ReturnType<TipExchangePorts['catchUp']['from']>>

function exchange(own: Block, outcomes: readonly Outcome[] = [], self = 'n1') {
  const seen: string[] = []
  const asked: string[] = []
  const queue = [...outcomes]
  const peers = new Peers(() => linksTo(['n2', 'n3']))
  const epoch = { number: 0, verifies: ({ signatures }: Certificate) => signatures.every(({ signer }) => signer === 0) }
  const tips = new TipExchange({
    self,
    peers,
    epochs: { at: () => epoch, current: epoch } as unknown as TipExchangePorts['epochs'],
    catchUp: {
      from: async (peer, seeksSnapshot) => {
        seen.push(`from ${peer}${seeksSnapshot ? ' by a snapshot' : ''}`)
        return queue.shift() ?? 'done'
      },
    },
    ask: (peer) => {
      asked.push(peer)
      return Promise.reject(new Error('no answer'))
    },
    isStopped: () => false,
    own: () => status(own),
    tip: () => own,
    unborn: (peer) => void seen.push(`${peer} has nothing`),
    ahead: () => void seen.push('the ring is ahead'),
    conflict: (_certificate, peer) => void seen.push(`conflict from ${peer}`),
    fault: (peer, what) => void seen.push(`${peer}: ${what}`),
    info: () => {},
  })
  return { tips, peers, seen, asked }
}

const settled = (): Promise<void> => new Promise((settle) => setImmediate(settle))

const one = childOf(genesis)
const two = childOf(one)

test('a peer whose certificate proves that it is ahead is caught up from; one that is behind, or as far, is not', () => {
  const { tips, peers, seen } = exchange(one)
  tips.meet('n2', status(one))
  tips.meet('n3', status(genesis, { certificate: undefined }))
  assert.deepEqual(seen.splice(0), ['n3 has nothing'])
  tips.meet('n2', status(two))
  assert.deepEqual(seen, ['the ring is ahead', 'from n2'])
  assert.equal(peers.highest(), 2)
})

test('a height is worth what its certificate proves: none, one of a lower round, a forged one and garbage are faults, and move nothing', () => {
  const { tips, peers, seen } = exchange(one)
  tips.meet('n2', status(two, { certificate: undefined }))
  tips.meet('n2', status(two, { height: 3 }))
  tips.meet('n2', status(two, { certificate: certify(two, 1) }))
  tips.heard('n2', Uint8Array.of(255))
  assert.deepEqual(seen.slice(0, 3), [
    'n2: a height that its certificate cannot have',
    'n2: a height that its certificate cannot have',
    'n2: a status whose certificate does not verify',
  ])
  assert.match(seen[3]!, /^n2: /)
  assert.deepEqual([seen.length, peers.highest()], [4, 0])
})

test('another block that is final at the same height is a conflict, and nothing is fetched from there', () => {
  const { tips, seen } = exchange(one)
  tips.heard('n2', encodeStatus(status(childOf(genesis, 99))))
  assert.deepEqual(seen, ['conflict from n2'])
})

test('an epoch that is not known here is a claim: blocks are asked for, and no snapshot, however far it says that it is', async () => {
  const { tips, peers, seen } = exchange(genesis)
  tips.meet('n2', status({ ...two, height: 9_000, round: 9_000 }, { epoch: 5 }))
  await settled()
  assert.deepEqual([seen, peers.highest()], [['from n2'], 0])
})

test('an empty ledger that is 65 blocks behind takes a snapshot; one that failed to give is passed over while others are there', async () => {
  let tip = genesis
  for (let height = 0; height < 65; height += 1) tip = childOf(tip)
  const { tips, seen } = exchange(genesis, ['failed'])
  tips.meet('n2', status(tip))
  await settled()
  tips.meet('n2', status(tip))
  tips.meet('n3', status(tip))
  await settled()
  assert.deepEqual(
    seen.filter((line) => line.startsWith('from')),
    ['from n2 by a snapshot', 'from n3 by a snapshot'],
  )
})

test('of two nodes one asks: the other does when it was not asked for so long', () => {
  const first = exchange(one)
  first.tips.look(1_000, 1_000)
  first.peers.asked('n2', 1_000)
  first.tips.look(1_500, 1_000)
  assert.deepEqual(first.asked, ['n2', 'n3', 'n2', 'n3'])
  const last = exchange(one, [], 'n9')
  last.tips.look(1_000, 1_000)
  assert.deepEqual(last.asked.splice(0), ['n2', 'n3'], 'before it was asked at all')
  last.peers.asked('n2', 1_500)
  last.peers.asked('stranger', 1_500)
  last.tips.look(2_000, 1_000)
  assert.deepEqual(last.asked.splice(0), ['n3'])
  last.tips.look(2_501, 1_000)
  assert.deepEqual(last.asked, ['n2', 'n3'], 'n2 has fallen silent')
})
