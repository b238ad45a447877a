/**
 * People who are logged in, as far as it is judgement: which requests are for the pages of ours, whose session a request shows, and whether the
 * route lets them in. What a session is made of is not known here: it is a token that the verifier knows.
 */
import { type CompiledRoute, ringIssuer, type ServicePolicy, type View } from '@ringwall/ring'
import { cookieValues } from './limits.ts'
import type { GuardEnvironment, GuardRequest, TokenVerdict } from './types.ts'

export const LOGIN_PATH = '/.ringwall/login'
export const LOGOUT_PATH = '/.ringwall/logout'
export const ENROL_PATH = '/.ringwall/enrol'
/** Of the OpenID Provider, on the service that the policy names. */
export const OPENID_PATHS = {
  discovery: '/.well-known/openid-configuration',
  authorize: '/.ringwall/oidc/authorize',
  token: '/.ringwall/oidc/token',
  userinfo: '/.ringwall/oidc/userinfo',
  introspect: '/.ringwall/oidc/introspect',
  revoke: '/.ringwall/oidc/revoke',
  end: '/.ringwall/oidc/end',
  jwks: '/.ringwall/oidc/jwks',
} as const
/** Of the transmitter of security events (OpenID Shared Signals Framework 1.0). */
export const SIGNAL_PATHS = {
  configuration: '/.well-known/ssf-configuration',
  stream: '/.ringwall/signals/stream',
  status: '/.ringwall/signals/status',
  addSubject: '/.ringwall/signals/subjects/add',
  removeSubject: '/.ringwall/signals/subjects/remove',
  verify: '/.ringwall/signals/verify',
  poll: '/.ringwall/signals/poll',
} as const
/** Where people go to an outside provider, and where they come back to. */
export const OUTSIDE_PATHS = {
  begin: '/.ringwall/outside',
  callback: '/.ringwall/outside/callback',
  /** Where providers push security events (RFC 8935). */
  signals: '/.ringwall/outside/signals',
} as const
/** As a service provider of SAML: where identity providers have browsers post to, and what is published for them. */
export const SAML_PATHS = {
  acs: '/.ringwall/saml/acs',
  metadata: '/.ringwall/saml/metadata',
} as const
/** As an identity provider of SAML, on the service that the policy names: where parties send browsers, and what is published for them. */
export const SAML_IDP_PATHS = {
  signOn: '/.ringwall/saml/sso',
  metadata: '/.ringwall/saml/idp',
} as const
const SAML_IDP_ALL: ReadonlySet<string> = new Set(Object.values(SAML_IDP_PATHS))
/** Longest body of what a SAML identity provider has a browser post. */
export const SAML_BODY_BYTES_MAX = 98_304
const OPENID_ALL: ReadonlySet<string> = new Set([...Object.values(OPENID_PATHS), ...Object.values(SIGNAL_PATHS)])
const PORTAL_PATHS: ReadonlySet<string> = new Set([
  LOGIN_PATH,
  LOGOUT_PATH,
  ENROL_PATH,
  ...Object.values(OUTSIDE_PATHS),
  ...Object.values(SAML_PATHS),
])
/** Longest body of a form of ours. */
export const PORTAL_BODY_BYTES_MAX = 16_384
const SESSION_CHARS_MAX = 4_096

/** A browser takes the first over TLS alone, and from this very host. */
const COOKIES = { secure: '__Host-ringwall_session', plain: 'ringwall_session' } as const

export function sessionCookie(secure: boolean): string {
  return secure ? COOKIES.secure : COOKIES.plain
}

export const SESSION_COOKIES: readonly string[] = Object.values(COOKIES)

/** Is the request for a page of ours? */
export function isPortal({ service }: CompiledRoute, { target }: GuardRequest, { policy }: Pick<View, 'policy'>): boolean {
  if (service.people === undefined || !target.startsWith('/.')) return false
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  return (
    PORTAL_PATHS.has(path) ||
    (policy.openid?.service === service.name && OPENID_ALL.has(path)) ||
    (policy.saml?.service === service.name && SAML_IDP_ALL.has(path))
  )
}

/** The longest body of a page of ours. */
export function portalBodyBytesMax({ target }: Pick<GuardRequest, 'target'>): number {
  return target === SAML_PATHS.acs ? SAML_BODY_BYTES_MAX : PORTAL_BODY_BYTES_MAX
}

/** Of those, the page where people log in. */
export function isLogin({ target }: GuardRequest): boolean {
  return target === LOGIN_PATH || target.startsWith(`${LOGIN_PATH}?`)
}

/** What the client says is its session; one cookie counts, the first. */
export function shownSession(request: Pick<GuardRequest, 'headers' | 'secure'>): string | undefined {
  const fields: string[] = []
  for (const [name, value] of request.headers) if (name.length === 6 && name.toLowerCase() === 'cookie') fields.push(value)
  if (fields.length === 0) return undefined
  const [shown] = cookieValues(fields, sessionCookie(request.secure === true))
  return shown === undefined || shown.length > SESSION_CHARS_MAX ? undefined : shown
}

type Credential = Extract<TokenVerdict, { readonly ok: true }>

/** A token that says that somebody is logged in to this service: no other of the ring's tokens does. */
export function isSession(
  verdict: TokenVerdict | undefined,
  service: string,
  { ring }: Pick<View, 'ring'>,
): verdict is Credential {
  return (
    verdict?.ok === true &&
    verdict.issuer === ringIssuer(ring) &&
    verdict.audience === service &&
    verdict.claims.use === 'session' &&
    verdict.subject?.startsWith('person:') === true
  )
}

/** The session that the request shows, if it is one. The ring's own tokens are verified at once. */
export function sessionOf(
  request: Pick<GuardRequest, 'headers' | 'secure'>,
  { name, people }: Pick<ServicePolicy, 'people'> & { readonly name: string },
  { tokens, nowMs, view }: Pick<GuardEnvironment, 'tokens' | 'nowMs' | 'view'>,
): { readonly verdict: Credential; readonly token: string; readonly isHalfOver: boolean } | undefined {
  const token = people === undefined ? undefined : shownSession(request)
  if (token === undefined) return undefined
  const verdict = tokens.verify(token, nowMs)
  if (verdict instanceof Promise || !isSession(verdict, name, view)) return undefined
  const { exp, iat, session_end: end } = verdict.claims
  const [from, to, last] = [Number(iat) * 1_000, Number(exp) * 1_000, Number(end) * 1_000]
  // Without leave for clocks: a session is over when it says so.
  if (!(nowMs < to)) return undefined
  return { verdict, token, isHalfOver: to < last && nowMs > from + (to - from) / 2 }
}

/** Why the route does not let them in; undefined: it does. */
export function personRefusal(
  { service, route }: CompiledRoute,
  verdict: TokenVerdict | undefined,
  view: Pick<View, 'ring'>,
): { readonly status: 401 | 403; readonly reason: string; readonly rule: string } | undefined {
  const { people } = service
  if (people === undefined) return undefined
  const when = route?.people ?? people.login
  if (!isSession(verdict, service.name, view)) {
    if (when === 'optional') return undefined
    return { status: 401, reason: 'nobody is logged in', rule: 'people:login' }
  }
  const { groups, amr } = verdict.claims
  const held: readonly unknown[] = Array.isArray(groups) ? groups : []
  if (people.groups.length > 0 && !people.groups.some((group) => held.includes(group)) && when === 'required')
    return { status: 403, reason: 'they are in none of the groups that are let in', rule: 'people:groups' }
  // What the policy took away ends sessions that were made by it.
  if (verdict.claims.idp !== undefined) {
    if (people.providers.some((name) => name === verdict.claims.idp)) return undefined
    return { status: 401, reason: 'that provider is not taken any more', rule: 'people:login' }
  }
  const by = Array.isArray(amr) && amr.includes('pwd') ? 'password' : 'passkey'
  if (!people.methods.includes(by)) return { status: 401, reason: `${by}s are not taken any more`, rule: 'people:login' }
  return undefined
}
