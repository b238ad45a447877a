import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ObjectsStatus } from './objects.ts'
import { PeerStanding } from './peer-standing.ts'

const standing: ObjectsStatus = {
  versions: 2,
  versionsMax: 100_000,
  shards: 2,
  missing: 1,
  waiting: 1,
  waits: [{ version: 'a'.repeat(32), reason: 'no node that can be reached has the manifest' }],
  bytes: 10,
  bytesMax: 100,
  store: 'folder',
  storeAway: null,
  passedAtMs: null,
  uncompared: 0,
  comparedAtMs: 1_000.5,
  repairing: { version: 'a'.repeat(32), index: 1, bytes: 5, of: 10 },
  mending: { shards: 0, ofShards: 1, bytes: 5, ofBytes: 10 },
  repaired: 0,
  corrupt: 0,
  erased: 0,
  moved: 0,
  scrubbedBytes: 0,
  repairedBytes: 0,
  put: 0,
  read: 0,
  faults: 1,
  culprits: [{ party: 'n2', wrong: 1, missing: 0, lastAtMs: 1_000 }],
  away: ['n3'],
}

test('all that a node says of its shards is heard, and what it says more than that is left out', () => {
  assert.deepEqual(PeerStanding.parse(JSON.parse(JSON.stringify(standing))), standing)
  assert.deepEqual(PeerStanding.parse({ ...standing, later: 'x' }), standing)
})

test('a peer that says less, or nonsense, is not believed; long reasons are cut', () => {
  const { bytes: _, ...less } = standing
  for (const wrong of [
    less,
    { ...standing, bytes: -1 },
    { ...standing, bytes: '10' },
    { ...standing, waits: Array.from({ length: 65 }, () => standing.waits[0]) },
    { ...standing, culprits: [{ ...standing.culprits[0], party: 'n'.repeat(65) }] },
    null,
  ])
    assert.equal(PeerStanding.safeParse(wrong).success, false)
  const told = PeerStanding.parse({ ...standing, storeAway: { sinceMs: 1, reason: 'x'.repeat(9_999) } })
  assert.equal(told.storeAway?.reason.length, 512)
})
