import type { Automaton } from './automaton.ts'
import { hasSlot } from './automaton.ts'
import { parseRequestBody } from './body/request-body.ts'
import { bytesToText } from './bytes.ts'
import { type RuleCounters, RuleLaps } from './counters.ts'
import { EXCERPT_CHARS_MAX, LIMIT_RULE_ID, LOG_DATA_CHARS_MAX, MATCHES_MAX, WORK_CHARS_MAX } from './limits.ts'
import { holds, integer } from './operators/numbers.ts'
import type { CompiledRule, Link, Phase, RemovedTarget, RuleRun, TxGate } from './rule.ts'
import type { Settings } from './settings.ts'
import { type Entry, type ProgramSizes, RequestState } from './state.ts'
import { Subject, type SubjectMemo } from './subject.ts'
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
  readonly automaton: Automaton
  readonly memo: SubjectMemo
  readonly settings: Settings
  readonly sizes: ProgramSizes
  /** Undefined for requests that are no traffic. */
  readonly counters: RuleCounters | undefined
}

/** Names under which rule sets keep their inbound score: ours, then CRS 4's, then CRS 3's. */
const SCORES = ['inbound_anomaly_score', 'blocking_inbound_anomaly_score', 'anomaly_score'] as const

/** Variables that repeat what matched before. */
const DERIVED: ReadonlySet<string> = new Set(['MATCHED_VAR', 'MATCHED_VAR_NAME', 'MATCHED_VARS_NAMES', 'TX'])

export class Transaction implements WafExamination {
  readonly #program: Program
  readonly #excluded: ReadonlySet<number>
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

  constructor(
    program: Program,
    excluded: ReadonlySet<number>,
    environment: WafEnvironment | undefined,
    exclusions: readonly RemovedTarget[],
    trace?: RuleTrace,
  ) {
    this.#trace = trace
    this.#program = program
    this.#excluded = excluded
    const { settings, counters } = program
    this.#counters = counters
    if (counters !== undefined) {
      counters.requests += 1
      if (environment?.stopwatch !== undefined) this.#laps = new RuleLaps(counters, environment.stopwatch)
    }
    this.#state = new RequestState(program.memo, program.automaton, settings, program.sizes, environment)
    this.#run = {
      state: this.#state,
      removed: [],
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
    return this.#state.work - this.#state.building
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
    if (this.#blocked) return this.#verdict()
    const { requestBodyAccess, requestBodyLimit } = this.#run
    if (body.length > requestBodyLimit && requestBodyAccess && this.#program.settings.requestBodyLimitAction === 'Reject') {
      this.#refuse(2, 413, `a body longer than ${requestBodyLimit} bytes`)
      return this.#verdict()
    }
    if (body.length > 0 && requestBodyAccess && this.#run.engine !== 'Off') {
      const cut = body.length > requestBodyLimit
      const text = bytesToText(cut ? body.subarray(0, requestBodyLimit) : body)
      const contentType = this.#state.header('content-type') ?? ''
      const { argumentSeparator } = this.#program.settings
      const parsed = parseRequestBody(text, contentType, truncated || cut, this.#run.requestBodyProcessor, argumentSeparator)
      this.#state.readBody(text, parsed, truncated || cut)
    }
    this.#runPhase(2)
    return this.#verdict()
  }

  responseHead(response: WafResponse): WafVerdict {
    if (this.#blocked) return this.#verdict()
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
    const state = this.#state
    if (phase <= this.#allowedTo) return
    const rules = this.#program.phases[phase - 1]!
    // What is over a limit has been said before.
    if (this.#isOver() ? phase === 5 : rules.length === 0) return
    state.beginPhase()
    this.#runRules(phase, rules)
    this.#laps?.end()
  }

  #runRules(phase: Phase, rules: readonly CompiledRule[]): void {
    const state = this.#state
    const laps = this.#laps
    const hits = this.#counters?.hits
    const trace = this.#trace
    for (let i = 0; i < rules.length; i += 1) {
      if (this.#run.engine === 'Off') return
      if (this.#isOver()) {
        this.#overLimit(phase)
        return
      }
      const rule = rules[i]!
      const { gate } = rule
      if (laps !== undefined) laps.next(rule.index)
      if (gate === undefined ? cannotMatch(rule.links[0]!, state) : !opens(gate, state)) continue
      if (this.#isRemoved(rule)) continue
      const scoreBefore = trace === undefined ? 0 : this.#score()
      if (!this.#matchesAll(rule)) continue
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
            return
          }
        } else {
          if (rule.disruption === 'allow') this.#allowedTo = 4
          else if (rule.disruption === 'allow:request' && phase <= 2) this.#allowedTo = 2
          return
        }
      }
      if (rule.skipTo !== undefined) i = rule.skipTo - 1
    }
    if (this.#isOver()) this.#overLimit(phase)
  }

  #isOver(): boolean {
    return this.#state.over !== undefined || this.#state.work > WORK_CHARS_MAX
  }

  #isRemoved(rule: CompiledRule): boolean {
    const { id } = rule
    if (this.#excluded.size > 0 && this.#excluded.has(id)) return true
    const { removed, removedIf } = this.#run
    if (removed.length === 0 && removedIf.length === 0) return false
    return removed.some(([low, high]) => id >= low && id <= high) || removedIf.some((test) => test(rule))
  }

  #matchesAll(rule: CompiledRule): boolean {
    this.#state.beginRule(rule)
    this.#trace?.begin()
    const { removedTargets } = this.#run
    const out = removedTargets.length === 0 ? removedTargets : removedTargets.filter(({ from }) => from(rule))
    const { links, gate } = rule
    let from = 0
    // An open gate is a match of the first link: what it would find is known.
    if (gate !== undefined && out.length === 0 && !links[0]!.capture) {
      this.#matchGate(gate, links[0]!)
      from = 1
    }
    for (let i = from; i < links.length; i += 1) {
      const link = links[i]!
      if (cannotMatch(link, this.#state) || !this.#matchesLink(link, out)) return false
    }
    return true
  }

  #matchGate({ name, counted }: TxGate, link: Link): void {
    const state = this.#state
    const value = state.tx.get(name)
    const text = counted ? (value === undefined ? '0' : '1') : (value ?? '')
    const subject = new Subject(text)
    const entry = counted ? { collection: '&TX', name: '', lower: '', subject } : { collection: 'TX', name, lower: name, subject }
    state.noteMatch(entry, subject)
    this.#trace?.seen(link, entry, subject)
    for (const effect of link.effects) effect(this.#run)
  }

  #matchesLink(link: Link, out: readonly RemovedTarget[]): boolean {
    const state = this.#state
    if (link.list === undefined) {
      for (const effect of link.effects) effect(this.#run)
      return true
    }
    let matched = false
    for (const entry of state.gather(link.list)) {
      if (state.work > WORK_CHARS_MAX) return matched
      if (out.length > 0 && isOut(entry, out)) continue
      const seen = match(link, entry.subject, state)
      if (seen === undefined) continue
      matched = true
      state.noteMatch(entry, seen)
      this.#trace?.seen(link, entry, seen)
      for (const effect of link.effects) effect(this.#run)
    }
    return matched
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
    this.#refuse(phase, this.#status, this.#state.over ?? 'inspecting the request took too much work')
  }

  #refuse(phase: Phase, status: number, message: string): void {
    this.#matches.push({
      ruleId: LIMIT_RULE_ID,
      message,
      severity: 'critical',
      tags: ['ringwall-limit'],
      phase,
      variable: '',
      excerpt: '',
    })
    if (this.#run.engine !== 'On' || phase === 5) return
    this.#blocked = true
    this.#status = status
  }
}

/** True only if the literals that the operator needs are in none of the values. */
function cannotMatch(link: Link, state: RequestState): boolean {
  return link.pair !== undefined && !hasSlot(state.foundIn(link.pair), link.slot)
}

function opens({ name, counted, relation, to, negated }: TxGate, { tx }: RequestState): boolean {
  if (counted) return holds(relation, tx.has(name) ? 1 : 0, to) !== negated
  const value = tx.get(name)
  return value !== undefined && holds(relation, integer(value), to) !== negated
}

function isOut(entry: Entry, out: readonly RemovedTarget[]): boolean {
  return out.some(
    ({ target: { collection, selects } }) => collection === entry.collection && (selects === undefined || selects(entry.lower)),
  )
}

/** The text that matched, or nothing. What is known of a remembered value is not found out again, unless it captures. */
function match(link: Link, subject: Subject, state: RequestState): Subject | undefined {
  const { memoIndex } = link
  if (memoIndex < 0 || !subject.remembered)
    return link.multiMatch ? multiMatch(link, subject, state) : lastMatch(link, subject, state)
  const results = (subject.results ??= new Uint8Array(state.sizes.links))
  const known = results[memoIndex]
  if (known === 1) return undefined
  if (known === 2 && !link.capture && !link.multiMatch) return subject.through(link.chain, state)
  const seen = link.multiMatch ? multiMatch(link, subject, state) : lastMatch(link, subject, state)
  // A search that the request's work cut short says nothing about the text: remembered, it would let it pass for good.
  if (state.work <= WORK_CHARS_MAX) results[memoIndex] = seen === undefined ? 1 : 2
  return seen
}

function lastMatch(link: Link, original: Subject, state: RequestState): Subject | undefined {
  const subject = original.through(link.chain, state)
  return matches(link, subject, state) ? subject : undefined
}

function multiMatch(link: Link, original: Subject, state: RequestState): Subject | undefined {
  let subject = original
  if (matches(link, subject, state)) return subject
  for (const step of link.chain.steps) {
    const next = subject.after(step, state)
    if (next === subject) continue
    subject = next
    if (matches(link, subject, state)) return subject
  }
  return undefined
}

function matches(link: Link, subject: Subject, state: RequestState): boolean {
  const { operator, negated } = link
  if (link.slot >= 0) {
    if (!hasSlot(subject.found(state.automaton, state), link.slot)) return negated
    if (operator.exact === true && !link.capture) return !negated
  }
  state.capturing = link.capture
  return operator.matches(subject.text, state) !== negated
}
