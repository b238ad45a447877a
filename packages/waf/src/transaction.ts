import type { Automaton } from './automaton.ts'
import { hasSlot } from './automaton.ts'
import { parseRequestBody } from './body/request-body.ts'
import { bytesToText } from './bytes.ts'
import { EXCERPT_CHARS_MAX, LIMIT_RULE_ID, MATCHES_MAX, WORK_CHARS_MAX } from './limits.ts'
import { integer } from './operators/numbers.ts'
import type { CompiledRule, Link, RuleRun } from './rule.ts'
import { type Entry, RequestState } from './state.ts'
import type { SubjectMemo } from './subject.ts'
import type { WafMatch, WafRehearsal, WafRequest, WafVerdict } from './types.ts'
import { entryLabel } from './variables.ts'

/** What all requests share. */
export interface Program {
  /** Rules of phase 1 and of phase 2. */
  readonly phases: readonly [readonly CompiledRule[], readonly CompiledRule[]]
  readonly automaton: Automaton
  readonly memo: SubjectMemo
  readonly engine: 'On' | 'Off' | 'DetectionOnly'
}

/** Names under which rule sets keep their inbound score: ours, then CRS 4's, then CRS 3's. */
const SCORES = ['inbound_anomaly_score', 'blocking_inbound_anomaly_score', 'anomaly_score'] as const

export class Transaction implements WafRehearsal {
  readonly #program: Program
  readonly #excluded: ReadonlySet<number>
  readonly #state: RequestState
  readonly #run: RuleRun
  readonly #matches: WafMatch[] = []
  #blocked = false
  #status = 403
  #contentType = ''

  constructor(program: Program, excluded: ReadonlySet<number>) {
    this.#program = program
    this.#excluded = excluded
    this.#state = new RequestState(program.memo, program.automaton)
    this.#run = { state: this.#state, removed: [], removedTags: [], engine: program.engine }
  }

  get work(): number {
    return this.#state.work
  }

  requestHead(request: WafRequest): WafVerdict {
    this.#state.readHead(request)
    this.#contentType = this.#state.header('content-type') ?? ''
    this.#runPhase(1)
    return this.#verdict()
  }

  requestBody(body: Uint8Array, truncated: boolean): WafVerdict {
    if (this.#blocked) return this.#verdict()
    if (body.length > 0) {
      const text = bytesToText(body)
      this.#state.readBody(text, parseRequestBody(text, this.#contentType, truncated), truncated)
    }
    this.#runPhase(2)
    return this.#verdict()
  }

  #verdict(): WafVerdict {
    const { tx } = this.#state
    let score = 0
    for (const name of SCORES) score = Math.max(score, integer(tx.get(name) ?? '0'))
    return { blocked: this.#blocked, status: this.#status, score, matches: this.#matches.slice() }
  }

  #runPhase(phase: 1 | 2): void {
    const state = this.#state
    state.beginPhase()
    const rules = this.#program.phases[phase - 1]!
    for (let i = 0; i < rules.length; i += 1) {
      if (this.#run.engine === 'Off') return
      if (state.over !== undefined || state.work > WORK_CHARS_MAX) {
        this.#overLimit(phase)
        return
      }
      const rule = rules[i]!
      if (cannotMatch(rule.links[0]!, state) || this.#isRemoved(rule)) continue
      if (!this.#matchesAll(rule)) continue
      if (rule.log) this.#report(rule)
      if (rule.blocks && this.#run.engine === 'On') {
        this.#blocked = true
        this.#status = rule.status
        return
      }
      if (rule.skipTo !== undefined) i = rule.skipTo - 1
    }
    if (state.over !== undefined || state.work > WORK_CHARS_MAX) this.#overLimit(phase)
  }

  #isRemoved({ id, tags }: CompiledRule): boolean {
    if (this.#excluded.size > 0 && this.#excluded.has(id)) return true
    const { removed, removedTags } = this.#run
    if (removed.length === 0 && removedTags.length === 0) return false
    return removed.some(([low, high]) => id >= low && id <= high) || removedTags.some((tag) => tags.includes(tag))
  }

  #matchesAll(rule: CompiledRule): boolean {
    this.#state.ruleId = rule.id
    for (const link of rule.links) if (cannotMatch(link, this.#state) || !this.#matchesLink(link)) return false
    return true
  }

  #matchesLink(link: Link): boolean {
    const state = this.#state
    if (link.list === undefined) {
      for (const effect of link.effects) effect(this.#run)
      return true
    }
    let matched = false
    for (const entry of state.gather(link.list)) {
      if (state.work > WORK_CHARS_MAX) return matched
      if (!matchesEntry(link, entry, state)) continue
      matched = true
      state.matched = entry
      for (const effect of link.effects) effect(this.#run)
    }
    return matched
  }

  #report(rule: CompiledRule): void {
    if (this.#matches.length >= MATCHES_MAX) return
    const { matched } = this.#state
    this.#matches.push({
      ruleId: rule.id,
      message: this.#state.expand(rule.message),
      severity: rule.severity,
      tags: rule.tags,
      phase: rule.phase,
      variable: matched === undefined ? '' : entryLabel(matched).slice(0, EXCERPT_CHARS_MAX),
      excerpt: (matched?.subject.text ?? '').slice(0, EXCERPT_CHARS_MAX),
    })
  }

  #overLimit(phase: 1 | 2): void {
    this.#matches.push({
      ruleId: LIMIT_RULE_ID,
      message: this.#state.over ?? 'inspecting the request took too much work',
      severity: 'critical',
      tags: ['ringwall-limit'],
      phase,
      variable: '',
      excerpt: '',
    })
    this.#blocked = this.#run.engine === 'On'
  }
}

/** True only if the literals that the operator needs are in none of the values. */
function cannotMatch(link: Link, state: RequestState): boolean {
  return link.pair !== undefined && !hasSlot(state.foundIn(link.pair), link.slot)
}

function matchesEntry(link: Link, entry: Entry, state: RequestState): boolean {
  const subject = entry.subject.through(link.chain, state)
  if (link.slot >= 0 && !hasSlot(subject.found(state.automaton, state), link.slot)) return link.negated
  state.capturing = link.capture
  return link.operator.matches(subject.text, state) !== link.negated
}
