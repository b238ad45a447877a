/**
 * One upstream: its connections, those who wait for one, and its health.
 *
 * Health is passive: two failed connects in a row put it out, for one second and twice as long each time after, up to 30.
 * Then a bare TCP connect asks whether it is back; live traffic asks too, when no other upstream is left.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { UpstreamUnreachable } from './errors.ts'
import type { ProxyLimits } from './types.ts'
import { type ConnectionOwner, UpstreamConnection } from './upstream-connection.ts'
import { READ_INTO_SHARED } from './wire.ts'

const FAILURES_UNTIL_OUT = 2
const OUT_MS_MIN = 1_000
const OUT_MS_MAX = 30_000

/** Whoever wants a connection. */
export interface ConnectionWaiter {
  readonly cancelled: boolean
  onConnection(connection: UpstreamConnection): void
  onUnreachable(error: UpstreamUnreachable): void
}

interface Waiting {
  readonly waiter: ConnectionWaiter
  readonly sinceMs: number
}

export class Upstream implements ConnectionOwner {
  readonly url: string
  readonly #host: string
  readonly #port: number
  readonly #secure: boolean
  readonly #limits: ProxyLimits
  readonly #idle: UpstreamConnection[] = []
  readonly #connections = new Set<UpstreamConnection>()
  readonly #connecting = new Set<Socket>()
  #waiting: Waiting[] = []
  #draining = false
  #failures = 0
  #outUntilMs = 0
  #outMs = OUT_MS_MIN
  #probing = false
  #reason = 'not tried yet'
  #latencyMs: number | undefined

  /** @param url `http://HOST:PORT` or `https://HOST:PORT`, as the policy's schema has checked. */
  constructor(url: string, limits: ProxyLimits) {
    const parsed = new URL(url)
    this.url = url
    this.#secure = parsed.protocol === 'https:'
    this.#host = parsed.hostname.replace(/^\[|\]$/g, '')
    this.#port = parsed.port === '' ? (this.#secure ? 443 : 80) : Number(parsed.port)
    this.#limits = limits
  }

  get host(): string {
    return this.#host
  }

  get port(): number {
    return this.#port
  }

  get healthy(): boolean {
    return this.#failures < FAILURES_UNTIL_OUT
  }

  get reason(): string {
    return this.#reason
  }

  get latencyMs(): number | undefined {
    return this.#latencyMs
  }

  /** Requests that it carries or that wait for it. */
  get load(): number {
    return this.#connections.size - this.#idle.length + this.#waiting.length
  }

  /** @param fresh Whether a kept connection will not do. */
  acquire(waiter: ConnectionWaiter, fresh = false): void {
    if (!fresh) {
      for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
        if (connection.usable) {
          waiter.onConnection(connection)
          return
        }
      }
    } else this.#dropIdle()
    if (this.#waiting.length >= this.#limits.upstreamWaitingMax) {
      waiter.onUnreachable(new UpstreamUnreachable(`${this.#waiting.length} requests wait for a connection to it`))
      return
    }
    this.#waiting.push({ waiter, sinceMs: performance.now() })
    if (this.#connecting.size < this.#waiting.length) this.#connect()
  }

  /** Called every so often with monotonic time. */
  sweep(nowMs: number): void {
    for (const connection of this.#connections) connection.sweep(nowMs)
    while (this.#idle.length > 0) {
      const oldest = this.#idle[0]!
      const idleMs = nowMs - oldest.activeAtMs
      if (oldest.usable && idleMs < Math.min(this.#limits.upstreamIdleMsMax, oldest.idleMsMax)) break
      this.#idle.shift()
      oldest.destroy()
    }
    while (this.#waiting.length > 0 && nowMs - this.#waiting[0]!.sinceMs > this.#limits.upstreamConnectMsMax) {
      const late = this.#waiting.shift()!
      if (!late.waiter.cancelled) late.waiter.onUnreachable(new UpstreamUnreachable('no connection became free in time'))
    }
    if (!this.healthy && nowMs >= this.#outUntilMs) this.probe()
  }

  /** A TCP connect and nothing more: tells whether somebody listens. */
  probe(): void {
    if (this.#probing || this.#draining) return
    this.#probing = true
    const startMs = performance.now()
    const socket = connect({ host: this.#host, port: this.#port })
    socket.unref()
    socket.setTimeout(this.#limits.upstreamConnectMsMax, () => socket.destroy(new Error('timed out')))
    socket.on('connect', () => {
      this.#succeeded(startMs, 'connected')
      socket.destroy()
    })
    socket.on('error', (error) => this.#failed(error))
    socket.on('close', () => {
      this.#probing = false
    })
  }

  /** Time to a response's head, for the status. */
  answered(ms: number): void {
    this.#latencyMs = ms
    this.#reason = 'answers'
  }

  /** Out of the policy: what is under way ends, nothing is kept. */
  drain(): void {
    this.#draining = true
    this.#dropIdle()
  }

  /** Back in the policy. */
  undrain(): void {
    this.#draining = false
  }

  get drained(): boolean {
    return this.#draining && this.#connections.size === 0 && this.#waiting.length === 0
  }

  destroy(): void {
    this.drain()
    for (const { waiter } of this.#waiting.splice(0)) waiter.onUnreachable(new UpstreamUnreachable('the proxy is stopping'))
    for (const socket of this.#connecting) socket.destroy()
    for (const connection of this.#connections) connection.destroy()
  }

  onFree(connection: UpstreamConnection): void {
    const waiter = this.#nextWaiter()
    if (waiter !== undefined) waiter.onConnection(connection)
    else if (this.#draining) connection.destroy()
    else this.#idle.push(connection)
  }

  onGone(connection: UpstreamConnection): void {
    this.#connections.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
    if (this.#connecting.size < this.#waiting.length) this.#connect()
  }

  #connect(): void {
    if (this.#connections.size + this.#connecting.size >= this.#limits.upstreamConnectionsMax) return
    const startMs = performance.now()
    const place = { host: this.#host, port: this.#port, onread: READ_INTO_SHARED }
    const secure = { ...place, ALPNProtocols: ['http/1.1'], ...(isIP(this.#host) === 0 ? { servername: this.#host } : {}) }
    const socket = this.#secure ? connectTls(secure) : connect(place)
    this.#connecting.add(socket)
    const failed = (error: Error): void => {
      if (!this.#connecting.delete(socket)) return
      socket.destroy()
      this.#failed(error)
      const waiter = this.#nextWaiter()
      waiter?.onUnreachable(new UpstreamUnreachable(this.#reason))
    }
    const timer = setTimeout(() => failed(new Error('timed out')), this.#limits.upstreamConnectMsMax)
    socket.on('error', failed)
    socket.on('close', () => {
      clearTimeout(timer)
      failed(new Error('closed while connecting'))
    })
    socket.once(this.#secure ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      if (!this.#connecting.delete(socket)) return
      this.#succeeded(startMs, 'connected')
      const connection = new UpstreamConnection(socket, this.#limits.upstreamHeaderBytesMax, this)
      this.#connections.add(connection)
      this.onFree(connection)
    })
  }

  #nextWaiter(): ConnectionWaiter | undefined {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (!next.waiter.cancelled) return next.waiter
    }
    return undefined
  }

  #dropIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy()
  }

  #succeeded(startMs: number, reason: string): void {
    this.#failures = 0
    this.#outMs = OUT_MS_MIN
    this.#latencyMs = performance.now() - startMs
    this.#reason = reason
  }

  #failed(error: Error): void {
    this.#failures++
    this.#reason = `cannot connect: ${(error as { code?: string }).code ?? error.message}`
    if (this.#failures < FAILURES_UNTIL_OUT) return
    this.#outUntilMs = performance.now() + this.#outMs
    this.#outMs = Math.min(this.#outMs * 2, OUT_MS_MAX)
  }
}
