/**
 * What programs on this machine get from the Workload API: which service each is, by the policy that the ring agreed on, with its certificate and
 * the ring's own; again whenever one of these changes, and no more once it is no service any longer.
 */
import { hash } from 'node:crypto'
import { spiffeId } from '@ringwall/identity'
import {
  type CallAnswer,
  EndpointRefused,
  encodeBundles,
  encodeSvids,
  GRPC_STATUS,
  type Program,
  type WorkloadCall,
  WorkloadEndpoint,
} from '@ringwall/identity/workload'
import { ringIssuer, servicesOf, type UnixFacts, type View } from '@ringwall/ring'
import { StartError } from '../errors.ts'
import { AuthorityCertificates } from '../signing/authority-certificates.ts'
import type { Asked } from '../signing/signing-service.ts'
import { type SubjectOfDenial, WorkloadIdentities, type WorkloadIdentitiesOptions } from './workload-identities.ts'

const TICK_MS = 1_000
/** Longer than it takes when a holder of the ring's key is down and another is asked. */
const MINT_MS_MAX = 15_000
const BUNDLE_RETRY_MS = { first: 1_000, most: 30_000 } as const
const TOLD_MAX = 1_024

export interface WorkloadApiOptions extends Pick<WorkloadIdentitiesOptions, 'self' | 'view' | 'sign' | 'denied' | 'say'> {
  /** Path of the socket. */
  readonly socket: string
  readonly mint: (asked: Asked, timeoutMs: number) => Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }>
}

export class WorkloadApi {
  readonly #options: WorkloadApiOptions
  readonly #identities: WorkloadIdentities
  readonly #authorities: AuthorityCertificates
  readonly #endpoint: WorkloadEndpoint
  readonly #calls = new Set<OpenCall>()
  /** Processes of which people were told what they are. */
  readonly #told = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #bundle: { isMaking: boolean; failures: number; dueMs: number; reason: string | undefined } = {
    isMaking: false,
    failures: 0,
    dueMs: 0,
    reason: undefined,
  }
  /** The bundle, DER: that of before until the certificate of a new key is there. */
  #anchors: Uint8Array | undefined
  #cannotSee = false

  constructor(options: WorkloadApiOptions) {
    this.#options = options
    const { mint, say } = options
    this.#identities = new WorkloadIdentities({ ...options, mint: (asked) => mint({ mint: asked }, MINT_MS_MAX) })
    this.#authorities = new AuthorityCertificates({ view: options.view, sign: () => mint({ authority: true }, MINT_MS_MAX) })
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
      },
    })
  }

  /** Since this node started, and now. */
  figures(): Readonly<Record<'connections' | 'calls' | 'refused' | 'issued' | 'failed', number>> {
    const { connections, counts } = this.#endpoint
    return { connections, ...counts, ...this.#identities.counts }
  }

  /** @throws {StartError} Saying what is missing, or what is wrong with the path. */
  async start(): Promise<void> {
    try {
      await this.#endpoint.start()
    } catch (cause) {
      if (!(cause instanceof EndpointRefused)) throw cause
      throw new StartError('CONFIG_INVALID', `workloadApi.socket: ${cause.message}`, { cause })
    }
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#timer.unref()
    this.#tick()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
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
      onServed: (program, services) => this.#tell(program, services),
    }
  }

  #known(): Uint8Array | undefined {
    const known = this.#authorities.known()
    if (known !== undefined) this.#anchors = Buffer.concat(known.map(({ certificate }) => certificate))
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
    const line = `process ${pid} of user ${uid} is ${services.join(', ')}`
    if (this.#told.has(line)) return
    this.#told.add(line)
    if (this.#told.size > TOLD_MAX) this.#told.delete(this.#told.values().next().value as string)
    this.#options.say('info', line)
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
  readonly onServed: (program: Program, services: readonly string[]) => void
}

/** One call of one program, open until one side ends it. */
class OpenCall {
  readonly #about: CallContext
  readonly #call: WorkloadCall
  readonly #program: Program
  readonly #answer: CallAnswer
  readonly #leases = new Map<string, () => void>()
  #facts: { readonly policyVersion: number; readonly facts: UnixFacts } | undefined
  #sent: string | undefined
  #isReviewing = false
  #again = false
  #isOver = false

  constructor(about: CallContext, call: WorkloadCall, program: Program, answer: CallAnswer) {
    this.#about = about
    this.#call = call
    this.#program = program
    this.#answer = answer
  }

  close(): void {
    this.#isOver = true
    for (const release of this.#leases.values()) release()
    this.#leases.clear()
  }

  end(code: (typeof GRPC_STATUS)[keyof typeof GRPC_STATUS], message: string): void {
    if (this.#isOver) return
    this.close()
    this.#answer.end(code, message)
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
    if (services.length > 0) return services
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
      const { uid } = this.#program.peer
      const withHash = Object.values(policy.workloads).some(
        ({ nodes, unix }) => nodes.includes(self) && unix.some((one) => one.uid === uid && one.sha256 !== undefined),
      )
      this.#facts = { policyVersion, facts: await this.#program.facts(withHash) }
      if (view().policyVersion !== policyVersion) {
        this.#again = true
        return
      }
    }
    if (this.#isOver) return
    const services = this.#services(this.#facts.facts)
    if (services.length === 0) return
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
    if (!(await this.#program.isThere())) {
      this.end(GRPC_STATUS.PERMISSION_DENIED, 'the process that connected is gone, or runs another program now')
      return
    }
    // A denial may have come meanwhile.
    if (this.#isOver || this.#again) return
    this.#answer.send(encode())
    if (this.#sent === undefined) this.#about.onServed(this.#program, services)
    this.#sent = state
  }
}

function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes)
}
