/** The policy decision point of XACML 3.0: a policy, a request, and what comes of it, in XML (section 5.47 on) and in the JSON profile (section 6). */

import type { Decision } from './combining.ts'
import { createEvaluation, type Designation, type Evaluation, NAMESPACE } from './expressions.ts'
import { Indeterminate, type StatusCode } from './functions.ts'
import type { Assignment, Duty, Outcome, PolicyName, XacmlPolicy } from './policy.ts'
import { type AttributeGroup, CATEGORIES, parseRequest, type XacmlRequest } from './request.ts'
import { dateTimeValue, TYPE_IDS, type Value } from './values.ts'
import { escapeXml, XacmlInvalid } from './xml.ts'
import type { PathNode } from './xpath.ts'

const DAY_MS = 86_400_000
const STATUS = 'urn:oasis:names:tc:xacml:1.0:status:'

export type PlainDecision = 'Permit' | 'Deny' | 'NotApplicable' | 'Indeterminate'

export interface XacmlResult {
  readonly decision: PlainDecision
  /** Of Indeterminate, what it could have been. */
  readonly extended: Decision
  readonly status: { readonly code: StatusCode | 'ok'; readonly message: string | undefined }
  readonly obligations: readonly Duty[]
  readonly advice: readonly Duty[]
  /** What the request wants back. */
  readonly attributes: readonly AttributeGroup[]
  /** Undefined: it does not want to know. */
  readonly policies: readonly PolicyName[] | undefined
  readonly by: readonly string[]
}

/** The values of one question, with the time where it does not say (section 10.2.5). */
export function evaluationOf(groups: readonly AttributeGroup[], nowMs: number): Evaluation {
  const known = new Map<string, { readonly value: Value; readonly issuer: string | undefined }[]>()
  for (const { category, attributes } of groups)
    for (const { id, issuer, values } of attributes)
      for (const value of values) {
        const key = `${value.type}\n${category}\n${id}`
        const list = known.get(key)
        if (list === undefined) known.set(key, [{ value, issuer }])
        else list.push({ value, issuer })
      }
  const contentOf = (category: string): PathNode | undefined => {
    const all = groups.flatMap((one) => (one.category === category && one.content !== undefined ? [one.content] : []))
    if (all.length > 1) throw new Indeterminate('processing-error', `several Contents of ${category}`)
    return all[0]
  }
  return createEvaluation(({ category, id, type, issuer }: Designation) => {
    const found = known.get(`${type}\n${category}\n${id}`)
    if (found === undefined) return category === CATEGORIES.Environment && issuer === undefined ? timeNamed(id, type, nowMs) : []
    return found.flatMap((one) => (issuer === undefined || one.issuer === issuer ? [one.value] : []))
  }, contentOf)
}

function timeNamed(id: string, type: Value['type'], nowMs: number): readonly Value[] {
  const wanted = { time: 'current-time', date: 'current-date', dateTime: 'current-dateTime' } as const
  if (!Object.hasOwn(wanted, type) || id !== `urn:oasis:names:tc:xacml:1.0:environment:${wanted[type as keyof typeof wanted]}`)
    return []
  const at = type === 'time' ? nowMs % DAY_MS : type === 'date' ? nowMs - (nowMs % DAY_MS) : nowMs
  return [dateTimeValue(type as keyof typeof wanted, at, 0)]
}

/** One result for each question, or one for all. Total. */
export function decide(policy: XacmlPolicy, request: XacmlRequest, nowMs: number): readonly XacmlResult[] {
  const results = request.questions.map((groups) => {
    const outcome = policy.evaluate(evaluationOf(groups, nowMs))
    return resultOf(outcome, groups, request.returnsPolicyIds)
  })
  return request.isCombined ? [joined(results)] : results
}

function resultOf(outcome: Outcome, groups: readonly AttributeGroup[], returnsPolicyIds: boolean): XacmlResult {
  const { decision, status, obligations, advice, applicable, by } = outcome
  const plain = decision.startsWith('Indeterminate') ? 'Indeterminate' : (decision as PlainDecision)
  const attributes = groups.flatMap((group) => {
    const included = group.attributes.filter(({ isIncluded }) => isIncluded)
    return included.length === 0 ? [] : [{ ...group, attributes: included }]
  })
  return {
    decision: plain,
    extended: decision,
    status: status ?? { code: plain === 'Indeterminate' ? 'processing-error' : 'ok', message: undefined },
    obligations,
    advice,
    attributes,
    policies: returnsPolicyIds ? applicable : undefined,
    by,
  }
}

/** Multiple decision profile, section 3: one decision where all agree and none has duties. */
function joined(results: readonly XacmlResult[]): XacmlResult {
  const [first] = results as [XacmlResult]
  const agree = results.every(
    ({ decision, obligations, advice }) => decision === first.decision && obligations.length + advice.length === 0,
  )
  const base = { obligations: [], advice: [], attributes: [], policies: undefined, by: [] }
  if (agree) return { ...base, decision: first.decision, extended: first.extended, status: first.status }
  const message = 'the decisions differ, or have obligations or advice'
  return { ...base, decision: 'Indeterminate', extended: 'Indeterminate{DP}', status: { code: 'processing-error', message } }
}

/** @param text A Request, in XML or JSON: the Response comes in the same. Whatever the text, a Response. */
export function respond(policy: XacmlPolicy, text: string, nowMs: number): string {
  const isJson = /^[\ufeff \t\r\n]*\{/.test(text)
  let results: readonly XacmlResult[]
  try {
    results = decide(policy, parseRequest(text), nowMs)
  } catch (error) {
    if (!(error instanceof XacmlInvalid)) throw error
    const where = isJson ? '' : `${error.place.line}:${error.place.column}: `
    const status = { code: 'syntax-error', message: `${where}${error.message}` } as const
    const none = { obligations: [], advice: [], attributes: [], policies: undefined, by: [] }
    results = [{ ...none, decision: 'Indeterminate', extended: 'Indeterminate{DP}', status }]
  }
  return isJson ? jsonResponse(results) : xmlResponse(results)
}

export function xmlResponse(results: readonly XacmlResult[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Response xmlns="${NAMESPACE}">${results.map(xmlResult).join('')}</Response>\n`
}

const attribute = (name: string, value: string | undefined): string =>
  value === undefined ? '' : ` ${name}="${escapeXml(value)}"`

function xmlResult({ decision, status, obligations, advice, attributes, policies }: XacmlResult): string {
  const message = status.message === undefined ? '' : `<StatusMessage>${escapeXml(status.message)}</StatusMessage>`
  const assignment = ({ id, category, issuer, value }: Assignment): string =>
    `<AttributeAssignment${attribute('AttributeId', id)}${attribute('Category', category)}${attribute('Issuer', issuer)} DataType="${TYPE_IDS[value.type]}">${escapeXml(value.text)}</AttributeAssignment>`
  const duties = (list: string, each: string, all: readonly Duty[]): string => {
    const name = each === 'Obligation' ? 'ObligationId' : 'AdviceId'
    const one = ({ id, assignments }: Duty): string =>
      `<${each}${attribute(name, id)}>${assignments.map(assignment).join('')}</${each}>`
    return all.length === 0 ? '' : `<${list}>${all.map(one).join('')}</${list}>`
  }
  const groups = attributes.map(
    ({ category, reference, attributes: all }) =>
      `<Attributes${attribute('Category', category)}${attribute('xml:id', reference)}>${all
        .map(
          ({ id, issuer, values }) =>
            `<Attribute IncludeInResult="true"${attribute('AttributeId', id)}${attribute('Issuer', issuer)}>${values
              .map((value) => `<AttributeValue DataType="${TYPE_IDS[value.type]}">${escapeXml(value.text)}</AttributeValue>`)
              .join('')}</Attribute>`,
        )
        .join('')}</Attributes>`,
  )
  const list =
    policies === undefined
      ? ''
      : `<PolicyIdentifierList>${policies.map(({ kind, id, version }) => `<${kind}IdReference${attribute('Version', version)}>${escapeXml(id)}</${kind}IdReference>`).join('')}</PolicyIdentifierList>`
  return `<Result><Decision>${decision}</Decision><Status><StatusCode Value="${STATUS}${status.code}"/>${message}</Status>${duties('Obligations', 'Obligation', obligations)}${duties('AssociatedAdvice', 'Advice', advice)}${groups.join('')}${list}</Result>`
}

export function jsonResponse(results: readonly XacmlResult[]): string {
  return `${JSON.stringify({ Response: results.map(jsonResult) })}\n`
}

/** Numbers and booleans as JSON has them, where that says the same (section 3.3.1). */
function jsonValueOf({ type, v, text }: Value): string | number | boolean {
  if (type === 'boolean' && typeof v === 'boolean') return v
  if (type === 'integer' && Number.isSafeInteger(Number(v))) return Number(v)
  return type === 'double' && Number.isFinite(v) ? (v as number) : text
}

function jsonResult({ decision, status, obligations, advice, attributes, policies }: XacmlResult): object {
  const duty = ({ id, assignments }: Duty): object => ({
    Id: id,
    AttributeAssignment: assignments.map(({ id: name, category, issuer, value }) => ({
      AttributeId: name,
      Value: jsonValueOf(value),
      DataType: TYPE_IDS[value.type],
      ...(category === undefined ? {} : { Category: category }),
      ...(issuer === undefined ? {} : { Issuer: issuer }),
    })),
  })
  const groups = attributes.map(({ category, reference, attributes: all }) => ({
    CategoryId: category,
    ...(reference === undefined ? {} : { Id: reference }),
    Attribute: all.map(({ id, issuer, values }) => ({
      AttributeId: id,
      Value: values.length === 1 ? jsonValueOf(values[0] as Value) : values.map(jsonValueOf),
      ...(values[0] === undefined ? {} : { DataType: TYPE_IDS[values[0].type] }),
      ...(issuer === undefined ? {} : { Issuer: issuer }),
      IncludeInResult: true,
    })),
  }))
  const named = (kind: PolicyName['kind']): object[] =>
    (policies ?? []).filter((one) => one.kind === kind).map(({ id, version }) => ({ Id: id, Version: version }))
  return {
    Decision: decision,
    Status: {
      StatusCode: { Value: `${STATUS}${status.code}` },
      ...(status.message === undefined ? {} : { StatusMessage: status.message }),
    },
    ...(obligations.length === 0 ? {} : { Obligations: obligations.map(duty) }),
    ...(advice.length === 0 ? {} : { AssociatedAdvice: advice.map(duty) }),
    ...(groups.length === 0 ? {} : { Category: groups }),
    ...(policies === undefined
      ? {}
      : { PolicyIdentifierList: { PolicyIdReference: named('Policy'), PolicySetIdReference: named('PolicySet') } }),
  }
}
