/**
 * Regression tests of the Core Rule Set in the format of its own runner, go-ftw: read from YAML, turned into the bytes that
 * go-ftw would send, judged by its rules. Both shapes of the format are read, that of CRS 3 and that of CRS 4.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

/** One request and what is expected of it. */
export interface FtwStage {
  readonly request: Buffer
  readonly expected: FtwExpectation
}

export interface FtwExpectation {
  /** Any of these; empty for any at all. */
  readonly status: readonly number[]
  readonly error: boolean | undefined
  readonly idsWanted: readonly number[]
  readonly idsUnwanted: readonly number[]
  readonly logWanted: readonly RegExp[]
  readonly logUnwanted: readonly RegExp[]
  /** Nothing but the one wanted rule. */
  readonly isolated: boolean
}

export interface FtwCase {
  /** E.g. `942100-3`. */
  readonly title: string
  readonly file: string
  /** False where the test's own file says so; go-ftw passes over such files. */
  readonly enabled: boolean
  /** What stood behind the proxy in CRS's runs of that time: httpbin for version 3, albedo for version 4. */
  readonly backend: 'httpbin' | 'albedo'
  readonly stages: readonly FtwStage[]
}

/** What a client and the log see of one request. `status` is undefined when there was no answer that a client could read. */
export interface FtwOutcome {
  readonly status: number | undefined
  readonly log: string
}

type Yaml = { readonly [key: string]: unknown }

function isMap(value: unknown): value is Yaml {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const map = (value: unknown): Yaml => (isMap(value) ? value : {})
const list = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]

/** All cases below a folder, in the order of their files. */
export function readFtwCases(directory: string): readonly FtwCase[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.ya?ml$/.test(file))
    .sort()
    .flatMap((file) => readFile(join(directory, file), file))
}

function readFile(path: string, file: string): readonly FtwCase[] {
  const document = map(parse(readFileSync(path, 'utf8'), { maxAliasCount: -1, strict: false, uniqueKeys: false }))
  const ruleId = document.rule_id ?? /\d{6}/.exec(file)?.[0]
  const enabled = map(document.meta).enabled !== false
  return list(document.tests).map((value) => {
    const test = map(value)
    const title = String(test.test_title ?? `${String(ruleId)}-${String(test.test_id)}`)
    const stages = list(test.stages).map(map)
    const backend = stages.some((stage) => stage.stage !== undefined) ? 'httpbin' : 'albedo'
    return {
      title,
      file,
      enabled,
      backend,
      stages: stages.map((stage) => readStage(map(stage.stage ?? stage), stage.stage !== undefined)),
    }
  })
}

/** @param old The shape of CRS 3's time, when the runner added Content-Length only to a body. */
function readStage({ input, output }: Yaml, old: boolean): FtwStage {
  return { request: buildRequest(map(input), old), expected: readExpectation(map(output)) }
}

function readExpectation(output: Yaml): FtwExpectation {
  const log = map(output.log)
  const pattern = (value: unknown): readonly RegExp[] => list(value).map((text) => new RegExp(String(text)))
  return {
    status: list(output.status).map(Number),
    error: typeof output.expect_error === 'boolean' ? output.expect_error : undefined,
    idsWanted: list(log.expect_ids).map(Number),
    idsUnwanted: list(log.no_expect_ids).map(Number),
    logWanted: [...pattern(output.log_contains), ...pattern(log.match_regex)],
    logUnwanted: [...pattern(output.no_log_contains), ...pattern(log.no_match_regex)],
    isolated: output.isolated === true,
  }
}

/** The bytes that go-ftw sends (its `ftwhttp/request.go`). */
function buildRequest(input: Yaml, old: boolean): Buffer {
  if (typeof input.encoded_request === 'string') return Buffer.from(input.encoded_request, 'base64')
  if (typeof input.raw_request === 'string') return Buffer.from(input.raw_request, 'utf8')
  const method = String(input.method ?? 'GET')
  const completed = !(input.stop_magic === true || input.autocomplete_headers === false)
  const headers = Object.entries(map(input.headers)).map(([name, value]) => [name, String(value ?? '')] as [string, string])
  const has = (name: string): boolean => headers.some(([key]) => key.toLowerCase() === name)
  const typeHas = (test: (value: string) => boolean): boolean =>
    headers.some(([key, value]) => key.toLowerCase() === 'content-type' && test(value.toLowerCase()))
  let data = Array.isArray(input.data)
    ? input.data.join('\r\n')
    : input.data === undefined || input.data === null
      ? ''
      : String(input.data)
  // Go templates: the tests use one function of them.
  data = data.replace(/\{\{ *"([^"]*)" *\| *repeat +(\d+) *\}\}/g, (_, text: string, times: string) => text.repeat(Number(times)))
  if (data !== '' && completed) {
    if (!has('content-type')) headers.push(['Content-Type', 'application/x-www-form-urlencoded'])
    if (typeHas((value) => value === 'application/x-www-form-urlencoded')) data = encodeForm(data)
  }
  if (typeHas((value) => value.includes('multipart/form-data;'))) data = data.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n')
  const body = Buffer.from(data, 'utf8')
  if (completed) {
    if (!has('connection')) headers.push(['Connection', 'close'])
    if (!has('content-length') && (body.length > 0 || (!old && /^(?:POST|PUT|PATCH|DELETE)$/.test(method))))
      headers.push(['Content-Length', String(body.length)])
  }
  const version = input.version === undefined ? 'HTTP/1.1' : String(input.version ?? '')
  const head = [
    `${method} ${String(input.uri ?? '/')} ${version}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    '',
    '',
  ].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'utf8'), body])
}

/** Encodes a form unless it looks encoded already, as go-ftw finds out by decoding it. */
function encodeForm(data: string): string {
  if (decodeQuery(data) !== data) return data
  return data
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      return equals < 0 ? encodeQuery(pair) : `${encodeQuery(pair.slice(0, equals))}=${encodeQuery(pair.slice(equals + 1))}`
    })
    .join('&')
}

/** Go's url.QueryUnescape; undefined when an escape is broken. */
function decodeQuery(text: string): string | undefined {
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return ''
  return text
    .replaceAll('+', ' ')
    .replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function encodeQuery(text: string): string {
  return Array.from(Buffer.from(text, 'utf8'), (byte) => {
    const char = String.fromCharCode(byte)
    return char === ' ' ? '+' : /[A-Za-z0-9\-_.~]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }).join('')
}

/** Why an outcome is not what was expected, or nothing (go-ftw's `runner/check_*.go`). */
export function judgeFtw(expected: FtwExpectation, { status, log }: FtwOutcome): string | undefined {
  if (expected.error === true) return status === undefined ? undefined : `an answer (${status}) where none was expected`
  if (status === undefined) return 'no answer that a client could read'
  if (expected.status.length > 0 && !expected.status.includes(status))
    return `status ${status}, not ${expected.status.join(' or ')}`
  const has = (id: number): boolean => log.includes(`[id "${id}"]`)
  for (const id of expected.idsWanted) if (!has(id)) return `rule ${id} did not match`
  for (const id of expected.idsUnwanted) if (has(id)) return `rule ${id} matched`
  for (const pattern of expected.logWanted) if (!pattern.test(log)) return `the log has no ${pattern.source}`
  for (const pattern of expected.logUnwanted) if (pattern.test(log)) return `the log has ${pattern.source}`
  if (expected.isolated && log.trim().split('\n').length !== 1) return 'other rules matched too'
  return undefined
}
