/**
 * One upstream of one service: its connections, those who wait for one, and whether it is fit to be asked.
 *
 * Out of use it is for three reasons, each with its own way back. Two failed connects in a row put it out for one second
 * and twice as long each time after, up to 30; then a bare TCP connect asks whether it is back. Where the policy has it
 * checked, checks put it out and bring it back. And the answers it gives may have it ejected for a time. Live traffic
 * asks it all the same when no other upstream is left.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { UpstreamFull, UpstreamUnreachable } from './errors.ts'
import type { ProxyLimits, UpstreamTls } from './types.ts'
import { type Candidate, PeakLatency } from './upstream-balance.ts'
import type { ConnectionOwner, UpstreamConnection } from './upstream-connection.ts'
import { Http1UpstreamConnection } from './upstream-http1.ts'
import { Http2UpstreamConnection } from './upstream-http2.ts'
import type { UpstreamTerms } from './upstream-terms.ts'
import { READ_INTO_SHARED } from './wire.ts'

const FAILURES_UNTIL_OUT = 2
const OUT_MS_MIN = 1_000
const OUT_MS_MAX = 30_000
/** How long a client may hold a connection without reading, while others wait for one. */
const HELD_MS_MAX = 1_000
/** How fast a slow answer is forgotten. */
const LATENCY_DECAY_MS = 10_000
/** The share that slow start begins with. */
const RAMP_MIN = 0.1

export type UpstreamState = 'up' | 'starting' | 'down' | 'ejected'

/** Whoever wants a connection. */
export interface ConnectionWaiter {
  /** On whose behalf; undefined: our own. */
  readonly source?: string
  readonly cancelled: boolean
  onConnection(connection: UpstreamConnection): void
  onUnreachable(error: UpstreamUnreachable | UpstreamFull): void
}

interface Waiting {
  readonly waiter: ConnectionWaiter
  readonly sinceMs: number
}

export class Upstream implements ConnectionOwner, Candidate {
  readonly url: string
  readonly #host: string
  readonly #port: number
  readonly #secure: boolean
  readonly #limits: ProxyLimits
  readonly #onChange: (upstream: Upstream) => void
  readonly #tls: UpstreamTls | undefined
  /** Of connections: by what identity of ours they were made. */
  readonly #generations = new WeakMap<UpstreamConnection, number>()
  #terms: UpstreamTerms
  readonly #idle: UpstreamConnection[] = []
  readonly #connections = new Set<UpstreamConnection>()
  readonly #connecting = new Set<Socket>()
  #waiting: Waiting[] = []
  /** Connections in use by source, as of a moment ago; kept only while requests wait for one. */
  #crowd: Map<string, number> | undefined
  #draining = false
  #failures = 0
  #outUntilMs = 0
  #outMs = OUT_MS_MIN
  #probing = false
  #connectsFail = false
  #checksFail = false
  #checksBegun = false
  /** Checks of one kind in a row. */
  #goodChecks = 0
  #badChecks = 0
  /** 0: not ejected. */
  #ejectedUntilMs = 0
  #ejectReason = ''
  #checkReason = ''
  #healthy = true
  /** Since when it has been fit, monotonic; slow start counts from here. */
  #upSinceMs: number
  #ramping = false
  #weight: number
  #reason = 'not tried yet'
  #latencyMs: number | undefined
  readonly #latency = new PeakLatency(LATENCY_DECAY_MS)
  credit = 0
  /** Requests sent to it, since the start. */
  requests = 0
  /** How its answers were: `Outliers` keeps it. */
  readonly tally = { good: 0, bad: 0, inRow: 0, failures: 0 }
  /** How often it was ejected, since the start. */
  ejections = 0
  /** The same, but for those that are long ago. */
  #recentEjections = 0

  /**
   * @param url `http://HOST:PORT` or `https://HOST:PORT`, as the policy's schema has checked.
   * @param ramps Whether it is new beside others, and starts slowly where the policy says so.
   * @param onChange Told when it has come into use or gone out of it.
   */
  constructor(
    url: string,
    terms: UpstreamTerms,
    limits: ProxyLimits,
    ramps = false,
    onChange: (upstream: Upstream) => void = () => undefined,
    tls?: UpstreamTls,
  ) {
    const parsed = new URL(url)
    this.url = url
    this.#secure = parsed.protocol === 'https:'
    this.#host = parsed.hostname.replace(/^\[|\]$/g, '')
    this.#port = parsed.port === '' ? (this.#secure ? 443 : 80) : Number(parsed.port)
    this.#terms = terms
    this.#limits = limits
    this.#onChange = onChange
    this.#tls = tls
    this.#weight = terms.weight
    this.#upSinceMs = ramps ? performance.now() : Number.NEGATIVE_INFINITY
    this.#ramp(performance.now())
  }

  get host(): string {
    return this.#host
  }

  get port(): number {
    return this.#port
  }

  get secure(): boolean {
    return this.#secure
  }

  get terms(): UpstreamTerms {
    return this.#terms
  }

  /** Another policy says other things of it. */
  configure(terms: UpstreamTerms): void {
    this.#terms = terms
    if (terms.health === undefined && this.#checksBegun) {
      this.#checksBegun = false
      this.#checksFail = false
      this.#settle()
    }
    this.#ramp(performance.now())
  }

  get healthy(): boolean {
    return this.#healthy
  }

  get state(): UpstreamState {
    if (this.#connectsFail || this.#checksFail) return 'down'
    if (this.#ejectedUntilMs !== 0) return 'ejected'
    return this.#ramping ? 'starting' : 'up'
  }

  get reason(): string {
    if (this.#checksFail) return this.#checkReason
    return this.#ejectedUntilMs === 0 || this.#connectsFail ? this.#reason : `ejected: ${this.#ejectReason}`
  }

  get latencyMs(): number | undefined {
    return this.#latencyMs
  }

  /** Requests that it carries or that wait for it. */
  get load(): number {
    return this.#connections.size - this.#idle.length + this.#waiting.length
  }

  /** Requests that wait for a connection to it. */
  get pending(): number {
    return this.#waiting.length
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Another request would have to wait for one of those under way. */
  get saturated(): boolean {
    return this.load >= this.#terms.connectionsMax
  }

  /** Another request may not even wait. */
  get full(): boolean {
    return this.load >= this.#terms.connectionsMax + this.#terms.pendingMax
  }

  /** As the policy says, or less while it starts slowly. */
  get weight(): number {
    return this.#weight
  }

  expectedLatencyMs(nowMs: number): number | undefined {
    return this.#latency.at(nowMs)
  }

  /** @param fresh Whether a kept connection will not do. */
  acquire(waiter: ConnectionWaiter, fresh = false): void {
    if (!fresh) {
      for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
        if (connection.usable && this.#isCurrent(connection)) {
          waiter.onConnection(connection)
          return
        }
        connection.destroy()
      }
    } else this.#dropIdle()
    if (this.full) {
      waiter.onUnreachable(new UpstreamFull(`it carries ${this.load} requests`))
      return
    }
    this.#waiting.push({ waiter, sinceMs: performance.now() })
    if (this.#connecting.size < this.#waiting.length) this.#connect()
  }

  /** Called every so often with monotonic time. */
  /** Until when it needs no `sweep` as long as nobody asks it anything; monotonic milliseconds, in the past: it needs them all the time. */
  get restsUntilMs(): number {
    if (this.load > 0 || this.#ramping || this.#draining) return Number.NEGATIVE_INFINITY
    const [oldest] = this.#idle
    return Math.min(
      this.#connectsFail ? this.#outUntilMs : Number.POSITIVE_INFINITY,
      this.#ejectedUntilMs === 0 ? Number.POSITIVE_INFINITY : this.#ejectedUntilMs,
      oldest === undefined ? Number.POSITIVE_INFINITY : oldest.activeAtMs + this.#keptMs(oldest),
    )
  }

  /** How long a connection is kept that nobody uses. */
  #keptMs({ idleMsMax }: UpstreamConnection): number {
    return Math.min(this.#limits.upstreamIdleMsMax, idleMsMax)
  }

  sweep(nowMs: number): void {
    for (const connection of this.#connections) connection.sweep(nowMs)
    while (this.#idle.length > 0) {
      const oldest = this.#idle[0]!
      const idleMs = nowMs - oldest.activeAtMs
      if (oldest.usable && this.#isCurrent(oldest) && idleMs < this.#keptMs(oldest)) break
      this.#idle.shift()
      oldest.destroy()
    }
    while (this.#waiting.length > 0 && nowMs - this.#waiting[0]!.sinceMs > this.#limits.upstreamConnectMsMax) {
      const late = this.#waiting.shift()!
      if (!late.waiter.cancelled) late.waiter.onUnreachable(new UpstreamFull('no connection became free in time'))
    }
    this.#crowd = undefined
    if (this.#waiting.length > 0 && this.#connections.size >= this.#terms.connectionsMax) {
      this.#reclaim(nowMs)
      this.#crowd = this.#usersOf()
    }
    if (this.#connectsFail && nowMs >= this.#outUntilMs) this.probe()
    if (this.#ejectedUntilMs !== 0 && nowMs >= this.#ejectedUntilMs) {
      this.#ejectedUntilMs = 0
      this.#settle()
    }
    if (this.#ramping) this.#ramp(nowMs)
  }

  /** What slow readers hold must not keep others out. */
  #reclaim(nowMs: number): void {
    let wanted = this.#waiting.length
    for (const connection of [...this.#connections]) {
      if (wanted === 0) return
      if (connection.reclaim(nowMs, HELD_MS_MAX)) wanted--
    }
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
      this.#succeeded(startMs)
      socket.destroy()
    })
    socket.on('error', (error) => this.#failed(error))
    socket.on('close', () => {
      this.#probing = false
    })
  }

  /** Time to a response's head. */
  answered(ms: number, nowMs: number): void {
    this.#latencyMs = ms
    this.#latency.observe(ms, nowMs)
    this.#reason = 'answers'
  }

  /** It has not answered for so long, and is not waited for. */
  late(ms: number, nowMs: number): void {
    this.#latency.observe(ms, nowMs)
  }

  /** It has answered a check, or failed to. The first decides at once. */
  checked(good: boolean, reason: string): void {
    const { health } = this.#terms
    if (health === undefined) return
    this.#goodChecks = good ? this.#goodChecks + 1 : 0
    this.#badChecks = good ? 0 : this.#badChecks + 1
    this.#checkReason = reason
    if (good) {
      if (!this.#checksBegun || this.#goodChecks >= health.healthyAfter) {
        this.#checksFail = false
        this.#connected()
      }
    } else if (!this.#checksBegun || this.#badChecks >= health.unhealthyAfter) this.#checksFail = true
    this.#checksBegun = true
    this.#settle()
  }

  /** Leaves it out for a time that grows with each time that it happens before long. */
  eject(forMs: number, forMsMax: number, reason: string): void {
    const nowMs = performance.now()
    const quietMs = nowMs - this.#upSinceMs
    this.#recentEjections = Math.max(0, this.#recentEjections - Math.floor(quietMs / forMs)) + 1
    this.ejections++
    this.tally.inRow = 0
    this.#ejectedUntilMs = nowMs + Math.min(forMsMax, forMs * this.#recentEjections)
    this.#ejectReason = reason
    this.#settle()
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
    if (!this.#isCurrent(connection)) {
      connection.destroy()
      return
    }
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
    if (this.#connections.size + this.#connecting.size >= this.#terms.connectionsMax) return
    const startMs = performance.now()
    const { http2 } = this.#terms
    const address = { host: this.#host, port: this.#port }
    const place = http2 ? address : { ...address, onread: READ_INTO_SHARED }
    const secure = {
      ...place,
      ALPNProtocols: [http2 ? 'h2' : 'http/1.1'],
      ...(isIP(this.#host) === 0 ? { servername: this.#host } : {}),
    }
    const generation = this.#tls?.generation() ?? 0
    const socket = this.#secure ? connectTls({ ...secure, ...this.#tls?.options(this.url) }) : connect(place)
    this.#connecting.add(socket)
    const failed = (error: Error): void => {
      if (!this.#connecting.delete(socket)) return
      socket.destroy()
      this.#failed(error)
      const waiter = this.#nextWaiter()
      waiter?.onUnreachable(new UpstreamUnreachable(this.#reason))
      if (this.#connecting.size < this.#waiting.length) this.#connect()
    }
    const timer = setTimeout(() => failed(new Error('timed out')), this.#limits.upstreamConnectMsMax)
    socket.on('error', failed)
    socket.on('close', () => {
      clearTimeout(timer)
      failed(new Error('closed while connecting'))
    })
    socket.once(this.#secure ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      if (http2 && this.#secure && (socket as TLSSocket).alpnProtocol !== 'h2') {
        failed(new Error('it does not speak HTTP/2'))
        return
      }
      if (!this.#connecting.delete(socket)) return
      this.#succeeded(startMs)
      const { upstreamHeaderBytesMax } = this.#limits
      const connection = http2
        ? new Http2UpstreamConnection(socket, this.#secure, upstreamHeaderBytesMax, this)
        : new Http1UpstreamConnection(socket, upstreamHeaderBytesMax, this)
      this.#connections.add(connection)
      this.#generations.set(connection, generation)
      this.onFree(connection)
    })
  }

  #isCurrent(connection: UpstreamConnection): boolean {
    return this.#tls === undefined || this.#generations.get(connection) === this.#tls.generation()
  }

  /** The one that has waited longest, of the source that has the fewest connections already where there is a crowd. */
  #nextWaiter(): ConnectionWaiter | undefined {
    const crowd = this.#crowd
    if (crowd !== undefined && this.#waiting.length > 1) {
      this.#waiting = this.#waiting.filter(({ waiter }) => !waiter.cancelled)
      let [best, fewest] = [0, Number.POSITIVE_INFINITY]
      for (const [at, { waiter }] of this.#waiting.entries()) {
        const held = crowd.get(waiter.source ?? '') ?? 0
        if (held < fewest) [best, fewest] = [at, held]
      }
      const [chosen] = this.#waiting.splice(best, 1)
      const source = chosen?.waiter.source ?? ''
      crowd.set(source, (crowd.get(source) ?? 0) + 1)
      return chosen?.waiter
    }
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (!next.waiter.cancelled) return next.waiter
    }
    return undefined
  }

  #usersOf(): Map<string, number> {
    const users = new Map<string, number>()
    for (const { source } of this.#connections) if (source !== undefined) users.set(source, (users.get(source) ?? 0) + 1)
    return users
  }

  #dropIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy()
  }

  #succeeded(startMs: number): void {
    this.#latencyMs = performance.now() - startMs
    if (this.#connectsFail || this.#reason !== 'answers') this.#reason = 'connected'
    this.#connected()
    this.#settle()
  }

  #connected(): void {
    this.#failures = 0
    this.#outMs = OUT_MS_MIN
    this.#connectsFail = false
  }

  #failed(error: Error): void {
    this.#failures++
    this.#reason = `cannot connect: ${(error as { code?: string }).code ?? error.message}`
    if (this.#failures < FAILURES_UNTIL_OUT) return
    this.#connectsFail = true
    this.#outUntilMs = performance.now() + this.#outMs
    this.#outMs = Math.min(this.#outMs * 2, OUT_MS_MAX)
    if (this.#terms.health !== undefined) {
      // That somebody listens again is not enough where checks can say more.
      this.#checksFail = true
      this.#goodChecks = 0
      this.#checkReason = this.#reason
    }
    this.#settle()
  }

  /** Draws the sum of what speaks for it and against it. */
  #settle(): void {
    const healthy = !this.#connectsFail && !this.#checksFail && this.#ejectedUntilMs === 0
    if (healthy === this.#healthy) return
    this.#healthy = healthy
    if (healthy) {
      const nowMs = performance.now()
      this.#upSinceMs = nowMs
      // What it took before it failed says nothing of what it takes now.
      this.#latency.forget()
      this.#ramp(nowMs)
    }
    this.#onChange(this)
  }

  #ramp(nowMs: number): void {
    const { slowStartMs, weight } = this.#terms
    const share = slowStartMs === 0 ? 1 : (nowMs - this.#upSinceMs) / slowStartMs
    this.#ramping = share < 1
    this.#weight = this.#ramping ? weight * Math.max(RAMP_MIN, share) : weight
  }
}
