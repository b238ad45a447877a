/**
 * What programs on this machine get from the Workload API: which service each is, by the policy that the ring agreed on, with its certificate and
 * the ring's own; again whenever one of these changes, and no more once it is no service any longer.
 */
import { hash, randomBytes } from 'node:crypto'
import { spiffeId } from '@ringwall/identity'
import {
  type CallAnswer,
  EndpointRefused,
  encodeBundles,
  encodeSecrets,
  encodeSvids,
  GRPC_STATUS,
  type Program,
  SECRET_NAMES,
  type Secret,
  type SecretsRequest,
  type WorkloadCall,
  WorkloadEndpoint,
} from '@ringwall/identity/workload'
import { mayAttest, ringIssuer, servicesOf, type UnixFacts, type View } from '@ringwall/ring'
import { StartError } from '../errors.ts'
import { every } from '../in-step.ts'
import { AuthorityCertificates } from '../signing/authority-certificates.ts'
import type { Asked } from '../signing/signing-service.ts'
import { type SubjectOfDenial, WorkloadIdentities, type WorkloadIdentitiesOptions } from './workload-identities.ts'

const TICK_MS = 1_000
/** Longer than it takes when a holder of the ring's key is down and another is asked. */
const MINT_MS_MAX = 15_000
const BUNDLE_RETRY_MS = { first: 1_000, most: 30_000 } as const
const TOLD_MAX = 1_024
/** Programs that fit nothing, told of in a minute: whoever asks for ever fills no log. */
const STRANGERS_PER_MINUTE = 10
const MINUTE_MS = 60_000

export interface WorkloadApiOptions extends Pick<WorkloadIdentitiesOptions, 'self' | 'view' | 'sign' | 'denied' | 'say'> {
  /** Path of the socket. */
  readonly socket: string
  /** Where the ring's certificates outlive this process. */
  readonly authoritiesFile?: string
  readonly mint: (asked: Asked, timeoutMs: number) => Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }>
}

/** How a service that the policy gives this node stands here. */
export interface WorkloadStanding {
  readonly service: string
  readonly spiffeId: string
  /** Unix milliseconds; null while there is no certificate. */
  readonly expiresAtMs: number | null
  /** Why the ring did not sign the last time that it was asked; null when it did. */
  readonly reason: string | null
  /** Programs with an open call. */
  readonly programs: readonly { readonly pid: number; readonly uid: number }[]
}

export class WorkloadApi {
  readonly #options: WorkloadApiOptions
  readonly #identities: WorkloadIdentities
  readonly #authorities: AuthorityCertificates
  readonly #endpoint: WorkloadEndpoint
  readonly #calls = new Set<OpenCall>()
  /** What people were told of processes. */
  readonly #told = new Set<string>()
  #strangers: { readonly sinceMs: number; readonly told: Set<string> } = { sinceMs: 0, told: new Set() }
  #stopTicking: (() => void) | undefined
  #bundle: { isMaking: boolean; failures: number; dueMs: number; reason: string | undefined } = {
    isMaking: false,
    failures: 0,
    dueMs: 0,
    reason: undefined,
  }
  /** The bundle, DER: that of before until the certificate of a new key is there. */
  #anchors: Uint8Array | undefined
  #anchorList: readonly Uint8Array[] = []
  #cannotSee = false

  constructor(options: WorkloadApiOptions) {
    this.#options = options
    const { mint, say } = options
    this.#identities = new WorkloadIdentities({ ...options, mint: (asked) => mint({ mint: asked }, MINT_MS_MAX) })
    this.#authorities = new AuthorityCertificates({
      view: options.view,
      sign: () => mint({ authority: true }, MINT_MS_MAX),
      ...(options.authoritiesFile === undefined ? {} : { file: options.authoritiesFile }),
    })
    this.#endpoint = new WorkloadEndpoint({
      socket: options.socket,
      log: (line) => say('warn', line),
      service: {
        begin: (call, program, answer) => {
          const open = new OpenCall(this.#about(), call, program, answer)
          this.#calls.add(open)
          open.review()
          return () => {
            this.#calls.delete(open)
            open.close()
          }
        },
        beginSecrets: (program, answer, isOnce) => {
          const open = new OpenCall(this.#about(), isOnce ? 'secrets once' : 'secrets', program, answer)
          this.#calls.add(open)
          return {
            ask: (request) => open.ask(request),
            end: () => {
              this.#calls.delete(open)
              open.close()
            },
          }
        },
      },
    })
  }

  /** Since this node started, and now. */
  figures(): Readonly<Record<'connections' | 'calls' | 'refused' | 'issued' | 'failed', number>> {
    const { connections, counts } = this.#endpoint
    return { connections, ...counts, ...this.#identities.counts }
  }

  /** By name. */
  standing(): readonly WorkloadStanding[] {
    const { view, self } = this.#options
    const { policy, ring } = view()
    return Object.keys(policy.workloads)
      .filter((service) => mayAttest(policy, self, service))
      .sort()
      .map((service) => {
        const calls = [...this.#calls].filter((call) => call.services.includes(service))
        const programs = new Map(calls.map(({ program: { peer } }) => [peer.pid, { pid: peer.pid, uid: peer.uid }]))
        return {
          service,
          spiffeId: spiffeId(ring, 'service', service),
          expiresAtMs: this.#identities.identity(service)?.expiresAtMs ?? null,
          reason: this.#identities.reason(service) ?? null,
          programs: [...programs.values()],
        }
      })
  }

  /** @throws {StartError} Saying what is missing, or what is wrong with the path. */
  async start(): Promise<void> {
    try {
      await this.#endpoint.start()
    } catch (cause) {
      if (!(cause instanceof EndpointRefused)) throw cause
      throw new StartError('CONFIG_INVALID', `workloadApi.socket: ${cause.message}`, { cause })
    }
    this.#stopTicking = every(TICK_MS, () => this.#tick())
    this.#tick()
  }

  async stop(): Promise<void> {
    this.#stopTicking?.()
    for (const call of this.#calls) call.end(GRPC_STATUS.UNAVAILABLE, 'the node stops')
    await this.#endpoint.stop()
  }

  /** To be called when the view or a denial may have changed what programs get. */
  review(): void {
    this.#tick()
    for (const call of [...this.#calls]) call.review()
  }

  #about(): CallContext {
    const { self, view, denied } = this.#options
    return {
      self,
      view,
      denied,
      identities: this.#identities,
      bundle: () => this.#known(),
      bundleReason: () => (this.#bundle.isMaking ? undefined : (this.#bundle.reason ?? 'the ring has no certificate yet')),
      anchors: () => this.#anchorList,
      onRefused: ({ peer: { pid } }, reason) =>
        this.#once(
          'warn',
          `process ${pid} does not take the secrets that it asked for: ${reason.replaceAll(/[^\x20-\x7e]/g, '?')}`,
        ),
      onServed: (program, services) => this.#tell(program, services),
      onStranger: (program, facts) => this.#tellStranger(program, facts),
    }
  }

  #known(): Uint8Array | undefined {
    const known = this.#authorities.known()
    if (known !== undefined) {
      this.#anchorList = known.map(({ certificate }) => certificate)
      this.#anchors = Buffer.concat(this.#anchorList)
    }
    return this.#anchors
  }

  #tick(): void {
    this.#identities.tick()
    this.#tendBundle()
    this.#warnOfBlindness()
  }

  /** At hand before anybody asks, and while the key is in force: once it is replaced nobody signs its certificate any more. */
  #tendBundle(): void {
    const bundle = this.#bundle
    if (bundle.isMaking || this.#options.view().signingKey.key === undefined) return
    if (this.#authorities.known() !== undefined || Date.now() < bundle.dueMs) return
    bundle.isMaking = true
    this.#authorities
      .current()
      .then(
        () => {
          bundle.failures = 0
          bundle.reason = undefined
        },
        (error: Error) => {
          bundle.failures += 1
          bundle.reason = error.message
          const most = Math.min(BUNDLE_RETRY_MS.most, BUNDLE_RETRY_MS.first * 2 ** Math.min(bundle.failures - 1, 16))
          bundle.dueMs = Date.now() + (most / 2) * (1 + Math.random())
        },
      )
      .finally(() => {
        bundle.isMaking = false
        for (const call of [...this.#calls]) call.review()
      })
  }

  #tell({ peer: { pid, uid } }: Program, services: readonly string[]): void {
    this.#once('info', `process ${pid} of user ${uid} is ${services.join(', ')}`)
  }

  #once(level: 'info' | 'warn', line: string): void {
    if (this.#told.has(line)) return
    this.#told.add(line)
    if (this.#told.size > TOLD_MAX) this.#told.delete(this.#told.values().next().value as string)
    this.#options.say(level, line)
  }

  /** For whoever wonders why a program gets nothing. */
  #tellStranger({ peer: { pid } }: Program, { uid, gid, path }: UnixFacts): void {
    const nowMs = Date.now()
    if (nowMs >= this.#strangers.sinceMs + MINUTE_MS) this.#strangers = { sinceMs: nowMs, told: new Set() }
    const { told } = this.#strangers
    // What a file is called anybody may choose.
    const binary = path === undefined ? 'a binary that this node does not see' : JSON.stringify(path.slice(0, 200))
    const who = `user ${uid}, group ${gid}, ${binary}`
    if (told.has(who) || told.size >= STRANGERS_PER_MINUTE) return
    told.add(who)
    this.#options.say('info', `process ${pid} fits no workload of this node: ${who.replaceAll(/[^\x20-\x7e]/g, '?')}`)
  }

  /** Binaries of other users' programs are for root to see. */
  #warnOfBlindness(): void {
    if (this.#cannotSee || process.geteuid?.() === 0) return
    const { view, self } = this.#options
    const blind = Object.entries(view().policy.workloads).filter(
      ([, { nodes, unix }]) =>
        nodes.includes(self) &&
        unix.some(({ uid, path, sha256 }) => uid !== process.geteuid?.() && (path !== undefined || sha256 !== undefined)),
    )
    if (blind.length === 0) return
    this.#cannotSee = true
    const names = blind.map(([name]) => name).join(', ')
    this.#options.say(
      'warn',
      `workloads.${names}: path and sha256 of other users’ programs are for root to see, and this node is not root: they fit none`,
    )
  }
}

interface CallContext {
  readonly self: string
  readonly view: () => View
  readonly denied: (of: SubjectOfDenial) => { readonly reason: string } | undefined
  readonly identities: WorkloadIdentities
  readonly bundle: () => Uint8Array | undefined
  /** Why there is none; undefined while it is being made. */
  readonly bundleReason: () => string | undefined
  /** The bundle, one by one. */
  readonly anchors: () => readonly Uint8Array[]
  /** It did not take what it was sent. */
  readonly onRefused: (program: Program, reason: string) => void
  readonly onServed: (program: Program, services: readonly string[]) => void
  readonly onStranger: (program: Program, facts: UnixFacts) => void
}

/** One call of one program, open until one side ends it. */
class OpenCall {
  readonly #about: CallContext
  readonly #call: WorkloadCall | 'secrets' | 'secrets once'
  readonly program: Program
  /** That it is, as far as it was looked at. */
  services: readonly string[] = []
  readonly #answer: CallAnswer
  readonly #leases = new Map<string, () => void>()
  #facts: { readonly policyVersion: number; readonly facts: UnixFacts } | undefined
  #sent: string | undefined
  /** Of a call for secrets: their names; undefined until it asks. */
  #names: readonly string[] | undefined
  #nonce = ''
  #isReviewing = false
  #again = false
  #isOver = false

  constructor(about: CallContext, call: WorkloadCall | 'secrets' | 'secrets once', program: Program, answer: CallAnswer) {
    this.#about = about
    this.#call = call
    this.program = program
    this.#answer = answer
  }

  close(): void {
    this.#isOver = true
    this.services = []
    for (const release of this.#leases.values()) release()
    this.#leases.clear()
  }

  end(code: (typeof GRPC_STATUS)[keyof typeof GRPC_STATUS], message: string): void {
    if (this.#isOver) return
    this.close()
    this.#answer.end(code, message)
  }

  /**
   * A request for secrets: the first, one that says that an answer was taken or not, or one for others.
   * https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol (state of the world)
   */
  ask({ names, nonce, refusal }: SecretsRequest): void {
    if (nonce !== '' && nonce !== this.#nonce) return
    if (refusal !== undefined) this.#about.onRefused(this.program, refusal)
    const isSame =
      this.#names !== undefined && names.length === this.#names.length && names.every((name, i) => name === this.#names?.[i])
    if (isSame && nonce !== '') return
    this.#names = names
    // Asked for again, it is sent again.
    this.#sent = undefined
    this.review()
  }

  /** Whom a denial is about waits for nothing; all else is looked at one after another. */
  review(): void {
    if (this.#isOver) return
    if (this.#facts !== undefined && this.#facts.policyVersion === this.#about.view().policyVersion) {
      if (this.#services(this.#facts.facts).length === 0) return
    }
    if (this.#isReviewing) {
      this.#again = true
      return
    }
    this.#isReviewing = true
    void this.#reviewAll()
      .catch((error: Error) => this.end(GRPC_STATUS.UNAVAILABLE, error.message))
      .finally(() => {
        this.#isReviewing = false
      })
  }

  async #reviewAll(): Promise<void> {
    do {
      this.#again = false
      await this.#reviewOnce()
    } while (this.#again && !this.#isOver)
  }

  /** Those that it may be; the call is over when there are none. */
  #services(facts: UnixFacts): readonly string[] {
    const { view, self, denied } = this.#about
    const { policy, ring, nodes } = view()
    const isDenied = (id: string): boolean =>
      denied({ issuer: ringIssuer(ring), subject: id, issuedAtMs: Date.now() }) !== undefined
    const named = servicesOf(policy, self, facts)
    const isMember = nodes.some(({ id }) => id === self) && !isDenied(spiffeId(ring, 'node', self))
    const services = isMember ? named.filter((name) => !isDenied(spiffeId(ring, 'service', name))) : []
    this.services = services
    if (services.length > 0) return services
    if (named.length === 0) this.#about.onStranger(this.program, facts)
    const why =
      named.length === 0
        ? 'no workload of the ring’s policy on this node fits this program'
        : isMember
          ? `${named.join(', ')}: denied by the ring`
          : 'this node has no workloads any more'
    this.end(GRPC_STATUS.PERMISSION_DENIED, why)
    return services
  }

  async #reviewOnce(): Promise<void> {
    const { view, self, identities, bundle, bundleReason } = this.#about
    const { policy, policyVersion, ring } = view()
    if (this.#facts?.policyVersion !== policyVersion) {
      const { uid } = this.program.peer
      const withHash = Object.values(policy.workloads).some(
        ({ nodes, unix }) => nodes.includes(self) && unix.some((one) => one.uid === uid && one.sha256 !== undefined),
      )
      this.#facts = { policyVersion, facts: await this.program.facts(withHash) }
      if (view().policyVersion !== policyVersion) {
        this.#again = true
        return
      }
    }
    if (this.#isOver) return
    const services = this.#services(this.#facts.facts)
    if (services.length === 0) return
    if (this.#call.startsWith('secrets')) return this.#sendSecrets(services)
    const anchors = bundle()
    if (this.#call === 'bundles') {
      if (anchors !== undefined) await this.#send(services, digestOf(anchors), () => encodeBundles(spiffeId(ring), anchors))
      else this.#lacks(bundleReason())
      return
    }
    this.#hold(services)
    if (anchors === undefined) return this.#lacks(bundleReason())
    const made = services.flatMap((service) => identities.identity(service) ?? [])
    // The first answer has all of them, as far as they can be had.
    if (this.#sent === undefined && services.some((service) => identities.isMaking(service))) return
    // One that is replaced is not left out meanwhile: it would be taken for one that is no more.
    if (services.some((service) => identities.isMaking(service) && identities.identity(service) === undefined)) return
    if (made.length === 0)
      return this.#lacks(services.map((service) => identities.reason(service) ?? 'it is being made').join('; '))
    const state = [digestOf(anchors), ...made.map(({ thumbprint }) => thumbprint)].join(' ')
    await this.#send(services, state, () =>
      encodeSvids(
        made.map((one) => ({ spiffeId: one.spiffeId, certificate: one.certificate, key: one.key, hint: one.service })),
        anchors,
      ),
    )
  }

  /** State of the world: all that is asked for, whenever something of it changes. */
  async #sendSecrets(services: readonly string[]): Promise<void> {
    const { view, identities, bundle, bundleReason } = this.#about
    const names = this.#names
    if (names === undefined) return
    const { ring } = view()
    const domain = spiffeId(ring)
    const named = new Map(services.map((service) => [spiffeId(ring, 'service', service), service]))
    const [first] = services
    const strange = names.filter(
      (name) => !named.has(name) && ![...Object.values(SECRET_NAMES), domain].some((known) => known === name),
    )
    if (strange.length > 0) {
      const words = strange.map((name) => JSON.stringify(name.slice(0, 200))).join(', ')
      return this.end(
        GRPC_STATUS.PERMISSION_DENIED,
        `this program may not have ${words}; it may have ${SECRET_NAMES.svid}, ${SECRET_NAMES.bundle}, ${SECRET_NAMES.all}, ${domain}, ${[...named.keys()].join(', ')}`,
      )
    }
    const wanted = names.length === 0 ? [SECRET_NAMES.svid, SECRET_NAMES.bundle] : names
    const serviceOf = (name: string): string | undefined => (name === SECRET_NAMES.svid ? first : named.get(name))
    const wantedServices = [...new Set(wanted.flatMap((name) => serviceOf(name) ?? []))]
    this.#hold(wantedServices)
    const anchors = bundle()
    if (anchors === undefined) return this.#lacks(bundleReason())
    if (wantedServices.some((service) => identities.isMaking(service) && identities.identity(service) === undefined)) return
    const secrets: Secret[] = []
    for (const name of wanted) {
      const service = serviceOf(name)
      if (service === undefined) {
        const held = this.#about.anchors()
        secrets.push({ kind: 'bundle', name, anchors: held, ...(name === SECRET_NAMES.all ? { bound: ring } : {}) })
        continue
      }
      const identity = identities.identity(service)
      if (identity === undefined) return this.#lacks(identities.reason(service) ?? 'it is being made')
      secrets.push({ kind: 'svid', name, certificate: identity.certificate, key: identity.key })
    }
    const version = hash('sha256', encodeSecrets(secrets, '', '')).slice(0, 32)
    await this.#send(services, version, () => {
      this.#nonce = randomBytes(12).toString('hex')
      return encodeSecrets(secrets, version, this.#nonce)
    })
    if (this.#call === 'secrets once' && this.#sent !== undefined) this.end(GRPC_STATUS.OK, '')
  }

  #hold(services: readonly string[]): void {
    for (const [service, release] of this.#leases) {
      if (services.includes(service)) continue
      release()
      this.#leases.delete(service)
    }
    for (const service of services)
      if (!this.#leases.has(service))
        this.#leases.set(
          service,
          this.#about.identities.hold(service, () => this.review()),
        )
  }

  /** Who has something keeps it, and is told when there is more; who has nothing yet hears why. @param reason Undefined: it is on its way. */
  #lacks(reason: string | undefined): void {
    if (this.#sent === undefined && reason !== undefined)
      this.end(GRPC_STATUS.UNAVAILABLE, `the ring signs nothing at the moment: ${reason}`)
  }

  async #send(services: readonly string[], state: string, encode: () => Uint8Array): Promise<void> {
    if (state === this.#sent) return
    if (!(await this.program.isThere())) {
      this.end(GRPC_STATUS.PERMISSION_DENIED, 'the process that connected is gone, or runs another program now')
      return
    }
    // A denial may have come meanwhile.
    if (this.#isOver || this.#again) return
    this.#answer.send(encode())
    if (this.#sent === undefined) this.#about.onServed(this.program, services)
    this.#sent = state
  }
}

function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes)
}
