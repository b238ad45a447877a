import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseRequestHead } from './request-head.ts'

test('the path is the guard’s own reading of the target, and a target that it cannot read is refused', () => {
  const head = parseRequestHead('GET', '/a/%2e%2e/%61dmin?x=/../y', '1.1', ['Host', 'a'])
  assert.ok(!('refused' in head))
  assert.deepEqual([head.path, head.target], ['/admin', '/a/%2e%2e/%61dmin?x=/../y'])
  for (const target of ['/%ff', '/%00', '/a\\b'])
    assert.ok('refused' in parseRequestHead('GET', target, '1.1', ['Host', 'a']), target)
})

test('a target holds visible ASCII only: what bytes above it spell depends on who reads them', () => {
  const utf8 = Buffer.from('café', 'utf8').toString('latin1')
  for (const target of [
    `/${utf8}`,
    '/caf\xe9',
    `/${utf8};a`,
    `/?q=${utf8}`,
    '/\u0100',
    '/\x80',
    `http://a/${utf8}`,
    `http://a?${utf8}`,
  ]) {
    const head = parseRequestHead('GET', target, '1.1', ['Host', 'a'])
    assert.ok('refused' in head && head.status === 400, JSON.stringify(target))
  }
  const every = Array.from({ length: 94 }, (_, at) => String.fromCharCode(0x21 + at)).join('')
  const fine = `/caf%C3%A9?${every.replace('#', '')}`
  assert.ok(!('refused' in parseRequestHead('GET', fine, '1.1', ['Host', 'a'])), fine)
})

test('the host is without port, in lower case and without the root’s dot; the authority stays as sent', () => {
  for (const [authority, host] of [
    ['Shop.Example.:8080', 'shop.example'],
    ['[2001:DB8::1]:80', '[2001:db8::1]'],
    ['127.0.0.1', '127.0.0.1'],
  ] as const) {
    const head = parseRequestHead('GET', '/', '1.1', ['Host', authority])
    assert.ok(!('refused' in head))
    assert.deepEqual([head.host, head.authority], [host, authority])
  }
})

test('two traceparents are no parent', () => {
  const head = parseRequestHead('GET', '/', '1.1', ['Host', 'a', 'traceparent', 'x', 'traceparent', 'y'])
  assert.ok(!('refused' in head))
  assert.equal(head.traceparent, undefined)
})

test('property: no header list makes the parser throw', () => {
  const name = fc.oneof(
    fc.constantFrom('host', 'connection', 'content-length', 'transfer-encoding', 'upgrade', 'te'),
    fc.string(),
  )
  fc.assert(
    fc.property(fc.string(), fc.array(fc.tuple(name, fc.string({ unit: 'binary' }))), (url, fields) => {
      parseRequestHead('GET', url, '1.1', ['host', 'a', ...fields.flat()])
    }),
  )
})
