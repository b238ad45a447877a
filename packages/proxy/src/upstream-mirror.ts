/**
 * Copies of requests for one more upstream, whose answers are thrown away. A copy is sent after its original, waits for
 * nothing, and nothing waits for it; what is more than may be under way is not copied.
 */
import type { ServicePolicy } from '@ringwall/ring'
import type { ConnectionWaiter, Upstream } from './upstream.ts'
import { IndifferentListener, type UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamTerms } from './upstream-terms.ts'

/** Marks a copy, for the upstream to know; a client's own field of this name never passes. */
export const MIRROR_FIELD = 'x-ringwall-mirror: 1\r\n'
const RESPONSE_BYTES_MAX = 1_048_576

type MirrorPolicy = NonNullable<ServicePolicy['mirror']>

export function mirrorTerms({ concurrency }: MirrorPolicy): UpstreamTerms {
  return {
    weight: 1,
    http2: false,
    region: undefined,
    subset: undefined,
    connectionsMax: concurrency,
    pendingMax: 0,
    slowStartMs: 0,
    health: undefined,
  }
}

export interface MirrorCounts {
  mirrored: number
  /** Not copied, because too many copies were under way or the mirror was out. */
  mirrorsDropped: number
}

export class Mirror {
  readonly #upstream: Upstream
  readonly #share: number
  readonly #timeoutMs: number
  readonly #counts: MirrorCounts
  readonly #random: () => number

  constructor(
    upstream: Upstream,
    { share }: MirrorPolicy,
    timeoutMs: number,
    counts: MirrorCounts,
    random: () => number = Math.random,
  ) {
    this.#upstream = upstream
    this.#share = share
    this.#timeoutMs = timeoutMs
    this.#counts = counts
    this.#random = random
  }

  /** Draws whether this request is to be copied, and whether there is room for it. */
  wants(): boolean {
    if (this.#share < 1 && this.#random() >= this.#share) return false
    if (this.#upstream.healthy && !this.#upstream.full) return true
    this.#counts.mirrorsDropped++
    return false
  }

  /** @param head The whole header section, marked by `MIRROR_FIELD`. */
  copy(method: string, head: string, body: Buffer | undefined): void {
    this.#upstream.acquire(new Copy(method, head, body, this.#timeoutMs, this.#counts))
  }
}

class Copy extends IndifferentListener implements ConnectionWaiter {
  readonly #method: string
  readonly #head: string
  readonly #body: Buffer | undefined
  readonly #timeoutMs: number
  readonly #counts: MirrorCounts
  readonly cancelled = false
  #connection: UpstreamConnection | undefined
  #bytes = 0
  #sentAtMs = 0

  constructor(method: string, head: string, body: Buffer | undefined, timeoutMs: number, counts: MirrorCounts) {
    super()
    this.#method = method
    this.#head = head
    this.#body = body
    this.#timeoutMs = timeoutMs
    this.#counts = counts
  }

  onConnection(connection: UpstreamConnection): void {
    this.#connection = connection
    this.#counts.mirrored++
    this.#sentAtMs = performance.now()
    const sending = { method: this.#method, complete: true, upgrade: false, chunked: false, timeoutMs: this.#timeoutMs }
    connection.send(this, this.#head, this.#body, sending, this.#sentAtMs)
  }

  onUnreachable(): void {
    this.#counts.mirrorsDropped++
  }

  /** An answer that is long, or comes drop by drop, must not hold a place for good; one that is silent is ended by its connection. */
  override onBody(bytes: Buffer): void {
    this.#bytes += bytes.length
    if (this.#bytes > RESPONSE_BYTES_MAX || performance.now() - this.#sentAtMs > this.#timeoutMs) this.#connection?.abandon()
  }
}
