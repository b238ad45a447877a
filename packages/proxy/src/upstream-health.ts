/**
 * Asks upstreams how they are: one GET each, over a connection of its own, at the interval that the policy says give or take
 * a tenth, so that the nodes of a ring do not ask in step. What they answer, the upstream itself weighs.
 */
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { nodeHttp } from './node-http.ts'
import type { Upstream } from './upstream.ts'

/** Checks under way at a time, over all upstreams; others wait their turn. */
const CONCURRENT_MAX = 32
const HEADER_BYTES_MAX = 16_384
const JITTER = 0.1

interface Due {
  /** Monotonic milliseconds. */
  nextMs: number
  abort: (() => void) | undefined
}

export class HealthChecks {
  readonly #due = new Map<Upstream, Due>()
  readonly #random: () => number
  #running = 0

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** When the next is due, monotonic milliseconds; Infinity: none is. */
  get nextMs(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { nextMs, abort } of this.#due.values()) if (abort === undefined && nextMs < next) next = nextMs
    return next
  }

  /** Called every so often with monotonic time and all upstreams that are in use. */
  sweep(upstreams: Iterable<Upstream>, nowMs: number): void {
    for (const upstream of upstreams) {
      const { health } = upstream.terms
      if (health === undefined) continue
      let due = this.#due.get(upstream)
      if (due === undefined) {
        // The first at once: an upstream that is new is better known before it is used.
        due = { nextMs: nowMs, abort: undefined }
        this.#due.set(upstream, due)
      }
      if (nowMs < due.nextMs || due.abort !== undefined || this.#running >= CONCURRENT_MAX) continue
      due.nextMs = nowMs + health.interval * (1 - JITTER + 2 * JITTER * this.#random())
      this.#check(upstream, health, due)
    }
  }

  /** Out of the policy, or no longer to be checked. */
  forget(upstream: Upstream): void {
    const due = this.#due.get(upstream)
    this.#due.delete(upstream)
    due?.abort?.()
  }

  stop(): void {
    for (const upstream of [...this.#due.keys()]) this.forget(upstream)
  }

  #check(upstream: Upstream, health: NonNullable<Upstream['terms']['health']>, due: Due): void {
    const { host, port, secure } = upstream
    this.#running++
    const own = `${host.includes(':') ? `[${host}]` : host}:${port}`
    const options = {
      host,
      port,
      path: health.path,
      agent: false,
      maxHeaderSize: HEADER_BYTES_MAX,
      headers: { host: health.host ?? own, 'user-agent': 'ringwall-health', accept: '*/*' },
      // Not by the Host header: the certificate is the upstream's own.
      ...(secure && isIP(host) === 0 ? { servername: host } : {}),
    }
    const request = (secure ? httpsRequest : nodeHttp.request)(options)
    let over = false
    const end = (): boolean => {
      if (over) return false
      over = true
      clearTimeout(timer)
      this.#running--
      due.abort = undefined
      request.destroy()
      return true
    }
    const say = (good: boolean, reason: string): void => {
      if (end() && this.#due.get(upstream) === due) upstream.checked(good, reason)
    }
    const timer = setTimeout(() => say(false, `did not answer ${health.path} within ${health.timeout} ms`), health.timeout)
    timer.unref()
    due.abort = end
    request.on('response', ({ statusCode }: IncomingMessage) => {
      say(health.status.includes(statusCode ?? 0), `answers ${statusCode} at ${health.path}`)
    })
    request.on('error', (error: NodeJS.ErrnoException) => say(false, `cannot be checked: ${error.code ?? error.message}`))
    request.end()
  }
}
