/** The actions of one rule, read from their names and values. */
import { checkedMacro, ctl, deprecatevar, expirevar, initcol, opening, setenv, setvar } from './effects.ts'
import { type Expandable, parseMacro } from './macro.ts'
import type { Disruption, Effect, Phase } from './rule.ts'
import type { ActionNode, TargetNode } from './seclang/parse.ts'
import type { Span } from './seclang/source-text.ts'
import { TRANSFORMATIONS, type Transformation } from './transformations/index.ts'
import type { WafMatch } from './types.ts'
import type { Target } from './variables.ts'

export interface Actions {
  id: number | undefined
  idSpan: Span | undefined
  phase: Phase | undefined
  message: Expandable
  logData: Expandable
  level: number | undefined
  rev: string
  ver: string
  status: number | undefined
  disruption: Disruption | 'block' | undefined
  log: boolean | undefined
  audit: boolean | undefined
  chain: boolean
  capture: boolean
  multiMatch: boolean
  skipAfter: { readonly name: string; readonly span: Span } | undefined
  skip: { readonly count: number; readonly span: Span } | undefined
  /** `t:none` was said: nothing comes from the defaults. */
  noInherited: boolean
  /** The first action that only the first rule of a chain may have. */
  headOnly: Span | undefined
  readonly tags: string[]
  readonly transformations: TransformationName[]
  readonly effects: Effect[]
}

export type TransformationName = readonly [name: string, step: Transformation]

/** What reading actions needs from the compiler. */
export interface ActionSurroundings {
  compileTarget(node: TargetNode): Target
  collectionTimeout(): number
}

const LEVELS = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug'] as const
const SEVERITIES = ['critical', 'critical', 'critical', 'error', 'warning', 'notice', 'notice', 'notice'] as const

/** A rule without a severity counts as a notice. */
export function severityOf(level: number | undefined): WafMatch['severity'] {
  return level === undefined ? 'notice' : SEVERITIES[level]!
}

export function readActions(nodes: readonly ActionNode[], around: ActionSurroundings, into?: Actions): Actions {
  const actions: Actions = into ?? {
    id: undefined,
    idSpan: undefined,
    phase: undefined,
    message: parseMacro(''),
    logData: parseMacro(''),
    level: undefined,
    rev: '',
    ver: '',
    status: undefined,
    disruption: undefined,
    log: undefined,
    audit: undefined,
    chain: false,
    capture: false,
    multiMatch: false,
    skipAfter: undefined,
    skip: undefined,
    noInherited: false,
    headOnly: undefined,
    tags: [],
    transformations: [],
    effects: [],
  }
  for (const node of nodes) {
    const read = ACTIONS.get(node.name)
    if (read === undefined) {
      const why = NOT_DONE.get(node.name) ?? 'Remove it, or see packages/waf/README.md.'
      node.span.fail(0, `the action ${node.name}`, 'an action that this engine does', why)
    }
    if (HEAD_ONLY.has(node.name)) actions.headOnly ??= node.span
    read!(actions, node, around)
  }
  return actions
}

type ActionReader = (actions: Actions, node: ActionNode, around: ActionSurroundings) => void

function valueIn({ span, name, value }: ActionNode): Span {
  return value ?? span.fail(0, `the action ${name} without a value`, `${name}:VALUE`, 'Add the value.')
}

function checked(node: ActionNode, pattern: RegExp, expected: string): string {
  const value = valueIn(node)
  if (!pattern.test(value.text)) value.fail(0, `${node.name}:${value.text}`, expected, 'Correct it.')
  return value.text
}

const accept: ActionReader = () => {}

/** What belongs to a chain as a whole. */
const HEAD_ONLY: ReadonlySet<string> = new Set(['id', 'phase', 'deny', 'drop', 'block', 'pass', 'allow', 'skip', 'skipafter'])

const NOT_DONE: ReadonlyMap<string, string> = new Map(
  ['redirect', 'proxy', 'exec', 'pause', 'append', 'prepend'].map((name) => [
    name,
    'Use deny, or do it in a route of the policy: a rule refuses requests and does nothing else to them.',
  ]),
)

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
      const text = checked(node, /^(?:[1-5]|request|response|logging)$/i, 'a phase from 1 to 5').toLowerCase()
      actions.phase = (text === 'request' ? 2 : text === 'response' ? 4 : text === 'logging' ? 5 : Number(text)) as Phase
    },
  ],
  [
    'msg',
    (actions, node) => {
      actions.message = checkedMacro(valueIn(node))
    },
  ],
  [
    'logdata',
    (actions, node) => {
      actions.logData = checkedMacro(valueIn(node))
    },
  ],
  [
    'rev',
    (actions, node) => {
      actions.rev = valueIn(node).text
    },
  ],
  [
    'ver',
    (actions, node) => {
      actions.ver = valueIn(node).text
    },
  ],
  ['tag', (actions, node) => void actions.tags.push(valueIn(node).text)],
  [
    'severity',
    (actions, node) => {
      const value = valueIn(node)
      const text = value.text.toLowerCase()
      const level = /^[0-7]$/.test(text) ? Number(text) : (LEVELS as readonly string[]).indexOf(text)
      if (level < 0) value.fail(0, `the severity ${value.text}`, 'CRITICAL, ERROR, WARNING or NOTICE', 'Choose one of them.')
      actions.level = level
    },
  ],
  [
    'status',
    (actions, node) => {
      actions.status = Number(checked(node, /^[2-5]\d\d$/, 'an HTTP status'))
    },
  ],
  ['deny', (actions) => void (actions.disruption = 'deny')],
  ['drop', (actions) => void (actions.disruption = 'deny')],
  ['pass', (actions) => void (actions.disruption = 'pass')],
  ['block', (actions) => void (actions.disruption = 'block')],
  [
    'allow',
    (actions, node) => {
      const kind = node.value?.text.toLowerCase()
      if (kind !== undefined && kind !== 'phase' && kind !== 'request')
        node.value!.fail(0, `allow:${kind}`, 'allow, allow:phase or allow:request', 'Choose one of them.')
      actions.disruption = kind === undefined ? 'allow' : `allow:${kind as 'phase' | 'request'}`
    },
  ],
  ['log', (actions) => void (actions.log = true)],
  ['nolog', (actions) => void (actions.log = false)],
  ['chain', (actions) => void (actions.chain = true)],
  ['capture', (actions) => void (actions.capture = true)],
  ['multimatch', (actions) => void (actions.multiMatch = true)],
  ['t', readTransformation],
  ['setvar', (actions, node) => void actions.effects.push(setvar(valueIn(node)))],
  ['expirevar', (actions, node) => void actions.effects.push(expirevar(valueIn(node)))],
  ['deprecatevar', (actions, node) => void actions.effects.push(deprecatevar(valueIn(node)))],
  ['setenv', (actions, node) => void actions.effects.push(setenv(valueIn(node)))],
  ['initcol', (actions, node, around) => void actions.effects.push(initcol(valueIn(node), around.collectionTimeout))],
  ['setsid', opens('SESSION')],
  ['setuid', opens('USER')],
  ['setrsc', opens('RESOURCE')],
  ['ctl', (actions, node, around) => void actions.effects.push(ctl(valueIn(node), around.compileTarget))],
  [
    'skipafter',
    (actions, node) => {
      actions.skipAfter = { name: valueIn(node).text, span: valueIn(node) }
    },
  ],
  [
    'skip',
    (actions, node) => {
      actions.skip = { count: Number(checked(node, /^[1-9]\d{0,4}$/, 'how many rules to pass over')), span: valueIn(node) }
    },
  ],
  // For audit logs and people: checked, without effect on a verdict.
  ['maturity', (_, node) => void checked(node, /^[0-9]$/, 'a number from 0 to 9')],
  ['accuracy', (_, node) => void checked(node, /^[0-9]$/, 'a number from 0 to 9')],
  ['auditlog', (actions) => void (actions.audit = true)],
  ['noauditlog', (actions) => void (actions.audit = false)],
  ['sanitisearg', accept],
  ['sanitisematched', accept],
  ['sanitisematchedbytes', accept],
  ['sanitiserequestheader', accept],
  ['sanitiseresponseheader', accept],
  ['xmlns', (_, node) => void checked(node, /^[A-Za-z_][\w.-]*=.+$/, 'prefix=namespace')],
])

function opens(collection: string): ActionReader {
  return (actions, node, around) =>
    void actions.effects.push(opening(collection, checkedMacro(valueIn(node)), around.collectionTimeout))
}

function readTransformation(actions: Actions, node: ActionNode): void {
  const value = valueIn(node)
  const name = value.text.toLowerCase()
  if (name === 'none') {
    actions.transformations.length = 0
    actions.noInherited = true
    return
  }
  const step = TRANSFORMATIONS.get(name)
  if (step === undefined)
    value.fail(0, `the transformation ${value.text}`, 'one that this engine has', 'See packages/waf/README.md.')
  actions.transformations.push([name, step!])
}
