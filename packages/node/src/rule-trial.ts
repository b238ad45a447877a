/** Rules tried out on single requests, without a ring: what `ringwall rule test` and `rule explain` do. */
import { compileRules, type HeaderField, type RuleFinding, type RuleSet } from '@ringwall/waf'
import { z } from 'zod'
import { tellingFindings } from './replay.ts'
import { type ShownFinding, shownFindings } from './rule-findings.ts'
import { boundPatternTime, readNamedRules } from './rules.ts'
import { readYaml, type YamlReading } from './yaml-file.ts'

const TRIAL_BODY_BYTES_MAX = 1_048_576
const CASES_MAX = 10_000

export interface TrialRequest {
  readonly method: string
  readonly target: string
  readonly httpVersion: string
  readonly headers: readonly HeaderField[]
  readonly remoteAddress: string
  readonly body: Uint8Array
}

export interface TrialVerdict {
  readonly outcome: 'allow' | 'deny'
  /** Of the refusal; 200 when nothing objects. */
  readonly status: number
  readonly score: number
  readonly ruleIds: number[]
  readonly findings: ShownFinding[]
}

/**
 * @param names `base`, `crs`, folders or `.conf` files, in the order in which they are read.
 * @throws {StartError} `RULES_INVALID`.
 * @throws {RuleSyntaxError} With file, line and column.
 */
export function loadTrialRules(names: readonly string[], paranoia: 1 | 2 | 3 | 4): RuleSet {
  boundPatternTime()
  return compileRules(names.flatMap(readNamedRules), { paranoia })
}

/** @param isWhole Rules that only count and prepare are told as well. */
export function tryRequest(rules: RuleSet, { body, ...head }: TrialRequest, isWhole = false): TrialVerdict {
  const run = rules.examine({ clock: () => Date.now(), uniqueId: 'trial' })
  const verdict = run.requestHead(head)
  if (!verdict.blocked) run.requestBody(body, false)
  const { blocked, status, score, matches } = run.log()
  const findings: readonly RuleFinding[] = isWhole ? run.findings : tellingFindings(run.findings)
  return {
    outcome: blocked ? 'deny' : 'allow',
    status: blocked ? status : 200,
    score,
    ruleIds: [...new Set([...run.findings.map(({ ruleId }) => ruleId), ...matches.map(({ ruleId }) => ruleId)])],
    findings: shownFindings(findings),
  }
}

/** A request that cannot be read: where, what, what was expected. */
export class RequestUnreadable extends Error {
  override readonly name = 'RequestUnreadable'
  readonly code = 'REQUEST_UNREADABLE'
}

/**
 * A request as on the wire. Lines may end in LF; what stands after the empty line is the body, cut at Content-Length where there is
 * one.
 *
 * @throws {RequestUnreadable}
 */
export function parseRawRequest(bytes: Uint8Array, file: string): TrialRequest {
  const text = Buffer.from(bytes).toString('latin1')
  const fail = (line: number, why: string): never => {
    throw new RequestUnreadable(`${file}:${line}:1: ${why}`)
  }
  const end = /\r?\n\r?\n/.exec(text)
  const head = (end === null ? text : text.slice(0, end.index)).replace(/\r?\n$/, '')
  const [first = '', ...rest] = head.split(/\r?\n/)
  const line = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+)(?: HTTP\/([0-9](?:\.[0-9])?))?$/.exec(first)
  if (line === null) return fail(1, 'expected a request line such as GET /path HTTP/1.1')
  const headers: HeaderField[] = rest.map((field, index) => {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/s.exec(field)
    return match === null ? fail(index + 2, 'expected a header field such as Name: value') : [match[1]!, match[2]!]
  })
  const length = headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1]
  const all = end === null ? '' : text.slice(end.index + end[0].length)
  const body = length !== undefined && /^[0-9]{1,9}$/.test(length) ? all.slice(0, Number(length)) : all
  if (body.length > TRIAL_BODY_BYTES_MAX) fail(1, `the body has ${body.length} bytes, at most ${TRIAL_BODY_BYTES_MAX} are taken`)
  return {
    method: line[1]!,
    target: line[2]!,
    httpVersion: line[3] ?? '1.1',
    headers,
    remoteAddress: '198.51.100.1',
    body: Buffer.from(body, 'latin1'),
  }
}

export interface RequestParts {
  /** A target such as `/search?q=a`, or a URL. */
  readonly target: string
  readonly method: string | undefined
  readonly headers: readonly HeaderField[]
  readonly body: string | undefined
  readonly source: string | undefined
}

/** A request as curl would send it: what it adds by itself is added unless given. @throws {RequestUnreadable} */
export function requestOfParts({ target, method, headers, body, source }: RequestParts): TrialRequest {
  const url = /^https?:\/\/([^/?#]+)([^#]*)/.exec(target)
  const path = url === null ? target : url[2] === '' || url[2]!.startsWith('?') ? `/${url[2]}` : url[2]!
  if (!/^\/\S*$/.test(path))
    throw new RequestUnreadable(
      `${JSON.stringify(target)}: expected a target such as /search?q=a, or a URL; escape blanks as %20`,
    )
  const has = (name: string): boolean => headers.some(([held]) => held.toLowerCase() === name)
  const bytes = Buffer.from(body ?? '', 'utf8')
  if (bytes.length > TRIAL_BODY_BYTES_MAX)
    throw new RequestUnreadable(`the body has ${bytes.length} bytes, at most ${TRIAL_BODY_BYTES_MAX} are taken`)
  const added: HeaderField[] = [
    ...(has('host') ? [] : [['Host', url?.[1] ?? 'localhost'] as const]),
    ...(has('user-agent') ? [] : [['User-Agent', 'Mozilla/5.0 (rule test)'] as const]),
    ...(has('accept') ? [] : [['Accept', '*/*'] as const]),
    ...headers,
    ...(body === undefined || has('content-type') ? [] : [['Content-Type', 'application/x-www-form-urlencoded'] as const]),
    ...(bytes.length === 0 || has('content-length') ? [] : [['Content-Length', String(bytes.length)] as const]),
  ]
  return {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    target: path,
    httpVersion: '1.1',
    headers: added,
    remoteAddress: source ?? '198.51.100.1',
    body: bytes,
  }
}

const Id = z.int().positive()
const Header = z.union([z.string().max(8_192), z.array(z.string().max(8_192)).min(1).max(16)])

const Request = z.strictObject({
  method: z
    .string()
    .regex(/^[A-Z]{1,16}$/, 'expected a method in capitals')
    .optional(),
  path: z.string().max(65_536).default('/'),
  headers: z.record(z.string().min(1).max(128), Header).default({}),
  body: z.string().max(TRIAL_BODY_BYTES_MAX).optional(),
  source: z.string().max(50).optional(),
})

const Expectation = z.union([
  z.enum(['allow', 'deny']),
  z.strictObject({
    outcome: z.enum(['allow', 'deny']).optional(),
    status: z.int().min(200).max(599).optional(),
    rules: z.array(Id).max(100).default([]).meta({ description: 'All of these match.' }),
    notRules: z.array(Id).max(100).default([]).meta({ description: 'None of these matches.' }),
  }),
])

const Case = z
  .strictObject({
    name: z.string().min(1).max(200),
    request: Request.optional(),
    raw: z.string().max(TRIAL_BODY_BYTES_MAX).optional(),
    expect: Expectation,
  })
  .refine(({ request, raw }) => (request === undefined) !== (raw === undefined), 'expected either request or raw')

const Cases = z.strictObject({
  rules: z.array(z.string().min(1).max(1_024)).min(1).max(16).optional(),
  paranoia: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4)]).optional(),
  cases: z.array(Case).min(1).max(CASES_MAX),
})

export type TrialCase = z.output<typeof Case>
export type TrialCases = z.output<typeof Cases>

export function parseCases(text: string, file: string): YamlReading<TrialCases> {
  return readYaml(Cases, text, file)
}

export interface TrialResult {
  readonly name: string
  readonly ok: boolean
  readonly expected: string
  readonly got: string
  readonly verdict: TrialVerdict
}

/** @throws {RequestUnreadable} */
export function runCase(rules: RuleSet, { name, request, raw, expect }: TrialCase, file: string): TrialResult {
  const sent =
    raw === undefined ? requestOfCase(request!) : parseRawRequest(Buffer.from(raw, 'utf8'), `${file}, case ${name}, raw`)
  const verdict = tryRequest(rules, sent)
  const wanted = typeof expect === 'string' ? { outcome: expect, status: undefined, rules: [], notRules: [] } : expect
  const missing = wanted.rules.filter((id) => !verdict.ruleIds.includes(id))
  const unwanted = wanted.notRules.filter((id) => verdict.ruleIds.includes(id))
  const ok =
    (wanted.outcome === undefined || wanted.outcome === verdict.outcome) &&
    (wanted.status === undefined || wanted.status === verdict.status) &&
    missing.length + unwanted.length === 0
  const told = [
    wanted.outcome ?? '',
    wanted.status === undefined ? '' : String(wanted.status),
    wanted.rules.length === 0 ? '' : `by ${wanted.rules.join(', ')}`,
    wanted.notRules.length === 0 ? '' : `not by ${wanted.notRules.join(', ')}`,
  ]
  const reported = verdict.findings.filter((finding) => finding.reported).map(({ ruleId }) => ruleId)
  const got = `${verdict.outcome}${verdict.outcome === 'deny' ? ` ${verdict.status}` : ''}, ${reported.length === 0 ? 'nothing matched' : `matched ${reported.join(', ')}`}`
  return { name, ok, expected: told.filter((word) => word !== '').join(' ') || 'anything', got, verdict }
}

function requestOfCase({ method, path, headers, body, source }: z.output<typeof Request>): TrialRequest {
  const fields = Object.entries(headers).flatMap(([name, value]) =>
    (typeof value === 'string' ? [value] : value).map((text) => [name, text] as const),
  )
  return requestOfParts({ target: path, method, headers: fields, body, source })
}
