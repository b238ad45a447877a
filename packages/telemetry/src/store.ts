/**
 * The embedded store: SQLite through `node:sqlite`, synchronous, one connection. Lives in a worker thread
 * (`store-worker.ts`). Not truth: a file that cannot be read is put aside and a new one begun.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { Weighed } from './decision-buffer.ts'
import { CLEAR_ROWS, type RowSeal, sealedRows } from './row-seal.ts'
import { decisionCells, INSERT_DECISION, INSERT_SPAN, openDatabase, spanCells } from './store-file.ts'
import { type DecisionRow, decisionRow, type SpanRow, spanRows } from './store-rows.ts'
import type { DecisionFilter, DecisionRecord, Span, TopKey, TopRow } from './types.ts'

const QUERY_ROWS_MAX = 1_000
const SPANS_PER_DECISION_MAX = 4
/** Rows deleted in one go, so that no batch waits long behind retention. */
const RETENTION_STEP_ROWS = 5_000

/** Columns that `top` may group by: names go into SQL, so only these. */
const TOP_COLUMNS: Readonly<Record<TopKey, string>> = { source: 'source', path: 'path', rule: 'rule', service: 'service' }

export interface StoreOptions {
  /** In memory when undefined. */
  readonly directory: string | undefined
  readonly retentionDecisionsMax: number
  readonly retentionMs: number
  /** Of rows that are sealed, 32 bytes; in the clear when undefined. */
  readonly key?: Uint8Array | undefined
  /** Where rows are sealed: is a file in the clear to be expected, and its rows to be sealed? */
  readonly acceptsClear?: boolean
  /** Of the file, kept in memory; 2,000 KiB unless given, as SQLite does. */
  readonly pageCacheBytes?: number | undefined
}

export class Store {
  /** Why a file was put aside at opening, for the log. */
  readonly putAside: string | undefined
  readonly #options: StoreOptions
  readonly #database: DatabaseSync
  readonly #rows: RowSeal
  readonly #insertDecision: StatementSync
  readonly #insertSpan: StatementSync

  constructor(options: StoreOptions, nowMs: number) {
    this.#options = options
    this.#rows = options.key === undefined ? CLEAR_ROWS : sealedRows(options.key)
    const opened = openDatabase(options.directory, nowMs, this.#rows, options.acceptsClear ?? false)
    this.putAside = opened.putAside
    this.#database = opened.database
    const { pageCacheBytes } = options
    // In KiB when it is negative.
    if (pageCacheBytes !== undefined) this.#database.exec(`PRAGMA cache_size = -${Math.ceil(pageCacheBytes / 1_024)}`)
    this.#insertDecision = this.#database.prepare(INSERT_DECISION)
    this.#insertSpan = this.#database.prepare(INSERT_SPAN)
  }

  insert(decisions: readonly Weighed[], spans: readonly Span[]): void {
    this.insertRows(decisions.map(decisionRow), spanRows(spans))
  }

  insertRows(decisions: readonly DecisionRow[], spans: readonly SpanRow[]): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      for (const row of decisions) this.#insertDecision.run(...decisionCells(this.#rows, row))
      for (const row of spans) this.#insertSpan.run(...spanCells(this.#rows, row))
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }

  decision(requestId: string): DecisionRecord | undefined {
    const id = this.#rows.index('request', requestId)
    const row = this.#database.prepare('SELECT request_id, record FROM decisions WHERE request_id = ?').get(id)
    return row === undefined ? undefined : this.#record(row)
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
      values.push(this.#rows.index('source', filter.source))
    }
    if (filter.sinceMs !== undefined) {
      where.push('at_ms >= ?')
      values.push(filter.sinceMs)
    }
    const condition = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
    return this.#database
      .prepare(`SELECT request_id, record FROM decisions ${condition} ORDER BY at_ms DESC, rowid DESC LIMIT ?`)
      .all(...values, rowLimit(filter.limit))
      .map((row) => this.#record(row))
  }

  /** In order of start. */
  trace(traceId: string): Span[] {
    const id = this.#rows.index('trace', traceId)
    return this.#database
      .prepare('SELECT span FROM spans WHERE trace_id = ? ORDER BY rowid DESC LIMIT ?')
      .all(id, QUERY_ROWS_MAX)
      .flatMap((row) => readSpans(this.#rows.open(`span ${id}`, row.span)))
      .slice(0, QUERY_ROWS_MAX)
      .sort((a, b) => a.startUs - b.startUs)
  }

  top(by: TopKey, sinceMs: number, limit: number): TopRow[] {
    const column = TOP_COLUMNS[by]
    return this.#database
      .prepare(
        `SELECT MAX(rowid) AS newest, SUM(weight) AS requests, SUM(CASE WHEN allowed = 0 THEN weight ELSE 0 END) AS denied
         FROM decisions WHERE at_ms >= ? AND ${column} IS NOT NULL GROUP BY ${column} ORDER BY requests DESC, ${column} LIMIT ?`,
      )
      .all(sinceMs, rowLimit(limit))
      .map((row) => ({ key: this.#nameIn(Number(row.newest), by), requests: Number(row.requests), denied: Number(row.denied) }))
  }

  /** By what a group goes, from one of its rows: the column may hold a keyed hash. */
  #nameIn(rowid: number, by: TopKey): string {
    const row = this.#database.prepare('SELECT request_id, record FROM decisions WHERE rowid = ?').get(rowid)
    return row === undefined ? '' : String(this.#record(row)[by])
  }

  #record(row: Record<string, unknown>): DecisionRecord {
    return readDecision(this.#rows.open(`decision ${String(row.request_id)}`, row.record))
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
      const excess = this.#count('decisions') - retentionDecisionsMax
      if (excess <= 0) break
      deleted += this.#delete(
        'DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions WHERE allowed = ? ORDER BY rowid LIMIT ?)',
        allowed,
        excess,
      )
    }
    const spanExcess = this.#count('spans') - retentionDecisionsMax * SPANS_PER_DECISION_MAX
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

  #count(table: 'decisions' | 'spans'): number {
    return Number(this.#database.prepare(`SELECT COUNT(*) AS n FROM ${table}`).get()?.n)
  }
}

function rowLimit(limit: number): number {
  return Number.isFinite(limit) ? Math.max(1, Math.min(QUERY_ROWS_MAX, Math.floor(limit))) : QUERY_ROWS_MAX
}

/** JSON leaves out undefined fields, which these types have. We wrote the text: only the schema version guards its shape. */
function readDecision(text: string): DecisionRecord {
  const read = JSON.parse(text) as DecisionRecord
  return { ...read, service: read.service ?? undefined, route: read.route ?? undefined, rule: read.rule ?? undefined }
}

function readSpans(text: string): Span[] {
  const read = JSON.parse(text) as Span | Span[]
  return (Array.isArray(read) ? read : [read]).map((span) => ({ ...span, parentSpanId: span.parentSpanId ?? undefined }))
}
