import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type TrialSample, TrialWatch } from './trial-watch.ts'

const TERMS = { version: '0.2.0', trialMs: 60_000, errors: 0.1 }
const WELL: TrialSample = { isReady: true, whyOut: undefined, requests: 100, errors: 10, isBelieved: true }

function verdicts(...samples: readonly (readonly [atMs: number, changes: Partial<TrialSample>])[]): readonly string[] {
  const watch = new TrialWatch(TERMS, 0)
  return samples.map(([atMs, changes]) => {
    const verdict = watch.look({ ...WELL, ...changes }, atMs)
    return verdict.is === 'bad' ? `bad: ${verdict.reason}` : verdict.is
  })
}

test('a node on trial is good once its time is over and it is well', () => {
  assert.deepEqual(verdicts([1_000, {}], [59_999, {}], [60_000, {}]), ['open', 'open', 'good'])
})

test('it waits to be ready and to be believed, but not for ever to be ready', () => {
  assert.deepEqual(verdicts([60_000, { isReady: false }], [60_500, {}]), ['open', 'good'])
  assert.deepEqual(verdicts([70_000, { isBelieved: false }], [71_000, {}]), ['open', 'good'])
  assert.match(verdicts([1_000, {}], [61_001, { isReady: false }])[1]!, /not ready for 60 s/)
})

test('more errors than the policy allows end it, once there are answers enough to tell', () => {
  assert.deepEqual(verdicts([1_000, { requests: 19, errors: 19 }]), ['open'])
  assert.match(verdicts([1_000, { requests: 20, errors: 3 }])[0]!, /3 of its 20 answers/)
  assert.deepEqual(verdicts([1_000, { requests: 20, errors: 2 }]), ['open'])
})

test('what puts a node out of the ring ends its trial', () => {
  assert.deepEqual(verdicts([1_000, { whyOut: 'PROGRAM_CHANGED' }]), ['bad: PROGRAM_CHANGED'])
})
