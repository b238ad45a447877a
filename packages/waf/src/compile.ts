/** SecLang sources to a rule set: checks every name, builds closures, one automaton over all literals. */
import { buildAutomaton } from './automaton.ts'
import { checkedMacro, ctl, setvar } from './effects.ts'
import { type Expandable, parseMacro } from './macro.ts'
import { unconditionalMatch } from './operators/always.ts'
import { OPERATORS } from './operators/index.ts'
import { type CompiledOperator, OperatorArgumentError } from './operators/operator.ts'
import { compilePattern } from './operators/rx.ts'
import type { CompiledRule, Link } from './rule.ts'
import { type ActionNode, type DirectiveNode, type OperatorNode, parseRules, type TargetNode } from './seclang/parse.ts'
import type { Span } from './seclang/source-text.ts'
import type { PairOfListAndChain } from './state.ts'
import { SubjectMemo, type TransformationChain } from './subject.ts'
import { type Program, Transaction } from './transaction.ts'
import { TRANSFORMATIONS, type Transformation } from './transformations/index.ts'
import type { CompileOptions, RuleSet, RuleSource, WafMatch } from './types.ts'
import { type Target, type TargetList, targetList, VARIABLES } from './variables.ts'

/**
 * Compiles rule files, in the order given, into one rule set.
 *
 * @throws {RuleSyntaxError} At the first thing that is malformed or that this engine does not do, with its place.
 */
export function compileRules(sources: readonly RuleSource[], options: CompileOptions): RuleSet {
  const builder = new Builder(options)
  for (const source of sources) {
    for (const node of parseRules(source)) builder.add(node)
    builder.endOfFile()
  }
  return builder.finish()
}

type RuleNode = Extract<DirectiveNode, { kind: 'rule' | 'action' }>
type Phase = 1 | 2

/** What the actions of one rule say. */
interface Actions {
  id: number | undefined
  idSpan: Span | undefined
  phase: Phase | undefined
  message: Expandable
  severity: WafMatch['severity']
  status: number | undefined
  disruptive: 'deny' | 'pass' | 'block' | undefined
  log: boolean
  chain: boolean
  capture: boolean
  skipAfter: { readonly name: string; readonly span: Span } | undefined
  readonly tags: string[]
  readonly transformations: (readonly [name: string, step: Transformation])[]
  readonly effects: Link['effects'][number][]
}

interface PendingRule {
  readonly rule: Omit<CompiledRule, 'skipTo' | 'links'>
  readonly links: Link[]
  readonly skipAfter: Actions['skipAfter']
  readonly kept: boolean
}

const SEVERITIES: ReadonlyMap<string, WafMatch['severity']> = new Map([
  ['emergency', 'critical'],
  ['alert', 'critical'],
  ['critical', 'critical'],
  ['error', 'error'],
  ['warning', 'warning'],
  ['notice', 'notice'],
  ['info', 'notice'],
  ['debug', 'notice'],
  ...['critical', 'critical', 'critical', 'error', 'warning', 'notice', 'notice', 'notice'].map(
    (level, number) => [String(number), level as WafMatch['severity']] as const,
  ),
])

class Builder {
  readonly #options: CompileOptions
  readonly #pending: (PendingRule | { readonly marker: string })[] = []
  readonly #ids = new Map<number, string>()
  readonly #defaults = new Map<Phase, Actions>()
  readonly #lists = new Map<string, TargetList>()
  readonly #chains = new Map<string, TransformationChain>()
  readonly #pairs = new Map<string, PairOfListAndChain>()
  readonly #slots: (readonly string[])[] = []
  #engine: 'On' | 'Off' | 'DetectionOnly' = 'On'
  /** The rule that the next SecRule belongs to. */
  #open: { readonly pending: PendingRule; readonly span: Span } | undefined

  constructor(options: CompileOptions) {
    this.#options = options
  }

  add(node: DirectiveNode): void {
    if (this.#open !== undefined && node.kind !== 'rule' && node.kind !== 'action') {
      node.span.fail(0, 'a chain that is not finished', 'a SecRule', 'Complete the chain or remove the chain action.')
    }
    switch (node.kind) {
      case 'engine':
        this.#engine = node.mode
        return
      case 'marker':
        this.#pending.push({ marker: node.name })
        return
      case 'default':
        this.#addDefault(node.actions, node.span)
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
    const rules = this.#pending.filter((item): item is PendingRule => 'rule' in item && item.kept)
    const phases = [this.#phase(1), this.#phase(2)] as const
    const program = { phases, automaton: buildAutomaton(this.#slots), memo: new SubjectMemo(), engine: this.#engine }
    const listed = rules.map(({ rule: { id, phase, tags, at, message } }) => ({
      id,
      message: message.constant ?? plain(message),
      phase,
      tags,
      at,
    }))
    return ruleSet(program, listed, new Set())
  }

  #addDefault(nodes: readonly ActionNode[], span: Span): void {
    const actions = this.#readActions(nodes)
    if (actions.phase === undefined) span.fail(0, 'default actions without a phase', 'phase:1 or phase:2', 'Add the phase.')
    this.#defaults.set(actions.phase!, actions)
  }

  #addRule(node: RuleNode): void {
    const actions = this.#readActions(node.actions)
    const { id, idSpan } = actions
    if (id === undefined) node.span.fail(0, 'a rule without an id', 'the action id:NUMBER', 'Give it a number of its own.')
    const at = node.span.at()
    const place = `${at.file}:${at.line}`
    const before = this.#ids.get(id!)
    if (before !== undefined)
      idSpan!.fail(0, `the rule id ${id}, already used at ${before}`, 'a number of its own', 'Choose another.')
    this.#ids.set(id!, place)
    const phase = actions.phase ?? 2
    const defaults = this.#defaults.get(phase)
    const disruptive =
      actions.disruptive === 'block' || actions.disruptive === undefined ? defaults?.disruptive : actions.disruptive
    const pending: PendingRule = {
      rule: {
        id: id!,
        phase,
        message: actions.message,
        severity: actions.severity,
        tags: actions.tags,
        at: place,
        log: actions.log,
        blocks: disruptive === 'deny',
        status: actions.status ?? defaults?.status ?? 403,
      },
      links: [],
      skipAfter: actions.skipAfter,
      kept: paranoiaOf(actions.tags) <= this.#options.paranoia,
    }
    this.#pending.push(pending)
    this.#link(node, actions, pending)
  }

  #addLink(node: RuleNode, pending: PendingRule): void {
    const actions = this.#readActions(node.actions)
    if (actions.id !== undefined || actions.disruptive !== undefined || actions.skipAfter !== undefined) {
      node.span.fail(
        0,
        'a chained rule with an id, a disruptive action or skipAfter',
        'these in the first rule of the chain only',
        'Move them there.',
      )
    }
    this.#link(node, actions, pending)
  }

  #link(node: RuleNode, actions: Actions, pending: PendingRule): void {
    this.#open = actions.chain ? { pending, span: node.span } : undefined
    const names = actions.transformations.map(([name]) => name)
    const chain = numbered(this.#chains, names.join(), (index) => ({
      index,
      steps: actions.transformations.map(([, step]) => step),
    }))
    if (node.kind === 'action') {
      const operator = unconditionalMatch({ text: '', macro: parseMacro('') })
      pending.links.push({
        list: undefined,
        chain,
        operator,
        negated: false,
        capture: false,
        slot: -1,
        pair: undefined,
        effects: actions.effects,
      })
      return
    }
    const list = this.#list(node.targets)
    const operator = compileOperator(node.operator)
    const { negated } = node.operator
    const gated = pending.kept && operator.literals !== undefined && operator.literals.length > 0
    const slot = gated ? this.#slots.push(operator.literals!) - 1 : -1
    const shared = gated && !negated && !list.volatile
    const pair = shared ? numbered(this.#pairs, `${list.index}/${chain.index}`, (index) => ({ index, list, chain })) : undefined
    pending.links.push({ list, chain, operator, negated, capture: actions.capture, slot, pair, effects: actions.effects })
  }

  #list(nodes: readonly TargetNode[]): TargetList {
    const targets = nodes.map(compileTarget)
    if (targets.every(({ exclude }) => exclude)) {
      nodes[0]!.span.fail(
        0,
        'only exclusions',
        'at least one variable without !',
        'Name the collection that they are taken from.',
      )
    }
    const key = nodes.map(({ span }) => span.text).join('|')
    return numbered(this.#lists, key, (index) => targetList(index, targets))
  }

  #phase(phase: Phase): readonly CompiledRule[] {
    const items = this.#pending.filter((item) => 'marker' in item || (item.kept && item.rule.phase === phase))
    const places = new Map<string, number>()
    let count = 0
    for (const item of items) {
      if ('marker' in item) places.set(item.marker, count)
      else count += 1
    }
    const rules: CompiledRule[] = []
    for (const item of items) {
      if ('marker' in item) continue
      const skipTo = item.skipAfter === undefined ? undefined : places.get(item.skipAfter.name)
      if (item.skipAfter !== undefined && (skipTo === undefined || skipTo <= rules.length)) {
        item.skipAfter.span.fail(
          0,
          `the marker ${item.skipAfter.name}`,
          'a SecMarker of this name after the rule',
          'Add it or correct the name.',
        )
      }
      rules.push({ ...item.rule, links: item.links, skipTo })
    }
    return rules
  }

  #readActions(nodes: readonly ActionNode[]): Actions {
    const actions: Actions = {
      id: undefined,
      idSpan: undefined,
      phase: undefined,
      message: parseMacro(''),
      severity: 'notice',
      status: undefined,
      disruptive: undefined,
      log: true,
      chain: false,
      capture: false,
      skipAfter: undefined,
      tags: [],
      transformations: [],
      effects: [],
    }
    for (const node of nodes) {
      const read = ACTIONS.get(node.name)
      if (read === undefined) {
        node.span.fail(
          0,
          `the action ${node.name}`,
          'an action that this engine does',
          'Remove it, or see packages/waf/README.md.',
        )
      }
      read!(actions, node)
    }
    return actions
  }
}

function ruleSet(program: Program, all: RuleSet['rules'], excluded: ReadonlySet<number>): RuleSet {
  const rules = excluded.size === 0 ? all : all.filter(({ id }) => !excluded.has(id))
  return {
    ruleCount: rules.length,
    rules,
    begin: () => new Transaction(program, excluded),
    rehearse: () => new Transaction({ ...program, memo: new SubjectMemo() }, excluded),
    excluding: (ids) =>
      ids.length === 0 ? ruleSet(program, all, excluded) : ruleSet(program, all, new Set([...excluded, ...ids])),
  }
}

type ActionReader = (actions: Actions, node: ActionNode) => void

function valueIn({ span, name, value }: ActionNode): Span {
  return value ?? span.fail(0, `the action ${name} without a value`, `${name}:VALUE`, 'Add the value.')
}

function checked(node: ActionNode, pattern: RegExp, expected: string): string {
  const value = valueIn(node)
  if (!pattern.test(value.text)) value.fail(0, `${node.name}:${value.text}`, expected, 'Correct it.')
  return value.text
}

const accept: ActionReader = () => {}
const withMacro: ActionReader = (_, node) => void checkedMacro(valueIn(node))

const ACTIONS: ReadonlyMap<string, ActionReader> = new Map<string, ActionReader>([
  [
    'id',
    (actions, node) => {
      actions.id = Number(checked(node, /^[1-9]\d{0,8}$/, 'a positive number'))
      actions.idSpan = node.span
    },
  ],
  [
    'phase',
    (actions, node) => {
      const text = checked(node, /^(?:[1-5]|request|response|logging)$/, 'a phase from 1 to 5')
      const phase = text === 'request' ? 2 : text === 'response' ? 4 : text === 'logging' ? 5 : Number(text)
      if (phase !== 1 && phase !== 2) {
        valueIn(node).fail(
          0,
          `phase ${phase}, which this engine does not run`,
          'phase 1 or 2',
          'Leave rules about responses out.',
        )
      }
      actions.phase = phase as Phase
    },
  ],
  [
    'msg',
    (actions, node) => {
      actions.message = checkedMacro(valueIn(node))
    },
  ],
  ['tag', (actions, node) => void actions.tags.push(valueIn(node).text)],
  [
    'severity',
    (actions, node) => {
      const value = valueIn(node)
      const level = SEVERITIES.get(value.text.toLowerCase())
      actions.severity =
        level ?? value.fail(0, `the severity ${value.text}`, 'CRITICAL, ERROR, WARNING or NOTICE', 'Choose one of them.')
    },
  ],
  [
    'status',
    (actions, node) => {
      actions.status = Number(checked(node, /^[2-5]\d\d$/, 'an HTTP status'))
    },
  ],
  ['deny', (actions) => void (actions.disruptive = 'deny')],
  ['drop', (actions) => void (actions.disruptive = 'deny')],
  ['pass', (actions) => void (actions.disruptive = 'pass')],
  ['block', (actions) => void (actions.disruptive = 'block')],
  ['log', (actions) => void (actions.log = true)],
  ['nolog', (actions) => void (actions.log = false)],
  ['chain', (actions) => void (actions.chain = true)],
  ['capture', (actions) => void (actions.capture = true)],
  ['t', readTransformation],
  ['setvar', (actions, node) => void actions.effects.push(setvar(valueIn(node)))],
  ['ctl', (actions, node) => void actions.effects.push(ctl(valueIn(node)))],
  [
    'skipafter',
    (actions, node) => {
      actions.skipAfter = { name: valueIn(node).text, span: valueIn(node) }
    },
  ],
  // For people and for audit logs: read and checked, without effect on a verdict.
  ['logdata', withMacro],
  ['ver', accept],
  ['rev', accept],
  ['maturity', accept],
  ['accuracy', accept],
  ['auditlog', accept],
  ['noauditlog', accept],
])

function readTransformation(actions: Actions, node: ActionNode): void {
  const value = valueIn(node)
  const name = value.text.toLowerCase()
  if (name === 'none') {
    actions.transformations.length = 0
    return
  }
  const step = TRANSFORMATIONS.get(name)
  if (step === undefined)
    value.fail(0, `the transformation ${value.text}`, 'one that this engine has', 'See packages/waf/README.md.')
  actions.transformations.push([name, step!])
}

function compileTarget({ span, collection, selector, count, exclude }: TargetNode): Target {
  const variable = VARIABLES.get(collection)
  if (variable === undefined)
    span.fail(0, `the variable ${collection}`, 'a variable that this engine fills', 'See packages/waf/README.md.')
  if (selector === undefined) return { collection, count, exclude, selects: undefined }
  if (!variable!.collection || collection === 'XML') {
    selector.span.fail(0, `a selector on ${collection}`, 'a variable with named members', 'Remove the selector.')
  }
  if (!selector.regex) {
    const wanted = selector.span.text.toLowerCase()
    return { collection, count, exclude, selects: (lower) => lower === wanted }
  }
  const { regex } = located(selector.span, () => compilePattern(selector.span.text, true))
  return { collection, count, exclude, selects: (lower) => regex.test(lower) }
}

function compileOperator({ span, name, argument }: OperatorNode): CompiledOperator {
  const factory = OPERATORS.get(name.toLowerCase())
  if (factory === undefined)
    return span.fail(0, `the operator @${name}`, 'an operator that this engine has', 'See packages/waf/README.md.')
  const macro = name.toLowerCase() === 'rx' ? parseMacro('') : checkedMacro(argument)
  return located(argument, () => factory({ text: argument.text, macro }))
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

function numbered<T>(known: Map<string, T>, key: string, make: (index: number) => T): T {
  const existing = known.get(key)
  if (existing !== undefined) return existing
  const made = make(known.size)
  known.set(key, made)
  return made
}
