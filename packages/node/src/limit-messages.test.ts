import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LimitMessage } from '@ringwall/guard'
import fc from 'fast-check'
import { decodeLimitMessages, encodeLimitMessages } from './limit-messages.ts'

const key = fc.string({ maxLength: 256 })
const PLAIN = { noNullPrototype: true }
const count = fc.integer({ min: 0, max: 1_000_000 })
const message: fc.Arbitrary<LimitMessage> = fc.oneof(
  fc.record({ kind: fc.constant('ask' as const), key, want: count, spent: count, back: count }, PLAIN),
  fc.record({ kind: fc.constant('grant' as const), key, granted: count, waitMs: count }, PLAIN),
  fc.record({ kind: fc.constantFrom('stranger' as const, 'recall' as const), key }, PLAIN),
  fc.record(
    { kind: fc.constant('reach' as const), nodes: fc.array(fc.stringMatching(/^[a-z0-9-]{1,32}$/), { maxLength: 31 }) },
    PLAIN,
  ),
)

test('property: what is sent is what is received', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 64 }), (messages) => {
      assert.deepEqual(decodeLimitMessages(encodeLimitMessages(messages)), messages)
    }),
  )
})

test('property: other bytes are refused whole, without a throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeLimitMessages(bytes)))
  const junk = fc.json({ maxDepth: 3 })
  fc.assert(fc.property(junk, (text) => void decodeLimitMessages(Buffer.from(text))))
  for (const bad of [
    '{}',
    '[["a","k",1,2]]',
    '[["a","k",-1,0,0]]',
    '[["a","k",1.5,0,0]]',
    '[["a","k",1e9,0,0]]',
    '[["g","k",1]]',
    '[["s"]]',
    '[["s","k","more"]]',
    '[["r","N1"]]',
    '[["x","k"]]',
    `[["s","${'k'.repeat(257)}"]]`,
    `[${'["s","k"],'.repeat(512)}["s","k"]]`,
    ' '.repeat(300_000),
  ])
    assert.equal(decodeLimitMessages(Buffer.from(bad)), undefined, bad.slice(0, 40))
})
