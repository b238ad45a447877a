import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DEPTH_MAX, isSpelledNumber, isTooDeep, parseKeepingNumbers } from './exact-json.ts'

test('numbers keep their spelling, whatever JavaScript makes of them; what says that it is one is an object', () => {
  for (const text of [
    '12345678901234567890',
    '1.0',
    '-0',
    '1E5',
    '1e999',
    '0.10000000000000000001',
    '[1,2.50,{"a":-1.0e-7}]',
    '{"rawJSON":"1"}',
    '{"__proto__":1.0}',
  ])
    assert.equal(JSON.stringify(parseKeepingNumbers(text)), text)
  assert.equal(isSpelledNumber(parseKeepingNumbers('1.0')), true)
  assert.equal(isSpelledNumber(parseKeepingNumbers('{"rawJSON":"1.0"}')), false)
  assert.equal(parseKeepingNumbers('1.5'), 1.5)
})

test('property: JSON that is written as JavaScript writes it comes back as it was', () => {
  fc.assert(
    fc.property(fc.json(), (text) => assert.deepEqual(parseKeepingNumbers(JSON.stringify(JSON.parse(text))), JSON.parse(text))),
  )
})

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

test('property: the scan counts what parsing would find, brackets, quotes and backslashes in strings and names or not', () => {
  const text = fc.string({ unit: fc.constantFrom('[', ']', '{', '}', '"', '\\', 'a') })
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      text,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(text, tie('value'), { maxKeys: 3 }),
    ),
  }))
  fc.assert(
    fc.property(value, (one) => {
      const spare = DEPTH_MAX - depthOf(one)
      const within = (more: number): string => '['.repeat(more) + JSON.stringify(one) + ']'.repeat(more)
      assert.equal(isTooDeep(within(spare)), false)
      assert.equal(isTooDeep(within(spare + 1)), true)
    }),
  )
})
