/** XACML policies of one service, as its authorization: what a request is in XACML's terms, and what the policy says of it. */
import {
  type AccessAnswer,
  type AccessQuestion,
  type AuthorizationCompilation,
  type AuthorizedService,
  parseAddress,
} from '@ringwall/ring'
import { evaluationOf } from './decision-point.ts'
import { parseXacmlPolicy, type XacmlPolicy } from './policy.ts'
import { type AttributeGroup, CATEGORIES, type RequestAttribute } from './request.ts'
import { booleanValue, doubleValue, integerValue, parseValue, stringValue, type Value } from './values.ts'
import { XacmlInvalid } from './xml.ts'

/** Of a claim's list. */
const VALUES_MAX = 1_000
const CLAIMS_MAX = 200
const RULE_CHARS_MAX = 100
const NONE: readonly string[] = []

/** Total: whatever the text. */
export function compileXacml({ name, authorization }: AuthorizedService): AuthorizationCompilation {
  try {
    const policy = parseXacmlPolicy(authorization.policies)
    const { groups, roles } = authorization
    return { ok: true, authorizer: { decide: (question) => decided(policy, name, question, groups, roles) } }
  } catch (error) {
    if (!(error instanceof XacmlInvalid)) throw error
    const { message, hint, place } = error
    return { ok: false, faults: [{ message: message.slice(0, 400), ...(hint === undefined ? {} : { hint }), ...place }] }
  }
}

function decided(policy: XacmlPolicy, service: string, question: AccessQuestion, groups: string, roles: string): AccessAnswer {
  const { decision, status, obligations, by, applicable } = policy.evaluate(
    evaluationOf(attributesOf(service, question, groups, roles), question.nowMs),
  )
  const named = by.map(printable)
  if (decision === 'Permit' && obligations.length === 0) return { allowed: true, policies: named, failed: NONE }
  if (decision === 'Permit') {
    // Who enforces must fulfil them, or not let through (section 7.2.1).
    const ids = obligations.map(({ id }) => printable(id)).slice(0, 5)
    const reason = `${named[0]} of ${service} permits it with obligations that nothing here fulfils: ${ids.join(', ')}`
    return { allowed: false, policies: named, failed: NONE, reason }
  }
  if (decision === 'Deny') return { allowed: false, policies: named, failed: NONE }
  if (decision === 'NotApplicable') return { allowed: false, policies: NONE, failed: NONE }
  const failed = applicable.slice(0, 5).map(({ id }) => printable(id))
  const reason = `the policies of ${service} cannot say (${decision}): ${printable(status?.message ?? 'no reason given')}`
  return { allowed: false, policies: NONE, failed: failed.length === 0 ? [printable(policy.id)] : failed, reason }
}

/** Ids are anybody’s text. */
function printable(id: string): string {
  return id.slice(0, RULE_CHARS_MAX).replaceAll(/[^\x20-\x7e]/g, '?')
}

const X1 = 'urn:oasis:names:tc:xacml:1.0:'

function attributesOf(service: string, question: AccessQuestion, groups: string, roles: string): readonly AttributeGroup[] {
  const { principal, method, action, route, path, host, remoteAddress } = question
  const resource = `${service}${path}`
  const uri = parseValue('anyURI', resource)
  const source = remoteAddress.replace(/%.*$/, '')
  const address =
    parseAddress(source) === undefined ? undefined : parseValue('ipAddress', source.includes(':') ? `[${source}]` : source)
  const group = (category: string, ...attributes: readonly RequestAttribute[]): AttributeGroup => ({
    category,
    reference: undefined,
    attributes,
    content: undefined,
  })
  return [
    group(CATEGORIES.AccessSubject, ...(principal === undefined ? [] : subjectOf(principal, groups, roles))),
    group(
      CATEGORIES.Resource,
      attribute(`${X1}resource:resource-id`, [stringValue(resource), ...(uri === undefined ? [] : [uri])]),
      attribute('urn:ringwall:resource:service', [stringValue(service)]),
      attribute('urn:ringwall:resource:path', [stringValue(path)]),
      attribute('urn:ringwall:resource:host', [stringValue(host)]),
      attribute('urn:ringwall:resource:route', route === undefined ? [] : [stringValue(route)]),
    ),
    group(
      CATEGORIES.Action,
      attribute(`${X1}action:action-id`, [stringValue(action ?? method)]),
      attribute('urn:ringwall:action:method', [stringValue(method)]),
    ),
    group(
      CATEGORIES.Environment,
      attribute('urn:ringwall:environment:source', [stringValue(source), ...(address === undefined ? [] : [address])]),
    ),
  ]
}

function attribute(id: string, values: readonly Value[]): RequestAttribute {
  return { id, issuer: undefined, isIncluded: false, values }
}

function subjectOf(
  { issuer, subject, claims }: NonNullable<AccessQuestion['principal']>,
  groups: string,
  roles: string,
): readonly RequestAttribute[] {
  const texts = (name: string): readonly Value[] =>
    (Object.hasOwn(claims, name) ? valuesOf(claims[name]) : []).filter(({ type }) => type === 'string')
  return [
    attribute(`${X1}subject:subject-id`, [stringValue(subject ?? '')]),
    attribute('urn:ringwall:subject:issuer', [stringValue(issuer)]),
    attribute('urn:ringwall:subject:group', texts(groups)),
    attribute('urn:oasis:names:tc:xacml:2.0:subject:role', texts(roles)),
    ...Object.entries(claims)
      .slice(0, CLAIMS_MAX)
      .map(([name, value]) => attribute(`urn:ringwall:claim:${name}`, valuesOf(value))),
  ]
}

/** Of a claim: texts, booleans and numbers, or a list of them. */
function valuesOf(claim: unknown): readonly Value[] {
  const all: readonly unknown[] = Array.isArray(claim) ? claim.slice(0, VALUES_MAX) : [claim]
  return all.flatMap((value): readonly Value[] => {
    if (typeof value === 'string') return [stringValue(value)]
    if (typeof value === 'boolean') return [booleanValue(value)]
    if (typeof value !== 'number') return []
    return Number.isSafeInteger(value) ? [integerValue(BigInt(value)), doubleValue(value)] : [doubleValue(value)]
  })
}
