import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { BodyReader, pour } from './pour.ts'
import { SlabPool } from './slabs.ts'

const cut = (bytes: Buffer, cuts: readonly number[]): readonly Buffer[] => {
  const places = [0, ...cuts.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((to, at) => bytes.subarray(places[at], to))
}
/** Of chunks that are the reader's own, as those of sockets are. */
const bodyOf = (chunks: readonly Buffer[]): Readable =>
  Readable.from(chunks.filter(({ length }) => length > 0).map((chunk) => Buffer.from(new Uint8Array(chunk).buffer)))

test('property: a body cut anywhere fills any rooms with its bytes in their order, and the last one as far as it goes', async () => {
  const cuts = fc.array(fc.nat(), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 5_000 }), cuts, fc.integer({ min: 1, max: 2_000 }), async (length, at, room) => {
      const bytes = randomBytes(length)
      const reader = new BodyReader(bodyOf(cut(bytes, at)))
      const seen: Buffer[] = []
      for (;;) {
        const into = new Uint8Array(new SharedArrayBuffer(room))
        const count = await reader.fill(into)
        seen.push(Buffer.from(into.subarray(0, count)))
        if (count < room) break
      }
      assert.ok(Buffer.concat(seen).equals(bytes))
    }),
    { numRuns: 60 },
  )
})

test('the memory of a chunk is given back once all of it is copied, unless it is part of more', async () => {
  const [own, part] = [new Uint8Array(8_192), new Uint8Array(8_192)]
  const reader = new BodyReader(Readable.from([Buffer.from(own.buffer), Buffer.from(part.buffer, 0, 8_000)]))
  const room = new Uint8Array(8_000)
  assert.equal(await reader.fill(room), 8_000)
  assert.equal(own.buffer.byteLength, 8_192, 'some of it is still to come')
  assert.equal(await reader.fill(room), 8_000)
  assert.equal(own.buffer.byteLength, 0)
  assert.equal(await reader.fill(room), 192)
  assert.equal(part.buffer.byteLength, 8_192)
})

test('all of a body is written, run by run, also when its length is a whole number of runs', async () => {
  for (const length of [0, 10, 1_048_576, 2 * 1_048_576, 3_000_001]) {
    const bytes = randomBytes(length)
    const slabs = new SlabPool()
    const written: Buffer[] = []
    let under = 0
    const write = async (run: Uint8Array): Promise<void> => {
      under += 1
      assert.equal(under, 1, 'one at a time')
      await new Promise(setImmediate)
      written.push(Buffer.from(run))
      under -= 1
    }
    const chunks = cut(
      bytes,
      Array.from({ length: 60 }, (_, at) => at * 65_536),
    )
    await pour(bodyOf(chunks), write, slabs)
    assert.ok(Buffer.concat(written).equals(bytes), `${length} bytes`)
    slabs.clear()
  }
})

test('a body that is cut off, and a disk that takes no more, end it with their reasons', async () => {
  const slabs = new SlabPool()
  const broken = new Readable({ read: () => {} })
  broken.push(randomBytes(100))
  const cutOff = assert.rejects(
    pour(broken, async () => {}, slabs),
    /it ended early/,
  )
  setImmediate(() => broken.destroy())
  await cutOff
  const full = async (): Promise<void> => {
    throw new Error('full')
  }
  await assert.rejects(pour(bodyOf([randomBytes(3_000_000)]), full, slabs), /full/)
  slabs.clear()
})
