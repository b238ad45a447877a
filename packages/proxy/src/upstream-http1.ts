/** A connection to an upstream that speaks HTTP/1.1 (RFC 9112). */
import type { Socket } from 'node:net'
import { UpstreamBroken } from './errors.ts'
import { type ResponseEvents, type ResponseHead, ResponseParser } from './response-parser.ts'
import {
  type ConnectionOwner,
  IndifferentListener,
  OneRequestConnection,
  type ResponseListener,
  type Sending,
  type UpstreamConnection,
} from './upstream-connection.ts'
import { Wire, type WireHandler } from './wire.ts'

const DISCARDED_BYTES_MAX = 65_536

/** Reads away what nobody wants, as long as it is little. */
class Discarding extends IndifferentListener {
  readonly #connection: UpstreamConnection
  #bytes = 0

  constructor(connection: UpstreamConnection) {
    super()
    this.#connection = connection
  }

  override onBody(bytes: Buffer): void {
    this.#bytes += bytes.length
    if (this.#bytes > DISCARDED_BYTES_MAX) this.#connection.abandon()
  }
}

export class Http1UpstreamConnection extends OneRequestConnection implements ResponseEvents, WireHandler {
  readonly #wire: Wire
  readonly #parser: ResponseParser
  #bytesSeen = false
  #reusable = true

  constructor(socket: Socket, headerBytesMax: number, owner: ConnectionOwner) {
    super(owner)
    this.#parser = new ResponseParser(headerBytesMax, this)
    // Made with `READ_INTO_SHARED`.
    this.#wire = new Wire(socket, this, false)
    socket.setNoDelay(true)
  }

  get usable(): boolean {
    return !this.gone && this.#wire.usable
  }

  protected get untouched(): boolean {
    return this.carried > 0 && !this.#bytesSeen
  }

  send(listener: ResponseListener, head: string, body: Buffer | undefined, request: Sending, nowMs: number): boolean {
    this.begin(listener, request, nowMs)
    this.#bytesSeen = false
    this.#reusable = true
    this.#parser.begin(request.method, request.upgrade)
    this.#wire.text(head)
    if (body !== undefined) this.#body(body, request.chunked)
    return this.wrote(this.#wire.flush())
  }

  write(bytes: Buffer, chunked: boolean): boolean {
    this.activeAtMs = performance.now()
    this.#body(bytes, chunked)
    return this.wrote(this.#wire.flush())
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
    this.wroteAll()
  }

  protected stopReading(): void {
    this.#wire.pause()
  }

  protected goOnReading(): void {
    this.#wire.resume()
  }

  destroy(): void {
    this.#wire.destroy()
  }

  discard(head: ResponseHead): void {
    if (head.bodyBytes !== undefined && head.bodyBytes > DISCARDED_BYTES_MAX) this.abandon()
    else this.listener = new Discarding(this)
  }

  onInterim(head: ResponseHead): void {
    this.listener?.onInterim(head)
  }

  onHead(head: ResponseHead): void {
    this.#reusable = head.keepAlive
    if (head.keepAliveS !== undefined) this.idleMsMax = Math.max(0, head.keepAliveS * 1_000 - 1_000)
    this.listener?.onHead(head)
  }

  onBody(bytes: Buffer): void {
    this.listener?.onBody(bytes)
  }

  onEnd(trailers: readonly string[]): void {
    const listener = this.listener
    this.listener = undefined
    listener?.onEnd(trailers)
  }

  onUpgrade(head: ResponseHead, rest: Buffer): void {
    const listener = this.listener
    this.listener = undefined
    // A tunnel has its own bound; it is no request's connection any more.
    this.gone = true
    this.owner.onGone(this)
    listener?.onUpgrade(head, this.#wire, rest)
  }

  onBytes(bytes: Buffer): void {
    this.activeAtMs = performance.now()
    // Nobody asked: a late part of an earlier response must never become the next one's.
    if (this.listener === undefined) {
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
      if (this.listener === undefined) this.#wire.destroy()
      else this.fail(new UpstreamBroken(problem))
      return
    }
    if (this.#parser.done) this.#free()
    else this.listener?.onQuiet()
  }

  #free(): void {
    if (this.gone) return
    if (!this.#reusable || !this.requestWritten || !this.usable) {
      this.#wire.destroy()
      return
    }
    // The response's end may have paused nothing, but a slow client may have left it paused.
    if (this.paused) this.resume()
    this.carried++
    this.owner.onFree(this)
  }

  onHalfClose(): void {
    if (this.listener === undefined) return
    const problem = this.#parser.close()
    if (problem !== undefined) this.broke(problem, this.untouched)
  }
}
