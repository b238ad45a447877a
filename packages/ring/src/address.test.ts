import assert from 'node:assert/strict'
import { BlockList, isIP, isIPv4 } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  formatAddress,
  formatPrefix,
  isSource,
  parseAddress,
  parsePrefix,
  parsePrefixLoosely,
  prefixContains,
  scanAddress,
} from './address.ts'

const canonical = (text: string) => {
  const address = parseAddress(text)
  return address && formatAddress(address)
}

test('addresses are written as RFC 5952 asks, and mapped IPv4 is IPv4', () => {
  const cases: Record<string, string> = {
    '203.0.113.7': '203.0.113.7',
    '2001:DB8:0:0:0:0:0:1': '2001:db8::1',
    '2001:db8:0:1:1:1:1:1': '2001:db8:0:1:1:1:1:1',
    '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
    '::': '::',
    '::1': '::1',
    '1::': '1::',
    '::ffff:203.0.113.7': '203.0.113.7',
    '::FFFF:cb00:7107': '203.0.113.7',
    '64:ff9b::192.0.2.33': '64:ff9b::c000:221',
  }
  for (const [text, wanted] of Object.entries(cases)) assert.equal(canonical(text), wanted, text)
})

test('what is no address is refused, spellings that other readers take for octal or short included', () => {
  const wrong = [
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '1..2.3',
    '1.2.3.4 ',
    '0x1.2.3.4',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
  ]
  wrong.push(
    '1:2:3:4:5:6:7:8:9',
    '12345::',
    'g::',
    '::1.2.3',
    '1:2:3:4:5:6:7:1.2.3.4',
    'fe80::1%eth0',
    '1.2.3.4%1',
    '1:',
    ':1',
    '::1%',
  )
  for (const text of wrong) assert.equal(parseAddress(text), undefined, text)
})

test('property: the platform and we agree on what is an address', () => {
  const near = fc.stringMatching(/^[0-9a-f:.]{1,20}$/)
  fc.assert(
    fc.property(fc.oneof(near, fc.ipV4(), fc.ipV6()), (text) => {
      assert.equal(parseAddress(text) !== undefined, isIP(text) !== 0, text)
      const spelled = canonical(text)
      if (spelled !== undefined) assert.equal(canonical(spelled), spelled)
    }),
    { numRuns: 2_000 },
  )
})

test('a zone is passed over when matching', () => {
  assert.equal(scanAddress('fe80::1%eth0'), 6)
})

test('property: a prefix holds what the platform says it holds', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(128), (base, other, bits) => {
      const prefix = parsePrefixLoosely(`${base}/${bits}`)
      fc.pre(prefix !== undefined && !base.includes('.') === base.includes(':') && !/^::ffff:/i.test(base))
      const list = new BlockList()
      list.addSubnet(base, bits, isIPv4(base) ? 'ipv4' : 'ipv6')
      for (const text of [other, base]) {
        const address = parseAddress(text)!
        if ((address.version === 4) !== isIPv4(text)) continue
        assert.equal(
          prefixContains(prefix!, address),
          list.check(text, isIPv4(text) ? 'ipv4' : 'ipv6') && address.version === prefix!.version,
          text,
        )
      }
    }),
  )
})

test('prefixes with bits beyond their length are refused, and read loosely on request', () => {
  assert.equal(parsePrefix('10.0.0.1/8'), undefined)
  assert.equal(formatPrefix(parsePrefixLoosely('10.0.0.1/8')!), '10.0.0.0/8')
  assert.equal(formatPrefix(parsePrefix('::ffff:10.0.0.0/104')!), '10.0.0.0/8')
  for (const text of ['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/08', '10.0.0.0/', '::/129', '10.0.0.0/8/8'])
    assert.equal(parsePrefix(text), undefined, text)
})

test('unspecified, multicast and broadcast are no sources', () => {
  for (const text of ['0.0.0.0', '224.0.0.1', '239.1.2.3', '255.255.255.255', '::', 'ff02::1'])
    assert.ok(!isSource(parseAddress(text)!), text)
  for (const text of ['127.0.0.1', '223.255.255.255', '240.0.0.1', '::1', 'fe80::1'])
    assert.ok(isSource(parseAddress(text)!), text)
})
