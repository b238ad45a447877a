/**
 * The narrowest exceptions that let a recorded request pass, and what else they would let through: found by judging recorded
 * requests again. Bounded in time, and never long in one go: the node serves traffic meanwhile.
 */
import { setImmediate as pause } from 'node:timers/promises'
import { type CompiledException, compileException, type ExceptionPolicy, type View } from '@ringwall/ring'
import type { RuleFinding } from '@ringwall/waf'
import { appliesTo, type Replayed, replay } from './replay.ts'
import type { ArchivedRequest, RequestArchive } from './request-archive.ts'
import { type ShownFinding, shownFindings } from './rule-findings.ts'

const PAIRS_MAX = 64
const PROPOSE_MS_MAX = 2_000
const REPLAY_MS_MAX = 5_000
const LISTED_MAX = 100

/** What an exception is about, without who answers for it and how long. */
export interface ExceptionScope {
  readonly rule: number
  readonly service: string
  readonly route?: string | undefined
  readonly path?: string | undefined
  readonly variable: string
}

export interface Proposal {
  readonly method: string
  readonly path: string
  readonly service: string | null
  readonly route: string | null
  /** Whether the rules refuse the request now. */
  readonly refused: boolean
  readonly exceptions: (ExceptionScope & { readonly message: string })[]
  /** False when it was refused before its body was read: what rules say of that is not known. */
  readonly bodySeen: boolean
  /** Whether it would pass with these exceptions. */
  readonly passes: boolean
  /** Rules that would still match, of those that are reported. */
  readonly remaining: number[]
}

/** What rules make for themselves: an exception from it would be one from everything. */
const MADE = new Set([
  'TX',
  'MATCHED_VAR',
  'MATCHED_VARS',
  'MATCHED_VAR_NAME',
  'MATCHED_VARS_NAMES',
  'RULE',
  'IP',
  'GLOBAL',
  'SESSION',
  'USER',
  'RESOURCE',
  'ENV',
  'GEO',
])
const VARIABLE = /^&?[A-Z][A-Z_]{1,63}(?::[^\p{Cc}\p{Cs}]{1,256})?$/u

interface Pair {
  readonly rule: number
  readonly variable: string
  readonly message: string
  readonly raised: number
}

/** Pairs of rule and variable that had a part in it, the lightest first. */
function pairsOf(findings: readonly RuleFinding[]): readonly Pair[] {
  const pairs = new Map<string, Pair>()
  for (const { ruleId, message, reported, scoreBefore, scoreAfter, parts } of findings) {
    for (const { variable } of parts) {
      const collection = variable.split(':', 1)[0]!
      // What has no single name (a count, a name that cannot be written down) is excepted by hand or not at all.
      if (!reported || MADE.has(collection) || collection.startsWith('&') || !VARIABLE.test(decoded(variable))) continue
      const pair = { rule: ruleId, variable: decoded(variable), message, raised: scoreAfter - scoreBefore }
      pairs.set(`${ruleId} ${variable}`, pair)
    }
  }
  return [...pairs.values()].sort((a, b) => a.raised - b.raised).slice(0, PAIRS_MAX)
}

function decoded(bytes: string): string {
  return /^[\x00-\xff]*$/.test(bytes) ? Buffer.from(bytes, 'latin1').toString('utf8') : bytes
}

function made(scope: ExceptionScope): CompiledException {
  const { rule, service, route, path, variable } = scope
  const where = { ...(route === undefined ? {} : { route }), ...(path === undefined ? {} : { path }) }
  const whole: ExceptionPolicy = {
    name: 'tried',
    rule,
    service,
    ...where,
    variable,
    owner: 'x',
    reason: 'x',
    until: '9999-12-31T00:00:00Z',
  }
  return compileException(whole)
}

/**
 * @param path Wider than the request's own path, where the operator wants so.
 * @param rule Only this rule.
 */
export async function proposeExceptions(
  view: View,
  archived: ArchivedRequest,
  path: string | undefined,
  rule: number | undefined,
): Promise<Proposal> {
  const nowMs = Date.now()
  const deadline = performance.now() + PROPOSE_MS_MAX
  const { request } = archived
  const first = replay(view, archived, nowMs)
  const { route } = first
  const told = {
    method: request.method,
    path: request.path,
    service: route?.service.name ?? null,
    route: route?.route?.name ?? null,
    bodySeen: isBodySeen(archived),
  }
  if (route === undefined || !first.blocked)
    return { ...told, refused: false, exceptions: [], passes: true, remaining: reportedIn(first) }
  const where = {
    service: route.service.name,
    ...(route.route === undefined ? {} : { route: route.route.name }),
    path: path ?? request.path,
  }
  const tried = async (pairs: readonly Pair[]): Promise<Replayed> => {
    await pause()
    return replay(
      view,
      archived,
      nowMs,
      pairs.map((pair) => made({ ...where, rule: pair.rule, variable: pair.variable })),
    )
  }
  // A rule that matched a copy of a value may match the next value once the first is excepted: look again until nothing is new.
  let pairs: readonly Pair[] = []
  let last = first
  for (let round = 0; round < 8 && last.blocked && performance.now() < deadline; round += 1) {
    const known = new Set(pairs.map(({ rule: id, variable }) => `${id} ${variable}`))
    const found = pairsOf(last.findings).filter(
      (pair) => !known.has(`${pair.rule} ${pair.variable}`) && (rule === undefined || pair.rule === rule),
    )
    if (found.length === 0) break
    pairs = [...pairs, ...found].slice(0, PAIRS_MAX)
    last = await tried(pairs)
  }
  if (!last.blocked) {
    for (const pair of pairs.toSorted((a, b) => a.raised - b.raised)) {
      if (performance.now() >= deadline) break
      const fewer = pairs.filter((one) => one !== pair)
      const outcome = await tried(fewer)
      if (outcome.blocked) continue
      pairs = fewer
      last = outcome
    }
  }
  return {
    ...told,
    refused: true,
    exceptions: pairs.map(({ rule: id, variable, message }) => ({ ...where, rule: id, variable, message })),
    passes: !last.blocked,
    remaining: reportedIn(last),
  }
}

function isBodySeen({ request, body }: ArchivedRequest): boolean {
  if (body.length > 0) return true
  return !request.headers.some(([name, value]) => {
    const lower = name.toLowerCase()
    return lower === 'transfer-encoding' || (lower === 'content-length' && !/^0*$/.test(value.trim()))
  })
}

function reportedIn({ findings }: Replayed): number[] {
  return [...new Set(findings.filter(({ reported }) => reported).map(({ ruleId }) => ruleId))]
}

export interface LetThrough {
  readonly requestId: string
  readonly atMs: number
  readonly source: string
  readonly method: string
  readonly path: string
  /** What the excepted rules saw in it, masked. */
  readonly findings: ShownFinding[]
}

export interface ReplayReport {
  readonly held: number
  /** Recorded requests that the exceptions are about. */
  readonly judged: number
  /** Not judged, for lack of time. */
  readonly left: number
  /** Of those judged, refused now. */
  readonly refused: number
  /** Of these, not refused with the exceptions. */
  readonly passing: number
  readonly letThrough: LetThrough[]
}

export async function replayExceptions(
  view: View,
  archive: RequestArchive,
  scopes: readonly ExceptionScope[],
): Promise<ReplayReport> {
  const nowMs = Date.now()
  const deadline = performance.now() + REPLAY_MS_MAX
  const exceptions = scopes.map(made)
  const report = { held: archive.size, judged: 0, left: 0, refused: 0, passing: 0 }
  const letThrough: LetThrough[] = []
  for (const archived of archive.all()) {
    const { request } = archived
    const route = view.route(request.host, request.path, request.method)
    if (route === undefined || !exceptions.some((exception) => appliesTo(exception, route, request.path))) continue
    if (performance.now() >= deadline) {
      report.left += 1
      continue
    }
    report.judged += 1
    await pause()
    const before = replay(view, archived, nowMs)
    if (!before.blocked) continue
    report.refused += 1
    if (replay(view, archived, nowMs, exceptions).blocked) continue
    report.passing += 1
    if (letThrough.length >= LISTED_MAX) continue
    const seen = before.findings
      .filter(({ ruleId }) => scopes.some(({ rule }) => rule === ruleId))
      .map((finding) => ({ ...finding, parts: finding.parts.slice(0, 4) }))
    letThrough.push({
      requestId: archived.requestId,
      atMs: archived.atMs,
      source: request.remoteAddress,
      method: request.method,
      path: request.path.slice(0, 2_048),
      findings: shownFindings(seen.slice(0, 8)),
    })
  }
  return { ...report, letThrough }
}
