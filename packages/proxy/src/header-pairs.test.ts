import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fieldsOf, scanHead, sectionOf } from './head-scanner.ts'
import { headerPairs } from './header-pairs.ts'

const WHOLE = 'GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n'

test('headers that repeat have one list of pairs, and no others get it', () => {
  const bytes = Buffer.from(WHOLE)
  assert.equal(scanHead(bytes, 0, bytes.length, { lineBytesMax: 99, bytesMax: 99, fieldsMax: 9 }), bytes.length)
  const fields = fieldsOf(WHOLE)
  const section = sectionOf(WHOLE, fields)!
  const pairs = [
    ['Host', 'a'],
    ['X', 'b'],
  ]
  assert.deepEqual(headerPairs(fields, undefined), pairs)
  assert.notEqual(headerPairs(fields, section), headerPairs(fields, section))
  section.repeats = true
  assert.deepEqual(headerPairs(fields, section), pairs)
  assert.equal(headerPairs(fields, section), headerPairs(fields, section))
  assert.deepEqual(headerPairs(['Y', 'c'], section), [['Y', 'c']])
})
