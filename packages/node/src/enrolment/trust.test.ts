import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TrustRecord } from '@ringwall/ring'
import { trustState } from './trust.ts'

const EVERY = 4_000
const LAST = 1_800_000_000_000
const record: TrustRecord = {
  ...{ node: 'n1', kind: 'tpm', ak: null, atMs: LAST, saidMs: LAST, boot: null, former: [], clock: null },
  ...{ staleAtMs: LAST + 2 * EVERY, untilMs: LAST + 3 * EVERY, outAtMs: LAST + 3 * EVERY },
  ...{ configuration: null, program: null, pcrs: null, held: { program: null, pcrs: null } },
}

test('with all verifiers gone no block comes, and whoever looks still sees a node go stale, and its trust lapse at three intervals', () => {
  const seen = [0, 1.9, 2, 2.9, 3, 100].map((intervals) => trustState(record, LAST + intervals * EVERY))
  assert.deepEqual(seen, ['trusted', 'trusted', 'stale', 'stale', 'lapsed', 'lapsed'])
  assert.equal(trustState({ ...record, atMs: null }, LAST), 'waiting')
})
