/**
 * One client's connection: reads requests one at a time, gives each to an exchange, and writes what that answers.
 *
 * Back-pressure: bytes that nobody takes yet stay here, at most two reads' worth, and reading stops. Time: the listener
 * calls `sweep` every so often; no connection has a timer of its own.
 */
import type { Socket } from 'node:net'
import type { Peer } from '@ringwall/guard'
import { type Client, isExpiring, type OwnResponse, type ShownInTls, type UpstreamEnd } from './client.ts'
import type { Connection, Context } from './context.ts'
import { Exchange } from './exchange.ts'
import { responseHeadText } from './forward-head.ts'
import type { Listener } from './listener.ts'
import { fieldLines, refusalText, statusLine } from './refusal.ts'
import type { RequestHead } from './request-head.ts'
import { BODY, END, HEAD, MORE, RequestParser } from './request-parser.ts'
import type { ResponseHead } from './response-parser.ts'
import { openTunnel } from './tunnel.ts'
import { Wire, type WireHandler } from './wire.ts'

/** Requests that may wait on one connection behind the one that is answered. No client of today pipelines at all. */
const PIPELINED_MAX = 32
/** An unread body up to this long is read away and the connection kept; a longer one closes it. */
const DRAIN_BYTES_MAX = 65_536
const DRAIN_MS_MAX = 1_000
const NEVER = Number.POSITIVE_INFINITY

/** What a connection is doing, as far as time goes. */
const WAITING = 0
const IN_HEAD = 1
const EXCHANGING = 2
const DRAINING = 3
const CLOSING = 4
const DETACHED = 5
const RESTING = 6

/** How long a client that asks too much is not read from. */
const REST_MS = 1_000
/** Who asks so soon after a rest had been waiting for its end. */
const INSISTS_MS = 300
/** A client that means it says what it wants soon after it has connected. */
const HASTE_MS = 1_000

/** How a response's end is told (RFC 9112 section 6.3). */
const BY_HEAD = 0
const BY_CHUNKS = 1
const BY_CLOSE = 2

export class ClientConnection implements Connection, Client, WireHandler {
  readonly wire: Wire
  readonly address: string
  /** Of the client's TLS. */
  readonly ja4: string | undefined
  readonly clientCertificate: string | undefined
  readonly peer: Peer | undefined
  readonly listener: Listener
  readonly #context: Context
  readonly #parser: RequestParser
  readonly #closed: (connection: ClientConnection) => void
  #exchange: Exchange | undefined
  /** Bytes that wait behind what is under way. */
  #rest: Buffer | undefined
  /** Whether the exchange takes the request's body. */
  #flowing = false
  #advancing = false
  #paused = false
  #phase = WAITING
  #requests = 0
  #pipelined = 0
  /** Of the response under way. */
  #framing = BY_HEAD
  #keepAlive = false
  #rests = false
  #restOverMs = Number.NEGATIVE_INFINITY
  #drainedBytes = 0
  /** Monotonic milliseconds: when the phase has lasted too long. */
  #deadlineMs: number
  /** When the whole request must have arrived. */
  #requestDeadlineMs = NEVER
  /** Since when the client has left our bytes unread. */
  #stalledSinceMs = NEVER
  #tunnel: { sweep(nowMs: number): void } | undefined

  /** @param streams Whether the socket gives its bytes by 'data'. */
  constructor(
    context: Context,
    listener: Listener,
    socket: Socket,
    address: string,
    { ja4, clientCertificate, peer }: ShownInTls,
    streams: boolean,
    closed: (connection: ClientConnection) => void,
  ) {
    this.#context = context
    this.listener = listener
    this.address = address
    this.ja4 = ja4
    this.clientCertificate = clientCertificate
    this.peer = peer
    this.#closed = closed
    this.#parser = new RequestParser(context.headBounds)
    this.#deadlineMs = performance.now() + context.limits.headersMsMax
    this.wire = new Wire(socket, this, streams)
  }

  // From the socket.

  onBytes(bytes: Buffer): void {
    if (this.#phase === CLOSING) {
      this.#drainedBytes += bytes.length
      if (this.#drainedBytes > DRAIN_BYTES_MAX) this.wire.destroy()
      return
    }
    if (this.#rest !== undefined) {
      this.#rest = Buffer.concat([this.#rest, bytes])
      this.#pause()
      return
    }
    this.#pipelined = 0
    this.#advance(bytes)
  }

  onDrain(): void {
    this.#stalledSinceMs = NEVER
    if (this.#exchange !== undefined) this.#exchange.onClientDrain()
    else if (this.#phase !== DETACHED && this.#phase !== RESTING) this.#goOn()
  }

  onHalfClose(): void {
    // A client that will say no more while it waits has most likely gone: there is no telling it from one that has.
    if (this.#phase === CLOSING || this.#exchange !== undefined) this.wire.destroy()
    else this.wire.end()
  }

  onClose(): void {
    this.#closed(this)
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#rest = undefined
    exchange?.onClientGone()
  }

  // For the listener.

  get gone(): boolean {
    return this.wire.socket.destroyed
  }

  get idle(): boolean {
    return (this.#phase === WAITING || this.#phase === RESTING) && this.#parser.idle
  }

  expendable(nowMs: number): boolean {
    const { headersMsMax } = this.#context.limits
    if (this.#phase === WAITING && this.#requests > 0) return true
    // The deadline says since when: of a first head since the connection's beginning, of others since their first byte.
    return (this.#phase === WAITING || this.#phase === IN_HEAD) && nowMs - (this.#deadlineMs - headersMsMax) > HASTE_MS
  }

  sweep(nowMs: number): void {
    const { limits } = this.#context
    if (this.#tunnel !== undefined) {
      this.#tunnel.sweep(nowMs)
      return
    }
    if (nowMs - this.#stalledSinceMs > limits.clientStallMsMax) {
      this.wire.destroy()
      return
    }
    if (nowMs < this.#deadlineMs) {
      if (isExpiring(this.peer)) this.close()
      return
    }
    if (this.#phase === RESTING) {
      this.#phase = WAITING
      this.#deadlineMs = nowMs + limits.keepAliveMsMax
      this.#restOverMs = nowMs
      this.#goOn()
    } else if (this.#phase === IN_HEAD) this.#refuse(408)
    else if (this.#phase === EXCHANGING) {
      this.#deadlineMs = NEVER
      this.#exchange?.onRequestLate()
    } else this.wire.destroy()
  }

  // For the exchange.

  takeBody(msMax: number): void {
    this.#flowing = true
    this.#requestDeadlineMs = Math.min(this.#requestDeadlineMs, performance.now() + msMax)
    this.#bodyAwaited()
    this.#goOn()
  }

  pauseBody(): void {
    if (!this.#flowing) return
    this.#flowing = false
    // Waiting for the upstream is not the client's fault.
    this.#deadlineMs = NEVER
    this.#pause()
  }

  resumeBody(): void {
    if (this.#flowing) return
    this.#flowing = true
    this.#bodyAwaited()
    this.#goOn()
  }

  extendBody(): void {
    this.#requestDeadlineMs = performance.now() + this.#context.limits.requestMsMax
  }

  get requestComplete(): boolean {
    return this.#parser.done
  }

  /** Whether requests may follow on this connection, as far as we are concerned. */
  get #reusable(): boolean {
    const { limits, stopping } = this.#context
    return this.#requests < limits.requestsPerConnectionMax && !stopping && !isExpiring(this.peer)
  }

  sayContinue(): void {
    this.wire.text('HTTP/1.1 100 Continue\r\n\r\n')
    this.flush()
  }

  inform(head: ResponseHead): void {
    this.wire.text(`${responseHeadText(head.status, head.statusText, head.rawHeaders, 0)}\r\n`)
  }

  respond(head: ResponseHead, request: RequestHead, own: readonly string[], nowMs: number): void {
    const modern = this.#parser.request!.httpVersion === '1.1'
    const { status, statusText, rawHeaders, section } = head
    let text = responseHeadText(status, statusText, rawHeaders, nowMs, this.listener.ownFields, section)
    text += fieldLines(own)
    this.#framing = BY_HEAD
    if (request.method === 'HEAD' || head.status === 304) {
      if (head.contentLength !== undefined) text += `content-length: ${head.contentLength}\r\n`
    } else if (head.bodyBytes === undefined) {
      this.#framing = modern ? BY_CHUNKS : BY_CLOSE
      if (modern) text += 'transfer-encoding: chunked\r\n'
      // RFC 9110 section 8.6: none in a 204.
    } else if (head.status !== 204) text += `content-length: ${head.bodyBytes}\r\n`
    // Answered before the upload was complete: what is left of it is not worth reading.
    this.#keepAlive =
      request.keepAlive && this.#framing !== BY_CLOSE && this.requestComplete && !request.upgrade && this.#reusable
    if (!this.#keepAlive) text += 'connection: close\r\n'
    else if (!modern) text += 'connection: keep-alive\r\n'
    this.wire.text(`${text}\r\n`)
  }

  send(bytes: Buffer): void {
    const { wire } = this
    if (this.#framing === BY_CHUNKS) wire.text(`${bytes.length.toString(16)}\r\n`)
    wire.bytes(bytes)
    if (this.#framing === BY_CHUNKS) wire.text('\r\n')
  }

  end(trailers: readonly string[], nowMs: number): void {
    if (this.#framing === BY_CHUNKS) this.wire.text(`0\r\n${fieldLines(trailers)}\r\n`)
    this.flush()
    this.#finished(this.#keepAlive, nowMs)
  }

  refuse({ status, fields, body, continued }: OwnResponse, head: RequestHead | undefined, nowMs: () => number): void {
    const length = head?.contentLength
    // A client that waits for 100 Continue will not send what we would wait for.
    const drainable = length !== undefined && length <= DRAIN_BYTES_MAX && !(head!.continueWanted && !continued)
    // Always closed after what could not be read: where one request ends and the next begins is what cannot be trusted.
    const keepAlive = head?.keepAlive === true && !head.upgrade && (this.requestComplete || drainable) && this.#reusable
    const modern = this.#parser.request!.httpVersion === '1.1'
    const connection = !keepAlive ? 'connection: close\r\n' : modern ? '' : 'connection: keep-alive\r\n'
    this.wire.text(`${statusLine(status)}${fieldLines(fields)}${connection}\r\n${body}`)
    this.flush()
    this.#finished(keepAlive, nowMs())
  }

  rest(): void {
    this.#rests = true
  }

  get http2(): undefined {
    return undefined
  }

  get insists(): boolean {
    return this.#exchange !== undefined && this.#exchange.startMs - this.#restOverMs < INSISTS_MS
  }

  switchProtocols(head: ResponseHead, own: readonly string[], end: UpstreamEnd, nowMs: number): void {
    const text = responseHeadText(101, 'Switching Protocols', head.rawHeaders, nowMs, this.listener.ownFields)
    this.wire.text(`${text}connection: upgrade\r\nupgrade: websocket\r\n${fieldLines(own)}\r\n`)
    const fromClient = this.#rest
    this.#rest = undefined
    this.#exchange = undefined
    this.#phase = DETACHED
    this.#deadlineMs = NEVER
    const onClientClosed = (): void => this.onClose()
    this.#tunnel = openTunnel(this.#context, {
      client: this.wire,
      upstream: end.wire,
      source: end.source,
      standing: end.standing,
      fromClient,
      fromUpstream: end.rest,
      onClientClosed,
    })
  }

  flush(): boolean {
    const room = this.wire.flush()
    if (!room && this.#stalledSinceMs === NEVER) this.#stalledSinceMs = performance.now()
    return room
  }

  /** The response is complete. What is left of the request's body is read away, or the connection closed. */
  #finished(keepAlive: boolean, nowMs: number): void {
    this.#exchange = undefined
    this.#flowing = false
    if (!keepAlive) {
      this.#close(nowMs)
      return
    }
    this.flush()
    if (this.#parser.done) this.#await(nowMs)
    else {
      this.#phase = DRAINING
      this.#deadlineMs = nowMs + DRAIN_MS_MAX
    }
    if (this.#rests && this.#phase === WAITING) {
      this.#phase = RESTING
      this.#deadlineMs = nowMs + REST_MS
      this.#pause()
    } else this.#goOn()
    this.#rests = false
  }

  destroy(): void {
    this.wire.destroy()
  }

  /** Ends the connection when nothing is under way; otherwise its response will. */
  close(): void {
    if (this.idle) this.#close(performance.now())
  }

  // The way of the bytes.

  #advance(bytes: Buffer): void {
    this.#advancing = true
    try {
      this.#readOn(bytes)
    } catch (error) {
      // A defect of ours met by one connection is not everybody's end.
      this.#context.log('warn', `a connection failed: ${(error as Error).message}`)
      this.wire.destroy()
    }
    this.#advancing = false
  }

  #readOn(bytes: Buffer): void {
    const parser = this.#parser
    let at = 0
    for (;;) {
      if (this.#phase === CLOSING || this.wire.socket.destroyed) break
      // A client that does not read its answers gets no more of them.
      const held =
        this.#phase === RESTING || (this.#exchange === undefined ? this.#stalledSinceMs !== NEVER : parser.done || !this.#flowing)
      if (held) {
        if (at < bytes.length) this.#keep(bytes, at)
        break
      }
      const event = parser.read(bytes, at)
      at = parser.at
      if (event === MORE) {
        if (this.#phase === WAITING && !parser.idle) {
          this.#phase = IN_HEAD
          // The first request's time runs from the connection's beginning.
          if (this.#requests > 0) this.#deadlineMs = performance.now() + this.#context.limits.headersMsMax
        } else if (this.#phase === EXCHANGING && this.#flowing) this.#bodyAwaited()
        break
      }
      if (event === BODY) {
        if (this.#exchange !== undefined) this.#exchange.onRequestBody(bytes.subarray(parser.from, parser.to))
        else if ((this.#drainedBytes += parser.to - parser.from) > DRAIN_BYTES_MAX) this.wire.destroy()
      } else if (event === HEAD) {
        if (this.#requests > 0 && ++this.#pipelined > PIPELINED_MAX) {
          this.wire.destroy()
          break
        }
        this.#begin()
      } else if (event === END) {
        if (this.#exchange !== undefined) {
          this.#deadlineMs = NEVER
          this.#exchange.onRequestEnd()
        } else this.#await(performance.now())
      } else {
        this.#broken()
        break
      }
    }
  }

  #begin(): void {
    const request = this.#parser.request!
    this.#requests++
    this.#phase = EXCHANGING
    this.#deadlineMs = NEVER
    this.#flowing = false
    this.#drainedBytes = 0
    const exchange = new Exchange(this.#context, this, request)
    this.#requestDeadlineMs = exchange.startMs + this.#context.limits.requestMsMax
    this.#exchange = exchange
    exchange.start()
  }

  #broken(): void {
    const { refused, status } = this.#parser.problem!
    if (this.#exchange !== undefined) this.#exchange.onRequestBroken(status, refused)
    else if (this.#phase === DRAINING) this.wire.destroy()
    else this.#refuse(status)
  }

  /** What never became a request. */
  #refuse(status: number): void {
    const { counters, options } = this.#context
    counters.requests++
    counters.malformed++
    counters.denied++
    this.wire.text(refusalText(status, options.recorder.requestId(options.node)))
    this.#close(performance.now())
  }

  /** Ends our half and reads a little of what the client still sends, so that it sees our answer rather than a reset. */
  #close(nowMs: number): void {
    this.#phase = CLOSING
    this.#deadlineMs = nowMs + DRAIN_MS_MAX
    this.#rest = undefined
    this.wire.end()
    this.#unpause()
  }

  /** For the next request. */
  #await(nowMs: number): void {
    this.#parser.next()
    this.#phase = WAITING
    this.#deadlineMs = nowMs + this.#context.limits.keepAliveMsMax
    if (this.#context.stopping && this.#rest === undefined) this.#close(nowMs)
  }

  #bodyAwaited(): void {
    this.#deadlineMs = Math.min(this.#requestDeadlineMs, performance.now() + this.#context.limits.bodyStallMsMax)
  }

  #keep(bytes: Buffer, at: number): void {
    this.#rest = Buffer.from(bytes.subarray(at))
    this.#pause()
  }

  #goOn(): void {
    if (this.#advancing) return
    const rest = this.#rest
    if (rest === undefined) {
      this.#unpause()
      return
    }
    this.#rest = undefined
    this.#advance(rest)
    if (this.#rest === undefined) this.#unpause()
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.wire.pause()
  }

  #unpause(): void {
    if (!this.#paused) return
    this.#paused = false
    this.wire.resume()
  }
}
