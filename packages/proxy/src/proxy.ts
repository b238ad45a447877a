/** The listener: opens, bounds and closes connections. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { isTrustedProxy, parseAddress, parsePrefix, prefixContains } from '@ringwall/ring'
import { ClientConnection } from './client-connection.ts'
import { type Context, type Counters, Sources } from './context.ts'
import { ListenFailed } from './errors.ts'
import { socketAddress } from './source-address.ts'
import {
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
const SWEEP_MS_MIN = 50
const SWEEP_MS_MAX = 1_000

export function createProxy(options: ProxyOptions): ProxyContract {
  return new HttpProxy(options)
}

class HttpProxy implements ProxyContract {
  readonly #options: ProxyOptions
  readonly #context: Context
  readonly #limits: ProxyLimits
  readonly #pools: UpstreamPools
  readonly #connections = new Set<ClientConnection>()
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
    activeRequests: 0,
    activeTunnels: 0,
  }
  #server: Server | undefined
  #sweeper: NodeJS.Timeout | undefined
  #stopping: Promise<void> | undefined
  #drained: (() => void) | undefined

  constructor(options: ProxyOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#options = options
    this.#limits = limits
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
      isTrustedProxy: options.isTrustedProxy ?? isTrustedProxy,
      log: options.log ?? (() => undefined),
    }
  }

  start(): Promise<{ readonly host: string; readonly port: number }> {
    // Half-open: a client that ends its half is told from one that broke off, and hears our answer out.
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => this.#connected(socket))
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        reject(new ListenFailed(host, port, LISTEN_PROBLEMS[error.code ?? ''] ?? error.message, { cause: error }))
      })
      server.listen({ host, port, backlog: 1_024 }, () => {
        this.#server = server
        server.removeAllListeners('error')
        server.on('error', (error) => this.#context.log('warn', `the listener failed: ${error.message}`))
        this.#pools.start()
        this.#sweeper = setInterval(() => this.#sweep(), sweepMs(this.#limits))
        this.#pools.follow(this.#options.environment().view.policy)
        const bound = server.address() as AddressInfo
        resolve({ host: bound.address, port: bound.port })
      })
    })
  }

  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs)
    return this.#stopping
  }

  stats(): ProxyStats {
    return { ...this.#counters, activeConnections: this.#connections.size }
  }

  upstreams(): readonly UpstreamStatus[] {
    return this.#pools.status()
  }

  services(): readonly ServiceStatus[] {
    return this.#pools.services()
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
      if (connection.wire.socket.destroyed || !matches(address) || this.#context.isTrustedProxy(policy, address)) continue
      connection.destroy()
      count++
    }
    return count
  }

  #connected(socket: Socket): void {
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
    const own = readingIntoShared(socket)
    this.#connections.add(new ClientConnection(this.#context, own ?? socket, address, own === undefined, this.#gone))
    if (own === undefined) socket.resume()
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

  readonly #gone = (connection: ClientConnection): void => {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#drained?.()
  }

  #sweep(): void {
    const nowMs = performance.now()
    for (const connection of this.#connections) connection.sweep(nowMs)
  }

  #complainedAtMs = Number.NEGATIVE_INFINITY
  #complain(): void {
    const nowMs = performance.now()
    if (nowMs - this.#complainedAtMs < COMPLAIN_EVERY_MS) return
    this.#complainedAtMs = nowMs
    this.#context.log('warn', `${this.#limits.connectionsMax} connections are open: new ones are refused`)
  }

  async #stop(graceMs: number): Promise<void> {
    const server = this.#server
    if (server !== undefined) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
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
  const { headersMsMax, requestMsMax, inspectedBodyMsMax, bodyStallMsMax, keepAliveMsMax, clientStallMsMax, tunnelIdleMsMax } =
    limits
  const shortest = Math.min(
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
