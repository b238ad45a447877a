import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddress, parsePrefix, prefixContains } from '@ringwall/ring'
import fc from 'fast-check'
import { sourceKey, subjectOfSource } from './limits.ts'

test('a key names its source again, and the network that it is of', () => {
  assert.deepEqual(subjectOfSource(sourceKey('203.0.113.7')), {
    source: { kind: 'ip', value: '203.0.113.7' },
    network: '203.0.113.0/24',
  })
  assert.deepEqual(subjectOfSource(sourceKey('2001:db8:1:2:3:4:5:6')), {
    source: { kind: 'cidr', value: '2001:db8:1:2::/64' },
    network: '2001:db8:1::/48',
  })
  assert.deepEqual(subjectOfSource(sourceKey('::ffff:203.0.113.7'))?.source, { kind: 'ip', value: '203.0.113.7' })
  for (const key of ['', 'unknown', '1:2:3', '4294967296:0', '203.0.113.7/32', '2001:db8::1'])
    assert.equal(subjectOfSource(key), undefined, key)
})

test('property: an address lies in the source and the network that its key names', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const address = parseAddress(text)
      if (address === undefined) return
      const subject = subjectOfSource(sourceKey(text))
      assert.ok(subject !== undefined, text)
      for (const value of [subject.source.value, subject.network]) {
        const prefix = parsePrefix(value)
        assert.ok(prefix !== undefined && prefixContains(prefix, address), `${text} in ${value}`)
      }
    }),
  )
})
