import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Malformed } from './bytes.ts'
import { TX_BYTES_MAX } from './payload.ts'
import { encodeTransactions, MESSAGE_TXS_MAX, parseTransactions } from './spread.ts'

const transactions = fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 30 })

test('property: transactions arrive as they were sent, in order', () => {
  fc.assert(
    fc.property(transactions, (txs) => {
      assert.deepEqual(encodeTransactions(txs).flatMap(parseTransactions), txs)
    }),
  )
})

test('many, and large ones, are split over messages that each stay within bounds', () => {
  const large = Array.from({ length: 9 }, (_, i) => new Uint8Array(TX_BYTES_MAX).fill(i))
  const small = Array.from({ length: 3 * MESSAGE_TXS_MAX + 1 }, (_, i) => Uint8Array.of(i & 255))
  for (const txs of [large, small]) {
    const messages = encodeTransactions(txs)
    assert.deepEqual(messages.flatMap(parseTransactions), txs)
    for (const message of messages) assert.ok(message.length < 512 * 1024)
  }
  assert.deepEqual(encodeTransactions([]), [])
})

test('property: whatever parses has one spelling, and garbage throws nothing but Malformed', () => {
  const messages = fc.oneof(
    fc.uint8Array(),
    transactions.map((txs) => Buffer.concat(encodeTransactions(txs))),
  )
  fc.assert(
    fc.property(messages, fc.nat(400), (bytes, cut) => {
      const message = bytes.subarray(0, cut)
      let txs: readonly Uint8Array[]
      try {
        txs = parseTransactions(message)
      } catch (error) {
        assert.ok(error instanceof Malformed, String(error))
        return
      }
      assert.deepEqual(Buffer.concat(encodeTransactions(txs)), Buffer.from(message))
    }),
  )
})

test('a message of nothing, of an empty transaction, of one that is too long and of too many is refused', () => {
  const sized = (length: number, bytes: number) => {
    const message = Buffer.alloc(4 + bytes)
    message.writeUInt32BE(length)
    return message
  }
  const many = Buffer.concat(Array.from({ length: MESSAGE_TXS_MAX + 1 }, () => sized(1, 1)))
  for (const message of [new Uint8Array(0), sized(0, 0), sized(TX_BYTES_MAX + 1, TX_BYTES_MAX + 1), sized(5, 4), many])
    assert.throws(() => parseTransactions(message), Malformed)
})
