/** Actions of a rule: what it is called, when it runs, what happens when it matches. */
import { fail, type ParsedAction, type Place } from './parser.ts'
import { TRANSFORMATIONS, type Transformation } from './transformations/index.ts'
import type { WafMatch } from './types.ts'

export type Disruption = 'deny' | 'pass'

/** `setvar:tx.name=+%{tx.other}`. */
export interface SetVar {
  readonly name: string
  readonly operation: 'set' | 'add' | 'subtract' | 'unset'
  readonly value: string
}

export interface RuleActions {
  readonly id: number | undefined
  readonly phase: 1 | 2
  readonly message: string
  readonly severity: WafMatch['severity']
  readonly tags: readonly string[]
  readonly disruption: Disruption | undefined
  readonly status: number | undefined
  readonly log: boolean
  readonly chain: boolean
  readonly capture: boolean
  readonly multiMatch: boolean
  readonly setVars: readonly SetVar[]
  readonly skipAfter: string | undefined
  readonly removedIds: readonly (readonly [number, number])[]
  readonly engine: 'On' | 'Off' | 'DetectionOnly' | undefined
  /** Names as written, and what they do. */
  readonly transformationNames: readonly string[]
  readonly transformations: readonly Transformation[]
}

const SEVERITIES: Readonly<Record<string, WafMatch['severity']>> = {
  EMERGENCY: 'critical',
  ALERT: 'critical',
  CRITICAL: 'critical',
  ERROR: 'error',
  WARNING: 'warning',
  NOTICE: 'notice',
}

/** Known, and without an effect here: they describe, or concern logs that are kept elsewhere. */
const DESCRIPTIVE = new Set(['rev', 'ver', 'maturity', 'accuracy', 'auditlog', 'noauditlog', 'logdata'])

/** @throws {RuleSyntaxError} For an action or value that is not supported. */
export function compileActions(actions: readonly ParsedAction[], where: Place): RuleActions {
  let id: number | undefined
  let phase: 1 | 2 = 2
  let message = ''
  let severity: WafMatch['severity'] = 'notice'
  let disruption: Disruption | undefined
  let status: number | undefined
  let log = true
  let [chain, capture, multiMatch] = [false, false, false]
  let skipAfter: string | undefined
  let engine: RuleActions['engine']
  let transformationNames: string[] = []
  const tags: string[] = []
  const setVars: SetVar[] = []
  const removedIds: (readonly [number, number])[] = []

  for (const action of actions) {
    const { name, value } = action
    if (DESCRIPTIVE.has(name)) continue
    switch (name) {
      case 'id':
        id = wholeNumber(action, 1, 999_999_999)
        break
      case 'phase':
        phase = compilePhase(action)
        break
      case 'msg':
        message = value ?? ''
        break
      case 'tag':
        tags.push(needed(action))
        break
      case 'severity':
        severity =
          SEVERITIES[needed(action).toUpperCase()] ??
          fail(action, `severity ${value}: expected one of ${Object.keys(SEVERITIES).join(', ')}`)
        break
      case 'deny':
      case 'block':
      case 'drop':
        disruption = 'deny'
        break
      case 'pass':
        disruption = 'pass'
        break
      case 'status':
        status = wholeNumber(action, 400, 599)
        break
      case 'log':
        log = true
        break
      case 'nolog':
        log = false
        break
      case 'chain':
        chain = true
        break
      case 'capture':
        capture = true
        break
      case 'multiMatch':
        multiMatch = true
        break
      case 'setvar':
        setVars.push(compileSetVar(action))
        break
      case 'skipAfter':
        skipAfter = needed(action)
        break
      case 'ctl':
        engine = compileControl(action, removedIds) ?? engine
        break
      case 't':
        if (needed(action) === 'none') transformationNames = []
        else if (TRANSFORMATIONS.has(value as string)) transformationNames.push(value as string)
        else
          fail(
            action,
            `the transformation t:${value} is not supported; supported are none, ${[...TRANSFORMATIONS.keys()].join(', ')}`,
          )
        break
      default:
        fail(action, `the action ${name} is not supported`)
    }
  }
  if (where.line < 1) fail(where, 'a rule stands in a line')
  const transformations = transformationNames.map((name) => TRANSFORMATIONS.get(name) as Transformation)
  return {
    id,
    phase,
    message,
    severity,
    tags,
    disruption,
    status,
    log,
    chain,
    capture,
    multiMatch,
    setVars,
    skipAfter,
    removedIds,
    engine,
    transformationNames,
    transformations,
  }
}

function needed(action: ParsedAction): string {
  if (action.value === undefined || action.value === '') fail(action, `${action.name} needs a value: ${action.name}:…`)
  return action.value as string
}

function wholeNumber(action: ParsedAction, least: number, most: number): number {
  const text = needed(action)
  const value = Number(text)
  if (!/^[0-9]{1,12}$/.test(text) || value < least || value > most)
    fail(action, `${action.name}:${text}: expected a whole number from ${least} to ${most}`)
  return value
}

function compilePhase(action: ParsedAction): 1 | 2 {
  const text = needed(action)
  if (text === '1') return 1
  if (text === '2' || text === 'request') return 2
  return fail(action, `phase:${text} is not run here; expected 1 (request head) or 2 (request body)`)
}

function compileSetVar(action: ParsedAction): SetVar {
  const match = /^(!?)tx\.([A-Za-z0-9_.-]{1,128})(?:=([+-]?)(.*))?$/i.exec(needed(action))
  if (match === null) fail(action, `setvar:${action.value}: expected tx.NAME=VALUE, tx.NAME=+N, tx.NAME=-N or !tx.NAME`)
  const [, unset, name, sign, value] = match as unknown as [string, string, string, string | undefined, string | undefined]
  const operation = unset === '!' ? 'unset' : sign === '+' ? 'add' : sign === '-' ? 'subtract' : 'set'
  return { name: name.toLowerCase(), operation, value: value ?? '1' }
}

function compileControl(action: ParsedAction, removedIds: (readonly [number, number])[]): RuleActions['engine'] {
  const [key, value = ''] = needed(action).split('=', 2) as [string, string | undefined]
  if (key === 'ruleRemoveById') {
    const range = /^([0-9]{1,9})(?:-([0-9]{1,9}))?$/.exec(value)
    if (range === null) fail(action, `ctl:ruleRemoveById=${value}: expected an id or a range FIRST-LAST`)
    removedIds.push([Number(range?.[1]), Number(range?.[2] ?? range?.[1])])
    return undefined
  }
  if (key === 'ruleEngine' && (value === 'On' || value === 'Off' || value === 'DetectionOnly')) return value
  return fail(action, `ctl:${action.value} is not supported; supported are ruleRemoveById and ruleEngine`)
}
