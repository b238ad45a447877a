import assert from 'node:assert/strict'
import { test } from 'node:test'
import { normalizeRoutingPath } from '@ringwall/guard'
import fc from 'fast-check'
import { rewritingOf, rewrittenFields, rewrittenTarget } from './rewriting.ts'
import { policyOf } from './test-ring.ts'

const of = (rewrite: object) =>
  rewritingOf(policyOf({ shop: { upstreams: [{ url: 'http://127.0.0.1:1' }], rewrite } }).services.shop!.rewrite!)

/** As the proxy asks: with the path that routing goes by. */
function rewritten(from: string, to: string, target: string): string | undefined {
  const routing = normalizeRoutingPath(target)
  return routing === undefined ? undefined : rewrittenTarget(of({ path: { from, to } }).path!, target, routing.path)
}

for (const [from, to, target, expected] of [
  ['/api', '/v2', '/api', '/v2'],
  ['/api', '/v2', '/api/', '/v2/'],
  ['/api', '/v2', '/api/users?q=1', '/v2/users?q=1'],
  ['/api/', '/v2/', '/api/users', '/v2/users'],
  ['/api', '/', '/api/users', '/users'],
  ['/api', '/', '/api', '/'],
  ['/api', '/', '/api?q=/api', '/?q=/api'],
  ['/', '/app', '/users', '/app/users'],
  ['/', '/app', '/', '/app/'],
  ['/api', '/v2', '/apix', '/apix'],
  ['/api', '/v2', '/other/api', '/other/api'],
  ['/api', '/', '/api//evil.example/x', '/evil.example/x'],
  ['/api', '/v2', '/api/a%20b;p=1', '/v2/a%20b;p=1'],
  ['/api', '/v2', '/api/a/../b', '/v2/a/../b'],
] as const) {
  test(`${from} to ${to}: ${target} becomes ${expected}`, () => assert.equal(rewritten(from, to, target), expected))
}

for (const target of [
  '/%61pi/users',
  '/api/../admin',
  '/x/../api/users',
  '//api/users',
  '/api;x=1/users',
  '/api/a/../../api/../admin',
  '/api/%2e%2e/admin',
  '/api/..%2fadmin',
  '/api/..%252fadmin',
  '/api/%252e%252e/admin',
  '/api/a/..;/../admin',
  '/api/..%5cadmin',
  '/api/;/..%252fadmin',
  '/api/a%2fb/../../admin',
  '/api/%2525252525252e/x',
]) {
  test(`${target} is refused where /api is rewritten: it can be read in two ways`, () => {
    assert.equal(rewritten('/api', '/v2', target), undefined)
  })
}

test('what is rewritten stays under its new prefix, however a server decodes and resolves it', () => {
  const pieces = fc.constantFrom(
    '/',
    '/..',
    '.',
    '..',
    '%2e',
    '%252e',
    '%2f',
    '%252F',
    '%5c',
    ';',
    ';a',
    'x',
    'api',
    '%',
    '25',
    '2e',
    '%32',
  )
  const targets = fc.array(pieces, { maxLength: 12 }).map((parts) => `/api${parts.join('')}`)
  const decoded = (path: string) =>
    path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  const readings = (path: string): string[] => {
    const all = [path]
    for (let at = 0; at < 4; at++) all.push(decoded(all.at(-1)!))
    const slashed = [...all, ...all.map((reading) => reading.replaceAll('\\', '/'))]
    return [...slashed, ...slashed.map((reading) => reading.replace(/;[^/]*/g, ''))]
  }
  const resolved = (path: string): string => {
    const out: string[] = []
    for (const segment of path.split('/').filter((piece) => piece !== '')) {
      if (segment === '..') out.pop()
      else if (segment !== '.') out.push(segment)
    }
    return `/${out.join('/')}`
  }
  fc.assert(
    fc.property(targets, (target) => {
      const result = rewritten('/api', '/v2', target)
      if (result === undefined || !result.startsWith('/v2')) return
      for (const reading of readings(result)) assert.match(resolved(reading), /^\/v2/, `${target} → ${result} read as ${reading}`)
    }),
    { numRuns: 10_000 },
  )
})

test('headers that are set replace what there is of them, in any spelling', () => {
  const { request, response, host } = of({ host: 'inner:80', request: { set: { 'X-Team': 'a b' }, remove: ['X-Debug'] } })
  assert.deepEqual(request, {
    dropped: new Set(['x-team', 'x-debug']),
    fields: ['X-Team', 'a b'],
    added: 'X-Team: a b\r\n',
  })
  assert.deepEqual(rewrittenFields(request!, ['X-TEAM', 'c', 'Server', 'x', 'X_Debug', '1']), ['Server', 'x', 'X-Team', 'a b'])
  assert.equal(response, undefined)
  assert.equal(host, 'inner:80')
})
