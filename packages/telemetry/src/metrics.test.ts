import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics, SERIES_MAX } from './metrics.ts'

test('a hostile label value cannot break out of its line', () => {
  const metrics = new Metrics()
  metrics.count('probe', { path: 'a"} 9\nringwall_evil 1\\' })
  assert.equal(metrics.text().split('\n')[2], 'ringwall_probe_total{path="a\\"} 9\\nringwall_evil 1\\\\"} 1')
})

test('histogram buckets are cumulative and end with the count', () => {
  const metrics = new Metrics()
  for (const guardUs of [5, 6, 40_000_000]) {
    metrics.observeRequest({
      outcome: 'allow',
      check: 'none',
      stale: guardUs === 6,
      service: 'shop',
      guardUs,
      totalUs: 10,
      upstreamUs: undefined,
    })
  }
  const text = metrics.text()
  assert.match(text, /ringwall_guard_microseconds_bucket\{outcome="allow",le="5"\} 1\n/)
  assert.match(text, /ringwall_guard_microseconds_bucket\{outcome="allow",le="10"\} 2\n/)
  assert.match(text, /ringwall_guard_microseconds_bucket\{outcome="allow",le="\+Inf"\} 3\n/)
  assert.match(text, /ringwall_guard_microseconds_count\{outcome="allow"\} 3\n/)
  assert.match(text, /ringwall_stale_decisions_total\{outcome="allow",service="shop"\} 1\n/)
  assert.match(text, /ringwall_requests_total\{check="none",outcome="allow",service="shop"\} 3\n/)
})

test('label sets past the bound are refused and counted, and known ones go on counting', () => {
  const metrics = new Metrics()
  for (let at = 0; at < SERIES_MAX + 10; at++) metrics.count('flood', { id: String(at) })
  metrics.count('flood', { id: '0' })
  const text = metrics.text()
  assert.equal(text.split('\n').filter((line) => line.startsWith('ringwall_flood_total{')).length, SERIES_MAX)
  assert.match(text, /ringwall_flood_total\{id="0"\} 2\n/)
  assert.match(text, /ringwall_metric_series_dropped_total 10\n/)
})

test('a name used as gauge and as counter keeps its first kind', () => {
  const metrics = new Metrics()
  metrics.setGauge('height_total', 7)
  metrics.count('height')
  assert.match(metrics.text(), /# TYPE ringwall_height_total gauge\nringwall_height_total 7\n/)
})

test('a family that is set whole holds what was given last and nothing else, and frees the room of the rest', () => {
  const metrics = new Metrics()
  const up = (...upstreams: string[]) => upstreams.map((upstream) => ({ labels: { upstream }, value: 1 }))
  metrics.setFamily('gauge', 'upstream_up', up('a', 'b'))
  metrics.setFamily('gauge', 'upstream_up', up('b', 'c'))
  const lines = metrics
    .text()
    .split('\n')
    .filter((line) => line.startsWith('ringwall_upstream_up'))
  assert.deepEqual(lines, ['ringwall_upstream_up{upstream="b"} 1', 'ringwall_upstream_up{upstream="c"} 1'])
  for (let at = 0; at < 5_000; at++) metrics.setFamily('gauge', 'upstream_up', up(`u${at}`))
  assert.doesNotMatch(metrics.text(), /series_dropped/)
  metrics.setFamily('gauge', 'upstream_up', [])
  assert.doesNotMatch(metrics.text(), /upstream_up/)
})
