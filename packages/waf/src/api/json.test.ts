import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonical, type Json, JsonRefused, jsonOf, parseJson } from './json.ts'

const encoder = new TextEncoder()
const read = (text: string): Json => parseJson(encoder.encode(text))

/** As `JSON.parse` gives it. */
function plain(value: Json): unknown {
  if (Array.isArray(value)) return value.map(plain)
  return value instanceof Map ? Object.fromEntries([...value].map(([key, member]) => [key, plain(member)])) : value
}

test('property: what JSON.stringify writes is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'medium' }), fc.constantFrom(undefined, 2), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent)
      const expected = JSON.parse(text) as unknown
      assert.equal(canonical(read(text)), canonical(jsonOf(expected)!))
    }),
    { numRuns: 500 },
  )
})

test('property: what is taken is what JSON.parse takes, with the same value; what it refuses is refused', () => {
  const pieces = fc.constantFrom(
    ...'{}[]:,"\\/0123456789.eE+- \n\ttfnulrasé\u{1f600}\u0000',
    '"a"',
    '"b":',
    'true',
    'null',
    '\\u00e9',
    '-0',
  )
  let taken = 0
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (list) => {
      const text = list.join('')
      let value: Json
      try {
        value = read(text)
      } catch (error) {
        assert.ok(error instanceof JsonRefused, `${error}`)
        return
      }
      taken += 1
      assert.deepEqual(plain(value), JSON.parse(text))
    }),
    { numRuns: 20_000 },
  )
  assert.ok(taken > 200, `only ${taken} were taken`)
})

test('property: any bytes are read or refused in words', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        parseJson(bytes)
      } catch (error) {
        assert.ok(error instanceof JsonRefused, `${error}`)
      }
    }),
    { numRuns: 5_000 },
  )
})

test('a key written in two ways is the same key', () => {
  for (const text of ['{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '{"é":1,"\\u00e9":1}', '{"/":1,"\\/":1}']) {
    assert.throws(() => read(text), /the same key twice/, text)
  }
  assert.doesNotThrow(() => read('{"é":1,"e\u0301":1}'), 'other code points are another key')
})

test('a number that loses its fraction on the way into a double is refused, one that has none is read', () => {
  for (const text of [
    '0.99999999999999999999',
    '4503599627370497.55',
    '9007199254740993.5',
    '1e-400',
    '12345678901234567890.1e0',
  ]) {
    assert.throws(() => read(text), JsonRefused, text)
  }
  for (const [text, value] of [
    ['1.0', 1],
    ['1.50', 1.5],
    ['15e-1', 1.5],
    ['10e-1', 1],
    ['1.5e1', 15],
    ['0.0e5', 0],
    ['-0.0', -0],
    ['1e21', 1e21],
  ] as const)
    assert.equal(read(text), value, text)
})
