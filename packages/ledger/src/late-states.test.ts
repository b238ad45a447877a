import assert from 'node:assert/strict'
import { test } from 'node:test'
import { genesisBlock, makeBlock } from '@ringwall/consensus'
import { LateStates } from './late-states.ts'

const { digest: parent } = genesisBlock('ring')
const at = (height: number, count: number) => ({
  block: makeBlock({ round: height, height, parent, proposer: 0, timestampMs: height, payload: new Uint8Array(0) }),
  state: `after ${height}`,
  txs: Array.from({ length: count }, () => new Uint8Array(1)),
})

test('the last states are kept, fewer when their blocks are large, and always the last one', () => {
  const quiet = new LateStates<string>()
  for (let height = 1; height <= 2_000; height += 1) quiet.add(at(height, 1))
  assert.equal(quiet.get(2_000), 'after 2000')
  assert.equal(quiet.get(977), 'after 977')
  assert.equal(quiet.get(976), undefined)
  const busy = new LateStates<string>()
  for (let height = 1; height <= 10; height += 1) busy.add(at(height, 4_096))
  assert.deepEqual([busy.get(6), busy.get(7), busy.get(10)], [undefined, 'after 7', 'after 10'])
  busy.add(at(11, 20_000))
  assert.deepEqual([busy.get(10), busy.get(11)], [undefined, 'after 11'])
})
