import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Mempool } from './mempool.ts'

const entry = (id: string, size = 1, local = false) => ({ id, tx: new Uint8Array(size), addedAtMs: 0, local, sentAtMs: 0 })
const ids = (mempool: Mempool, except: readonly string[] = []) =>
  mempool.candidates(100, 1000, new Set(except)).map(({ id }) => id)

test('the longest waiting comes first, and what was offered and not taken goes behind the others', () => {
  const mempool = new Mempool({ countMax: 10, bytesMax: 100 })
  for (const id of ['a', 'b', 'c']) assert.equal(mempool.add(entry(id)), 'added')
  assert.equal(mempool.add(entry('a')), 'known')
  assert.deepEqual(ids(mempool), ['a', 'b', 'c'])
  mempool.defer('a')
  assert.deepEqual(ids(mempool), ['b', 'c', 'a'])
  assert.deepEqual(ids(mempool, ['c']), ['b', 'a'])
})

test('a full mempool refuses, by number and by bytes, and has room again when something leaves', () => {
  const mempool = new Mempool({ countMax: 2, bytesMax: 100 })
  assert.equal(mempool.add(entry('a', 60)), 'added')
  assert.equal(mempool.add(entry('b', 60)), 'full')
  assert.equal(mempool.add(entry('c', 40)), 'added')
  assert.equal(mempool.add(entry('d', 0)), 'full')
  mempool.remove('a')
  assert.equal(mempool.bytes, 40)
  assert.equal(mempool.add(entry('b', 60)), 'added')
})

test('a transaction first heard from a peer and then submitted here is spread by this node too', () => {
  const mempool = new Mempool({ countMax: 2, bytesMax: 100 })
  mempool.add(entry('a'))
  mempool.add(entry('a', 1, true))
  assert.equal(mempool.get('a')?.local, true)
  assert.equal(mempool.size, 1)
})
