/**
 * The transmitter of security events (OpenID Shared Signals Framework 1.0; CAEP 1.0; push RFC 8935, poll RFC 8936), on every node alike. What is to be told
 * follows from the ledger: denials that end people's sessions, and changes of their credentials; each event is signed by the ring's key, whose
 * holders look for themselves. What receivers had, the nodes tell one another.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Fabric } from '@ringwall/fabric'
import { OPENID_PATHS, SIGNAL_PATHS } from '@ringwall/guard'
import { type PersonRequest, SIGNAL_EVENTS, type SignalFact, sessionsEnded, signalId } from '@ringwall/identity'
import type { PortalAnswer, PortalRequest } from '@ringwall/proxy'
import { type OpenIdPolicy, personSubject, type SignalStreamPolicy, type View } from '@ringwall/ring'
import { type DiskSeal, readFileSealed, writeFileSealed } from '@ringwall/store'
import { z } from 'zod'
import { every } from '../in-step.ts'
import { MintRefused } from '../signing/signing-service.ts'
import { Attempts } from './attempts.ts'
import type { OutsideHttp } from './outside-http.ts'
import { FACT_MS_MAX, SignalState, SUBJECTS_MAX } from './signal-state.ts'

/** First byte of what nodes tell one another of streams. */
export const STREAMS_VERSION = 5
const MINT_MS_MAX = 8_000
/** Waiting for one receiver; of more the earliest are told first. */
const PENDING_MAX = 1_000
const SETS_A_POLL_MAX = 20
const SETS_A_PUSH_MAX = 20
const SIGNED_MAX = 1_000
const TICK_MS = 1_000
const TELL_MS = 10_000
const RETRY_MS_MAX = 300_000
/** Of one receiver, on a node. */
const CALLS_MAX = 600
const CALLS_WINDOW_MS = 300_000
const VERIFY_S_MIN = 10
const NESTED_CHARS_MAX = 16_384

const StreamId = z.strictObject({ stream_id: z.string().max(63) })
const Status = StreamId.extend({ status: z.enum(['enabled', 'paused', 'disabled']), reason: z.string().max(500).optional() })
const Subject = StreamId.extend({
  subject: z.looseObject({ format: z.literal('iss_sub'), iss: z.string().max(512), sub: z.string().max(120) }),
  verified: z.boolean().optional(),
})
const Verify = StreamId.extend({
  state: z
    .string()
    .regex(/^[\x20-\x7e]{0,1024}$/)
    .optional(),
})
const Poll = z.looseObject({
  maxEvents: z.int().min(0).max(1_000_000).optional(),
  returnImmediately: z.boolean().optional(),
  ack: z.array(z.string().max(64)).max(1_000).default([]),
  setErrs: z.record(z.string().max(64), z.unknown()).default({}),
})

export interface SignalStreamsOptions {
  readonly ring: string
  readonly self: string
  readonly view: () => View
  /** Grows whenever denials may have changed. */
  readonly version: () => number
  /** The token that the ring signs. @throws {SigningError} @throws {MintRefused} */
  readonly mint: (asked: PersonRequest, timeoutMs: number) => Promise<string>
  readonly http: OutsideHttp
  /** Of the node's environment. */
  readonly secret: (variable: string) => string | undefined
  readonly fabric: Pick<Fabric, 'broadcast' | 'links'>
  readonly file: string
  readonly disk: DiskSeal | undefined
  readonly log: (level: 'info' | 'warn', line: string) => void
}

interface Pushing {
  failures: number
  nextMs: number
}

export class SignalStreams {
  readonly #options: SignalStreamsOptions
  readonly #state = new SignalState()
  readonly #calls = new Attempts(CALLS_MAX, CALLS_WINDOW_MS)
  readonly #verifications = new Attempts(1, VERIFY_S_MIN * 1_000)
  /** By id, the last that were signed: a receiver that asks again costs nothing. */
  readonly #signed = new Map<string, string>()
  readonly #pushing = new Map<string, Pushing>()
  #ended: { readonly version: number; readonly facts: readonly (readonly [SignalFact, string])[] } = { version: -1, facts: [] }
  #ends: readonly (() => void)[] = []
  #savedVersion = 0
  #saving: Promise<void> = Promise.resolve()
  #isPushing = false

  constructor(options: SignalStreamsOptions) {
    this.#options = options
  }

  /** Takes up what was kept. */
  async start(): Promise<void> {
    const { file, disk, log } = this.#options
    try {
      const bytes = await readFileSealed(file, disk, 16 * 1_048_576)
      const kept: unknown = bytes === undefined ? [] : JSON.parse(Buffer.from(bytes).toString('utf8'))
      for (const one of Array.isArray(kept) ? kept : []) this.#state.merge(one, Date.now())
    } catch (error) {
      log('warn', `what receivers of security events had is not known, and told again: ${(error as Error).message}`)
    }
    this.#savedVersion = this.#state.version
    this.#ends = [every(TICK_MS, () => void this.#tick(Date.now())), every(TELL_MS, () => this.#tell())]
  }

  async stop(): Promise<void> {
    for (const end of this.#ends) end()
    await this.#keep()
  }

  /** What another node knows of streams. */
  merge(payload: Uint8Array, nowMs: number): void {
    try {
      this.#state.merge(JSON.parse(Buffer.from(payload.subarray(1)).toString('utf8')), nowMs)
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    }
  }

  /** Somebody's credentials are others, as of a block. */
  changed(person: string, change: 'create' | 'revoke', credential: 'passkey' | 'password', atMs: number): void {
    if (this.#streams().length === 0) return
    this.#state.change({ kind: 'credentials', atMs, change, credential, person })
    void this.#keep()
  }

  #openid(): OpenIdPolicy | undefined {
    return this.#options.view().policy.openid
  }

  #streams(): readonly SignalStreamPolicy[] {
    return this.#openid()?.streams ?? []
  }

  async #tick(nowMs: number): Promise<void> {
    this.#state.expire(nowMs)
    if (this.#isPushing) return
    this.#isPushing = true
    try {
      await Promise.all(this.#streams().map((stream) => this.#push(stream, nowMs)))
    } finally {
      this.#isPushing = false
    }
    await this.#keep()
  }

  #tell(isWhole = false): void {
    for (const summary of this.#state.summaries(isWhole)) {
      const text = Buffer.from(JSON.stringify(summary))
      this.#options.fabric.broadcast('signals', Buffer.concat([Buffer.of(STREAMS_VERSION), text]))
    }
  }

  #keep(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      const { version } = this.#state
      if (version === this.#savedVersion) return
      const { file, disk, log } = this.#options
      try {
        await writeFileSealed(file, JSON.stringify(this.#state.summaries(true)), disk)
        this.#savedVersion = version
      } catch (error) {
        log('warn', `what receivers of security events had is not kept: ${(error as Error).message}`)
      }
    })
    return this.#saving
  }

  /** Sessions that denials ended, the earliest first. */
  #sessionsOver(nowMs: number): readonly (readonly [SignalFact, string])[] {
    const { view, version, ring } = this.#options
    const at = version()
    if (this.#ended.version !== at) {
      const facts = view()
        .denials.list(nowMs)
        .flatMap(({ id, subject, issuedAtMs, height }) => {
          const sub = height === undefined ? undefined : sessionsEnded(ring, subject)
          return sub === undefined ? [] : [[{ kind: 'sessions', atMs: issuedAtMs, denial: id }, sub] as const]
        })
      this.#ended = { version: at, facts: facts.sort(([a], [b]) => a.atMs - b.atMs) }
    }
    return this.#ended.facts
  }

  /** What its receiver has not had, the earliest first. */
  #pending({ name, events, subjects }: SignalStreamPolicy, nowMs: number): readonly (readonly [string, SignalFact])[] {
    const { ring } = this.#options
    const pending: (readonly [string, SignalFact])[] = []
    const add = (fact: SignalFact): void => {
      const id = signalId(ring, name, fact)
      if (!this.#state.isAcknowledged(name, id)) pending.push([id, fact])
    }
    const verification = this.#state.verification(name)
    const status = this.#state.status(name)
    if (verification !== undefined && status !== 'disabled') add(verification)
    if (status !== 'enabled') return pending
    const isTold = (sub: string): boolean => this.#state.isTold(name, sub) ?? subjects === 'all'
    const sessions = events.includes('session-revoked') ? this.#sessionsOver(nowMs) : []
    const changes = events.includes('credential-change') ? this.#state.changes() : []
    const all = [...sessions, ...changes.map((fact) => [fact, personSubject(fact.person)] as const)]
    for (const [fact, sub] of all.sort(([a], [b]) => a.atMs - b.atMs)) {
      if (pending.length >= PENDING_MAX) break
      // Whoever is told so late knows of no session of before.
      if (fact.atMs >= nowMs - FACT_MS_MAX && isTold(sub)) add(fact)
    }
    return pending
  }

  /** Undefined for what is not so any more. @throws {SigningError} When the ring cannot sign now. */
  async #sign(stream: string, id: string, fact: SignalFact): Promise<string | undefined> {
    const held = this.#signed.get(id)
    if (held !== undefined) return held
    try {
      const set = await this.#options.mint({ type: 'signal', fact, ring: this.#options.ring, stream }, MINT_MS_MAX)
      this.#signed.set(id, set)
      if (this.#signed.size > SIGNED_MAX) this.#signed.delete(this.#signed.keys().next().value as string)
      return set
    } catch (error) {
      if (error instanceof MintRefused && error.code !== 'MINT_NO_KEY') return undefined
      throw error
    }
  }

  /** One of the nodes that see one another pushes; while they do not, several may, and the receiver tells by the ids. */
  #isPusher(stream: string): boolean {
    const { self, fabric } = this.#options
    const near = fabric.links().filter(({ connected }) => connected)
    const rank = (node: string): string => hash('sha256', `${stream} ${node}`, 'hex')
    return near.every(({ id }) => rank(id) > rank(self))
  }

  async #push(stream: SignalStreamPolicy, nowMs: number): Promise<void> {
    const { name, delivery, endpoint, authorizationVariable } = stream
    const pushing = this.#pushing.get(name) ?? { failures: 0, nextMs: 0 }
    if (delivery !== 'push' || endpoint === undefined || nowMs < pushing.nextMs || !this.#isPusher(name)) return
    const pending = this.#pending(stream, nowMs).slice(0, SETS_A_PUSH_MAX)
    if (pending.length === 0) return
    this.#pushing.set(name, pushing)
    try {
      const authorization = authorizationVariable === undefined ? undefined : this.#options.secret(authorizationVariable)
      if (authorizationVariable !== undefined && authorization === undefined)
        throw new Error(`${authorizationVariable} is not in the environment of this node`)
      for (const [id, fact] of pending) {
        const set = await this.#sign(name, id, fact)
        if (set === undefined) continue
        const headers = { 'content-type': 'application/secevent+jwt', ...(authorization === undefined ? {} : { authorization }) }
        const { status, body } = await this.#options.http(endpoint, { body: set, headers })
        // What the receiver cannot take it will not take later (RFC 8935 section 2.3), but for who we are.
        const isFinal = status === 400 && !/authentication_failed|access_denied/.test(body)
        if (status !== 202 && status !== 200 && status !== 204 && !isFinal) throw new Error(`its receiver answers ${status}`)
        if (isFinal) this.#options.log('warn', `the receiver of the stream ${name} refuses an event: ${oneLine(body)}`)
        this.#state.acknowledge(name, id, nowMs)
      }
      if (pushing.failures > 0) this.#options.log('info', `the receiver of the stream ${name} takes events again`)
      pushing.failures = 0
      this.#tell()
    } catch (error) {
      pushing.failures += 1
      pushing.nextMs = nowMs + Math.min(RETRY_MS_MAX, TICK_MS * 2 ** Math.min(pushing.failures, 10))
      if (pushing.failures === 1)
        this.#options.log('warn', `events of the stream ${name} wait: ${oneLine((error as Error).message)}`)
    }
  }

  /** Undefined: it is for no endpoint. */
  async answer(request: PortalRequest, path: string, nowMs: number): Promise<PortalAnswer | undefined> {
    const openid = this.#openid()
    if (openid === undefined || openid.streams.length === 0) return undefined
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    if (path === SIGNAL_PATHS.configuration) return isRead ? answer(200, metadata(openid)) : refused(405, 'it takes GET')
    if (!Object.values<string>(SIGNAL_PATHS).includes(path)) return undefined
    const stream = this.#streamOf(request)
    if (stream === undefined)
      return refused(401, 'expected the key of a stream: Authorization: Bearer KEY', ['www-authenticate', 'Bearer'])
    if (!this.#calls.take(stream.name, nowMs)) return refused(429, 'too many calls', ['retry-after', '60'])
    const named = new URLSearchParams(request.target.split('?')[1] ?? '').get('stream_id')
    if (named !== null && named !== stream.name) return refused(404, 'there is no such stream of this key')
    if (path === SIGNAL_PATHS.stream) {
      if (isRead) return answer(200, named === null ? [configurationOf(openid, stream)] : configurationOf(openid, stream))
      return request.method === 'POST'
        ? refused(409, 'the key has its stream already: streams are configured by the policy of the ring')
        : refused(405, 'streams are configured by the policy of the ring')
    }
    if (path === SIGNAL_PATHS.status && isRead) return answer(200, this.#statusOf(stream))
    if (request.method !== 'POST') return refused(405, 'it takes POST')
    const body = jsonIn(request)
    if (body === undefined) return refused(400, 'expected JSON (content-type: application/json)')
    if (path === SIGNAL_PATHS.poll) return this.#poll(stream, body, nowMs)
    return this.#change(openid, stream, path, body, nowMs)
  }

  #change(openid: OpenIdPolicy, stream: SignalStreamPolicy, path: string, body: unknown, nowMs: number): PortalAnswer {
    const { name } = stream
    const schema = path === SIGNAL_PATHS.status ? Status : path === SIGNAL_PATHS.verify ? Verify : Subject
    const parsed = schema.safeParse(body)
    if (!parsed.success) {
      const [issue] = parsed.error.issues
      return refused(400, `/${(issue?.path ?? []).join('/')}: ${issue?.message}`)
    }
    if (parsed.data.stream_id !== name) return refused(404, 'there is no such stream of this key')
    const done = (status: number, value?: unknown): PortalAnswer => {
      this.#tell()
      void this.#keep()
      return answer(status, value)
    }
    if ('status' in parsed.data) {
      this.#state.setStatus(name, parsed.data.status, nowMs)
      return done(200, this.#statusOf(stream))
    }
    if (!('subject' in parsed.data)) {
      if (!this.#verifications.take(name, nowMs))
        return refused(429, `one in ${VERIFY_S_MIN} s`, ['retry-after', String(VERIFY_S_MIN)])
      const nonce = randomBytes(16).toString('base64url')
      this.#state.verify(name, { kind: 'verification', atMs: nowMs, nonce, state: parsed.data.state ?? '' })
      return done(204)
    }
    const { iss, sub } = parsed.data.subject
    if (iss !== openid.issuer || !/^person:[\x21-\x7e]{1,100}$/.test(sub))
      return refused(400, '/subject: expected iss_sub with this issuer and a sub of its ID tokens')
    const isAdded = path === SIGNAL_PATHS.addSubject
    if (!this.#state.setSubject(name, sub, isAdded, nowMs))
      return refused(403, `a stream names at most ${SUBJECTS_MAX} subjects: let the policy say subjects: all, or none`)
    return done(isAdded ? 200 : 204, isAdded ? {} : undefined)
  }

  async #poll(stream: SignalStreamPolicy, body: unknown, nowMs: number): Promise<PortalAnswer> {
    const { name, delivery } = stream
    if (delivery !== 'poll') return refused(403, 'events of this stream are pushed')
    const parsed = Poll.safeParse(body)
    if (!parsed.success)
      return refused(400, `/${(parsed.error.issues[0]?.path ?? []).join('/')}: ${parsed.error.issues[0]?.message}`)
    const { ack, setErrs, maxEvents = SETS_A_POLL_MAX } = parsed.data
    const before = this.#state.version
    for (const [id, error] of Object.entries(setErrs))
      this.#options.log('warn', `the receiver of the stream ${name} refuses ${oneLine(id)}: ${oneLine(JSON.stringify(error))}`)
    for (const id of [...ack, ...Object.keys(setErrs)]) if (/^[0-9a-f]{32}$/.test(id)) this.#state.acknowledge(name, id, nowMs)
    if (this.#state.version !== before) {
      this.#tell()
      await this.#keep()
    }
    const pending = this.#pending(stream, nowMs)
    const sets: Record<string, string> = {}
    const wanted = pending.slice(0, Math.min(maxEvents, SETS_A_POLL_MAX))
    try {
      for (const [id, fact] of wanted) {
        const set = await this.#sign(name, id, fact)
        if (set !== undefined) sets[id] = set
      }
    } catch (error) {
      this.#options.log('warn', `events of the stream ${name} wait: ${oneLine((error as Error).message)}`)
      if (Object.keys(sets).length === 0) return refused(503, 'the ring cannot sign now: ask again', ['retry-after', '10'])
    }
    return answer(200, { sets, ...(pending.length > wanted.length ? { moreAvailable: true } : {}) })
  }

  #statusOf({ name }: SignalStreamPolicy): object {
    return { stream_id: name, status: this.#state.status(name) }
  }

  /** Takes as long whoever it is. */
  #streamOf({ headers }: PortalRequest): SignalStreamPolicy | undefined {
    const shown = headers.filter(([name]) => name.toLowerCase() === 'authorization')
    const key = shown.length === 1 ? /^Bearer ([\x21-\x7e]{1,512})$/i.exec(shown[0]![1])?.[1] : undefined
    const given = Buffer.from(`sha256:${hash('sha256', key ?? '')}`)
    let found: SignalStreamPolicy | undefined
    for (const stream of this.#streams())
      if (timingSafeEqual(given, Buffer.from(stream.keyHash)) && key !== undefined) found = stream
    return found
  }
}

function metadata({ issuer }: OpenIdPolicy): object {
  const at = (path: string): string => issuer + path
  return {
    spec_version: '1_0',
    issuer,
    jwks_uri: at(OPENID_PATHS.jwks),
    delivery_methods_supported: ['urn:ietf:rfc:8935', 'urn:ietf:rfc:8936'],
    configuration_endpoint: at(SIGNAL_PATHS.stream),
    status_endpoint: at(SIGNAL_PATHS.status),
    add_subject_endpoint: at(SIGNAL_PATHS.addSubject),
    remove_subject_endpoint: at(SIGNAL_PATHS.removeSubject),
    verification_endpoint: at(SIGNAL_PATHS.verify),
    authorization_schemes: [{ spec_urn: 'urn:ietf:rfc:6750' }],
  }
}

function configurationOf({ issuer }: OpenIdPolicy, { name, audience, delivery, endpoint, events }: SignalStreamPolicy): object {
  const told = events.map((event) => (event === 'session-revoked' ? SIGNAL_EVENTS.sessions : SIGNAL_EVENTS.credentials))
  const isPush = delivery === 'push'
  return {
    stream_id: name,
    iss: issuer,
    aud: audience,
    delivery: {
      method: isPush ? 'urn:ietf:rfc:8935' : 'urn:ietf:rfc:8936',
      endpoint_url: isPush ? endpoint : issuer + SIGNAL_PATHS.poll,
    },
    events_supported: [SIGNAL_EVENTS.sessions, SIGNAL_EVENTS.credentials],
    events_requested: told,
    events_delivered: told,
    min_verification_interval: VERIFY_S_MIN,
  }
}

function jsonIn({ headers, body }: PortalRequest): unknown {
  const types = headers.filter(([name]) => name.toLowerCase() === 'content-type')
  if (types.length !== 1 || !/^\s*application\/json\s*(;|$)/i.test(types[0]![1]) || body.length > NESTED_CHARS_MAX)
    return undefined
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined
  }
}

function oneLine(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
}

function refused(status: number, description: string, more: readonly string[] = []): PortalAnswer {
  return answer(status, { err: 'invalid_request', description }, more)
}

function answer(status: number, value?: unknown, more: readonly string[] = []): PortalAnswer {
  const body = value === undefined ? '' : JSON.stringify(value).replace(/[^ -~]/g, '?')
  const type = value === undefined ? [] : ['content-type', 'application/json']
  return { status, headers: [...type, 'cache-control', 'no-store', ...more], body }
}
