import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fabric } from '@ringwall/fabric'
import type { PassKey } from '@ringwall/proxy'
import type { View } from '@ringwall/ring'
import fc from 'fast-check'
import { decodePassKeys, encodePassKeys, PassKeys } from './pass-keys.ts'

const key = fc.record(
  {
    id: fc.stringMatching(/^[0-9a-f]{12}$/),
    bytes: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    madeAtMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
  },
  { noNullPrototype: true },
)

test('property: what is told is what is heard', () => {
  fc.assert(
    fc.property(fc.array(key, { maxLength: 32 }), (keys) => {
      const heard = decodePassKeys(encodePassKeys(keys))
      assert.deepEqual(
        heard?.map(({ id, bytes, madeAtMs }) => ({ id, bytes: Uint8Array.from(bytes), madeAtMs })),
        keys,
      )
    }),
  )
})

test('property: other bytes are refused whole, without a throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodePassKeys(bytes)))
  fc.assert(fc.property(fc.json({ maxDepth: 3 }), (text) => void decodePassKeys(Buffer.from(text))))
  const good = ['0123456789ab', Buffer.alloc(32).toString('base64url'), 1]
  const refused: unknown[] = [
    {},
    [good, 1],
    [[...good, 1]],
    [['0123456789AB', good[1], 1]],
    [[good[0], 'short', 1]],
    [[good[0], good[1], 1.5]],
    Array.from({ length: 33 }, () => good),
    'x'.repeat(10_000),
  ]
  for (const bad of refused) assert.equal(decodePassKeys(Buffer.from(JSON.stringify(bad))), undefined)
  assert.equal(decodePassKeys(Buffer.from(JSON.stringify([good])))?.length, 1)
})

test('keys are learned from members alone, kept through a restart of theirs, and bounded', (t) => {
  let hear: (from: string, payload: Uint8Array) => void = () => {}
  let keys: readonly PassKey[] = []
  const fabric: Pick<Fabric, 'send' | 'broadcast' | 'onMessage'> = {
    send: () => true,
    broadcast: () => {},
    onMessage: (_channel, handler) => {
      hear = handler
    },
  }
  const nodes = ['n1', 'n2'].map((id) => ({ id }))
  const passKeys = new PassKeys({ fabric, view: () => ({ nodes }) as unknown as View, onKeys: (all) => (keys = all) })
  t.after(() => passKeys.stop())
  assert.equal(keys.length, 1)
  const [own] = keys
  const told = (at: number): PassKey => ({
    id: at.toString(16).padStart(12, '0'),
    bytes: Buffer.alloc(32, at),
    madeAtMs: Date.now(),
  })
  hear('n2', encodePassKeys([told(1)]))
  hear('n3', encodePassKeys([told(2)]))
  assert.deepEqual(
    keys.map(({ id }) => id),
    [own!.id, told(1).id],
  )
  // It has started anew.
  hear('n2', encodePassKeys([told(3)]))
  assert.deepEqual(
    keys.map(({ id }) => id),
    [own!.id, told(3).id, told(1).id],
  )
  for (let at = 10; at < 200; at++) hear('n2', encodePassKeys([told(at)]))
  assert.equal(keys.length, 33)
  assert.equal(keys[0], own)
  hear('n2', encodePassKeys([{ ...told(250), madeAtMs: Date.now() + 100 * 3_600_000 }]))
  assert.ok(!keys.some(({ id }) => id === told(250).id), 'made in the future')
})
