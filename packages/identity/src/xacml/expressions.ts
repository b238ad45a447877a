/**
 * Expressions of XACML 3.0 (sections 5.25 to 5.34, 7.3 to 7.7): read from XML with their types checked, once, and then evaluated against a request.
 */
import { didYouMean } from '@ringwall/ring'
import { FUNCTIONS, type FunctionSpec, Indeterminate, type Kind, patternFault, type Result } from './functions.ts'
import { booleanValue, parseValue, TYPE_IDS, type TypeName, typeOf, type Value } from './values.ts'
import { type Place, XacmlInvalid, type XmlElement } from './xml.ts'
import { evaluatePath, type Path, PathInvalid, type PathNode, parsePath, pathsMatch, stringValue } from './xpath.ts'

export const NAMESPACE = 'urn:oasis:names:tc:xacml:3.0:core:schema:wd-17'
const X1 = 'urn:oasis:names:tc:xacml:1.0:function:'
const X3 = 'urn:oasis:names:tc:xacml:3.0:function:'
const BOOLEAN: Kind = { type: 'boolean', isBag: false }
/** Steps of one evaluation: what more takes is Indeterminate. */
const WORK_MAX = 200_000

/** An attribute that is asked for. */
export interface Designation {
  readonly category: string
  readonly id: string
  readonly type: TypeName
  readonly issuer: string | undefined
}

/** One evaluation of one request. */
export interface Evaluation {
  /** All values of the attribute; empty: there are none. */
  attribute(of: Designation): readonly Value[]
  /** The document that the request has of a category; undefined: none. @throws {Indeterminate} When it cannot be said which. */
  content(category: string): PathNode | undefined
  /** @throws {Indeterminate} When it took too much. */
  spend(work: number): void
  /** Of variables, by their definition. */
  readonly variables: Map<object, Result | Indeterminate>
}

export function createEvaluation(
  attribute: Evaluation['attribute'],
  content: Evaluation['content'] = () => undefined,
): Evaluation {
  let left = WORK_MAX
  return {
    attribute,
    content,
    variables: new Map(),
    spend(work) {
      left -= work
      if (left < 0) throw new Indeterminate('processing-error', `more than ${WORK_MAX} steps`)
    },
  }
}

export interface Expression {
  readonly kind: Kind
  /** @throws {Indeterminate} */
  evaluate(evaluation: Evaluation): Result
}

/** Of the policy around: variables by their names. */
export type Scope = ReadonlyMap<string, () => Expression>

export function fail(message: string, { place }: { readonly place: Place }, hint?: string): never {
  throw new XacmlInvalid(message, place, hint)
}

/** @throws {XacmlInvalid} */
export function required(element: XmlElement, name: string): string {
  const value = element.attributes.get(name)
  return value ?? fail(`${element.name} without ${name}`, element)
}

export function kindText({ type, isBag }: Kind): string {
  return isBag ? `a bag of ${type}` : type
}

/** @throws {XacmlInvalid} */
export function typeNamed(id: string, at: XmlElement): TypeName {
  const type = typeOf(id)
  if (type !== undefined) return type
  const isPath = id.endsWith('xpathExpression')
  const where = ': it stands as an AttributeValue of xpath-node-count, xpath-node-equal and xpath-node-match alone'
  return fail(`the data type ${id} is not known${isPath ? ` here${where}` : ''}`, at, near(id, Object.values(TYPE_IDS)))
}

function near(id: string, known: Iterable<string>): string | undefined {
  const found = didYouMean(id, known)
  return found === undefined ? undefined : `did you mean ${found}?`
}

/** @throws {XacmlInvalid} */
export function parseExpression(element: XmlElement, scope: Scope): Expression {
  switch (element.name) {
    case 'AttributeValue': {
      const value = literal(element)
      return { kind: { type: value.type, isBag: false }, evaluate: () => value }
    }
    case 'AttributeDesignator':
      return designator(element)
    case 'VariableReference': {
      const name = required(element, 'VariableId')
      const found = scope.get(name) ?? fail(`no variable is called ${name}`, element, near(name, scope.keys()))
      return found()
    }
    case 'Apply':
      return application(element, scope)
    case 'AttributeSelector':
      return selector(element)
    case 'Function':
      return fail('a Function stands where a value is expected', element)
    default:
      return fail(`${element.name} is no expression`, element)
  }
}

function literal(element: XmlElement): Value {
  if (element.children.length > 0) fail('a value with elements in it', element)
  const type = typeNamed(required(element, 'DataType'), element)
  return parseValue(type, element.text) ?? fail(`${JSON.stringify(element.text.trim().slice(0, 80))} is no ${type}`, element)
}

function designator(element: XmlElement): Expression {
  const of: Designation = {
    category: required(element, 'Category'),
    id: required(element, 'AttributeId'),
    type: typeNamed(required(element, 'DataType'), element),
    issuer: element.attributes.get('Issuer'),
  }
  const mustBePresent = /^(?:true|1)$/.test(required(element, 'MustBePresent').trim())
  return {
    kind: { type: of.type, isBag: true },
    evaluate(evaluation) {
      evaluation.spend(1)
      const values = evaluation.attribute(of)
      if (values.length === 0 && mustBePresent) throw new Indeterminate('missing-attribute', `${of.id} is missing`)
      return values
    },
  }
}

/** Section 5.30. */
function selector(element: XmlElement): Expression {
  const category = required(element, 'Category')
  const type = typeNamed(required(element, 'DataType'), element)
  const text = required(element, 'Path')
  const path = pathIn(text, element)
  if (element.attributes.has('ContextSelectorId')) fail('ContextSelectorId is not taken', element, 'write the path from the root')
  const mustBePresent = /^(?:true|1)$/.test(required(element, 'MustBePresent').trim())
  return {
    kind: { type, isBag: true },
    evaluate(evaluation) {
      const nodes = nodesOf(category, path, evaluation)
      if (nodes.length === 0 && mustBePresent) throw new Indeterminate('missing-attribute', `${text} names nothing`)
      return nodes.map((node) => {
        const value = stringValue(node, evaluation.spend)
        return parseValue(type, value) ?? notOfType(text, type)
      })
    },
  }
}

function notOfType(path: string, type: TypeName): never {
  throw new Indeterminate('syntax-error', `${path}: what it names is no ${type}`)
}

function pathIn(text: string, element: XmlElement): Path {
  try {
    return parsePath(text, element.namespaces)
  } catch (cause) {
    if (cause instanceof PathInvalid) return fail(`the path ${JSON.stringify(text.slice(0, 80))}: ${cause.message}`, element)
    throw cause
  }
}

function nodesOf(category: string, path: Path, evaluation: Evaluation): readonly PathNode[] {
  evaluation.spend(1)
  const root = evaluation.content(category)
  return root === undefined ? [] : evaluatePath(path, root, evaluation.spend)
}

const X3_PATH = 'urn:oasis:names:tc:xacml:3.0:data-type:xpathExpression'

/** Functions on XPath (A.3.15), by how many paths they take. */
const PATHS: ReadonlyMap<string, 1 | 2> = new Map([
  [`${X3}xpath-node-count`, 1],
  [`${X3}xpath-node-equal`, 2],
  [`${X3}xpath-node-match`, 2],
])

function pathFunction(id: string, count: 1 | 2, parts: readonly XmlElement[], element: XmlElement): Expression {
  if (parts.length !== count) fail(`${id} takes ${count} paths, found ${parts.length}`, element)
  const paths = parts.map((part) => {
    if (part.name !== 'AttributeValue' || required(part, 'DataType') !== X3_PATH)
      return fail(`${id} takes AttributeValue of the data type ${X3_PATH}`, part)
    return { category: required(part, 'XPathCategory'), path: pathIn(part.text.trim(), part) }
  })
  const [first, second] = paths
  return {
    kind: count === 1 ? { type: 'integer', isBag: false } : BOOLEAN,
    evaluate(evaluation) {
      const nodes = nodesOf(first!.category, first!.path, evaluation)
      if (second === undefined) return { type: 'integer', v: BigInt(nodes.length) } as Value
      const others = nodesOf(second.category, second.path, evaluation)
      if (id.endsWith('-match')) return booleanValue(pathsMatch(nodes, others, evaluation.spend))
      const sought = new Set(others)
      return booleanValue(nodes.some((node) => sought.has(node)))
    },
  }
}

function application(element: XmlElement, scope: Scope): Expression {
  const id = required(element, 'FunctionId')
  const parts = element.children.filter(({ name }) => name !== 'Description')
  const higher = HIGHER.get(id)
  if (higher !== undefined) return higherOrder(higher, parts, element, scope)
  const onPaths = PATHS.get(id)
  if (onPaths !== undefined) return pathFunction(id, onPaths, parts, element)
  const all = parts.map((part) => parseExpression(part, scope))
  const lazy = LAZY.get(id)
  if (lazy !== undefined) {
    const first = lazy.first
    for (const [i, { kind }] of all.entries())
      expectKind(i === 0 && first !== undefined ? first : BOOLEAN, kind, parts[i] as XmlElement, id, i)
    if (first !== undefined && all.length === 0) fail(`${id} without arguments`, element)
    return { kind: BOOLEAN, evaluate: (evaluation) => lazy.evaluate(all, evaluation) }
  }
  const known = functionNamed(id, element)
  checkArguments(
    known,
    all.map(({ kind }) => kind),
    parts,
    element,
  )
  if (id.endsWith('-regexp-match') && parts[0]?.name === 'AttributeValue') {
    const fault = patternFault(parts[0].text)
    if (fault !== undefined) fail(`the pattern ${JSON.stringify(parts[0].text.slice(0, 60))}: ${fault}`, parts[0])
  }
  return {
    kind: known.result,
    evaluate(evaluation) {
      evaluation.spend(1)
      return known.call(
        all.map((each) => each.evaluate(evaluation)),
        evaluation.spend,
      )
    },
  }
}

/** @throws {XacmlInvalid} */
export function functionNamed(id: string, at: XmlElement): FunctionSpec {
  const known = FUNCTIONS.get(id)
  if (known !== undefined) return known
  if (HIGHER.has(id) || LAZY.has(id) || PATHS.has(id)) return fail(`${id} cannot stand here`, at)
  return fail(`the function ${id} is not known`, at, near(id, FUNCTIONS.keys()))
}

function expectKind(wanted: Kind, found: Kind, at: XmlElement, id: string, index: number): void {
  if (wanted.type === found.type && wanted.isBag === found.isBag) return
  fail(`argument ${index + 1} of ${id}: expected ${kindText(wanted)}, found ${kindText(found)}`, at)
}

export function checkArguments(known: FunctionSpec, kinds: readonly Kind[], places: readonly XmlElement[], at: XmlElement): void {
  const { parameters, rest, id } = known
  if (kinds.length < parameters.length || (rest === undefined && kinds.length > parameters.length))
    fail(`${id} takes ${parameters.length}${rest === undefined ? '' : ' or more'} arguments, found ${kinds.length}`, at)
  for (const [i, kind] of kinds.entries()) expectKind(parameters[i] ?? (rest as Kind), kind, places[i] ?? at, id, i)
}

interface Lazy {
  /** Another than boolean. */
  readonly first?: Kind
  evaluate(all: readonly Expression[], evaluation: Evaluation): Value
}

const isTrue = (expression: Expression, evaluation: Evaluation): boolean => (expression.evaluate(evaluation) as Value).v === true

/** In order, and no further than needed (A.3.5). */
const LAZY: ReadonlyMap<string, Lazy> = new Map([
  [
    `${X1}and`,
    {
      evaluate: (all: readonly Expression[], evaluation: Evaluation) =>
        booleanValue(all.every((each) => isTrue(each, evaluation))),
    },
  ],
  [
    `${X1}or`,
    {
      evaluate: (all: readonly Expression[], evaluation: Evaluation) =>
        booleanValue(all.some((each) => isTrue(each, evaluation))),
    },
  ],
  [
    `${X1}n-of`,
    {
      first: { type: 'integer', isBag: false } as const,
      evaluate([count, ...all]: readonly Expression[], evaluation: Evaluation) {
        let wanted = (count!.evaluate(evaluation) as Value).v as bigint
        if (wanted > BigInt(all.length)) throw new Indeterminate('processing-error', `n-of: ${wanted} of ${all.length}`)
        for (const each of all) {
          if (wanted <= 0n) break
          if (isTrue(each, evaluation)) wanted -= 1n
        }
        return booleanValue(wanted <= 0n)
      },
    },
  ],
])

type Higher = 'any-of' | 'all-of' | 'any-of-any' | 'all-of-any' | 'any-of-all' | 'all-of-all' | 'map'

const HIGHER: ReadonlyMap<string, Higher> = new Map<string, Higher>([
  ...(['any-of', 'all-of', 'any-of-any', 'map'] as const).flatMap((name) => [
    [`${X1}${name}`, name] as const,
    [`${X3}${name}`, name] as const,
  ]),
  ...(['all-of-any', 'any-of-all', 'all-of-all'] as const).map((name) => [`${X1}${name}`, name] as const),
])

/** Functions on bags (A.3.12). */
function higherOrder(which: Higher, parts: readonly XmlElement[], element: XmlElement, scope: Scope): Expression {
  const [head, ...rest] = parts
  if (head?.name !== 'Function') return fail(`${which} begins with a Function`, head ?? element)
  const called = functionNamed(required(head, 'FunctionId'), head)
  const all = rest.map((part) => parseExpression(part, scope))
  const bags = all.filter(({ kind }) => kind.isBag).length
  const needs: Readonly<Record<Higher, boolean>> = {
    'any-of': bags === 1,
    'all-of': bags === 1,
    map: bags === 1,
    'any-of-any': all.length > 0,
    'all-of-any': all.length === 2 && bags === 2,
    'any-of-all': all.length === 2 && bags === 2,
    'all-of-all': all.length === 2 && bags === 2,
  }
  if (!needs[which]) fail(`${which}: ${bags} bags among ${all.length} arguments do not fit`, element)
  const kinds = all.map(({ kind }) => ({ ...kind, isBag: false }))
  checkArguments(called, kinds, rest, element)
  if (which === 'map' ? called.result.isBag : called.result.type !== 'boolean' || called.result.isBag)
    fail(
      `${which} takes a function to ${which === 'map' ? 'a value' : 'boolean'}, and ${called.id} gives ${kindText(called.result)}`,
      head,
    )
  const kind = which === 'map' ? { type: called.result.type, isBag: true } : BOOLEAN
  return {
    kind,
    evaluate: (evaluation) =>
      applied(
        which,
        called,
        all.map((each) => each.evaluate(evaluation)),
        evaluation,
      ),
  }
}

function applied(which: Higher, called: FunctionSpec, all: readonly Result[], evaluation: Evaluation): Result {
  const call = (...values: readonly Value[]): Value => {
    evaluation.spend(1)
    return called.call(values, evaluation.spend) as Value
  }
  const holds = (...values: readonly Value[]): boolean => call(...values).v === true
  const lists = all.map((each): readonly Value[] => (Array.isArray(each) ? (each as readonly Value[]) : [each as Value]))
  const at = all.findIndex((each) => Array.isArray(each))
  const withOne = (value: Value): readonly Value[] => lists.map((list, i) => (i === at ? value : (list[0] as Value)))
  const [a = [], b = []] = lists
  switch (which) {
    case 'any-of':
      return booleanValue((lists[at] ?? []).some((value) => holds(...withOne(value))))
    case 'all-of':
      return booleanValue((lists[at] ?? []).every((value) => holds(...withOne(value))))
    case 'map':
      return (lists[at] ?? []).map((value) => call(...withOne(value)))
    case 'any-of-any': {
      const any = (chosen: readonly Value[]): boolean => {
        const next = lists[chosen.length]
        return next === undefined ? holds(...chosen) : next.some((value) => any([...chosen, value]))
      }
      return booleanValue(any([]))
    }
    case 'all-of-any':
      return booleanValue(a.every((x) => b.some((y) => holds(x, y))))
    case 'any-of-all':
      return booleanValue(a.some((x) => b.every((y) => holds(x, y))))
    case 'all-of-all':
      return booleanValue(a.every((x) => b.every((y) => holds(x, y))))
  }
}

/** All that is understood. */
export function knownFunctions(): readonly string[] {
  return [...FUNCTIONS.keys(), ...LAZY.keys(), ...HIGHER.keys(), ...PATHS.keys()].sort()
}
