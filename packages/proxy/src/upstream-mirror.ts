/**
 * Copies of requests for one more upstream, whose answers are thrown away. A copy is sent after its original, waits for
 * nothing, and nothing waits for it; what is more than may be under way is not copied.
 */
import type { ServicePolicy } from '@ringwall/ring'
import type { AnyProxyError } from './errors.ts'
import type { ResponseHead } from './response-parser.ts'
import type { ConnectionWaiter, Upstream } from './upstream.ts'
import type { ResponseListener, UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamTerms } from './upstream-terms.ts'
import type { Wire } from './wire.ts'

/** Marks a copy, for the upstream to know; a client's own field of this name never passes. */
export const MIRROR_FIELD = 'x-ringwall-mirror: 1\r\n'
const RESPONSE_BYTES_MAX = 1_048_576

type MirrorPolicy = NonNullable<ServicePolicy['mirror']>

export function mirrorTerms({ concurrency }: MirrorPolicy): UpstreamTerms {
  return {
    weight: 1,
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
  readonly #underWay = new Set<Copy>()

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
    const copy = new Copy(method, head, body, this.#timeoutMs, (sent) => {
      this.#underWay.delete(copy)
      if (!sent) this.#counts.mirrorsDropped++
    })
    this.#underWay.add(copy)
    this.#counts.mirrored++
    this.#upstream.requests++
    this.#upstream.acquire(copy)
  }

  /** Called every so often with monotonic time: an answer that never ends must not hold a place for good. */
  sweep(nowMs: number): void {
    for (const copy of this.#underWay) if (nowMs - copy.startMs > this.#timeoutMs) copy.end()
  }
}

class Copy implements ConnectionWaiter, ResponseListener {
  readonly startMs = performance.now()
  readonly #method: string
  readonly #head: string
  readonly #body: Buffer | undefined
  readonly #timeoutMs: number
  readonly #onOver: (sent: boolean) => void
  #connection: UpstreamConnection | undefined
  #bytes = 0
  #over = false

  constructor(method: string, head: string, body: Buffer | undefined, timeoutMs: number, onOver: (sent: boolean) => void) {
    this.#method = method
    this.#head = head
    this.#body = body
    this.#timeoutMs = timeoutMs
    this.#onOver = onOver
  }

  get cancelled(): boolean {
    return this.#over
  }

  onConnection(connection: UpstreamConnection): void {
    this.#connection = connection
    const sending = { method: this.#method, complete: true, upgrade: false, chunked: false, timeoutMs: this.#timeoutMs }
    connection.send(this, this.#head, this.#body, sending, performance.now())
  }

  onUnreachable(): void {
    this.#done(false)
  }

  onBody(bytes: Buffer): void {
    this.#bytes += bytes.length
    if (this.#bytes > RESPONSE_BYTES_MAX) this.end()
  }

  onEnd(): void {
    this.#done(true)
  }

  onFailure(_error: AnyProxyError): void {
    this.#done(true)
  }

  onUpgrade(_head: ResponseHead, wire: Wire): void {
    wire.destroy()
    this.#done(true)
  }

  end(): void {
    this.#connection?.abandon()
    this.#done(true)
  }

  onInterim(): void {}
  onHead(): void {}
  onQuiet(): void {}
  onDrain(): void {}

  #done(sent: boolean): void {
    if (this.#over) return
    this.#over = true
    this.#connection = undefined
    this.#onOver(sent)
  }
}
