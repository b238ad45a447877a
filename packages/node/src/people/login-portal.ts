/**
 * Answers for the pages where people log in, log out and enrol, on every node alike. What they post is checked here as far as it can be said
 * politely; whether somebody gets a session the holders of the ring's key decide, each for itself (`checkPerson`).
 */
import { hash, sign } from 'node:crypto'
import {
  cookieValues,
  ENROL_PATH,
  LOGIN_PATH,
  LOGOUT_PATH,
  OPENID_PATHS,
  OUTSIDE_PATHS,
  SAML_PATHS,
  SIGNAL_PATHS,
  sessionCookie,
  sessionOf,
  type TokenVerifier,
} from '@ringwall/guard'
import {
  holderNow,
  type LoginOccasion,
  type LoginProof,
  loginChallenge,
  type OutsideRequest,
  outsideWord,
  PASSWORD_CHARS_MAX,
  PASSWORD_CHARS_MIN,
  type PersonRequest,
  passkeyOwner,
  passwordLoginBytes,
  publicHalf,
  readSession,
  registrationFault,
  type SessionClaims,
  seededKey,
} from '@ringwall/identity'
import { LedgerError } from '@ringwall/ledger'
import { type Portal, type PortalAnswer, type PortalRequest, type RenewedSession, sessionCookieText } from '@ringwall/proxy'
import { enrolmentBytes, PERSON_NAME, type People, type PeoplePolicy, type PersonCredential, type View } from '@ringwall/ring'
import { type Asked, MintRefused, SigningError } from '../signing/signing-service.ts'
import { Attempts } from './attempts.ts'
import type { FormOccasion, LoginForms } from './login-forms.ts'
import { clientOrigin, logoutTarget, type OpenIdOptions, OpenIdProvider } from './openid-provider.ts'
import type { OutsideHttp } from './outside-http.ts'
import { OutsideLogin, type Returned } from './outside-login.ts'
import { enrolPage, loginPage, logoutPage, noticePage, type OfferedProvider, type PageOptions } from './pages.ts'
import { type Passwords, PasswordsBusy } from './passwords.ts'
import type { ProviderKeys } from './provider-keys.ts'
import type { ProviderSecrets } from './provider-secrets.ts'
import { SamlProvider, type SamlProviderOptions } from './saml-provider.ts'
import { SecurityEvents } from './security-events.ts'
import type { SignalStreams } from './signal-streams.ts'

const MINT_MS_MAX = 8_000
const RENEW_MS_MAX = 4_000
const AGREE_MS_MAX = 10_000
/** Of one person, on this node. */
const LOGINS_MAX = 30
const LOGINS_WINDOW_MS = 300_000
/** Sessions that are being renewed, or were in this time. */
const RENEWED_MAX = 2_000
const RENEWED_MS = 60_000
const FORM_TYPE = /^\s*application\/x-www-form-urlencoded\s*(?:;\s*charset=utf-8\s*)?$/i
const FORM_COOKIE = { secure: '__Host-ringwall_form', plain: 'ringwall_form' } as const
const FORM_COOKIE_S = 900
/** The key of an invitation, while its owner is at a provider. */
const ENROL_COOKIE = { secure: '__Host-ringwall_enrol', plain: 'ringwall_enrol' } as const
/** Of one source in the same time: many people may share an address. */
const RETURNS_MAX = 300
const BUSY_RETRY_S = 2

export interface LoginPortalOptions {
  readonly ring: string
  /** Of this node. */
  readonly node: string
  readonly samlKey: SamlProviderOptions['samlKey']
  readonly view: () => View
  readonly people: () => People
  readonly tokens: () => TokenVerifier
  readonly isDenied: (credential: Parameters<View['denials']['matchCredential']>[0]) => boolean
  readonly forms: LoginForms
  readonly passwords: Passwords
  /** @throws {SigningError} @throws {MintRefused} */
  readonly mint: (asked: Asked, timeoutMs: number) => Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }>
  readonly redeem: OpenIdOptions['redeem']
  /** Of outside providers. */
  readonly providerKeys: ProviderKeys
  readonly http: OutsideHttp
  readonly secrets: Pick<ProviderSecrets, 'of'>
  /** In the node's own name. @throws {LedgerError} */
  readonly propose: (
    body:
      | { readonly type: 'person.enrol'; readonly credential: PersonCredential; readonly name: string; readonly proof: string }
      | { readonly type: 'token.revoke'; readonly token: string },
    waitMs: number,
  ) => Promise<unknown>
  /** Is the password known from breaches? */
  readonly isBreached: (password: string) => Promise<boolean> | boolean
  readonly log: (line: string) => void
  readonly signals: Pick<SignalStreams, 'answer'>
}

/** One request, with what every page asks of it. */
interface Visit {
  readonly request: PortalRequest
  readonly people: PeoplePolicy
  readonly query: URLSearchParams
  /** Of the form cookie; undefined: it has none. */
  readonly browser: string | undefined
  readonly nowMs: number
}

export class LoginPortal implements Portal {
  readonly #options: LoginPortalOptions
  readonly #renewed = new Map<string, { readonly untilMs: number; readonly renewal: Promise<RenewedSession | undefined> }>()

  readonly #openid: OpenIdProvider
  readonly #outside: OutsideLogin
  readonly #saml: SamlProvider
  readonly #events: SecurityEvents
  /** Each costs the ring a signature, and may end in a denial. */
  readonly #logins = new Attempts(LOGINS_MAX, LOGINS_WINDOW_MS)

  constructor(options: LoginPortalOptions) {
    this.#options = options
    const signed = async (person: PersonRequest, timeoutMs: number): Promise<string> => {
      const { message, signature } = await options.mint({ person }, timeoutMs)
      return `${Buffer.from(message).toString()}.${Buffer.from(signature).toString('base64url')}`
    }
    this.#openid = new OpenIdProvider({
      ...options,
      mint: signed,
      revoke: (token) => this.#end(token),
      formCookie: formCookieText,
    })
    this.#saml = new SamlProvider(options)
    this.#events = new SecurityEvents({
      ...options,
      show: (token) => options.propose({ type: 'token.revoke', token }, AGREE_MS_MAX),
    })
    this.#outside = new OutsideLogin({
      ...options,
      keys: options.providerKeys,
      sign: signed,
      returns: new Attempts(RETURNS_MAX, LOGINS_WINDOW_MS),
      formCookie: formCookieText,
      cookie: cookieOf,
    })
  }

  async answer(request: PortalRequest): Promise<PortalAnswer> {
    const { services } = this.#options.view().policy
    const people = Object.hasOwn(services, request.service) ? services[request.service]?.people : undefined
    if (people === undefined) return noticePage('Nobody logs in here', 'This service knows no people.', { status: 404 })
    const at = request.target.indexOf('?')
    const path = at < 0 ? request.target : request.target.slice(0, at)
    const visit: Visit = {
      request,
      people,
      query: new URLSearchParams(at < 0 ? '' : request.target.slice(at + 1)),
      browser: cookieOf(request, formCookie(request)),
      nowMs: Date.now(),
    }
    if (path.startsWith('/.ringwall/signals/') || path === SIGNAL_PATHS.configuration) {
      const isIssuer = this.#options.view().policy.openid?.service === request.service
      const answer = isIssuer ? await this.#options.signals.answer(request, path, visit.nowMs) : undefined
      if (answer !== undefined) return answer
    }
    if (path.startsWith('/.ringwall/oidc/') || path.startsWith('/.well-known/')) {
      const answer = await this.#openIdAnswer(visit, path)
      if (answer !== undefined) return answer
    }
    const isReading = request.method === 'GET' || request.method === 'HEAD'
    if (!isReading && request.method !== 'POST')
      return noticePage('Not this way', 'Open the page with a browser.', { status: 405, headers: ['allow', 'GET, HEAD, POST'] })
    if (isReading) {
      const asProvider = await this.#saml.answer({ ...visit, session: this.#held(visit)?.token }, path)
      if (asProvider !== undefined) return asProvider
      if (path === LOGIN_PATH) return this.#loginAsked(visit)
      if (path === LOGOUT_PATH) return this.#logoutAsked(visit)
      if (path === ENROL_PATH) return this.#enrolAsked(visit)
      if (path === SAML_PATHS.metadata) return this.#outside.metadata(request)
      if (path === OUTSIDE_PATHS.begin) return this.#outsideBegun(visit)
      if (path === OUTSIDE_PATHS.callback) return this.#returned(visit, await this.#outside.returned(visit))
      return noticePage('Not found', 'There is no such page.', { status: 404 })
    }
    if (path === OUTSIDE_PATHS.signals) return this.#events.receive(request, visit.nowMs)
    if (path === SAML_PATHS.acs)
      return this.#returned(visit, this.#outside.posted(visit, formFields(request), isFromHere(request)))
    const fields = isFromHere(request) ? formFields(request) : undefined
    if (fields === undefined)
      return noticePage('Not this way', 'The form did not come from this site’s own page.', { status: 403, again: true })
    if (path === LOGIN_PATH) return this.#loginPosted(visit, fields)
    if (path === LOGOUT_PATH) return this.#logoutPosted(visit, fields)
    if (path === ENROL_PATH) return this.#enrolPosted(visit, fields)
    return noticePage('Not found', 'There is no such page.', { status: 404 })
  }

  #openIdAnswer(visit: Visit, path: string): Promise<PortalAnswer | undefined> | undefined {
    const { request } = visit
    const openid = this.#options.view().policy.openid
    if (openid?.service !== request.service || !['GET', 'HEAD', 'POST'].includes(request.method)) return undefined
    const isPost = request.method === 'POST'
    // Programs post to all but the page where people are asked.
    const isPage = path === OPENID_PATHS.authorize
    const fields = isPost && (!isPage || isFromHere(request)) ? formFields(request) : undefined
    return this.#openid.answer({ ...visit, session: this.#held(visit)?.token }, path, fields)
  }

  /** By the ring, from the token that it has: any node does it for any other's. */
  renew(token: string): Promise<RenewedSession | undefined> {
    const nowMs = Date.now()
    const name = hash('sha256', token, 'base64url')
    const known = this.#renewed.get(name)
    if (known !== undefined && known.untilMs > nowMs) return known.renewal
    const asked: Asked = { person: { type: 'renew', atMs: nowMs, ring: this.#options.ring, token } }
    const renewal = this.#minted(asked, RENEW_MS_MAX).catch((error: Error) => {
      // Tried again with a later request; the token is good until it ends.
      this.#renewed.delete(name)
      if (!(error instanceof MintRefused)) this.#options.log(`a session is not renewed now: ${error.message}`)
      return undefined
    })
    this.#renewed.delete(name)
    this.#renewed.set(name, { untilMs: nowMs + RENEWED_MS, renewal })
    if (this.#renewed.size > RENEWED_MAX) this.#renewed.delete(this.#renewed.keys().next().value as string)
    return renewal
  }

  async #minted(asked: Asked, timeoutMs: number): Promise<RenewedSession> {
    const { message, signature } = await this.#options.mint(asked, timeoutMs)
    const token = `${Buffer.from(message).toString()}.${Buffer.from(signature).toString('base64url')}`
    const claims = readSession(token, this.#options.view())
    if (claims === undefined) throw new SigningError('SIGNING_SHORT', 'the ring’s key was replaced meanwhile')
    return { token, forS: Math.max(1, claims.exp - Math.floor(Date.now() / 1_000)) }
  }

  // Logging in.

  #loginAsked(visit: Visit): PortalAnswer {
    const to = safeTarget(visit.query.get('to'))
    // Whom the service refuses is asked, not sent on to where it refuses them.
    if (visit.query.get('again') === null && this.#isLetIn(visit)) return redirect(to, [])
    return this.#loginPage(visit, to, { status: 200 })
  }

  #loginPage(visit: Visit, to: string, options: PageOptions, said?: string): PortalAnswer {
    const { request, people, nowMs } = visit
    const browser = this.#options.forms.browser(visit.browser)
    const { text: form, occasion } = this.#options.forms.issue(`login ${request.service}`, browser, nowMs)
    const challenge = loginChallenge(this.#occasion(request, occasion))
    const { host } = request
    const providers = this.#offered(people, (name) => `provider=${name}&to=${encodeURIComponent(to)}`)
    const shown = { host, form, to, methods: people.methods, providers, challenge, domain: people.domain ?? host, said }
    const headers = [...(options.headers ?? []), 'set-cookie', formCookieText(request, browser)]
    // A browser holds the redirects after a form to its page’s policy, up to the client.
    const onwards = clientOrigin(this.#options.view().policy.openid, to)
    return loginPage(shown, { status: options.status, headers }, onwards)
  }

  #occasion({ service }: PortalRequest, { atMs, nonce }: FormOccasion): LoginOccasion {
    return { atMs, nonce, ring: this.#options.ring, service }
  }

  async #loginPosted(visit: Visit, fields: Fields): Promise<PortalAnswer> {
    const { request, nowMs } = visit
    const to = safeTarget(fields.get('to'))
    const occasion = this.#options.forms.open(fields.get('form') ?? '', `login ${request.service}`, visit.browser, nowMs)
    if (occasion === undefined)
      return this.#loginPage(visit, to, { status: 400 }, 'The page was open for too long. Please try again.')
    const login = this.#occasion(request, occasion)
    try {
      const way = fields.get('with')
      if (way === 'passkey') return await this.#byPasskey(visit, fields, login, to)
      if (way === 'password') return await this.#byPassword(visit, fields, login, to)
      return this.#loginPage(visit, to, { status: 400 }, 'Choose a way to log in.')
    } catch (error) {
      return this.#loginFailed(visit, to, error as Error)
    }
  }

  #loginFailed(visit: Visit, to: string, error: Error): PortalAnswer {
    if (error instanceof MintRefused && error.code === 'MINT_STALE')
      return this.#loginPage(visit, to, { status: 400 }, 'The page was open for too long. Please try again.')
    if (error instanceof MintRefused && error.code !== 'MINT_NO_KEY')
      return this.#loginPage(visit, to, { status: 401 }, 'That did not work. Please try again.')
    const isExpected = error instanceof MintRefused || error instanceof SigningError || error instanceof PasswordsBusy
    this.#options.log(`a login failed: ${error.message}`)
    if (!isExpected) throw error
    const headers = ['retry-after', String(BUSY_RETRY_S)]
    return this.#loginPage(visit, to, { status: 503, headers }, 'Nobody can log in just now. Please try again in a moment.')
  }

  async #byPasskey(visit: Visit, fields: Fields, login: LoginOccasion, to: string): Promise<PortalAnswer> {
    const [id, authenticatorData, clientDataJSON, signature] = [
      fields.get('id') ?? '',
      fields.get('authenticatorData') ?? '',
      fields.get('clientDataJSON') ?? '',
      fields.get('signature') ?? '',
    ]
    const wrong = 'This passkey did not work here.'
    const isWhole = [authenticatorData, clientDataJSON, signature].every((text) => /^[A-Za-z0-9_-]{1,3000}$/.test(text))
    if (!visit.people.methods.includes('passkey') || !isWhole) return this.#loginPage(visit, to, { status: 401 }, wrong)
    const proof = { kind: 'passkey', id, authenticatorData, clientDataJSON, signature } as const
    const expected = { challenge: loginChallenge(login), rpId: visit.people.domain ?? visit.request.host }
    // First of all, so that it takes the same for a passkey that nobody has, and nobody but its owner uses up their logins.
    const person = passkeyOwner(this.#options.people(), proof, expected)
    if (person === undefined) return this.#loginPage(visit, to, { status: 401 }, wrong)
    return this.#loggedIn(visit, login, person.name, proof, to)
  }

  async #byPassword(visit: Visit, fields: Fields, login: LoginOccasion, to: string): Promise<PortalAnswer> {
    const { passwords } = this.#options
    const name = (fields.get('name') ?? '').normalize('NFKC').trim().toLowerCase()
    const password = fields.get('password') ?? ''
    const wrong = 'Name or password are wrong.'
    if (!visit.people.methods.includes('password') || password.length > PASSWORD_CHARS_MAX || !PERSON_NAME.test(name))
      return this.#loginPage(visit, to, { status: 401 }, wrong)
    const waitS = passwords.waitS(name, visit.nowMs)
    if (waitS > 0) {
      const headers = ['retry-after', String(waitS)]
      return this.#loginPage(
        visit,
        to,
        { status: 429, headers },
        'Too many attempts with this name. Wait some minutes, or use a passkey.',
      )
    }
    // Counted before it is known: many at once are many.
    passwords.failed(name, visit.nowMs)
    const held = this.#options
      .people()
      .get(name)
      ?.credentials.find((one) => one.kind === 'password')
    const key = await passwords.check(name, password, held, visit.request.source)
    if (key === undefined) return this.#loginPage(visit, to, { status: 401 }, wrong)
    passwords.succeeded(name)
    const signature = sign(null, passwordLoginBytes(login, name), key).toString('base64url')
    return this.#loggedIn(visit, login, name, { kind: 'password', signature }, to)
  }

  /** A session of its own for each login: what the browser had before counts for nothing. */
  async #loggedIn(visit: Visit, login: LoginOccasion, person: string, proof: LoginProof, to: string): Promise<PortalAnswer> {
    if (!this.#logins.take(person, visit.nowMs)) {
      const headers = ['retry-after', String(this.#logins.waitS(person, visit.nowMs))]
      return this.#loginPage(visit, to, { status: 429, headers }, 'Too many logins. Please wait some minutes.')
    }
    const session = await this.#minted({ person: { ...login, type: 'login', person, proof } }, MINT_MS_MAX)
    const { secure } = visit.request
    return redirect(to, [sessionCookieText(session, secure), endedCookie(formCookie(visit.request), secure)])
  }

  // Outside providers.

  /** @param linked Those alone whose people can be of the directory. */
  #offered(people: PeoplePolicy, query: (name: string) => string, linked?: 'linked'): readonly OfferedProvider[] {
    return this.#outside
      .offered(people)
      .filter(({ accounts }) => linked === undefined || accounts !== 'made')
      .map(({ name, title }) => ({ title: title ?? name, href: `${OUTSIDE_PATHS.begin}?${query(name)}` }))
  }

  #outsideBegun(visit: Visit): PortalAnswer | Promise<PortalAnswer> {
    const { query, request, nowMs } = visit
    const name = query.get('name')
    if (name === null) return this.#outside.begin(visit, safeTarget(query.get('to')), '', [])
    const key = query.get('key') ?? ''
    if (!isFromHere(request) || !this.#isInvited(name, key, nowMs)) return NOT_INVITED
    const secure = request.secure ? '; Secure' : ''
    const cookie = `${enrolCookie(request)}=${key}; Path=/; Max-Age=${FORM_COOKIE_S}; HttpOnly; SameSite=Lax${secure}`
    return this.#outside.begin(visit, '/', name, [cookie])
  }

  async #returned(visit: Visit, returned: Returned | PortalAnswer): Promise<PortalAnswer> {
    if ('status' in returned) return returned
    const { asked, to, enrols } = returned
    if (enrols !== undefined) return this.#outsideEnrolled(visit, asked, enrols)
    const { secure } = visit.request
    try {
      const session = await this.#minted({ person: asked }, MINT_MS_MAX)
      return redirect(safeTarget(to), [sessionCookieText(session, secure), endedCookie(formCookie(visit.request), secure)])
    } catch (error) {
      const isExpected = error instanceof MintRefused || error instanceof SigningError
      this.#options.log(`a login by ${asked.provider} failed: ${(error as Error).message}`)
      if (!isExpected) throw error
      if (error instanceof MintRefused && error.code !== 'MINT_NO_KEY')
        return noticePage('Not logged in', 'This account may not log in here. Whoever runs this site can invite you.', {
          status: 403,
          again: true,
        })
      const headers = ['retry-after', String(BUSY_RETRY_S)]
      return noticePage('Not just now', 'Nobody can log in just now. Please try again in a moment.', {
        status: 503,
        headers,
        again: true,
      })
    }
  }

  /** Whoever holds the invitation says which account is theirs; this node sees to it that it is. */
  async #outsideEnrolled(visit: Visit, asked: OutsideRequest, name: string): Promise<PortalAnswer> {
    const { request, nowMs } = visit
    const key = cookieOf(request, enrolCookie(request)) ?? ''
    const provider = this.#options.view().policy.providers.find((one) => one.name === asked.provider)
    if (!this.#isInvited(name, key, nowMs) || provider === undefined) return NOT_INVITED
    await this.#options.providerKeys.prepare(asked)
    const word = outsideWord(asked, { providerKeys: (of) => this.#options.providerKeys.keys(of) }, provider, nowMs)
    if ('ok' in word) {
      this.#options.log(`an enrolment by ${provider.name} failed: ${word.code}: ${word.reason}`)
      return noticePage('This did not work', 'What the other side said cannot be taken.', { status: 403 })
    }
    if (this.#options.people().byOutside(provider.name, word.subject) !== undefined)
      return noticePage('This did not work', 'Somebody is known by this account already.', { status: 409 })
    const before = this.#session(visit)
    const credential: PersonCredential = { kind: 'outside', provider: provider.name, subject: word.subject }
    const fault = await this.#enrol(name, key, credential)
    if (fault !== undefined) return noticePage('This did not work', fault, { status: 503 })
    const { secure } = request
    const cookies = [endedCookie(formCookie(request), secure), endedCookie(enrolCookie(request), secure)]
    const held = before === undefined ? undefined : readSession(before, this.#options.view())
    if (before === undefined || held?.idp !== provider.name || held.idp_sub !== word.subject)
      return this.#enrolled(visit, name, cookies)
    const session = await this.#handedOver(asked, before)
    return redirect(session === undefined ? LOGIN_PATH : '/', [
      session === undefined ? endedCookie(sessionCookie(secure), secure) : sessionCookieText(session, secure),
      ...cookies,
    ])
  }

  /**
   * The browser is logged in by the very account that was linked just now. Whom that session names is nobody any more, so it ends; the word that linked the
   * account makes the session of whom it names from now on. Of any other session nothing is taken over: who it is of has to log in.
   */
  async #handedOver(asked: OutsideRequest, before: string): Promise<RenewedSession | undefined> {
    try {
      return await this.#minted({ person: asked }, MINT_MS_MAX)
    } catch (error) {
      if (!(error instanceof MintRefused || error instanceof SigningError)) throw error
      this.#options.log(`a session is not made anew after an enrolment by ${asked.provider}: ${error.message}`)
      return undefined
    } finally {
      await this.#end(before)
    }
  }

  // Logging out.

  #logoutAsked(visit: Visit): PortalAnswer {
    const { request, nowMs } = visit
    if (this.#session(visit) === undefined)
      return noticePage('Logged out', 'Nobody is logged in with this browser.', { status: 200, again: true })
    const browser = this.#options.forms.browser(visit.browser)
    const { text } = this.#options.forms.issue(`logout ${request.service}`, browser, nowMs)
    const [client, to] = [visit.query.get('client'), visit.query.get('to')]
    const target = logoutTarget(this.#options.view().policy.openid, client, to)
    const onwards =
      target === undefined ? undefined : { fields: { client: client ?? '', to: target }, origin: formOrigin(target) }
    return logoutPage(request.host, text, { status: 200, headers: ['set-cookie', formCookieText(request, browser)] }, onwards)
  }

  async #logoutPosted(visit: Visit, fields: Fields): Promise<PortalAnswer> {
    const { request, nowMs } = visit
    if (this.#options.forms.open(fields.get('form') ?? '', `logout ${request.service}`, visit.browser, nowMs) === undefined)
      return this.#logoutAsked(visit)
    const token = this.#session(visit)
    const cookies = [endedCookie(sessionCookie(request.secure), request.secure), endedCookie(formCookie(request), request.secure)]
    const headers = ['set-cookie', cookies[0] as string, 'set-cookie', cookies[1] as string]
    if (token !== undefined) await this.#end(token)
    const target = logoutTarget(this.#options.view().policy.openid, fields.get('client') ?? null, fields.get('to') ?? null)
    if (target !== undefined) return redirect(target, cookies)
    return noticePage('Logged out', 'Your session has ended.', { status: 200, headers, again: true })
  }

  /** What the token stands for. */
  async #end(token: string): Promise<void> {
    try {
      await this.#options.propose({ type: 'token.revoke', token }, AGREE_MS_MAX)
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      // Enforced everywhere by gossip, and agreed on when the others are back.
      if (error.code !== 'NO_QUORUM') this.#options.log(`a session is not ended: ${error.message}`)
    }
  }

  /** The session of this browser, if it is still somebody's. */
  #held(visit: Visit): { readonly token: string; readonly claims: SessionClaims; readonly name: string } | undefined {
    const token = this.#session(visit)
    const view = this.#options.view()
    const claims = token === undefined ? undefined : readSession(token, view)
    if (token === undefined || claims === undefined) return undefined
    const holder = holderNow({ people: this.#options.people(), policy: view.policy }, claims)
    return holder === undefined ? undefined : { token, claims, name: holder.name }
  }

  /** As the guard has it: groups count as the session names them. */
  #isLetIn(visit: Visit): boolean {
    const { groups } = visit.people
    const held = this.#held(visit)?.claims
    return held !== undefined && (groups.length === 0 || groups.some((group) => held.groups.includes(group)))
  }

  /** The token of the session that this browser has, if it is good. */
  #session({ request, people, nowMs }: Visit): string | undefined {
    const { tokens, view, isDenied } = this.#options
    const session = sessionOf(request, { name: request.service, people }, { tokens: tokens(), nowMs, view: view() })
    return session === undefined || isDenied(session.verdict) ? undefined : session.token
  }

  // Enrolling.

  #enrolAsked(visit: Visit): PortalAnswer {
    const [name, key] = [visit.query.get('name') ?? '', visit.query.get('key') ?? '']
    return this.#isInvited(name, key, visit.nowMs) ? this.#enrolPage(visit, name, key, { status: 200 }) : NOT_INVITED
  }

  #isInvited(name: string, key: string, nowMs: number): boolean {
    if (!PERSON_NAME.test(name) || !/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(key)) return false
    // Before anybody is looked up: it takes as long for a name that nobody has.
    const shown = publicHalf(seededKey(Buffer.from(key, 'base64url')))
    const invitation = this.#options.people().get(name)?.invitation
    return invitation != null && invitation.untilMs > nowMs && shown === invitation.key
  }

  #enrolPage(visit: Visit, name: string, key: string, options: PageOptions, said?: string): PortalAnswer {
    const { request, people, nowMs } = visit
    const { ring, forms } = this.#options
    const browser = forms.browser(visit.browser)
    const { text: form, occasion } = forms.issue(`enrol ${request.service} ${name}`, browser, nowMs)
    const { host } = request
    const challenge = loginChallenge(this.#occasion(request, occasion))
    // Says nothing of the person to who reads it from an authenticator.
    const user = hash('sha256', `${ring} ${name}`, 'base64url')
    const domain = people.domain ?? host
    const invitation = `name=${encodeURIComponent(name)}&key=${encodeURIComponent(key)}`
    const providers = this.#offered(people, (provider) => `provider=${provider}&${invitation}`, 'linked')
    const now = this.#held(visit)?.name
    const other = now === name ? undefined : now
    const shown = { host, form, name, key, methods: people.methods, providers, challenge, domain, user, other, said }
    return enrolPage(shown, { ...options, headers: ['set-cookie', formCookieText(request, browser)] })
  }

  async #enrolPosted(visit: Visit, fields: Fields): Promise<PortalAnswer> {
    const { request, people, nowMs } = visit
    const [name, key] = [fields.get('name') ?? '', fields.get('key') ?? '']
    if (!this.#isInvited(name, key, nowMs)) return NOT_INVITED
    const again = (text: string): PortalAnswer => this.#enrolPage(visit, name, key, { status: 400 }, text)
    const occasion = this.#options.forms.open(fields.get('form') ?? '', `enrol ${request.service} ${name}`, visit.browser, nowMs)
    if (occasion === undefined) return again('The page was open for too long. Please try again.')
    const way = fields.get('with')
    let credential: PersonCredential
    if (way === 'password' && people.methods.includes('password')) {
      const password = fields.get('password') ?? ''
      const fault = await this.#passwordFault(password, fields.get('again') ?? '', name)
      if (fault !== undefined) return again(fault)
      try {
        credential = await this.#options.passwords.enrol(password, request.source)
      } catch (error) {
        if (!(error instanceof PasswordsBusy)) throw error
        return again('There is too much to do just now. Please try again in a moment.')
      }
    } else if (way === 'passkey' && people.methods.includes('passkey')) {
      const made = {
        authenticatorData: fields.get('authenticatorData') ?? '',
        clientDataJSON: fields.get('clientDataJSON') ?? '',
        id: fields.get('id') ?? '',
        publicKey: fields.get('publicKey') ?? '',
      }
      const rpId = people.domain ?? request.host
      const expected = { challenge: loginChallenge(this.#occasion(request, occasion)), rpId }
      const fault = registrationFault(made, expected)
      if (fault !== undefined) return again(`This passkey cannot be taken: ${fault}.`)
      credential = { id: made.id, kind: 'passkey', publicKey: made.publicKey, rpId }
    } else return again('Choose how you want to log in.')
    const fault = await this.#enrol(name, key, credential)
    if (fault !== undefined) return again(fault)
    return this.#enrolled(visit, name, [endedCookie(formCookie(request), request.secure)])
  }

  /** On to where they log in: also where the browser is logged in as somebody else. */
  #enrolled(visit: Visit, name: string, cookies: readonly string[]): PortalAnswer {
    return redirect(this.#held(visit)?.name === name ? LOGIN_PATH : `${LOGIN_PATH}?again=1`, cookies)
  }

  /** Signed by the invitation's key. Undefined: it is agreed on; else what to say. */
  async #enrol(name: string, key: string, credential: PersonCredential): Promise<string | undefined> {
    const signed = enrolmentBytes(this.#options.ring, name, credential)
    const proof = sign(null, signed, seededKey(Buffer.from(key, 'base64url'))).toString('base64url')
    try {
      await this.#options.propose({ type: 'person.enrol', credential, name, proof }, AGREE_MS_MAX)
      return undefined
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      this.#options.log(`an enrolment is not agreed on: ${error.message}`)
      return 'The ring could not agree on it just now. Please try again in a moment.'
    }
  }

  async #passwordFault(password: string, again: string, name: string): Promise<string | undefined> {
    const { length } = [...password]
    if (length < PASSWORD_CHARS_MIN) return `At least ${PASSWORD_CHARS_MIN} characters, please.`
    if (password.length > PASSWORD_CHARS_MAX) return `At most ${PASSWORD_CHARS_MAX} characters, please.`
    if (password !== again) return 'The two are not the same.'
    if (password.toLowerCase().includes(name)) return 'It must not hold the name.'
    return (await this.#options.isBreached(password)) ? 'It is known from breaches: choose another.' : undefined
  }
}

const NOT_INVITED = noticePage('This invitation does not work', 'It was used, is over, or was replaced. Ask for another.', {
  status: 404,
})

type Fields = ReadonlyMap<string, string>

/** Undefined: no form of ours, which has each field once. */
function formFields({ headers, body }: PortalRequest): Fields | undefined {
  const types = headers.filter(([name]) => name.toLowerCase() === 'content-type')
  if (types.length !== 1 || !FORM_TYPE.test((types[0] as readonly [string, string])[1])) return undefined
  const fields = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(Buffer.from(body).toString('utf8'))) {
    if (fields.has(name) || fields.size >= 32) return undefined
    fields.set(name, value)
  }
  return fields
}

/** Sent by a page of this origin (Fetch Metadata, or Origin where that is not there). */
function isFromHere({ headers, authority, secure }: PortalRequest): boolean {
  const all = (wanted: string): readonly string[] =>
    headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value.trim())
  const sites = all('sec-fetch-site')
  if (sites.length > 0) return sites.every((site) => site === 'same-origin')
  const origins = all('origin')
  const own = `${secure ? 'https' : 'http'}://${authority}`
  // Programs say neither, and bring no one else's cookies.
  return origins.every((origin) => origin.toLowerCase() === own.toLowerCase())
}

/** The first of that name. */
function cookieOf({ headers }: PortalRequest, name: string): string | undefined {
  const fields = headers.filter(([held]) => held.toLowerCase() === 'cookie').map(([, value]) => value)
  return cookieValues(fields, name)[0]
}

function formCookie({ secure }: Pick<PortalRequest, 'secure'>): string {
  return secure ? FORM_COOKIE.secure : FORM_COOKIE.plain
}

function enrolCookie({ secure }: Pick<PortalRequest, 'secure'>): string {
  return secure ? ENROL_COOKIE.secure : ENROL_COOKIE.plain
}

function formCookieText(request: PortalRequest, browser: string): string {
  const secure = request.secure ? '; Secure' : ''
  return `${formCookie(request)}=${browser}; Path=/; Max-Age=${FORM_COOKIE_S}; HttpOnly; SameSite=Lax${secure}`
}

/** As a policy of forms names it. */
function formOrigin(target: string): string {
  const { origin, protocol } = new URL(target)
  return origin === 'null' ? protocol : origin
}

function endedCookie(name: string, secure: boolean): string {
  return `${name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`
}

/** A path of this site and nothing else, whatever a browser might make of it (RFC 3986 section 4.2). */
export function safeTarget(text: string | null | undefined): string {
  if (text == null || text.length > 2_048 || !/^\/(?![/\\])[\x21-\x7e]*$/.test(text) || text.includes('\\')) return '/'
  const url = URL.parse(text, 'http://here.invalid')
  if (url === null || url.origin !== 'http://here.invalid') return '/'
  // Dot segments leave paths that begin with two slashes, which are hosts.
  const path = `${url.pathname}${url.search}`
  return path.startsWith('//') || path.startsWith('/.ringwall/login') || path.startsWith('/.ringwall/logout') ? '/' : path
}

function redirect(to: string, cookies: readonly string[]): PortalAnswer {
  const headers = [
    'location',
    to,
    'cache-control',
    'no-store',
    'content-type',
    'text/plain; charset=utf-8',
    'referrer-policy',
    'no-referrer',
  ]
  return { status: 303, headers: [...headers, ...cookies.flatMap((cookie) => ['set-cookie', cookie])], body: '' }
}
