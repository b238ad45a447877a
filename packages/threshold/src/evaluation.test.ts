import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodePartial, encapsulate, makePartial, verifyCapsule } from './capsule.ts'
import { combineEvaluations, EVALUATION_INPUT_BYTES_MAX, evaluationPoint } from './evaluation.ts'
import { dealTrusted, type KeyShare } from './key.ts'
import { ORDER } from './scalar.ts'

const members = [1, 2, 3, 4].map((index) => ({ party: `n${index}`, index }))
const secret = BigInt(`0x${randomBytes(31).toString('hex')}`)
const deal = (epoch: number): readonly KeyShare[] =>
  dealTrusted({ suite: 'ristretto255', purpose: 'tests', epoch, threshold: 3, members }, [
    secret,
    BigInt(`0x${randomBytes(31).toString('hex')}`) % ORDER,
    BigInt(`0x${randomBytes(31).toString('hex')}`) % ORDER,
  ])
const shares = deal(0)
const { publicKey } = shares[0] as KeyShare

function evaluate(input: Uint8Array, by: readonly number[], of: readonly KeyShare[] = shares): Uint8Array {
  const key = (of[0] as KeyShare).publicKey
  const parts = by.map((at) => {
    const share = of[at] as KeyShare
    return decodePartial(key, share.index, makePartial(share, evaluationPoint(key, input)))
  })
  return combineEvaluations(key, input, parts)
}

test('property: any three of four come to the same value, after a hand-over too, and another input to another one', () => {
  const later = deal(1)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 80 }), (one, other) => {
      const value = Buffer.from(evaluate(one, [0, 1, 2])).toString('hex')
      assert.equal(Buffer.from(evaluate(one, [3, 1, 0])).toString('hex'), value)
      assert.equal(Buffer.from(evaluate(one, [1, 2, 3], later)).toString('hex'), value)
      if (Buffer.compare(one, other) !== 0) assert.notEqual(Buffer.from(evaluate(other, [0, 1, 2])).toString('hex'), value)
    }),
    { numRuns: 10 },
  )
})

test('who gives a part of another input, or of a capsule, is named; two are too few; too long an input is refused', () => {
  const input = Buffer.from('what is asked for')
  const point = evaluationPoint(publicKey, input)
  const part = (at: number, of = point) => decodePartial(publicKey, at + 1, makePartial(shares[at] as KeyShare, of))
  const wrong = part(2, evaluationPoint(publicKey, Buffer.from('another')))
  assert.throws(() => combineEvaluations(publicKey, input, [part(0), part(1), wrong]), { code: 'THRESHOLD_SHARE', culprits: [3] })
  assert.throws(() => combineEvaluations(publicKey, input, [part(0), part(1)]), { code: 'THRESHOLD_SHORT' })
  assert.throws(() => evaluationPoint(publicKey, new Uint8Array(EVALUATION_INPUT_BYTES_MAX + 1)), { code: 'THRESHOLD_LIMIT' })
  const { capsule } = encapsulate(publicKey, Buffer.from('label'), randomBytes(32))
  const opened = part(2, verifyCapsule(publicKey, capsule))
  assert.throws(() => combineEvaluations(publicKey, input, [part(0), part(1), opened]), { code: 'THRESHOLD_SHARE' })
})
