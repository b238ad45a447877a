/** The listener: opens, bounds and closes connections. */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { GuardEnvironment, Judgement } from '@ringwall/guard'
import {
  type Credential,
  coversCredential,
  type DenialSubject,
  isTrustedProxy,
  parseAddress,
  parsePrefix,
  prefixContains,
} from '@ringwall/ring'
import { Arrival, type Arrivals } from './arrival.ts'
import { ClientConnection } from './client-connection.ts'
import { type Connection, type Context, type Counters, Sources, type Standing } from './context.ts'
import { ListenFailed } from './errors.ts'
import { H2Connection } from './h2-connection.ts'
import { Listener } from './listener.ts'
import { socketAddress } from './source-address.ts'
import {
  type CertificateStatus,
  DEFAULT_LIMITS,
  type Proxy as ProxyContract,
  type ProxyLimits,
  type ProxyOptions,
  type ProxyStats,
  type ServiceStatus,
  type UpstreamStatus,
} from './types.ts'
import { UpstreamPools } from './upstream-pools.ts'
import { readingIntoShared } from './wire.ts'

/** At most one line about connections refused in this time. */
const COMPLAIN_EVERY_MS = 10_000
/** No method of HTTP/1.1 begins so (RFC 9113 section 3.4). */
const H2_START = Buffer.from('PRI ', 'latin1')
const SWEEP_MS_MIN = 50
/** What is judged again at once, before others have their turn. */
const REVIEW_SLICE = 200
/** Denials that each open token is compared with. */
const COMPARED_MAX = 16
const SWEEP_MS_MAX = 1_000

export function createProxy(options: ProxyOptions): ProxyContract {
  return new HttpProxy(options)
}

class HttpProxy implements ProxyContract, Arrivals {
  readonly #options: ProxyOptions
  readonly #context: Context
  readonly #limits: ProxyLimits
  readonly #pools: UpstreamPools
  readonly #listeners: readonly Listener[]
  readonly #connections = new Set<Connection>()
  /** In the order in which they came. */
  readonly #arrivals = new Set<Arrival>()
  readonly #counters: Counters = {
    requests: 0,
    allowed: 0,
    denied: 0,
    challenged: 0,
    throttled: 0,
    malformed: 0,
    upstreamErrors: 0,
    overloaded: 0,
    clientAborts: 0,
    droppedConnections: 0,
    tlsHandshakes: 0,
    tlsResumed: 0,
    tlsFailed: 0,
    tlsDropped: 0,
    proxyHeadersRefused: 0,
    http2Errors: 0,
    http2Floods: 0,
    activeRequests: 0,
    activeTunnels: 0,
    streamsCut: 0,
  }
  #sweeper: NodeJS.Timeout | undefined
  #stopping: Promise<void> | undefined
  #drained: (() => void) | undefined

  constructor(options: ProxyOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#options = options
    this.#limits = limits
    const log = options.log ?? (() => undefined)
    this.#listeners = options.listeners.map((listener) => new Listener(listener, log))
    this.#pools = new UpstreamPools(limits, options.region, options.log)
    this.#context = {
      options,
      limits,
      headBounds: {
        lineBytesMax: limits.requestLineBytesMax,
        bytesMax: limits.headerBytesMax,
        fieldsMax: limits.headersMax,
      },
      stopping: false,
      pools: this.#pools,
      counters: this.#counters,
      sources: new Sources(),
      standing: new Set(),
      isTrustedProxy: options.isTrustedProxy ?? isTrustedProxy,
      log,
    }
  }

  async start(): Promise<readonly { readonly host: string; readonly port: number }[]> {
    const bound: { readonly host: string; readonly port: number }[] = []
    for (const listener of this.#listeners) bound.push(await this.#listen(listener))
    for (const { certificates } of this.#listeners) certificates?.watch()
    this.#pools.start()
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs(this.#limits))
    this.#pools.follow(this.#options.environment().view.policy)
    return bound
  }

  #listen(listener: Listener): Promise<{ readonly host: string; readonly port: number }> {
    // Half-open: a client that ends its half is told from one that broke off, and hears our answer out.
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
      this.#connected(socket, listener),
    )
    const { host, port } = listener.options
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const failed = new ListenFailed(host, port, LISTEN_PROBLEMS[error.code ?? ''] ?? error.message, { cause: error })
        // What listens already would keep the port, and the process, for nobody.
        for (const { server: other } of this.#listeners) other?.close()
        reject(failed)
      })
      server.listen({ host, port, backlog: 1_024 }, () => {
        listener.server = server
        server.removeAllListeners('error')
        server.on('error', (error) => this.#context.log('warn', `the listener failed: ${error.message}`))
        const bound = server.address() as AddressInfo
        listener.port = bound.port
        resolve({ host: bound.address, port: bound.port })
      })
    })
  }

  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs)
    return this.#stopping
  }

  stats(): ProxyStats {
    let certificatesTaken = 0
    let certificatesRefused = 0
    for (const { certificates } of this.#listeners) {
      certificatesTaken += certificates?.reloads.taken ?? 0
      certificatesRefused += certificates?.reloads.refused ?? 0
    }
    const active = { activeConnections: this.#connections.size, activeHandshakes: this.#arrivals.size }
    return { ...this.#counters, certificatesTaken, certificatesRefused, ...active }
  }

  upstreams(): readonly UpstreamStatus[] {
    return this.#pools.status()
  }

  services(): readonly ServiceStatus[] {
    return this.#pools.services()
  }

  certificates(): readonly CertificateStatus[] {
    return this.#listeners.flatMap(({ certificates }) => certificates?.status() ?? [])
  }

  reloadCertificates(): void {
    for (const { certificates } of this.#listeners) certificates?.reload()
  }

  cutSource(source: string): number {
    const { sources } = this.#context
    const { policy } = this.#options.environment().view
    const prefix = parsePrefix(source)
    if (prefix === undefined) return 0
    // A proxy that we trust carries the requests of others: only what it forwards for the denied is cut.
    const matches = (address: string): boolean => {
      const parsed = parseAddress(address)
      return parsed !== undefined && prefixContains(prefix, parsed)
    }
    let count = sources.cut(matches)
    for (const connection of this.#connections) {
      const { address } = connection
      if (connection.gone || !matches(address) || this.#context.isTrustedProxy(policy, address)) continue
      connection.destroy()
      count++
    }
    return count
  }

  cutCredentials(subjects: readonly DenialSubject[]): number {
    // Comparing with many takes longer than looking each token up in what is denied.
    const isCovered =
      subjects.length > COMPARED_MAX
        ? () => true
        : (credential: Credential) => subjects.some((subject) => coversCredential(subject, credential))
    return this.#review([...this.#context.standing], ({ credential }) => credential !== undefined && isCovered(credential))
  }

  async reviewAll(): Promise<number> {
    const all = [...this.#context.standing]
    let count = 0
    for (let at = 0; at < all.length; at += REVIEW_SLICE) {
      count += this.#review(all.slice(at, at + REVIEW_SLICE), () => true)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return count
  }

  #review(all: readonly Standing[], concerns: (judgement: Judgement) => boolean): number {
    const { options, counters, standing } = this.#context
    const before = counters.streamsCut
    let environment: GuardEnvironment | undefined
    for (const one of all) {
      if (!standing.has(one) || !concerns(one.judgement)) continue
      environment ??= options.environment()
      const decision = options.guard.review(one.judgement, environment)
      if (decision === undefined) continue
      counters.streamsCut++
      one.end(decision)
    }
    return counters.streamsCut - before
  }

  #connected(socket: Socket, listener: Listener): void {
    if (this.#connections.size >= this.#limits.connectionsMax) {
      socket.destroy()
      this.#complain()
      return
    }
    const address = socketAddress(socket.remoteAddress)
    if (this.#isDropped(address)) {
      socket.resetAndDestroy()
      return
    }
    const announced = listener.announces(address)
    if (announced || listener.secure || listener.options.http2 === true)
      this.#arrived(new Arrival(this.#context, listener, socket, address, announced, this))
    else this.#speakHttp(listener, socket, address, undefined)
  }

  #arrived(arrival: Arrival): void {
    this.#connections.add(arrival)
    this.#arrivals.add(arrival)
    if (this.#arrivals.size <= this.#limits.handshakesMax) return
    const [oldest] = this.#arrivals
    this.#counters.tlsDropped++
    oldest!.destroy()
  }

  admits(source: string): boolean {
    return !this.#isDropped(source)
  }

  onPlain({ listener, address }: Arrival, socket: Socket, rest: Buffer): void {
    if (listener.options.http2 !== true || !rest.subarray(0, H2_START.length).equals(H2_START)) {
      this.#speakHttp(listener, socket, address, rest)
      return
    }
    const own = readingIntoShared(socket)
    const connection = new H2Connection(this.#context, listener, own ?? socket, address, undefined, own === undefined, this.#gone)
    this.#connections.add(connection)
    connection.onBytes(rest)
    if (own === undefined) socket.resume()
  }

  onSecured(arrival: Arrival, socket: TLSSocket): void {
    const { listener, address, ja4 } = arrival
    if (socket.alpnProtocol === 'h2') {
      this.#connections.add(new H2Connection(this.#context, listener, socket, address, ja4, true, this.#gone))
      return
    }
    this.#connections.add(new ClientConnection(this.#context, listener, socket, address, ja4, true, this.#gone))
  }

  onGone(arrival: Arrival): void {
    this.#arrivals.delete(arrival)
    this.#gone(arrival)
  }

  /** @param rest What it has said already. */
  #speakHttp(listener: Listener, socket: Socket, address: string, rest: Buffer | undefined): void {
    const own = readingIntoShared(socket)
    const streams = own === undefined
    const connection = new ClientConnection(this.#context, listener, own ?? socket, address, undefined, streams, this.#gone)
    this.#connections.add(connection)
    if (rest !== undefined && rest.length > 0) connection.onBytes(rest)
    if (streams) socket.resume()
  }

  #deniedSecond = 0
  #deniedInSecond = 0

  /**
   * A denied source learns so, with a request id, as long as it asks at a human pace. A flood of its connections ends here,
   * before anything is read or kept.
   */
  #isDropped(address: string): boolean {
    const { view, provisional, nowMs } = this.#options.environment()
    const denied = view.denials.matchAddress(address, nowMs) ?? provisional.matchAddress(address, nowMs)
    // A proxy that we trust carries the requests of others.
    if (denied === undefined || this.#context.isTrustedProxy(view.policy, address)) return false
    const second = Math.floor(nowMs / 1_000)
    if (second !== this.#deniedSecond) {
      this.#deniedSecond = second
      this.#deniedInSecond = 0
    }
    if (++this.#deniedInSecond <= this.#limits.deniedConnectionsPerSecondMax) return false
    this.#counters.droppedConnections++
    return true
  }

  readonly #gone = (connection: Connection): void => {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#drained?.()
  }

  #sweep(): void {
    const nowMs = performance.now()
    for (const connection of this.#connections) connection.sweep(nowMs)
    for (const { certificates } of this.#listeners) certificates?.sweep(nowMs)
  }

  #complainedAtMs = Number.NEGATIVE_INFINITY
  #complain(): void {
    const nowMs = performance.now()
    if (nowMs - this.#complainedAtMs < COMPLAIN_EVERY_MS) return
    this.#complainedAtMs = nowMs
    this.#context.log('warn', `${this.#limits.connectionsMax} connections are open: new ones are refused`)
  }

  async #stop(graceMs: number): Promise<void> {
    const servers = this.#listeners.flatMap(({ server }) => server ?? [])
    for (const { certificates } of this.#listeners) certificates?.close()
    if (servers.length > 0) {
      const closed = Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))))
      this.#context.stopping = true
      for (const connection of this.#connections) connection.close()
      const cut = setTimeout(() => {
        for (const connection of this.#connections) connection.destroy()
      }, graceMs)
      await closed
      // The server counts no connection whose handle was taken over.
      if (this.#connections.size > 0) {
        await new Promise<void>((resolve) => {
          this.#drained = resolve
        })
      }
      clearTimeout(cut)
    }
    clearInterval(this.#sweeper)
    this.#pools.stop()
  }
}

/** Often enough for the shortest of the times to be kept within a quarter. */
function sweepMs(limits: ProxyLimits): number {
  const {
    handshakeMsMax,
    headersMsMax,
    requestMsMax,
    inspectedBodyMsMax,
    bodyStallMsMax,
    keepAliveMsMax,
    clientStallMsMax,
    tunnelIdleMsMax,
  } = limits
  const shortest = Math.min(
    handshakeMsMax,
    headersMsMax,
    requestMsMax,
    inspectedBodyMsMax,
    bodyStallMsMax,
    keepAliveMsMax,
    clientStallMsMax,
    tunnelIdleMsMax,
  )
  return Math.max(SWEEP_MS_MIN, Math.min(SWEEP_MS_MAX, Math.floor(shortest / 4)))
}

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; stop it or choose another port',
  EACCES: 'no permission; choose a port above 1023 or grant the capability',
  EADDRNOTAVAIL: 'this machine does not have that address',
}
