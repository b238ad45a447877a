/** The listener: opens, bounds and closes connections. */
import { randomInt } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type GuardEnvironment, type Judgement, sourceKey } from '@ringwall/guard'
import {
  type Credential,
  coversCredential,
  type DenialSubject,
  isFloodDenial,
  isTrustedProxy,
  parseAddress,
  parsePrefix,
  prefixContains,
} from '@ringwall/ring'
import { filterConnections } from './accept-filter.ts'
import { type AcmeAnswer, AcmeAnswers } from './acme-answers.ts'
import { Arrival, type Arrivals } from './arrival.ts'
import { ClientConnection } from './client-connection.ts'
import { Compressor } from './compression.ts'
import { type Connection, type Context, type Counters, NO_STATS, Sources } from './context.ts'
import { ListenFailed } from './errors.ts'
import { H2Connection } from './h2-connection.ts'
import { Listener } from './listener.ts'
import { type CacheStatus, ResponseCache } from './response-cache.ts'
import { LATE_MS_MAX, SourceShedding } from './shedding.ts'
import { socketAddress } from './source-address.ts'
import { type Standing, StandingRequests } from './standing.ts'
import { TunnelsBySource } from './tunnel.ts'
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
/** Listening sockets, of all ports together unless there are many. */
const ACCEPTORS = 64
const ACCEPTORS_MIN = 4
/** How long a socket may go on being busy when the proxy stops. */
const DRAIN_TURNS_MAX = 200
/** Linux deals connections out over sockets that share a port; elsewhere it is not the same, or not at all. */
const SHARES_PORTS = process.platform === 'linux'
/** Connections looked at to make room for one. */
const ROOM_LOOKS_MAX = 64
const LATENESS_MS = 50
/** While nobody is connected there is little to look after; whoever comes next wakes it. */
const REST_MS = 1_000
const RESTS_AFTER_MS = 5_000
const SWEEP_MS_MIN = 50
/** What is judged again at once, before others have their turn. */
const REVIEW_SLICE = 200
/** Denials that each open token is compared with. */
const COMPARED_MAX = 16
const SWEEP_MS_MAX = 1_000
/** How long times are looked at, at once, and after how many connections the clock is asked. */
const SWEEP_SLICE_MS = 2
const SWEPT_PER_LOOK = 16
const CACHE_BYTES = 67_108_864

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
  readonly #counters: Counters = { ...NO_STATS }
  readonly #bySource = new Map<string, number>()
  /** Listening sockets by which somebody came since it was last cleared. */
  readonly #accepted = new Set<Server>()
  /** Goes round all connections, oldest first, as room is needed. */
  #room: Iterator<Connection> | undefined
  #sweeper: NodeJS.Timeout | undefined
  /** Goes round them once, as their times are looked at. */
  #sweeping: Iterable<Connection> | undefined
  #lateness: NodeJS.Timeout | undefined
  #dueMs = 0
  #rests = false
  #busyAtMs = 0
  #overloadedBefore = 0
  #droppedBefore = 0
  #requestsBefore = 0
  #stopping: Promise<void> | undefined
  #drained: (() => void) | undefined

  constructor(options: ProxyOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#options = options
    this.#limits = limits
    const log = options.log ?? (() => undefined)
    this.#listeners = options.listeners.map((listener) => new Listener(listener, log, options.ticketSecret, options.unseal))
    this.#pools = new UpstreamPools(limits, options.region, options.log, options.upstreamTls)
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
      cache: new ResponseCache(options.cacheBytes ?? CACHE_BYTES, options.onInvalidate),
      counters: this.#counters,
      sources: new Sources(),
      tunnels: new TunnelsBySource(),
      compressor: new Compressor(this.#counters),
      acme: new AcmeAnswers(),
      shedding: new SourceShedding(randomInt(2 ** 32)),
      standing: new StandingRequests(),
      isTrustedProxy: options.isTrustedProxy ?? isTrustedProxy,
      log,
    }
  }

  async start(): Promise<readonly { readonly host: string; readonly port: number }[]> {
    const bound: { readonly host: string; readonly port: number }[] = []
    for (const listener of this.#listeners) bound.push(await this.#listen(listener))
    for (const { certificates } of this.#listeners) certificates?.watch()
    this.#pools.start()
    this.#wake()
    this.#pools.follow(this.#options.environment().view)
    return bound
  }

  /**
   * The event loop accepts one connection a turn from each listening socket, and turns are long when there is much to do: with one
   * socket, new clients would wait for seconds. Where ports can be shared, several sockets take connections to this one.
   */
  async #listen(listener: Listener): Promise<{ readonly host: string; readonly port: number }> {
    const { host, reusePort = false } = listener.options
    try {
      const first = await this.#serve(listener, listener.options.port, reusePort)
      const { address, port } = first.address() as AddressInfo
      listener.servers = [first]
      listener.port = port
      if (SHARES_PORTS) {
        // The first alone tells whether the port is free; shared, it could be another program's as well.
        if (!reusePort) {
          await new Promise<void>((resolve) => first.close(() => resolve()))
          listener.servers = []
        }
        const wanted = Math.max(ACCEPTORS_MIN, Math.floor(ACCEPTORS / this.#listeners.length))
        while (listener.servers.length < wanted) listener.servers = [...listener.servers, await this.#serve(listener, port, true)]
      }
      return { host: address, port }
    } catch (cause) {
      const error = cause as NodeJS.ErrnoException
      // What listens already would keep the port, and the process, for nobody.
      for (const { servers } of this.#listeners) for (const server of servers) server.close()
      const why = LISTEN_PROBLEMS[error.code ?? ''] ?? error.message
      throw new ListenFailed(host, listener.options.port, why, { cause })
    }
  }

  #serve(listener: Listener, port: number, reusePort: boolean): Promise<Server> {
    // Half-open: a client that ends its half is told from one that broke off, and hears our answer out.
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
      this.#accepted.add(server)
      if (this.#rests) this.#wake()
      if (!isFiltered && this.#isKeptOut(socketAddress(socket.remoteAddress), listener)) socket.resetAndDestroy()
      else this.#connected(socket, listener)
    })
    let isFiltered = false
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: listener.options.host, port, reusePort, backlog: 1_024 }, () => {
        server.removeAllListeners('error')
        isFiltered = filterConnections(server, (address) => {
          const isKeptOut = this.#isKeptOut(socketAddress(address), listener)
          if (isKeptOut) this.#accepted.add(server)
          if (this.#rests) this.#wake()
          return isKeptOut
        })
        server.on('error', (error) => this.#context.log('warn', `the listener failed: ${error.message}`))
        resolve(server)
      })
    })
  }

  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs)
    return this.#stopping
  }

  drain(isOn: boolean): void {
    if (this.#stopping !== undefined) return
    this.#context.stopping = isOn
    if (isOn) for (const connection of this.#connections) connection.close()
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

  cache(): CacheStatus {
    return this.#context.cache.status()
  }

  invalidate(keys: readonly string[]): void {
    this.#context.cache.invalidate(keys)
  }

  purge(service: string, path: string): void {
    this.#context.cache.purge(service, path)
  }

  answerAcme(all: readonly AcmeAnswer[]): void {
    this.#context.acme.set(all)
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
    return this.#review(this.#context.standing.all(), ({ credential, peer }) => {
      return (credential !== undefined && isCovered(credential)) || (peer !== undefined && isCovered(peer))
    })
  }

  async reviewAll(): Promise<number> {
    const all = this.#context.standing.all()
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
    if (this.#connections.size >= this.#limits.connectionsMax && !this.#makeRoom()) {
      socket.destroy()
      this.#complain()
      return
    }
    const address = socketAddress(socket.remoteAddress)
    const announced = listener.announces(address)
    if (announced || listener.secure || listener.options.http2 === true)
      this.#arrived(new Arrival(this.#context, listener, socket, address, announced, this))
    else this.#speakHttp(listener, socket, address, undefined)
  }

  #arrived(arrival: Arrival): void {
    this.#connections.add(arrival)
    this.#arrivals.add(arrival)
    if (this.#arrivals.size <= this.#limits.handshakesMax) return
    this.#counters.tlsDropped++
    this.#oldestArrival().destroy()
  }

  /** Of those that have said nothing, if there are: whoever means it has said what it wants before long. */
  #oldestArrival(): Arrival {
    let looks = 0
    for (const one of this.#arrivals) {
      if (one.silent) return one
      if (++looks === ROOM_LOOKS_MAX) break
    }
    const [oldest] = this.#arrivals
    return oldest!
  }

  #isKeptOut(address: string, listener: Listener): boolean {
    return listener.announces(address) ? this.#isDropped(address) : !this.admits(address)
  }

  admits(source: string): boolean {
    return !this.#isDropped(source) && !this.#hasTooMany(source)
  }

  #hasTooMany(address: string): boolean {
    if ((this.#bySource.get(sourceKey(address)) ?? 0) < this.#limits.connectionsPerSourceMax) return false
    if (this.#context.isTrustedProxy(this.#options.environment().view.policy, address)) return false
    this.#counters.droppedConnections++
    this.#options.meter?.asked(sourceKey(address), undefined, true, false)
    return true
  }

  /** Closes a connection that waits for its client, were there one: what slow clients hold must not keep others out. */
  #makeRoom(): boolean {
    const nowMs = performance.now()
    for (let looks = 0; looks < ROOM_LOOKS_MAX; looks++) {
      this.#room ??= this.#connections.values()
      const { value, done } = this.#room.next()
      if (done === true) {
        this.#room = undefined
        continue
      }
      if (value.gone || !value.expendable(nowMs)) continue
      this.#counters.evictedConnections++
      value.destroy()
      return true
    }
    return false
  }

  #opened(connection: Connection): void {
    this.#connections.add(connection)
    const key = sourceKey(connection.address)
    this.#bySource.set(key, (this.#bySource.get(key) ?? 0) + 1)
  }

  onPlain({ listener, address }: Arrival, socket: Socket, rest: Buffer): void {
    if (listener.options.http2 !== true || !rest.subarray(0, H2_START.length).equals(H2_START)) {
      this.#speakHttp(listener, socket, address, rest)
      return
    }
    const own = readingIntoShared(socket)
    const connection = new H2Connection(this.#context, listener, own ?? socket, address, {}, own === undefined, this.#gone)
    this.#opened(connection)
    connection.onBytes(rest)
    if (own === undefined) socket.resume()
  }

  onSecured(arrival: Arrival, socket: TLSSocket): void {
    const { listener, address } = arrival
    if (socket.alpnProtocol === 'h2') {
      this.#opened(new H2Connection(this.#context, listener, socket, address, arrival, true, this.#gone))
      return
    }
    this.#opened(new ClientConnection(this.#context, listener, socket, address, arrival, true, this.#gone))
  }

  onGone(arrival: Arrival): void {
    this.#arrivals.delete(arrival)
    this.#forget(arrival)
  }

  /** @param rest What it has said already. */
  #speakHttp(listener: Listener, socket: Socket, address: string, rest: Buffer | undefined): void {
    const own = readingIntoShared(socket)
    const streams = own === undefined
    const connection = new ClientConnection(this.#context, listener, own ?? socket, address, {}, streams, this.#gone)
    this.#opened(connection)
    if (rest !== undefined && rest.length > 0) connection.onBytes(rest)
    if (streams) socket.resume()
  }

  #deniedSecond = 0
  #deniedInSecond = 0

  /**
   * A denied source learns so, with a request id, as long as it asks at a human pace. A flood of its connections ends here,
   * before anything is read or kept, and so does each connection of a source that is denied for flooding.
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
    if (!isFloodDenial(denied) && ++this.#deniedInSecond <= this.#limits.deniedConnectionsPerSecondMax) return false
    this.#counters.droppedConnections++
    this.#options.meter?.knocked(sourceKey(address))
    return true
  }

  readonly #gone = (connection: Connection): void => {
    // Told of its end more than once, it counts once.
    if (!this.#connections.has(connection)) return
    const key = sourceKey(connection.address)
    const left = (this.#bySource.get(key) ?? 1) - 1
    if (left > 0) this.#bySource.set(key, left)
    else this.#bySource.delete(key)
    this.#forget(connection)
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#drained?.()
  }

  readonly #connectionsOf = (source: string): number | undefined => this.#bySource.get(source)

  #sweep(): void {
    for (const { certificates } of this.#listeners) certificates?.sweep()
    if (this.#sweeping !== undefined) return
    this.#sweeping = this.#connections.values()
    this.#sweepOn()
  }

  /** Thousands whose time is over at once are answered a few at a time: others have their turns in between. */
  #sweepOn(): void {
    const nowMs = performance.now()
    let swept = 0
    for (const connection of this.#sweeping ?? []) {
      connection.sweep(nowMs)
      swept += 1
      if (swept % SWEPT_PER_LOOK === 0 && performance.now() > nowMs + SWEEP_SLICE_MS) {
        setImmediate(() => this.#sweepOn())
        return
      }
    }
    this.#sweeping = undefined
  }

  #wake(): void {
    this.#busyAtMs = performance.now()
    this.#lookEvery(LATENESS_MS)
    clearInterval(this.#sweeper)
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs(this.#limits))
  }

  #lookEvery(ms: number): void {
    clearInterval(this.#lateness)
    this.#rests = ms === REST_MS
    this.#dueMs = performance.now() + ms
    this.#lateness = setInterval(() => (this.#rests ? this.#lookAtRest() : this.#look()), ms)
  }

  /** How late the loop is while nobody asks is nobody's loss. */
  #lookAtRest(): void {
    const nowMs = performance.now()
    this.#context.shedding.tick(0, nowMs)
    this.#options.meter?.look(false, nowMs, this.#connectionsOf)
    this.#sweep()
  }

  /** How late the event loop is, and whether upstreams are full, says whether there is time for all. */
  #look(): void {
    const nowMs = performance.now()
    const { overloaded, droppedConnections, requests } = this.#counters
    const isFull = overloaded !== this.#overloadedBefore
    this.#overloadedBefore = overloaded
    const dropped = droppedConnections - this.#droppedBefore
    this.#droppedBefore = droppedConnections
    const asked = requests - this.#requestsBefore
    this.#requestsBefore = requests
    // Requests refused because upstreams are full tell the same as lateness: somebody asks for more than there is.
    const { shedding } = this.#context
    shedding.tick(Math.max(isFull ? LATE_MS_MAX + 1 : 0, nowMs - this.#dueMs), nowMs, dropped > asked)
    this.#options.meter?.look(shedding.pressed, nowMs, this.#connectionsOf)
    this.#dueMs = nowMs + LATENESS_MS
    if (this.#connections.size > 0 || asked > 0 || dropped > 0 || shedding.bounds) this.#busyAtMs = nowMs
    else if (nowMs - this.#busyAtMs >= RESTS_AFTER_MS) this.#rest()
  }

  #rest(): void {
    clearInterval(this.#sweeper)
    this.#lookEvery(REST_MS)
  }

  #complainedAtMs = Number.NEGATIVE_INFINITY
  #complain(): void {
    const nowMs = performance.now()
    if (nowMs - this.#complainedAtMs < COMPLAIN_EVERY_MS) return
    this.#complainedAtMs = nowMs
    this.#context.log('warn', `${this.#limits.connectionsMax} connections are open: new ones are refused`)
  }

  /**
   * Closes the listening sockets, each after a turn in which nobody came by it: what the kernel has set up and nobody has accepted
   * is reset when its socket closes.
   */
  async #drain(servers: readonly Server[]): Promise<void> {
    let open = servers
    for (let turn = 0; open.length > 0; turn++) {
      this.#accepted.clear()
      // To the end of the next turn, when all sockets have been looked at.
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
      const busy = turn < DRAIN_TURNS_MAX ? open.filter((server) => this.#accepted.has(server)) : []
      for (const server of open) if (!busy.includes(server)) server.close()
      open = busy
    }
  }

  async #stop(graceMs: number): Promise<void> {
    const servers = this.#listeners.flatMap((listener) => listener.servers)
    for (const { certificates } of this.#listeners) certificates?.close()
    if (servers.length > 0) {
      await this.#drain(servers)
      this.#context.stopping = true
      for (const connection of this.#connections) connection.close()
      const cut = setTimeout(() => {
        for (const connection of this.#connections) connection.destroy()
      }, graceMs)
      // The server counts no connection whose handle was taken over.
      if (this.#connections.size > 0) {
        await new Promise<void>((resolve) => {
          this.#drained = resolve
        })
      }
      clearTimeout(cut)
    }
    clearInterval(this.#sweeper)
    clearInterval(this.#lateness)
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
