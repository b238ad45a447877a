import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { nodeOfRequestId, requestId } from './request-id.ts'

test('ids of one node sort by time', () => {
  const times = [0, 1, 31, 32, 1_000, 1_763_700_000_000, 1_763_700_000_001, 2 ** 48 - 1]
  const ids = times.map((ms) => requestId('n1', ms))
  assert.deepEqual([...ids].sort(), ids)
})

test('100,000 ids made in one instant are all different, also in their random part alone', () => {
  const ids = new Set(Array.from({ length: 100_000 }, () => requestId('n1', 1_000).slice(-16)))
  assert.equal(ids.size, 100_000)
})

test('property: the node is read back from an id, also when its name has hyphens', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/), fc.nat(2 ** 31), (node, ms) => {
      assert.equal(nodeOfRequestId(requestId(node, ms)), node)
    }),
  )
})

test('what is not an id names no node', () => {
  const good = requestId('n1')
  for (const bad of [
    '',
    'n1',
    good.toUpperCase(),
    `${good}x`,
    `${good}\n`,
    good.slice(1 + good.indexOf('-')),
    `../${good}`,
    'x'.repeat(10_000),
  ]) {
    assert.equal(nodeOfRequestId(bad), undefined, bad.slice(0, 40))
  }
})
