import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { DATABASE_FILE } from './store-file.ts'
import { ALLOWS_PER_SECOND_MAX, openTelemetry } from './telemetry.ts'
import { decisionRecord, span } from './test-records.ts'

const here = { node: 'n1', region: 'eu' }

test('a decision and its spans are found at once after being recorded', async () => {
  const telemetry = await openTelemetry(here)
  const atMs = Date.now()
  telemetry.recordDecision(decisionRecord({ requestId: 'r1', outcome: 'deny', atMs }))
  telemetry.recordSpan(span())
  assert.equal((await telemetry.decision('r1'))?.outcome, 'deny')
  assert.deepEqual(await telemetry.trace(span().traceId), [span()])
  assert.equal((await telemetry.decisions({ outcome: 'allow', limit: 5 })).length, 0)
  assert.deepEqual(await telemetry.top('source', 0, 5), [{ key: '203.0.113.7', requests: 1, denied: 1 }])
  assert.equal(await telemetry.decision('nobody'), undefined)
  await telemetry.stop()
})

test('under a flood of allows every denial is kept, and what sampling left out is counted', async () => {
  const telemetry = await openTelemetry(here)
  for (let at = 0; at < 5_000; at++) {
    telemetry.recordDecision(decisionRecord({ requestId: `a${at}`, atMs: at }))
    if (at % 10 === 0) telemetry.recordDecision(decisionRecord({ requestId: `d${at}`, atMs: at, outcome: 'deny' }))
  }
  assert.equal((await telemetry.decisions({ outcome: 'deny', limit: 1_000 })).length, 500)
  const allows = await telemetry.decisions({ outcome: 'allow', limit: 1_000 })
  assert.ok(allows.length >= ALLOWS_PER_SECOND_MAX && allows.length < 1_000, String(allows.length))
  const skipped = Number(/telemetry_skipped_total\{outcome="allow"\} (\d+)/.exec(telemetry.metrics())?.[1])
  assert.equal(allows.length + skipped, 5_000)
  await telemetry.stop()
})

test('what waits to be stored is bounded as it was said, and what found no room is counted', async () => {
  const telemetry = await openTelemetry({ ...here, waitingMax: 20 })
  for (let at = 0; at < 50; at++) {
    telemetry.recordDecision(decisionRecord({ requestId: `d${at}`, atMs: at, outcome: 'deny' }))
    telemetry.recordSpan(span({ spanId: at.toString(16).padStart(16, '0') }))
  }
  assert.equal((await telemetry.decisions({ outcome: 'deny', limit: 1_000 })).length, 20)
  const lost = (what: string): number =>
    Number(new RegExp(`telemetry_dropped_total\\{what="${what}"\\} (\\d+)`).exec(telemetry.metrics())?.[1])
  assert.deepEqual([lost('decision'), lost('span')], [30, 30])
  await telemetry.stop()
})

test('query values reach neither the store nor a listener, wherever the caller left them', async () => {
  const telemetry = await openTelemetry(here)
  const live: string[] = []
  telemetry.onDecision((record) => live.push(record.path))
  telemetry.recordDecision(decisionRecord({ requestId: 'r1', path: '/reset?token=s3cret' }))
  telemetry.recordSpan(span({ attributes: { 'url.path': '/reset?token=s3cret', 'url.query': 'token=s3cret' } }))
  const kept = JSON.stringify([live, await telemetry.decision('r1'), await telemetry.trace(span().traceId)])
  assert.doesNotMatch(kept, /s3cret/)
  assert.match(kept, /\/reset/)
  await telemetry.stop()
})

test('a listener that throws disturbs neither recording nor the other listeners', async () => {
  const lines: string[] = []
  const telemetry = await openTelemetry({ ...here, log: (_level, line) => lines.push(line) })
  const seen: string[] = []
  telemetry.onDecision(() => {
    throw new Error('broken pipe')
  })
  const end = telemetry.onDecision((record) => seen.push(record.requestId))
  telemetry.recordDecision(decisionRecord({ requestId: 'r1' }))
  end()
  telemetry.recordDecision(decisionRecord({ requestId: 'r2' }))
  assert.deepEqual(seen, ['r1'])
  assert.equal(lines.length, 1)
  assert.equal((await telemetry.decision('r2'))?.requestId, 'r2')
  await telemetry.stop()
})

test('a corrupt file costs its content and one log line, not the start', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-telemetry-'))
  writeFileSync(join(directory, DATABASE_FILE), 'garbage '.repeat(2_000))
  const lines: string[] = []
  const telemetry = await openTelemetry({ ...here, directory, log: (_level, line) => lines.push(line) })
  telemetry.recordDecision(decisionRecord({ requestId: 'r1', atMs: Date.now() }))
  assert.equal((await telemetry.decision('r1'))?.requestId, 'r1')
  assert.equal(lines.length, 1)
  await telemetry.stop()
  const again = await openTelemetry({ ...here, directory })
  assert.equal((await again.decision('r1'))?.requestId, 'r1')
  await again.stop()
  rmSync(directory, { recursive: true })
})

test('after stop, recording is harmless and queries say that the store is stopped', async () => {
  const telemetry = await openTelemetry(here)
  await telemetry.stop()
  telemetry.recordDecision(decisionRecord())
  telemetry.recordSpan(span())
  await assert.rejects(telemetry.decision('r1'), { code: 'TELEMETRY_STORE_UNAVAILABLE' })
  await telemetry.stop()
})

test('a directory that cannot be made and options out of range are refused with a reason', async () => {
  await assert.rejects(openTelemetry({ ...here, directory: '/dev/null/x' }), { code: 'TELEMETRY_STORE_UNAVAILABLE' })
  await assert.rejects(openTelemetry({ ...here, retentionDecisionsMax: 0 }), { code: 'TELEMETRY_OPTIONS_INVALID' })
  await assert.rejects(openTelemetry({ ...here, otlp: { endpoint: 'localhost:4318' } }), /otlp.endpoint/)
})
