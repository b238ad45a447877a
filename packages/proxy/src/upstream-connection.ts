/** One connection to an upstream, carrying one request at a time: what there is of it in any version of HTTP. */
import { type AnyProxyError, RequestFault, UpstreamBroken, UpstreamTimeout } from './errors.ts'
import type { ResponseHead } from './response-parser.ts'
import type { Wire } from './wire.ts'

/** Who breaks off within this time of what it was sent may have done so because of it. */
const WAITED_MS_MIN = 1_000

/** Whoever waits for a response. */
export interface ResponseListener {
  /** On whose behalf; undefined: our own. */
  readonly source?: string
  onInterim(head: ResponseHead): void
  onHead(head: ResponseHead): void
  onBody(bytes: Buffer): void
  onEnd(trailers: readonly string[]): void
  onUpgrade(head: ResponseHead, wire: Wire, rest: Buffer): void
  /** All bytes that have arrived are handed over, and more are due. */
  onQuiet(): void
  /** The upstream takes more of the request's body. */
  onDrain(): void
  onFailure(error: AnyProxyError): void
  /** Others wait for the connection, which has been held up for long: it is to be given up. */
  onReclaimed?(): void
}

/** Waits for nothing of a response. */
export class IndifferentListener implements ResponseListener {
  onUpgrade(_head: ResponseHead, wire: Wire): void {
    wire.destroy()
  }

  onInterim(_head: ResponseHead): void {}
  onHead(_head: ResponseHead): void {}
  onBody(_bytes: Buffer): void {}
  onEnd(_trailers: readonly string[]): void {}
  onQuiet(): void {}
  onDrain(): void {}
  onFailure(_error: AnyProxyError): void {}
}

/** How a request goes out. */
export interface Sending {
  readonly method: string
  /** Nothing of its body is due any more. */
  readonly complete: boolean
  readonly upgrade: boolean
  readonly chunked: boolean
  readonly timeoutMs: number
}

/** Who gets the connection back. */
export interface ConnectionOwner {
  onFree(connection: UpstreamConnection): void
  onGone(connection: UpstreamConnection): void
}

/** A connection, whatever it speaks. */
export interface UpstreamConnection {
  /** Monotonic milliseconds: of the last byte either way, or of becoming idle. */
  readonly activeAtMs: number
  /** How long the upstream keeps an idle connection, as far as it said. */
  readonly idleMsMax: number
  /** On whose behalf it is in use. */
  readonly source: string | undefined
  readonly usable: boolean
  /**
   * Begins a request. `head` is the whole header section as HTTP/1.1 writes it, `body` what is there of the body. More of it follows by
   * `write`, unless `complete`. Returns whether there is room for more.
   */
  send(listener: ResponseListener, head: string, body: Buffer | undefined, request: Sending, nowMs: number): boolean
  /** More of the body, as one chunk or as it is. Returns whether there is room for more; `onDrain` follows when not. */
  write(bytes: Buffer, chunked: boolean): boolean
  /** The request's body has been written whole. */
  complete(chunked: boolean): void
  pause(): void
  resume(): void
  destroy(): void
  /** Stops caring for the response: the connection cannot be used again. */
  abandon(): void
  /** Its listener hears no more of the response. The connection is used again if reading the rest away is little to do. */
  discard(head: ResponseHead): void
  /** Ends the request if its client has not taken what there is of the response for so long. Returns whether it did. */
  reclaim(nowMs: number, pausedMsMin: number): boolean
  /** Somebody else listens to the response from here on. */
  handTo(listener: ResponseListener): void
  /** How long the upstream may be silent from here on. */
  limitSilence(ms: number): void
  /** Ends the request when its upstream has been silent for too long. */
  sweep(nowMs: number): void
}

/** What connections have in common: who listens, how long the upstream was silent, and for how long nobody read. */
export abstract class OneRequestConnection implements UpstreamConnection {
  protected readonly owner: ConnectionOwner
  protected listener: ResponseListener | undefined
  /** Requests carried before the one under way. */
  protected carried = 0
  protected requestWritten = false
  protected gone = false
  protected paused = false
  /** The upstream takes more of the request's body. */
  #hasRoom = true
  #pausedAtMs = 0
  #timeoutMs = 0
  activeAtMs = performance.now()
  idleMsMax = Number.POSITIVE_INFINITY

  constructor(owner: ConnectionOwner) {
    this.owner = owner
  }

  abstract get usable(): boolean
  abstract send(listener: ResponseListener, head: string, body: Buffer | undefined, request: Sending, nowMs: number): boolean
  abstract write(bytes: Buffer, chunked: boolean): boolean
  abstract complete(chunked: boolean): void
  abstract destroy(): void
  abstract discard(head: ResponseHead): void
  protected abstract stopReading(): void
  protected abstract goOnReading(): void
  /** Whether a connection that was kept broke before anything came of the answer: the upstream may never have seen the request. */
  protected abstract get untouched(): boolean

  get source(): string | undefined {
    return this.listener?.source
  }

  protected begin(listener: ResponseListener, request: Sending, nowMs: number): void {
    this.listener = listener
    this.requestWritten = request.complete
    this.paused = false
    this.#hasRoom = true
    this.#timeoutMs = request.timeoutMs
    this.activeAtMs = nowMs
  }

  /** Part of the request has been written. Returns whether there is room for more. */
  protected wrote(room: boolean): boolean {
    this.#hasRoom = room
    return room
  }

  /** The request has been written whole: the upstream's time begins. */
  protected wroteAll(): void {
    this.requestWritten = true
    this.activeAtMs = performance.now()
  }

  onDrain(): void {
    this.#hasRoom = true
    this.activeAtMs = performance.now()
    this.listener?.onDrain()
  }

  /** The upstream has taken what there is of the request, and its client holds the rest back: that time is the client's, whose own limits bound it. */
  get #waitsForClient(): boolean {
    return !this.requestWritten && this.#hasRoom
  }

  pause(): void {
    if (!this.paused) this.#pausedAtMs = performance.now()
    this.paused = true
    this.stopReading()
  }

  resume(): void {
    this.paused = false
    this.activeAtMs = performance.now()
    this.goOnReading()
  }

  abandon(): void {
    this.listener = undefined
    this.destroy()
  }

  reclaim(nowMs: number, pausedMsMin: number): boolean {
    const { listener } = this
    if (!this.paused || nowMs - this.#pausedAtMs < pausedMsMin || listener?.onReclaimed === undefined) return false
    listener.onReclaimed()
    return true
  }

  handTo(listener: ResponseListener): void {
    if (this.listener !== undefined) this.listener = listener
  }

  limitSilence(ms: number): void {
    this.#timeoutMs = ms
  }

  sweep(nowMs: number): void {
    if (this.listener === undefined || this.paused || this.#waitsForClient || nowMs - this.activeAtMs < this.#timeoutMs) return
    this.fail(new UpstreamTimeout(`the upstream was silent for ${this.#timeoutMs} ms`))
  }

  onClose(): void {
    if (this.gone) return
    this.gone = true
    this.owner.onGone(this)
    if (this.listener !== undefined) this.broke('it broke the connection', this.untouched)
  }

  /** The upstream has ended the request. One that had been waiting for the rest of it has done what its own limits say. */
  protected broke(why: string, stale: boolean): void {
    const isTired = this.#waitsForClient && performance.now() - this.activeAtMs >= WAITED_MS_MIN
    this.fail(
      isTired ? new RequestFault(408, `the upstream waited for the body in vain: ${why}`) : new UpstreamBroken(why, stale),
    )
  }

  protected fail(error: AnyProxyError): void {
    const { listener } = this
    this.listener = undefined
    this.destroy()
    listener?.onFailure(error)
  }
}
