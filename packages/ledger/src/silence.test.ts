import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Certificate, Digest, Message, Vote } from '@ringwall/consensus'
import { Silence } from './silence.ts'

const DIGEST = 'd'.repeat(64) as Digest
const SELF = 2

function vote(round: number, signer = SELF): Message {
  return { kind: 'vote', vote: { kind: 'notarize', round, digest: DIGEST, signer, signature: new Uint8Array(64) } as Vote }
}

function certificate(round: number, signers: readonly number[]): Message {
  const signatures = signers.map((signer) => ({ signer, signature: new Uint8Array(64) }))
  return { kind: 'certificate', certificate: { kind: 'notarize', round, digest: DIGEST, signatures } as Certificate }
}

test('who knows all that it signed says everything', () => {
  const silence = new Silence(0, false, 1_000)
  assert.deepEqual([silence.asleep, silence.speaks, silence.covers(vote(1), SELF)], [false, true, false])
})

test('what may have been signed otherwise is not said up to that round, nor handed on with its signature', () => {
  const silence = new Silence(7, false, 1_000)
  assert.equal(silence.speaks, true)
  assert.deepEqual(
    [silence.covers(vote(7), SELF), silence.covers(vote(8), SELF), silence.covers(vote(7, 1), SELF)],
    [true, false, false],
  )
  assert.deepEqual([silence.covers(certificate(7, [0, SELF]), SELF), silence.covers(certificate(7, [0, 1]), SELF)], [true, false])
  assert.equal(silence.covers(certificate(8, [0, SELF]), SELF), false)
})

test('a blank folder wakes as new when more peers say that nothing is final than may lie, and one that says so twice counts once', () => {
  const silence = new Silence(0, true, 1_000)
  assert.deepEqual([silence.asleep, silence.speaks], [true, false])
  assert.equal(silence.hearsUnborn('b', 4), false)
  assert.equal(silence.hearsUnborn('b', 4), false)
  assert.equal(silence.hearsUnborn('c', 4), true)
  silence.wake(true)
  assert.deepEqual([silence.asleep, silence.speaks, silence.covers(vote(1), SELF)], [false, true, false])
  assert.equal(silence.hearsUnborn('d', 4), false)
})

test('a blank folder in a ring that is not new is silent until a block of a later time is final, and about its rounds ever after', () => {
  const silence = new Silence(0, true, 1_000)
  silence.wake(false)
  assert.deepEqual([silence.speaks, silence.covers(vote(1_000_000), SELF)], [false, true])
  assert.equal(silence.endsWith(40, 1_000), false)
  assert.equal(silence.endsWith(41, 1_001), true)
  assert.deepEqual([silence.speaks, silence.covers(vote(41), SELF), silence.covers(vote(42), SELF)], [true, true, false])
  assert.equal(silence.endsWith(50, 2_000), false)
  silence.lift()
  assert.equal(silence.covers(vote(1), SELF), false)
})
