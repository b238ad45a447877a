/**
 * Cedar policies of one service, ready to be asked: checked against the service's schema. What each policy says is remembered by what
 * that policy reads of a request: few kinds of requests, however many there are of all of them together. The engine is asked when one
 * of them has not met a kind yet, and then says it of all.
 *
 * Principals are `User::"ISSUER#SUBJECT"`, in the Groups and Roles that the token names, or `Anonymous::"anonymous"`. The resource is a
 * Path in its Route and Service. What no policy permits is refused; a policy that forbids and fails to evaluate forbids.
 */
import {
  type AccessAnswer,
  type AccessQuestion,
  type AuthorizationCompilation,
  type AuthorizationFault,
  type AuthorizedService,
  type Authorizer,
  formatAddress,
  parseAddress,
  prefixContains,
} from '@ringwall/ring'
import {
  type CedarEntity,
  CedarFailed,
  type CedarPolicy,
  type CedarValue,
  isAuthorized,
  PolicySet,
  withCedar,
} from './cedar-engine.ts'
import { isLike, type Reads, readsOf, type TextReads } from './cedar-reads.ts'
import { type Actions, actionsOf, type ClaimType, OTHER_METHOD, schemaOf, type TimeField } from './cedar-schema.ts'
import { compileXacml } from './xacml/authorizer.ts'

/** Policies of one service. */
export const POLICIES_MAX = 500
const DEPTH_MAX = 50
const FAULTS_MAX = 20
/** What is remembered of what policies said, for a service and at least for each, and the longest key that it is kept under. */
const WORDS_MAX = 8_192
const WORDS_MIN = 64
const KEY_CHARS_MAX = 256
/** Texts of a token's claim of groups or roles that are looked at. */
const PARENTS_MAX = 1_000
const ID = /^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,99}$/

/** Total: whatever the text. */
export function compileAuthorization(service: AuthorizedService): AuthorizationCompilation {
  if (service.authorization.language === 'xacml') return compileXacml(service)
  const { policies: text } = service.authorization
  try {
    const faults = boundFaults(text) ?? engineFaults(service, text)
    if (faults.length > 0) return { ok: false, faults: faults.slice(0, FAULTS_MAX) }
    const parsed = parsePolicies(text)
    if ('faults' in parsed) return { ok: false, faults: parsed.faults }
    return { ok: true, authorizer: new CedarAuthorizer(service, parsed.policies) }
  } catch (error) {
    if (!(error instanceof CedarFailed)) throw error
    return { ok: false, faults: [{ message: error.message, hint: 'split or flatten them', line: 1, column: 1 }] }
  }
}

/** What could take the engine long, or too deep, is not handed to it. */
function boundFaults(text: string): readonly AuthorizationFault[] | undefined {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]
    if (character === '(' || character === '[' || character === '{') depth += 1
    else if (character === ')' || character === ']' || character === '}') depth = Math.max(0, depth - 1)
    if (depth > DEPTH_MAX) return [{ message: `nested more than ${DEPTH_MAX} deep`, hint: 'flatten it', ...placeIn(text, at) }]
  }
  return undefined
}

function engineFaults(service: AuthorizedService, text: string): readonly AuthorizationFault[] {
  const answer = withCedar((cedar) => cedar.validate({ schema: schemaOf(service), policies: { staticPolicies: text } }))
  // It says success also when policies are not valid: what counts is the list.
  const errors = answer.type === 'failure' ? answer.errors : answer.validationErrors.map(({ error }) => error)
  const bytes = Buffer.from(text, 'utf8')
  const faults = errors.map(({ message, help, sourceLocations }) => {
    const [place] = sourceLocations ?? []
    const label = place?.label ?? undefined
    // Offsets count bytes.
    const at = place === undefined ? 0 : bytes.subarray(0, place.start).toString('utf8').length
    const what = label === undefined ? message : `${message}: ${label}`
    const hint = help ?? undefined
    return {
      message: withoutPolicyNumber(what).slice(0, 400),
      ...(hint === undefined ? {} : { hint: withoutPolicyNumber(hint).slice(0, 300) }),
      ...placeIn(text, at),
    }
  })
  // The same for each kind of principal and each action: once is enough.
  const seen = new Set<string>()
  return faults.filter(({ line, column, message }) => {
    const key = `${line}:${column}:${message.replace(/ on entity type .*| for Action::.*/, '')}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}

function withoutPolicyNumber(message: string): string {
  return message.replace(/^failed to parse policies from string: /, '').replace(/^for policy `policy[0-9]+`, /, '')
}

function placeIn(text: string, at: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, at)
  return { line: before.split('\n').length, column: at - (before.lastIndexOf('\n') + 1) + 1 }
}

interface ParsedPolicy {
  readonly id: string
  readonly text: string
  readonly json: CedarPolicy
}

function parsePolicies(
  text: string,
): { readonly policies: readonly ParsedPolicy[] } | { readonly faults: readonly AuthorizationFault[] } {
  const answer = withCedar((cedar) => cedar.policySetTextToParts(text))
  if (answer.type === 'failure') throw new CedarFailed(answer.errors[0]?.message ?? 'the policies cannot be read')
  if (answer.policies.length > POLICIES_MAX) {
    const message = `${answer.policies.length} policies, at most ${POLICIES_MAX} are allowed`
    return { faults: [{ message, hint: 'join those that say the same of several', line: 1, column: 1 }] }
  }
  const faults: AuthorizationFault[] = []
  const seen = new Set<string>()
  // The engine has an order of its own; theirs is the text's.
  const placed: { readonly part: string; readonly at: number }[] = []
  const from = new Map<string, number>()
  for (const part of answer.policies) {
    const at = text.indexOf(part, from.get(part) ?? 0)
    from.set(part, at + part.length)
    placed.push({ part, at })
  }
  placed.sort((a, b) => a.at - b.at)
  const policies = placed.map(({ part, at }, index): ParsedPolicy => {
    const parsed = withCedar((cedar) => cedar.policyToJson(part))
    if (parsed.type === 'failure') throw new CedarFailed(parsed.errors[0]?.message ?? 'a policy cannot be read')
    const { json } = parsed
    const id = json.annotations?.id ?? `policy${index + 1}`
    const place = placeIn(text, Math.max(0, at))
    if (!ID.test(id))
      faults.push({ message: `@id(${JSON.stringify(id.slice(0, 60))}) is no id`, hint: 'use letters, digits and -', ...place })
    else if (id === 'default')
      faults.push({ message: 'the id default means that no policy permits', hint: 'use another', ...place })
    else if (seen.has(id)) faults.push({ message: `the policy ${id} occurs twice`, hint: 'give each its own @id', ...place })
    seen.add(id)
    return { id, text: part, json }
  })
  return faults.length > 0 ? { faults } : { policies }
}

type Claims = Readonly<Record<string, ClaimType>>

/** What one policy says of a request: it applies, it does not, or it cannot be evaluated. */
type Word = 'applies' | 'does not' | 'fails'

interface KnownPolicy {
  readonly id: string
  readonly forbids: boolean
  readonly json: CedarPolicy
  readonly reads: Reads
  /** Of the declared claims, those that it reads. */
  readonly claimNames: readonly string[]
  /** By what it reads of a request; the one that was of use last goes last. */
  readonly words: Map<string, Word>
}

class CedarAuthorizer implements Authorizer {
  readonly #service: string
  readonly #claims: Claims
  readonly #claimNames: readonly string[]
  readonly #groups: string
  readonly #roles: string
  readonly #actions: Actions
  readonly #policies: readonly KnownPolicy[]
  /** All as if they permitted: then the engine tells of every one whether it applies. */
  readonly #set: PolicySet
  /** What any of them reads. */
  readonly #reads: Reads
  readonly #wordsMax: number

  constructor({ name, authorization, actions }: AuthorizedService, policies: readonly ParsedPolicy[]) {
    const claimNamesOf = ({ everyClaim, claims }: Reads): readonly string[] =>
      Object.keys(authorization.claims).filter((claim) => everyClaim || claims.has(claim))
    this.#service = name
    this.#claims = authorization.claims
    this.#groups = authorization.groups
    this.#roles = authorization.roles
    this.#actions = actionsOf({ actions })
    this.#set = new PolicySet(Object.fromEntries(policies.map(({ id, json }) => [id, { ...json, effect: 'permit' }])))
    this.#reads = readsOf(policies.map(({ json }) => json))
    this.#claimNames = claimNamesOf(this.#reads)
    this.#policies = policies.map(({ id, json }) => {
      const reads = readsOf([json])
      return { id, forbids: json.effect === 'forbid', json, reads, claimNames: claimNamesOf(reads), words: new Map() }
    })
    this.#wordsMax = Math.max(WORDS_MIN, Math.floor(WORDS_MAX / Math.max(1, policies.length)))
  }

  decide(question: AccessQuestion): AccessAnswer {
    const facts = this.#factsOf(question)
    let permits: string[] | undefined
    let forbids: string[] | undefined
    let failed: string[] | undefined
    let evaluated: ReadonlyMap<string, Word> | undefined
    for (const policy of this.#policies) {
      if (!isInScope(policy.json, facts, this.#actions)) continue
      const key = this.#keyOf(policy, question, facts)
      let word = policy.words.get(key)
      if (word === undefined) {
        // Asked once, for all of them.
        evaluated ??= this.#evaluate(question, facts)
        if (evaluated === undefined) return ENGINE_FAILED
        word = evaluated.get(policy.id) ?? 'does not'
      } else policy.words.delete(key)
      if (key.length <= KEY_CHARS_MAX) policy.words.set(key, word)
      if (policy.words.size > this.#wordsMax) policy.words.delete(policy.words.keys().next().value as string)
      if (word === 'fails') (failed ??= []).push(policy.id)
      // What forbids and cannot be evaluated forbids.
      if (policy.forbids && word !== 'does not') (forbids ??= []).push(policy.id)
      else if (!policy.forbids && word === 'applies') (permits ??= []).push(policy.id)
    }
    return {
      allowed: forbids === undefined && permits !== undefined,
      policies: forbids ?? permits ?? NONE,
      failed: failed ?? NONE,
    }
  }

  #factsOf({ principal, method, action, nowMs, remoteAddress }: AccessQuestion): Facts {
    const reads = this.#reads
    const named = action ?? method
    const address = reads.source || reads.prefixes.size > 0 ? parseAddress(remoteAddress.replace(/%.*$/, '')) : undefined
    return {
      action: this.#actions.has(named) ? named : OTHER_METHOD,
      user: principal === undefined ? undefined : userId(principal.issuer, principal.subject ?? ''),
      groups: principal === undefined ? [] : parentsOf(principal.claims, this.#groups, reads.groups, reads.everyGroup),
      roles: principal === undefined ? [] : parentsOf(principal.claims, this.#roles, reads.roles, reads.everyGroup),
      claims: principal === undefined ? {} : claimsOf(principal.claims, this.#claimNames, this.#claims),
      address,
      time: reads.time.size === 0 && !reads.now ? undefined : new Date(Math.floor(nowMs / 1_000) * 1_000),
    }
  }

  /** A policy whose scope holds says the same of two requests with one key: it has everything that the policy reads. */
  #keyOf({ reads, claimNames }: KnownPolicy, { principal, route, method, path, host }: AccessQuestion, facts: Facts): string {
    let key = reads.action ? facts.action : ''
    if (facts.user === undefined) key += '\nA'
    else {
      key += reads.everyUser || reads.users.has(facts.user) ? `\nU${JSON.stringify(facts.user)}` : '\nU'
      key += textKey(reads.issuer, principal!.issuer)
      key += textKey(reads.subject, principal!.subject ?? '')
      key += parentsKey(reads.groups, reads.everyGroup, facts.groups)
      key += parentsKey(reads.roles, reads.everyGroup, facts.roles)
      for (const name of claimNames) key += claimKey(reads, name, facts.claims[name])
    }
    if (reads.route) key += `\nr${route ?? ''}`
    if (reads.method) key += `\nm${method}`
    key += textKey(reads.path, path)
    key += textKey(reads.host, host)
    if (reads.source || reads.prefixes.size > 0) key += addressKey(reads, facts.address)
    const { time } = facts
    if (time !== undefined) {
      for (const field of reads.time) key += `\nt${timeField(field, time)}`
      if (reads.now) key += `\nn${time.getTime()}`
    }
    return key
  }

  /** Of every policy that does not simply not apply; undefined when the engine fails. */
  #evaluate(question: AccessQuestion, facts: Facts): ReadonlyMap<string, Word> | undefined {
    const action = { type: 'Action', id: facts.action }
    const principal = facts.user === undefined ? { type: 'Anonymous', id: 'anonymous' } : { type: 'User', id: facts.user }
    const reads = this.#reads
    const resource = { type: 'Path', id: `${this.#service}${question.path}` }
    const group = this.#actions.get(facts.action)
    // Each entity and attribute costs the engine more than a policy does: it is told what policies read.
    const entities: CedarEntity[] = [this.#path(question, resource)]
    if (reads.actionGroups && group !== undefined)
      entities.push({ uid: action, attrs: {}, parents: [{ type: 'Action', id: group }] })
    if (facts.user !== undefined) {
      const { issuer, subject } = question.principal!
      const attrs: Record<string, CedarValue> = {}
      if (isRead(reads.issuer)) attrs.issuer = issuer
      if (isRead(reads.subject)) attrs.subject = subject ?? ''
      if (reads.principalClaims) attrs.claims = facts.claims
      const parents = [...facts.groups.map((id) => ({ type: 'Group', id })), ...facts.roles.map((id) => ({ type: 'Role', id }))]
      entities.push({ uid: principal, attrs, parents })
    }
    try {
      const answer = isAuthorized(this.#set, { principal, action, resource, entities, context: this.#context(question, facts) })
      if (answer.type === 'failure') return undefined
      const { reason, errors } = answer.response.diagnostics
      const words = new Map<string, Word>(reason.map((id) => [id, 'applies']))
      for (const { policyId } of errors) words.set(policyId, 'fails')
      return words
    } catch (error) {
      if (error instanceof CedarFailed) return undefined
      throw error
    }
  }

  #path({ path, host, route }: AccessQuestion, uid: CedarEntity['uid']): CedarEntity {
    const reads = this.#reads
    const attrs: Record<string, CedarValue> = { service: this.#service }
    if (isRead(reads.path)) attrs.path = path
    if (isRead(reads.host)) attrs.host = host
    if (reads.route && route !== undefined) attrs.route = route
    const parents: CedarEntity['parents'] = []
    if (reads.service) parents.push({ type: 'Service', id: this.#service })
    if (reads.route && route !== undefined) parents.push({ type: 'Route', id: route })
    return { uid, attrs, parents }
  }

  #context({ method }: AccessQuestion, { address, time, claims }: Facts): Record<string, CedarValue> {
    const reads = this.#reads
    const context: Record<string, CedarValue> = {}
    if (reads.method) context.method = method
    if (reads.contextClaims) context.claims = claims
    // A source that is no address has no place in a range: what reads it fails, and permits nothing.
    if (address !== undefined) context.source = { __extn: { fn: 'ip', arg: formatAddress(address) } }
    if (time !== undefined) {
      context.time = Object.fromEntries([...reads.time].map((field) => [field, timeField(field, time)]))
      if (reads.now) context.now = { __extn: { fn: 'datetime', arg: time.toISOString() } }
    }
    return context
  }
}

/** Does what stands before `when` hold? Of the resource nothing is said here: it is among what policies read. */
function isInScope({ principal, action }: CedarPolicy, facts: Facts, actions: Actions): boolean {
  if (action.op !== 'All') {
    const entities = 'entities' in action ? action.entities : 'entity' in action ? [action.entity] : []
    const group = action.op === 'in' ? actions.get(facts.action) : undefined
    if (!entities.some((entity) => idOf(entity) === facts.action || (group !== undefined && idOf(entity) === group))) return false
  }
  if (principal.op === 'is') {
    if (principal.entity_type !== (facts.user === undefined ? 'Anonymous' : 'User')) return false
    return principal.in === undefined || !('entity' in principal.in) || isPrincipalIn(principal.in.entity, facts)
  }
  return principal.op === 'All' || !('entity' in principal) || isPrincipalIn(principal.entity, facts)
}

type Uid = CedarEntity['uid']

function idOf(uid: Uid): string {
  return '__entity' in uid ? uid.__entity.id : uid.id
}

/** The principal itself, or a group or role that it is in. */
function isPrincipalIn(uid: Uid, { user, groups, roles }: Facts): boolean {
  const { type, id } = '__entity' in uid ? uid.__entity : uid
  if (type === 'Group') return groups.includes(id)
  if (type === 'Role') return roles.includes(id)
  if (type === 'User') return user === id
  return type === 'Anonymous' && user === undefined && id === 'anonymous'
}

const ENGINE_FAILED: AccessAnswer = { allowed: false, policies: [], failed: ['engine'] }

interface Facts {
  readonly action: string
  /** Undefined: anonymous. */
  readonly user: string | undefined
  /** Of those that policies name, or all. */
  readonly groups: readonly string[]
  readonly roles: readonly string[]
  readonly claims: Record<string, CedarValue>
  readonly address: ReturnType<typeof parseAddress>
  /** To the second. */
  readonly time: Date | undefined
}

/** The policy’s issuers have no `#`, so that no two principals share an id. */
export function userId(issuer: string, subject: string): string {
  return `${issuer}#${subject}`
}

const NONE: readonly string[] = []

function parentsOf(
  claims: Readonly<Record<string, unknown>>,
  claim: string,
  named: ReadonlySet<string>,
  all: boolean,
): readonly string[] {
  if (!all && named.size === 0) return NONE
  const held = Object.hasOwn(claims, claim) ? claims[claim] : undefined
  const texts = typeof held === 'string' ? [held] : Array.isArray(held) ? (held as unknown[]).slice(0, PARENTS_MAX) : NONE
  const kept = new Set<string>()
  for (const text of texts) if (typeof text === 'string' && (all || named.has(text))) kept.add(text)
  return kept.size === 0 ? NONE : [...kept].sort()
}

function claimsOf(
  claims: Readonly<Record<string, unknown>>,
  names: readonly string[],
  types: Claims,
): Record<string, CedarValue> {
  const kept: Record<string, CedarValue> = {}
  for (const name of names) {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined
    const type = types[name]
    if (type === 'String' && typeof value === 'string') kept[name] = value
    else if (type === 'Long' && Number.isSafeInteger(value)) kept[name] = value as number
    else if (type === 'Boolean' && typeof value === 'boolean') kept[name] = value
    else if (type === 'Set<String>' && Array.isArray(value) && value.every((each) => typeof each === 'string'))
      kept[name] = value as string[]
  }
  return kept
}

function isRead({ whole, patterns, equals }: TextReads): boolean {
  return whole || patterns.size > 0 || equals.size > 0
}

function parentsKey(named: ReadonlySet<string>, all: boolean, held: readonly string[]): string {
  if (all) return `\n${JSON.stringify(held)}`
  if (named.size === 0) return ''
  let key = '\n'
  for (const id of named) key += held.includes(id) ? '1' : '0'
  return key
}

function addressKey({ source, prefixes }: Reads, address: Facts['address']): string {
  if (address === undefined) return '\n-'
  if (source) return `\n${formatAddress(address)}`
  let key = '\n'
  for (const prefix of prefixes.values()) key += prefixContains(prefix, address) ? '1' : '0'
  return key
}

/** A claim as far as it is read. */
function claimKey(reads: Reads, name: string, value: CedarValue | undefined): string {
  const how = reads.everyClaim ? undefined : reads.claims.get(name)
  if (value === undefined) return '\n-'
  if (how === undefined || how.whole || !Array.isArray(value)) return `\n${JSON.stringify(value)}`
  let key = '\n+'
  for (const text of how.contained) key += value.includes(text) ? '1' : '0'
  return key
}

function textKey({ whole, patterns, equals }: TextReads, text: string): string {
  if (whole) return `\n${JSON.stringify(text)}`
  if (patterns.size === 0 && equals.size === 0) return ''
  let key = '\n'
  for (const pattern of patterns.values()) key += isLike(text, pattern) ? '1' : '0'
  return equals.has(text) ? `${key}=${JSON.stringify(text)}` : key
}

function timeField(field: TimeField, time: Date): string | number {
  if (field === 'date') return time.toISOString().slice(0, 10)
  if (field === 'hour') return time.getUTCHours()
  if (field === 'minute') return time.getUTCMinutes()
  // Monday is 1, Sunday 7 (ISO 8601).
  return time.getUTCDay() === 0 ? 7 : time.getUTCDay()
}
