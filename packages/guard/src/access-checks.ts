/** Who it is, whether that is denied, and whether they may: certificates, tokens, people, callers, policies of authorization. */

import {
  type AccessAnswer,
  type AccessQuestion,
  type CompiledRoute,
  callerRefusal,
  type DenialSubject,
  mayAttest,
  ringIssuer,
} from '@ringwall/ring'
import type { Objection, RequestJudgement, TokenCredential } from './judgement.ts'
import { personRefusal } from './people.ts'
import { readingsOf } from './routing-path.ts'
import { denial } from './source-checks.ts'
import type { GuardEnvironment, Peer, TokenVerdict } from './types.ts'

/** A token that was believed when it came, by the policy in force now. */
export function believed(credential: TokenCredential | undefined, { view }: GuardEnvironment): TokenVerdict | undefined {
  if (credential === undefined || credential.issuer === ringIssuer(view.ring)) return credential
  if (view.policy.issuers.some(({ issuer }) => issuer === credential.issuer)) return credential
  return { ok: false, code: 'TOKEN_ISSUER_UNKNOWN', reason: 'the policy trusts no such issuer any more' }
}

/** Who it is, whether that is denied, and whether they may. */
export function accessObjection(
  judgement: RequestJudgement,
  environment: GuardEnvironment,
  verdict: TokenVerdict | undefined,
): Objection | undefined {
  const { service, route, authorizer } = judgement.route!
  const identity = route?.identity ?? service.identity
  const { nowMs } = environment
  const shown = judgement.request.peer
  const peer = shown !== undefined && isStanding(shown, environment) ? shown : undefined
  if (peer !== undefined) {
    judgement.peer = peer
    judgement.check = 'denial'
    const denied = peerDenial(peer, environment)
    if (denied !== undefined) return denied
  }
  if (verdict?.ok === true) {
    judgement.credential = verdict
    judgement.check = 'denial'
    const isSession = judgement.session !== undefined
    const denied = denial(
      environment,
      (index) => index.matchCredential(verdict, nowMs),
      ({ subject }) => (isSession && !ENDS_SESSIONS.has(subject.kind) ? 403 : 401),
    )
    if (denied !== undefined) {
      judgement.loginWanted = isSession && denied.status === 401
      return denied
    }
  }
  if (verdict?.ok === true && verdict.claims.use === 'session' && judgement.session === undefined && !judgement.isReview)
    return { outcome: 'deny', status: 401, reason: 'a session is shown as a token', rule: 'people:login' }
  judgement.check = 'login'
  const outside = personRefusal(judgement.route!, verdict, environment.view)
  if (outside !== undefined) {
    judgement.loginWanted = outside.status === 401
    return { outcome: 'deny', ...outside }
  }
  judgement.check = 'identity'
  const objection = identity === undefined ? undefined : identityObjection(identity, verdict, service.name)
  if (objection !== undefined) return objection
  judgement.check = 'authorization'
  // Where an issuer’s tokens are not taken, they say nothing about who it is.
  const taken =
    verdict?.ok === true &&
    (verdict.audience === undefined || verdict.audience === service.name) &&
    (identity === undefined || isTaken(identity, verdict))
  const token = taken ? verdict : undefined
  const refused = callerObjection(judgement, environment, token, peer)
  if (refused !== undefined || authorizer === undefined) return refused
  // Who shows a token acts by it; a service that shows none acts for itself.
  const principal = token ?? (peer === undefined ? undefined : { ...peer, ok: true as const, claims: NO_CLAIMS })
  const { request } = judgement
  const question = {
    principal,
    method: request.method,
    action: route?.action,
    route: route?.name,
    host: request.host,
    remoteAddress: request.remoteAddress,
    nowMs,
  }
  const own = authorizationObjection(judgement.route!, authorizer.decide({ ...question, path: request.path }), principal)
  if (own !== undefined) return own
  // What the server behind may read must be allowed as well, or a spelling would be a way round.
  for (const path of readingsOf(request.target)) {
    if (path === request.path) continue
    const other = authorizationObjection(judgement.route!, authorizer.decide({ ...question, path }), principal)
    if (other !== undefined) return { ...other, reason: `the path reads otherwise, too: ${other.reason}` }
  }
  return undefined
}

/**
 * A revoked token is no token any more: 401, so that its client gets another (RFC 6750 section 3.1). Whoever is logged in by a session that is over
 * may log in again; a person who is denied otherwise may not.
 */
const ENDS_SESSIONS: ReadonlySet<DenialSubject['kind']> = new Set(['token', 'session', 'issued-before'])

/** Is a certificate that verified when it was shown still good? */
function isStanding({ subject, attestedBy, expiresAtMs }: Peer, { view, nowMs }: GuardEnvironment): boolean {
  if (nowMs >= expiresAtMs) return false
  if (attestedBy === undefined) return true
  const service = subject.slice(subject.lastIndexOf('/') + 1)
  return view.nodes.some(({ id }) => id === attestedBy) && mayAttest(view.policy, attestedBy, service)
}

/** Of the certificate, or of the node that vouched for it. */
function peerDenial(peer: Peer, environment: GuardEnvironment): Objection | undefined {
  const { view, nowMs } = environment
  const own = denial(environment, (index) => index.matchCredential(peer, nowMs))
  if (own !== undefined || peer.attestedBy === undefined) return own
  const { issuer, attestedBy, issuedAtMs } = peer
  const node = { issuer, subject: `spiffe://${view.ring}/node/${attestedBy}`, issuedAtMs }
  return denial(environment, (index) => index.matchCredential(node, nowMs))
}

/** Which services may call this one. */
function callerObjection(
  judgement: RequestJudgement,
  { view }: GuardEnvironment,
  token: TokenCredential | undefined,
  peer: Peer | undefined,
): Objection | undefined {
  const { service, route } = judgement.route!
  const isOfRing =
    token !== undefined && token.issuer === ringIssuer(view.ring) && token.subject?.startsWith('spiffe://') === true
  const id = peer?.subject ?? (isOfRing ? token.subject : undefined)
  const refusal = callerRefusal(view.policy, view.ring, service, route, {
    id,
    isKnown: token !== undefined || peer !== undefined,
  })
  if (refusal === undefined) return undefined
  const { reason, rule, isShadow } = refusal
  if (!isShadow) return { outcome: 'deny', status: id === undefined && token === undefined ? 401 : 403, reason, rule }
  judgement.shadowed ??= 'deny'
  judgement.shadowReason ??= `nothing objected; ${reason}, which only watches`
  return undefined
}

const NO_CLAIMS: Readonly<Record<string, unknown>> = Object.freeze({})

function authorizationObjection(
  { service }: CompiledRoute,
  { allowed, policies, failed, reason: own }: AccessAnswer,
  principal: AccessQuestion['principal'],
): Objection | undefined {
  if (allowed) return undefined
  const broken = failed.length === 0 ? '' : `; could not be evaluated: ${failed.slice(0, 5).join(', ')}`
  const [first, ...more] = policies
  const others = more.length === 0 ? '' : ` (and ${more.slice(0, 5).join(', ')})`
  const said =
    first === undefined
      ? `no policy of ${service.name} permits it${broken}`
      : `the policy ${first}${others} of ${service.name} forbids it${broken}`
  const reason = own ?? said
  // Who is not known may become so.
  return { outcome: 'deny', status: principal === undefined ? 401 : 403, reason, rule: `authorization:${first ?? 'default'}` }
}

type IdentityPolicy = NonNullable<CompiledRoute['service']['identity']>

/** The ring’s own tokens, which alone are bound to a service, go by the name `ring`. */
function isTaken({ issuers }: IdentityPolicy, { issuer, audience }: Extract<TokenVerdict, { ok: true }>): boolean {
  return issuers.length === 0 || issuers.includes(issuer) || (audience !== undefined && issuers.includes('ring'))
}

function identityObjection(identity: IdentityPolicy, verdict: TokenVerdict | undefined, service: string): Objection | undefined {
  if (verdict === undefined) {
    return identity.required ? { outcome: 'deny', status: 401, reason: 'a token is required' } : undefined
  }
  if (!verdict.ok) {
    return identity.required ? { outcome: 'deny', status: 401, reason: `the token is not valid: ${verdict.reason}` } : undefined
  }
  if (verdict.audience !== undefined && verdict.audience !== service) {
    return identity.required ? { outcome: 'deny', status: 401, reason: 'the token is for another audience' } : undefined
  }
  if (!isTaken(identity, verdict)) {
    return identity.required
      ? { outcome: 'deny', status: 401, reason: `tokens of ${verdict.issuer} are not taken here` }
      : undefined
  }
  for (const [claim, wanted] of Object.entries(identity.claims)) {
    const held = Object.hasOwn(verdict.claims, claim) ? verdict.claims[claim] : undefined
    if (held === wanted || (Array.isArray(held) && held.includes(wanted))) continue
    return { outcome: 'deny', status: 403, reason: `the token’s claim ${claim} is not what this route asks for` }
  }
  return undefined
}
