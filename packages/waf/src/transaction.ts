import type { Automaton } from './automaton.ts'
import { parseRequestBody } from './body/request-body.ts'
import { bytesToText } from './bytes.ts'
import { type RuleCounters, RuleLaps } from './counters.ts'
import { type GatedRun, heldBy, isQuiet, liveLinks, type SilentRun } from './gated-runs.ts'
import {
  EXCERPT_CHARS_MAX,
  LIMIT_RULE_ID,
  LOG_DATA_CHARS_MAX,
  MATCHES_MAX,
  PARSER_WORK_FACTOR,
  SLICE_STRETCH_BYTES,
  SLICE_WORK_CHARS,
  WORK_CHARS_MAX,
} from './limits.ts'
import { cannotMatch, opens, ruleMatches } from './matching.ts'
import { integer } from './operators/numbers.ts'
import type { CompiledRule, Phase, RemovedTarget, RuleRun } from './rule.ts'
import type { Settings } from './settings.ts'
import { hasSlot, type Slots } from './slots.ts'
import { type Entry, type ProgramSizes, RequestState } from './state.ts'
import { type Bits, hasBit, type SubjectMemo } from './subject.ts'
import type { RuleTrace } from './trace.ts'
import type {
  RuleFinding,
  WafAudit,
  WafEnvironment,
  WafExamination,
  WafMatch,
  WafRequest,
  WafResponse,
  WafVerdict,
} from './types.ts'
import { entryLabel } from './variables.ts'

/** What all requests share. */
export interface Program {
  /** Rules by phase, the first phase first. */
  readonly phases: readonly (readonly CompiledRule[])[]
  /** Of each phase. */
  readonly runs: readonly (readonly (GatedRun | undefined)[])[]
  readonly silentRuns: readonly (readonly (SilentRun | undefined)[])[]
  readonly automaton: Automaton
  readonly memo: SubjectMemo
  readonly settings: Settings
  /** Variables of TX that every request begins with. */
  readonly tx: ReadonlyMap<string, string>
  readonly sizes: ProgramSizes
  /** Undefined for requests that are no traffic. */
  readonly counters: RuleCounters | undefined
}

/** Names under which rule sets keep their inbound score: ours, then CRS 4's, then CRS 3's. */
const SCORES = ['inbound_anomaly_score', 'blocking_inbound_anomaly_score', 'anomaly_score'] as const

/** Variables that repeat what matched before. */
const DERIVED: ReadonlySet<string> = new Set(['MATCHED_VAR', 'MATCHED_VAR_NAME', 'MATCHED_VARS_NAMES', 'TX'])

/** Where a phase goes on that has ended. */
const OVER = -1

export class Transaction implements WafExamination {
  readonly #program: Program
  readonly #state: RequestState
  readonly #run: RuleRun
  readonly #matches: WafMatch[] = []
  readonly #counters: RuleCounters | undefined
  /** Set for the few requests whose rules are timed. */
  readonly #laps: RuleLaps | undefined
  readonly #trace: RuleTrace | undefined
  #audited = false
  #blocked = false
  #status = 403
  /** Phases up to this one are not run any more: an `allow`. */
  #allowedTo: 0 | 2 | 4 = 0
  /** Work of the request, once its response is looked at. */
  #requestWork = 0

  constructor(
    program: Program,
    environment: WafEnvironment | undefined,
    exclusions: readonly RemovedTarget[],
    trace?: RuleTrace,
    excluded: Iterable<number> = [],
  ) {
    this.#trace = trace
    this.#program = program
    const { settings, counters } = program
    this.#counters = counters
    if (counters !== undefined) {
      counters.requests += 1
      if (environment?.stopwatch !== undefined) this.#laps = new RuleLaps(counters, environment.stopwatch)
    }
    this.#state = new RequestState(program.memo, program.automaton, settings, program.sizes, environment, program.tx)
    this.#run = {
      state: this.#state,
      removed: Array.from(excluded, (id) => [id, id] as const),
      removedIf: [],
      removedTargets: exclusions.length === 0 ? [] : exclusions.slice(),
      engine: settings.engine,
      auditEngine: settings.auditEngine,
      auditParts: settings.auditParts,
      requestBodyAccess: settings.requestBodyAccess,
      requestBodyLimit: settings.requestBodyLimit,
      requestBodyProcessor: undefined,
      responseBodyAccess: settings.responseBodyAccess,
      responseBodyLimit: settings.responseBodyLimit,
    }
  }

  get work(): number {
    // Of building automata, not a word: it depends on what was judged before.
    return this.#requestWork + this.#state.work - this.#state.building
  }

  get audit(): WafAudit {
    const { auditEngine, auditParts, engine } = this.#run
    const { auditRelevant, components } = this.#program.settings
    return {
      engine: auditEngine,
      parts: auditParts,
      wanted: this.#audited,
      isRelevant: auditRelevant,
      ruleEngine: engine,
      components,
    }
  }

  get findings(): readonly RuleFinding[] {
    return this.#trace?.findings ?? []
  }

  requestHead(request: WafRequest): WafVerdict {
    this.#state.readHead(request)
    this.#runPhase(1)
    return this.#verdict()
  }

  requestBody(body: Uint8Array, truncated: boolean): WafVerdict {
    if (this.#takeBody(body, truncated)) this.#runPhase(2)
    return this.#verdict()
  }

  requestBodyInSlices(body: Uint8Array, truncated: boolean): () => WafVerdict | undefined {
    let next = this.#takeBody(body, truncated) && this.#enterPhase(2) ? 0 : OVER
    return () => {
      if (next !== OVER) next = this.#runRules(2, next, this.#state.effort + SLICE_WORK_CHARS)
      return next === OVER ? this.#verdict() : undefined
    }
  }

  /** False when there is nothing to look at any more. */
  #takeBody(body: Uint8Array, truncated: boolean): boolean {
    if (this.#blocked) return false
    const { requestBodyAccess, requestBodyLimit } = this.#run
    if (body.length > requestBodyLimit && requestBodyAccess && this.#program.settings.requestBodyLimitAction === 'Reject') {
      this.#refuse(2, 413, `a body longer than ${requestBodyLimit} bytes`)
      return false
    }
    if (body.length > 0 && requestBodyAccess && this.#run.engine !== 'Off') {
      const cut = body.length > requestBodyLimit
      const text = bytesToText(cut ? body.subarray(0, requestBodyLimit) : body)
      const contentType = this.#state.header('content-type') ?? ''
      const { argumentSeparator } = this.#program.settings
      this.#state.work += text.length * PARSER_WORK_FACTOR
      const parsed = parseRequestBody(text, contentType, truncated || cut, this.#run.requestBodyProcessor, argumentSeparator)
      this.#state.readBody(text, parsed, truncated || cut)
    }
    return true
  }

  get inspectsResponses(): boolean {
    const { phases } = this.#program
    return (phases[2]!.length > 0 || phases[3]!.length > 0) && this.#run.engine !== 'Off' && this.#allowedTo !== 4
  }

  responseHead(response: WafResponse): WafVerdict {
    if (this.#blocked) return this.#verdict()
    // What a request cost does not make its response suspicious.
    if (!this.#isOver()) {
      this.#requestWork = this.work
      this.#state.work = 0
      this.#state.building = 0
    }
    this.#state.readResponseHead(response)
    this.#runPhase(3)
    return this.#verdict()
  }

  get responseBytesWanted(): number {
    const { responseBodyAccess, responseBodyLimit, engine } = this.#run
    if (!responseBodyAccess || engine === 'Off' || this.#blocked || this.#allowedTo === 4) return 0
    if (this.#program.phases[3]!.length === 0) return 0
    const { responseBodyTypes } = this.#program.settings
    // A body without a type is looked at as well: browsers guess what it is.
    const type = this.#state.responseType.toLowerCase()
    return type === '' || responseBodyTypes.includes(type) ? responseBodyLimit : 0
  }

  responseBody(body: Uint8Array, truncated: boolean): WafVerdict {
    if (this.#blocked) return this.#verdict()
    const wanted = this.responseBytesWanted
    const cut = body.length > wanted
    if (wanted > 0 && (cut || truncated) && this.#program.settings.responseBodyLimitAction === 'Reject') {
      this.#refuse(4, 500, `a response longer than ${wanted} bytes`)
      return this.#verdict()
    }
    if (wanted > 0) this.#state.readResponseBody(bytesToText(cut ? body.subarray(0, wanted) : body), cut || truncated)
    this.#runPhase(4)
    return this.#verdict()
  }

  log(): WafVerdict {
    this.#runPhase(5)
    return this.#verdict()
  }

  #verdict(): WafVerdict {
    return { blocked: this.#blocked, status: this.#status, score: this.#score(), matches: this.#matches.slice() }
  }

  #score(): number {
    const { tx } = this.#state
    let score = 0
    for (const name of SCORES) score = Math.max(score, integer(tx.get(name) ?? '0'))
    return score
  }

  #runPhase(phase: Phase): void {
    if (this.#enterPhase(phase)) this.#runRules(phase, 0, Number.POSITIVE_INFINITY)
  }

  /** False when nothing of it is to be run. */
  #enterPhase(phase: Phase): boolean {
    if (phase <= this.#allowedTo) return false
    // What is over a limit has been said before.
    if (this.#isOver() ? phase === 5 : this.#program.phases[phase - 1]!.length === 0) return false
    this.#state.beginPhase()
    return true
  }

  /** Runs the rules of a phase from one on until the effort reaches `pauseAt`. Returns where to go on, or `OVER`. */
  #runRules(phase: Phase, from: number, pauseAt: number): number {
    const next = this.#runUntil(phase, from, pauseAt)
    this.#laps?.end()
    return next
  }

  #runUntil(phase: Phase, from: number, pauseAt: number): number {
    const state = this.#state
    const laps = this.#laps
    const hits = this.#counters?.hits
    const trace = this.#trace
    const rules = this.#program.phases[phase - 1]!
    const runs = this.#program.runs[phase - 1]!
    const silentRuns = this.#program.silentRuns[phase - 1]!
    // What is timed goes rule by rule, and so does a long body in slices: a stretch of rules takes no pause.
    const mayJump = laps === undefined && (pauseAt === Number.POSITIVE_INFINITY || state.bodyBytes <= SLICE_STRETCH_BYTES)
    let held: Slots | undefined
    let heldUntil = 0
    let live: Bits | undefined
    let liveUntil = 0
    for (let i = from; i < rules.length; i += 1) {
      if (this.#run.engine === 'Off') return OVER
      if (this.#isOver()) break
      if (state.effort >= pauseAt) return i
      const silent = mayJump ? silentRuns[i] : undefined
      if (silent !== undefined) {
        live = liveLinks(silent, state, state.links)
        liveUntil = silent.end
        if (live === undefined) {
          i = silent.end - 1
          continue
        }
      }
      const rule = rules[i]!
      if (i < liveUntil && !hasBit(live!, rule.links[0]!.memoIndex)) continue
      const run = mayJump ? runs[i] : undefined
      if (run !== undefined) {
        held = heldBy(run, state)
        heldUntil = run.end
        if (held === undefined ? isQuiet(run, state) : held.length === 0) {
          i = run.end - 1
          continue
        }
      }
      const isHeld = held !== undefined && i < heldUntil
      if (isHeld && !hasSlot(held!, rule.links[0]!.slot)) continue
      const { gate } = rule
      if (laps !== undefined) laps.next(rule.index)
      if ((rule.sources & state.present) === 0) continue
      if (gate === undefined ? !isHeld && cannotMatch(rule.links[0]!, state) : !opens(gate, state)) continue
      if (this.#isRemoved(rule)) continue
      const scoreBefore = trace === undefined ? 0 : this.#score()
      if (!ruleMatches(rule, this.#run, trace)) continue
      if (hits !== undefined) hits[rule.index]! += 1
      this.#audited ||= rule.audit
      trace?.matched(rule, scoreBefore, this.#score(), state)
      if (rule.level !== undefined && rule.level < state.highestSeverity) state.highestSeverity = rule.level
      if (rule.log) this.#report(rule)
      if (rule.disruption !== 'pass' && phase !== 5) {
        if (rule.disruption === 'deny') {
          if (this.#run.engine === 'On') {
            this.#blocked = true
            this.#status = rule.status
            return OVER
          }
        } else {
          if (rule.disruption === 'allow') this.#allowedTo = 4
          else if (rule.disruption === 'allow:request' && phase <= 2) this.#allowedTo = 2
          return OVER
        }
      }
      if (rule.skipTo !== undefined) i = rule.skipTo - 1
    }
    if (this.#isOver()) this.#overLimit(phase)
    return OVER
  }

  #isOver(): boolean {
    return this.#state.over !== undefined || this.#state.work > WORK_CHARS_MAX
  }

  #isRemoved(rule: CompiledRule): boolean {
    const { id } = rule
    const { removed, removedIf } = this.#run
    if (removed.length === 0 && removedIf.length === 0) return false
    return removed.some(([low, high]) => id >= low && id <= high) || removedIf.some((test) => test(rule))
  }

  #report(rule: CompiledRule): void {
    if (this.#matches.length >= MATCHES_MAX) return
    const matchedRaw = this.#reportedPart()
    const data = this.#state.expand(rule.logData).slice(0, LOG_DATA_CHARS_MAX)
    this.#matches.push({
      ruleId: rule.id,
      message: this.#state.expand(rule.message),
      severity: rule.severity,
      tags: rule.tags,
      phase: rule.phase,
      variable: matchedRaw === undefined ? '' : entryLabel(matchedRaw).slice(0, EXCERPT_CHARS_MAX),
      excerpt: (matchedRaw?.subject.text ?? '').slice(0, EXCERPT_CHARS_MAX),
      ...(data === '' ? {} : { data }),
    })
  }

  /** What came in, rather than what a rule of a chain made of it. */
  #reportedPart(): Entry | undefined {
    const { matchedRaw, matchedVars } = this.#state
    if (matchedRaw === undefined || !DERIVED.has(matchedRaw.collection)) return matchedRaw
    return matchedVars.find(({ collection }) => !DERIVED.has(collection)) ?? matchedRaw
  }

  #overLimit(phase: Phase): void {
    const { over, environment } = this.#state
    const passes = over === undefined && environment?.overrun === 'pass'
    this.#refuse(phase, this.#status, over ?? 'inspecting the request took too much work', passes)
  }

  #refuse(phase: Phase, status: number, message: string, passes = false): void {
    this.#matches.push({
      ruleId: LIMIT_RULE_ID,
      message,
      severity: 'critical',
      tags: ['ringwall-limit'],
      phase,
      variable: '',
      excerpt: '',
    })
    if (this.#run.engine !== 'On' || phase === 5 || passes) return
    this.#blocked = true
    this.#status = status
  }
}
