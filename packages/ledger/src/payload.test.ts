import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodePayload, PAYLOAD_BYTES_MAX, PAYLOAD_TXS_MAX, parsePayload } from './payload.ts'

const txs = fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 20 })

test('property: a list of transactions survives the round trip', () => {
  fc.assert(fc.property(txs, (list) => assert.deepEqual(parsePayload(encodePayload(list)), list)))
})

test('property: whatever parses has exactly one spelling, and garbage throws nothing but Malformed', () => {
  const nearly = txs.chain((list) => {
    const bytes = encodePayload(list)
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

test('an empty transaction, too many, too much, and bytes left over are refused', () => {
  assert.throws(() => parsePayload(Uint8Array.of(1, 0, 0, 0, 0)), /empty transaction/)
  assert.throws(() => parsePayload(Uint8Array.of(1)), /expected/)
  assert.throws(() => parsePayload(Uint8Array.of(2, 0, 0, 0, 1, 7)), /format 2/)
  assert.throws(() => parsePayload(Uint8Array.of(1, 0, 0, 0, 1, 7, 0)), /left/)
  const many = encodePayload(Array.from({ length: PAYLOAD_TXS_MAX + 1 }, () => Uint8Array.of(1)))
  assert.throws(() => parsePayload(many), /more than/)
  assert.throws(() => parsePayload(new Uint8Array(PAYLOAD_BYTES_MAX + 1)), /payload of/)
})
