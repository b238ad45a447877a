/**
 * May this principal do that? Answered by the guard that judges requests, on the view that it judges them by: the same checks but for
 * limits, API and WAF, which need the request itself. For the admin API, and as a policy decision point in the terms of AuthZEN
 * (OpenID Authorization API 1.0).
 */
import { type Decision, type GuardRequest, normalizeRoutingPath, type Peer, type TokenVerdict } from '@ringwall/guard'
import { parseAddress, ringIssuer, type View } from '@ringwall/ring'
import { z } from 'zod'
import { ApiProblem } from './admin/problem.ts'
import type { RunningNode } from './running-node.ts'

/** Of a batch. */
const EVALUATIONS_MAX = 500
const METHOD = /^[A-Z]{1,16}$/
/** Documentation addresses (RFC 5737): in no range of anybody’s. */
const NOWHERE = '192.0.2.1'

const Claims = z.record(z.string().max(128), z.unknown())

/** A question of the admin API. */
export const AccessBody = z.strictObject({
  principal: z
    .strictObject({ issuer: z.string().max(512).optional(), subject: z.string().max(512), claims: Claims.optional() })
    .nullable(),
  caller: z
    .string()
    .regex(
      /^(?:(?:service|node)\/[a-z0-9][a-z0-9-]{0,62}|spiffe:\/\/[A-Za-z0-9._/-]{1,500})$/,
      'expected service/NAME, node/NAME or a SPIFFE id',
    )
    .optional(),
  action: z.string().min(1).max(64),
  service: z.string().max(64).optional(),
  host: z.string().max(253).optional(),
  path: z.string().max(8_192),
  source: z.string().max(50).optional(),
})
export type AccessBody = z.output<typeof AccessBody>

export interface AccessVerdict {
  readonly allowed: boolean
  readonly decision: Decision
  readonly service: string | undefined
  readonly route: string | undefined
  readonly principal: string
  readonly method: string
  readonly action: string
  readonly path: string
}

/** @throws {ApiProblem} 422, when the question cannot be understood. */
export function judgeAccess(node: RunningNode, question: AccessBody): AccessVerdict {
  const view = node.view()
  const host = hostOf(view, question)
  const normal = question.path.startsWith('/') ? normalizeRoutingPath(question.path) : undefined
  if (normal === undefined) throw unclear(`${question.path.slice(0, 100)} is no path; it begins with /`)
  const method = methodOf(view, question.action, host, normal.path)
  const verdict = verdictOf(view, question.principal)
  const source = question.source ?? NOWHERE
  if (parseAddress(source) === undefined) throw unclear(`${source} is no IP address`)
  const request: GuardRequest = {
    method,
    target: question.path,
    httpVersion: '1.1',
    headers: [],
    remoteAddress: source,
    host,
    path: normal.path,
    ...(question.caller === undefined ? {} : { peer: peerNamed(view, question.caller) }),
  }
  const decision = node.access(request, verdict)
  const route = view.route(host, normal.path, method)
  return {
    allowed: decision.outcome === 'allow',
    decision,
    service: route?.service.name,
    route: route?.route?.name,
    principal:
      verdict === undefined
        ? (request.peer?.subject ?? 'anonymous')
        : verdict.ok
          ? `${verdict.issuer}#${verdict.subject}`
          : 'a token that is not believed',
    method,
    action: route?.route?.action ?? method,
    path: normal.path,
  }
}

/** As if it showed a certificate of the ring that was made now. */
function peerNamed({ ring }: View, caller: string): Peer {
  const subject = caller.startsWith('spiffe://') ? caller : `spiffe://${ring}/${caller}`
  if (!subject.startsWith(`spiffe://${ring}/`)) throw unclear(`${caller.slice(0, 200)} is not of this ring: spiffe://${ring}/…`)
  return { issuer: ringIssuer(ring), subject, issuedAtMs: Date.now(), expiresAtMs: Number.POSITIVE_INFINITY, hash: '' }
}

function unclear(message: string): ApiProblem {
  return new ApiProblem(422, 'QUESTION_UNCLEAR', message)
}

function hostOf(view: View, { service, host }: AccessBody): string {
  if (service === undefined) {
    if (host === undefined) throw unclear('name the service, or a host')
    return host.toLowerCase()
  }
  const known = Object.hasOwn(view.policy.services, service) ? view.policy.services[service] : undefined
  if (known === undefined) {
    const names = Object.keys(view.policy.services).slice(0, 20).join(', ')
    throw unclear(`the policy has no service ${service}; it has ${names || 'none'}`)
  }
  if (view.elsewhere?.has(service) === true)
    throw unclear(`this node does not serve ${service}, whose nodes are ${known.nodes ?? 'others'}; ask one of them with --node`)
  const wanted =
    host?.toLowerCase() ?? (known.hosts[0] as string).toLowerCase().replace(/^\*\./, 'any.').replace(/^\*$/, 'localhost')
  const answering = view.route(wanted, '/', 'GET')
  if (answering !== undefined && answering.service.name !== service)
    throw unclear(`${wanted} belongs to the service ${answering.service.name}; name a host of ${service}`)
  return wanted
}

/** An action that a route names is asked for by a method of that route. */
function methodOf(view: View, action: string, host: string, path: string): string {
  if (METHOD.test(action)) return action
  const service = view.route(host, path, 'GET')?.service
  for (const route of service?.routes ?? []) {
    if (route.action !== action) continue
    for (const method of route.methods.length === 0 ? ['POST'] : route.methods)
      if (view.route(host, path, method)?.route?.action === action) return method
  }
  throw unclear(`no route at ${path.slice(0, 100)} is for the action ${action}; name a method in capitals, or another path`)
}

/** As if a token said so that was issued now and verified. */
function verdictOf(view: View, principal: AccessBody['principal']): TokenVerdict | undefined {
  if (principal === null) return undefined
  const { subject, claims = {} } = principal
  const { issuers } = view.policy
  const [only, ...others] = issuers
  const issuer = principal.issuer ?? (others.length === 0 ? only?.issuer : undefined)
  if (issuer === undefined) {
    const known = issuers.map((one) => one.issuer).join(', ')
    throw unclear(known === '' ? 'the policy believes no issuer’s tokens: nobody is known' : `name the issuer: one of ${known}`)
  }
  if (!issuers.some((one) => one.issuer === issuer))
    return { ok: false, code: 'TOKEN_ISSUER_UNKNOWN', reason: 'the policy trusts no such issuer' }
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
  return {
    ok: true,
    issuer,
    subject,
    tokenId: text(claims.jti),
    sessionId: text(claims.sid),
    deviceId: text(claims.device_id),
    issuedAtMs: typeof claims.iat === 'number' ? claims.iat * 1_000 : Date.now(),
    claims: { ...claims, iss: issuer, sub: subject },
  }
}

// AuthZEN.

const Properties = z.record(z.string().max(128), z.unknown()).optional()
const Subject = z.object({ type: z.string().max(64), id: z.string().max(1_024), properties: Properties })
const Action = z.object({ name: z.string().min(1).max(64), properties: Properties })
const Resource = z.object({ type: z.string().max(64), id: z.string().max(8_192), properties: Properties })

export const EvaluationBody = z.object({ subject: Subject, action: Action, resource: Resource, context: Properties })

const SEMANTICS = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const

export const EvaluationsBody = z.object({
  subject: Subject.optional(),
  action: Action.optional(),
  resource: Resource.optional(),
  context: Properties,
  evaluations: z
    .array(
      z.object({ subject: Subject.optional(), action: Action.optional(), resource: Resource.optional(), context: Properties }),
    )
    .max(EVALUATIONS_MAX)
    .optional(),
  options: z.object({ evaluations_semantic: z.enum(SEMANTICS).optional() }).optional(),
})

interface Evaluation {
  readonly decision: boolean
  readonly context: Readonly<Record<string, unknown>>
}

/**
 * `service` with its name or SPIFFE id, `user` with the token’s subject as id (`ISSUER#SUBJECT` where there are several issuers) and its claims as properties, or `anonymous`.
 * Resources are `path` with `SERVICE/PATH` as id, or `service`. `context.source` is the client’s address.
 *
 * @throws {ApiProblem}
 */
export function evaluate(node: RunningNode, { subject, action, resource, context }: z.output<typeof EvaluationBody>): Evaluation {
  const source = context?.source
  const isService = subject.type === 'service' || subject.type === 'workload'
  const verdict = judgeAccess(node, {
    principal: isService ? null : principalOf(subject),
    ...(isService ? { caller: callerOf(subject.id) } : {}),
    action: action.name,
    ...resourceOf(resource),
    ...(typeof source === 'string' ? { source } : {}),
  })
  const { check, rule, reason, height } = verdict.decision
  return {
    decision: verdict.allowed,
    context: { check, rule: rule ?? null, reason, height, node: node.config.id, policyVersion: node.view().policyVersion },
  }
}

export function evaluateAll(
  node: RunningNode,
  body: z.output<typeof EvaluationsBody>,
): { readonly evaluations: readonly Evaluation[] } | Evaluation {
  const { evaluations, options, ...defaults } = body
  // Without a list it is one evaluation (section 7.1.1).
  if (evaluations === undefined || evaluations.length === 0) return evaluate(node, whole(defaults))
  const semantic = options?.evaluations_semantic ?? 'execute_all'
  const answers: Evaluation[] = []
  for (const one of evaluations) {
    const answer = evaluateOne(node, { ...defaults, ...one })
    answers.push(answer)
    if (semantic === 'deny_on_first_deny' && !answer.decision) break
    if (semantic === 'permit_on_first_permit' && answer.decision) break
  }
  return { evaluations: answers }
}

type Whole = z.output<typeof EvaluationBody>
type Partly = { readonly [K in keyof Whole]?: Whole[K] | undefined }

/** What is wrong with one is no fault of the others: it is not permitted, and says why. */
function evaluateOne(node: RunningNode, one: Partly): Evaluation {
  try {
    return evaluate(node, whole(one))
  } catch (error) {
    if (!(error instanceof ApiProblem)) throw error
    return { decision: false, context: { error: { status: error.problem.status, message: error.message } } }
  }
}

function whole({ subject, action, resource, context }: Partly): Whole {
  if (subject === undefined || action === undefined || resource === undefined)
    throw new ApiProblem(400, 'BAD_BODY', 'subject, action and resource are needed, of each evaluation or of all')
  return { subject, action, resource, context }
}

/** @throws {ApiProblem} */
function callerOf(id: string): string {
  const parsed = AccessBody.shape.caller.safeParse(/^[a-z0-9][a-z0-9-]{0,62}$/.test(id) ? `service/${id}` : id)
  if (!parsed.success || parsed.data === undefined)
    throw unclear(`${id.slice(0, 100)} is no service: expected NAME, service/NAME, node/NAME or a SPIFFE id`)
  return parsed.data
}

function principalOf({ type, id, properties = {} }: z.output<typeof Subject>): AccessBody['principal'] {
  if (type === 'anonymous') return null
  if (type !== 'user') throw unclear(`a subject of type ${type} is not known here; use user, service or anonymous`)
  const hash = id.indexOf('#')
  return hash < 0
    ? { subject: id, claims: properties }
    : { issuer: id.slice(0, hash), subject: id.slice(hash + 1), claims: properties }
}

function resourceOf({ type, id }: z.output<typeof Resource>): { readonly service: string; readonly path: string } {
  if (type === 'service') return { service: id, path: '/' }
  if (type !== 'path') throw unclear(`a resource of type ${type} is not known here; use path or service`)
  const slash = id.indexOf('/')
  return slash < 0 ? { service: id, path: '/' } : { service: id.slice(0, slash), path: id.slice(slash) }
}
