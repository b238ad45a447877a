/** Rules on single requests, without a ring: test (is it as expected?) and explain (why?). */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  loadTrialRules,
  parseCases,
  parseRawRequest,
  RequestUnreadable,
  requestOfParts,
  runCase,
  type TrialRequest,
  type TrialResult,
  tryRequest,
} from '@ringwall/node'
import { QuietFailure, UsageError } from '../errors.ts'
import { paint, printable } from '../format.ts'
import { type Format, printList, printOne, write } from '../output.ts'
import { findingLines } from './findings.ts'

export interface TrialOptions {
  readonly rules: readonly string[]
  readonly paranoia: 1 | 2 | 3 | 4 | undefined
  /** A file with a raw request; `-` for standard input. */
  readonly request: string | undefined
  readonly method: string | undefined
  readonly headers: readonly string[]
  readonly body: string | undefined
  readonly source: string | undefined
}

export interface TestOptions extends TrialOptions {
  readonly expect: 'allow' | 'deny' | undefined
  readonly expectRules: readonly number[]
}

const NOT_RULES = /\.ya?ml$/

function read(file: string): Buffer {
  try {
    return readFileSync(file === '-' ? 0 : file)
  } catch (error) {
    throw new UsageError(`${file}: cannot be read: ${(error as Error).message}`)
  }
}

const namedRules = ({ rules }: TrialOptions): readonly string[] => (rules.length === 0 ? ['base'] : rules)

function requestOf(target: string | undefined, options: TrialOptions): TrialRequest {
  try {
    if (options.request !== undefined) return parseRawRequest(read(options.request), options.request)
    const headers = options.headers.map((line) => {
      const match = /^([^:\s]+):[ \t]*(.*)$/s.exec(line)
      if (match === null) throw new UsageError(`--header ${JSON.stringify(line)}: expected "Name: value"`)
      return [match[1]!, match[2]!] as const
    })
    const body = options.body?.startsWith('@') === true ? read(options.body.slice(1)).toString('utf8') : options.body
    return requestOfParts({ target: target!, method: options.method, headers, body, source: options.source })
  } catch (error) {
    if (error instanceof RequestUnreadable) throw new UsageError(error.message)
    throw error
  }
}

/** Files of cases; those of folders by name. */
function caseFiles(paths: readonly string[]): readonly string[] {
  return paths.flatMap((path) => {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return [path]
    const files = readdirSync(path).filter((name) => NOT_RULES.test(name))
    if (files.length === 0) throw new UsageError(`${path}: holds no .yaml files with cases`)
    return files.sort().map((name) => join(path, name))
  })
}

interface Row extends TrialResult {
  readonly file: string
}

/** @param given Files or folders of cases; or one target. */
export function ruleTest(format: Format, given: readonly string[], options: TestOptions): void {
  const [first] = given
  const isOne =
    options.request !== undefined ||
    (first !== undefined && /^(?:\/|https?:)/.test(first) && given.length === 1 && !isFile(first))
  if (!isOne && given.length === 0) throw new UsageError('name a file of cases, a target such as /search?q=a, or --request FILE')
  const results = isOne ? [testOne(first, options)] : caseFiles(given).flatMap((file) => testFile(file, options))
  if (format === 'table' || format === 'wide') for (const result of results) write(resultLine(result, format === 'wide'))
  else printList<Row>(format, results, [], ({ name }) => name, 'no cases')
  const failed = results.filter(({ ok }) => !ok).length
  process.stderr.write(`${results.length - failed} of ${results.length} pass\n`)
  if (failed > 0) throw new QuietFailure()
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

function testOne(target: string | undefined, options: TestOptions): Row {
  const { expect, expectRules } = options
  if (expect === undefined && expectRules.length === 0)
    throw new UsageError('say what is expected: --expect allow|deny, --expect-rule ID')
  const rules = loadTrialRules(namedRules(options), options.paranoia ?? 1)
  const request = requestOf(target, options)
  const verdict = tryRequest(rules, request)
  const missing = expectRules.filter((id) => !verdict.ruleIds.includes(id))
  const ok = (expect === undefined || verdict.outcome === expect) && missing.length === 0
  const wanted = [expect ?? '', expectRules.length === 0 ? '' : `by ${expectRules.join(', ')}`].filter((word) => word !== '')
  const matched = verdict.findings.filter(({ reported }) => reported).map(({ ruleId }) => ruleId)
  const got = `${verdict.outcome}, ${matched.length === 0 ? 'nothing matched' : `matched ${matched.join(', ')}`}`
  return { file: '', name: `${request.method} ${request.target}`, ok, expected: wanted.join(' '), got, verdict }
}

function testFile(file: string, options: TestOptions): readonly Row[] {
  const cases = parseCases(read(file).toString('utf8'), file)
  if (!cases.ok) {
    for (const problem of cases.problems) process.stderr.write(`${printable(problem)}\n`)
    throw new QuietFailure()
  }
  const named = options.rules.length > 0 ? options.rules : (cases.value.rules ?? ['base'])
  const rules = loadTrialRules(named, options.paranoia ?? cases.value.paranoia ?? 1)
  try {
    return cases.value.cases.map((one) => ({ file, ...runCase(rules, one, file) }))
  } catch (error) {
    if (!(error instanceof RequestUnreadable)) throw error
    process.stderr.write(`${printable(error.message)}\n`)
    throw new QuietFailure()
  }
}

function resultLine({ name, ok, expected, got, verdict }: Row, wide: boolean): string {
  const head = `${ok ? paint('green', '✓') : paint('red', '✗')} ${printable(name)}${ok ? '' : `: expected ${expected}, got ${got}`}`
  return ok && !wide ? head : [head, ...verdict.findings.flatMap(findingLines)].join('\n')
}

/** @param target Unless a raw request is given. */
export function ruleExplain(format: Format, target: string | undefined, options: TrialOptions): void {
  if (target === undefined && options.request === undefined)
    throw new UsageError('name a target such as /search?q=a, or --request FILE')
  const names = namedRules(options)
  const rules = loadTrialRules(names, options.paranoia ?? 1)
  const request = requestOf(target, options)
  const verdict = tryRequest(rules, request, format === 'wide')
  printOne(
    format,
    verdict,
    ({ outcome, status, score, findings }) =>
      [
        `${paint(outcome === 'allow' ? 'green' : 'red', outcome.toUpperCase())} ${status}  ${printable(`${request.method} ${request.target.split('?', 1)[0]}`)}  score ${score}; rules ${names.join(', ')}, paranoia ${options.paranoia ?? 1}`,
        ...(findings.length === 0 ? ['no rule matched'] : findings.flatMap(findingLines)),
      ].join('\n'),
    outcome(verdict),
  )
}

const outcome = ({ outcome: name }: { readonly outcome: string }): string => name
