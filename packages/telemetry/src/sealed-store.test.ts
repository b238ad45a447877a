import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { sealedRows } from './row-seal.ts'
import { Store } from './store.ts'
import { DATABASE_FILE } from './store-file.ts'
import { decisionRecord, span } from './test-records.ts'

const roots: string[] = []
after(() => {
  for (const root of roots) rmSync(root, { recursive: true, force: true })
})

const key = randomBytes(32)
function folder(): string {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-traces-'))
  roots.push(root)
  return root
}

const open = (directory: string, more: { key?: Uint8Array; acceptsClear?: boolean } = {}): Store =>
  new Store({ directory, retentionDecisionsMax: 1_000, retentionMs: 1e9, ...more }, 0)

function fill(store: Store): void {
  const rows = Array.from({ length: 40 }, (_, i) => ({
    record: decisionRecord({
      requestId: `request-${i}`,
      atMs: i,
      source: i % 3 === 0 ? '203.0.113.7' : '198.51.100.9',
      path: '/canary-path',
      rule: 'canary-rule',
      traceId: `trace-${i}`,
      outcome: i % 2 === 0 ? 'deny' : 'allow',
      reason: 'canary-reason',
    }),
    weight: 1,
  }))
  store.insert(rows, [span({ traceId: 'trace-1', name: 'canary-span' }), span({ traceId: 'trace-1', name: 'canary-other' })])
}

const answers = (store: Store) => ({
  one: store.decision('request-7'),
  none: store.decision('request-99'),
  source: store.decisions({ source: '203.0.113.7', outcome: 'deny', limit: 5 }).map(({ requestId }) => requestId),
  trace: store.trace('trace-1').map(({ name }) => name),
  top: store.top('source', 0, 5),
  rules: store.top('rule', 0, 5),
})

const holds = (directory: string, word: string): boolean =>
  readdirSync(directory).some((name) => readFileSync(join(directory, name)).includes(word))
const WORDS = ['canary', '203.0.113.7', 'request-7', 'trace-1']

test('sealed rows answer as rows in the clear do, also after a restart, and nothing of them lies on the disk', () => {
  const [clear, sealed] = [folder(), folder()]
  const plain = open(clear)
  fill(plain)
  const expected = answers(plain)
  let store = open(sealed, { key })
  fill(store)
  assert.deepEqual(answers(store), expected)
  for (const word of WORDS) assert.deepEqual([holds(clear, word), holds(sealed, word)], [true, false], word)
  store.close()
  plain.close()
  store = open(sealed, { key })
  assert.deepEqual(answers(store), expected)
  fill(store)
  store.close()
  for (const word of WORDS) assert.equal(holds(sealed, word), false)
})

test('a store in the clear is sealed where it is expected, rows and all; where it is not it is put aside', () => {
  const directory = folder()
  let store = open(directory)
  fill(store)
  const expected = answers(store)
  store.close()
  store = open(directory, { key, acceptsClear: true })
  assert.equal(store.putAside, undefined)
  assert.deepEqual(answers(store), expected)
  store.close()
  for (const word of WORDS) assert.equal(holds(directory, word), false)
  const other = folder()
  store = open(other)
  fill(store)
  store.close()
  store = open(other, { key })
  assert.match(store.putAside ?? '', /not sealed/)
  assert.equal(store.decision('request-7'), undefined)
  store.close()
})

test('under another key the file is put aside and begun anew', () => {
  const directory = folder()
  let store = open(directory, { key })
  fill(store)
  store.close()
  store = open(directory, { key: randomBytes(32) })
  assert.match(store.putAside ?? '', /another key/)
  store.close()
})

test('a row that was changed, or put in the place of another, is not taken for it', () => {
  const directory = folder()
  let store = open(directory, { key })
  fill(store)
  store.close()
  const database = new DatabaseSync(join(directory, DATABASE_FILE))
  const ids = database
    .prepare('SELECT request_id FROM decisions ORDER BY rowid LIMIT 2')
    .all()
    .map((row) => String(row.request_id))
  const move = 'UPDATE decisions SET record = (SELECT record FROM decisions WHERE request_id = ?) WHERE request_id = ?'
  database.prepare(move).run(ids[0] as string, ids[1] as string)
  database.close()
  store = open(directory, { key })
  assert.throws(() => store.decision('request-1'), /changed/)
  assert.equal(store.decision('request-0')?.requestId, 'request-0')
  store.close()
})

test('no two rows are sealed under one nonce, and the same text never to the same bytes', () => {
  const [a, b] = [sealedRows(key), sealedRows(key)]
  const cells = [a, a, b, b].map((rows) => Buffer.from(rows.seal('x', 'same') as Uint8Array))
  assert.equal(new Set(cells.map((cell) => cell.toString('hex', 0, 24))).size, 4)
  assert.equal(new Set(cells.map((cell) => cell.toString('hex', 24))).size, 4)
  for (const cell of cells) assert.equal(b.open('x', cell), 'same')
  assert.throws(() => a.open('y', cells[0]), /changed/)
})
