import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Store } from './store.ts'
import { DATABASE_FILE } from './store-file.ts'
import { decisionRecord, span } from './test-records.ts'

const inMemory = { directory: undefined, retentionDecisionsMax: 100, retentionMs: 10_000 }

function withDirectory(run: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-telemetry-'))
  try {
    run(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

test('retention by rows deletes the oldest allows first, and denials only once no allow is left', () => {
  const store = new Store({ ...inMemory, retentionDecisionsMax: 3 }, 0)
  const rows = ['deny', 'allow', 'deny', 'allow', 'deny', 'deny'] as const
  store.insert(
    rows.map((outcome, at) => ({ record: decisionRecord({ requestId: `${outcome}${at}`, atMs: at, outcome }), weight: 1 })),
    [],
  )
  store.retain(1)
  assert.deepEqual(
    store.decisions({ limit: 10 }).map((record) => record.requestId),
    ['deny5', 'deny4', 'deny2'],
  )
})

test('retention by age deletes decisions and spans past it, and keeps the rest', () => {
  const store = new Store(inMemory, 0)
  store.insert(
    [
      { record: decisionRecord({ requestId: 'old', atMs: 1_000 }), weight: 1 },
      { record: decisionRecord({ requestId: 'new', atMs: 9_000 }), weight: 1 },
    ],
    [span({ traceId: 'old', startUs: 1_000_000 }), span({ traceId: 'new', startUs: 9_000_000 })],
  )
  store.retain(15_000)
  assert.equal(store.decision('old'), undefined)
  assert.equal(store.decision('new')?.requestId, 'new')
  assert.equal(store.trace('old').length, 0)
  assert.equal(store.trace('new').length, 1)
})

test('top adds up what samples stand for, and counts every outcome but allow as denied', () => {
  const store = new Store(inMemory, 0)
  const rows = [
    { record: decisionRecord({ requestId: '1', source: 'a' }), weight: 64 },
    { record: decisionRecord({ requestId: '2', source: 'b', outcome: 'throttle', rule: 'limit:all' }), weight: 1 },
    { record: decisionRecord({ requestId: '3', source: 'b', outcome: 'deny', rule: 'rule:1' }), weight: 1 },
    { record: decisionRecord({ requestId: '4', source: 'c', atMs: 1 }), weight: 1 },
  ] as const
  store.insert(rows, [])
  assert.deepEqual(store.top('source', 500, 10), [
    { key: 'a', requests: 64, denied: 0 },
    { key: 'b', requests: 2, denied: 2 },
  ])
  assert.deepEqual(store.top('rule', 0, 1), [{ key: 'limit:all', requests: 1, denied: 1 }])
})

test('a batch with one row that cannot be written leaves nothing half done', () => {
  const store = new Store(inMemory, 0)
  const broken = { record: { ...decisionRecord({ requestId: 'b' }), source: null as unknown as string }, weight: 1 }
  assert.throws(() => store.insert([{ record: decisionRecord({ requestId: 'a' }), weight: 1 }, broken], []))
  assert.equal(store.decision('a'), undefined)
  store.insert([{ record: decisionRecord({ requestId: 'c' }), weight: 1 }], [])
  assert.equal(store.decision('c')?.requestId, 'c')
})

test('text that looks like SQL is found as text', () => {
  const store = new Store(inMemory, 0)
  const source = "' OR 1=1; DROP TABLE decisions; --"
  store.insert([{ record: decisionRecord({ requestId: '1', source }), weight: 1 }], [])
  assert.equal(store.decisions({ source: "' OR 1=1 --", limit: 5 }).length, 0)
  assert.equal(store.decisions({ source, limit: 5 }).length, 1)
})

test('a file of garbage is put aside, once, and a new store begun', () => {
  withDirectory((directory) => {
    for (const nowMs of [1, 2]) {
      writeFileSync(join(directory, DATABASE_FILE), 'not a database, '.repeat(1_000))
      const store = new Store({ ...inMemory, directory }, nowMs)
      assert.match(store.putAside ?? '', /not usable/)
      store.insert([{ record: decisionRecord(), weight: 1 }], [])
      assert.equal(store.decisions({ limit: 5 }).length, 1)
      store.close()
    }
    const asides = readdirSync(directory).filter((name) => name.includes('.aside-'))
    assert.deepEqual(asides, [`${DATABASE_FILE}.aside-2`])
  })
})

test('a store written by a later version is put aside, not misread', () => {
  withDirectory((directory) => {
    const database = new DatabaseSync(join(directory, DATABASE_FILE))
    database.exec('CREATE TABLE decisions (x); PRAGMA user_version = 99')
    database.close()
    const store = new Store({ ...inMemory, directory }, 1)
    assert.match(store.putAside ?? '', /schema version 99, 1 expected/)
    store.close()
  })
})

test('what was stored is there after a restart', () => {
  withDirectory((directory) => {
    const first = new Store({ ...inMemory, directory }, 1)
    first.insert([{ record: decisionRecord({ requestId: 'kept' }), weight: 1 }], [span()])
    first.close()
    const second = new Store({ ...inMemory, directory }, 2)
    assert.equal(second.putAside, undefined)
    assert.deepEqual(second.decision('kept'), decisionRecord({ requestId: 'kept' }))
    assert.deepEqual(second.trace(span().traceId), [span()])
    second.close()
  })
})

test('spans of one request share a row and come back one by one, between those of others', () => {
  const store = new Store(inMemory, 0)
  const told = ['a', 'a', 'b', 'a', ...Array.from({ length: 20 }, () => 'c')]
  store.insert(
    [],
    told.map((traceId, at) => span({ traceId, spanId: String(at), startUs: at })),
  )
  assert.deepEqual(
    store.trace('a').map(({ spanId }) => spanId),
    ['0', '1', '3'],
  )
  assert.equal(store.trace('b').length, 1)
  assert.equal(store.trace('c').length, 20)
})
