import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ApiEvent } from '@ringwall/proxy'
import { type Policy, parsePolicyDocument } from '@ringwall/ring'
import { ApiActivity, foldPath, UNKNOWN_ENDPOINTS_MAX } from './api-activity.ts'

function policy(paths: string): Policy {
  const text = `version: 1\nservices:\n  shop: { upstreams: [{ url: "http://127.0.0.1:1" }], api: { paths: ${paths} } }\n`
  const document = parsePolicyDocument(text)
  assert.ok(document.ok)
  return document.policy
}

const SHOP = policy('{ /orders: { get: {}, post: {} }, "/orders/{id}": { get: { parameters: [{ name: id, in: path }] } } }')
const event = (more: Partial<ApiEvent>): ApiEvent => ({
  service: 'shop',
  method: 'GET',
  path: '/x',
  operation: undefined,
  rule: 'api:path',
  status: 403,
  atMs: 1,
  ...more,
})

test('ids in paths are folded, words are not', () => {
  for (const [path, folded] of [
    ['/orders/17/lines/4', '/orders/{}/lines/{}'],
    ['/u/9b2f3a1c-7c1e-4d0a-9a55-0f1d2c3b4a59', '/u/{}'],
    ['/blob/deadbeef01', '/blob/{}'],
    ['/deadbeef/feed', '/deadbeef/feed'],
    ['/v2/a1', '/v2/a1'],
    ['/', '/'],
  ] as const)
    assert.equal(foldPath(path), folded)
  assert.equal(foldPath(`/${'x'.repeat(10_000)}`).length, 201)
})

test('declared operations are listed with what they were asked, also those never asked', () => {
  const activity = new ApiActivity()
  activity.follow(SHOP)
  activity.observe(event({ operation: 'GET /orders', rule: undefined, status: 200, atMs: 5 }))
  activity.observe(event({ operation: 'GET /orders', rule: 'api:query page', atMs: 7 }))
  assert.deepEqual(activity.operations(SHOP), [
    { service: 'shop', operation: 'GET /orders', requests: 2, outside: 1, lastAtMs: 7 },
    { service: 'shop', operation: 'POST /orders', requests: 0, outside: 0, lastAtMs: undefined },
    { service: 'shop', operation: 'GET /orders/{id}', requests: 0, outside: 0, lastAtMs: undefined },
  ])
  assert.deepEqual(activity.unknown(), [])
})

test('unknown endpoints are counted with their statuses; a scan does not push out what comes again', () => {
  const activity = new ApiActivity()
  activity.follow(SHOP)
  for (const id of [1, 2, 3]) activity.observe(event({ path: `/legacy/${id}`, status: id === 3 ? 404 : 200, atMs: id }))
  for (let index = 0; index < 5_000; index += 1) activity.observe(event({ path: `/scan/x${index}y`, atMs: 10 + index }))
  const unknown = activity.unknown()
  assert.equal(unknown.length, UNKNOWN_ENDPOINTS_MAX)
  assert.deepEqual(unknown[0], {
    service: 'shop',
    method: 'GET',
    path: '/legacy/{}',
    requests: 3,
    firstAtMs: 1,
    lastAtMs: 3,
    statuses: new Map([
      [200, 2],
      [404, 1],
    ]),
  })
  assert.equal(activity.dropped, 5_001 - UNKNOWN_ENDPOINTS_MAX)
})

test('when a service declares another API, what was unknown to the old one is forgotten', () => {
  const activity = new ApiActivity()
  activity.follow(SHOP)
  activity.observe(event({ path: '/legacy' }))
  activity.observe(event({ operation: 'POST /orders', rule: undefined }))
  activity.follow(policy('{ /orders: { get: {}, post: {} }, "/orders/{id}": { get: { parameters: [{ name: id, in: path }] } } }'))
  assert.equal(activity.unknown().length, 1, 'the same API')
  const next = policy('{ /legacy: { get: {} } }')
  activity.follow(next)
  assert.deepEqual([activity.unknown(), activity.operations(next).map(({ requests }) => requests)], [[], [0]])
})
