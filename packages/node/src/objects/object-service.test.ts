import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Bucket, RingState, View } from '@ringwall/ring'
import { makeAccessKey } from '@ringwall/vault'
import { ObjectsUnavailable } from './blob-writer.ts'
import { type Client, type Draft, ObjectService } from './object-service.ts'
import type { ObjectThread } from './object-thread.ts'
import type { ShardClient } from './shard-client.ts'
import type { HeldShard, ShardStore } from './shard-store.ts'

const NODES = ['n1', 'n2', 'n3', 'n4']
const BLOB = '12'.repeat(8)
const DAY_MS = 86_400_000
const nodes = NODES.map((id) => ({ id, region: 'eu' }))
const bucket = { name: 'shop', data: 2, shards: 4, durableNodes: 3, durableRegions: 1 } as unknown as Bucket
const { id, secret } = makeAccessKey()
const CLIENT = { key: { id }, secret } as unknown as Client
const draft: Draft = {
  version: 'ab'.repeat(16),
  objectKey: new Uint8Array(32),
  about: new Uint8Array(),
  capsule: 'AAAA',
  ciphertext: 'AAAA',
  bucket,
  key: 'cart.json',
}
const settings = { headers: [], etag: 'e', expect: '', hold: false, retainUntilMs: 0 }
const part = { blob: BLOB, hashes: Buffer.alloc(4 * 32).toString('base64url'), size: 10 }
const SHARD: HeldShard = { blob: BLOB, index: 0, bytes: 5 }

/** Of the first of four nodes. @param held By node. */
function service(nowMs: () => number, held: Readonly<Record<string, readonly HeldShard[]>>) {
  const asked: string[] = []
  const submitted: unknown[] = []
  const one = new ObjectService({
    self: 'n1',
    ring: '0'.repeat(64),
    fabric: { links: () => [] },
    folder: { putManifest: async () => {}, held: async () => held.n1 ?? [] } as unknown as ShardStore,
    client: {
      putManifest: async () => {},
      held: async (party: string) => {
        asked.push(party)
        return { manifest: true, shards: held[party] ?? [] }
      },
    } as unknown as ShardClient,
    thread: {} as ObjectThread,
    view: () => ({ nodes }) as unknown as View,
    state: () => ({}) as RingState,
    facts: () => undefined,
    sign: () => new Uint8Array(),
    open: () => Promise.reject(new Error('not here')),
    submit: async (body) => void submitted.push(body),
    present: () => nodes,
    onFault: () => {},
    onLeftOut: () => {},
    onChange: () => {},
    now: nowMs,
  })
  return { one, asked, submitted }
}

test('parts of long ago count only where they still are: what the ring does not know is erased after a while', async () => {
  const atMs = 1_800_000_000_000
  const blobs = [{ part, parties: NODES, atMs }]
  const all = Object.fromEntries(NODES.map((node) => [node, [SHARD]]))
  const soon = service(() => atMs + 30_000, {})
  await soon.one.commit(CLIENT, draft, blobs, settings)
  assert.deepEqual([soon.asked, soon.submitted.length], [[], 1])
  const late = service(() => atMs + DAY_MS, all)
  await late.one.commit(CLIENT, draft, blobs, settings)
  assert.deepEqual([late.asked, late.submitted.length], [['n2', 'n3', 'n4'], 1])
  const gone = service(() => atMs + DAY_MS, { ...all, n1: [], n3: [{ ...SHARD, blob: 'ee'.repeat(8) }] })
  await assert.rejects(gone.one.commit(CLIENT, draft, blobs, settings), ObjectsUnavailable)
  assert.equal(gone.submitted.length, 0)
})

test('who took too long to say what it has is asked again: nothing is agreed on meanwhile', async () => {
  let nowMs = 1_800_000_000_000
  const { one, submitted } = service(() => (nowMs += 61_000), {})
  const stored = { bytes: new Uint8Array(), stored: NODES }
  await assert.rejects(one.commit(CLIENT, draft, [{ part, parties: NODES, atMs: nowMs + 61_000 }], settings, stored), /too long/)
  assert.equal(submitted.length, 0)
})
