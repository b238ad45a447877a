import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Fabric } from '@ringwall/fabric'
import type { PassKey } from '@ringwall/proxy'
import type { View } from '@ringwall/ring'
import fc from 'fast-check'
import { decodePassKeys, encodePassKeys, PassKeys } from './pass-keys.ts'
import { Seal } from './signing/sealed-file.ts'

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

const folder = mkdtempSync(join(tmpdir(), 'ringwall-pass-keys-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const quiet: Pick<Fabric, 'send' | 'broadcast' | 'onMessage'> = { send: () => true, broadcast: () => {}, onMessage: () => {} }
const newSeal = (): Seal => new Seal(generateKeyPairSync('ed25519').privateKey, 'ring n1')

async function written(file: string): Promise<void> {
  while (!existsSync(file)) await new Promise((settle) => setTimeout(settle, 5))
}

test('a node that starts again opens what it sealed before; the file is of no use without the node’s key', async (t) => {
  const file = join(folder, 'restart')
  const seal = newSeal()
  const view = (): View => ({ nodes: [{ id: 'n1' }] }) as unknown as View
  const lines: string[] = []
  const start = async (by: Seal): Promise<readonly PassKey[]> => {
    const passKeys = await PassKeys.open({
      fabric: quiet,
      view,
      onKeys: () => {},
      file,
      seal: by,
      log: (line) => lines.push(line),
    })
    t.after(() => passKeys.stop())
    return passKeys.keys
  }
  const [first] = await start(seal)
  await written(file)
  const text = readFileSync(file)
  for (const form of ['base64url', 'hex', 'latin1'] as const)
    assert.ok(!text.includes(Buffer.from(first!.bytes).toString(form)), form)
  const [again] = await start(seal)
  assert.deepEqual([again!.id, Buffer.from(again!.bytes)], [first!.id, Buffer.from(first!.bytes)])
  assert.deepEqual(lines, [])
  const [other] = await start(newSeal())
  assert.notEqual(other!.id, first!.id)
  assert.match(lines[0]!, /restart is begun anew: /)
})

test('keys are learned from members alone, kept through a restart of theirs, and bounded', async (t) => {
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
  const passKeys = await PassKeys.open({
    fabric,
    view: () => ({ nodes }) as unknown as View,
    onKeys: (all) => {
      keys = all
    },
    file: join(folder, 'members'),
    seal: newSeal(),
    log: () => {},
  })
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
