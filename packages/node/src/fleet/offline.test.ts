import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ageOfView, OFFLINE_AFTER_MS, type Standing, whyNotCurrent } from './offline.ts'

const DAY = 86_400_000
const CUT = 1_800_000_000_000
const running: Standing = { startedAtMs: CUT - DAY, certifiedAtMs: CUT, blockTimestampMs: CUT - 100, offlineMs: 7 * DAY }

test('a node that runs while it is cut off stays ready, and shows how old its view is', () => {
  for (const days of [0, 1, 7, 30]) {
    assert.equal(whyNotCurrent(running, CUT + days * DAY), undefined)
    assert.equal(ageOfView(running, CUT + days * DAY), days * DAY)
  }
})

test('one that starts again while it is cut off is ready once nobody can be expected to answer, for seven days', () => {
  const at = (days: number, sinceStartMs: number): string | undefined => {
    const nowMs = CUT + days * DAY
    return whyNotCurrent({ ...running, certifiedAtMs: undefined, startedAtMs: nowMs - sinceStartMs }, nowMs)
  }
  assert.match(at(3, OFFLINE_AFTER_MS - 1) ?? '', /^waiting/)
  assert.equal(at(3, OFFLINE_AFTER_MS), undefined)
  assert.equal(at(6.99, OFFLINE_AFTER_MS), undefined)
  assert.match(at(7.01, OFFLINE_AFTER_MS) ?? '', /^cut off/)
})

test('a node that has nothing but the genesis document is not ready', () => {
  const fresh = { ...running, certifiedAtMs: undefined, blockTimestampMs: 0, startedAtMs: CUT }
  assert.match(whyNotCurrent(fresh, CUT + DAY) ?? '', /^waiting/)
})
