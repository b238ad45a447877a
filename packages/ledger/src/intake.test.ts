import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Intake } from './intake.ts'
import { Peers } from './peers.ts'
import { encodeTransactions } from './spread.ts'
import { TAG } from './tags.ts'
import { linksTo } from './test-links.ts'

function intake(links: readonly string[]) {
  const ids = [...links]
  const peers = new Peers(() => linksTo(ids))
  const taken: string[] = []
  const faults: string[] = []
  let isHeld = false
  const made = new Intake({
    peers,
    isStopped: () => false,
    isHeld: () => isHeld,
    handle: (from, payload) => taken.push(`${from} ${payload[1]}`),
    transaction: (from, tx) => taken.push(`${from} tx ${tx[0]}`),
    fault: (from, what) => faults.push(`${from}: ${what}`),
    warn: () => {},
  })
  const hold = (held: boolean): void => {
    isHeld = held
  }
  return { intake: made, ids, taken, faults, hold }
}

const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
const message = (n: number) => Uint8Array.of(TAG.voter, n)
const txs = (...ns: readonly number[]) =>
  Buffer.concat([Buffer.from([TAG.txs]), encodeTransactions(ns.map((n) => Uint8Array.of(n)))[0]!])

test('votes go before transactions, and a flood of votes does not keep these out', async () => {
  const { intake: made, taken } = intake(['a'])
  made.receive('a', txs(1, 2))
  for (let n = 0; n < 10; n += 1) made.receive('a', message(n))
  await turn()
  assert.equal(taken.length, 12)
  assert.deepEqual(taken.slice(0, 8), ['a 0', 'a 1', 'a 2', 'a 3', 'a 4', 'a 5', 'a 6', 'a tx 1'])
})

test('who has no link is not listened to; one that is new is', async () => {
  const { intake: made, ids, taken } = intake(['a'])
  made.receive('stranger', message(1))
  ids.push('late')
  made.receive('late', message(2))
  await turn()
  assert.deepEqual(taken, ['late 2'])
})

test('while an epoch is handed over everything waits, and nothing is lost', async () => {
  const { intake: made, taken, hold } = intake(['a'])
  hold(true)
  made.receive('a', message(1))
  await turn()
  assert.deepEqual(taken, [])
  hold(false)
  made.resume()
  assert.deepEqual(taken, ['a 1'])
})

test('a message that is too long and a list of transactions that cannot be read are faults, and handled by nobody', async () => {
  const { intake: made, taken, faults } = intake(['a'])
  made.receive('a', new Uint8Array(1024 * 1024 + 1))
  made.receive('a', Uint8Array.of(TAG.txs, 255, 255))
  await turn()
  assert.deepEqual(taken, [])
  assert.equal(faults.length, 2)
  assert.match(faults[0]!, /^a: a message of 1048577 bytes$/)
})
