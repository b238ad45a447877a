/**
 * Cedar policies of one service, ready to be asked: checked against the service's schema, with decisions remembered by what the
 * policies read of a request.
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

/** Policies of one service. */
export const POLICIES_MAX = 500
const DEPTH_MAX = 50
const FAULTS_MAX = 20
/** Decisions remembered for a service, and the longest description of a request that one is remembered for. */
const REMEMBERED_MAX = 4_096
const KEY_CHARS_MAX = 2_000
/** Texts of a token's claim of groups or roles that are looked at. */
const PARENTS_MAX = 1_000
const ID = /^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,99}$/

/** Total: whatever the text. */
export function compileAuthorization(service: AuthorizedService): AuthorizationCompilation {
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

class CedarAuthorizer implements Authorizer {
  readonly #service: string
  readonly #claims: Claims
  readonly #claimNames: readonly string[]
  readonly #groups: string
  readonly #roles: string
  readonly #actions: Actions
  readonly #set: PolicySet
  readonly #forbidding: ReadonlySet<string>
  readonly #reads: Reads
  readonly #remembered = new Map<string, AccessAnswer>()

  constructor({ name, authorization, actions }: AuthorizedService, policies: readonly ParsedPolicy[]) {
    this.#service = name
    this.#claims = authorization.claims
    this.#groups = authorization.groups
    this.#roles = authorization.roles
    this.#actions = actionsOf({ actions })
    this.#set = new PolicySet(Object.fromEntries(policies.map(({ id, text }) => [id, text])))
    this.#forbidding = new Set(policies.filter(({ json }) => json.effect === 'forbid').map(({ id }) => id))
    this.#reads = readsOf(policies.map(({ json }) => json))
    const { everyClaim, claims } = this.#reads
    this.#claimNames = Object.keys(authorization.claims).filter((claim) => everyClaim || claims.has(claim))
  }

  decide(question: AccessQuestion): AccessAnswer {
    const facts = this.#factsOf(question)
    const key = this.#keyOf(question, facts)
    const known = this.#remembered.get(key)
    if (known !== undefined) {
      // The one that was of use last goes last.
      this.#remembered.delete(key)
      this.#remembered.set(key, known)
      return known
    }
    const answer = this.#evaluate(question, facts)
    if (key.length <= KEY_CHARS_MAX) {
      this.#remembered.set(key, answer)
      if (this.#remembered.size > REMEMBERED_MAX) this.#remembered.delete(this.#remembered.keys().next().value as string)
    }
    return answer
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

  /** Two requests with one key are decided alike: it holds everything that the policies read. */
  #keyOf({ principal, route, method, path, host }: AccessQuestion, facts: Facts): string {
    const reads = this.#reads
    let key = facts.action
    if (facts.user === undefined) key += '\nA'
    else {
      key += reads.everyUser || reads.users.has(facts.user) ? `\nU${JSON.stringify(facts.user)}` : '\nU'
      if (reads.issuer) key += `\nI${JSON.stringify(principal!.issuer)}`
      if (reads.subject) key += `\nS${JSON.stringify(principal!.subject ?? '')}`
      if (facts.groups.length > 0) key += `\nG${JSON.stringify(facts.groups)}`
      if (facts.roles.length > 0) key += `\nR${JSON.stringify(facts.roles)}`
      if (this.#claimNames.length > 0) key += `\nC${JSON.stringify(facts.claims)}`
    }
    if (reads.route) key += `\nr${route ?? ''}`
    if (reads.method) key += `\nm${method}`
    key += textKey(reads.path, path)
    key += textKey(reads.host, host)
    if (facts.address !== undefined) {
      if (reads.source) key += `\n${formatAddress(facts.address)}`
      else for (const prefix of reads.prefixes.values()) key += prefixContains(prefix, facts.address) ? '1' : '0'
    } else key += '\n-'
    const { time } = facts
    if (time !== undefined) {
      for (const field of reads.time) key += `\nt${timeField(field, time)}`
      if (reads.now) key += `\nn${time.getTime()}`
    }
    return key
  }

  #evaluate(question: AccessQuestion, facts: Facts): AccessAnswer {
    const action = { type: 'Action', id: facts.action }
    const principal = facts.user === undefined ? { type: 'Anonymous', id: 'anonymous' } : { type: 'User', id: facts.user }
    const resource = { type: 'Path', id: `${this.#service}${question.path}` }
    const service = { type: 'Service', id: this.#service }
    const group = this.#actions.get(facts.action)
    const entities: CedarEntity[] = [
      { uid: action, attrs: {}, parents: group === undefined ? [] : [{ type: 'Action', id: group }] },
      this.#path(question, resource, service),
    ]
    if (question.route !== undefined) entities.push({ uid: { type: 'Route', id: question.route }, attrs: {}, parents: [service] })
    if (facts.user !== undefined) {
      const { issuer, subject } = question.principal!
      const parents = [...facts.groups.map((id) => ({ type: 'Group', id })), ...facts.roles.map((id) => ({ type: 'Role', id }))]
      entities.push({ uid: principal, attrs: { issuer, subject: subject ?? '', claims: facts.claims }, parents })
    }
    try {
      const answer = isAuthorized(this.#set, { principal, action, resource, entities, context: this.#context(question, facts) })
      if (answer.type === 'failure') return ENGINE_FAILED
      const { decision, diagnostics } = answer.response
      const failed = diagnostics.errors.map(({ policyId }) => policyId).sort()
      const forbidding = failed.filter((id) => this.#forbidding.has(id))
      if (decision === 'allow' && forbidding.length > 0) return { allowed: false, policies: forbidding, failed }
      return { allowed: decision === 'allow', policies: diagnostics.reason.toSorted(), failed }
    } catch (error) {
      if (error instanceof CedarFailed) return ENGINE_FAILED
      throw error
    }
  }

  #path({ path, host, route }: AccessQuestion, uid: CedarEntity['uid'], service: CedarEntity['uid']): CedarEntity {
    const attrs = { service: this.#service, path, host, ...(route === undefined ? {} : { route }) }
    return { uid, attrs, parents: [service, ...(route === undefined ? [] : [{ type: 'Route', id: route }])] }
  }

  #context({ method }: AccessQuestion, { address, time, claims }: Facts): Record<string, CedarValue> {
    const reads = this.#reads
    const context: Record<string, CedarValue> = { method, claims }
    // A source that is no address has no place in a range: what reads it fails, and permits nothing.
    if (address !== undefined) context.source = { __extn: { fn: 'ip', arg: formatAddress(address) } }
    if (time !== undefined) {
      context.time = Object.fromEntries([...reads.time].map((field) => [field, timeField(field, time)]))
      if (reads.now) context.now = { __extn: { fn: 'datetime', arg: time.toISOString() } }
    }
    return context
  }
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
