import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EarlyMessages } from './early-messages.ts'

test('messages come back once, in their order, and a peer that sends too many or too much of them fills no memory', () => {
  const early = new EarlyMessages()
  for (let at = 0; at < 600; at += 1) early.keep('n1', Uint8Array.of(at & 255))
  const kept = early.take()
  assert.deepEqual([kept.length, kept[0]?.payload[0], kept[511]?.payload[0]], [512, 0, 255])
  assert.deepEqual(early.take(), [])
  const large = new Uint8Array(3 * 1024 * 1024)
  for (const from of ['n1', 'n2', 'n3']) early.keep(from, large)
  early.keep('n4', Uint8Array.of(4))
  assert.deepEqual(
    early.take().map(({ from }) => from),
    ['n1', 'n2', 'n4'],
  )
})
