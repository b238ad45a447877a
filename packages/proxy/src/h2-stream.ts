/** One request and its response over HTTP/2: the client's side of an exchange, within the windows of flow control. */
import type { Peer } from '@ringwall/guard'
import type { Client, OwnResponse, UpstreamEnd } from './client.ts'
import { Exchange } from './exchange.ts'
import { httpDate, responseFields } from './forward-head.ts'
import { CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, STREAM_WINDOW, WINDOW_MAX } from './h2-codes.ts'
import type { H2Connection } from './h2-connection.ts'
import { encodeField, encodeStatus } from './hpack.ts'
import type { Listener } from './listener.ts'
import type { RequestHead } from './request-head.ts'
import type { RawRequest } from './request-parser.ts'
import type { ResponseHead } from './response-parser.ts'

const NEVER = Number.POSITIVE_INFINITY

export class H2Stream implements Client {
  readonly id: number
  /** The client has sent all of it. */
  remoteEnded: boolean
  readonly #connection: H2Connection
  readonly #request: RawRequest
  #exchange: Exchange | undefined
  /** Body that nobody takes yet: what the window lets the client send ahead. */
  #inbox: Buffer[] = []
  #inboxBytes = 0
  #flowing = false
  #delivering = false
  #complete: boolean
  #malformed = false
  #received = 0
  #receiveWindow = STREAM_WINDOW
  #consumed = 0
  /** Response that the client has no window for. */
  #outbox: Buffer[] = []
  #outboxBytes = 0
  #sendWindow: number
  /** Bytes of response still due, as far as the upstream said. */
  #due: number | undefined
  /** Set once the response is complete. */
  #trailers: readonly string[] | undefined
  #localEnded = false
  #gone = false
  #stalledSinceMs = NEVER
  #deadlineMs = NEVER
  #requestDeadlineMs: number

  constructor(connection: H2Connection, id: number, sendWindow: number, request: RawRequest, ended: boolean) {
    this.#connection = connection
    this.id = id
    this.#sendWindow = sendWindow
    this.#request = request
    this.remoteEnded = ended
    this.#complete = ended
    this.#requestDeadlineMs = performance.now() + connection.context.limits.requestMsMax
  }

  start(): void {
    const exchange = new Exchange(this.#connection.context, this, this.#request)
    this.#exchange = exchange
    exchange.start()
  }

  // From the connection.

  /**
   * @param flowBytes What it takes of the window, padding included.
   * @returns False when that is more than there was.
   */
  onData(data: Buffer, flowBytes: number, ends: boolean): boolean {
    this.#receiveWindow -= flowBytes
    if (this.#receiveWindow < 0) return false
    this.#widen(flowBytes - data.length)
    this.#received += data.length
    if (ends) this.remoteEnded = true
    const { head } = this.#request
    const declared = 'refused' in head ? undefined : head.contentLength
    // Section 8.1.1: frames and Content-Length must agree, or two readers could end the message in two places.
    if (declared !== undefined && (this.#received > declared || (ends && this.#received !== declared))) {
      this.#connection.consume(data.length)
      this.#inboxTaken()
      this.#malformed = true
      const exchange = this.#exchange
      if (exchange !== undefined) exchange.onRequestBroken(400, 'more or less body than Content-Length says')
      else this.destroy()
      return true
    }
    if (data.length > 0) {
      if (this.#exchange === undefined) this.#connection.consume(data.length)
      else if (this.#flowing && this.#inbox.length === 0 && !this.#delivering) {
        this.#delivering = true
        this.#exchange.onRequestBody(data)
        this.#delivering = false
        this.#take(data.length)
      } else {
        this.#inbox.push(Buffer.from(data))
        this.#inboxBytes += data.length
      }
      this.#bodyAwaited()
    }
    this.#deliver()
    return true
  }

  /** The client has taken its request back, or has gone. */
  onGone(): void {
    if (this.#gone) return
    this.#gone = true
    this.#inboxTaken()
    this.#outbox = []
    this.#outboxBytes = 0
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.onClientGone()
  }

  /** @returns False when the window would be larger than any may be. It may become negative (section 6.9.2). */
  changeWindow(change: number): boolean {
    this.#sendWindow += change
    return this.#sendWindow <= WINDOW_MAX
  }

  /** Sends on what waits, as far as windows and the socket let it. */
  pump(): void {
    if (this.#gone) return
    const had = this.#outboxBytes > 0
    while (this.#outbox.length > 0) {
      const first = this.#outbox[0]!
      const last = this.#outbox.length === 1 && this.#trailers !== undefined && this.#trailers.length === 0
      const sent = this.#sendNow(first, last)
      this.#outboxBytes -= sent
      if (sent < first.length) {
        if (sent > 0) {
          this.#outbox[0] = first.subarray(sent)
          this.#stalledSinceMs = performance.now()
        }
        break
      }
      this.#outbox.shift()
    }
    if (this.#outboxBytes > 0) return
    this.#stalledSinceMs = NEVER
    if (this.#trailers !== undefined) this.#finish()
    else if (!this.#connection.congested) this.#exchange?.onClientDrain()
    if (had) this.#connection.flush()
  }

  sweep(nowMs: number): void {
    const { limits } = this.#connection.context
    if (nowMs - this.#stalledSinceMs > limits.clientStallMsMax) {
      this.#connection.forget(this, CANCEL)
      this.onGone()
    } else if (nowMs >= this.#deadlineMs) {
      this.#deadlineMs = NEVER
      this.#exchange?.onRequestLate()
    }
  }

  // For the exchange.

  get address(): string {
    return this.#connection.address
  }

  get ja4(): string | undefined {
    return this.#connection.ja4
  }

  get clientCertificate(): string | undefined {
    return this.#connection.clientCertificate
  }

  get peer(): Peer | undefined {
    return this.#connection.peer
  }

  get http2(): string | undefined {
    return this.#connection.fingerprint.text
  }

  get listener(): Listener {
    return this.#connection.listener
  }

  get requestComplete(): boolean {
    return this.#complete
  }

  takeBody(msMax: number): void {
    this.#flowing = true
    this.#requestDeadlineMs = Math.min(this.#requestDeadlineMs, performance.now() + msMax)
    this.#bodyAwaited()
    this.#deliver()
    this.#connection.flush()
  }

  pauseBody(): void {
    this.#flowing = false
    // Waiting for the upstream is not the client's fault.
    this.#deadlineMs = NEVER
  }

  resumeBody(): void {
    if (this.#flowing) return
    this.#flowing = true
    this.#bodyAwaited()
    this.#deliver()
    // Whoever takes more does so at a time of its own: what the client may send now must not wait for its next word.
    this.#connection.flush()
  }

  extendBody(): void {
    this.#requestDeadlineMs = performance.now() + this.#connection.context.limits.requestMsMax
  }

  sayContinue(): void {
    this.#connection.sendHeaders(this.id, encodeStatus(100), false)
    this.flush()
  }

  inform(head: ResponseHead): void {
    this.#connection.sendHeaders(this.id, encoded(head.status, responseFields(head.status, head.rawHeaders, 0, NONE)), false)
  }

  respond(head: ResponseHead, request: RequestHead, own: readonly string[], nowMs: number): void {
    const { status, bodyBytes } = head
    const fields = responseFields(status, head.rawHeaders, nowMs, this.listener.ownFields)
    const bodyless = request.method === 'HEAD' || status === 304
    const length = bodyless ? head.contentLength : status === 204 ? undefined : bodyBytes
    if (length !== undefined) fields.push('content-length', String(length))
    this.#due = bodyless || status === 204 ? 0 : bodyBytes
    this.#localEnded = this.#due === 0
    this.#connection.sendHeaders(this.id, encoded(status, fields, own), this.#localEnded)
  }

  send(bytes: Buffer): void {
    if (this.#localEnded || this.#gone) return
    let last = false
    if (this.#due !== undefined) {
      this.#due -= bytes.length
      last = this.#due === 0
    }
    const sent = this.#outbox.length === 0 ? this.#sendNow(bytes, last) : 0
    if (sent === bytes.length) {
      this.#localEnded = last
      return
    }
    this.#outbox.push(Buffer.from(bytes.subarray(sent)))
    if (this.#outboxBytes === 0) this.#stalledSinceMs = performance.now()
    this.#outboxBytes += bytes.length - sent
  }

  flush(): boolean {
    return this.#connection.flush() && this.#outboxBytes === 0
  }

  end(trailers: readonly string[], _nowMs: number): void {
    this.#exchange = undefined
    this.#trailers = trailers
    this.#inboxTaken()
    this.pump()
    this.#connection.flush()
  }

  /** Other streams of the connection may be others' requests. */
  rest(): void {}

  get insists(): boolean {
    return false
  }

  refuse({ status, fields, body }: OwnResponse, _head: RequestHead | undefined, nowMs: () => number): void {
    this.#localEnded = body === ''
    const all = ['date', httpDate(Date.now()), ...fields]
    this.#connection.sendHeaders(this.id, encoded(status, all), this.#localEnded)
    this.#due = body.length
    if (body !== '') this.send(Buffer.from(body, 'latin1'))
    this.end(NONE, nowMs())
  }

  /** Not over HTTP/2: nobody can have asked for it. */
  switchProtocols(_head: ResponseHead, _own: readonly string[], { wire }: UpstreamEnd): void {
    wire.destroy()
    this.destroy()
  }

  destroy(): void {
    this.#connection.forget(this, INTERNAL_ERROR)
    this.onGone()
    this.#connection.flush()
  }

  // The rest.

  #sendNow(bytes: Buffer, last: boolean): number {
    const sent = this.#connection.sendData(this.id, bytes, this.#sendWindow, last)
    this.#sendWindow -= sent
    if (last && sent === bytes.length) this.#localEnded = true
    return sent
  }

  /** All of the response has gone out. */
  #finish(): void {
    const trailers = this.#trailers!
    if (!this.#localEnded) {
      this.#localEnded = true
      if (trailers.length === 0) this.#connection.sendEnd(this.id)
      else this.#connection.sendHeaders(this.id, encodedFields(trailers), true)
    }
    this.#gone = true
    // Answered before the upload was complete: the rest of it is not wanted (section 8.1).
    this.#connection.forget(this, this.#malformed ? PROTOCOL_ERROR : this.remoteEnded ? undefined : NO_ERROR)
  }

  #deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    while (this.#flowing && this.#inbox.length > 0 && this.#exchange !== undefined) {
      const bytes = this.#inbox.shift()!
      this.#inboxBytes -= bytes.length
      this.#exchange.onRequestBody(bytes)
      this.#take(bytes.length)
    }
    this.#delivering = false
    if (!this.#flowing || this.#inbox.length > 0 || !this.remoteEnded || this.#complete) return
    this.#complete = true
    this.#deadlineMs = NEVER
    this.#exchange?.onRequestEnd()
  }

  #take(bytes: number): void {
    this.#connection.consume(bytes)
    this.#widen(bytes)
  }

  #widen(bytes: number): void {
    this.#consumed += bytes
    if (this.#consumed < STREAM_WINDOW / 2 || this.remoteEnded || this.#gone) return
    this.#receiveWindow += this.#consumed
    this.#connection.widen(this.id, this.#consumed)
    this.#consumed = 0
  }

  /** Nobody will take it any more: other streams may have its room. */
  #inboxTaken(): void {
    this.#inbox = []
    this.#connection.consume(this.#inboxBytes)
    this.#inboxBytes = 0
  }

  #bodyAwaited(): void {
    if (this.#flowing && !this.#complete)
      this.#deadlineMs = Math.min(this.#requestDeadlineMs, performance.now() + this.#connection.context.limits.bodyStallMsMax)
  }
}

const NONE: readonly string[] = []

function encoded(status: number, fields: readonly string[], more: readonly string[] = NONE): string {
  return encodeStatus(status) + encodedFields(fields) + encodedFields(more)
}

function encodedFields(fields: readonly string[]): string {
  let block = ''
  for (let at = 0; at < fields.length; at += 2) block += encodeField(fields[at]!.toLowerCase(), fields[at + 1]!)
  return block
}
