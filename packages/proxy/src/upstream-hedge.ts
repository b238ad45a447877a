/**
 * A second upstream asked when the first takes longer than most requests do (Dean and Barroso, "The Tail at Scale", CACM
 * 56(2), 2013). Whichever begins its response first answers; the other is let go.
 */
import type { ServicePolicy } from '@ringwall/ring'
import { type AnyProxyError, RequestFault } from './errors.ts'
import type { ResponseHead } from './response-parser.ts'
import type { ConnectionWaiter, Upstream } from './upstream.ts'
import type { ResponseListener, Sending, UpstreamConnection } from './upstream-connection.ts'
import type { Wire } from './wire.ts'

/** Safe methods only: two that change something, at once, may not do the same as one. */
export const HEDGED: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Fewer answers than this say nothing of what is slow. */
const ANSWERS_MIN = 50
const WINDOW_MS = 10_000
const BUCKETS = 160
const BUCKET_MS_MIN = 0.1
const BUCKET_GROWTH = Math.log(1.1)

/** When to ask again, from how long answers took in the last 10 to 20 s, within a tenth. */
export class HedgeDelay {
  readonly #percentile: number
  readonly #minMs: number
  #recent = new Float64Array(BUCKETS)
  #before = new Float64Array(BUCKETS)
  #windowEndsMs = 0
  #delayMs: number | undefined
  #answers = 0

  constructor({ percentile, delayMin }: NonNullable<ServicePolicy['hedge']>) {
    this.#percentile = percentile
    this.#minMs = delayMin
  }

  /** @param ms To the response's head; of one that was let go, as long as it was waited for. */
  observe(ms: number, nowMs: number): void {
    if (nowMs >= this.#windowEndsMs) {
      const old = this.#before
      this.#before = this.#recent
      this.#recent = old.fill(0)
      this.#windowEndsMs = nowMs + WINDOW_MS
    }
    const bucket = Math.ceil(Math.log(Math.max(ms, BUCKET_MS_MIN) / BUCKET_MS_MIN) / BUCKET_GROWTH)
    this.#recent[Math.min(bucket, BUCKETS - 1)]!++
    // Often enough: the figure moves slowly.
    if (++this.#answers % ANSWERS_MIN === 0) this.#delayMs = this.#quantile()
  }

  /** Undefined while too little is known. */
  get ms(): number | undefined {
    return this.#delayMs === undefined ? undefined : Math.max(this.#minMs, this.#delayMs)
  }

  #quantile(): number {
    let total = 0
    for (let at = 0; at < BUCKETS; at++) total += this.#recent[at]! + this.#before[at]!
    let left = (total * this.#percentile) / 100
    for (let at = 0; at < BUCKETS; at++) {
      left -= this.#recent[at]! + this.#before[at]!
      if (left <= 0) return BUCKET_MS_MIN * Math.exp(at * BUCKET_GROWTH)
    }
    return Number.POSITIVE_INFINITY
  }
}

/** Who has asked. */
export interface HedgeOwner {
  /** It has begun to answer. Returns whether the owner takes it, by `handTo`. */
  onHedgeHead(hedge: Hedge, head: ResponseHead): boolean
  onHedgeFailed(hedge: Hedge, why: string | undefined): void
}

/** One request to a second upstream, until its response begins. */
export class Hedge implements ConnectionWaiter, ResponseListener {
  readonly upstream: Upstream
  readonly #owner: HedgeOwner
  readonly #head: string
  readonly #body: Buffer | undefined
  readonly #sending: Sending
  #over = false
  connection: UpstreamConnection | undefined
  /** Monotonic milliseconds: since when it is under way. */
  sentAtMs = 0

  constructor(owner: HedgeOwner, upstream: Upstream, head: string, body: Buffer | undefined, sending: Sending) {
    this.#owner = owner
    this.upstream = upstream
    this.#head = head
    this.#body = body
    this.#sending = sending
  }

  get cancelled(): boolean {
    return this.#over
  }

  start(): void {
    this.upstream.acquire(this)
  }

  end(): void {
    if (this.#over) return
    this.#over = true
    this.connection?.abandon()
    this.connection = undefined
  }

  /** Gives its connection to somebody who listens from here on. */
  handTo(listener: ResponseListener): UpstreamConnection | undefined {
    const { connection } = this
    this.#over = true
    this.connection = undefined
    connection?.handTo(listener)
    return connection
  }

  onConnection(connection: UpstreamConnection): void {
    this.connection = connection
    this.sentAtMs = performance.now()
    this.upstream.requests++
    connection.send(this, this.#head, this.#body, this.#sending, this.sentAtMs)
  }

  onUnreachable(): void {
    this.#failed(undefined)
  }

  onHead(head: ResponseHead): void {
    if (this.#owner.onHedgeHead(this, head)) return
    this.#over = true
    this.connection?.discard(head)
    this.connection = undefined
  }

  onUpgrade(_head: ResponseHead, wire: Wire): void {
    wire.destroy()
    this.#failed('switched protocols unasked')
  }

  onFailure(error: AnyProxyError): void {
    this.#failed(error instanceof RequestFault ? undefined : error.message)
  }

  /** Interim responses are the first upstream's to give. */
  onInterim(): void {}
  onBody(): void {}
  onEnd(): void {}
  onQuiet(): void {}
  onDrain(): void {}

  #failed(why: string | undefined): void {
    if (this.#over) return
    this.#over = true
    this.connection = undefined
    this.#owner.onHedgeFailed(this, why)
  }
}
