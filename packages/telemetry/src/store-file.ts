/** The store's file: made, taken up, put aside when it cannot be used, and brought under another seal. */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { RowSeal } from './row-seal.ts'
import { CLEAR_ROWS } from './row-seal.ts'
import type { DecisionRow, SpanRow } from './store-rows.ts'

/** Of a file in the clear, and of one whose rows are sealed. */
const CLEAR_VERSION = 1
const SEALED_VERSION = 2
export const DATABASE_FILE = 'telemetry.db'

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
const SEALED_SCHEMA = `${SCHEMA} CREATE TABLE seal (key_check TEXT NOT NULL);`

export interface OpenedFile {
  readonly database: DatabaseSync
  /** Why a file was put aside, or begun anew. */
  readonly putAside: string | undefined
}

/** SQLite's result codes for a file that is damaged or is no database (https://www.sqlite.org/rescode.html). */
export function isCorruption(error: unknown): boolean {
  const code = (error as { errcode?: unknown }).errcode
  return typeof code === 'number' && ((code & 0xff) === 11 || (code & 0xff) === 26)
}

/** @param acceptsClear Is a file in the clear to be expected, where rows are sealed? Its rows are sealed then; else it is put aside. */
export function openDatabase(directory: string | undefined, nowMs: number, rows: RowSeal, acceptsClear: boolean): OpenedFile {
  if (directory === undefined) return { database: prepareDatabase(':memory:', rows), putAside: undefined }
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const file = join(directory, DATABASE_FILE)
  try {
    return { database: prepareDatabase(file, rows), putAside: undefined }
  } catch (error) {
    if (error instanceof InTheClear && acceptsClear) {
      sealFile(directory, file, rows)
      return { database: prepareDatabase(file, rows), putAside: undefined }
    }
    if (!isCorruption(error) && !(error instanceof SchemaUnknown)) throw error
    const aside = `${file}.aside-${nowMs}`
    // One is kept to look at; a disk that keeps failing must not fill itself with them.
    for (const name of readdirSync(directory)) {
      if (name.startsWith(`${DATABASE_FILE}.aside-`) || name === `${DATABASE_FILE}-wal` || name === `${DATABASE_FILE}-shm`) {
        rmSync(join(directory, name), { force: true })
      }
    }
    renameSync(file, aside)
    const putAside = `${file} is not usable (${(error as Error).message}); moved to ${aside}`
    return { database: prepareDatabase(file, rows), putAside }
  }
}

class SchemaUnknown extends Error {}

/** It has no seal, and rows are to be sealed. */
class InTheClear extends SchemaUnknown {}

function prepareDatabase(file: string, rows: RowSeal): DatabaseSync {
  const database = new DatabaseSync(file)
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000')
    const version = Number(database.prepare('PRAGMA user_version').get()?.user_version)
    if (version === 0) {
      const [schema, made] = rows.check === undefined ? [SCHEMA, CLEAR_VERSION] : [SEALED_SCHEMA, SEALED_VERSION]
      database.exec(`BEGIN IMMEDIATE; ${schema}`)
      if (rows.check !== undefined) database.prepare('INSERT INTO seal (key_check) VALUES (?)').run(rows.check)
      database.exec(`PRAGMA user_version = ${made}; COMMIT`)
      return database
    }
    if (version === CLEAR_VERSION && rows.check !== undefined) throw new InTheClear('it is not sealed')
    const wanted = rows.check === undefined ? CLEAR_VERSION : SEALED_VERSION
    if (version !== wanted) throw new SchemaUnknown(`schema version ${version}, ${wanted} expected`)
    if (rows.check !== undefined && database.prepare('SELECT key_check FROM seal').get()?.key_check !== rows.check)
      throw new SchemaUnknown('it is sealed under another key')
    const check = database.prepare('PRAGMA quick_check(1)').get()?.quick_check
    if (check !== 'ok') throw Object.assign(new Error(String(check)), { errcode: 11 })
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Rows in the clear are written into a file of their own, sealed, which then takes the place of theirs. */
function sealFile(directory: string, file: string, rows: RowSeal): void {
  const next = join(directory, `${DATABASE_FILE}.sealing`)
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(`${next}${suffix}`, { force: true })
  const from = new DatabaseSync(file)
  const to = prepareDatabase(next, rows)
  try {
    to.exec('BEGIN IMMEDIATE')
    const decision = to.prepare(INSERT_DECISION)
    for (const row of from.prepare('SELECT * FROM decisions ORDER BY rowid').iterate())
      decision.run(
        ...decisionCells(rows, [
          String(row.request_id),
          Number(row.at_ms),
          Number(row.allowed) === 1 ? 1 : 0,
          Number(row.weight),
          String(row.outcome),
          String(row.source),
          String(row.path),
          row.rule === null ? null : String(row.rule),
          row.service === null ? null : String(row.service),
          CLEAR_ROWS.open('', row.record),
        ]),
      )
    const span = to.prepare(INSERT_SPAN)
    for (const row of from.prepare('SELECT * FROM spans ORDER BY rowid').iterate())
      span.run(...spanCells(rows, [String(row.trace_id), Number(row.at_ms), String(row.span)]))
    // One file, without a log beside it: it is renamed.
    to.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE')
  } finally {
    to.close()
    from.close()
  }
  for (const suffix of ['-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true })
  renameSync(next, file)
}

export const INSERT_DECISION =
  'INSERT OR REPLACE INTO decisions (request_id, at_ms, allowed, weight, outcome, source, path, rule, service, record) VALUES (?,?,?,?,?,?,?,?,?,?)'
export const INSERT_SPAN = 'INSERT INTO spans (trace_id, at_ms, span) VALUES (?,?,?)'

type Cell = string | number | null | Uint8Array

/** As they are written. */
export function decisionCells(rows: RowSeal, row: DecisionRow): Cell[] {
  const [requestId, atMs, allowed, weight, outcome, source, path, rule, service, record] = row
  const id = rows.index('request', requestId)
  const named = (column: string, value: string | null): string | null => (value === null ? null : rows.index(column, value))
  const keys = [rows.index('source', source), rows.index('path', path), named('rule', rule), named('service', service)]
  return [id, atMs, allowed, weight, outcome, ...keys, rows.seal(`decision ${id}`, record)]
}

export function spanCells(rows: RowSeal, [traceId, atMs, span]: SpanRow): Cell[] {
  const id = rows.index('trace', traceId)
  return [id, atMs, rows.seal(`span ${id}`, span)]
}
