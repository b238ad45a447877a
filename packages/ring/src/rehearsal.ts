/**
 * A policy tried out before anybody votes for it: its own tests, and what its rules cost. Deterministic: work is counted and
 * not time, so that every validator comes to the same verdict; and bounded: tests that would take too long are a fault of the
 * policy that carries them.
 */
import type { RuleSet, WafRequest } from '@ringwall/waf'
import { encodeUtf8 } from './encoding.ts'
import { patchTests } from './patches.ts'
import type { PolicyTest } from './policy.ts'
import type { CompiledPolicy, Inspection } from './policy-compile.ts'
import type { PolicyFault } from './policy-faults.ts'
import { SAMPLE_CLASSES, SAMPLE_REQUESTS, type SampleClass } from './sample-requests.ts'

/** Work of all tests together: about a fifth of a second of one core. */
export const TESTS_WORK_MAX = 64_000_000
/** Requests of all tests together, repeats included. */
export const TEST_REQUESTS_MAX = 5_000
/** Work of weighing all choices of rules together: about half a second of one core. */
const WEIGHING_WORK_MAX = 128_000_000
/** What a request costs beside its rules. */
const REQUEST_WORK = 1_000

/** A request of a test, as a guard meets it. */
export interface RehearsedRequest extends WafRequest {
  readonly host: string
  readonly body: Uint8Array
  /** Where its source is. */
  readonly place?: { readonly country: string; readonly asn: number }
  /** What its bearer token says, taken as verified. */
  readonly token:
    | { readonly issuer: string; readonly subject: string | undefined; readonly claims: Readonly<Record<string, unknown>> }
    | undefined
  /** `service/NAME` or `node/NAME`: whose certificate comes with it. */
  readonly caller?: string
}

export interface RehearsedVerdict {
  readonly outcome: 'allow' | 'deny' | 'challenge' | 'throttle'
  readonly status: number
  readonly check: string
  /** `limit:NAME`, `rule:ID`, or undefined. */
  readonly rule: string | undefined
  /** Rules of the WAF that matched. */
  readonly ruleIds: readonly number[]
  readonly reason: string
  /** Of the rules. */
  readonly work: number
}

/**
 * Judges requests one after the other, all at one instant, with limits that begin unused: what the guard does, which stands on
 * a floor above. It must be deterministic.
 */
export type PolicyJudge = (policy: CompiledPolicy) => (request: RehearsedRequest) => RehearsedVerdict

/** One test and how it went. */
export interface TestResult {
  readonly name: string
  readonly ok: boolean
  readonly expected: string
  readonly got: string
  readonly work: number
}

/** What a choice of rules costs on the sample request of a class. */
export interface RuleCost {
  /** The service or route that first makes this choice. */
  readonly where: string
  readonly sample: SampleClass
  readonly work: number
  readonly budget: number
}

export interface Rehearsal {
  readonly tests: readonly TestResult[]
  readonly costs: readonly RuleCost[]
  /** Empty when every test passes and everything is within budget. */
  readonly faults: readonly PolicyFault[]
}

/** Total: a judge or a rule that throws is a fault of the policy. */
export function rehearse(compiled: CompiledPolicy, judge: PolicyJudge): Rehearsal {
  const faults: PolicyFault[] = []
  const costs = weigh(compiled, faults)
  const tests = runTests(compiled, judge, faults)
  const patches = runPatchTests(compiled, faults)
  return { tests: [...tests, ...patches], costs, faults }
}

/** Each patch alone, as it is, whatever its mode: what it would match. */
function runPatchTests({ patches }: CompiledPolicy, faults: PolicyFault[]): readonly TestResult[] {
  let left = TESTS_WORK_MAX
  return patchTests(patches, faults).flatMap(({ name, path, patch, test }) => {
    if (left <= 0) return []
    const request = requestOf(test)
    let matched = false
    let crash: string | undefined
    const run = patch.rules.rehearse()
    try {
      matched = run.requestHead(request).blocked || run.requestBody(request.body, false).blocked
    } catch (error) {
      crash = error instanceof Error ? error.message.slice(0, 200) : 'no reason given'
    }
    left -= run.work + REQUEST_WORK
    if (left <= 0)
      faults.push({ path, message: `the tests of patches up to ${name} take more than ${TESTS_WORK_MAX} units of work` })
    const got = crash === undefined ? (matched ? 'match' : 'pass') : `a crash: ${crash}`
    const ok = got === test.expect
    if (!ok) faults.push({ path, message: `the test ${name} fails: expected ${test.expect}, got ${got}` })
    return [{ name, ok, expected: test.expect, got, work: run.work }]
  })
}

function weigh({ policy, inspections }: CompiledPolicy, faults: PolicyFault[]): readonly RuleCost[] {
  const costs: RuleCost[] = []
  let left = WEIGHING_WORK_MAX
  for (const inspection of inspections) {
    for (const sample of SAMPLE_CLASSES) {
      if (left <= 0) {
        const message = `weighing the rules takes more than ${WEIGHING_WORK_MAX} units of work: there are ${inspections.length} different choices of them`
        faults.push({ path: ['services'], message, hint: 'let services and routes share their rules and exclusions' })
        return costs
      }
      const budget = policy.budget[sample]
      const work = workOf(inspection, sample)
      if (work === undefined) {
        faults.push({ path: ['services'], message: `${inspection.where}: the rules crash on the sample ${sample} request` })
        return costs
      }
      left -= work
      costs.push({ where: inspection.where, sample, work, budget })
      if (work <= budget) continue
      const message = `${inspection.where}: the rules do ${work} units of work on the sample ${sample} request, the budget is ${budget}`
      const hint = 'use a lower paranoia, fewer rules, a smaller bodyBytesMax, or raise the budget'
      faults.push({ path: ['budget', sample], message, hint })
    }
  }
  return costs
}

/** Undefined when a rule throws. */
function workOf({ rules, bodyBytesMax }: Inspection, sample: SampleClass): number | undefined {
  const { request, body } = SAMPLE_REQUESTS[sample]
  try {
    const run: ReturnType<RuleSet['rehearse']> = rules.rehearse()
    run.requestHead(request)
    run.requestBody(body.subarray(0, bodyBytesMax), body.length > bodyBytesMax)
    return run.work
  } catch {
    return undefined
  }
}

function runTests(compiled: CompiledPolicy, judge: PolicyJudge, faults: PolicyFault[]): readonly TestResult[] {
  const { tests } = compiled.policy
  const requests = tests.reduce((sum, { repeat }) => sum + repeat, 0)
  if (requests > TEST_REQUESTS_MAX) {
    const message = `the tests ask ${requests} requests, at most ${TEST_REQUESTS_MAX} are made`
    faults.push({ path: ['tests'], message, hint: 'repeat less: a limit with a small burst is as good a test' })
    return []
  }
  const results: TestResult[] = []
  let left = TESTS_WORK_MAX
  for (const [index, test] of tests.entries()) {
    const { verdict, work, crash } = runTest(compiled, judge, test, left)
    left -= work
    if (left < 0) {
      const message = `the tests up to ${test.name} take more than ${TESTS_WORK_MAX} units of work`
      faults.push({ path: ['tests', index, 'request'], message, hint: 'make their bodies smaller, or repeat them less' })
      return results
    }
    const expected = describeExpected(test)
    const got = verdict === undefined ? `a crash: ${crash}` : describeGot(verdict)
    const ok = verdict !== undefined && isAsExpected(test, verdict)
    results.push({ name: test.name, ok, expected, got, work })
    if (ok) continue
    faults.push({ path: ['tests', index, 'expect'], message: `the test ${test.name} fails: expected ${expected}, got ${got}` })
  }
  return results
}

/** As the node sees it that the test names. */
function asked(compiled: CompiledPolicy, { labels }: PolicyTest): CompiledPolicy {
  if (labels === undefined) return compiled
  const { routes, route } = compiled.nodes.of(new Map(Object.entries(labels)))
  return { ...compiled, routes, route }
}

function runTest(
  compiled: CompiledPolicy,
  judge: PolicyJudge,
  test: PolicyTest,
  workMax: number,
): { readonly verdict: RehearsedVerdict | undefined; readonly work: number; readonly crash: string } {
  let work = 0
  let verdict: RehearsedVerdict | undefined
  try {
    const ask = judge(asked(compiled, test))
    const request = requestOf(test)
    const own = REQUEST_WORK + request.target.length + request.body.length
    for (let count = 0; count < test.repeat && work <= workMax; count += 1) {
      verdict = ask(request)
      work += verdict.work + own
    }
    return { verdict, work, crash: '' }
  } catch (error) {
    return { verdict: undefined, work, crash: error instanceof Error ? error.message.slice(0, 200) : 'no reason given' }
  }
}

function requestOf({ request }: Pick<PolicyTest, 'request'>): RehearsedRequest {
  const given = Object.entries(request.headers).flatMap(([name, value]) =>
    (typeof value === 'string' ? [value] : value).map((text) => [name, text] as const),
  )
  const has = (name: string): boolean => given.some(([held]) => held.toLowerCase() === name)
  const body = encodeUtf8(request.body.toWellFormed())
  const headers: (readonly [string, string])[] = [
    ...(has('host') ? [] : [['Host', request.host] as const]),
    ...(has('user-agent') ? [] : [['User-Agent', 'Mozilla/5.0 (policy test)'] as const]),
    ...(has('accept') ? [] : [['Accept', '*/*'] as const]),
    ...given,
    ...(body.length === 0 || has('content-length') ? [] : [['Content-Length', String(body.length)] as const]),
  ]
  const { token } = request
  return {
    method: request.method,
    target: request.path,
    httpVersion: '1.1',
    headers,
    remoteAddress: request.source,
    host: request.host.toLowerCase(),
    body,
    place: { country: request.country, asn: request.asn },
    token: token === undefined ? undefined : { issuer: token.issuer, subject: token.subject, claims: token.claims },
    ...(request.caller === undefined ? {} : { caller: request.caller }),
  }
}

function isAsExpected({ expect }: PolicyTest, { outcome, status, rule, ruleIds }: RehearsedVerdict): boolean {
  if (typeof expect === 'string') return outcome === expect
  if (outcome !== expect.outcome || (expect.status !== undefined && status !== expect.status)) return false
  if (expect.rule === undefined) return true
  const id = /^(?:rule:)?([0-9]+)$/.exec(String(expect.rule))?.[1]
  return id === undefined ? rule === expect.rule : ruleIds.includes(Number(id))
}

function describeExpected({ expect }: PolicyTest): string {
  if (typeof expect === 'string') return expect
  const status = expect.status === undefined ? '' : ` ${expect.status}`
  return `${expect.outcome}${status}${expect.rule === undefined ? '' : ` by ${expect.rule}`}`
}

function describeGot({ outcome, status, check, rule, ruleIds, reason }: RehearsedVerdict): string {
  const matched = ruleIds.filter((id) => `rule:${id}` !== rule)
  const by = rule ?? (check === 'none' ? undefined : check)
  const more = matched.length === 0 ? '' : `; matched ${matched.slice(0, 8).join(', ')}`
  return `${outcome} ${status}${by === undefined ? '' : ` by ${by}`}${outcome === 'allow' ? '' : ` (${reason.slice(0, 120)})`}${more}`
}
