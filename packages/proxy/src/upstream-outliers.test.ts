import assert from 'node:assert/strict'
import { test } from 'node:test'
import { policyOf } from './test-ring.ts'
import { DEFAULT_LIMITS } from './types.ts'
import { Upstream } from './upstream.ts'
import { lag, Outliers } from './upstream-outliers.ts'
import { termsOf } from './upstream-terms.ts'

/** Upstreams that nothing is ever sent to, and what watches over them. */
function outliersOf(count: number, outliers: object = {}) {
  const entries = Array.from({ length: count }, (_, at) => ({ url: `http://127.0.0.1:${at + 1}` }))
  const service = policyOf({ shop: { upstreams: entries, outliers } }).services.shop!
  const members = service.upstreams.map((entry) => new Upstream(entry.url, termsOf(service, entry), DEFAULT_LIMITS))
  return { members, outliers: new Outliers(members, service.outliers) }
}

const states = (members: readonly Upstream[]): string => members.map(({ state }) => state[0]).join('')

test('so many failures in a row eject an upstream, one good answer between them does not', () => {
  const { members, outliers } = outliersOf(4, { consecutive: 3 })
  for (let at = 0; at < 10; at++) {
    outliers.failed(members[0]!, 'answers 503')
    outliers.failed(members[0]!, 'answers 503')
    outliers.succeeded(members[0]!)
  }
  assert.equal(states(members), 'uuuu')
  for (let at = 0; at < 3; at++) outliers.failed(members[1]!, 'answers 503')
  assert.equal(states(members), 'ueuu')
  assert.equal(members[1]!.reason, 'ejected: answers 503, 3 failures in a row')
})

test('never more than the share is out, those that are out by other reasons counted; of one, none', () => {
  for (const [count, maxEjected, out] of [
    [4, '50%', 2],
    [3, '50%', 1],
    [1, '100%', 1],
    [1, '50%', 0],
    [4, '0%', 0],
    [4, '100%', 4],
  ] as const) {
    const { members, outliers } = outliersOf(count, { maxEjected })
    for (const upstream of members) for (let at = 0; at < 20; at++) outliers.failed(upstream, 'answers 502')
    assert.equal(members.filter(({ healthy }) => !healthy).length, out, `${count} ${maxEjected}`)
  }
})

test('an ejection ends by itself, and the next ones last longer, up to a bound; a quiet time forgives', (t) => {
  let nowMs = 1_000
  t.mock.method(performance, 'now', () => nowMs)
  const { members, outliers } = outliersOf(2, { consecutive: 1, ejectFor: '10s', ejectForMax: '25s' })
  const [upstream] = members as [Upstream]
  const lasts = (): number => {
    outliers.failed(upstream, 'broke')
    assert.equal(upstream.state, 'ejected')
    const from = nowMs
    while (upstream.state === 'ejected') {
      nowMs += 1_000
      upstream.sweep(nowMs)
    }
    return nowMs - from
  }
  assert.deepEqual([lasts(), lasts(), lasts()], [10_000, 20_000, 25_000])
  nowMs += 120_000
  assert.equal(lasts(), 10_000)
  assert.equal(upstream.ejections, 4)
})

test('one that succeeds far less often than the others is ejected at the end of the window', () => {
  const { members, outliers } = outliersOf(3, { consecutive: 0, successGap: '30%' })
  const [bad, fair, good] = members as [Upstream, Upstream, Upstream]
  for (let at = 0; at < 200; at++) {
    if (at % 2 === 0) outliers.failed(bad, 'answers 503')
    else outliers.succeeded(bad)
    if (at % 5 === 0) outliers.failed(fair, 'answers 503')
    else outliers.succeeded(fair)
    outliers.succeeded(good)
  }
  assert.equal(states(members), 'uuu')
  outliers.sweep(performance.now() + 11_000)
  assert.equal(states(members), 'euu')
  assert.match(bad.reason, /^ejected: 50% of its answers are good, 40% fewer than those of the others$/)
  assert.equal(bad.tally.good + fair.tally.bad, 0)
})

test('a gap says nothing when it may be chance, when there are few answers, or when all are alike', () => {
  assert.equal(lag(50, 40, 100, 0), undefined)
  assert.equal(lag(100, 100, 50, 40), undefined)
  assert.equal(lag(190, 10, 195, 5), undefined)
  assert.equal(lag(50, 150, 50, 150), undefined)
  assert.equal(lag(200, 0, 200, 0), undefined)
  assert.equal(lag(100, 100, 200, 0), 0.5)
})

test('statuses that the policy does not name, and all under 500, are no failures', () => {
  const { outliers } = outliersOf(2, { statuses: [500, 503] })
  assert.deepEqual(
    [200, 404, 499, 500, 502, 503].filter((status) => outliers.isFailure(status)),
    [500, 503],
  )
})
