import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalJson } from './canonical-json.ts'
import { EncodingInvalid } from './errors.ts'

test('keys stand in order of UTF-16 code units, as RFC 8785 section 3.2.3 shows', () => {
  const value = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 }
  assert.equal(canonicalJson(value), '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\ud83d\ude00":5,"\ufb33":3}')
})

test('numbers and text take the forms of RFC 8785', () => {
  assert.equal(
    canonicalJson([Number('333333333.33333329'), 1e30, 4.5, 2e-3, 1e-27, -0]),
    '[333333333.3333333,1e+30,4.5,0.002,1e-27,0]',
  )
  assert.equal(canonicalJson('\u20ac$\u000f\nA\'B"\\/'), '"€$\\u000f\\nA\'B\\"\\\\/"')
})

test('what JSON cannot hold is refused, not bent', () => {
  const deep: unknown[] = []
  let at = deep
  for (let depth = 0; depth < 100; depth += 1) {
    const next: unknown[] = []
    at.push(next)
    at = next
  }
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, '\ud800', { '\udc00': 1 }, 1n, [undefined], () => 1, deep]) {
    assert.throws(() => canonicalJson(value), EncodingInvalid)
  }
})

test('what the platform writes in its own way is written as the RFC prescribes', () => {
  class Held {
    readonly b = 1
    readonly a = 2
  }
  const inherited = Object.create({ z: 1 }) as Record<string, unknown>
  inherited.a = 1
  const array = [1, 2]
  Object.assign(array, { toJSON: () => 'bent' })
  for (const [value, text] of [
    [{ a: new Date(0), b: 1 }, '{"a":{},"b":1}'],
    [new Held(), '{"a":2,"b":1}'],
    [inherited, '{"a":1}'],
    [array, '[1,2]'],
    [{ a: undefined, b: [{ d: 1, c: 2 }] }, '{"b":[{"c":2,"d":1}]}'],
    [{ a: { b: { d: 1, c: undefined } } }, '{"a":{"b":{"d":1}}}'],
    [{ 2: 'b', 10: 'a' }, '{"10":"a","2":"b"}'],
  ] as const)
    assert.equal(canonicalJson(value), text)
  assert.throws(() => canonicalJson({ toJSON: () => 1 }), EncodingInvalid)
  assert.throws(() => canonicalJson({ a: ['\ud800'] }), EncodingInvalid)
})

test('property: it parses back to the same value, and order of keys does not show', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 3 })), (value) => {
      let text: string
      try {
        text = canonicalJson(value)
      } catch (error) {
        assert.ok(error instanceof EncodingInvalid)
        return
      }
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)))
      const reversed = Object.fromEntries(Object.entries(value).reverse())
      assert.equal(canonicalJson(reversed), text)
    }),
  )
})
