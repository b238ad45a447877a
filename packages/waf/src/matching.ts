/** Whether a rule matches: its links in order, and what they leave behind. */
import { SIFTED_VALUES_MIN, VALUE_WORK, WORK_CHARS_MAX } from './limits.ts'
import { holds, integer } from './operators/numbers.ts'
import type { CompiledRule, Link, RemovedTarget, RuleRun, TxGate } from './rule.ts'
import { hasSlot } from './slots.ts'
import type { Entry, RequestState } from './state.ts'
import { addBit, hasBit, Subject } from './subject.ts'
import type { RuleTrace } from './trace.ts'
import { noteAsked } from './unions.ts'

/** Runs the effects of what matches, also where a later link of the chain does not. */
export function ruleMatches(rule: CompiledRule, run: RuleRun, trace?: RuleTrace): boolean {
  const { state, removedTargets } = run
  state.beginRule(rule)
  trace?.begin()
  const out = removedTargets.length === 0 ? removedTargets : removedTargets.filter(({ from }) => from(rule))
  const { links, gate } = rule
  let from = 0
  // An open gate is a match of the first link: what it would find is known.
  if (gate !== undefined && out.length === 0 && !links[0]!.capture) {
    matchGate(gate, links[0]!, run, trace)
    from = 1
  }
  for (let i = from; i < links.length; i += 1) if (!linkMatches(links[i]!, out, run, trace)) return false
  return true
}

function matchGate({ name, counted }: TxGate, link: Link, run: RuleRun, trace: RuleTrace | undefined): void {
  const { state } = run
  const value = state.tx.get(name)
  const text = counted ? (value === undefined ? '0' : '1') : (value ?? '')
  const subject = new Subject(text)
  const entry = counted ? { collection: '&TX', name: '', lower: '', subject } : { collection: 'TX', name, lower: name, subject }
  state.noteMatch(entry, subject)
  trace?.seen(link, entry, subject)
  for (const effect of link.effects) effect(run)
}

function linkMatches(link: Link, out: readonly RemovedTarget[], run: RuleRun, trace: RuleTrace | undefined): boolean {
  const { state } = run
  const { effects, list } = link
  if (list === undefined) {
    for (let i = 0; i < effects.length; i += 1) effects[i]!(run)
    return true
  }
  if (link.pair === undefined) {
    const entries = state.gather(list)
    const union = link.multiMatch || list.volatile || entries.length < SIFTED_VALUES_MIN ? undefined : link.sharing?.union
    const left = union === undefined ? entries : state.leftBy(union, list, entries, link.chain)
    return left.length > 0 && valuesMatch(link, left, out, run, trace)
  }
  let matched = false
  // Part by part: most have nothing that this link waits for.
  for (let i = 0; i < list.parts.length; i += 1) {
    const part = list.parts[i]!
    if (link.memoIndex >= 0 && hasBit(state.quietIn(part), link.memoIndex)) continue
    const { slots, strangers } = state.screenOf(part)
    let entries = hasSlot(slots, link.slot) ? state.entriesOf(part) : strangers
    if (entries.length >= SIFTED_VALUES_MIN) entries = state.withSlot(part, entries, link.chain, link.slot)
    if (entries.length > 0 && valuesMatch(link, entries, out, run, trace)) matched = true
  }
  return matched
}

function valuesMatch(
  link: Link,
  entries: readonly Entry[],
  out: readonly RemovedTarget[],
  run: RuleRun,
  trace: RuleTrace | undefined,
): boolean {
  const { state } = run
  const { effects } = link
  let matched = false
  for (let k = 0; k < entries.length; k += 1) {
    const entry = entries[k]!
    state.work += VALUE_WORK
    if (state.work > WORK_CHARS_MAX) return matched
    if (out.length > 0 && isOut(entry, out)) continue
    const seen = match(link, entry.subject, state)
    if (seen === undefined) continue
    matched = true
    state.noteMatch(entry, seen)
    trace?.seen(link, entry, seen)
    for (let i = 0; i < effects.length; i += 1) effects[i]!(run)
  }
  return matched
}

/** True only if the literals that the operator needs are in none of the values. */
export function cannotMatch(link: Link, state: RequestState): boolean {
  return link.pair !== undefined && !hasSlot(state.foundIn(link.pair), link.slot)
}

export function opens({ name, counted, relation, to, toName, negated }: TxGate, { tx }: Pick<RequestState, 'tx'>): boolean {
  const value = tx.get(name)
  if (value === undefined && !counted) return false
  const other = toName === undefined ? to : integer(tx.get(toName) ?? '')
  return holds(relation, counted ? (value === undefined ? 0 : 1) : integer(value ?? ''), other) !== negated
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
  const { quiet, loud } = subject
  if (quiet !== undefined && hasBit(quiet, memoIndex)) return undefined
  const isKnown = loud !== undefined && hasBit(loud, memoIndex)
  if (isKnown && !link.capture && !link.multiMatch) return subject.through(link.chain, state)
  const seen = link.multiMatch ? multiMatch(link, subject, state) : lastMatch(link, subject, state)
  // A search that the request's work cut short says nothing about the text: remembered, it would let it pass for good.
  if (state.work > WORK_CHARS_MAX) return seen
  const { noLinks } = state.sizes
  if (seen === undefined) addBit((subject.quiet ??= noLinks.slice()), memoIndex)
  else if (!isKnown) addBit((subject.loud ??= noLinks.slice()), memoIndex)
  return seen
}

function lastMatch(link: Link, original: Subject, state: RequestState): Subject | undefined {
  const subject = original.through(link.chain, state)
  return matches(link, subject, state) ? subject : undefined
}

function multiMatch(link: Link, original: Subject, state: RequestState): Subject | undefined {
  let subject = original
  if (mayMatch(link, subject) && matches(link, subject, state)) return subject
  for (const step of link.chain.steps) {
    const next = subject.after(step, state)
    if (next === subject) continue
    subject = next
    if (mayMatch(link, subject) && matches(link, subject, state)) return subject
  }
  return undefined
}

function mayMatch({ hint }: Link, { knownFound }: Subject): boolean {
  return hint < 0 || knownFound === undefined || hasSlot(knownFound, hint)
}

function matches(link: Link, subject: Subject, state: RequestState): boolean {
  const { operator, negated } = link
  if (link.slot >= 0) {
    if (!hasSlot(subject.found(state.automaton, state), link.slot)) return negated
    if (operator.exact === true && !link.capture) return !negated
  }
  const { sharing } = link
  if (sharing?.union?.rulesOut(subject, state) === true) return false
  state.capturing = link.capture
  state.long = subject.long
  const isMatch = operator.matches(subject.text, state)
  if (sharing !== undefined) noteAsked(sharing, isMatch)
  return isMatch !== negated
}
