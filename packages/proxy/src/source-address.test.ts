import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddress } from '@ringwall/ring'
import fc from 'fast-check'
import { FORWARDED_ENTRIES_MAX, socketAddress, sourceOf } from './source-address.ts'

const trusted = (address: string): boolean => address.startsWith('10.') || address === '2001:db8::1'

for (const [why, peer, header, address, chain] of [
  ['no header', '10.0.0.1', undefined, '10.0.0.1', undefined],
  ['a peer nobody trusts', '192.0.2.1', '203.0.113.7', '192.0.2.1', undefined],
  ['one entry', '10.0.0.1', '203.0.113.7', '203.0.113.7', '203.0.113.7'],
  ['a forged entry on the left', '10.0.0.1', '1.1.1.1, 203.0.113.7', '203.0.113.7', '203.0.113.7'],
  [
    'trusted hops on the right',
    '10.0.0.1',
    '1.1.1.1, 203.0.113.7, 10.0.0.3,10.0.0.2',
    '203.0.113.7',
    '203.0.113.7, 10.0.0.3, 10.0.0.2',
  ],
  ['nothing but trusted hops', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3', '10.0.0.3, 10.0.0.2'],
  ['ports', '10.0.0.1', '203.0.113.7:4711, [2001:DB8::1]:80', '203.0.113.7', '203.0.113.7, 2001:db8::1'],
  ['IPv6 in another spelling', '10.0.0.1', '2001:DB8:0:0::2', '2001:db8::2', '2001:db8::2'],
  ['IPv4 within IPv6', '10.0.0.1', '::ffff:203.0.113.7', '203.0.113.7', '203.0.113.7'],
  ['garbage on the left', '10.0.0.1', 'x, unknown, _hidden,, 1.1.1.1\t2, 203.0.113.7', '203.0.113.7', '203.0.113.7'],
  ['garbage left of trusted hops', '10.0.0.1', 'x, 203.0.113.7, 10.0.0.2', '203.0.113.7', '203.0.113.7, 10.0.0.2'],
  ['a header that is all garbage', '10.0.0.1', 'x', '10.0.0.1', undefined],
  ['a trusted proxy that knows no address', '10.0.0.1', '203.0.113.7, unknown', '10.0.0.1', undefined],
  ['the same behind another', '10.0.0.1', '203.0.113.7, unknown, 10.0.0.2', '10.0.0.2', '10.0.0.2'],
  ['an empty header', '10.0.0.1', '', '10.0.0.1', undefined],
  ['an empty entry where a trusted proxy writes', '10.0.0.1', '203.0.113.7,', '10.0.0.1', undefined],
  ['nothing but empty entries', '10.0.0.1', ',,,', '10.0.0.1', undefined],
  ['an empty entry on the left', '10.0.0.1', ',203.0.113.7', '203.0.113.7', '203.0.113.7'],
  ['a header injection', '10.0.0.1', '203.0.113.7\r\nx: y', '10.0.0.1', undefined],
  ['a leading zero', '10.0.0.1', '203.0.113.007', '10.0.0.1', undefined],
  ['very many entries on the left', '10.0.0.1', `${'1.1.1.1, '.repeat(5_000)}203.0.113.7`, '203.0.113.7', '203.0.113.7'],
  ['very much garbage on the left', '10.0.0.1', `${'x'.repeat(30_000)},203.0.113.7`, '203.0.113.7', '203.0.113.7'],
  [
    'too many trusted hops',
    '10.0.0.1',
    `203.0.113.7${',10.0.0.2'.repeat(FORWARDED_ENTRIES_MAX)}`,
    '10.0.0.2',
    Array(FORWARDED_ENTRIES_MAX).fill('10.0.0.2').join(', '),
  ],
] as const) {
  test(`the source with ${why} is ${address}`, () => {
    assert.deepEqual(sourceOf(peer, header, trusted), { address, chain })
  })
}

test('a listener on :: and one on 0.0.0.0 name an IPv4 peer alike', () => {
  assert.equal(socketAddress('::ffff:127.0.0.1'), '127.0.0.1')
  assert.equal(socketAddress('127.0.0.1'), '127.0.0.1')
  assert.equal(socketAddress('fe80::1%eth0'), 'fe80::1')
})

test('property: whatever the header says, the source is an address, and never the claim of an untrusted peer', () => {
  const entry = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string())
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.constant('10.0.0.1')), fc.array(entry), (peer, entries) => {
      const { address } = sourceOf(peer, entries.join(','), trusted)
      assert.notEqual(parseAddress(address), undefined)
      if (!trusted(peer)) assert.equal(address, peer)
    }),
  )
})

test('property: nothing that a client writes itself changes whose request it is, nor what is passed on', () => {
  const entry = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.constantFrom('', ' ', ',', 'unknown', '10.0.0.9', '"[::1]"'))
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 50 }), fc.constantFrom('', ', 10.0.0.3', ',10.0.0.3,\t10.0.0.2'), (own, hops) => {
      const honest = sourceOf('10.0.0.1', `203.0.113.7${hops}`, trusted)
      assert.equal(honest.address, '203.0.113.7')
      assert.deepEqual(sourceOf('10.0.0.1', `${own.join(',')}, 203.0.113.7${hops}`, trusted), honest)
    }),
  )
})
