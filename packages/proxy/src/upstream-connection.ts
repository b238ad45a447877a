/** One connection to an upstream, carrying one request at a time. */
import type { Socket } from 'node:net'
import { type AnyProxyError, UpstreamBroken, UpstreamTimeout } from './errors.ts'
import { type ResponseEvents, type ResponseHead, ResponseParser } from './response-parser.ts'

/** Whoever waits for a response. */
export interface ResponseListener {
  onInterim(head: ResponseHead): void
  onHead(head: ResponseHead): void
  onBody(bytes: Buffer): void
  onEnd(trailers: readonly string[]): void
  onUpgrade(head: ResponseHead, socket: Socket, rest: Buffer): void
  /** All bytes that have arrived are handed over, and more are due. */
  onQuiet(): void
  /** The upstream takes more of the request's body. */
  onDrain(): void
  onFailure(error: AnyProxyError): void
}

/** Who gets the connection back. */
export interface ConnectionOwner {
  onFree(connection: UpstreamConnection): void
  onGone(connection: UpstreamConnection): void
}

export class UpstreamConnection implements ResponseEvents {
  readonly socket: Socket
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
  #timeoutMs = 0
  /** Monotonic milliseconds: of the last byte either way, or of becoming idle. */
  activeAtMs = performance.now()
  /** How long the upstream keeps an idle connection, as far as it said. */
  idleMsMax = Number.POSITIVE_INFINITY

  constructor(socket: Socket, headerBytesMax: number, owner: ConnectionOwner) {
    this.socket = socket
    this.#owner = owner
    this.#parser = new ResponseParser(headerBytesMax, this)
    socket.setNoDelay(true)
    socket.on('data', (bytes: Buffer) => this.#data(bytes))
    socket.on('drain', () => this.#listener?.onDrain())
    socket.on('end', () => this.#ended())
    // 'close' follows every error and says the rest.
    socket.on('error', () => undefined)
    socket.on('close', () => this.#closed())
  }

  get usable(): boolean {
    return !this.#gone && !this.socket.destroyed && this.socket.writable
  }

  /** Begins a request. `head` is the whole header section. More of the body follows by `write`, unless `complete`. */
  send(
    listener: ResponseListener,
    head: string,
    body: readonly Buffer[],
    request: { readonly method: string; readonly complete: boolean; readonly upgrade: boolean; readonly timeoutMs: number },
  ): boolean {
    this.#listener = listener
    this.#bytesSeen = false
    this.#requestWritten = request.complete
    this.#reusable = true
    this.#paused = false
    this.#timeoutMs = request.timeoutMs
    this.activeAtMs = performance.now()
    this.#parser.begin(request.method, request.upgrade)
    if (body.length === 0) return this.socket.write(head, 'latin1')
    this.socket.cork()
    let room = this.socket.write(head, 'latin1')
    for (const bytes of body) room = this.socket.write(bytes)
    this.socket.uncork()
    return room
  }

  /** Returns whether there is room for more; `onDrain` follows when not. */
  write(bytes: Buffer | string): boolean {
    this.activeAtMs = performance.now()
    return this.socket.write(bytes)
  }

  /** The request's body has been written whole. */
  complete(): void {
    this.#requestWritten = true
  }

  pause(): void {
    this.#paused = true
    this.socket.pause()
  }

  resume(): void {
    this.#paused = false
    this.activeAtMs = performance.now()
    this.socket.resume()
  }

  /** Stops caring for the response: the connection cannot be used again. */
  abandon(): void {
    this.#listener = undefined
    this.socket.destroy()
  }

  /** Ends the request when its upstream has been silent for too long. */
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
    this.socket.removeAllListeners('data')
    this.socket.removeAllListeners('drain')
    this.socket.removeAllListeners('end')
    // A tunnel has its own bound; it is no request's connection any more.
    this.#gone = true
    this.#owner.onGone(this)
    listener?.onUpgrade(head, this.socket, rest)
  }

  #data(bytes: Buffer): void {
    this.activeAtMs = performance.now()
    // Nobody asked: a late part of an earlier response must never become the next one's.
    if (this.#listener === undefined) {
      this.socket.destroy()
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
      if (this.#listener === undefined) this.socket.destroy()
      else this.#fail(new UpstreamBroken(problem))
      return
    }
    if (this.#parser.done) this.#free()
    else this.#listener?.onQuiet()
  }

  #free(): void {
    if (this.#gone) return
    if (!this.#reusable || !this.#requestWritten || !this.usable) {
      this.socket.destroy()
      return
    }
    // The response's end may have paused nothing, but a slow client may have left it paused.
    if (this.#paused) this.resume()
    this.#carried++
    this.activeAtMs = performance.now()
    this.#owner.onFree(this)
  }

  #ended(): void {
    if (this.#listener === undefined) return
    const problem = this.#parser.close()
    if (problem !== undefined) this.#fail(new UpstreamBroken(problem, this.#carried > 0 && !this.#bytesSeen))
  }

  #closed(): void {
    if (this.#gone) return
    this.#gone = true
    this.#owner.onGone(this)
    if (this.#listener === undefined) return
    this.#fail(new UpstreamBroken('it broke the connection', this.#carried > 0 && !this.#bytesSeen))
  }

  #fail(error: AnyProxyError): void {
    const listener = this.#listener
    this.#listener = undefined
    this.socket.destroy()
    listener?.onFailure(error)
  }
}
