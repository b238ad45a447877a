/**
 * Logging in by an outside provider: people are sent there and come back with its word, which the holders of the ring's key verify, each by itself. OpenID
 * Connect: the code flow with PKCE, `state`, `nonce` and `iss` (RFC 9207). Nothing is kept meanwhile: `state` is sealed for the browser, and the verifier
 * follows from it and a key that the nodes share. SAML 2.0: a request by redirect, the answer posted; what `state` is there stays in a cookie, since a
 * relay state holds 80 characters.
 */
import { createHash, randomBytes } from 'node:crypto'
import { OUTSIDE_PATHS, SAML_PATHS } from '@ringwall/guard'
import {
  authnRequestId,
  authnRequestUrl,
  type ClientRequest,
  type LoginOccasion,
  type OutsideProof,
  type OutsideRequest,
  outsideNonce,
  serviceEntityId,
  serviceProviderMetadata,
} from '@ringwall/identity'
import type { PortalAnswer, PortalRequest } from '@ringwall/proxy'
import { type OpenIdProviderPolicy, PERSON_NAME, type PeoplePolicy, type ProviderPolicy, type View } from '@ringwall/ring'
import type { Attempts } from './attempts.ts'
import type { FormOccasion, LoginForms } from './login-forms.ts'
import { type OutsideHttp, OutsideUnreachable } from './outside-http.ts'
import { noticePage, onwardsPage } from './pages.ts'
import type { ProviderKeys } from './provider-keys.ts'
import { ProviderSecretError, type ProviderSecrets } from './provider-secrets.ts'

const TO_CHARS_MAX = 2_048
/** Of what goes to a provider and comes back in addresses; what is longer stays in the cookie. */
const STATE_CHARS_MAX = 800
/** Of an answer of SAML, in base64: as much as a holder of the key takes. */
const SAML_CHARS_MAX = 65_536
/** What would be `state`, for a provider of SAML, or where it is long. */
const STATE_COOKIE = { secure: '__Host-ringwall_outside', plain: 'ringwall_outside' } as const
const STATE_COOKIE_S = 900
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const NONCE_BYTES = 16
const SIGN_MS_MAX = 10_000
const CODE = /^[\x20-\x7e]{1,2048}$/
const STATE = /^([A-Za-z0-9._-]{80,140})~([a-z0-9-]{1,63})~([A-Za-z0-9_-]{0,2800})~([a-z0-9._@+-]{0,63})$/

const WRONG = noticePage('This did not work', 'The page was open for too long, or the answer was for another browser.', {
  status: 400,
  again: true,
})

/** Somebody on the way to a provider, or back. */
export interface OutsideVisit {
  readonly request: PortalRequest
  readonly people: PeoplePolicy
  readonly query: URLSearchParams
  readonly browser: string | undefined
  readonly nowMs: number
}

/** Back from a provider, with what it signed. */
export interface Returned {
  readonly asked: OutsideRequest
  readonly to: string
  /** Who enrols by it; undefined: somebody logs in. */
  readonly enrols: string | undefined
}

export interface OutsideLoginOptions {
  readonly ring: string
  readonly view: () => View
  readonly forms: LoginForms
  readonly keys: ProviderKeys
  readonly http: OutsideHttp
  /** Of a source: how often it may come back from a provider. */
  readonly returns: Attempts
  /** What this node shows to be known as a client. */
  readonly secrets: Pick<ProviderSecrets, 'of'>
  /** By the ring's key, which its holders do only if it is as they see it. */
  readonly sign: (asked: ClientRequest, timeoutMs: number) => Promise<string>
  readonly formCookie: (request: PortalRequest, browser: string) => string
  /** The first of that name. */
  readonly cookie: (request: PortalRequest, name: string) => string | undefined
  readonly log: (line: string) => void
}

interface Way {
  readonly provider: ProviderPolicy
  readonly to: string
  /** The name of who enrols, or nothing. */
  readonly enrols: string
}

export class OutsideLogin {
  readonly #options: OutsideLoginOptions

  constructor(options: OutsideLoginOptions) {
    this.#options = options
  }

  /** Those by which people may log in to a service. */
  offered({ providers }: PeoplePolicy): readonly ProviderPolicy[] {
    return this.#options.view().policy.providers.filter(({ name }) => providers.includes(name))
  }

  /** To the provider. @param enrols Who is invited, if that is who goes there. */
  async begin(visit: OutsideVisit, to: string, enrols: string, cookies: readonly string[]): Promise<PortalAnswer> {
    const { request, people, query, nowMs } = visit
    const provider = this.offered(people).find(({ name }) => name === query.get('provider'))
    if (provider === undefined || (enrols !== '' && provider.accounts === 'made'))
      return noticePage('Not this way', 'Nobody logs in by that provider here.', { status: 404, again: true })
    const way: Way = { provider, to: to.length > TO_CHARS_MAX ? '/' : to, enrols }
    const browser = this.#options.forms.browser(visit.browser)
    const { text, occasion } = this.#options.forms.issue(purposeOf(request, way), browser, nowMs)
    const login: LoginOccasion = { ...occasion, ring: this.#options.ring, service: request.service }
    const own = [this.#options.formCookie(request, browser), ...cookies]
    const state = `${text}~${provider.name}~${Buffer.from(way.to).toString('base64url')}~${enrols}`
    if (provider.kind === 'saml') {
      const { ring, service } = login
      const asked = {
        id: authnRequestId(login, provider.name),
        entityId: serviceEntityId(ring, service),
        recipient: addressOf(request, SAML_PATHS.acs),
        destination: provider.signOn,
        atMs: nowMs,
      }
      return seeOther(authnRequestUrl(asked, occasion.nonce), [...own, stateCookieText(request, state)])
    }
    try {
      const isLong = state.length > STATE_CHARS_MAX
      const location = await this.#authorization(provider, request, isLong ? occasion.nonce : state, text, login)
      return seeOther(location, isLong ? [...own, stateCookieText(request, state)] : own)
    } catch (error) {
      return this.#unreachable(provider, error as Error)
    }
  }

  async #authorization(
    provider: OpenIdProviderPolicy,
    request: PortalRequest,
    state: string,
    form: string,
    login: LoginOccasion,
  ): Promise<string> {
    const { authorize } = await this.#options.keys.addresses(provider)
    const url = new URL(authorize)
    const parameters = {
      response_type: 'code',
      client_id: provider.clientId,
      redirect_uri: addressOf(request, OUTSIDE_PATHS.callback),
      scope: provider.scopes.join(' '),
      state,
      nonce: outsideNonce(login, provider.name),
      code_challenge: createHash('sha256').update(this.#options.forms.secret(form)).digest('base64url'),
      code_challenge_method: 'S256',
    }
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
    return url.href
  }

  /** What somebody who comes back from an OpenID Provider brings; or a page that says why it is nothing. */
  async returned(visit: OutsideVisit): Promise<Returned | PortalAnswer> {
    const { request, query } = visit
    for (const name of new Set(query.keys())) if (query.getAll(name).length > 1) return WRONG
    const state = query.get('state') ?? ''
    const isKept = state.length < 80
    const opened = this.#opened(visit, isKept ? this.#kept(request) : state)
    if ('status' in opened) return opened
    const { provider, form, occasion, to, enrols } = opened
    if (provider.kind !== 'openid' || (isKept && state !== occasion.nonce)) return WRONG
    try {
      const { token, saysIssuer } = await this.#options.keys.addresses(provider)
      const iss = query.get('iss')
      // Answers of one provider must not pass for those of another (RFC 9207 section 2.4).
      if (iss === null ? saysIssuer : iss !== provider.issuer) {
        this.#options.log(`a login by ${provider.name}: the answer is not from ${provider.issuer}`)
        return WRONG
      }
      const error = query.get('error')
      const code = query.get('code')
      if (error !== null || code === null || !CODE.test(code)) {
        this.#options.log(`a login by ${provider.name}: it says ${shown(error ?? 'nothing')}`)
        return noticePage('Not logged in', 'The other side did not let you in.', { status: 403, again: true })
      }
      const idToken = await this.#idToken(provider, token, code, addressOf(request, OUTSIDE_PATHS.callback), form)
      const proof: OutsideProof = { kind: 'openid', idToken }
      return this.#brought(request, provider, occasion, proof, { to, enrols })
    } catch (error) {
      return this.#unreachable(provider, error as Error)
    }
  }

  /**
   * What somebody brings whom a SAML identity provider had post to us. A browser that comes from elsewhere shows none of its cookies: it is asked to post
   * the same once more, from here.
   */
  posted(visit: OutsideVisit, fields: ReadonlyMap<string, string> | undefined, isFromHere: boolean): Returned | PortalAnswer {
    const { request } = visit
    const [answer, relayState] = [fields?.get('SAMLResponse') ?? '', fields?.get('RelayState') ?? '']
    if (answer === '' || answer.length > SAML_CHARS_MAX || !/^[A-Za-z0-9+/=\s]+$/.test(answer)) return WRONG
    if (!isFromHere)
      return onwardsPage(
        'Logging in',
        SAML_PATHS.acs,
        { SAMLResponse: answer, RelayState: relayState.slice(0, 80) },
        { status: 200 },
      )
    const opened = this.#opened(visit, this.#kept(request))
    if ('status' in opened) return opened
    const { provider, occasion, to, enrols } = opened
    if (provider.kind !== 'saml' || relayState !== occasion.nonce) return WRONG
    const response = Buffer.from(answer, 'base64').toString('base64url')
    const recipient = addressOf(request, SAML_PATHS.acs)
    return this.#brought(request, provider, occasion, { kind: 'saml', recipient, response }, { to, enrols })
  }

  /** As a service provider, for those who set up a provider for us. */
  metadata(request: PortalRequest): PortalAnswer {
    const body = serviceProviderMetadata(serviceEntityId(this.#options.ring, request.service), addressOf(request, SAML_PATHS.acs))
    return { status: 200, headers: ['content-type', 'application/samlmetadata+xml', 'x-content-type-options', 'nosniff'], body }
  }

  /** The state that the browser kept for us. */
  #kept(request: PortalRequest): string {
    const shown = this.#options.cookie(request, stateCookie(request)) ?? ''
    return /^[A-Za-z0-9._~@+-]{1,3200}$/.test(shown) ? shown : ''
  }

  #brought(
    { service }: PortalRequest,
    { name: provider }: ProviderPolicy,
    occasion: FormOccasion,
    proof: OutsideProof,
    { to, enrols }: Pick<Way, 'to' | 'enrols'>,
  ): Returned {
    const asked: OutsideRequest = { ...occasion, type: 'outside', ring: this.#options.ring, service, provider, proof }
    return { asked, to, enrols: enrols === '' ? undefined : enrols }
  }

  /** What the state of somebody who comes back says, if it was made for this browser. */
  #opened(
    { request, people, browser, nowMs }: OutsideVisit,
    state: string,
  ): (Way & { readonly form: string; readonly occasion: FormOccasion }) | PortalAnswer {
    const [, form, name, encoded, enrols] = STATE.exec(state) ?? []
    const provider = this.offered(people).find((one) => one.name === name)
    if (form === undefined || encoded === undefined || enrols === undefined || provider === undefined) return WRONG
    const to = Buffer.from(encoded, 'base64url').toString('utf8')
    const occasion = this.#options.forms.open(form, purposeOf(request, { provider, to, enrols }), browser, nowMs)
    if (occasion === undefined || (enrols !== '' && !PERSON_NAME.test(enrols))) return WRONG
    if (!this.#options.returns.take(request.source, nowMs))
      return noticePage('Too many logins', 'Please wait some minutes.', { status: 429, headers: ['retry-after', '60'] })
    return { form, occasion, provider, to, enrols }
  }

  /** Redeems the code (RFC 6749 section 4.1.3). @throws {OutsideUnreachable} @throws {ProviderSecretError} */
  async #idToken(provider: OpenIdProviderPolicy, url: string, code: string, callback: string, form: string): Promise<string> {
    const { clientId, authentication } = provider
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: callback,
      code_verifier: this.#options.forms.secret(form),
      ...(authentication.method === 'client_secret_basic' ? {} : { client_id: clientId }),
    })
    const headers: Record<string, string> = { 'content-type': 'application/x-www-form-urlencoded' }
    if (authentication.method === 'private_key_jwt') {
      body.set('client_assertion_type', ASSERTION_TYPE)
      body.set('client_assertion', await this.#assertion(provider))
    } else if (authentication.method !== 'none') {
      const secret = await this.#options.secrets.of(provider)
      if (authentication.method === 'client_secret_post') body.set('client_secret', secret)
      else headers.authorization = `Basic ${Buffer.from(`${formEncoded(clientId)}:${formEncoded(secret)}`).toString('base64')}`
    }
    const answer = await this.#options.http(url, { body: body.toString(), headers })
    const said = parsedObject(answer.body)
    if (answer.status !== 200 || typeof said?.id_token !== 'string') {
      // Nothing that it made of our secret.
      const isCode = typeof said?.error === 'string' && /^[a-z_]{1,40}$/.test(said.error)
      const why = isCode ? said.error : `${answer.status} without an ID token`
      throw new OutsideUnreachable(`the token endpoint of ${provider.name} says ${why}`)
    }
    if (!/^[A-Za-z0-9_-]{1,1024}\.[A-Za-z0-9_-]{1,7168}\.[A-Za-z0-9_-]{1,1024}$/.test(said.id_token))
      throw new OutsideUnreachable(`the ID token of ${provider.name} is no compact JWS of at most 8 KiB`)
    return said.id_token
  }

  /** Signed by the ring: RFC 7523 section 2.2. @throws {OutsideUnreachable} When the ring signs nothing just now. */
  async #assertion({ name }: OpenIdProviderPolicy): Promise<string> {
    const nonce = randomBytes(NONCE_BYTES).toString('base64url')
    const asked: ClientRequest = { type: 'client', atMs: Date.now(), nonce, provider: name, ring: this.#options.ring }
    try {
      return await this.#options.sign(asked, SIGN_MS_MAX)
    } catch (error) {
      throw new OutsideUnreachable(`the ring does not sign for ${name}: ${shown((error as Error).message)}`)
    }
  }

  #unreachable(provider: ProviderPolicy, error: Error): PortalAnswer {
    if (!(error instanceof OutsideUnreachable || error instanceof ProviderSecretError)) throw error
    this.#options.log(`a login by ${provider.name}: ${error.code}: ${error.message}`)
    const headers = ['retry-after', '10']
    return noticePage(
      'Not just now',
      `${provider.title ?? provider.name} cannot be asked just now. Please try again in a moment.`,
      {
        status: 503,
        headers,
        again: true,
      },
    )
  }
}

function purposeOf({ service }: PortalRequest, { provider, to, enrols }: Way): string {
  return `outside ${service} ${provider.name} ${Buffer.from(to).toString('base64url')} ${enrols}`
}

function addressOf({ secure, authority }: PortalRequest, path: string): string {
  return `${secure ? 'https' : 'http'}://${authority.toLowerCase()}${path}`
}

function stateCookie({ secure }: PortalRequest): string {
  return secure ? STATE_COOKIE.secure : STATE_COOKIE.plain
}

function stateCookieText(request: PortalRequest, value: string): string {
  const secure = request.secure ? '; Secure' : ''
  return `${stateCookie(request)}=${value}; Path=/; Max-Age=${STATE_COOKIE_S}; HttpOnly; SameSite=Lax${secure}`
}

/** As RFC 6749 section 2.3.1 has it in Basic. */
function formEncoded(text: string): string {
  return new URLSearchParams({ a: text }).toString().slice(2)
}

function parsedObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}

/** Of another's words, what may stand in a log. */
function shown(text: string): string {
  return text.slice(0, 64).replace(/[^\x21-\x7e]/g, ' ')
}

function seeOther(to: string, cookies: readonly string[]): PortalAnswer {
  const headers = ['location', to, 'cache-control', 'no-store', 'referrer-policy', 'no-referrer']
  return { status: 303, headers: [...headers, ...cookies.flatMap((cookie) => ['set-cookie', cookie])], body: '' }
}
