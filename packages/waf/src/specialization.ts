/**
 * What a rule set does in the same way for every request, done once: the rules at its beginning that only set variables, and the
 * rules that ask for a variable which nothing changes afterwards, such as a paranoia level. Most of what the Core Rule Set runs
 * for a request without an attack is of these two kinds. A request sees no difference.
 */
import { gatedRuns, silentRuns } from './gated-runs.ts'
import { opens, ruleMatches } from './matching.ts'
import type { CompiledRule, Link, RuleRun } from './rule.ts'
import { RequestState } from './state.ts'
import type { Program } from './transaction.ts'

/** @param excluded Ids of rules that are left out. */
export function specialize(program: Program, excluded: ReadonlySet<number>): Program {
  const isOut = ({ id }: CompiledRule): boolean => excluded.has(id)
  // What a rule matched, such a one can ask for that has matched nothing itself: then all of them run.
  const kept = program.phases.some((rules) => rules.some(({ readsEarlierMatch }) => readsEarlierMatch))
  const { tx, next } = kept ? { tx: program.tx, next: 0 } : setUp(program, isOut)
  const first = (phase: number): number => (phase === 0 ? next : 0)
  const opened = new Map<CompiledRule, boolean>()
  /** Whether the first link matches, taken that the variables that it reads keep their values. */
  const isOpen = (rule: CompiledRule): boolean => {
    let open = opened.get(rule)
    if (open === undefined) {
      open = firstLinkMatches(rule, program, tx)
      opened.set(rule, open)
    }
    return open
  }
  // Nothing is taken to change until a rule that changes it is reached; rules are reached until no more are.
  const live = new Set<CompiledRule>()
  for (;;) {
    const facts = factsOf(live)
    const outcome = (rule: CompiledRule, i: number, from: number): Outcome => {
      if (isOut(rule) || i < from) return 'passes'
      if (!isOfConstants(rule, facts)) return 'undecided'
      if (!isOpen(rule)) return 'passes'
      return !kept && doesNothing(rule) ? 'skips' : 'undecided'
    }
    const before = live.size
    const phases = program.phases.map((rules, phase) => {
      const from = first(phase)
      const outcomes = rules.map((rule, i) => outcome(rule, i, from))
      const reached = reachable(rules, outcomes, from)
      rules.forEach((rule, i) => {
        if (reached[i] === 1 && outcomes[i] !== 'passes') live.add(rule)
      })
      return staying(rules, outcomes, reached)
    })
    if (live.size === before) return { ...program, phases, runs: phases.map(gatedRuns), silentRuns: phases.map(silentRuns), tx }
  }
}

/** What rules may do to the variables of a request, and to each other. */
interface Facts {
  readonly names: ReadonlySet<string>
  readonly prefixes: readonly string[]
  readonly removals: readonly ((rule: CompiledRule) => boolean)[]
}

function factsOf(rules: Iterable<CompiledRule>): Facts {
  const names = new Set<string>()
  const prefixes: string[] = []
  const removals: ((rule: CompiledRule) => boolean)[] = []
  for (const { links } of rules) {
    for (const { effects, capture } of links) {
      if (capture) for (let i = 0; i < 10; i += 1) names.add(String(i))
      for (const { about } of effects) {
        if (about?.kind === 'removal') removals.push(about.removes)
        else if (about?.whole === true) names.add(about.name)
        else if (about !== undefined) prefixes.push(about.name)
      }
    }
  }
  return { names, prefixes, removals }
}

function isOfConstants(rule: CompiledRule, { names, prefixes, removals }: Facts): boolean {
  const link = rule.links[0]!
  const read = isOfTx(link) ? link.list?.txNames : undefined
  if (read === undefined || removals.some((removes) => removes(rule))) return false
  return !read.some((name) => names.has(name) || prefixes.some((prefix) => name.startsWith(prefix)))
}

function firstLinkMatches(rule: CompiledRule, program: Program, tx: ReadonlyMap<string, string>): boolean {
  const link = { ...rule.links[0]!, effects: [] }
  return ruleMatches({ ...rule, gate: undefined, links: [link] }, runOver(program, tx))
}

/** A request of which nothing is known but its variables. */
function runOver(program: Program, tx: ReadonlyMap<string, string>): RuleRun {
  const { settings } = program
  const state = new RequestState(program.memo, program.automaton, settings, program.sizes, undefined, tx)
  state.beginPhase()
  return {
    state,
    removed: [],
    removedIf: [],
    removedTargets: [],
    engine: settings.engine,
    requestBodyAccess: settings.requestBodyAccess,
    requestBodyLimit: settings.requestBodyLimit,
    requestBodyProcessor: undefined,
    responseBodyAccess: settings.responseBodyAccess,
    responseBodyLimit: settings.responseBodyLimit,
    auditEngine: settings.auditEngine,
    auditParts: settings.auditParts,
  }
}

/** What becomes of a rule: it is as if it were not there, it always goes where it skips to, or it depends on the request. */
type Outcome = 'passes' | 'skips' | 'undecided'

/** Runs the rules at the beginning that depend on nothing but variables and set nothing else. `next` is the first that is not. */
function setUp(program: Program, isOut: (rule: CompiledRule) => boolean): { tx: ReadonlyMap<string, string>; next: number } {
  const rules = program.phases[0]!
  let tx = program.tx
  let i = 0
  while (i < rules.length) {
    const rule = rules[i]!
    if (isOut(rule)) {
      i += 1
      continue
    }
    if (!isSetUp(rule)) break
    const run = runOver(program, tx)
    const { state } = run
    const matched = (rule.gate === undefined || opens(rule.gate, state)) && ruleMatches(rule, run)
    // One that reports, decides or breaks a bound is for the request itself.
    if (state.over !== undefined || (matched && (rule.log || rule.level !== undefined || rule.disruption !== 'pass'))) break
    tx = new Map(state.tx.entries())
    i = matched && rule.skipTo !== undefined ? rule.skipTo : i + 1
  }
  return { tx, next: i }
}

function isSetUp({ links }: CompiledRule): boolean {
  return links.every((link) => isOfTx(link) && link.effects.every(({ about }) => about?.kind === 'tx' && about.ofTx))
}

/** Looks at one variable of TX, or at none. */
function isOfTx({ list, memoIndex, capture }: Link): boolean {
  return !capture && (list === undefined || (list.txNames !== undefined && memoIndex >= 0))
}

function doesNothing({ links, log, level, disruption }: CompiledRule): boolean {
  return (
    links.length === 1 &&
    links[0]!.effects.length === 0 &&
    !links[0]!.capture &&
    !log &&
    level === undefined &&
    disruption === 'pass'
  )
}

/** Which rules a request can come to. */
function reachable(rules: readonly CompiledRule[], outcomes: readonly Outcome[], from: number): Uint8Array {
  const reached = new Uint8Array(rules.length)
  const open = [from]
  for (let i = open.pop(); i !== undefined; i = open.pop()) {
    if (i >= rules.length || reached[i] === 1) continue
    reached[i] = 1
    const outcome = outcomes[i]!
    const { skipTo } = rules[i]!
    if (outcome !== 'passes' && skipTo !== undefined) open.push(skipTo)
    if (outcome !== 'skips' || skipTo === undefined) open.push(i + 1)
  }
  return reached
}

/** The rules that a request runs, with their skips set anew. */
function staying(rules: readonly CompiledRule[], outcomes: readonly Outcome[], reached: Uint8Array): readonly CompiledRule[] {
  const stays = new Uint8Array(rules.length)
  const after = new Int32Array(rules.length + 1)
  for (let i = rules.length - 1; i >= 0; i -= 1) {
    // One that always skips stays where what it skips can be come to in another way.
    const skipped = outcomes[i] === 'skips' ? after[i + 1]! - after[rules[i]!.skipTo ?? i + 1]! : 0
    stays[i] = reached[i] === 1 && (outcomes[i] === 'undecided' || skipped > 0) ? 1 : 0
    after[i] = after[i + 1]! + stays[i]!
  }
  const left: CompiledRule[] = []
  rules.forEach((rule, i) => {
    if (stays[i] === 0) return
    // A skip ends at the first rule that stays from its aim on.
    left.push(rule.skipTo === undefined ? rule : { ...rule, skipTo: after[0]! - after[rule.skipTo]! })
  })
  return left
}
