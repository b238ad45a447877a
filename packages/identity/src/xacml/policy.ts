/**
 * Policies of XACML 3.0 (sections 5 and 7), read once, with everything in them checked: what is not known is refused with its place. Not here:
 * PolicySetDefaults (of no effect), policies by reference to elsewhere, and the administration profile (PolicyIssuer).
 */
import { didYouMean } from '@ringwall/ring'
import { type Algorithm, type Child, type Decision, POLICY_ALGORITHMS, RULE_ALGORITHMS } from './combining.ts'
import {
  checkArguments,
  type Evaluation,
  type Expression,
  fail,
  functionNamed,
  NAMESPACE,
  parseExpression,
  required,
  type Scope,
} from './expressions.ts'
import { Indeterminate, type Result, type StatusCode } from './functions.ts'
import type { Value } from './values.ts'
import { parseXml, type XmlElement } from './xml.ts'

const POLICIES_MAX = 2_000
const RULES_MAX = 10_000
const REFERENCES_DEPTH_MAX = 50

/** One value of an obligation or a piece of advice (section 5.41). */
export interface Assignment {
  readonly id: string
  readonly category: string | undefined
  readonly issuer: string | undefined
  readonly value: Value
}

/** An obligation, or a piece of advice. */
export interface Duty {
  readonly id: string
  readonly assignments: readonly Assignment[]
}

export interface PolicyName {
  readonly kind: 'Policy' | 'PolicySet'
  readonly id: string
  readonly version: string
}

export interface Outcome {
  readonly decision: Decision
  /** Of Indeterminate, the first that was found. */
  readonly status: { readonly code: StatusCode; readonly message: string } | undefined
  readonly obligations: readonly Duty[]
  readonly advice: readonly Duty[]
  /** Those whose targets matched. */
  readonly applicable: readonly PolicyName[]
  /** Rules and policies that said so, the innermost first. */
  readonly by: readonly string[]
}

/** A policy or a policy set that is ready to be asked. */
export interface XacmlPolicy extends PolicyName {
  /** Total. */
  evaluate(evaluation: Evaluation): Outcome
  matches(evaluation: Evaluation): Match
}

type Match = { readonly is: 'match' | 'no match' } | { readonly is: 'unknown'; readonly error: Indeterminate }
type Target = (evaluation: Evaluation) => Match

const MATCH: Match = { is: 'match' }
const NO_MATCH: Match = { is: 'no match' }

/**
 * The policy that is asked, and those that it refers to by their ids.
 *
 * @param others Texts of policies that may be referred to.
 * @throws {XacmlInvalid}
 */
export function parseXacmlPolicy(text: string, others: readonly string[] = []): XacmlPolicy {
  const loader = new Loader()
  for (const other of others) loader.offer(rootOf(other))
  const root = rootOf(text)
  loader.offer(root)
  return loader.load(root, 0)
}

function rootOf(text: string): XmlElement {
  const root = parseXml(text)
  if (root.name !== 'Policy' && root.name !== 'PolicySet') fail(`expected Policy or PolicySet, found ${root.name}`, root)
  if (root.namespace !== NAMESPACE) {
    const hint = /xacml:[12]/.test(root.namespace)
      ? 'policies of XACML 1 and 2 are to be rewritten for 3.0'
      : `write xmlns="${NAMESPACE}"`
    fail(`the namespace ${root.namespace || '(none)'} is not XACML 3.0`, root, hint)
  }
  return root
}

class Loader {
  readonly #offered = new Map<string, XmlElement[]>()
  readonly #open = new Set<XmlElement>()
  readonly #loaded = new Map<XmlElement, XacmlPolicy>()
  #rules = 0

  /** It, and all within it, may be referred to. */
  offer(element: XmlElement): void {
    if (element.name !== 'Policy' && element.name !== 'PolicySet') return
    const key = `${element.name} ${required(element, `${element.name}Id`)}`
    const known = this.#offered.get(key) ?? []
    const version = required(element, 'Version')
    if (known.some((other) => required(other, 'Version') === version)) fail(`${key}, version ${version}, occurs twice`, element)
    known.push(element)
    this.#offered.set(key, known)
    if (this.#offered.size > POLICIES_MAX) fail(`more than ${POLICIES_MAX} policies`, element)
    for (const child of element.children) this.offer(child)
  }

  load(element: XmlElement, depth: number): XacmlPolicy {
    const known = this.#loaded.get(element)
    if (known !== undefined) return known
    if (this.#open.has(element)) fail(`${element.name} refers to itself`, element)
    if (depth > REFERENCES_DEPTH_MAX) fail(`policies nested more than ${REFERENCES_DEPTH_MAX} deep`, element)
    this.#open.add(element)
    const made = element.name === 'Policy' ? this.#policy(element) : this.#policySet(element, depth)
    this.#open.delete(element)
    this.#loaded.set(element, made)
    return made
  }

  #policy(element: XmlElement): XacmlPolicy {
    expectChildren(element, [
      'Description',
      'PolicyIssuer',
      'PolicyDefaults',
      'Target',
      'CombinerParameters',
      'RuleCombinerParameters',
      'VariableDefinition',
      'Rule',
      'ObligationExpressions',
      'AdviceExpressions',
    ])
    const algorithm = algorithmNamed(element, 'RuleCombiningAlgId', RULE_ALGORITHMS)
    const scope = variablesOf(element)
    const seen = new Set<string>()
    const rules = element.children
      .filter(({ name }) => name === 'Rule')
      .map((rule) => {
        const id = required(rule, 'RuleId')
        if (seen.has(id)) fail(`the rule ${id} occurs twice`, rule)
        seen.add(id)
        if (++this.#rules > RULES_MAX) fail(`more than ${RULES_MAX} rules`, rule)
        return parseRule(rule, scope)
      })
    return combined(element, algorithm, rules, scope)
  }

  #policySet(element: XmlElement, depth: number): XacmlPolicy {
    expectChildren(element, [
      'Description',
      'PolicyIssuer',
      'PolicySetDefaults',
      'Target',
      'PolicySet',
      'Policy',
      'PolicySetIdReference',
      'PolicyIdReference',
      'ObligationExpressions',
      'AdviceExpressions',
      'CombinerParameters',
      'PolicyCombinerParameters',
      'PolicySetCombinerParameters',
    ])
    const algorithm = algorithmNamed(element, 'PolicyCombiningAlgId', POLICY_ALGORITHMS)
    const parts = element.children.flatMap((child): readonly XacmlPolicy[] => {
      if (child.name === 'Policy' || child.name === 'PolicySet') return [this.load(child, depth + 1)]
      if (child.name.endsWith('IdReference')) return [this.load(this.#referred(child), depth + 1)]
      return []
    })
    return combined(element, algorithm, parts, new Map())
  }

  #referred(reference: XmlElement): XmlElement {
    const kind = reference.name === 'PolicyIdReference' ? 'Policy' : 'PolicySet'
    const id = reference.text.trim()
    const all = this.#offered.get(`${kind} ${id}`)
    if (all === undefined)
      fail(
        `${kind} ${id} is referred to, and is not here`,
        reference,
        near(
          id,
          [...this.#offered.keys()].map((key) => key.slice(kind.length + 1)),
        ),
      )
    const fits = (all as XmlElement[]).filter((one) => {
      const version = required(one, 'Version')
      const [exact, least, most] = ['Version', 'EarliestVersion', 'LatestVersion'].map((name) => reference.attributes.get(name))
      return (
        (exact === undefined || fitsVersion(version, exact)) &&
        (least === undefined || compareVersions(version, least) >= 0) &&
        (most === undefined || compareVersions(version, most) <= 0)
      )
    })
    fits.sort((a, b) => compareVersions(required(b, 'Version'), required(a, 'Version')))
    return fits[0] ?? fail(`no version of ${kind} ${id} here is the one that is asked for`, reference)
  }
}

function near(id: string, known: Iterable<string>): string | undefined {
  const found = didYouMean(id, known)
  return found === undefined ? undefined : `did you mean ${found}?`
}

function expectChildren(element: XmlElement, known: readonly string[]): void {
  for (const child of element.children) {
    if (child.namespace !== NAMESPACE || !known.includes(child.name))
      fail(`${child.name} does not belong into ${element.name}`, child, near(child.name, known))
    if (child.name === 'PolicyIssuer')
      fail('policies with a PolicyIssuer are not taken: there is no administration profile here', child)
  }
}

function algorithmNamed(element: XmlElement, attribute: string, known: ReadonlyMap<string, Algorithm>): Algorithm {
  const id = required(element, attribute)
  return known.get(id) ?? fail(`the combining algorithm ${id} is not known`, element, near(id, known.keys()))
}

/** Section 5.13: `*` for one number, a final `+` for any that follow. */
function fitsVersion(version: string, pattern: string): boolean {
  const [has, wanted] = [version.split('.'), pattern.split('.')]
  for (const [i, part] of wanted.entries()) {
    if (part === '+') return true
    if (has[i] === undefined || (part !== '*' && part !== has[i])) return false
  }
  return has.length === wanted.length
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)]
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const apart = (left[i] ?? 0) - (right[i] ?? 0)
    if (apart !== 0) return apart
  }
  return 0
}

/** Each is looked at when it is first referred to, whatever the order. */
function variablesOf(element: XmlElement): Scope {
  const scope = new Map<string, () => Expression>()
  const open = new Set<string>()
  for (const definition of element.children.filter(({ name }) => name === 'VariableDefinition')) {
    const name = required(definition, 'VariableId')
    if (scope.has(name)) fail(`the variable ${name} occurs twice`, definition)
    let made: Expression | undefined
    scope.set(name, () => {
      if (made !== undefined) return made
      if (open.has(name)) fail(`the variable ${name} is defined by itself`, definition)
      open.add(name)
      const [only, ...more] = definition.children
      if (only === undefined || more.length > 0) fail('a VariableDefinition has one expression', definition)
      const inner = parseExpression(only as XmlElement, scope)
      open.delete(name)
      made = { kind: inner.kind, evaluate: (evaluation) => once(evaluation, definition, inner) }
      return made
    })
  }
  for (const get of scope.values()) get()
  return scope
}

function once(evaluation: Evaluation, key: object, { evaluate }: Expression): Result {
  const known = evaluation.variables.get(key)
  if (known instanceof Indeterminate) throw known
  if (known !== undefined) return known
  try {
    const made = evaluate(evaluation)
    evaluation.variables.set(key, made)
    return made
  } catch (error) {
    if (error instanceof Indeterminate) evaluation.variables.set(key, error)
    throw error
  }
}

/** Sections 7.6 to 7.8. */
function targetOf(element: XmlElement): Target {
  const target = element.children.find(({ name }) => name === 'Target')
  if (target === undefined) return () => MATCH
  const anyOf = target.children.map((any) => {
    if (any.name !== 'AnyOf') fail(`${any.name} does not belong into Target`, any, 'a Target has AnyOf, AllOf and Match')
    return any.children.map((all) => {
      if (all.name !== 'AllOf') fail(`${all.name} does not belong into AnyOf`, all)
      return all.children.map(matchOf)
    })
  })
  return (evaluation) => every(anyOf, (any) => some(any, (all) => every(all, (match) => match(evaluation))))
}

function every<T>(all: readonly T[], ask: (one: T) => Match): Match {
  let unknown: Match | undefined
  for (const one of all) {
    const match = ask(one)
    if (match.is === 'no match') return NO_MATCH
    if (match.is === 'unknown') unknown ??= match
  }
  return unknown ?? MATCH
}

function some<T>(all: readonly T[], ask: (one: T) => Match): Match {
  let unknown: Match | undefined
  for (const one of all) {
    const match = ask(one)
    if (match.is === 'match') return MATCH
    if (match.is === 'unknown') unknown ??= match
  }
  return unknown ?? NO_MATCH
}

function matchOf(element: XmlElement): Target {
  if (element.name !== 'Match') fail(`${element.name} does not belong into AllOf`, element)
  const [value, bag, ...more] = element.children
  if (value === undefined || bag === undefined || more.length > 0 || value.name !== 'AttributeValue')
    return fail('a Match has an AttributeValue and an AttributeDesignator', element)
  const called = functionNamed(required(element, 'MatchId'), element)
  const [given, asked] = [parseExpression(value, new Map()), parseExpression(bag, new Map())]
  if (!asked.kind.isBag) fail('a Match has an AttributeDesignator after its value', bag)
  checkArguments(called, [given.kind, { ...asked.kind, isBag: false }], [value, bag], element)
  if (called.result.type !== 'boolean' || called.result.isBag) fail(`${called.id} is no function to match by`, element)
  return (evaluation) => {
    try {
      const literal = given.evaluate(evaluation)
      return some(asked.evaluate(evaluation) as readonly Value[], (one) => {
        evaluation.spend(1)
        try {
          return (called.call([literal, one], evaluation.spend) as Value).v === true ? MATCH : NO_MATCH
        } catch (error) {
          return unknownBy(error)
        }
      })
    } catch (error) {
      return unknownBy(error)
    }
  }
}

function unknownBy(error: unknown): Match {
  if (!(error instanceof Indeterminate)) throw error
  return { is: 'unknown', error }
}

interface DutyExpression {
  readonly id: string
  readonly on: string
  readonly assignments: readonly {
    readonly id: string
    readonly category: string | undefined
    readonly issuer: string | undefined
    readonly expression: Expression
  }[]
}

interface DutyExpressions {
  readonly obligations: readonly DutyExpression[]
  readonly advice: readonly DutyExpression[]
}

function dutiesOf(element: XmlElement, scope: Scope): DutyExpressions {
  const of = (list: string, each: string, id: string, on: string): readonly DutyExpression[] =>
    element.children
      .filter(({ name }) => name === list)
      .flatMap(({ children }) => children)
      .map((one) => {
        if (one.name !== each) fail(`${one.name} does not belong into ${list}`, one)
        const effect = required(one, on)
        if (effect !== 'Permit' && effect !== 'Deny') fail(`${on} is Permit or Deny`, one)
        return {
          id: required(one, id),
          on: effect,
          assignments: one.children.map((assignment) => {
            const [expression, ...more] = assignment.children
            if (assignment.name !== 'AttributeAssignmentExpression' || expression === undefined || more.length > 0)
              return fail('expected AttributeAssignmentExpression with one expression', assignment)
            return {
              id: required(assignment, 'AttributeId'),
              category: assignment.attributes.get('Category'),
              issuer: assignment.attributes.get('Issuer'),
              expression: parseExpression(expression, scope),
            }
          }),
        }
      })
  return {
    obligations: of('ObligationExpressions', 'ObligationExpression', 'ObligationId', 'FulfillOn'),
    advice: of('AdviceExpressions', 'AdviceExpression', 'AdviceId', 'AppliesTo'),
  }
}

/** @throws {Indeterminate} */
function dutiesFor(all: readonly DutyExpression[], decision: Decision, evaluation: Evaluation): readonly Duty[] {
  return all
    .filter(({ on }) => on === decision)
    .map(({ id, assignments }) => ({
      id,
      assignments: assignments.flatMap(({ id: name, category, issuer, expression }) => {
        const result = expression.evaluate(evaluation)
        const values = Array.isArray(result) ? (result as readonly Value[]) : [result as Value]
        return values.map((value) => ({ id: name, category, issuer, value }))
      }),
    }))
}

interface Part {
  evaluate(evaluation: Evaluation): Outcome
  matches(evaluation: Evaluation): Match
}

const NOTHING = { status: undefined, obligations: [], advice: [], applicable: [], by: [] } as const
const NOT_APPLICABLE: Outcome = { decision: 'NotApplicable', ...NOTHING }

function unknown(decision: Decision, { code, message }: Indeterminate, applicable: readonly PolicyName[] = []): Outcome {
  return { ...NOTHING, decision, status: { code, message }, applicable }
}

/** Section 7.11. */
function parseRule(element: XmlElement, scope: Scope): Part {
  expectChildren(element, ['Description', 'Target', 'Condition', 'ObligationExpressions', 'AdviceExpressions'])
  const id = required(element, 'RuleId')
  const effect = required(element, 'Effect')
  if (effect !== 'Permit' && effect !== 'Deny') return fail('Effect is Permit or Deny', element)
  const target = targetOf(element)
  const duties = dutiesOf(element, scope)
  const condition = conditionOf(element, scope)
  const inDoubt: Decision = effect === 'Permit' ? 'Indeterminate{P}' : 'Indeterminate{D}'
  return {
    matches: target,
    evaluate(evaluation) {
      const match = target(evaluation)
      if (match.is === 'no match') return NOT_APPLICABLE
      if (match.is === 'unknown') return unknown(inDoubt, match.error)
      try {
        if (condition !== undefined && (condition.evaluate(evaluation) as Value).v !== true) return NOT_APPLICABLE
        const obligations = dutiesFor(duties.obligations, effect, evaluation)
        const advice = dutiesFor(duties.advice, effect, evaluation)
        return { ...NOTHING, decision: effect, obligations, advice, by: [id] }
      } catch (error) {
        if (!(error instanceof Indeterminate)) throw error
        return unknown(inDoubt, error)
      }
    },
  }
}

function conditionOf(element: XmlElement, scope: Scope): Expression | undefined {
  const [condition, second] = element.children.filter(({ name }) => name === 'Condition')
  if (condition === undefined) return undefined
  if (second !== undefined) fail('a second Condition', second)
  const [only, ...more] = condition.children
  if (only === undefined || more.length > 0) return fail('a Condition has one expression', condition)
  const expression = parseExpression(only, scope)
  if (expression.kind.type !== 'boolean' || expression.kind.isBag) fail('a Condition is boolean', only)
  return expression
}

/** Sections 7.12 to 7.14: table 7 where the target is in doubt. */
const IN_DOUBT: Readonly<Record<Decision, Decision>> = {
  NotApplicable: 'NotApplicable',
  Permit: 'Indeterminate{P}',
  Deny: 'Indeterminate{D}',
  'Indeterminate{D}': 'Indeterminate{D}',
  'Indeterminate{P}': 'Indeterminate{P}',
  'Indeterminate{DP}': 'Indeterminate{DP}',
}

function combined(element: XmlElement, algorithm: Algorithm, parts: readonly Part[], scope: Scope): XacmlPolicy {
  const kind = element.name as 'Policy' | 'PolicySet'
  const name: PolicyName = { kind, id: required(element, `${kind}Id`), version: required(element, 'Version') }
  if (!/^[0-9]{1,9}(?:\.[0-9]{1,9})*$/.test(name.version))
    fail(`the version ${name.version} is none; expected 1.0 and the like`, element)
  const target = targetOf(element)
  const duties = dutiesOf(element, scope)
  return {
    ...name,
    matches: target,
    evaluate(evaluation) {
      const match = target(evaluation)
      if (match.is === 'no match') return NOT_APPLICABLE
      const asked: Outcome[] = []
      let doubt: Indeterminate | undefined
      const children = parts.map((part): Child => {
        let known: Outcome | undefined
        return {
          decide() {
            if (known === undefined) asked.push((known = part.evaluate(evaluation)))
            return known.decision
          },
          isApplicable() {
            const is = part.matches(evaluation)
            if (is.is === 'unknown') doubt ??= is.error
            return is.is === 'unknown' ? undefined : is.is === 'match'
          },
        }
      })
      const decision = algorithm(children)
      const applicable = [name, ...asked.flatMap((one) => one.applicable)]
      if (match.is === 'unknown') {
        const found = IN_DOUBT[decision]
        return found === 'NotApplicable' ? NOT_APPLICABLE : unknown(found, match.error, applicable)
      }
      if (decision === 'NotApplicable') return { ...NOT_APPLICABLE }
      if (decision !== 'Permit' && decision !== 'Deny') {
        const status = asked.find((one) => one.status !== undefined)?.status
        const own =
          doubt === undefined
            ? { code: 'processing-error' as const, message: 'more than one policy applies' }
            : { code: doubt.code, message: doubt.message }
        return { ...NOTHING, decision, status: status ?? own, applicable }
      }
      const same = asked.filter((one) => one.decision === decision)
      try {
        return {
          decision,
          status: undefined,
          obligations: [...same.flatMap((one) => one.obligations), ...dutiesFor(duties.obligations, decision, evaluation)],
          advice: [...same.flatMap((one) => one.advice), ...dutiesFor(duties.advice, decision, evaluation)],
          applicable,
          by: [...(same[0]?.by ?? []), name.id],
        }
      } catch (error) {
        if (!(error instanceof Indeterminate)) throw error
        return unknown(decision === 'Permit' ? 'Indeterminate{P}' : 'Indeterminate{D}', error, applicable)
      }
    },
  }
}
