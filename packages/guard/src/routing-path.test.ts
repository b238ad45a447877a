import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { normalizeRoutingPath, readingsOf } from './routing-path.ts'

test('every spelling of a path folds into one', () => {
  const cases: Record<string, string> = {
    '/admin': '/admin',
    '/admin?x=1': '/admin',
    '/admin#x': '/admin',
    '//admin': '/admin',
    '/./admin': '/admin',
    '/x/../admin': '/admin',
    '/../../admin': '/admin',
    '/%61dmin': '/admin',
    '/x/%2e%2E/admin': '/admin',
    '/x/%2e./admin': '/admin',
    '/x%2f..%2fadmin': '/admin',
    '/admin;jsessionid=1': '/admin',
    '/x/..;/admin': '/admin',
    '/admin/': '/admin/',
    '/admin/.': '/admin/',
    '/admin/x/..': '/admin/',
    '/a//b///c': '/a/b/c',
    'http://shop.example/admin?x': '/admin',
    'HTTPS://shop.example': '/',
    '/': '/',
    '//': '/',
    '/..': '/',
    '*': '*',
    '/%2561dmin': '/%61dmin',
    '/caf%C3%A9': '/café',
    '/.well-known/x': '/.well-known/x',
    '/..a/b.': '/..a/b.',
  }
  for (const [target, path] of Object.entries(cases)) assert.deepEqual(normalizeRoutingPath(target), { path }, target)
})

test('targets that servers read differently are refused', () => {
  const wrong = [
    '',
    'admin',
    '/a\\b',
    '/a%5cb',
    '/a%00',
    '/a\u0000',
    '/a\n',
    '/a%0d',
    '/%',
    '/%zz',
    '/%ff',
    '/%c0%ae',
    'ftp://x/',
    '**',
    `/${'a'.repeat(70_000)}`,
  ]
  for (const target of wrong) assert.equal(normalizeRoutingPath(target), undefined, JSON.stringify(target))
})

test('plain targets have one reading; dots, encoded slashes, parameters and needless encodings have more', () => {
  for (const target of ['/', '/a/b?x=%2e%2e/', '/a-b_c.d']) assert.deepEqual(readingsOf(target), [], target)
  assert.ok(readingsOf('/admin/../public').includes('/admin/../public'))
  assert.ok(readingsOf('/static/..%2fadmin').some((path) => path.startsWith('/static/')))
  assert.ok(readingsOf('/static;/x').includes('/static;/x'))
  assert.ok(readingsOf('/%61dmin').includes('/%61dmin'))
  assert.ok(readingsOf('/static/..\\admin').includes('/admin'))
  assert.ok(readingsOf('/%61dmin/%ff').includes('/admin/ÿ'))
  assert.ok(readingsOf('/admin/../%ff').some((path) => path.startsWith('/admin/')))
  assert.deepEqual(readingsOf('/caf%C3%A9'), ['/café'])
})

test('property: a normal path has no dot segment, no empty one, and is its own normal form', () => {
  const pieces = fc.constantFrom('/', '.', '..', '%2e', '%2F', ';', 'a', 'admin', '%61', '?', '//', '\\', '%00', '%25')
  fc.assert(
    fc.property(
      fc.array(pieces).map((list) => `/${list.join('')}`),
      (target) => {
        const normal = normalizeRoutingPath(target)
        readingsOf(target)
        if (normal === undefined) return
        assert.ok(normal.path.startsWith('/'))
        const segments = normal.path.split('/').slice(1)
        assert.ok(
          segments.every((segment, at) => segment !== '.' && segment !== '..' && (segment !== '' || at === segments.length - 1)),
          normal.path,
        )
        // A literal percent sign may stay after decoding once; decoding it again would be decoding twice.
        if (!normal.path.includes('%')) assert.deepEqual(normalizeRoutingPath(normal.path.replace('?', '%3f')), normal)
      },
    ),
    { numRuns: 1_000 },
  )
})
