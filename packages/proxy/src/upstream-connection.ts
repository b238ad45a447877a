/** One connection to an upstream, carrying one request at a time: what there is of it in any version of HTTP, and HTTP/1.1. */
import type { Socket } from 'node:net'
import { type AnyProxyError, UpstreamBroken, UpstreamTimeout } from './errors.ts'
import { type ResponseEvents, type ResponseHead, ResponseParser } from './response-parser.ts'
import { Wire, type WireHandler } from './wire.ts'

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

const DISCARDED_BYTES_MAX = 65_536

/** Reads away what nobody wants, as long as it is little. */
class Discarding implements ResponseListener {
  readonly #connection: UpstreamConnection
  #bytes = 0

  constructor(connection: UpstreamConnection) {
    this.#connection = connection
  }

  onBody(bytes: Buffer): void {
    this.#bytes += bytes.length
    if (this.#bytes > DISCARDED_BYTES_MAX) this.#connection.abandon()
  }

  onUpgrade(_head: ResponseHead, wire: Wire): void {
    wire.destroy()
  }

  onInterim(): void {}
  onHead(): void {}
  onEnd(): void {}
  onQuiet(): void {}
  onDrain(): void {}
  onFailure(): void {}
}

export class Http1UpstreamConnection implements UpstreamConnection, ResponseEvents, WireHandler {
  readonly #wire: Wire
  readonly #owner: ConnectionOwner
  readonly #parser: ResponseParser
  #listener: ResponseListener | undefined
  /** Requests carried before the one under way. */
  #carried = 0
  #bytesSeen = false
  #requestWritten = false
  #reusable = true
  #gone = false
  #paused = false
  #pausedAtMs = 0
  #timeoutMs = 0
  activeAtMs = performance.now()
  idleMsMax = Number.POSITIVE_INFINITY

  constructor(socket: Socket, headerBytesMax: number, owner: ConnectionOwner) {
    this.#owner = owner
    this.#parser = new ResponseParser(headerBytesMax, this)
    // Made with `READ_INTO_SHARED`.
    this.#wire = new Wire(socket, this, false)
    socket.setNoDelay(true)
  }

  get source(): string | undefined {
    return this.#listener?.source
  }

  get usable(): boolean {
    return !this.#gone && this.#wire.usable
  }

  send(listener: ResponseListener, head: string, body: Buffer | undefined, request: Sending, nowMs: number): boolean {
    this.#listener = listener
    this.#bytesSeen = false
    this.#requestWritten = request.complete
    this.#reusable = true
    this.#paused = false
    this.#timeoutMs = request.timeoutMs
    this.activeAtMs = nowMs
    this.#parser.begin(request.method, request.upgrade)
    this.#wire.text(head)
    if (body !== undefined) this.#body(body, request.chunked)
    return this.#wire.flush()
  }

  write(bytes: Buffer, chunked: boolean): boolean {
    this.activeAtMs = performance.now()
    this.#body(bytes, chunked)
    return this.#wire.flush()
  }

  #body(bytes: Buffer, chunked: boolean): void {
    if (chunked) this.#wire.text(`${bytes.length.toString(16)}\r\n`)
    this.#wire.bytes(bytes)
    if (chunked) this.#wire.text('\r\n')
  }

  complete(chunked: boolean): void {
    if (chunked) {
      this.#wire.text('0\r\n\r\n')
      this.#wire.flush()
    }
    this.#requestWritten = true
  }

  pause(): void {
    if (!this.#paused) this.#pausedAtMs = performance.now()
    this.#paused = true
    this.#wire.pause()
  }

  resume(): void {
    this.#paused = false
    this.activeAtMs = performance.now()
    this.#wire.resume()
  }

  destroy(): void {
    this.#wire.destroy()
  }

  abandon(): void {
    this.#listener = undefined
    this.#wire.destroy()
  }

  discard(head: ResponseHead): void {
    if (head.bodyBytes !== undefined && head.bodyBytes > DISCARDED_BYTES_MAX) this.abandon()
    else this.#listener = new Discarding(this)
  }

  reclaim(nowMs: number, pausedMsMin: number): boolean {
    const listener = this.#listener
    if (!this.#paused || nowMs - this.#pausedAtMs < pausedMsMin || listener?.onReclaimed === undefined) return false
    listener.onReclaimed()
    return true
  }

  handTo(listener: ResponseListener): void {
    if (this.#listener !== undefined) this.#listener = listener
  }

  limitSilence(ms: number): void {
    this.#timeoutMs = ms
  }

  sweep(nowMs: number): void {
    if (this.#listener === undefined || this.#paused || nowMs - this.activeAtMs < this.#timeoutMs) return
    this.#fail(new UpstreamTimeout(`the upstream was silent for ${this.#timeoutMs} ms`))
  }

  onInterim(head: ResponseHead): void {
    this.#listener?.onInterim(head)
  }

  onHead(head: ResponseHead): void {
    this.#reusable = head.keepAlive
    if (head.keepAliveS !== undefined) this.idleMsMax = Math.max(0, head.keepAliveS * 1_000 - 1_000)
    this.#listener?.onHead(head)
  }

  onBody(bytes: Buffer): void {
    this.#listener?.onBody(bytes)
  }

  onEnd(trailers: readonly string[]): void {
    const listener = this.#listener
    this.#listener = undefined
    listener?.onEnd(trailers)
  }

  onUpgrade(head: ResponseHead, rest: Buffer): void {
    const listener = this.#listener
    this.#listener = undefined
    // A tunnel has its own bound; it is no request's connection any more.
    this.#gone = true
    this.#owner.onGone(this)
    listener?.onUpgrade(head, this.#wire, rest)
  }

  onDrain(): void {
    this.#listener?.onDrain()
  }

  onBytes(bytes: Buffer): void {
    this.activeAtMs = performance.now()
    // Nobody asked: a late part of an earlier response must never become the next one's.
    if (this.#listener === undefined) {
      this.#wire.destroy()
      return
    }
    this.#bytesSeen = true
    let problem: string | undefined
    try {
      problem = this.#parser.push(bytes)
    } catch (error) {
      // Whatever the response did to us, it does to this request alone.
      problem = `passing its response on failed: ${(error as Error).message}`
    }
    if (problem !== undefined) {
      if (this.#listener === undefined) this.#wire.destroy()
      else this.#fail(new UpstreamBroken(problem))
      return
    }
    if (this.#parser.done) this.#free()
    else this.#listener?.onQuiet()
  }

  #free(): void {
    if (this.#gone) return
    if (!this.#reusable || !this.#requestWritten || !this.usable) {
      this.#wire.destroy()
      return
    }
    // The response's end may have paused nothing, but a slow client may have left it paused.
    if (this.#paused) this.resume()
    this.#carried++
    this.#owner.onFree(this)
  }

  onHalfClose(): void {
    if (this.#listener === undefined) return
    const problem = this.#parser.close()
    if (problem !== undefined) this.#fail(new UpstreamBroken(problem, this.#carried > 0 && !this.#bytesSeen))
  }

  onClose(): void {
    if (this.#gone) return
    this.#gone = true
    this.#owner.onGone(this)
    if (this.#listener === undefined) return
    this.#fail(new UpstreamBroken('it broke the connection', this.#carried > 0 && !this.#bytesSeen))
  }

  #fail(error: AnyProxyError): void {
    const listener = this.#listener
    this.#listener = undefined
    this.#wire.destroy()
    listener?.onFailure(error)
  }
}
