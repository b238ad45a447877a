import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FabricError } from './errors.ts'
import { encodeFrame, type Frame, FrameParser } from './frames.ts'

const frame: fc.Arbitrary<Frame> = fc.record(
  {
    kind: fc.constantFrom('message', 'request', 'answer', 'gossip', 'ping'),
    channel: fc.constantFrom('consensus', 'gossip', 'sync', 'signals', 'query', 'limits', 'signing', 'vault', 'acme'),
    id: fc.nat({ max: 0x7fff_ffff }),
    payload: fc.uint8Array({ maxLength: 60 }),
  },
  { noNullPrototype: true },
)

test('property: any split of the bytes is the same input', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(encodeFrame))
        const parser = new FrameParser()
        const found: Frame[] = []
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const end = Math.min(bytes.length, at + (cuts[turn % cuts.length] as number))
          found.push(...parser.push(bytes.subarray(at, end)))
          at = end
        }
        assert.deepEqual(found, frames)
      },
    ),
  )
})

test('a length beyond the bound, or too short for a head, is refused from its four bytes alone', () => {
  for (const length of [0, 5, 101, 0xffff_ffff]) {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(length)
    assert.throws(() => new FrameParser(100).push(head), FabricError, String(length))
  }
})

test('property: garbage gives frames or a FabricError, nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        new FrameParser(150).push(Buffer.from(bytes))
      } catch (error) {
        assert.ok(error instanceof FabricError)
      }
    }),
  )
})

test('a large payload is taken as it was read, and a small one does not keep alive what was read with it', () => {
  const large = encodeFrame({ kind: 'message', channel: 'consensus', id: 0, payload: new Uint8Array(500_000).fill(7) })
  const small = encodeFrame({ kind: 'message', channel: 'consensus', id: 0, payload: new Uint8Array(40).fill(8) })
  const [first, second] = new FrameParser().push(Buffer.concat([large, small]))
  assert.deepEqual([first?.payload.length, first?.payload.every((byte) => byte === 7)], [500_000, true])
  assert.deepEqual([...(second?.payload ?? [])], new Array(40).fill(8))
  assert.ok((first?.payload.buffer.byteLength ?? 0) > 500_000)
  assert.equal(second?.payload.buffer.byteLength, 40)
})
