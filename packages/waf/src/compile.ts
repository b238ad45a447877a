/** Rules to closures: everything that can be settled when rules are loaded is settled here. */
import { compileActions, type RuleActions } from './actions.ts'
import { compileOperator, type Test } from './operators/index.ts'
import {
  type Directive,
  fail,
  type ParsedVariable,
  parseActions,
  parseDirectives,
  parseOperator,
  parseVariables,
  type Word,
} from './parser.ts'
import { COLLECTIONS, type Datum, type RequestData, SINGLES } from './request-data.ts'
import { RuleTransaction } from './transaction.ts'
import type { CompileOptions, RuleSet, RuleSource } from './types.ts'

/** One link of a chain, or a rule of one link. */
export interface CompiledLink {
  readonly collect: ((data: RequestData) => readonly Datum[]) | undefined
  readonly test: Test
  readonly actions: RuleActions
  /** Names the transformed values that links share; '' when there are none. */
  readonly cacheKey: string
}

export interface CompiledRule {
  readonly id: number
  readonly at: string
  readonly links: readonly CompiledLink[]
  readonly actions: RuleActions
  /** Where `skipAfter` goes on, in the phase's list; -1: nowhere. */
  skipTo: number
}

/** A place that `skipAfter` can name. */
interface Marker {
  readonly marker: string
}

export interface CompiledPhase {
  readonly rules: readonly CompiledRule[]
}

const RULES_MAX = 20_000

/** @throws {RuleSyntaxError} At the first thing that is wrong or not supported. */
export function compileRules(sources: readonly RuleSource[], options: CompileOptions): RuleSet {
  const phases: (CompiledRule | Marker)[][] = [[], []]
  const seen = new Map<number, string>()
  const excluded = new Set(options.exclude ?? [])
  let detectionOnly = false
  let open: { readonly head: Directive; readonly links: CompiledLink[]; readonly actions: RuleActions } | undefined

  const finish = (): void => {
    if (open === undefined) return
    const { head, links, actions } = open
    open = undefined
    const id = actions.id as number
    const at = `${head.file}:${head.line}`
    const before = seen.get(id)
    if (before !== undefined) fail(head, `rule ${id} is there already, at ${before}; give this one another id`)
    seen.set(id, at)
    if (seen.size > RULES_MAX) fail(head, `more than ${RULES_MAX} rules`)
    const level = actions.tags.map((tag) => /^paranoia-level\/([1-4])$/.exec(tag)?.[1]).find((found) => found !== undefined)
    if (excluded.has(id) || (level !== undefined && Number(level) > options.paranoia)) return
    phases[actions.phase - 1]?.push({ id, at, links, actions, skipTo: -1 })
  }

  for (const directive of sources.flatMap(parseDirectives)) {
    if (directive.name === 'SecRule' || directive.name === 'SecAction') {
      const link = compileLink(directive)
      if (open === undefined) {
        if (link.actions.id === undefined) fail(directive, 'a rule needs an id: id:100001')
        open = { head: directive, links: [link], actions: link.actions }
      } else {
        if (link.actions.id !== undefined || link.actions.disruption !== undefined)
          fail(directive, 'a rule within a chain has no id and no disruptive action; the first of the chain has them')
        open.links.push(link)
      }
      if (!link.actions.chain) finish()
      continue
    }
    if (open !== undefined) fail(directive, `a chain is not finished: expected SecRule, not ${directive.name}`)
    if (directive.name === 'SecMarker') {
      const [name] = expectWords(directive, 1)
      for (const phase of phases) phase.push({ marker: (name as Word).text })
    } else if (directive.name === 'SecRuleEngine') {
      const [mode] = expectWords(directive, 1)
      if (mode?.text !== 'On' && mode?.text !== 'DetectionOnly')
        fail(mode ?? directive, 'SecRuleEngine: expected On or DetectionOnly; to switch the WAF off, set waf.mode in the policy')
      detectionOnly = mode?.text === 'DetectionOnly'
    } else
      fail(
        directive,
        `the directive ${directive.name} is not supported; supported are SecRule, SecAction, SecMarker, SecRuleEngine`,
      )
  }
  if (open !== undefined) fail(open.head, 'the chain that begins here is not finished')

  const compiled = phases.map(resolveMarkers)
  const all = compiled.flatMap(({ rules }) => rules)
  return {
    ruleCount: all.length,
    rules: all.map(({ id, at, actions }) => ({ id, message: actions.message, phase: actions.phase, tags: actions.tags, at })),
    begin: () => new RuleTransaction(compiled as unknown as readonly [CompiledPhase, CompiledPhase], detectionOnly),
  }
}

function expectWords(directive: Directive, count: number): readonly Word[] {
  if (directive.words.length !== count)
    fail(directive, `${directive.name} takes ${count} ${count === 1 ? 'value' : 'values'}, not ${directive.words.length}`)
  return directive.words
}

function resolveMarkers(list: readonly (CompiledRule | Marker)[]): CompiledPhase {
  const rules: CompiledRule[] = []
  const markers = new Map<string, number>()
  for (const entry of list) {
    if ('marker' in entry) markers.set(entry.marker, rules.length)
    else rules.push(entry)
  }
  for (const rule of rules) {
    const name = rule.actions.skipAfter
    if (name === undefined) continue
    const target = markers.get(name)
    if (target === undefined) {
      const [file, line] = rule.at.split(/:(?=\d+$)/) as [string, string]
      fail({ file, line: Number(line), column: 1 }, `skipAfter:${name}: there is no SecMarker ${name}`)
    }
    rule.skipTo = target as number
  }
  return { rules }
}

function compileLink(directive: Directive): CompiledLink {
  if (directive.name === 'SecAction') {
    const [list] = expectWords(directive, 1)
    return { collect: undefined, test: () => [''], actions: compileActions(parseActions(list as Word), directive), cacheKey: '' }
  }
  if (directive.words.length < 2 || directive.words.length > 3)
    fail(directive, `SecRule takes variables, an operator and actions, not ${directive.words.length} values`)
  const [variables, operator, actionList] = directive.words as [Word, Word, Word | undefined]
  const parsed = parseVariables(variables)
  const actions = compileActions(actionList === undefined ? [] : parseActions(actionList), directive)
  return {
    collect: compileVariables(parsed),
    test: compileOperator(parseOperator(operator)),
    actions,
    cacheKey: actions.transformationNames.join(','),
  }
}

function compileVariables(parsed: readonly ParsedVariable[]): (data: RequestData) => readonly Datum[] {
  for (const variable of parsed) {
    if (!COLLECTIONS.has(variable.name) && !SINGLES.has(variable.name))
      fail(variable, `the variable ${variable.name} is not supported`)
    if (variable.selector !== undefined && !COLLECTIONS.has(variable.name))
      fail(variable, `${variable.name} holds one value: it takes no selector`)
  }
  const exclusions = parsed
    .filter(({ isExclusion }) => isExclusion)
    .map((variable) => ({ name: variable.name, chooses: compileSelector(variable) }))
  const wanted = parsed
    .filter(({ isExclusion }) => !isExclusion)
    .map((variable) => {
      const chooses = variable.selector === undefined ? undefined : compileSelector(variable)
      const refused = exclusions.filter(
        ({ name }) => name === variable.name || (variable.name.startsWith('ARGS') && name === 'ARGS'),
      )
      return { variable, chooses, refused }
    })
  return (data) => {
    const found: Datum[] = []
    for (const { variable, chooses, refused } of wanted) {
      const { name, selector } = variable
      let count = 0
      for (const datum of data.collect(name)) {
        if (chooses !== undefined && !chooses(datum.name)) continue
        if (refused.length > 0 && refused.some((exclusion) => exclusion.chooses(datum.name))) continue
        count += 1
        if (!variable.isCount)
          found.push(datum.name === '' ? { name, value: datum.value } : { name: `${name}:${datum.name}`, value: datum.value })
      }
      if (variable.isCount) found.push({ name: `&${name}${selector === undefined ? '' : `:${selector}`}`, value: String(count) })
    }
    return found
  }
}

function compileSelector(variable: ParsedVariable): (name: string) => boolean {
  const { selector } = variable
  if (selector === undefined) return () => true
  if (variable.isPattern) {
    try {
      const pattern = new RegExp(selector, 'i')
      return (name) => pattern.test(name.slice(0, 256))
    } catch (cause) {
      fail(variable, `/${selector}/: ${(cause as Error).message}`)
    }
  }
  const wanted = selector.toLowerCase()
  return (name) => name.toLowerCase() === wanted
}
