/**
 * What an OpenID Provider has the ring's key sign: codes, and what they are redeemed for (OpenID Connect Core 1.0, RFC 6749, RFC 7636). Each
 * holder of a share checks it by its own view.
 *
 * There is no database. A code and a refresh token are tokens of the ring that serve once: redeeming one is a transaction (`token.use`), and
 * what is given for it follows from the token and from that transaction, so that one redemption comes to one set of tokens, whoever asks for them
 * and however often. A second redemption ends the grant, on all nodes.
 */
import { hash } from 'node:crypto'
import { OPENID_PATHS } from '@ringwall/guard'
import { type OpenIdClient, type People, ringIssuer, type View } from '@ringwall/ring'
import { canonicalJson, subjectId } from '@ringwall/ring/tx'
import { proofKey } from '../dpop.ts'
import type { MintRefusal } from '../mint-check.ts'
import { holderNow, type OutsideClaims, outsideClaims } from './outside/outside.ts'
import type { CodeRequest, TokensRequest } from './person-request.ts'

export const CODE_S = 60
export const ACCESS_S = 300
/** Of each: rotated within it, or the grant lapses. As long as a key that was replaced still verifies. */
export const REFRESH_S = 3_600
export const SCOPES = ['openid', 'profile', 'groups', 'offline_access'] as const
/** How old a request for a code may be, and how far ahead its node's clock. */
const ASKED_MS_MAX = 60_000
const SKEW_MS = 5_000

export type OpenIdView = Pick<View, 'ring' | 'denials'> & {
  readonly policy: Pick<View['policy'], 'services' | 'openid' | 'providers'>
  readonly people: People
}

/** Of codes, access tokens and refresh tokens: all but what each kind adds. */
export interface GrantClaims extends Partial<OutsideClaims> {
  readonly amr: readonly string[]
  readonly aud: string
  readonly auth_time: number
  readonly client_id: string
  /** What it, or what it is redeemed for, is bound to (RFC 9449 section 6). */
  readonly cnf?: { readonly jkt: string }
  readonly exp: number
  readonly iat: number
  readonly iss: string
  readonly jti: string
  readonly nonce: string
  /** Of the session at the provider. */
  readonly psid: string
  readonly scope: string
  readonly session_end: number
  /** Of this grant: what a second redemption ends. */
  readonly sid: string
  readonly sub: string
  readonly use: 'code' | 'access' | 'refresh'
}

/** Of codes alone. */
export interface CodeClaims extends GrantClaims {
  readonly code_challenge: string
  readonly redirect_uri: string
}

/** The claims of a token that the ring signed, whatever they are. */
export type Read = (token: string) => Readonly<Record<string, unknown>> | undefined

const refuse = (code: MintRefusal['code'], reason: string): MintRefusal => ({ ok: false, code, reason })
const GONE = refuse('MINT_PERSON', 'the grant or its session is over')

export function clientOf({ policy }: { readonly policy: Pick<View['policy'], 'openid'> }, id: string): OpenIdClient | undefined {
  return policy.openid?.clients.find((client) => client.id === id)
}

/** What a code holds of the address that it is sent to. */
export function redirectDigest(uri: string): string {
  return hash('sha256', uri, 'base64url')
}

/** A code for whoever the session that is shown is of. */
export function checkCode(
  request: CodeRequest,
  view: OpenIdView,
  read: Read,
  nowMs: number,
): { readonly claims: object } | MintRefusal {
  const { atMs, client: id, jkt, redirectUri, challenge, nonce, scope, ring } = request
  if (nowMs - atMs > ASKED_MS_MAX || atMs - nowMs > SKEW_MS) return refuse('MINT_STALE', 'it was asked too long ago: ask anew')
  const client = clientOf(view, id)
  if (client === undefined || !client.redirectUris.includes(redirectUri))
    return refuse('MINT_NOT_ENTITLED', `the policy has no such client as ${id}, or not with this address`)
  const session = read(request.token)
  const iat = Math.floor(atMs / 1_000)
  if (session?.use !== 'session' || session.aud !== view.policy.openid?.service || !(Number(session.exp) > iat)) return GONE
  const { amr, auth_time, session_end, sid: psid, sub } = session as unknown as GrantClaims
  const outside = outsideClaims(session as unknown as GrantClaims)
  const person = holderNow(view, { sub, auth_time, ...outside })
  if (person === undefined || isDenied(view, { sub, sids: [psid], authTime: auth_time, jti: String(session.jti) }, nowMs))
    return GONE
  if (client.groups.length > 0 && !client.groups.some((group) => person.groups.includes(group)))
    return refuse('MINT_NOT_ENTITLED', `${person.name} is in none of the groups of ${id}`)
  const name = hash('sha256', `code ${canonicalJson(request)}`, 'hex')
  const claims: CodeClaims = {
    ...outside,
    amr,
    aud: id,
    auth_time,
    client_id: id,
    ...(jkt === '' ? {} : { cnf: { jkt } }),
    code_challenge: challenge,
    exp: Math.min(session_end, iat + CODE_S),
    iat,
    iss: ringIssuer(ring),
    jti: name.slice(0, 32),
    nonce,
    psid,
    redirect_uri: redirectDigest(redirectUri),
    scope,
    session_end,
    sid: name.slice(32),
    sub,
    use: 'code',
  }
  return { claims }
}

/** What a code or a refresh token that was redeemed comes to. */
export function checkTokens(
  request: TokensRequest,
  view: OpenIdView,
  read: Read,
  nowMs: number,
): { readonly claims: object } | MintRefusal {
  const { openid } = view.policy
  const grant = read(request.grant) as unknown as CodeClaims | undefined
  if (openid === undefined || grant === undefined || (grant.use !== 'code' && grant.use !== 'refresh')) return GONE
  if (grant.use === 'code' && hash('sha256', request.verifier, 'base64url') !== grant.code_challenge)
    return refuse('MINT_NOT_ENTITLED', 'the verifier is not the one of the code (RFC 7636 section 4.6)')
  const { amr, auth_time, client_id, psid, scope, session_end, sid, sub } = grant
  const client = clientOf(view, client_id)
  const outside = outsideClaims(grant)
  const person = holderNow(view, { sub, auth_time, ...outside })
  if (client === undefined || person === undefined) return GONE
  if (client.groups.length > 0 && !client.groups.some((group) => person.groups.includes(group))) return GONE
  if (isDenied(view, { sub, sids: [sid, psid], authTime: auth_time, jti: undefined }, nowMs)) return GONE
  // Agreed on before anything is given for it; what is given is dated by it.
  const used = view.denials.find(subjectId({ kind: 'token', value: grant.jti }), nowMs)
  if (used === undefined || !used.reason.startsWith('used once: '))
    return refuse('MINT_STALE', 'it is not known to be redeemed yet')
  const iat = Math.floor(used.issuedAtMs / 1_000)
  if (grant.exp <= iat) return GONE
  const key = boundTo(request.proof, grant, client, openid.issuer, nowMs)
  if (typeof key === 'object') return key
  const scopes = scope.split(' ')
  const jti = hash('sha256', `${request.want} ${grant.jti}`, 'hex').slice(0, 32)
  const common = { ...outside, amr, auth_time, client_id, iat, jti, psid, scope, session_end, sid, sub }
  const groups = scopes.includes('groups') ? { groups: person.groups } : {}
  const profile = scopes.includes('profile') ? { preferred_username: person.name } : {}
  const iss = ringIssuer(view.ring)
  if (request.want === 'id') {
    const nonce = grant.nonce === '' ? {} : { nonce: grant.nonce }
    const own = { aud: client_id, exp: iat + ACCESS_S, iss: openid.issuer, ...groups, ...profile, ...nonce }
    return { claims: { amr, auth_time, iat, jti, sid, sub, ...own } }
  }
  if (request.want === 'access') {
    const own = {
      ...(key === undefined ? {} : { cnf: { jkt: key } }),
      aud: userinfoAudience(view.ring),
      exp: Math.min(session_end, iat + ACCESS_S),
      iss,
      nonce: grant.nonce,
      use: 'access',
    }
    return { claims: { ...common, ...groups, ...profile, ...own } }
  }
  if (!scopes.includes('offline_access')) return refuse('MINT_NOT_ENTITLED', 'no refresh token was asked for')
  // Who shows no secret shows the key, from then on (RFC 9449 section 5).
  const isPublic = client.secretHash === undefined && client.jwks === undefined
  const cnf = isPublic && key !== undefined ? { cnf: { jkt: key } } : {}
  return {
    claims: {
      ...common,
      ...cnf,
      aud: client_id,
      exp: Math.min(session_end, iat + REFRESH_S),
      iss,
      nonce: grant.nonce,
      use: 'refresh',
    },
  }
}

/** The key that a redemption is for; undefined: none. A refusal where another, or any, was to be shown. */
function boundTo(
  proof: string,
  { cnf }: Pick<GrantClaims, 'cnf'>,
  { dpop }: Pick<OpenIdClient, 'dpop'>,
  issuer: string,
  nowMs: number,
): string | undefined | MintRefusal {
  if (proof === '')
    return dpop || cnf !== undefined
      ? refuse('MINT_PROOF', 'the grant is for the holder of a key, and no proof of it is there')
      : undefined
  const proved = proofKey(tokenEndpointOf(issuer, [proof]), nowMs, cnf === undefined ? {} : { thumbprint: cnf.jkt })
  return 'code' in proved ? refuse('MINT_PROOF', `${proved.code}: ${proved.reason}`) : proved.thumbprint
}

/** As proofs for it name it, on whichever node. */
export function tokenEndpointOf(issuer: string, proofs: readonly string[]): Parameters<typeof proofKey>[0] {
  const { host, protocol } = new URL(issuer)
  return { proofs, method: 'POST', target: OPENID_PATHS.token, host, isSecure: protocol === 'https:' }
}

/** Of access tokens: no service has this name. */
export function userinfoAudience(ring: string): string {
  return `${ringIssuer(ring)}:userinfo`
}

function isDenied(
  { ring, denials }: OpenIdView,
  of: { readonly sub: string; readonly sids: readonly string[]; readonly authTime: number; readonly jti: string | undefined },
  nowMs: number,
): boolean {
  return of.sids.some((sessionId) => {
    const credential = { issuer: ringIssuer(ring), subject: of.sub, sessionId, issuedAtMs: of.authTime * 1_000 }
    return denials.matchCredential(of.jti === undefined ? credential : { ...credential, tokenId: of.jti }, nowMs) !== undefined
  })
}
