import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseStrictObject } from './strict-json.ts'

test('a key that occurs twice is refused at any depth, in any spelling, and whatever stands before its colon', () => {
  const twice = [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"x":[{"a":1,"b":2,"a":3}]}',
    ...[1, 63, 64, 65, 5_000].map((blanks) => `{"a"${' '.repeat(blanks)}:1,"a":2}`),
    `{"a":1,"a"${'\t\r\n '.repeat(40)}:2}`,
  ]
  for (const text of twice) assert.equal(parseStrictObject(text), undefined, text.slice(0, 40))
})

test('like keys of different objects, and values like keys, are no duplicates', () => {
  const text = `{ "a" ${' '.repeat(100)}: {"a":"b"}, "b" : ["a","a",{"a":1}] }`
  assert.deepEqual(parseStrictObject(text), { a: { a: 'b' }, b: ['a', 'a', { a: 1 }] })
  for (const no of ['[]', '1', 'null', '{"a":1', '']) assert.equal(parseStrictObject(no), undefined)
})
