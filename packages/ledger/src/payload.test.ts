import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodePayload, PAYLOAD_BYTES_MAX, PAYLOAD_TXS_MAX, parsePayload } from './payload.ts'

const ROOT = 'ab'.repeat(32)
const payloads = fc.record(
  {
    root: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    txs: fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 20 }),
  },
  { noNullPrototype: true },
)

test('property: a payload survives the round trip', () => {
  fc.assert(fc.property(payloads, (payload) => assert.deepEqual(parsePayload(encodePayload(payload)), payload)))
})

test('property: whatever parses has exactly one spelling, and garbage throws nothing but Malformed', () => {
  const nearly = payloads.chain((payload) => {
    const bytes = encodePayload(payload)
    return fc.tuple(fc.constant(bytes), fc.nat(bytes.length), fc.nat(255))
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), nearly), (input) => {
      let bytes: Uint8Array
      if (input instanceof Uint8Array) bytes = input
      else {
        bytes = Uint8Array.from(input[0])
        bytes[input[1]] = input[2]
      }
      try {
        assert.deepEqual(Buffer.from(encodePayload(parsePayload(bytes))), Buffer.from(bytes))
      } catch (error) {
        assert.equal((error as Error).name, 'Malformed')
      }
    }),
  )
})

test('no root, an empty transaction, too many, too much, and bytes left over are refused', () => {
  const root = Buffer.from(ROOT, 'hex')
  const payload = (...rest: number[]) => Buffer.concat([Buffer.of(2), root, Buffer.from(rest)])
  assert.throws(() => parsePayload(new Uint8Array(0)), /expected/)
  assert.throws(() => parsePayload(Uint8Array.of(2, 1, 2, 3)), /expected/)
  assert.throws(() => parsePayload(payload(0, 0, 0, 0)), /empty transaction/)
  assert.throws(() => parsePayload(Buffer.concat([Buffer.of(1), root])), /format 1/)
  assert.throws(() => parsePayload(payload(0, 0, 0, 1, 7, 0)), /left/)
  const many = encodePayload({ root: ROOT, txs: Array.from({ length: PAYLOAD_TXS_MAX + 1 }, () => Uint8Array.of(1)) })
  assert.throws(() => parsePayload(many), /more than/)
  assert.throws(() => parsePayload(new Uint8Array(PAYLOAD_BYTES_MAX + 1)), /payload of/)
  assert.throws(() => encodePayload({ root: 'AB'.repeat(32), txs: [] }), TypeError)
})
