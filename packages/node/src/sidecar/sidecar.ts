/**
 * Mutual TLS for a program that knows nothing of it. Inbound: TLS by the service's X.509-SVID, callers by theirs, plain HTTP to the program, which is told
 * who calls. Outbound: plain HTTP on loopback, mutual TLS to the other side, whose id is held against what is expected. The node's own proxy and
 * guard, with a policy of one service a way; no part of the ledger.
 */
import { hash, X509Certificate } from 'node:crypto'
import { createSecureContext, type PeerCertificate, type SecureContext } from 'node:tls'
import { createGuard, type GuardEnvironment, type Peer } from '@ringwall/guard'
import { peerOf } from '@ringwall/identity'
import { type HeldSvid, WorkloadClient } from '@ringwall/identity/workload'
import {
  createProxy,
  type DecisionRecord,
  type ListenerOptions,
  type ProxyOptions,
  type Recorder,
  type Proxy as RunningProxy,
} from '@ringwall/proxy'
import { compilePolicy, createDenialIndex, NO_SIGNING_KEY_VIEW, PolicySchema, type View } from '@ringwall/ring'
import { childOf, formatTraceparent, newTrace, parseTraceparent, requestId } from '@ringwall/telemetry'
import { formatHostPort } from '../address.ts'
import type { InboundConfig, OutboundConfig, SidecarConfig } from './config.ts'

const GRACE_MS = 5_000
/** Refusals told of in a minute. */
const TOLD_PER_MINUTE = 60
const MINUTE_MS = 60_000
/** By name: what it goes by in decisions. */
const SERVICE = 'local'

export interface SidecarOptions {
  readonly say: (level: 'info' | 'warn', line: string) => void
}

interface Identity {
  readonly svid: HeldSvid
  readonly own: { readonly cert: string; readonly key: string; readonly minVersion: 'TLSv1.3' }
  readonly server: SecureContext
  readonly client: SecureContext
  readonly ring: string
  /** Of the ring: Ed25519, raw, base64url. */
  readonly keys: readonly string[]
}

export class Sidecar {
  readonly #config: SidecarConfig
  readonly #say: SidecarOptions['say']
  readonly #client: WorkloadClient
  readonly #proxies: RunningProxy[] = []
  #identity: Identity | undefined
  #generation = 0
  #first: (() => void) | undefined
  #told = { sinceMs: 0, count: 0 }

  constructor(config: SidecarConfig, { say }: SidecarOptions) {
    this.#config = config
    this.#say = say
    this.#client = new WorkloadClient({
      socket: config.socket,
      ...(config.service === undefined ? {} : { service: config.service }),
      onChange: (svid) => this.#take(svid),
      onProblem: (reason) => say('warn', `no certificate from the Workload API at ${config.socket} (tried on): ${reason}`),
    })
  }

  /** The service's SPIFFE id, while it has a certificate. */
  get spiffeId(): string | undefined {
    return this.#current()?.svid.spiffeId
  }

  /** Settles when there is a certificate and all ways are open; waits for the Workload API as long as it takes. @throws {ListenFailed} */
  async start(): Promise<readonly string[]> {
    const first = new Promise<void>((settle) => {
      this.#first = settle
    })
    this.#client.start()
    await first
    const ways: string[] = []
    try {
      for (const inbound of this.#config.inbound) ways.push(await this.#open(this.#inbound(inbound), inbound.listen, inbound.to))
      for (const outbound of this.#config.outbound)
        ways.push(await this.#open(this.#outbound(outbound), outbound.listen, `${outbound.to} (${outbound.is ?? outbound.name})`))
    } catch (error) {
      await this.stop()
      throw error
    }
    return ways
  }

  async stop(): Promise<void> {
    this.#client.stop()
    await Promise.all(this.#proxies.map((proxy) => proxy.stop(GRACE_MS)))
  }

  /** What was asked of all ways together. */
  stats(): readonly ReturnType<RunningProxy['stats']>[] {
    return this.#proxies.map((proxy) => proxy.stats())
  }

  #current(): Identity | undefined {
    return this.#identity !== undefined && Date.now() < this.#identity.svid.expiresAtMs ? this.#identity : undefined
  }

  #take(svid: HeldSvid | undefined): void {
    this.#generation += 1
    if (svid === undefined) {
      this.#identity = undefined
      this.#say('warn', 'this program is the service no more: nothing is let in or out')
      return
    }
    const cert = svid.chain.map((one) => one.toString()).join('')
    const own = { cert, key: svid.key.export({ format: 'pem', type: 'pkcs8' }) as string, minVersion: 'TLSv1.3' } as const
    const common = { ...own, ca: svid.authorities.map((one) => one.toString()) }
    this.#identity = {
      svid,
      own,
      // Who comes back shows its certificate again.
      server: createSecureContext({ ...common, sessionIdContext: hash('sha256', cert).slice(0, 32) }),
      client: createSecureContext(common),
      ring: /^spiffe:\/\/([^/]+)\//.exec(svid.spiffeId)?.[1] ?? '',
      keys: svid.authorities.flatMap(({ publicKey }) => {
        const { crv, x } = publicKey.export({ format: 'jwk' })
        return crv === 'Ed25519' && x !== undefined ? [x] : []
      }),
    }
    this.#say('info', `certificate of ${svid.spiffeId}, good until ${new Date(svid.expiresAtMs).toISOString()}`)
    this.#first?.()
  }

  async #open(options: ProxyOptions, { host }: InboundConfig['listen'], to: string): Promise<string> {
    const proxy = createProxy(options)
    const [bound] = await proxy.start()
    this.#proxies.push(proxy)
    return `${formatHostPort({ host, port: bound!.port })} → ${to}`
  }

  #inbound({ listen, to, callers, http2, timeoutMs }: InboundConfig): ProxyOptions {
    const service = { upstreams: [{ url: to, http2 }], callers, ...plain(timeoutMs) }
    return this.#proxyOptions(service, {
      ...listen,
      http2: true,
      tls: {
        certificates: [],
        source: { contextFor: () => this.#current()?.server },
        unknownNames: 'first',
        minVersion: 'TLSv1.3',
        hsts: undefined,
        clientCertificates: 'require',
      },
    })
  }

  #outbound({ listen, to, is, name, authorities, http2, timeoutMs }: OutboundConfig): ProxyOptions {
    let known: { readonly of: Identity; readonly context: SecureContext } | undefined
    /** For who is known by a host name: our certificate, and others' authorities. */
    const named = (identity: Identity): SecureContext => {
      if (known?.of !== identity)
        known = {
          of: identity,
          context: createSecureContext({ ...identity.own, ...(authorities === undefined ? {} : { ca: authorities }) }),
        }
      return known.context
    }
    const service = { upstreams: [{ url: to, http2 }], callers: ['anyone'], ...plain(timeoutMs) }
    return {
      ...this.#proxyOptions(service, { ...listen, http2: true }),
      upstreamTls: {
        generation: () => this.#generation,
        options: () => {
          const identity = this.#current()
          if (identity === undefined) return { secureContext: NOBODY, rejectUnauthorized: true, checkServerIdentity: refuseAll }
          if (is === undefined) return { secureContext: named(identity), servername: name, rejectUnauthorized: true }
          return {
            secureContext: identity.client,
            rejectUnauthorized: true,
            checkServerIdentity: (_host: string, { raw }: PeerCertificate) => this.#strangerAt(new X509Certificate(raw), is, to),
          }
        },
      },
    }
  }

  /** Undefined: it is whom it is expected to be. */
  #strangerAt(certificate: X509Certificate, is: string, to: string): Error | undefined {
    const identity = this.#current()
    const peer = identity && peerOf(certificate, identity, Date.now())
    const expected = is.startsWith('spiffe://') ? is : `spiffe://${identity?.ring}/${is}`
    if (peer?.subject === expected) return undefined
    const found = peer?.subject ?? 'nobody of this ring'
    this.#tell(`${to} is ${found}, where ${expected} is expected: nothing is sent to it`)
    return new Error(`it is ${found}, where ${expected} is expected`)
  }

  #peer(certificate: X509Certificate, nowMs: number): Peer | undefined {
    const identity = this.#current()
    const peer = identity && peerOf(certificate, identity, nowMs)
    // Which nodes may say so is in the ledger, which is not here: the node gives no certificate any more then.
    const { attestedBy: _node, ...known } = peer ?? {}
    return peer && { ...(known as Peer) }
  }

  #proxyOptions(service: object, listener: ListenerOptions): ProxyOptions {
    const policy = PolicySchema.parse({ version: 1, services: { [SERVICE]: service } })
    const compilation = compilePolicy(policy, noRules, new Map())
    if (!compilation.ok) throw new Error(`bug: ${compilation.problems.join('; ')}`)
    const { routes, route } = compilation.compiled
    const denials = createDenialIndex([])
    const view = (): View => ({
      ring: this.#identity?.ring ?? '',
      height: 0,
      blockTimestampMs: Date.now(),
      policyVersion: 0,
      policy,
      policyText: '',
      denials,
      operators: [],
      nodes: [],
      epoch: 0,
      signingKey: NO_SIGNING_KEY_VIEW,
      routes,
      route,
    })
    const environment = (): GuardEnvironment => {
      const nowMs = Date.now()
      return { view: view(), provisional: denials, tokens: NO_TOKENS, nowMs, certifiedAtMs: nowMs }
    }
    return {
      listeners: [listener],
      guard: createGuard(),
      environment,
      recorder: this.#recorder(),
      node: 'sidecar',
      region: 'local',
      explainHeader: false,
      cacheBytes: 0,
      peer: (certificate, nowMs) => this.#peer(certificate, nowMs),
      log: (level, line) => (level === 'warn' ? this.#tell(line) : undefined),
    }
  }

  #recorder(): Recorder {
    return {
      parseTraceparent,
      newTrace,
      childOf,
      formatTraceparent,
      requestId,
      wants: (outcome) => outcome !== 'allow',
      recordDecision: ({ method, path, reason, source, status }: DecisionRecord) =>
        this.#tell(`${method} ${path.slice(0, 200)} from ${source} is refused with ${status}: ${reason}`),
      recordSpan: () => {},
      observeRequest: () => {},
    }
  }

  /** Whoever is refused all the time fills no log. */
  #tell(line: string): void {
    const nowMs = Date.now()
    if (nowMs > this.#told.sinceMs + MINUTE_MS) this.#told = { sinceMs: nowMs, count: 0 }
    if (++this.#told.count <= TOLD_PER_MINUTE) this.#say('warn', line.replaceAll(/[^\x20-\x7e‘’→]/g, '?'))
  }
}

/** A sidecar passes on, and judges nothing but who calls. */
const plain = (timeoutMs: number): object => ({
  waf: { mode: 'off', rules: [] },
  staleness: { max: '1h', beyond: 'open' },
  upstreamTimeout: `${timeoutMs}ms`,
})

const NOBODY = createSecureContext({ ca: [] })
const refuseAll = (): Error => new Error('this program has no certificate now')
const NO_TOKENS = { verify: () => ({ ok: false, code: 'TOKEN_NONE', reason: 'a sidecar believes no tokens' }) as const }
const noRules = (): never => {
  throw new Error('bug: a sidecar has no rules')
}
