/** The listener: opens, bounds and closes connections, and gives each request to an exchange. */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isTrustedProxy, parseAddress, parsePrefix, prefixContains } from '@ringwall/ring'
import { type Context, type Counters, Sources } from './context.ts'
import { ListenFailed } from './errors.ts'
import { type Arrival, Exchange } from './exchange.ts'
import { refusalText } from './refusal.ts'
import { socketAddress } from './source-address.ts'
import {
  DEFAULT_LIMITS,
  type Proxy as ProxyContract,
  type ProxyLimits,
  type ProxyOptions,
  type ProxyStats,
  type UpstreamStatus,
} from './types.ts'
import { UpstreamPools } from './upstream-pools.ts'

const PLAIN: Arrival = { continueWanted: false, upgradeHead: undefined }
const CONTINUE: Arrival = { continueWanted: true, upgradeHead: undefined }
/** At most one line about connections refused in this time. */
const COMPLAIN_EVERY_MS = 10_000
/** Requests that may wait on one connection behind the one that is answered. No client of today pipelines at all. */
const PIPELINED_MAX = 32

export function createProxy(options: ProxyOptions): ProxyContract {
  return new HttpProxy(options)
}

class HttpProxy implements ProxyContract {
  readonly #options: ProxyOptions
  readonly #context: Context
  readonly #limits: ProxyLimits
  readonly #pools: UpstreamPools
  readonly #sockets = new Set<Socket>()
  readonly #counters: Counters = {
    requests: 0,
    allowed: 0,
    denied: 0,
    challenged: 0,
    throttled: 0,
    malformed: 0,
    upstreamErrors: 0,
    clientAborts: 0,
    activeRequests: 0,
    activeTunnels: 0,
  }
  #server: Server | undefined
  #stopping: Promise<void> | undefined

  constructor(options: ProxyOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#options = options
    this.#limits = limits
    this.#pools = new UpstreamPools(limits, options.region)
    this.#context = {
      options,
      limits,
      pools: this.#pools,
      counters: this.#counters,
      sources: new Sources(),
      isTrustedProxy: options.isTrustedProxy ?? isTrustedProxy,
      log: options.log ?? (() => undefined),
    }
  }

  start(): Promise<{ readonly host: string; readonly port: number }> {
    const server = this.#createServer()
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
    return { ...this.#counters, activeConnections: this.#sockets.size }
  }

  upstreams(): readonly UpstreamStatus[] {
    return this.#pools.status()
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
    for (const socket of this.#sockets) {
      const address = socketAddress(socket.remoteAddress)
      if (socket.destroyed || !matches(address) || this.#context.isTrustedProxy(policy, address)) continue
      socket.destroy()
      count++
    }
    return count
  }

  #createServer(): Server {
    const limits = this.#limits
    const server = createServer({
      insecureHTTPParser: false,
      requireHostHeader: false,
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersMsMax,
      requestTimeout: limits.requestMsMax,
      keepAliveTimeout: limits.keepAliveMsMax,
      connectionsCheckingInterval: Math.max(50, Math.min(1_000, Math.floor(limits.headersMsMax / 4))),
      noDelay: true,
    })
    server.maxHeadersCount = 0
    server.maxRequestsPerSocket = limits.requestsPerConnectionMax
    server.on('connection', (socket) => this.#connected(socket))
    server.on('request', (request, response) => this.#begin(request, response, PLAIN))
    server.on('checkContinue', (request, response) => this.#begin(request, response, CONTINUE))
    server.on('checkExpectation', (request, response) => this.#begin(request, response, PLAIN))
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as Socket, head))
    server.on('connect', (request, socket) => this.#connectMethod(request, socket))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#clientError(error, socket))
    return server
  }

  #connected(socket: Socket): void {
    if (this.#sockets.size >= this.#limits.connectionsMax) {
      socket.destroy()
      this.#complain()
      return
    }
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
  }

  #complainedAtMs = Number.NEGATIVE_INFINITY
  #complain(): void {
    const nowMs = performance.now()
    if (nowMs - this.#complainedAtMs < COMPLAIN_EVERY_MS) return
    this.#complainedAtMs = nowMs
    this.#context.log('warn', `${this.#limits.connectionsMax} connections are open: new ones are refused`)
  }

  readonly #pipelined = new WeakMap<Socket, number>()

  /**
   * One request of a connection at a time: a response that is not in line yet has no socket, and a pipeline would take
   * upstream connections from everybody else.
   */
  #begin(request: IncomingMessage, response: ServerResponse, arrival: Arrival): void {
    if (response.socket !== null) {
      this.#beginNow(request, response, arrival)
      return
    }
    const { socket } = request
    const waiting = this.#pipelined.get(socket) ?? 0
    if (waiting >= PIPELINED_MAX) {
      socket.destroy()
      return
    }
    this.#pipelined.set(socket, waiting + 1)
    response.once('socket', () => {
      this.#pipelined.set(socket, (this.#pipelined.get(socket) ?? 1) - 1)
      this.#beginNow(request, response, arrival)
    })
  }

  #beginNow(request: IncomingMessage, response: ServerResponse, arrival: Arrival): void {
    if (this.#stopping !== undefined) response.shouldKeepAlive = false
    // More headers than we look at could hide one from the guard: refused, where Node would leave out the rest.
    if (request.rawHeaders.length > this.#limits.headersMax * 2) {
      this.#tooManyHeaders(request, response)
      return
    }
    try {
      new Exchange(this.#context, request, response, arrival).start()
    } catch (error) {
      // A defect of ours met by one request is not everybody's end.
      this.#context.log('warn', `a request failed: ${(error as Error).message}`)
      request.socket.destroy()
    }
  }

  #tooManyHeaders(request: IncomingMessage, response: ServerResponse): void {
    this.#counters.requests++
    this.#counters.malformed++
    this.#counters.denied++
    response.shouldKeepAlive = false
    response.detachSocket(request.socket)
    request.socket.end(refusalText(431, this.#options.recorder.requestId(this.#options.node)))
  }

  /** Node has let go of the socket: a response of our own writes on it, for refusals and answers other than 101. */
  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    // Pipelined behind a request that is not answered yet: its response has the socket.
    if ((socket as Socket & { _httpMessage?: object | null })._httpMessage) {
      socket.destroy()
      return
    }
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.on('finish', () => {
      response.detachSocket(socket)
      socket.end()
    })
    if (this.#counters.activeTunnels >= this.#limits.tunnelsMax) {
      socket.end(refusalText(503, this.#options.recorder.requestId(this.#options.node)))
      return
    }
    this.#begin(request, response, { continueWanted: false, upgradeHead: head })
  }

  #connectMethod(_request: IncomingMessage, socket: Duplex): void {
    this.#refuseOnSocket(socket, 405)
  }

  /** What Node's parser refuses, and its timeouts. The socket has no response to write on. */
  #clientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    // A response under way would be cut in the middle by another head.
    if ((socket as Socket & { _httpMessage?: { headersSent: boolean } })._httpMessage?.headersSent) {
      socket.destroy()
      return
    }
    this.#refuseOnSocket(socket, CLIENT_ERRORS[error.code ?? ''] ?? 400)
  }

  #refuseOnSocket(socket: Duplex, status: number): void {
    this.#counters.requests++
    this.#counters.malformed++
    this.#counters.denied++
    socket.on('error', () => socket.destroy())
    socket.end(refusalText(status, this.#options.recorder.requestId(this.#options.node)), () => socket.destroy())
  }

  async #stop(graceMs: number): Promise<void> {
    const server = this.#server
    if (server !== undefined) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const cut = setTimeout(() => {
        for (const socket of this.#sockets) socket.destroy()
      }, graceMs)
      // Connections that become idle during the grace are closed too.
      const idle = setInterval(() => server.closeIdleConnections(), 50)
      await closed
      clearTimeout(cut)
      clearInterval(idle)
      // Upgraded sockets are no longer the server's.
      for (const socket of this.#sockets) socket.destroy()
    }
    this.#pools.stop()
  }
}

const CLIENT_ERRORS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; stop it or choose another port',
  EACCES: 'no permission; choose a port above 1023 or grant the capability',
  EADDRNOTAVAIL: 'this machine does not have that address',
}
