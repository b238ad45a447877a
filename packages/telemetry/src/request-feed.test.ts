import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics } from './metrics.ts'
import { RequestFeed } from './request-feed.ts'
import { decisionRecord, span } from './test-records.ts'
import type { RequestMeasure } from './types.ts'

const measure = (us: number, more: Partial<RequestMeasure> = {}): RequestMeasure => ({
  outcome: 'allow',
  check: 'none',
  stale: false,
  service: 'app',
  guardUs: us,
  totalUs: us * 2,
  upstreamUs: us,
  ...more,
})

test('what feeds count comes to the same as counting it at once', () => {
  const [whole, summed] = [new Metrics(), new Metrics()]
  const feeds = [new RequestFeed(2), new RequestFeed(2)]
  const measures = Array.from({ length: 500 }, (_, at) =>
    measure(at * 37, at % 7 === 0 ? { outcome: 'deny', check: 'waf', upstreamUs: undefined, stale: at % 2 === 0 } : {}),
  )
  for (const [at, one] of measures.entries()) {
    whole.observeRequest(one)
    feeds[at % 2]!.observeRequest(one)
    if (at % 100 === 0) summed.observeRequests(feeds[at % 2]!.news()?.counts ?? [])
  }
  for (const feed of feeds) summed.observeRequests(feed.news()?.counts ?? [])
  assert.equal(summed.text(), whole.text())
  assert.equal(feeds[0]!.news(), undefined)
})

test('a feed keeps its part of what is kept in a second, and what it kept stands for the rest', () => {
  const feed = new RequestFeed(2)
  for (let at = 0; at < 10_000; at++) if (feed.wants('allow')) feed.recordDecision(decisionRecord({ requestId: `n1-${at}` }))
  const { decisions = [] } = feed.news() ?? {}
  // 100 a second and one in 64 of the rest; the loop may see a second end.
  assert.ok(decisions.length >= 100 && decisions.length < 100 * 3 + 10_000 / 32, `${decisions.length} kept`)
  assert.ok(decisions.some(({ weight }) => weight === 64))
})

test('a feed that nobody empties stops growing, and says how much it dropped', () => {
  const feed = new RequestFeed(1)
  for (let at = 0; at < 10_000; at++) feed.recordSpan(span())
  const news = feed.news()
  assert.equal(news?.spans.length, 6_000)
  assert.equal(news?.dropped, 4_000)
})
