import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { normalizePath, parseRequestHead } from './request-head.ts'

for (const [target, path] of [
  ['/', '/'],
  ['/a/b?c=/../d', '/a/b'],
  ['/%61dmin', '/admin'],
  ['/a/%2e%2e/admin', '/admin'],
  ['/a/..%2fadmin', '/admin'],
  ['//admin//x/', '/admin/x/'],
  ['/a/./b/.', '/a/b/'],
  ['/../../etc', '/etc'],
  ['/a\\..\\admin', '/admin'],
  ['/%2561dmin', '/%61dmin'],
  ['/%61dmin%ff', '/admin\u00ff'],
  ['/caf%C3%A9', '/caf\u00e9'],
] as const) {
  test(`for routing, ${target} is ${path}`, () => assert.equal(normalizePath(target), path))
}

test('property: a normalized path begins with one slash, and has neither dot segments nor double slashes', () => {
  const piece = fc.constantFrom('/', '.', '..', 'a', '%2e', '%2F', '\\', '%', '%ff', '?')
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const path = normalizePath(`/${pieces.join('')}`)
      assert.match(path, /^\/(?!\/)/)
      if (pieces.every((each) => each !== '%')) assert.doesNotMatch(path, /\/\/|\/\.\.?(?:\/|$)/)
    }),
  )
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
