/**
 * What policies read of a request, found in their syntax tree: so that the engine is given that and no more, and that requests which
 * are alike in it share a decision. Whatever is not understood counts as reading everything.
 */
import { type Prefix, parsePrefix } from '@ringwall/ring'
import type { CedarExpression, CedarPolicy, CedarValue } from './cedar-engine.ts'
import { TIME_FIELDS, type TimeField } from './cedar-schema.ts'

/** Parts of a `like` pattern between its wildcards; the first and the last are anchored. */
export type Pattern = readonly string[]

/** How a text is read: only held against patterns and other texts, or in some other way. */
export interface TextReads {
  whole: boolean
  readonly patterns: Map<string, Pattern>
  readonly equals: Set<string>
}

/** How a claim is read: only whether a set contains certain texts, or in some other way. */
export interface ClaimReads {
  whole: boolean
  readonly contained: Set<string>
}

export interface Reads {
  readonly path: TextReads
  readonly host: TextReads
  /** The source: as it is, or only whether prefixes hold it. */
  source: boolean
  readonly prefixes: Map<string, Prefix>
  /** Users that are named, or every one in its own right. */
  readonly users: Set<string>
  everyUser: boolean
  readonly issuer: TextReads
  readonly subject: TextReads
  readonly groups: Set<string>
  readonly roles: Set<string>
  everyGroup: boolean
  /** By name. */
  readonly claims: Map<string, ClaimReads>
  everyClaim: boolean
  /** Whether claims are read of the principal, and of the context. */
  principalClaims: boolean
  contextClaims: boolean
  /** The action, beyond what the scope says of it. */
  action: boolean
  /** The groups that actions are in. */
  actionGroups: boolean
  route: boolean
  /** The Service that a Path is in. */
  service: boolean
  method: boolean
  readonly time: Set<TimeField>
  now: boolean
}

export function readsOf(policies: readonly CedarPolicy[]): Reads {
  const reads = nothing()
  for (const { principal, action, resource, conditions } of policies) {
    if (action.op === 'in') reads.actionGroups = true
    if (principal.op === '==' && 'entity' in principal) mention(reads, 'principal', principal.entity)
    if (principal.op === 'in' && 'entity' in principal) mention(reads, 'principal', principal.entity)
    if (principal.op === 'is' && principal.in !== undefined && 'entity' in principal.in)
      mention(reads, 'principal', principal.in.entity)
    if (resource.op === '==' && 'entity' in resource) mention(reads, 'resource', resource.entity)
    if (resource.op === 'in' && 'entity' in resource) mention(reads, 'resource', resource.entity)
    if (resource.op === 'is' && resource.in !== undefined && 'entity' in resource.in)
      mention(reads, 'resource', resource.in.entity)
    for (const { body } of conditions) visit(reads, body)
  }
  return reads
}

function nothing(): Reads {
  const text = (): TextReads => ({ whole: false, patterns: new Map(), equals: new Set() })
  return {
    path: text(),
    host: text(),
    source: false,
    prefixes: new Map(),
    users: new Set(),
    everyUser: false,
    issuer: text(),
    subject: text(),
    groups: new Set(),
    roles: new Set(),
    everyGroup: false,
    claims: new Map(),
    everyClaim: false,
    principalClaims: false,
    contextClaims: false,
    action: false,
    actionGroups: false,
    route: false,
    service: false,
    method: false,
    time: new Set(),
    now: false,
  }
}

type Fields = Readonly<Record<string, unknown>>
/** A variable and the attributes that are taken of it, such as context, time, hour. */
type Chain = readonly [variable: string, ...attributes: string[]]

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
}

function chainOf(expression: unknown): Chain | undefined {
  const fields = fieldsOf(expression)
  if (typeof fields?.Var === 'string') return [fields.Var]
  const access = fieldsOf(fields?.['.'])
  if (access === undefined || typeof access.attr !== 'string') return undefined
  const left = chainOf(access.left)
  return left === undefined ? undefined : [...left, access.attr]
}

function entitiesOf(expression: unknown): readonly unknown[] | undefined {
  const fields = fieldsOf(expression)
  const value = fieldsOf(fields?.Value)
  if (value !== undefined && '__entity' in value) return [value]
  if (!Array.isArray(fields?.Set)) return undefined
  const all = fields.Set.map((each) => entitiesOf(each))
  return all.every((each) => each?.length === 1) ? all.flatMap((each) => each as readonly unknown[]) : undefined
}

function textOf(expression: unknown): string | undefined {
  const value = fieldsOf(expression)?.Value
  return typeof value === 'string' ? value : undefined
}

function visit(reads: Reads, expression: CedarExpression | CedarValue | unknown): void {
  const fields = fieldsOf(expression)
  if (fields === undefined) {
    readAll(reads)
    return
  }
  const chain = chainOf(expression)
  if (chain !== undefined) {
    read(reads, chain)
    return
  }
  const entries = Object.entries(fields)
  if (entries.length !== 1) {
    readAll(reads)
    return
  }
  const [operator, operands] = entries[0] as [string, unknown]
  if (operator === 'Value') return
  if (visitSpecial(reads, operator, operands)) return
  // Functions take a list, sets and records hold expressions, and so do all other operators, but for names and patterns.
  if (Array.isArray(operands)) for (const operand of operands) visit(reads, operand)
  else if (operator === 'Record') for (const operand of Object.values(fieldsOf(operands) ?? {})) visit(reads, operand)
  else visitOperands(reads, operator, fieldsOf(operands))
}

const OPERANDS: Readonly<Record<string, readonly string[]>> = {
  '!': ['arg'],
  neg: ['arg'],
  isEmpty: ['arg'],
  like: ['left'],
  is: ['left', 'in'],
  has: ['left'],
  '.': ['left'],
  'if-then-else': ['if', 'then', 'else'],
  ...Object.fromEntries(
    [
      '==',
      '!=',
      'in',
      '<',
      '<=',
      '>',
      '>=',
      '&&',
      '||',
      '+',
      '-',
      '*',
      'contains',
      'containsAll',
      'containsAny',
      'getTag',
      'hasTag',
    ].map((operator) => [operator, ['left', 'right']]),
  ),
}

function visitOperands(reads: Reads, operator: string, operands: Fields | undefined): void {
  const names = Object.hasOwn(OPERANDS, operator) ? OPERANDS[operator] : undefined
  if (names === undefined || operands === undefined) {
    readAll(reads)
    return
  }
  for (const name of names) if (operands[name] !== undefined) visit(reads, operands[name])
}

/** Forms in which less is read than what stands there. Returns whether it was one. */
function visitSpecial(reads: Reads, operator: string, operands: unknown): boolean {
  if (operator === 'isInRange' && Array.isArray(operands)) return visitRange(reads, operands)
  const { left, right, attr, pattern } = fieldsOf(operands) ?? {}
  const chain = chainOf(left)
  if (operator === 'has' && chain !== undefined) {
    const attributes = Array.isArray(attr) ? (attr as unknown[]) : [attr]
    if (!attributes.every((name) => typeof name === 'string')) return false
    const whole: Chain = [...chain, ...(attributes as string[])]
    // Whether a claim is there shows in what is noted of it in any case.
    if (claimOf(reads, whole) === undefined) read(reads, whole)
    return true
  }
  if (operator === 'contains' && chain !== undefined) {
    const literal = textOf(right)
    const claim = literal === undefined ? undefined : claimOf(reads, chain)
    if (claim === undefined || literal === undefined) return false
    claim.contained.add(literal)
    return true
  }
  if (operator === 'like' && chain !== undefined) {
    const text = textReads(reads, chain)
    const parts = patternOf(pattern)
    if (text === undefined || parts === undefined) return false
    text.patterns.set(parts.join('\0'), parts)
    return true
  }
  if (operator === 'is') {
    // What kind of principal it is always counts; resources are of one kind.
    const { in: holder } = fieldsOf(operands) ?? {}
    const held = holder === undefined ? [] : entitiesOf(holder)
    if (chain?.length !== 1 || held === undefined) return false
    for (const entity of held) mention(reads, chain[0], entity)
    return true
  }
  if (operator === 'in' || operator === '==' || operator === '!=') {
    const entities = entitiesOf(right)
    if (chain?.length === 1 && entities !== undefined) {
      for (const entity of entities) mention(reads, chain[0], entity)
      return true
    }
    const text = operator === 'in' || chain === undefined ? undefined : textReads(reads, chain)
    const literal = textOf(right)
    if (text === undefined || literal === undefined) return false
    text.equals.add(literal)
    return true
  }
  return false
}

function visitRange(reads: Reads, operands: readonly unknown[]): boolean {
  const [address, range] = operands
  const chain = chainOf(address)
  const literal = fieldsOf(range)?.ip
  const text = Array.isArray(literal) && literal.length === 1 ? textOf(literal[0]) : undefined
  const prefix = text === undefined ? undefined : parsePrefix(text)
  if (chain?.join('.') !== 'context.source' || text === undefined || prefix === undefined) return false
  reads.prefixes.set(text, prefix)
  return true
}

function textReads(reads: Reads, chain: Chain): TextReads | undefined {
  const name = chain.length === 2 ? chain.join('.') : ''
  if (name === 'resource.path') return reads.path
  if (name === 'resource.host') return reads.host
  if (name === 'principal.subject') return reads.subject
  return name === 'principal.issuer' ? reads.issuer : undefined
}

/** Notes that a claim is read, of principal or context; undefined when the chain is none. */
function claimOf(reads: Reads, [variable, attribute, name, ...more]: Chain): ClaimReads | undefined {
  if (attribute !== 'claims' || name === undefined || more.length > 0) return undefined
  if (variable === 'principal') reads.principalClaims = true
  else if (variable === 'context') reads.contextClaims = true
  else return undefined
  let claim = reads.claims.get(name)
  if (claim === undefined) {
    claim = { whole: false, contained: new Set() }
    reads.claims.set(name, claim)
  }
  return claim
}

function patternOf(pattern: unknown): Pattern | undefined {
  if (!Array.isArray(pattern)) return undefined
  const parts = ['']
  for (const element of pattern as unknown[]) {
    const literal = fieldsOf(element)?.Literal
    if (element === 'Wildcard') parts.push('')
    else if (typeof literal === 'string') parts[parts.length - 1] += literal
    else return undefined
  }
  return parts
}

/** An entity that principal or resource is held against. */
function mention(reads: Reads, variable: string, entity: unknown): void {
  const fields = fieldsOf(entity)
  const { type, id } = fieldsOf(fields?.__entity) ?? fields ?? {}
  if (variable === 'action') {
    reads.action = true
    reads.actionGroups = true
    return
  }
  if (typeof type !== 'string' || typeof id !== 'string') readAll(reads)
  else if (variable === 'resource') {
    if (type === 'Path') reads.path.whole = true
    else if (type === 'Service') reads.service = true
    else reads.route = true
  } else if (variable !== 'principal') readAll(reads)
  else if (type === 'User') reads.users.add(id)
  else if (type === 'Group') reads.groups.add(id)
  else if (type === 'Role') reads.roles.add(id)
}

function read(reads: Reads, [variable, first, second, ...more]: Chain): void {
  if (variable === 'action') {
    reads.action = true
    reads.actionGroups = true
    return
  }
  if (variable === 'principal') readPrincipal(reads, first, second)
  else if (variable === 'resource') readResource(reads, first)
  else if (variable === 'context') readContext(reads, first, second)
  else readAll(reads)
  if (more.length > 0) readAll(reads)
}

function readPrincipal(reads: Reads, attribute: string | undefined, claim: string | undefined): void {
  if (attribute === 'issuer') reads.issuer.whole = true
  else if (attribute === 'subject') reads.subject.whole = true
  else if (attribute === 'claims') readClaim(reads, 'principal', claim)
  else {
    reads.everyUser = true
    reads.everyGroup = true
  }
}

function readClaim(reads: Reads, variable: 'principal' | 'context', name: string | undefined): void {
  if (name === undefined) {
    reads.everyClaim = true
    reads.principalClaims = true
    reads.contextClaims = true
    return
  }
  const claim = claimOf(reads, [variable, 'claims', name])
  if (claim !== undefined) claim.whole = true
}

function readResource(reads: Reads, attribute: string | undefined): void {
  if (attribute === 'service') return
  if (attribute === 'route') reads.route = true
  else if (attribute === 'path') reads.path.whole = true
  else if (attribute === 'host') reads.host.whole = true
  else {
    reads.route = true
    reads.service = true
    reads.path.whole = true
    reads.host.whole = true
  }
}

function readContext(reads: Reads, attribute: string | undefined, part: string | undefined): void {
  if (attribute === 'source') reads.source = true
  else if (attribute === 'now') reads.now = true
  else if (attribute === 'method') reads.method = true
  else if (attribute === 'claims') readClaim(reads, 'context', part)
  else if (attribute === 'time') {
    const field = TIME_FIELDS.find((known) => known === part)
    for (const known of field === undefined ? TIME_FIELDS : [field]) reads.time.add(known)
  } else {
    reads.source = true
    reads.now = true
    reads.method = true
    readClaim(reads, 'context', undefined)
    for (const known of TIME_FIELDS) reads.time.add(known)
  }
}

function readAll(reads: Reads): void {
  reads.action = true
  reads.actionGroups = true
  readPrincipal(reads, undefined, undefined)
  reads.issuer.whole = true
  reads.subject.whole = true
  readClaim(reads, 'principal', undefined)
  readResource(reads, undefined)
  readContext(reads, undefined, undefined)
}

/** Does a text match, as `like` does? */
export function isLike(text: string, [first, ...rest]: Pattern): boolean {
  const begin = first ?? ''
  if (rest.length === 0) return text === begin
  if (!text.startsWith(begin)) return false
  const end = rest[rest.length - 1]!
  let at = begin.length
  for (let index = 0; index < rest.length - 1; index += 1) {
    const found = text.indexOf(rest[index]!, at)
    if (found < 0) return false
    at = found + rest[index]!.length
  }
  return text.length - end.length >= at && text.endsWith(end)
}
