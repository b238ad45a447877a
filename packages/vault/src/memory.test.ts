import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { copyBytes, giveBack, wipe } from './memory.ts'

test('property: a run is copied to its place, and nothing beside it, in memory of one thread and of several', () => {
  const place = fc.nat({ max: 200_000 })
  fc.assert(
    fc.property(fc.nat({ max: 100_000 }), place, place, place, fc.boolean(), (length, a, b, at, isShared) => {
      const source = new Uint8Array(randomBytes(length))
      const [from, to] = [a % (length + 1), b % (length + 1)].sort((one, other) => one - other) as [number, number]
      const size = at + (to - from) + 5
      const target = new Uint8Array(isShared ? new SharedArrayBuffer(size) : new ArrayBuffer(size))
      const wanted = new Uint8Array(size)
      wanted.set(source.subarray(from, to), at)
      copyBytes(source, target, at, from, to)
      assert.equal(Buffer.compare(target, wanted), 0)
    }),
    { numRuns: 100 },
  )
})

test('what is overwritten is zeros from end to end, and nothing beside it', () => {
  for (const length of [0, 1, 65_535, 65_536, 200_001]) {
    const whole = new Uint8Array(new SharedArrayBuffer(length + 2)).fill(7)
    wipe(whole.subarray(1, length + 1))
    assert.ok(whole.subarray(1, length + 1).every((byte) => byte === 0))
    assert.deepEqual([whole[0], whole.at(-1)], [7, 7])
  }
})

test('memory is given back when it is all there is of it, and of this thread alone', () => {
  const [own, part, shared] = [new Uint8Array(8_192), new Uint8Array(8_192), new Uint8Array(new SharedArrayBuffer(8_192))]
  for (const bytes of [own, part.subarray(1), part.subarray(0, 8_000), shared, Buffer.from('short')]) giveBack(bytes)
  assert.deepEqual([own.length, part.length, shared.length], [0, 8_192, 8_192])
  giveBack(own)
})
