import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DecisionBuffer } from './decision-buffer.ts'
import { decisionRecord } from './test-records.ts'

const entry = (requestId: string, outcome: 'allow' | 'deny') => ({ record: decisionRecord({ requestId, outcome }), weight: 1 })

test('a full buffer drops its oldest allow for whatever comes in', () => {
  const buffer = new DecisionBuffer(2)
  buffer.push(entry('a1', 'allow'))
  buffer.push(entry('a2', 'allow'))
  assert.equal(buffer.push(entry('d1', 'deny'))?.record.requestId, 'a1')
  assert.equal(buffer.push(entry('a3', 'allow'))?.record.requestId, 'a2')
  assert.equal(buffer.size, 2)
})

test('an allow never pushes out a denial, a denial pushes out the oldest denial only when no allow is left', () => {
  const buffer = new DecisionBuffer(2)
  buffer.push(entry('d1', 'deny'))
  buffer.push(entry('d2', 'deny'))
  assert.equal(buffer.push(entry('a1', 'allow'))?.record.requestId, 'a1')
  assert.equal(buffer.push(entry('d3', 'deny'))?.record.requestId, 'd1')
})

test('property: nothing is lost but what was returned, and never a denial while an allow is held', () => {
  const operation = fc.oneof(fc.constant('allow' as const), fc.constant('deny' as const), fc.constant('take' as const))
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (operations, max) => {
      const buffer = new DecisionBuffer(max)
      let held: string[] = []
      operations.forEach((what, at) => {
        if (what === 'take') {
          const taken = buffer.take(3).map(({ record }) => record.requestId)
          assert.ok(taken.every((id) => held.includes(id)))
          held = held.filter((id) => !taken.includes(id))
        } else {
          const id = `${what}${at}`
          held.push(id)
          const dropped = buffer.push(entry(id, what))?.record
          if (dropped !== undefined) {
            if (dropped.outcome === 'deny') assert.ok(held.every((other) => other.startsWith('deny')))
            held = held.filter((other) => other !== dropped.requestId)
          }
        }
        assert.equal(buffer.size, held.length)
        assert.ok(buffer.size <= max)
      })
    }),
  )
})
