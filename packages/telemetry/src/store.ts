/**
 * The embedded store: SQLite through `node:sqlite`, synchronous, one connection. Lives in a worker thread
 * (`store-worker.ts`). Not truth: a file that cannot be read is put aside and a new one begun.
 */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { Weighed } from './decision-buffer.ts'
import { type DecisionRow, decisionRow, type SpanRow, spanRows } from './store-rows.ts'
import type { DecisionFilter, DecisionRecord, Span, TopKey, TopRow } from './types.ts'

const SCHEMA_VERSION = 1
export const DATABASE_FILE = 'telemetry.db'
const QUERY_ROWS_MAX = 1_000
const SPANS_PER_DECISION_MAX = 4
/** Rows deleted in one go, so that no batch waits long behind retention. */
const RETENTION_STEP_ROWS = 5_000

const SCHEMA = `
  CREATE TABLE decisions (
    request_id TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    allowed INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    source TEXT NOT NULL,
    path TEXT NOT NULL,
    rule TEXT,
    service TEXT,
    record TEXT NOT NULL
  );
  CREATE INDEX decisions_at ON decisions (at_ms);
  CREATE INDEX decisions_allowed ON decisions (allowed);
  CREATE INDEX decisions_source ON decisions (source, at_ms);
  CREATE TABLE spans (
    trace_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    span TEXT NOT NULL
  );
  CREATE INDEX spans_trace ON spans (trace_id);
  CREATE INDEX spans_at ON spans (at_ms);
`

/** Columns that `top` may group by: names go into SQL, so only these. */
const TOP_COLUMNS: Readonly<Record<TopKey, string>> = { source: 'source', path: 'path', rule: 'rule', service: 'service' }

export interface StoreOptions {
  /** In memory when undefined. */
  readonly directory: string | undefined
  readonly retentionDecisionsMax: number
  readonly retentionMs: number
}

export class Store {
  /** Why a file was put aside at opening, for the log. */
  readonly putAside: string | undefined
  readonly #options: StoreOptions
  readonly #database: DatabaseSync
  readonly #insertDecision: StatementSync
  readonly #insertSpan: StatementSync

  constructor(options: StoreOptions, nowMs: number) {
    this.#options = options
    const opened = openDatabase(options.directory, nowMs)
    this.putAside = opened.putAside
    this.#database = opened.database
    this.#insertDecision = this.#database.prepare(
      'INSERT OR REPLACE INTO decisions (request_id, at_ms, allowed, weight, outcome, source, path, rule, service, record) VALUES (?,?,?,?,?,?,?,?,?,?)',
    )
    this.#insertSpan = this.#database.prepare('INSERT INTO spans (trace_id, at_ms, span) VALUES (?,?,?)')
  }

  insert(decisions: readonly Weighed[], spans: readonly Span[]): void {
    this.insertRows(decisions.map(decisionRow), spanRows(spans))
  }

  insertRows(decisions: readonly DecisionRow[], spans: readonly SpanRow[]): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      for (const row of decisions) this.#insertDecision.run(...row)
      for (const row of spans) this.#insertSpan.run(...row)
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }

  decision(requestId: string): DecisionRecord | undefined {
    const row = this.#database.prepare('SELECT record FROM decisions WHERE request_id = ?').get(requestId)
    return row === undefined ? undefined : readDecision(row.record)
  }

  /** Newest first. */
  decisions(filter: DecisionFilter): DecisionRecord[] {
    const where: string[] = []
    const values: SQLInputValue[] = []
    if (filter.outcome !== undefined) {
      where.push('outcome = ?')
      values.push(filter.outcome)
      // Lets the index on `allowed` pass over a mass of allows.
      where.push(filter.outcome === 'allow' ? 'allowed = 1' : 'allowed = 0')
    }
    if (filter.source !== undefined) {
      where.push('source = ?')
      values.push(filter.source)
    }
    if (filter.sinceMs !== undefined) {
      where.push('at_ms >= ?')
      values.push(filter.sinceMs)
    }
    const condition = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
    return this.#database
      .prepare(`SELECT record FROM decisions ${condition} ORDER BY at_ms DESC, rowid DESC LIMIT ?`)
      .all(...values, rowLimit(filter.limit))
      .map((row) => readDecision(row.record))
  }

  /** In order of start. */
  trace(traceId: string): Span[] {
    return this.#database
      .prepare('SELECT span FROM spans WHERE trace_id = ? ORDER BY rowid DESC LIMIT ?')
      .all(traceId, QUERY_ROWS_MAX)
      .flatMap((row) => readSpans(row.span))
      .slice(0, QUERY_ROWS_MAX)
      .sort((a, b) => a.startUs - b.startUs)
  }

  top(by: TopKey, sinceMs: number, limit: number): TopRow[] {
    const column = TOP_COLUMNS[by]
    return this.#database
      .prepare(
        `SELECT ${column} AS key, SUM(weight) AS requests, SUM(CASE WHEN allowed = 0 THEN weight ELSE 0 END) AS denied
         FROM decisions WHERE at_ms >= ? AND ${column} IS NOT NULL GROUP BY ${column} ORDER BY requests DESC, key LIMIT ?`,
      )
      .all(sinceMs, rowLimit(limit))
      .map((row) => ({ key: String(row.key), requests: Number(row.requests), denied: Number(row.denied) }))
  }

  /** Deletes what is too old, and the oldest past the rows kept, allows first. Returns whether more is left to delete. */
  retain(nowMs: number): boolean {
    const { retentionMs, retentionDecisionsMax } = this.#options
    const oldest = nowMs - retentionMs
    let deleted = this.#delete(
      'DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions WHERE at_ms < ? LIMIT ?)',
      oldest,
    )
    deleted += this.#delete('DELETE FROM spans WHERE rowid IN (SELECT rowid FROM spans WHERE at_ms < ? LIMIT ?)', oldest)
    for (const allowed of [1, 0]) {
      const excess = this.#rows('decisions') - retentionDecisionsMax
      if (excess <= 0) break
      deleted += this.#delete(
        'DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions WHERE allowed = ? ORDER BY rowid LIMIT ?)',
        allowed,
        excess,
      )
    }
    const spanExcess = this.#rows('spans') - retentionDecisionsMax * SPANS_PER_DECISION_MAX
    if (spanExcess > 0) {
      const statement = this.#database.prepare(
        'DELETE FROM spans WHERE rowid IN (SELECT rowid FROM spans ORDER BY rowid LIMIT ?)',
      )
      deleted += Number(statement.run(Math.min(spanExcess, RETENTION_STEP_ROWS)).changes)
    }
    return deleted >= RETENTION_STEP_ROWS
  }

  close(): void {
    this.#database.close()
  }

  #delete(sql: string, value: number, rows = RETENTION_STEP_ROWS): number {
    return Number(this.#database.prepare(sql).run(value, Math.min(rows, RETENTION_STEP_ROWS)).changes)
  }

  #rows(table: 'decisions' | 'spans'): number {
    return Number(this.#database.prepare(`SELECT COUNT(*) AS n FROM ${table}`).get()?.n)
  }
}

/** SQLite's result codes for a file that is damaged or is no database (https://www.sqlite.org/rescode.html). */
export function isCorruption(error: unknown): boolean {
  const code = (error as { errcode?: unknown }).errcode
  return typeof code === 'number' && ((code & 0xff) === 11 || (code & 0xff) === 26)
}

function openDatabase(directory: string | undefined, nowMs: number): { database: DatabaseSync; putAside: string | undefined } {
  if (directory === undefined) return { database: prepareDatabase(':memory:'), putAside: undefined }
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const file = join(directory, DATABASE_FILE)
  try {
    return { database: prepareDatabase(file), putAside: undefined }
  } catch (error) {
    if (!isCorruption(error) && !(error instanceof SchemaUnknown)) throw error
    const aside = `${file}.aside-${nowMs}`
    // One is kept to look at; a disk that keeps failing must not fill itself with them.
    for (const name of readdirSync(directory)) {
      if (name.startsWith(`${DATABASE_FILE}.aside-`) || name === `${DATABASE_FILE}-wal` || name === `${DATABASE_FILE}-shm`) {
        rmSync(join(directory, name), { force: true })
      }
    }
    renameSync(file, aside)
    return { database: prepareDatabase(file), putAside: `${file} is not usable (${(error as Error).message}); moved to ${aside}` }
  }
}

class SchemaUnknown extends Error {}

function prepareDatabase(file: string): DatabaseSync {
  const database = new DatabaseSync(file)
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000')
    const version = Number(database.prepare('PRAGMA user_version').get()?.user_version)
    if (version === 0) {
      database.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`)
      return database
    }
    if (version !== SCHEMA_VERSION) throw new SchemaUnknown(`schema version ${version}, ${SCHEMA_VERSION} expected`)
    const check = database.prepare('PRAGMA quick_check(1)').get()?.quick_check
    if (check !== 'ok') throw Object.assign(new Error(String(check)), { errcode: 11 })
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function rowLimit(limit: number): number {
  return Number.isFinite(limit) ? Math.max(1, Math.min(QUERY_ROWS_MAX, Math.floor(limit))) : QUERY_ROWS_MAX
}

/** JSON leaves out undefined fields, which these types have. We wrote the text: only the schema version guards its shape. */
function readDecision(text: unknown): DecisionRecord {
  const read = JSON.parse(String(text)) as DecisionRecord
  return { ...read, service: read.service ?? undefined, route: read.route ?? undefined, rule: read.rule ?? undefined }
}

function readSpans(text: unknown): Span[] {
  const read = JSON.parse(String(text)) as Span | Span[]
  return (Array.isArray(read) ? read : [read]).map((span) => ({ ...span, parentSpanId: span.parentSpanId ?? undefined }))
}
