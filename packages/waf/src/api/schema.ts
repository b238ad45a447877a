/**
 * JSON Schema (draft 2020-12), the keywords of `ApiSchemaObject`: compiled once, then held against values within a budget of
 * work. `format` is checked, not only noted. What the budget or the depth does not suffice for is refused, also inside `not`.
 */
import type { WorkMeter } from '../subject.ts'
import { hasNumberFormat, hasTextFormat } from './formats.ts'
import { canonical, type Json, jsonOf } from './json.ts'
import { APPLIED_DEPTH_MAX, PATTERN_INSTRUCTIONS_MAX, PATTERNS_MAX, REQUEST_WORK_MAX, SCHEMAS_MAX } from './limits.ts'
import { compileTextPattern, PatternRefused, type TextPattern } from './pattern.ts'
import { type ApiFault, type ApiSchema, type ApiSchemaObject, type Format, SCHEMA_TYPES, type SchemaType } from './types.ts'

/** What does not conform: where in the value, and which keyword says so. */
export interface Mismatch {
  readonly path: readonly (string | number)[]
  readonly reason: string
}

/** The work of one request. `exhausted` once it is more than allowed: nothing that was found then counts. */
export interface Budget extends WorkMeter {
  exhausted: boolean
}

export function createBudget(): Budget {
  return { work: 0, building: 0, exhausted: false }
}

/** What numbers must be multiples of: `size`, which is `digits` / `scale` where those are small whole numbers. */
interface Step {
  readonly size: number
  readonly digits: number | undefined
  readonly scale: number
}

interface PatternNode {
  readonly pattern: TextPattern
  readonly node: SchemaNode
}

/** A compiled schema. Filled after it is made: schemas may refer to themselves. */
export interface SchemaNode {
  /** Takes nothing. */
  never: boolean
  /** One bit a type, as in `SCHEMA_TYPES`; undefined: any. */
  types: number | undefined
  ref: SchemaNode | undefined
  values: ReadonlySet<string> | undefined
  multipleOf: Step | undefined
  minimum: number | undefined
  maximum: number | undefined
  exclusiveMinimum: number | undefined
  exclusiveMaximum: number | undefined
  minLength: number | undefined
  maxLength: number | undefined
  pattern: TextPattern | undefined
  format: Format | undefined
  items: SchemaNode | undefined
  prefixItems: readonly SchemaNode[]
  minItems: number | undefined
  maxItems: number | undefined
  uniqueItems: boolean
  properties: ReadonlyMap<string, SchemaNode>
  patternProperties: readonly PatternNode[]
  additionalProperties: SchemaNode | undefined
  propertyNames: SchemaNode | undefined
  required: readonly string[]
  dependentRequired: readonly (readonly [name: string, needed: readonly string[]])[]
  minProperties: number | undefined
  maxProperties: number | undefined
  allOf: readonly SchemaNode[]
  anyOf: readonly SchemaNode[]
  oneOf: readonly SchemaNode[]
  not: SchemaNode | undefined
}

const NONE: readonly never[] = []
const NO_PROPERTIES: ReadonlyMap<string, SchemaNode> = new Map()

export function emptyNode(): SchemaNode {
  return {
    never: false,
    types: undefined,
    ref: undefined,
    values: undefined,
    multipleOf: undefined,
    minimum: undefined,
    maximum: undefined,
    exclusiveMinimum: undefined,
    exclusiveMaximum: undefined,
    minLength: undefined,
    maxLength: undefined,
    pattern: undefined,
    format: undefined,
    items: undefined,
    prefixItems: NONE,
    minItems: undefined,
    maxItems: undefined,
    uniqueItems: false,
    properties: NO_PROPERTIES,
    patternProperties: NONE,
    additionalProperties: undefined,
    propertyNames: undefined,
    required: NONE,
    dependentRequired: NONE,
    minProperties: undefined,
    maxProperties: undefined,
    allOf: NONE,
    anyOf: NONE,
    oneOf: NONE,
    not: undefined,
  }
}

const bitOf = (type: SchemaType): number => 1 << SCHEMA_TYPES.indexOf(type)
const NULL = bitOf('null')
const BOOLEAN = bitOf('boolean')
const OBJECT = bitOf('object')
const ARRAY = bitOf('array')
const NUMBER = bitOf('number')
const STRING = bitOf('string')
const INTEGER = bitOf('integer')
const ALL_TYPES = NULL | BOOLEAN | OBJECT | ARRAY | NUMBER | STRING | INTEGER

/** Compiles the schemas of one document. */
export class SchemaCompiler {
  readonly #faults: ApiFault[]
  readonly #named = new Map<string, SchemaNode>()
  readonly #patterns = new Map<string, TextPattern | undefined>()
  #schemas = 0
  #instructions = 0

  constructor(schemas: Readonly<Record<string, ApiSchema>>, faults: ApiFault[]) {
    this.#faults = faults
    for (const name of Object.keys(schemas)) this.#named.set(name, emptyNode())
    for (const [name, schema] of Object.entries(schemas)) this.#fill(this.#named.get(name)!, schema, ['schemas', name])
    const name = circular(this.#named)
    if (name === undefined) return
    const message = `the schema ${name} refers to itself without a value in between`
    faults.push({ path: ['schemas', name], onKey: true, message, hint: 'let it refer to itself within properties or items only' })
  }

  compile(schema: ApiSchema, path: readonly PropertyKey[]): SchemaNode {
    const node = emptyNode()
    this.#fill(node, schema, path)
    return node
  }

  #fill(node: SchemaNode, schema: ApiSchema, path: readonly PropertyKey[]): void {
    this.#schemas += 1
    if (this.#schemas === SCHEMAS_MAX + 1) {
      this.#faults.push({ path: [], message: `there are more than ${SCHEMAS_MAX} schemas`, hint: 'share them by $ref' })
    }
    if (this.#schemas > SCHEMAS_MAX) return
    if (typeof schema === 'boolean') {
      node.never = !schema
      return
    }
    this.#texts(node, schema, path)
    node.multipleOf = schema.multipleOf === undefined ? undefined : stepOf(schema.multipleOf)
    node.minimum = schema.minimum
    node.maximum = schema.maximum
    node.exclusiveMinimum = schema.exclusiveMinimum
    node.exclusiveMaximum = schema.exclusiveMaximum
    node.minItems = schema.minItems
    node.maxItems = schema.maxItems
    node.uniqueItems = schema.uniqueItems === true
    node.minProperties = schema.minProperties
    node.maxProperties = schema.maxProperties
    node.required = schema.required ?? NONE
    node.dependentRequired = Object.entries(schema.dependentRequired ?? {})
    const inner = (key: 'items' | 'additionalProperties' | 'propertyNames' | 'not'): SchemaNode | undefined =>
      schema[key] === undefined ? undefined : this.compile(schema[key], [...path, key])
    node.items = inner('items')
    node.additionalProperties = inner('additionalProperties')
    node.propertyNames = inner('propertyNames')
    node.not = inner('not')
    const list = (key: 'prefixItems' | 'allOf' | 'anyOf' | 'oneOf'): readonly SchemaNode[] =>
      schema[key]?.map((item, index) => this.compile(item, [...path, key, index])) ?? NONE
    node.prefixItems = list('prefixItems')
    node.allOf = list('allOf')
    node.anyOf = list('anyOf')
    node.oneOf = list('oneOf')
    if (schema.properties !== undefined) {
      node.properties = new Map(
        Object.entries(schema.properties).map(([name, item]) => [name, this.compile(item, [...path, 'properties', name])]),
      )
    }
    node.patternProperties = Object.entries(schema.patternProperties ?? {}).flatMap(([source, item]) => {
      const at = [...path, 'patternProperties', source]
      const pattern = this.#pattern(source, at, true)
      const compiled = this.compile(item, at)
      return pattern === undefined ? [] : [{ pattern, node: compiled }]
    })
    this.#orders(schema, path)
  }

  #texts(node: SchemaNode, schema: ApiSchemaObject, path: readonly PropertyKey[]): void {
    if (schema.$ref !== undefined) {
      const name = schema.$ref.slice('#/schemas/'.length)
      node.ref = this.#named.get(name)
      if (node.ref === undefined) {
        const message = `no schema is called ${name}`
        this.#faults.push({ path: [...path, '$ref'], message, hint: 'define it under schemas' })
      }
    }
    if (schema.type !== undefined) {
      const types = typeof schema.type === 'string' ? [schema.type] : schema.type
      node.types = types.reduce((bits, type) => bits | bitOf(type), 0)
    }
    const values = Object.hasOwn(schema, 'const') && schema.const !== undefined ? [schema.const] : schema.enum
    if (values !== undefined) {
      const key = values === schema.enum ? 'enum' : 'const'
      const known = values.map(jsonOf)
      if (known.includes(undefined)) this.#faults.push({ path: [...path, key], message: 'expected values that JSON can hold' })
      const set = new Set(known.filter((value) => value !== undefined).map(canonical))
      node.values = set
      // Both: what is in both.
      if (key === 'const' && schema.enum !== undefined) {
        const listed = new Set(schema.enum.map(jsonOf).flatMap((value) => (value === undefined ? [] : [canonical(value)])))
        node.values = new Set([...set].filter((value) => listed.has(value)))
      }
    }
    node.minLength = schema.minLength
    node.maxLength = schema.maxLength
    node.format = schema.format
    if (schema.pattern !== undefined) node.pattern = this.#pattern(schema.pattern, [...path, 'pattern'], false)
  }

  #pattern(source: string, path: readonly PropertyKey[], onKey: boolean): TextPattern | undefined {
    const known = this.#patterns.get(source)
    if (known !== undefined || this.#patterns.has(source)) return known
    let pattern: TextPattern | undefined
    const refuse = (message: string, hint: string): void => {
      this.#faults.push({ path, ...(onKey ? { onKey } : {}), message, hint })
    }
    try {
      pattern = compileTextPattern(source)
      this.#instructions += pattern.size
      if (this.#patterns.size >= PATTERNS_MAX) refuse(`there are more than ${PATTERNS_MAX} different patterns`, 'leave some out')
      else if (this.#instructions > PATTERN_INSTRUCTIONS_MAX) refuse('the patterns are too large together', 'lower their counts')
    } catch (error) {
      if (!(error instanceof PatternRefused)) throw error
      refuse(`the pattern cannot be used: ${error.message}`, 'write it as a plain regular expression, or leave it out')
    }
    this.#patterns.set(source, pattern)
    return pattern
  }

  /** Bounds that nothing can meet are slips. */
  #orders(schema: ApiSchemaObject, path: readonly PropertyKey[]): void {
    for (const [low, high] of [
      ['minimum', 'maximum'],
      ['minLength', 'maxLength'],
      ['minItems', 'maxItems'],
      ['minProperties', 'maxProperties'],
    ] as const) {
      const [least, most] = [schema[low], schema[high]]
      if (least === undefined || most === undefined || least <= most) continue
      this.#faults.push({ path: [...path, low], message: `${low} ${least} is more than ${high} ${most}`, hint: 'swap the two' })
    }
  }
}

/** Those that a schema is applied to a value by way of, on the same value. */
function sameValue(node: SchemaNode): readonly SchemaNode[] {
  const { ref, not, allOf, anyOf, oneOf } = node
  return [...(ref === undefined ? NONE : [ref]), ...(not === undefined ? NONE : [not]), ...allOf, ...anyOf, ...oneOf]
}

/** The first schema that comes back to itself on the same value, if any. Without recursion: chains may be long. */
function circular(roots: Iterable<readonly [name: string, node: SchemaNode]>): string | undefined {
  const done = new Set<SchemaNode>()
  for (const [name, root] of roots) {
    const open = new Set<SchemaNode>()
    const stack: { readonly node: SchemaNode; readonly next: Iterator<SchemaNode> }[] = []
    const enter = (node: SchemaNode): void => {
      open.add(node)
      stack.push({ node, next: sameValue(node).values() })
    }
    if (!done.has(root)) enter(root)
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { value, done: over } = top.next.next()
      if (over === true) {
        done.add(top.node)
        open.delete(top.node)
        stack.pop()
      } else if (open.has(value)) return name
      else if (!done.has(value)) enter(value)
    }
  }
  return undefined
}

/**
 * All schemas that hold, or by `anyOf` and `oneOf` may hold, for a value that this one holds for, itself first.
 *
 * @param surely Only those that must hold.
 */
export function reachedOn(node: SchemaNode, surely = false): readonly SchemaNode[] {
  const found = new Set([node])
  for (const { ref, allOf, anyOf, oneOf } of found) {
    if (ref !== undefined) found.add(ref)
    for (const item of allOf) found.add(item)
    if (surely) continue
    for (const item of anyOf) found.add(item)
    for (const item of oneOf) found.add(item)
  }
  return [...found]
}

/** All types that a value may have, as bits, as far as the schema and those it refers to say; all when they do not. */
export function typesOf(node: SchemaNode): number {
  let types = ALL_TYPES
  for (const item of reachedOn(node, true)) {
    types &= ownTypes(item)
    for (const list of [item.anyOf, item.oneOf]) {
      if (list.length === 0) continue
      let alternatives = 0
      for (const option of list) alternatives |= reachedOn(option, true).reduce((bits, held) => bits & ownTypes(held), ALL_TYPES)
      types &= alternatives
    }
  }
  return types
}

function ownTypes({ types = ALL_TYPES, values }: SchemaNode): number {
  const declared = (types & NUMBER) === 0 ? types : types | INTEGER
  if (values === undefined) return declared
  let listed = 0
  for (const text of values) {
    const first = text[0]
    if (first === '"') listed |= STRING
    else if (first === '{') listed |= OBJECT
    else if (first === '[') listed |= ARRAY
    else if (first === 'n') listed |= NULL
    else listed |= first === 't' || first === 'f' ? BOOLEAN : NUMBER | INTEGER
  }
  return declared & listed
}

export const TYPE_BITS = { NULL, BOOLEAN, OBJECT, ARRAY, NUMBER, STRING, INTEGER } as const

/** Stands for the content of a file: it conforms to whatever takes anything, since it is not looked at. */
export const FILE: ReadonlyMap<string, Json> = new Map()

const HERE: readonly (string | number)[] = []
const EXHAUSTED: Mismatch = { path: HERE, reason: 'checking it takes too much work' }

const no = (reason: string): Mismatch => ({ path: HERE, reason })
const under = (step: string | number, { path, reason }: Mismatch): Mismatch => ({ path: [step, ...path], reason })

/** @returns undefined when the value conforms. Nothing of the value is in the reason. */
export function mismatch(node: SchemaNode, value: Json, budget: Budget): Mismatch | undefined {
  const found = apply(node, value, budget, 0)
  return budget.exhausted ? EXHAUSTED : found
}

function spend(budget: Budget, work: number): boolean {
  budget.work += work
  if (budget.work > REQUEST_WORK_MAX) budget.exhausted = true
  return budget.exhausted
}

function apply(node: SchemaNode, value: Json, budget: Budget, depth: number): Mismatch | undefined {
  if (spend(budget, 2)) return EXHAUSTED
  if (depth > APPLIED_DEPTH_MAX) {
    budget.exhausted = true
    return EXHAUSTED
  }
  if (node.never) return no('nothing may stand here')
  if (value === FILE) return undefined
  const { types, values } = node
  if (types !== undefined && !hasType(value, types)) return no(`expected ${wordsOf(types)}`)
  if (values !== undefined) {
    const text = canonical(value)
    if (spend(budget, text.length)) return EXHAUSTED
    if (!values.has(text)) return no('expected one of the values listed')
  }
  const own =
    typeof value === 'string'
      ? textMismatch(node, value, budget)
      : typeof value === 'number'
        ? numberMismatch(node, value, budget)
        : Array.isArray(value)
          ? listMismatch(node, value, budget, depth)
          : value instanceof Map
            ? objectMismatch(node, value, budget, depth)
            : undefined
  return own ?? combinedMismatch(node, value, budget, depth)
}

function hasType(value: Json, types: number): boolean {
  if (typeof value === 'string') return (types & STRING) !== 0
  if (typeof value === 'number') {
    if ((types & NUMBER) !== 0) return true
    // Beyond 2^53 readers disagree on which number it is.
    return (types & INTEGER) !== 0 && Number.isSafeInteger(value)
  }
  if (typeof value === 'boolean') return (types & BOOLEAN) !== 0
  if (value === null) return (types & NULL) !== 0
  return (types & (Array.isArray(value) ? ARRAY : OBJECT)) !== 0
}

export function wordsOf(types: number): string {
  return SCHEMA_TYPES.filter((type) => (types & bitOf(type)) !== 0).join(' or ')
}

function textMismatch(node: SchemaNode, value: string, budget: Budget): Mismatch | undefined {
  if (node.minLength !== undefined || node.maxLength !== undefined) {
    const length = lengthOf(value)
    if (spend(budget, value.length)) return EXHAUSTED
    if (length < (node.minLength ?? 0)) return no(`shorter than minLength ${node.minLength}`)
    if (length > (node.maxLength ?? Number.POSITIVE_INFINITY)) return no(`longer than maxLength ${node.maxLength}`)
  }
  if (node.format !== undefined) {
    if (spend(budget, value.length)) return EXHAUSTED
    if (!hasTextFormat(node.format, value)) return no(`not of the format ${node.format}`)
  }
  if (node.pattern === undefined) return undefined
  const matches = node.pattern.matches(value, budget, REQUEST_WORK_MAX)
  if (matches === undefined) {
    budget.exhausted = true
    return EXHAUSTED
  }
  return matches ? undefined : no('does not match the pattern')
}

/** In code points, as JSON Schema counts. */
function lengthOf(text: string): number {
  let length = text.length
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code >= 0xd800 && code <= 0xdbff) length -= 1
  }
  return length
}

function numberMismatch(node: SchemaNode, value: number, budget: Budget): Mismatch | undefined {
  if (node.minimum !== undefined && value < node.minimum) return no(`less than minimum ${node.minimum}`)
  if (node.maximum !== undefined && value > node.maximum) return no(`more than maximum ${node.maximum}`)
  if (node.exclusiveMinimum !== undefined && value <= node.exclusiveMinimum) {
    return no(`not more than exclusiveMinimum ${node.exclusiveMinimum}`)
  }
  if (node.exclusiveMaximum !== undefined && value >= node.exclusiveMaximum) {
    return no(`not less than exclusiveMaximum ${node.exclusiveMaximum}`)
  }
  if (node.multipleOf !== undefined) {
    // At most: scaling and dividing numbers of up to some 600 digits.
    if (spend(budget, 50)) return EXHAUSTED
    if (!isMultiple(value, node.multipleOf)) return no(`not a multiple of ${node.multipleOf.size}`)
  }
  return node.format === undefined || hasNumberFormat(node.format, value) ? undefined : no(`not of the format ${node.format}`)
}

/** As decimals, since 0.3 / 0.1 is not 3 in binary. */
function isMultiple(value: number, { size, digits, scale }: Step): boolean {
  if (digits !== undefined) {
    const scaled = Math.round(value * scale)
    // A quotient of whole numbers this small is the double that its decimal is read as.
    if (Number.isSafeInteger(scaled)) return scaled / scale === value && scaled % digits === 0
  }
  const [a, b] = [decimal(value), decimal(size)]
  const places = Math.max(a.places, b.places)
  return (a.digits * 10n ** BigInt(places - a.places)) % (b.digits * 10n ** BigInt(places - b.places)) === 0n
}

function stepOf(size: number): Step {
  const { digits, places } = decimal(size)
  const isSmall = places <= 9 && digits <= 1_000_000_000n
  return { size, digits: isSmall ? Number(digits) : undefined, scale: isSmall ? 10 ** places : 1 }
}

/** A double's shortest decimal: `digits` / 10^`places`. At most some 330 digits. */
function decimal(value: number): { readonly digits: bigint; readonly places: number } {
  const [, sign = '', whole = '0', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/.exec(String(value)) ?? []
  const digits = BigInt(`${sign}${whole}${fraction}`)
  const places = fraction.length - Number(exponent)
  return places < 0 ? { digits: digits * 10n ** BigInt(-places), places: 0 } : { digits, places }
}

function listMismatch(node: SchemaNode, value: readonly Json[], budget: Budget, depth: number): Mismatch | undefined {
  if (node.minItems !== undefined && value.length < node.minItems) return no(`fewer than minItems ${node.minItems}`)
  if (node.maxItems !== undefined && value.length > node.maxItems) return no(`more than maxItems ${node.maxItems}`)
  const { prefixItems, items } = node
  if (prefixItems.length > 0 || items !== undefined) {
    for (const [index, item] of value.entries()) {
      const schema = prefixItems[index] ?? items
      if (schema === undefined) break
      const found = apply(schema, item, budget, depth + 1)
      if (found !== undefined) return under(index, found)
    }
  }
  if (!node.uniqueItems) return undefined
  const seen = new Set<string>()
  for (const [index, item] of value.entries()) {
    const text = canonical(item)
    if (spend(budget, text.length + 4)) return EXHAUSTED
    if (seen.has(text)) return under(index, no('the same item stands there before'))
    seen.add(text)
  }
  return undefined
}

function objectMismatch(node: SchemaNode, value: ReadonlyMap<string, Json>, budget: Budget, depth: number): Mismatch | undefined {
  if (node.minProperties !== undefined && value.size < node.minProperties)
    return no(`fewer than minProperties ${node.minProperties}`)
  if (node.maxProperties !== undefined && value.size > node.maxProperties)
    return no(`more than maxProperties ${node.maxProperties}`)
  for (const name of node.required) if (!value.has(name)) return no(`the property ${name} is missing`)
  if (spend(budget, node.required.length)) return EXHAUSTED
  for (const [name, needed] of node.dependentRequired) {
    if (!value.has(name)) continue
    for (const other of needed) if (!value.has(other)) return no(`the property ${other} is missing beside ${name}`)
  }
  const { properties, patternProperties, additionalProperties, propertyNames } = node
  if (
    properties.size === 0 &&
    patternProperties.length === 0 &&
    additionalProperties === undefined &&
    propertyNames === undefined
  ) {
    return undefined
  }
  for (const [name, member] of value) {
    if (spend(budget, 1)) return EXHAUSTED
    const declared = properties.get(name)
    let known = declared !== undefined
    let found = declared === undefined ? undefined : apply(declared, member, budget, depth + 1)
    for (const { pattern, node: schema } of patternProperties) {
      const matches = pattern.matches(name, budget, REQUEST_WORK_MAX)
      if (matches === undefined) {
        budget.exhausted = true
        return EXHAUSTED
      }
      if (!matches) continue
      known = true
      found ??= apply(schema, member, budget, depth + 1)
    }
    if (!known && additionalProperties !== undefined) {
      found = additionalProperties.never
        ? no('the property is not declared')
        : apply(additionalProperties, member, budget, depth + 1)
    }
    if (found === undefined && propertyNames !== undefined && apply(propertyNames, name, budget, depth + 1) !== undefined) {
      found = no('the property’s name is not as declared')
    }
    if (found !== undefined) return under(name, found)
  }
  return undefined
}

function combinedMismatch(node: SchemaNode, value: Json, budget: Budget, depth: number): Mismatch | undefined {
  const { ref, allOf, anyOf, oneOf, not } = node
  if (ref !== undefined) {
    const found = apply(ref, value, budget, depth + 1)
    if (found !== undefined) return found
  }
  for (const schema of allOf) {
    const found = apply(schema, value, budget, depth + 1)
    if (found !== undefined) return found
  }
  if (anyOf.length > 0) {
    let first: Mismatch | undefined
    let fits = false
    for (const schema of anyOf) {
      const found = apply(schema, value, budget, depth + 1)
      if (budget.exhausted) return EXHAUSTED
      if (found === undefined) {
        fits = true
        break
      }
      first ??= found
    }
    if (!fits) return anyOf.length === 1 ? first : no('none of the schemas of anyOf fits')
  }
  if (oneOf.length > 0) {
    let fitting = 0
    for (const schema of oneOf) {
      if (apply(schema, value, budget, depth + 1) === undefined) fitting += 1
      if (budget.exhausted) return EXHAUSTED
      if (fitting > 1) break
    }
    if (fitting !== 1) return no(fitting === 0 ? 'none of the schemas of oneOf fits' : 'several of the schemas of oneOf fit')
  }
  if (not !== undefined && apply(not, value, budget, depth + 1) === undefined) return no('the schema of not fits')
  return budget.exhausted ? EXHAUSTED : undefined
}
