import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MUTED_MS, Peers } from './peers.ts'
import { linksTo } from './test-links.ts'

const peersOf = (...ids: readonly string[]) => new Peers(() => linksTo(ids))

test('who lies again and again is muted for a while, and then heard again; nobody else is', () => {
  const peers = peersOf('liar', 'honest')
  let fills = 0
  for (let i = 0; i < 100; i += 1) if (peers.lie('liar', 5)) fills += 1
  assert.equal(fills, 1)
  assert.deepEqual([peers.isMuted('liar', 6), peers.isMuted('honest', 6)], [true, false])
  assert.deepEqual(peers.muted(6), ['liar'])
  assert.equal(peers.isMuted('liar', 5 + MUTED_MS), false)
  assert.deepEqual(peers.muted(5 + MUTED_MS), [])
})

test('lies that are few and far between are forgiven; costly ones count for more', () => {
  const peers = peersOf('a', 'b')
  for (let second = 0; second < 1_000; second += 1) assert.equal(peers.lie('a', second * 1_000, 4), false)
  let count = 0
  while (!peers.lie('b', 7, 5)) count += 1
  assert.equal(count, 19)
})

test('too many transactions that are refused cost a peer its transactions, and not its votes', () => {
  const peers = peersOf('a')
  for (let i = 0; i < 99; i += 1) assert.equal(peers.unwelcome('a', 3, 1), false)
  assert.equal(peers.mayGiveTransactions('a', 3), true)
  assert.equal(peers.unwelcome('a', 3, 1), true)
  assert.deepEqual([peers.mayGiveTransactions('a', 4), peers.isMuted('a', 4)], [false, false])
  assert.deepEqual(peers.muted(4), ['a'])
  assert.equal(peers.mayGiveTransactions('a', 3 + MUTED_MS), true)
})

test('a peer that is unknown is muted, and has nothing to give', () => {
  const peers = peersOf()
  assert.deepEqual([peers.lie('x', 1), peers.isMuted('x', 1), peers.mayGiveTransactions('x', 1)], [false, true, false])
})
