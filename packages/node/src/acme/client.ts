/** A client of ACME (RFC 8555): one account, orders, and what they need. Keys are P-256, signatures ES256. */
import { createHash, createHmac, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { z } from 'zod'
import type { AcmeHttp, AcmeResponse } from './https.ts'

const NONCE_RETRIES_MAX = 10
const NONCES_KEPT_MAX = 8
const POLL_MS_MIN = 1_000
const POLL_MS_MAX = 30_000
const ORDER_MS_MAX = 300_000
const DETAIL_CHARS_MAX = 400
const RETRY_AFTER_MS_MAX = 7 * 86_400_000
const CHAIN_CHARS_MAX = 200_000
const PROBLEM = 'urn:ietf:params:acme:error:'

const Url = z.string().max(2_048).startsWith('https://')
const Problem = z.looseObject({
  type: z.string().default('about:blank'),
  detail: z.string().default(''),
  subproblems: z
    .array(z.looseObject({ detail: z.string().default(''), identifier: z.looseObject({ value: z.string() }).optional() }))
    .max(100)
    .default([]),
})
const Directory = z.looseObject({
  newNonce: Url,
  newAccount: Url,
  newOrder: Url,
  renewalInfo: Url.optional(),
  meta: z.looseObject({ termsOfService: z.string().optional(), externalAccountRequired: z.boolean().optional() }).default({}),
})
const Order = z.looseObject({
  status: z.enum(['pending', 'ready', 'processing', 'valid', 'invalid']),
  authorizations: z.array(Url).min(1).max(100),
  finalize: Url,
  certificate: Url.optional(),
  error: Problem.optional(),
})
const Challenge = z.looseObject({
  type: z.string(),
  url: Url,
  // Section 8.3: of characters that mean nothing in a path.
  token: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,256}$/)
    .optional(),
  status: z.string(),
  error: Problem.optional(),
})
const Authorization = z.looseObject({
  status: z.enum(['pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked']),
  identifier: z.looseObject({ type: z.literal('dns'), value: z.string().max(253) }),
  wildcard: z.boolean().default(false),
  challenges: z.array(z.unknown()).max(20).default([]),
})
const RenewalInfo = z.looseObject({
  suggestedWindow: z.looseObject({ start: z.string(), end: z.string() }),
})

export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01'

/** Not done, and why: for people. `retryAfterMs`: how long the server wants to be left alone. */
export class AcmeError extends Error {
  override readonly name = 'AcmeError'
  readonly type: string
  readonly retryAfterMs: number | undefined
  constructor(message: string, type = '', retryAfterMs?: number, options?: ErrorOptions) {
    super(message, options)
    this.type = type
    this.retryAfterMs = retryAfterMs
  }
}

/** What a validation is to find at a name. */
export interface Proof {
  readonly type: ChallengeType
  /** Of a wildcard, what stands behind the star. */
  readonly name: string
  readonly token: string
  readonly keyAuthorization: string
}

export interface ExternalAccount {
  readonly id: string
  /** HMAC key, as the server gave it: base64url. */
  readonly key: string
}

export interface OrderOptions {
  readonly names: readonly string[]
  /** DER of the request for a certificate. */
  readonly request: Uint8Array
  /** In the order of preference. */
  readonly challenges: readonly ChallengeType[]
  /** The certificate that it takes the place of (RFC 9773 section 5). */
  readonly replaces: string | undefined
  /** Resolves when the proof can be found. */
  present(proof: Proof): Promise<void>
  withdraw(proof: Proof): void
}

export interface AcmeClientOptions {
  readonly directory: string
  readonly key: KeyObject
  readonly http: AcmeHttp
  /** Of the account, as far as it is known. */
  readonly account: string | undefined
  readonly sleep: (ms: number) => Promise<void>
  readonly nowMs?: () => number
}

export class AcmeClient {
  readonly #options: AcmeClientOptions
  readonly #jwk: { readonly crv: string; readonly kty: string; readonly x: string; readonly y: string }
  readonly #nowMs: () => number
  #known: z.output<typeof Directory> | undefined
  #account: string | undefined
  #nonces: string[] = []

  constructor(options: AcmeClientOptions) {
    this.#options = options
    this.#account = options.account
    this.#nowMs = options.nowMs ?? Date.now
    const { crv, kty, x, y } = createPublicKey(options.key).export({ format: 'jwk' })
    this.#jwk = { crv: crv!, kty: kty!, x: x!, y: y! }
  }

  /** RFC 7638, of the account's key. */
  get thumbprint(): string {
    return createHash('sha256').update(JSON.stringify(this.#jwk)).digest('base64url')
  }

  async #directory(): Promise<z.output<typeof Directory>> {
    if (this.#known !== undefined) return this.#known
    const response = await this.#options.http('GET', this.#options.directory)
    if (response.status !== 200) throw this.#problem(response, 'its directory')
    this.#known = this.#parsed(Directory, response, 'its directory')
    return this.#known
  }

  /** Makes the account, or finds it again. @returns Its URL. */
  async account(contact: string | undefined, external: ExternalAccount | undefined): Promise<string> {
    if (this.#account !== undefined) return this.#account
    const { newAccount, meta } = await this.#directory()
    if (meta.externalAccountRequired === true && external === undefined)
      throw new AcmeError(
        `${this.#host} wants an account of its own to be named: acme.externalAccount`,
        'externalAccountRequired',
      )
    const response = await this.#post(newAccount, 'the account', {
      termsOfServiceAgreed: true,
      ...(contact === undefined ? {} : { contact: [`mailto:${contact}`] }),
      ...(external === undefined ? {} : { externalAccountBinding: this.#binding(newAccount, external) }),
    })
    const [location] = [response.headers.location].flat()
    if (location === undefined || !Url.safeParse(location).success)
      throw new AcmeError(`${this.#host} gave the account no address`)
    this.#account = location
    return location
  }

  /** Section 7.3.4. */
  #binding(url: string, { id, key }: ExternalAccount): object {
    const head = encoded({ alg: 'HS256', kid: id, url })
    const payload = encoded(this.#jwk)
    const signature = createHmac('sha256', Buffer.from(key, 'base64url')).update(`${head}.${payload}`).digest('base64url')
    return { protected: head, payload, signature }
  }

  /** When the certificate of that name should be renewed (RFC 9773 section 4.2); undefined where the server does not say. */
  async renewalWindow(
    name: string,
  ): Promise<{ readonly startMs: number; readonly endMs: number; readonly askAgainMs: number } | undefined> {
    const { renewalInfo } = await this.#directory()
    if (renewalInfo === undefined) return undefined
    const response = await this.#options.http('GET', `${renewalInfo}/${name}`)
    if (response.status !== 200) throw this.#problem(response, 'the time to renew')
    const { suggestedWindow } = this.#parsed(RenewalInfo, response, 'the time to renew')
    const [startMs, endMs] = [Date.parse(suggestedWindow.start), Date.parse(suggestedWindow.end)]
    if (Number.isNaN(startMs) || Number.isNaN(endMs) || endMs <= startMs)
      throw new AcmeError(`${this.#host} names a time to renew that is none`)
    return { startMs, endMs, askAgainMs: this.#retryAfter(response) ?? 6 * 3_600_000 }
  }

  /** @returns The chain, PEM, the certificate itself first. @throws {AcmeError} */
  async obtain(options: OrderOptions): Promise<string> {
    const { newOrder, renewalInfo } = await this.#directory()
    const deadlineMs = this.#nowMs() + ORDER_MS_MAX
    const identifiers = options.names.map((value) => ({ type: 'dns', value }))
    const ask = (replaces: string | undefined): Promise<AcmeResponse> =>
      this.#post(newOrder, 'the order', { identifiers, ...(replaces === undefined ? {} : { replaces }) })
    const replaces = renewalInfo === undefined ? undefined : options.replaces
    const response = await ask(replaces).catch((error: AcmeError) => {
      // Somebody has replaced it already, or the server does not know it: that is no reason to go without.
      if (replaces === undefined || error.type === 'rateLimited') throw error
      return ask(undefined)
    })
    const [orderUrl] = [response.headers.location].flat()
    if (orderUrl === undefined || !Url.safeParse(orderUrl).success) throw new AcmeError(`${this.#host} gave the order no address`)
    let order = this.#parsed(Order, response, 'the order')
    for (const url of order.authorizations) await this.#prove(url, options, deadlineMs)
    const awaitOrder = async (isDone: (status: string) => boolean, what: string): Promise<void> => {
      for (;;) {
        const answer = await this.#post(orderUrl, what, undefined)
        order = this.#parsed(Order, answer, what)
        if (order.status === 'invalid')
          throw new AcmeError(`${this.#host} refuses ${what}: ${said(order.error)}`, order.error?.type)
        if (isDone(order.status)) return
        await this.#wait(answer, deadlineMs, what)
      }
    }
    await awaitOrder((status) => status !== 'pending', 'the order')
    if (order.status === 'ready') {
      await this.#post(order.finalize, 'the request for a certificate', {
        csr: Buffer.from(options.request).toString('base64url'),
      })
      await awaitOrder((status) => status === 'valid', 'the certificate')
    } else await awaitOrder((status) => status === 'valid', 'the certificate')
    if (order.certificate === undefined) throw new AcmeError(`${this.#host} does not say where the certificate is`)
    const chain = await this.#post(order.certificate, 'the certificate', undefined, 'application/pem-certificate-chain')
    const text = chain.body.toString('latin1')
    if (text.length > CHAIN_CHARS_MAX) throw new AcmeError(`${this.#host} sent a chain of ${text.length} characters`)
    return text
  }

  async #prove(url: string, options: OrderOptions, deadlineMs: number): Promise<void> {
    const what = 'an authorization'
    const authorization = this.#parsed(Authorization, await this.#post(url, what, undefined), what)
    const name = authorization.identifier.value.toLowerCase()
    if (authorization.status === 'valid') return
    if (!options.names.includes(authorization.wildcard ? `*.${name}` : name))
      throw new AcmeError(`${this.#host} wants a proof for ${said({ detail: name })}, which was not asked for`)
    const offered = authorization.challenges.flatMap((each) => {
      const parsed = Challenge.safeParse(each)
      return parsed.success ? [parsed.data] : []
    })
    const type = options.challenges.find((wanted) => offered.some((each) => each.type === wanted))
    const challenge = offered.find((each) => each.type === type)
    if (type === undefined || challenge?.token === undefined)
      throw new AcmeError(
        `${this.#host} takes no proof for ${name} that this node has: it offers ${offered
          .map((each) => each.type)
          .join(', ')
          .slice(0, 200)}`,
      )
    const proof = { type, name, token: challenge.token, keyAuthorization: `${challenge.token}.${this.thumbprint}` }
    await options.present(proof)
    try {
      await this.#post(challenge.url, `the proof for ${name}`, {})
      for (;;) {
        const answer = await this.#post(url, what, undefined)
        const { status, challenges } = this.#parsed(Authorization, answer, what)
        if (status === 'valid') return
        if (status !== 'pending') {
          const failed = challenges.flatMap((each) => Challenge.safeParse(each).data?.error ?? [])[0]
          throw new AcmeError(`${this.#host} could not verify ${name} by ${type}: ${said(failed)}`, plainType(failed?.type))
        }
        await this.#wait(answer, deadlineMs, `the proof for ${name}`)
      }
    } finally {
      options.withdraw(proof)
    }
  }

  async #wait(answer: AcmeResponse, deadlineMs: number, what: string): Promise<void> {
    const ms = Math.min(POLL_MS_MAX, Math.max(POLL_MS_MIN, this.#retryAfter(answer) ?? POLL_MS_MIN))
    if (this.#nowMs() + ms > deadlineMs)
      throw new AcmeError(`${this.#host} did not come to an end with ${what} within ${ORDER_MS_MAX / 60_000} min`)
    await this.#options.sleep(ms)
  }

  /** A signed request (section 6.2). @param payload Undefined: POST-as-GET. */
  async #post(url: string, what: string, payload: object | undefined, accept?: string): Promise<AcmeResponse> {
    for (let tries = 0; ; tries++) {
      const nonce = this.#nonces.pop() ?? (await this.#newNonce())
      const identity = this.#account === undefined ? { jwk: this.#jwk } : { kid: this.#account }
      const head = encoded({ alg: 'ES256', nonce, url, ...identity })
      const text = payload === undefined ? '' : encoded(payload)
      const signature = sign('sha256', Buffer.from(`${head}.${text}`), { key: this.#options.key, dsaEncoding: 'ieee-p1363' })
      const body = JSON.stringify({ protected: head, payload: text, signature: signature.toString('base64url') })
      const response = await this.#options.http('POST', url, accept === undefined ? { body } : { body, accept })
      this.#keepNonce(response)
      if (response.status >= 200 && response.status < 300) return response
      const problem = this.#problem(response, what)
      // Section 6.5: the answer has a nonce that is good.
      if (problem.type !== 'badNonce' || tries >= NONCE_RETRIES_MAX) throw problem
    }
  }

  async #newNonce(): Promise<string> {
    const response = await this.#options.http('HEAD', (await this.#directory()).newNonce)
    this.#keepNonce(response)
    const nonce = this.#nonces.pop()
    if (nonce === undefined)
      throw response.status >= 400 ? this.#problem(response, 'a nonce') : new AcmeError(`${this.#host} gave no nonce`)
    return nonce
  }

  #keepNonce({ headers }: AcmeResponse): void {
    const nonce = headers['replay-nonce']
    if (typeof nonce === 'string' && /^[A-Za-z0-9_-]{1,512}$/.test(nonce) && this.#nonces.length < NONCES_KEPT_MAX)
      this.#nonces.push(nonce)
  }

  get #host(): string {
    return URL.parse(this.#options.directory)?.host ?? 'the server'
  }

  #parsed<T>(schema: z.ZodType<T>, { body }: AcmeResponse, what: string): T {
    try {
      const parsed = schema.safeParse(JSON.parse(body.toString('utf8')))
      if (parsed.success) return parsed.data
      const [issue] = parsed.error.issues
      throw new AcmeError(`${this.#host} describes ${what} wrongly: ${issue?.path.join('.')}: ${issue?.message}`)
    } catch (error) {
      if (error instanceof AcmeError) throw error
      throw new AcmeError(`${this.#host} describes ${what} in no JSON`)
    }
  }

  #problem(response: AcmeResponse, what: string): AcmeError {
    let problem: z.output<typeof Problem> | undefined
    try {
      problem = Problem.safeParse(JSON.parse(response.body.toString('utf8'))).data
    } catch {
      // The status has to do.
    }
    const type = plainType(problem?.type)
    const why = problem === undefined ? `status ${response.status}` : said(problem)
    return new AcmeError(
      `${this.#host} refuses ${what}: ${why}${type === '' ? '' : ` (${type})`}`,
      type,
      this.#retryAfter(response),
    )
  }

  /** Seconds or a date (RFC 9110 section 10.2.3). */
  #retryAfter({ headers }: AcmeResponse): number | undefined {
    const value = headers['retry-after']
    if (typeof value !== 'string') return undefined
    const ms = /^[0-9]{1,9}$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - this.#nowMs()
    return Number.isNaN(ms) ? undefined : Math.min(RETRY_AFTER_MS_MAX, Math.max(0, ms))
  }
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function plainType(type: string | undefined): string {
  const plain = type?.startsWith(PROBLEM) === true ? type.slice(PROBLEM.length) : (type ?? '')
  return /^[A-Za-z0-9:./-]{1,80}$/.test(plain) && plain !== 'about:blank' ? plain : ''
}

/** What the server says, on one line. */
function said(
  problem:
    | {
        readonly detail: string
        readonly subproblems?: readonly {
          readonly detail: string
          readonly identifier?: { readonly value: string } | undefined
        }[]
      }
    | undefined,
): string {
  const parts = [
    problem?.detail ?? '',
    ...(problem?.subproblems ?? []).map(({ detail, identifier }) => `${identifier?.value ?? ''} ${detail}`),
  ]
  const text = parts
    .join('; ')
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
  return text === '' ? 'no reason given' : text.slice(0, DETAIL_CHARS_MAX)
}
