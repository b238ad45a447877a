import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { estimateFalsePositives, FalsePositiveWatch, type JudgedRequest, type RouteEstimate } from './false-positives.ts'

let count = 0
function request(client: string, ...matches: readonly string[]): JudgedRequest {
  count += 1
  return {
    label: 'shop',
    choice: 'base',
    client,
    requestId: `r${count}`,
    refused: matches.length > 0,
    matches: matches.map((match) => {
      const [ruleId, variable] = match.split(' ') as [string, string]
      return { ruleId: Number(ruleId), variable }
    }),
  }
}

function browse(watch: FalsePositiveWatch, client: string, times: number): void {
  for (let i = 0; i < times; i += 1) watch.observe(request(client), 0)
}

function only(watch: FalsePositiveWatch, ...more: readonly FalsePositiveWatch[]): RouteEstimate {
  const [route, ...others] = estimateFalsePositives([watch, ...more].map((one) => one.report()))
  assert.equal(others.length, 0)
  return route!
}

test('many good clients at one rule and parameter look like a false positive; one that tries everything like an attack', () => {
  const watch = new FalsePositiveWatch()
  for (let i = 0; i < 20; i += 1) {
    browse(watch, `good${i}`, 8)
    watch.observe(request(`good${i}`, '140001 ARGS:q'), i)
  }
  for (let i = 0; i < 50; i += 1) watch.observe(request('bad', `140001 ARGS:p${i}`), 100)
  const route = only(watch)
  assert.equal(route.requests, 20 * 9 + 50)
  assert.equal(route.refused, 70)
  assert.equal(route.falsePositives, 20)
  assert.equal(route.falsePositiveClients, 20)
  assert.equal(route.attacks, 50)
  assert.deepEqual(
    route.pairs
      .slice(0, 1)
      .map(({ variable, clients, goodClients, looksLike, lastMs }) => [variable, clients, goodClients, looksLike, lastMs]),
    [['ARGS:q', 20, 20, 'false-positive', 19]],
  )
  assert.ok(route.pairs.slice(1).every(({ looksLike }) => looksLike === 'attack'))
})

test('a client that only attacks is not good, however many it pretends to be', () => {
  const watch = new FalsePositiveWatch()
  for (let i = 0; i < 200; i += 1) watch.observe(request(`bot${i}`, '140001 ARGS:q'), 0)
  assert.equal(only(watch).pairs[0]?.looksLike, 'attack')
  assert.equal(only(watch).falsePositives, 0)
})

test('two good clients among bots are unclear: not enough to say so', () => {
  const watch = new FalsePositiveWatch()
  for (const client of ['a', 'b']) {
    browse(watch, client, 10)
    watch.observe(request(client, '140001 ARGS:q'), 0)
  }
  for (let i = 0; i < 9; i += 1) watch.observe(request(`bot${i}`, '140001 ARGS:q'), 0)
  assert.deepEqual([only(watch).pairs[0]?.goodClients, only(watch).pairs[0]?.looksLike], [2, 'unclear'])
})

test('a request is a false positive only when everything that refuses it is', () => {
  const watch = new FalsePositiveWatch()
  for (const client of ['a', 'b', 'c', 'd']) {
    browse(watch, client, 10)
    watch.observe(request(client, '1 ARGS:q'), 0)
  }
  watch.observe(request('bot', '1 ARGS:q', '2 ARGS:x'), 0)
  const route = only(watch)
  assert.deepEqual([route.refused, route.falsePositives, route.attacks], [5, 4, 1])
})

test('what several nodes saw of one client counts together', () => {
  const [a, b] = [new FalsePositiveWatch(), new FalsePositiveWatch()]
  for (const client of ['x', 'y', 'z']) {
    browse(a, client, 3)
    browse(b, client, 3)
    b.observe(request(client, '1 ARGS:q'), 5)
  }
  assert.equal(only(b).falsePositives, 0)
  const both = only(a, b)
  assert.deepEqual([both.requests, both.clients, both.falsePositives], [21, 3, 3])
})

test('another choice of rules begins anew; of two nodes the newer choice counts', () => {
  const [a, b] = [new FalsePositiveWatch(), new FalsePositiveWatch()]
  a.observe(request('x', '1 ARGS:q'), 1)
  b.observe(request('x', '1 ARGS:q'), 1)
  a.observe({ ...request('x'), choice: 'crs' }, 2)
  const route = only(a, b)
  assert.deepEqual([route.requests, route.refused, route.sinceMs], [1, 0, 2])
})

test('names that one client makes up do not push out what many share', () => {
  const watch = new FalsePositiveWatch()
  for (const client of ['a', 'b', 'c', 'd']) {
    browse(watch, client, 10)
    watch.observe(request(client, '1 ARGS:q'), 0)
  }
  for (let i = 0; i < 5_000; i += 1) watch.observe(request('bot', `1 ARGS:${i}`), 1)
  const route = only(watch)
  assert.equal(route.falsePositives, 4)
  assert.equal(route.attacks, 5_000)
  assert.ok(route.pairs.length <= 500)
})

test('property: what is reported is bounded, and parts are never more than the whole', () => {
  const one = fc.record({
    label: fc.constantFrom('a', 'b'),
    client: fc.constantFrom('x', 'y', 'z', 'v', 'w'),
    matches: fc.array(fc.record({ ruleId: fc.integer({ min: 1, max: 3 }), variable: fc.constantFrom('ARGS:a', 'ARGS:b') }), {
      maxLength: 4,
    }),
  })
  fc.assert(
    fc.property(fc.array(one, { maxLength: 100 }), (requests) => {
      const watch = new FalsePositiveWatch()
      for (const [at, { label, client, matches }] of requests.entries())
        watch.observe({ label, choice: '', client, requestId: `${at}`, refused: matches.length > 0, matches }, at)
      for (const route of estimateFalsePositives([watch.report()])) {
        assert.ok(route.falsePositives + route.attacks <= route.refused && route.refused <= route.requests)
        for (const pair of route.pairs) assert.ok(pair.goodClients <= pair.clients && pair.requests <= route.refused)
      }
    }),
  )
})
