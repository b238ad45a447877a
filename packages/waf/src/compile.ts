/** SecLang sources to a rule set: checks every name, builds closures, one automaton over all literals. */
import { type ActionSurroundings, type Actions, readActions, severityOf } from './actions.ts'
import { automatonOf, buildTables } from './automaton.ts'
import { toByteText } from './bytes.ts'
import { createCounters, type RuleCounters } from './counters.ts'
import { checkedMacro, idRange, ruleTest } from './effects.ts'
import { gatedRuns, silentRuns } from './gated-runs.ts'
import { type Expandable, parseMacro } from './macro.ts'
import { unconditionalMatch } from './operators/always.ts'
import { OPERATORS } from './operators/index.ts'
import { type CompiledOperator, OperatorArgumentError } from './operators/operator.ts'
import { compileSelector } from './operators/rx.ts'
import { type PatternFacts, type Prepared, readPrepared, writePrepared } from './prepared.ts'
import type { CompiledRule, Disruption, Link, Phase, TxGate } from './rule.ts'
import { type DirectiveNode, type OperatorNode, parseRules, type RuleSelection, type TargetNode } from './seclang/parse.ts'
import type { Span } from './seclang/source-text.ts'
import { applySetting, DEFAULT_SETTINGS, type Settings } from './settings.ts'
import { addSlot } from './slots.ts'
import { specialize } from './specialization.ts'
import type { PairOfListAndChain, ProgramSizes } from './state.ts'
import { addBit, chainOf, noBits, type Step, SubjectMemo, stepOf, type TransformationChain } from './subject.ts'
import { RuleTrace } from './trace.ts'
import { type Program, Transaction } from './transaction.ts'
import { htmlEntityDecode } from './transformations/html-entity-decode.ts'
import type { Transformation } from './transformations/index.ts'
import { urlDecodeUniWith } from './transformations/url-decode.ts'
import type {
  CompiledExclusions,
  CompileOptions,
  LinkDescription,
  RuleDescription,
  RuleLeftOut,
  RuleListing,
  RuleSet,
  RuleSource,
} from './types.ts'
import { Company, type Sharing, Unions } from './unions.ts'
import { type Part, SOURCES, type Target, type TargetList, targetList, VARIABLES, xmlQuery } from './variables.ts'

/**
 * Compiles rule files, in the order given, into one rule set.
 *
 * @throws {RuleSyntaxError} At the first thing that is malformed or that this engine does not do, with its place.
 */
export function compileRules(sources: readonly RuleSource[], options: CompileOptions): RuleSet {
  const builder = new Builder(sources, options)
  for (const source of sources) {
    if (source.kind === 'data') continue
    for (const node of parseRules(source)) builder.add(node)
    builder.endOfFile()
  }
  return builder.finish()
}

type RuleNode = Extract<DirectiveNode, { kind: 'rule' | 'action' }>

/** A rule before its variables and patterns are compiled: directives that follow may still change it. */
interface PendingRule {
  readonly id: number
  readonly phase: Phase
  readonly at: string
  readonly defaults: Actions | undefined
  readonly actions: Actions
  readonly links: PendingLink[]
  removed: boolean
}

interface PendingLink {
  readonly node: RuleNode
  readonly actions: Actions
  targets: readonly TargetNode[]
}

const PHASES: readonly Phase[] = [1, 2, 3, 4, 5]

/** Variables in which rule sets keep the paranoia level: CRS 3's, then CRS 4's. */
const PARANOIA_VARIABLES = ['paranoia_level', 'executing_paranoia_level', 'blocking_paranoia_level', 'detection_paranoia_level']

const NO_PATTERNS: ReadonlyMap<string, PatternFacts> = new Map()

class Builder {
  readonly #data = new Map<string, string>()
  readonly #pending: (PendingRule | { readonly marker: string })[] = []
  readonly #byId = new Map<number, PendingRule>()
  readonly #defaults = new Map<Phase, Actions>()
  readonly #lists = new Map<string, TargetList>()
  readonly #parts = new Map<string, Part>()
  readonly #targets = new Map<string, Target>()
  readonly #chains = new Map<string, TransformationChain>()
  readonly #unions = new Unions()
  readonly #companies = new Map<string, Company>()
  readonly #steps = new Map<Transformation, Step>()
  readonly #pairs = new Map<string, PairOfListAndChain & { readonly wanted: number[] }>()
  readonly #slots: (readonly string[])[] = []
  readonly #slotOf = new Map<string, number>()
  readonly #operators = new Map<string, CompiledOperator>()
  readonly #patterns = new Map<string, PatternFacts>()
  readonly #known: Prepared | undefined
  readonly #onPrepared: ((bytes: Uint8Array) => void) | undefined
  readonly #around: ActionSurroundings
  /** Numbers of the rules that are kept. */
  readonly #places = new Map<PendingRule, number>()
  #settings: Settings
  #links = 0
  #paranoia: number
  readonly #memoValuesMax: number | undefined
  /** The rule that the next SecRule belongs to. */
  #open: { readonly pending: PendingRule; readonly span: Span } | undefined

  constructor(sources: readonly RuleSource[], options: CompileOptions) {
    this.#paranoia = options.paranoia
    this.#memoValuesMax = options.memoValuesMax
    this.#known = options.prepared === undefined ? undefined : readPrepared(options.prepared)
    this.#onPrepared = options.onPrepared
    for (const { file, text, kind } of sources) if (kind === 'data') this.#data.set(file, text)
    const level = String(options.paranoia)
    this.#settings = { ...DEFAULT_SETTINGS, tx: PARANOIA_VARIABLES.map((name) => [name, level] as const) }
    this.#around = { compileTarget: (node) => this.#target(node), collectionTimeout: () => this.#settings.collectionTimeout }
  }

  add(node: DirectiveNode): void {
    if (this.#open !== undefined && node.kind !== 'rule' && node.kind !== 'action') {
      node.span.fail(0, 'a chain that is not finished', 'a SecRule', 'Complete the chain or remove the chain action.')
    }
    switch (node.kind) {
      case 'setting':
        this.#settings = applySetting(this.#settings, node.name, node.span, node.values, (span) => this.#dataFile(span))
        return
      case 'marker':
        this.#pending.push({ marker: node.name })
        return
      case 'default':
        this.#addDefault(node)
        return
      case 'remove':
        for (const value of node.values) for (const rule of this.#select(node.by, value)) rule.removed = true
        return
      case 'retarget':
        this.#retarget(node)
        return
      case 'react':
        this.#react(node)
        return
      default:
        if (this.#open === undefined) this.#addRule(node)
        else this.#addLink(node, this.#open.pending)
    }
  }

  endOfFile(): void {
    this.#open?.span.fail(
      0,
      'a chain that is not finished',
      'a SecRule after it',
      'Complete the chain or remove the chain action.',
    )
  }

  finish(): RuleSet {
    const rules = this.#pending.filter((item): item is PendingRule => 'links' in item && this.#isKept(item))
    for (const [index, rule] of rules.entries()) this.#places.set(rule, index)
    const phases = PHASES.map((phase) => this.#phase(phase))
    const counters = createCounters(rules.length)
    const known = this.#isPrepared ? this.#known : undefined
    const tables = known?.tables ?? buildTables(this.#slots)
    if (known === undefined) this.#onPrepared?.(writePrepared({ patterns: this.#patterns, tables }))
    const program: Program = {
      phases,
      runs: phases.map(gatedRuns),
      silentRuns: phases.map(silentRuns),
      counters,
      automaton: automatonOf(tables),
      memo: new SubjectMemo(this.#memoValuesMax),
      settings: this.#settings,
      tx: new Map(this.#settings.tx),
      sizes: {
        lists: this.#lists.size,
        parts: this.#parts.size,
        pairs: this.#pairs.size,
        links: this.#links,
        chains: [...new Set([...this.#pairs.values()].map(({ chain }) => chain))],
        ...linkSets(phases, this.#links, this.#slots.length),
      },
    }
    const all = this.#pending.filter((item): item is PendingRule => 'links' in item)
    const leftOut = all
      .filter((rule) => !this.#isKept(rule))
      .map((rule) => ({ ...listing(rule, -1), why: rule.removed ? ('removed' as const) : ('paranoia' as const) }))
    const describe = (id: number): RuleDescription | undefined => {
      const rule = this.#byId.get(id)
      return rule === undefined ? undefined : description(rule, this.#places.get(rule) ?? -1)
    }
    return ruleSet({ program, all: rules.map(listing), leftOut, describe, counters }, new Set())
  }

  #isKept({ removed, actions }: PendingRule): boolean {
    return !removed && paranoiaOf(actions.tags) <= this.#paranoia
  }

  #dataFile(span: Span): string {
    const name = span.text.trim()
    const { file } = span.at()
    const folder = file.slice(0, Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1)
    return (
      this.#data.get(folder + name) ??
      this.#data.get(name) ??
      span.fail(0, `the data file ${name}`, 'a file beside the rules that name it', 'Add it to the folder of the rules.')
    )
  }

  #addDefault({ actions: nodes, span }: Extract<DirectiveNode, { kind: 'default' }>): void {
    const actions = readActions(nodes, this.#around)
    if (actions.phase === undefined) span.fail(0, 'default actions without a phase', 'phase:1 to phase:5', 'Add the phase.')
    this.#defaults.set(actions.phase!, actions)
  }

  #addRule(node: RuleNode): void {
    const actions = readActions(node.actions, this.#around)
    const { id, idSpan } = actions
    if (id === undefined) node.span.fail(0, 'a rule without an id', 'the action id:NUMBER', 'Give it a number of its own.')
    const { file, line } = node.span.at()
    const before = this.#byId.get(id!)
    if (before !== undefined)
      idSpan!.fail(0, `the rule id ${id}, already used at ${before.at}`, 'a number of its own', 'Choose another.')
    const phase = actions.phase ?? 2
    const pending: PendingRule = {
      id: id!,
      phase,
      at: `${file}:${line}`,
      defaults: this.#defaults.get(phase),
      actions,
      links: [],
      removed: false,
    }
    this.#byId.set(id!, pending)
    this.#pending.push(pending)
    this.#raiseParanoia(node)
    this.#link(node, actions, pending)
  }

  /** Rules that set a higher level themselves, such as an edited crs-setup.conf, need their rules compiled in. */
  #raiseParanoia({ actions }: RuleNode): void {
    for (const { name, value } of actions) {
      const level =
        name === 'setvar'
          ? /^tx\.(?:(?:executing|blocking|detection)_)?paranoia_level=([1-4])$/i.exec(value?.text ?? '')?.[1]
          : undefined
      if (level !== undefined) this.#paranoia = Math.max(this.#paranoia, Number(level))
    }
  }

  #addLink(node: RuleNode, pending: PendingRule): void {
    const actions = readActions(node.actions, this.#around)
    actions.headOnly?.fail(
      0,
      'a chained rule with an id, a phase, a disruptive action or a skip',
      'these in the first rule of the chain only',
      'Move them there.',
    )
    this.#link(node, actions, pending)
  }

  #link(node: RuleNode, actions: Actions, pending: PendingRule): void {
    this.#open = actions.chain ? { pending, span: node.span } : undefined
    // Checked where they stand, compiled when nothing can change them any more.
    const targets = node.kind === 'action' ? [] : node.targets
    for (const target of targets) this.#target(target)
    if (node.kind === 'rule') this.#operator(node.operator)
    pending.links.push({ node, actions, targets })
    if (node.kind === 'rule') included(targets)
  }

  #select(by: RuleSelection, value: Span): readonly PendingRule[] {
    const rules = this.#pending.filter((item): item is PendingRule => 'links' in item)
    if (by === 'id') {
      return value.text.split(/[\s,]+/).flatMap((part) => {
        const [low, high] = idRange(value.slice(value.text.indexOf(part), value.text.indexOf(part) + part.length))
        return rules.filter(({ id }) => id >= low && id <= high)
      })
    }
    const test = ruleTest(value, by)
    return rules.filter(({ actions }) => test(actions))
  }

  #retarget({ by, value, targets }: Extract<DirectiveNode, { kind: 'retarget' }>): void {
    for (const target of targets) this.#target(target)
    for (const rule of this.#select(by, value)) {
      const head = rule.links[0]!
      if (head.node.kind === 'rule') head.targets = [...head.targets, ...targets]
    }
  }

  #react({ value, actions: nodes, span }: Extract<DirectiveNode, { kind: 'react' }>): void {
    const match = /^(\d{1,9})(?::(\d{1,3}))?$/.exec(value.text)
    const rule = this.#byId.get(Number(match?.[1]))
    const link = rule?.links[Number(match?.[2] ?? 0)]
    if (link === undefined) {
      value.fail(0, `the rule ${value.text}`, 'the id of a rule before this one, or id:POSITION in its chain', 'Correct it.')
    }
    for (const node of nodes) {
      if (node.name === 'id' || node.name === 'phase' || node.name === 'chain')
        node.span.fail(0, `a change of ${node.name}`, 'other actions', 'Write the rule anew instead.')
    }
    readActions(nodes, this.#around, link!.actions)
    this.#raiseParanoia({ kind: 'action', span, actions: nodes })
  }

  #compileLink(link: PendingLink, defaults: Actions | undefined): Link {
    const { node, actions, targets } = link
    const inherited = actions.noInherited ? [] : (defaults?.transformations ?? [])
    const names = [...inherited, ...actions.transformations].map(([name, step]) => [name, this.#mapped(name, step)] as const)
    const chain = numbered(this.#chains, names.map(([name]) => name).join(), (index) =>
      chainOf(
        index,
        names.map(([, apply]) => numbered(this.#steps, apply, (number) => stepOf(number, apply))),
      ),
    )
    const common = {
      chain,
      capture: actions.capture,
      multiMatch: actions.multiMatch,
      effects: actions.effects,
      told: told(link, defaults),
    }
    if (node.kind === 'action') {
      const operator = unconditionalMatch({ text: '', macro: parseMacro(''), data: () => '' })
      return {
        ...common,
        list: undefined,
        operator,
        negated: false,
        slot: -1,
        hint: -1,
        pair: undefined,
        sharing: undefined,
        memoIndex: -1,
      }
    }
    const list = this.#list(targets)
    const operator = this.#operator(node.operator)
    const { negated } = node.operator
    // What an operator sees on the way is not what the last transformation leaves.
    const { literals = [] } = operator
    const number = literals.length > 0 ? numbered(this.#slotOf, literals.join('\n'), () => this.#slots.push(literals) - 1) : -1
    const gated = number >= 0 && !actions.multiMatch
    const slot = gated ? number : -1
    const hint = gated || negated ? -1 : number
    const shared = gated && !negated && !list.volatile
    const pair = shared
      ? numbered(this.#pairs, `${list.index}/${chain.index}`, (index) => ({ index, list, chain, wanted: [] }))
      : undefined
    if (pair !== undefined) addSlot(pair.wanted, slot)
    const pure = operator.impure !== true && !node.operator.argument.text.includes('%{')
    const sharing = pure && !negated && operator.pattern !== undefined ? this.#sharing(operator.pattern, chain) : undefined
    return { ...common, list, operator, negated, slot, hint, pair, sharing, memoIndex: pure ? this.#links++ : -1 }
  }

  #sharing({ source, parsed }: NonNullable<CompiledOperator['pattern']>, chain: TransformationChain): Sharing {
    const key = chain.steps.flatMap(({ index, rewrites }) => (rewrites ? index : [])).join()
    const company = numbered(this.#companies, key, () => new Company(this.#unions))
    return { source, parsed, company, union: undefined, asks: 0, matches: 0, alone: false }
  }

  #mapped(name: string, step: (text: string) => string): (text: string) => string {
    const { unicodeMap, htmlEntities } = this.#settings
    if (name === 'htmlentitydecode' && htmlEntities === 'All') return htmlEntityDecode
    if (name !== 'urldecodeuni' || unicodeMap === undefined) return step
    return (this.#urlDecodeUni ??= urlDecodeUniWith(unicodeMap))
  }

  #urlDecodeUni: ((text: string) => string) | undefined

  #list(nodes: readonly TargetNode[]): TargetList {
    const key = nodes.map(({ span }) => span.text).join('|')
    return numbered(this.#lists, key, (index) =>
      targetList(
        index,
        nodes.map((node) => this.#target(node)),
        (part, make) => numbered(this.#parts, part, make),
      ),
    )
  }

  /** Rule sets name the same variables again and again. */
  #target(node: TargetNode): Target {
    const { collection, selector, count, exclude } = node
    const selected = selector === undefined ? '' : `${selector.regex ? '/' : ':'}${selector.span.text}`
    const key = `${exclude ? '!' : ''}${count ? '&' : ''}${collection}${selected}`
    const known = this.#targets.get(key)
    if (known !== undefined) return known
    const made = compileTarget(node, key)
    this.#targets.set(key, made)
    return made
  }

  #operator({ span, name, argument }: OperatorNode): CompiledOperator {
    const lower = name.toLowerCase()
    const key = `${lower} ${argument.text}`
    const known = lower.includes('file') || lower.endsWith('f') ? undefined : this.#operators.get(key)
    if (known !== undefined) return known
    const factory = OPERATORS.get(lower)
    if (factory === undefined)
      return span.fail(0, `the operator @${name}`, 'an operator that this engine has', 'See packages/waf/README.md.')
    const macro = lower.startsWith('verify') ? parseMacro('') : checkedMacro(argument)
    const data = (file: string): string =>
      this.#dataFile(argument.slice(argument.text.indexOf(file), argument.text.indexOf(file) + file.length))
    const prepared = { read: this.#known?.patterns ?? NO_PATTERNS, write: this.#patterns }
    const made = located(argument, () => factory({ text: argument.text, macro, data, prepared }))
    this.#operators.set(key, made)
    return made
  }

  /** What was read is what would be written. */
  get #isPrepared(): boolean {
    if (this.#known === undefined || this.#known.tables.slotCount !== this.#slots.length) return false
    for (const source of this.#patterns.keys()) if (!this.#known.patterns.has(source)) return false
    return true
  }

  #phase(phase: Phase): readonly CompiledRule[] {
    const items = this.#pending.filter((item) => 'marker' in item || (item.phase === phase && this.#isKept(item)))
    const places = new Map<string, number>()
    let count = 0
    for (const item of items) {
      if ('marker' in item) places.set(item.marker, count)
      else places.set(String(item.id), ++count)
    }
    const rules: CompiledRule[] = []
    for (const item of items) {
      if ('marker' in item) continue
      rules.push(this.#compileRule(item, rules.length, places, count))
    }
    return rules
  }

  #compileRule(pending: PendingRule, place: number, places: ReadonlyMap<string, number>, count: number): CompiledRule {
    const { actions, defaults } = pending
    const { skipAfter, skip } = actions
    let skipTo = skip === undefined ? undefined : Math.min(count, place + 1 + skip.count)
    if (skipAfter !== undefined) {
      skipTo = places.get(skipAfter.name)
      if (skipTo === undefined || skipTo <= place) {
        skipAfter.span.fail(
          0,
          `the marker ${skipAfter.name}`,
          'a SecMarker of this name after the rule',
          'Add it or correct the name.',
        )
      }
    }
    const wanted = actions.disruption ?? 'block'
    const disruption = wanted === 'block' ? (defaults?.disruption ?? 'pass') : wanted
    const last = pending.links.at(-1)!.actions
    const links = pending.links.map((link) => this.#compileLink(link, defaults))
    return {
      readsEarlierMatch: readsEarlierMatch(pending.links[0]!),
      gate: txGate(links[0]!),
      index: this.#places.get(pending)!,
      id: pending.id,
      phase: pending.phase,
      message: actions.message,
      logData: actions.logData.constant === '' ? last.logData : actions.logData,
      severity: severityOf(actions.level),
      level: actions.level,
      rev: actions.rev,
      ver: actions.ver,
      tags: actions.tags,
      at: pending.at,
      log: actions.log ?? defaults?.log ?? true,
      audit: actions.audit ?? actions.log ?? defaults?.audit ?? defaults?.log ?? true,
      disruption: (disruption === 'block' ? 'deny' : disruption) as Disruption,
      status: actions.status ?? defaults?.status ?? 403,
      links,
      sources: links[0]!.list?.sources ?? SOURCES.always,
      skipTo,
    }
  }
}

function readsEarlierMatch({ node, targets }: PendingLink): boolean {
  if (node.kind === 'action') return node.actions.some(({ value }) => /MATCHED_VAR/i.test(value?.text ?? ''))
  return (
    /MATCHED_VAR/i.test(node.operator.argument.text) || targets.some(({ collection }) => collection.startsWith('MATCHED_VAR'))
  )
}

function txGate({ list, operator: { comparison }, chain, negated }: Link): TxGate | undefined {
  if (list?.txName === undefined || comparison === undefined || chain.steps.length > 0) return undefined
  return { name: list.txName, counted: list.txCounted, ...comparison, negated }
}

/** At least one variable has to be left to look at. */
function included(nodes: readonly TargetNode[]): void {
  if (nodes.every(({ exclude }) => exclude)) {
    nodes[0]!.span.fail(0, 'only exclusions', 'at least one variable without !', 'Name the collection that they are taken from.')
  }
}

/** What every choice of rules out of one program has in common. */
interface Compiled {
  readonly program: Program
  readonly all: readonly RuleListing[]
  readonly leftOut: readonly RuleLeftOut[]
  readonly describe: (id: number) => RuleDescription | undefined
  readonly counters: RuleCounters
}

function ruleSet(compiled: Compiled, excluded: ReadonlySet<number>): RuleSet {
  const { program, all, leftOut, describe, counters } = compiled
  const rules = excluded.size === 0 ? all : all.filter(({ id }) => !excluded.has(id))
  // Made when the first request comes: not every rule set that is compiled sees one.
  let specialized: Program | undefined
  const own = (): Program => (specialized ??= specialize(program, excluded))
  const apart = (): Program => ({ ...own(), memo: new SubjectMemo(), counters: undefined })
  return {
    ruleCount: rules.length,
    rules,
    all,
    leftOut,
    counters,
    describe,
    begin: (environment, exclusions) => new Transaction(own(), environment, exclusions ?? NO_EXCLUSIONS),
    rehearse: (exclusions) => new Transaction(apart(), undefined, exclusions ?? NO_EXCLUSIONS),
    // With every rule as it was written: also those that are decided once for all requests are to be seen.
    examine: (environment, exclusions) => {
      const whole = { ...program, memo: new SubjectMemo(), counters: undefined }
      return new Transaction(whole, environment, exclusions ?? NO_EXCLUSIONS, new RuleTrace(), excluded)
    },
    excluding: (ids) => (ids.length === 0 ? ruleSet(compiled, excluded) : ruleSet(compiled, new Set([...excluded, ...ids]))),
  }
}

const NO_EXCLUSIONS: CompiledExclusions = []

function listing({ id, phase, at, actions: { tags, message, level } }: PendingRule, index: number): RuleListing {
  return { id, index, message: message.constant ?? plain(message), phase, severity: severityOf(level), tags, at }
}

function description(rule: PendingRule, index: number): RuleDescription {
  const { links, defaults, actions, at } = rule
  const colon = at.lastIndexOf(':')
  const wanted = actions.disruption ?? 'block'
  return {
    ...listing(rule, index),
    file: at.slice(0, colon),
    line: Number(at.slice(colon + 1)),
    disruption: wanted === 'block' ? (defaults?.disruption ?? 'pass') : wanted,
    status: actions.status ?? defaults?.status ?? 403,
    level: actions.level,
    rev: actions.rev,
    ver: actions.ver,
    links: links.map((link) => told(link, defaults)),
  }
}

function told({ node, actions, targets }: PendingLink, defaults: Actions | undefined): LinkDescription {
  const inherited = actions.noInherited ? [] : (defaults?.transformations ?? [])
  return {
    line: node.span.at().line,
    variables: targets.map(({ span }) => span.text.trim()),
    transformations: [...inherited, ...actions.transformations].map(([name]) => name),
    operator: node.kind === 'action' ? '' : node.operator.name,
    argument: node.kind === 'action' ? '' : node.operator.argument.text,
    negated: node.kind === 'rule' && node.operator.negated,
    actions: node.actions.filter(({ name }) => name !== 't').map(({ span }) => span.text),
  }
}

function compileTarget({ span, collection, selector, count, exclude }: TargetNode, key: string): Target {
  const variable = VARIABLES.get(collection)
  if (variable === undefined)
    span.fail(0, `the variable ${collection}`, 'a variable that this engine fills', 'See packages/waf/README.md.')
  const target = { key, collection, count, exclude, selects: undefined, exact: undefined, query: undefined }
  if (selector === undefined) return target
  if (!variable!.collection) {
    selector.span.fail(0, `a selector on ${collection}`, 'a variable with named members', 'Remove the selector.')
  }
  if (collection === 'XML') {
    const query = xmlQuery(selector.span.text)
    if (query === undefined)
      selector.span.fail(
        0,
        `the XPath expression ${selector.span.text}`,
        'steps such as /*, //name, //@* or //text()',
        'Name the path without predicates and functions.',
      )
    return { ...target, query }
  }
  if (!selector.regex) {
    const wanted = toByteText(selector.span.text).toLowerCase()
    return { ...target, selects: (lower) => lower === wanted, exact: wanted }
  }
  const regex = located(selector.span, () => compileSelector(selector.span.text))
  return { ...target, selects: (lower) => regex.test(lower) }
}

/** Runs `make`; an argument it refuses is reported at its place in the file. */
function located<T>(span: Span, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (error instanceof OperatorArgumentError) return span.fail(error.offset, error.message, error.expected, error.remedy)
    throw error
  }
}

function paranoiaOf(tags: readonly string[]): number {
  return Math.max(1, ...tags.map((tag) => Number(/^paranoia-level\/([1-4])$/.exec(tag)?.[1] ?? 1)))
}

function plain({ parts }: Expandable): string {
  return parts
    .map((part) => (typeof part === 'string' ? part : `%{${part.collection}${part.key === undefined ? '' : `.${part.key}`}}`))
    .join('')
}

/** Links by what they need: see `RequestState.quietIn`. */
function linkSets(
  phases: readonly (readonly CompiledRule[])[],
  count: number,
  slots: number,
): Pick<ProgramSizes, 'noLinks' | 'allLinks' | 'linksOfSlots' | 'otherLinks'> {
  const none = () => noBits(count)
  const linksOfSlots = Array.from({ length: slots }, none)
  const otherLinks = none()
  for (const { links } of phases.flat()) {
    for (const { memoIndex, pair, slot } of links) {
      if (memoIndex < 0) continue
      addBit(pair === undefined ? otherLinks : linksOfSlots[slot]!, memoIndex)
    }
  }
  return { noLinks: none(), allLinks: none().fill(-1), linksOfSlots, otherLinks }
}

function numbered<K, T>(known: Map<K, T>, key: K, make: (index: number) => T): T {
  const existing = known.get(key)
  if (existing !== undefined) return existing
  const made = make(known.size)
  known.set(key, made)
  return made
}
