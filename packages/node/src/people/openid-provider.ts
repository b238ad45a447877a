/**
 * The ring as an OpenID Provider, on every node alike: OpenID Connect Core 1.0 with the authorization code flow and PKCE alone (RFC 6749, RFC 7636,
 * RFC 9700), introspection (RFC 7662), revocation (RFC 7009) and RP-initiated logout. Nothing is kept on a node: see `openid-check.ts` for what
 * codes and tokens are.
 */
import { hash, timingSafeEqual } from 'node:crypto'
import { LOGIN_PATH, OPENID_PATHS } from '@ringwall/guard'
import {
  type CodeClaims,
  clientOf,
  createProofReplays,
  DPOP_ALGORITHMS,
  type GrantClaims,
  jwsFault,
  type PersonRequest,
  ProofReplays,
  proofKey,
  proofRefusal,
  readJws,
  readSession,
  readSigned,
  redirectDigest,
  ringJwk,
  SCOPES,
  sessionKeys,
  tokenEndpointOf,
  userinfoAudience,
} from '@ringwall/identity'
import type { PortalAnswer, PortalRequest } from '@ringwall/proxy'
import { type OpenIdClient, type OpenIdPolicy, personSubject, ringIssuer, type View } from '@ringwall/ring'
import { MintRefused, SigningError } from '../signing/signing-service.ts'
import { Attempts } from './attempts.ts'
import type { LoginForms } from './login-forms.ts'
import { consentPage, noticePage } from './pages.ts'

const MINT_MS_MAX = 8_000
/** Of one session, on this node: each costs the ring a signature, and a transaction when it is redeemed. */
const CODES_MAX = 60
const CODES_WINDOW_MS = 300_000
const CODE_CHARS_MAX = 4_096
const VERIFIER = /^[A-Za-z0-9._~-]{43,128}$/
/** Of what a client signs to show itself (RFC 7523 section 3): how long it may be good for. */
const ASSERTION_S_MAX = 300
const ASSERTION_SKEW_S = 30
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const ASSERTION_ALGORITHMS = ['EdDSA', 'ES256', 'ES384', 'PS256', 'RS256'] as const
const CHALLENGE = /^[A-Za-z0-9_-]{43}$/
const PRINTABLE = /^[\x20-\x7e]*$/
/** Where somebody was to log in anew: since when, Unix seconds. Whoever changes it fools themselves: the client reads `auth_time`. */
const LOGIN_SINCE = 'ringwall_since'
const LOGIN_S_MAX = 600

/** Of a visit, what is needed here. */
export interface OpenIdVisit {
  readonly request: PortalRequest
  readonly query: URLSearchParams
  readonly browser: string | undefined
  /** The token of the session that the browser has, if it is good. */
  readonly session: string | undefined
  readonly nowMs: number
}

export interface OpenIdOptions {
  readonly ring: string
  readonly view: () => View
  readonly forms: LoginForms
  readonly isDenied: (credential: Parameters<View['denials']['matchCredential']>[0]) => boolean
  /** The token that the ring signs. @throws {SigningError} @throws {MintRefused} */
  readonly mint: (asked: PersonRequest, timeoutMs: number) => Promise<string>
  /** By a transaction of this node: was it the first? @throws When the ring cannot agree on it now. */
  readonly redeem: (token: string) => Promise<boolean>
  /** Ends a token, or the session or grant that it stands for. */
  readonly revoke: (token: string) => Promise<void>
  /** Of a page of the browser: the cookie that its forms are sealed for. */
  readonly formCookie: (request: PortalRequest, browser: string) => string
  readonly log: (line: string) => void
}

/** As RFC 6749 sections 4.1.2.1 and 5.2 name them. */
class OAuthError extends Error {
  override readonly name = 'OAuthError'
  readonly code: string
  readonly status: number
  constructor(code: string, description: string, status = 400) {
    super(description)
    this.code = code
    this.status = status
  }
}

export class OpenIdProvider {
  readonly #options: OpenIdOptions
  readonly #codes = new Attempts(CODES_MAX, CODES_WINDOW_MS)
  /** Proofs of clients’ keys, and what clients sign to show themselves: each serves once on this node. */
  readonly #proofs = createProofReplays()
  readonly #assertions = new ProofReplays((ASSERTION_S_MAX + 2 * ASSERTION_SKEW_S) * 1_000)

  constructor(options: OpenIdOptions) {
    this.#options = options
  }

  get #policy(): OpenIdPolicy {
    return this.#options.view().policy.openid as OpenIdPolicy
  }

  /** Undefined: it is for no endpoint. @param fields Of a form; undefined: what was posted is none. */
  async answer(
    visit: OpenIdVisit,
    path: string,
    fields: ReadonlyMap<string, string> | undefined,
  ): Promise<PortalAnswer | undefined> {
    const isPost = visit.request.method === 'POST'
    if (path === OPENID_PATHS.discovery) return json(200, this.#discovery())
    if (path === OPENID_PATHS.jwks) return json(200, { keys: sessionKeys(this.#options.view()).map(ringJwk) })
    if (path === OPENID_PATHS.authorize) return isPost ? this.#consented(visit, fields) : this.#authorize(visit)
    if (path === OPENID_PATHS.end) return this.#end(visit)
    if (path === OPENID_PATHS.userinfo) return this.#userinfo(visit)
    const run =
      path === OPENID_PATHS.token
        ? this.#token.bind(this)
        : path === OPENID_PATHS.introspect
          ? this.#introspect.bind(this)
          : path === OPENID_PATHS.revoke
            ? this.#revoke.bind(this)
            : undefined
    if (run === undefined) return undefined
    if (!isPost) return json(405, { error: 'invalid_request', error_description: 'POST a form' }, ['allow', 'POST'])
    try {
      if (fields === undefined) throw new OAuthError('invalid_request', 'expected a form with each field once')
      return await run(fields, this.#client(visit.request, fields, visit.nowMs), visit.nowMs, visit.request)
    } catch (error) {
      if (error instanceof OAuthError) {
        const headers = error.status === 401 ? ['www-authenticate', 'Basic realm="ringwall"'] : []
        return json(error.status, { error: error.code, error_description: error.message }, headers)
      }
      this.#options.log(`the token endpoint: ${(error as Error).message}`)
      return json(503, { error: 'temporarily_unavailable', error_description: 'try again in a moment' }, ['retry-after', '2'])
    }
  }

  #discovery(): object {
    const { issuer } = this.#policy
    const methods = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt']
    return {
      issuer,
      authorization_endpoint: issuer + OPENID_PATHS.authorize,
      token_endpoint: issuer + OPENID_PATHS.token,
      userinfo_endpoint: issuer + OPENID_PATHS.userinfo,
      jwks_uri: issuer + OPENID_PATHS.jwks,
      introspection_endpoint: issuer + OPENID_PATHS.introspect,
      revocation_endpoint: issuer + OPENID_PATHS.revoke,
      end_session_endpoint: issuer + OPENID_PATHS.end,
      scopes_supported: SCOPES,
      response_types_supported: ['code'],
      response_modes_supported: ['query'],
      grant_types_supported: ['authorization_code', 'refresh_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['EdDSA'],
      code_challenge_methods_supported: ['S256'],
      dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
      token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
      token_endpoint_auth_methods_supported: methods,
      introspection_endpoint_auth_methods_supported: methods.slice(1),
      revocation_endpoint_auth_methods_supported: methods,
      claims_supported: ['sub', 'iss', 'aud', 'exp', 'iat', 'auth_time', 'amr', 'nonce', 'sid', 'preferred_username', 'groups'],
      authorization_response_iss_parameter_supported: true,
      request_parameter_supported: false,
      request_uri_parameter_supported: false,
      claims_parameter_supported: false,
    }
  }

  // The authorization endpoint (RFC 6749 section 4.1.1).

  async #authorize(visit: OpenIdVisit): Promise<PortalAnswer> {
    const { request, query, nowMs } = visit
    const asked = this.#asked(query)
    if ('notice' in asked) return asked.notice
    const { client, redirectUri } = asked
    try {
      const wanted = this.#wanted(query)
      const { session } = visit
      const claims = session === undefined ? undefined : readSession(session, this.#options.view())
      const nowS = Math.floor(nowMs / 1_000)
      const since = Number(query.get(LOGIN_SINCE) ?? Number.NaN)
      const isFresh =
        claims !== undefined &&
        (since > nowS - LOGIN_S_MAX ? claims.auth_time >= since : nowS - claims.auth_time <= wanted.maxAgeS)
      if (session === undefined || claims === undefined || !isFresh) {
        if (wanted.prompts.includes('none')) throw new OAuthError('login_required', 'nobody is logged in, or not lately')
        if (claims === undefined) return seeOther(`${LOGIN_PATH}?to=${encodeURIComponent(request.target)}`)
        // Back here after a login that began from now on.
        const back = new URLSearchParams(query)
        back.set(LOGIN_SINCE, String(nowS))
        return seeOther(`${LOGIN_PATH}?to=${encodeURIComponent(`${OPENID_PATHS.authorize}?${back}`)}&again=1`)
      }
      if (client.consent === 'ask' || wanted.prompts.includes('consent')) {
        if (wanted.prompts.includes('none')) throw new OAuthError('consent_required', 'people are asked first')
        return this.#consentPage(visit, client, redirectUri, wanted.scope)
      }
      return await this.#code(visit, session, asked, wanted)
    } catch (error) {
      return this.#refused(error as Error, redirectUri, query.get('state'))
    }
  }

  /** What tells where an answer may go: wrong here, it goes nowhere (RFC 6749 section 4.1.2.1). */
  #asked(
    query: URLSearchParams,
  ): { readonly client: OpenIdClient; readonly redirectUri: string } | { readonly notice: PortalAnswer } {
    const [ids, uris] = [query.getAll('client_id'), query.getAll('redirect_uri')]
    const client = ids.length === 1 ? clientOf(this.#options.view(), ids[0] as string) : undefined
    const redirectUri = uris[0]
    if (client === undefined)
      return { notice: noticePage('This does not work', 'The program that sent you is not known here.', { status: 400 }) }
    if (uris.length !== 1 || redirectUri === undefined || !client.redirectUris.includes(redirectUri))
      return {
        notice: noticePage('This does not work', 'The program that sent you named an address that is not its own.', {
          status: 400,
        }),
      }
    return { client, redirectUri }
  }

  #wanted(query: URLSearchParams): {
    readonly scope: string
    readonly nonce: string
    readonly challenge: string
    readonly jkt: string
    readonly prompts: readonly string[]
    readonly maxAgeS: number
  } {
    for (const name of new Set(query.keys()))
      if (query.getAll(name).length > 1) throw new OAuthError('invalid_request', `${name.slice(0, 64)} comes twice`)
    for (const name of ['request', 'request_uri', 'registration'])
      if (query.has(name)) throw new OAuthError(`${name}_not_supported`, `${name} is not taken`)
    if (query.get('response_type') !== 'code') throw new OAuthError('unsupported_response_type', 'response_type must be code')
    if ((query.get('response_mode') ?? 'query') !== 'query')
      throw new OAuthError('invalid_request', 'response_mode must be query')
    const challenge = query.get('code_challenge') ?? ''
    if (query.get('code_challenge_method') !== 'S256' || !CHALLENGE.test(challenge))
      throw new OAuthError('invalid_request', 'a code_challenge of the method S256 is required (RFC 7636)')
    const scopes = (query.get('scope') ?? '').split(' ').filter((one) => (SCOPES as readonly string[]).includes(one))
    if (!scopes.includes('openid')) throw new OAuthError('invalid_scope', 'scope must have openid')
    const nonce = query.get('nonce') ?? ''
    const state = query.get('state') ?? ''
    if (nonce.length > 256 || !PRINTABLE.test(nonce) || state.length > 1_024 || !PRINTABLE.test(state))
      throw new OAuthError('invalid_request', 'nonce has up to 256 printable characters, state up to 1,024')
    const jkt = query.get('dpop_jkt') ?? ''
    if (jkt !== '' && !CHALLENGE.test(jkt)) throw new OAuthError('invalid_request', 'dpop_jkt is a thumbprint of SHA-256')
    const prompts = (query.get('prompt') ?? '').split(' ').filter((one) => one !== '')
    if (prompts.includes('none') && prompts.length > 1) throw new OAuthError('invalid_request', 'prompt is none, or others')
    const given = query.get('max_age')
    if (given !== null && !/^\d{1,9}$/.test(given)) throw new OAuthError('invalid_request', 'max_age is a number of seconds')
    const maxAgeS = prompts.includes('login') ? -1 : Number(given ?? Number.POSITIVE_INFINITY)
    return { scope: [...new Set(scopes)].sort().join(' '), nonce, challenge, jkt, prompts, maxAgeS }
  }

  #purpose(session: string, query: URLSearchParams): string {
    return `consent ${hash('sha256', `${session}\n${query}`, 'base64url')}`
  }

  #consentPage(visit: OpenIdVisit, client: OpenIdClient, redirectUri: string, scope: string): PortalAnswer {
    const { request, query, session = '', nowMs } = visit
    const browser = this.#options.forms.browser(visit.browser)
    const { text: form } = this.#options.forms.issue(this.#purpose(session, query), browser, nowMs)
    const name = readSession(session, this.#options.view())?.sub.slice('person:'.length) ?? ''
    const origin = new URL(redirectUri).origin
    const to = origin === 'null' ? new URL(redirectUri).protocol : origin
    const headers = ['set-cookie', this.#options.formCookie(request, browser)]
    return consentPage({ client: client.id, to, name, scope, form, action: request.target }, { status: 200, headers })
  }

  async #consented(visit: OpenIdVisit, fields: ReadonlyMap<string, string> | undefined): Promise<PortalAnswer> {
    const { query, session, browser, nowMs } = visit
    const asked = this.#asked(query)
    if ('notice' in asked) return asked.notice
    try {
      const wanted = this.#wanted(query)
      const form = fields?.get('form') ?? ''
      if (session === undefined || this.#options.forms.open(form, this.#purpose(session, query), browser, nowMs) === undefined)
        return await this.#authorize({ ...visit, request: { ...visit.request, method: 'GET' } })
      if (fields?.get('answer') !== 'yes') throw new OAuthError('access_denied', 'the person said no')
      return await this.#code(visit, session, asked, wanted)
    } catch (error) {
      return this.#refused(error as Error, asked.redirectUri, query.get('state'))
    }
  }

  async #code(
    { query, nowMs }: OpenIdVisit,
    session: string,
    { client, redirectUri }: { readonly client: OpenIdClient; readonly redirectUri: string },
    { scope, nonce, challenge, jkt }: Readonly<Record<'scope' | 'nonce' | 'challenge' | 'jkt', string>>,
  ): Promise<PortalAnswer> {
    const sid = readSession(session, this.#options.view())?.sid ?? ''
    if (!this.#codes.take(sid, nowMs)) throw new OAuthError('temporarily_unavailable', 'too many codes for one session')
    const { ring } = this.#options
    const asked = {
      type: 'code',
      atMs: nowMs,
      challenge,
      client: client.id,
      jkt,
      nonce,
      redirectUri,
      ring,
      scope,
      token: session,
    } as const
    const code = await this.#options.mint(asked, MINT_MS_MAX)
    return this.#back(redirectUri, { code }, query.get('state'))
  }

  #refused(error: Error, redirectUri: string, state: string | null): PortalAnswer {
    if (error instanceof OAuthError)
      return this.#back(redirectUri, { error: error.code, error_description: error.message }, state)
    if (error instanceof MintRefused && error.code !== 'MINT_NO_KEY')
      return this.#back(redirectUri, { error: 'access_denied', error_description: 'they may not log in to this client' }, state)
    this.#options.log(`the authorization endpoint: ${error.message}`)
    if (!(error instanceof MintRefused) && !(error instanceof SigningError)) throw error
    return this.#back(redirectUri, { error: 'temporarily_unavailable' }, state)
  }

  /** With `iss` (RFC 9207). */
  #back(redirectUri: string, answer: Readonly<Record<string, string>>, state: string | null): PortalAnswer {
    const parameters = new URLSearchParams({ ...answer, ...(state === null ? {} : { state }), iss: this.#policy.issuer })
    return seeOther(`${redirectUri}${redirectUri.includes('?') ? '&' : '?'}${parameters}`)
  }

  // The token endpoint.

  /** Who asks (RFC 6749 section 2.3). @throws {OAuthError} */
  #client({ headers }: PortalRequest, fields: ReadonlyMap<string, string>, nowMs: number): OpenIdClient {
    const unknown = new OAuthError('invalid_client', 'no such client, or not its secret', 401)
    const given = headers.filter(([name]) => name.toLowerCase() === 'authorization').map(([, value]) => value.trim())
    if (fields.has('client_assertion') || fields.has('client_assertion_type')) {
      if (given.length > 0 || fields.has('client_secret'))
        throw new OAuthError('invalid_request', 'the client shows itself in two ways')
      return this.#asserted(fields, nowMs) ?? fail(unknown)
    }
    let [id, secret] = [fields.get('client_id'), fields.get('client_secret')]
    if (given.length > 1) throw unknown
    if (given.length === 1) {
      if (secret !== undefined) throw new OAuthError('invalid_request', 'the client shows itself in two ways')
      const [, encoded = ''] = /^basic\s+([A-Za-z0-9+/]{1,600}={0,2})$/i.exec(given[0] as string) ?? []
      const text = Buffer.from(encoded, 'base64').toString('latin1')
      const at = text.indexOf(':')
      if (at < 1) throw unknown
      const [named, shown] = [unescaped(text.slice(0, at)), unescaped(text.slice(at + 1))]
      if (id !== undefined && id !== named) throw unknown
      ;[id, secret] = [named, shown]
    }
    const client = id === undefined ? undefined : clientOf(this.#options.view(), id)
    if (client === undefined) throw unknown
    if (client.jwks !== undefined) throw unknown
    if (client.secretHash === undefined) {
      if (secret !== undefined) throw unknown
      return client
    }
    const shown = hash('sha256', secret ?? '', 'buffer')
    const held = Buffer.from(client.secretHash.slice('sha256:'.length), 'hex')
    if (secret === undefined || !timingSafeEqual(shown, held)) throw unknown
    return client
  }

  /** By what it signed (RFC 7523 section 3); undefined: it shows nobody. */
  #asserted(fields: ReadonlyMap<string, string>, nowMs: number): OpenIdClient | undefined {
    const read =
      fields.get('client_assertion_type') === ASSERTION_TYPE ? readJws(fields.get('client_assertion') ?? '') : undefined
    const { iss, sub, aud, exp, nbf, iat, jti } = read?.claims ?? {}
    const client = typeof sub === 'string' ? clientOf(this.#options.view(), sub) : undefined
    if (read === undefined || client?.jwks === undefined || iss !== sub) return undefined
    if (fields.get('client_id') !== undefined && fields.get('client_id') !== sub) return undefined
    if (jwsFault(read, ASSERTION_ALGORITHMS, client.jwks.keys) !== undefined) return undefined
    // The issuer, or the endpoint that it is sent to: one of ours, and no list of strangers.
    const { issuer } = this.#policy
    if (aud !== issuer && aud !== issuer + OPENID_PATHS.token && !(Array.isArray(aud) && aud.length === 1 && aud[0] === issuer))
      return undefined
    const nowS = nowMs / 1_000
    const isNow =
      typeof exp === 'number' &&
      exp > nowS - ASSERTION_SKEW_S &&
      exp <= nowS + ASSERTION_S_MAX + ASSERTION_SKEW_S &&
      (nbf === undefined || (typeof nbf === 'number' && nbf <= nowS + ASSERTION_SKEW_S)) &&
      (iat === undefined || (typeof iat === 'number' && iat <= nowS + ASSERTION_SKEW_S))
    if (!isNow || typeof jti !== 'string' || jti.length === 0 || jti.length > 256) return undefined
    return this.#assertions.take(client.id, jti, nowMs) === 'fresh' ? client : undefined
  }

  /** The proof that came with a request for tokens, and its key; undefined: none did. @throws {OAuthError} */
  #proof({ headers }: PortalRequest, client: OpenIdClient, { cnf }: GrantClaims, nowMs: number): string {
    const proofs = headers.filter(([name]) => name.toLowerCase() === 'dpop').map(([, value]) => value)
    if (proofs.length === 0) {
      if (client.dpop || cnf !== undefined)
        throw new OAuthError('invalid_dpop_proof', 'this grant is for the holder of a key: show a proof in the field DPoP')
      return ''
    }
    const of = { replays: this.#proofs, ...(cnf === undefined ? {} : { thumbprint: cnf.jkt }) }
    const proved = proofKey(tokenEndpointOf(this.#policy.issuer, proofs), nowMs, of)
    if ('code' in proved) throw new OAuthError('invalid_dpop_proof', proved.reason)
    return proofs[0] as string
  }

  async #token(
    fields: ReadonlyMap<string, string>,
    client: OpenIdClient,
    nowMs: number,
    request: PortalRequest,
  ): Promise<PortalAnswer> {
    const type = fields.get('grant_type')
    if (type === 'authorization_code') return this.#byCode(fields, client, nowMs, request)
    if (type === 'refresh_token') return this.#byRefresh(fields, client, nowMs, request)
    throw new OAuthError('unsupported_grant_type', 'grant_type must be authorization_code or refresh_token')
  }

  /** Claims of a code or token of this kind that the ring signed for this client, that is not over. */
  #read(token: string | undefined, use: GrantClaims['use'], client: OpenIdClient, nowMs: number): GrantClaims | undefined {
    if (token === undefined || token.length > CODE_CHARS_MAX) return undefined
    const claims = readSigned(token, this.#options.view()) as unknown as GrantClaims | undefined
    if (claims?.use !== use || claims.client_id !== client.id || claims.exp * 1_000 <= nowMs) return undefined
    return claims
  }

  async #byCode(
    fields: ReadonlyMap<string, string>,
    client: OpenIdClient,
    nowMs: number,
    request: PortalRequest,
  ): Promise<PortalAnswer> {
    const code = fields.get('code')
    const wrong = new OAuthError('invalid_grant', 'the code is none of this client’s, or over, or used')
    const claims = this.#read(code, 'code', client, nowMs) as CodeClaims | undefined
    if (code === undefined || claims === undefined) throw wrong
    if (redirectDigest(fields.get('redirect_uri') ?? '') !== claims.redirect_uri)
      throw new OAuthError('invalid_grant', 'redirect_uri is not the one that the code was asked for with')
    const verifier = fields.get('code_verifier') ?? ''
    if (!VERIFIER.test(verifier) || hash('sha256', verifier, 'base64url') !== claims.code_challenge)
      throw new OAuthError('invalid_grant', 'code_verifier is not the one of the code_challenge')
    const proof = this.#proof(request, client, claims, nowMs)
    if (!(await this.#options.redeem(code))) throw wrong
    return this.#given(code, claims, verifier, proof)
  }

  async #byRefresh(
    fields: ReadonlyMap<string, string>,
    client: OpenIdClient,
    nowMs: number,
    request: PortalRequest,
  ): Promise<PortalAnswer> {
    const token = fields.get('refresh_token')
    const claims = this.#read(token, 'refresh', client, nowMs)
    const wrong = new OAuthError('invalid_grant', 'the refresh token is none of this client’s, or over, or used')
    if (token === undefined || claims === undefined) throw wrong
    const wider = (fields.get('scope') ?? '').split(' ').some((one) => one !== '' && !claims.scope.split(' ').includes(one))
    if (wider) throw new OAuthError('invalid_scope', 'scope is wider than what was granted')
    // One that was used is told to the ring all the same: that ends the grant.
    if (this.#isOver({ ...claims, jti: undefined })) throw wrong
    const proof = this.#proof(request, client, claims, nowMs)
    if (!(await this.#options.redeem(token))) throw wrong
    return this.#given(token, claims, '', proof)
  }

  async #given(grant: string, { scope }: GrantClaims, verifier: string, proof: string): Promise<PortalAnswer> {
    const { ring } = this.#options
    const wants = scope.split(' ').includes('offline_access')
      ? (['id', 'access', 'refresh'] as const)
      : (['id', 'access'] as const)
    try {
      const made = wants.map((want) => this.#options.mint({ type: 'tokens', grant, proof, ring, verifier, want }, MINT_MS_MAX))
      const [idToken, accessToken, refreshToken] = await Promise.all(made)
      const exp = readSigned(accessToken as string, this.#options.view())?.exp
      const expiresIn = Math.max(0, Number(exp) - Math.floor(Date.now() / 1_000))
      const refresh = refreshToken === undefined ? {} : { refresh_token: refreshToken }
      return json(200, {
        access_token: accessToken,
        token_type: proof === '' ? 'Bearer' : 'DPoP',
        expires_in: expiresIn,
        id_token: idToken,
        scope,
        ...refresh,
      })
    } catch (error) {
      if (error instanceof MintRefused && error.code !== 'MINT_NO_KEY')
        throw new OAuthError('invalid_grant', 'the grant or its session is over')
      throw error
    }
  }

  /** The session, the grant or the token is denied. */
  #isOver({
    sub,
    sid,
    psid,
    jti,
    auth_time,
  }: Pick<GrantClaims, 'sub' | 'sid' | 'psid' | 'auth_time'> & { readonly jti: string | undefined }): boolean {
    const issuer = ringIssuer(this.#options.ring)
    return [sid, psid].some((sessionId) =>
      this.#options.isDenied({
        issuer,
        subject: sub,
        sessionId,
        issuedAtMs: auth_time * 1_000,
        ...(jti === undefined ? {} : { tokenId: jti }),
      }),
    )
  }

  // What tokens are good for.

  #userinfo({ request, nowMs }: OpenIdVisit): PortalAnswer {
    const given = request.headers.filter(([name]) => name.toLowerCase() === 'authorization').map(([, value]) => value.trim())
    const match = given.length === 1 ? /^(bearer|dpop)\s+([A-Za-z0-9._-]{1,4096})$/i.exec(given[0] as string) : null
    const scheme = match?.[1]?.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer'
    const token = match?.[2] ?? ''
    const view = this.#options.view()
    const claims = token === '' ? undefined : (readSigned(token, view) as unknown as Record<string, unknown> | undefined)
    const isAccess = claims?.use === 'access' && claims.aud === userinfoAudience(view.ring) && Number(claims.exp) * 1_000 > nowMs
    if (claims === undefined || !isAccess || this.#isOver(claims as unknown as GrantClaims)) {
      const error = given.length === 0 ? '' : ' error="invalid_token"'
      return json(401, { error: 'invalid_token' }, ['www-authenticate', `Bearer realm="ringwall"${error}`])
    }
    const refusal = this.#presented(request, token, scheme, claims as unknown as GrantClaims, nowMs)
    if (refusal !== undefined) {
      const challenge = `DPoP realm="ringwall" error="${refusal.error}" algs="${DPOP_ALGORITHMS.join(' ')}"`
      return json(401, { error: refusal.error, error_description: refusal.reason }, ['www-authenticate', challenge])
    }
    const { sub, preferred_username, groups } = claims
    return json(200, { sub, preferred_username, groups })
  }

  /** Why whoever shows it may not (RFC 9449 section 7); undefined: they may. */
  #presented(
    { headers, method, target, authority, secure }: PortalRequest,
    token: string,
    scheme: 'Bearer' | 'DPoP',
    { cnf }: GrantClaims,
    nowMs: number,
  ): { readonly error: string; readonly reason: string } | undefined {
    if (cnf === undefined)
      return scheme === 'DPoP'
        ? { error: 'invalid_token', reason: 'the token is bound to no key: it comes as Bearer' }
        : undefined
    const proofs = headers.filter(([name]) => name.toLowerCase() === 'dpop').map(([, value]) => value)
    const shown = { scheme, proofs, method, target, host: authority, isSecure: secure, certificate: undefined }
    const refusal = proofRefusal(token, cnf.jkt, shown, nowMs, this.#proofs)
    return refusal === undefined ? undefined : { error: 'invalid_dpop_proof', reason: refusal.reason }
  }

  /** RFC 7662: a client asks about its own. */
  #introspect(fields: ReadonlyMap<string, string>, client: OpenIdClient, nowMs: number): PortalAnswer {
    if (client.secretHash === undefined && client.jwks === undefined)
      throw new OAuthError('invalid_client', 'introspection takes a client that shows itself', 401)
    const token = fields.get('token')
    const claims = this.#read(token, 'access', client, nowMs) ?? this.#read(token, 'refresh', client, nowMs)
    if (claims === undefined || this.#isOver(claims)) return json(200, { active: false })
    const { cnf, scope, client_id, sub, aud, exp, iat, jti, use } = claims
    const iss = this.#policy.issuer
    const username = sub.slice(personSubject('').length)
    return json(200, {
      active: true,
      scope,
      client_id,
      username,
      token_type: use !== 'access' ? 'refresh_token' : cnf === undefined ? 'Bearer' : 'DPoP',
      ...(cnf === undefined ? {} : { cnf }),
      exp,
      iat,
      sub,
      aud,
      iss,
      jti,
    })
  }

  /** RFC 7009: of a refresh token the whole grant. What is none of the client's is answered likewise. */
  async #revoke(fields: ReadonlyMap<string, string>, client: OpenIdClient, nowMs: number): Promise<PortalAnswer> {
    const token = fields.get('token')
    if (token === undefined) throw new OAuthError('invalid_request', 'expected the field token')
    const claims = this.#read(token, 'refresh', client, nowMs) ?? this.#read(token, 'access', client, nowMs)
    if (claims !== undefined && !this.#isOver(claims)) await this.#options.revoke(token)
    return json(200, {})
  }

  /** RP-initiated logout: people are asked on the page where they log out. */
  #end({ query }: OpenIdVisit): PortalAnswer {
    const view = this.#options.view()
    const hint = readSigned(query.get('id_token_hint') ?? '', view, this.#policy.issuer)
    const client = typeof hint?.aud === 'string' ? clientOf(view, hint.aud) : undefined
    const uri = query.get('post_logout_redirect_uri')
    if (uri === null || client === undefined || !client.postLogoutRedirectUris.includes(uri)) return seeOther(LOGOUT)
    const state = query.get('state')
    const to = state === null ? uri : `${uri}${uri.includes('?') ? '&' : '?'}${new URLSearchParams({ state })}`
    return seeOther(`${LOGOUT}?client=${encodeURIComponent(client.id)}&to=${encodeURIComponent(to)}`)
  }
}

const LOGOUT = '/.ringwall/logout'

/** Where a client may have people sent once they are logged out; undefined: nowhere. */
export function logoutTarget(openid: OpenIdPolicy | undefined, id: string | null, to: string | null): string | undefined {
  if (to === null || to.length > 2_048 || !/^[\x21-\x7e]+$/.test(to)) return undefined
  const client = openid?.clients.find((one) => one.id === id)
  return client?.postLogoutRedirectUris.some(
    (uri) => to === uri || to.startsWith(`${uri}${uri.includes('?') ? '&' : '?'}state=`),
  ) === true
    ? to
    : undefined
}

/** Where somebody goes on to who logs in on the way to a client, when it is not asked: an origin, or a scheme; undefined: nowhere else. */
export function clientOrigin(openid: OpenIdPolicy | undefined, to: string): string | undefined {
  if (!to.startsWith(`${OPENID_PATHS.authorize}?`)) return undefined
  const query = new URLSearchParams(to.slice(OPENID_PATHS.authorize.length + 1))
  const client = openid?.clients.find(({ id }) => id === query.get('client_id'))
  const uri = client?.redirectUris.find((one) => one === query.get('redirect_uri'))
  if (uri === undefined) return undefined
  const { origin, protocol } = new URL(uri)
  return origin === 'null' ? protocol : origin
}

function fail(error: Error): never {
  throw error
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return ''
  }
}

function json(status: number, value: object, headers: readonly string[] = []): PortalAnswer {
  const body = JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  const fields = ['content-type', 'application/json', 'cache-control', 'no-store', 'x-content-type-options', 'nosniff']
  return { status, headers: [...fields, ...headers], body }
}

function seeOther(to: string): PortalAnswer {
  return { status: 303, headers: ['location', to, 'cache-control', 'no-store', 'referrer-policy', 'no-referrer'], body: '' }
}
