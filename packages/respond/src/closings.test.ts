import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Closings } from './closings.ts'

const T0 = 1_800_000_000_000
const ID = 'abcdef012345'
const closing = (atMs: number, node = 'n1') => ({ id: ID, atMs, by: 'ada', note: 'a test', node })

test('closed is what was closed after the last that was found; more opens it again, and the latest closing stands', () => {
  const closings = new Closings()
  const incident = { ids: ['000000000000', ID], lastMs: T0 }
  assert.equal(closings.of(incident), undefined)
  closings.close(closing(T0 + 10))
  closings.close(closing(T0 + 5))
  assert.equal(closings.of(incident)?.atMs, T0 + 10)
  assert.equal(closings.of({ ...incident, lastMs: T0 + 11 }), undefined)
})

test('a node tells what was closed on it, and of others nothing', () => {
  const [one, other] = [new Closings(), new Closings()]
  one.close(closing(T0))
  other.merge('n2', one.summary('n1')!, T0)
  assert.deepEqual(other.all(), [])
  other.merge('n1', one.summary('n1')!, T0)
  assert.deepEqual(other.all(), one.all())
  assert.equal(other.summary('n2'), undefined)
  other.merge('n1', new Closings().summary('n1') ?? new Uint8Array(), T0)
  const late = new Closings()
  one.close(closing(T0 + 3_600_000))
  late.merge('n1', one.summary('n1')!, T0)
  assert.deepEqual(late.all(), [], 'of a time to come')
})

test('property: garbage changes nothing', () => {
  fc.assert(
    fc.property(fc.json(), (json) => {
      const closings = new Closings()
      closings.merge('n1', Uint8Array.from([4, ...new TextEncoder().encode(json)]), T0)
      assert.deepEqual(closings.all(), [])
    }),
  )
})
