/**
 * A connection to an upstream that speaks HTTP/2 (RFC 9113), by Node's own client: one request at a time, as over HTTP/1.1, so that
 * what bounds connections bounds requests, and nobody's slow stream holds up another's. What goes out is the header section that was made for
 * HTTP/1.1, without what is of that version's connections (section 8.2.2).
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import type { Socket } from 'node:net'
import { RequestFault, UpstreamBroken } from './errors.ts'
import { trimOws } from './header-names.ts'
import { INTERIMS_MAX, type ResponseHead, TOO_MANY_INTERIMS } from './response-parser.ts'
import { type ConnectionOwner, OneRequestConnection, type ResponseListener, type Sending } from './upstream-connection.ts'

/** Of HTTP/1.1 connections (section 8.2.2). `te: trailers` stays: gRPC wants it. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  'connection',
  'transfer-encoding',
  'host',
  'upgrade',
  'keep-alive',
  'proxy-connection',
  'http2-settings',
])
const END_STREAM = 1
/** What the upstream may send ahead of what the client takes. */
const WINDOW_BYTES = 262_144
/** RFC 9113 section 6.5.2. */
const FIELD_OVERHEAD = 32

export class Http2UpstreamConnection extends OneRequestConnection {
  readonly #session: ClientHttp2Session
  readonly #secure: boolean
  #stream: ClientHttp2Stream | undefined
  #answered = false

  /** @param socket Connected, and secured where `secure`. */
  constructor(socket: Socket, secure: boolean, headerBytesMax: number, owner: ConnectionOwner) {
    super(owner)
    this.#secure = secure
    socket.setNoDelay(true)
    // The authority of requests is what they say themselves.
    const options = {
      createConnection: () => socket,
      // A field that comes twice is for the upstream to judge, as it is over HTTP/1.1. Types lack this for clients.
      strictSingleValueFields: false,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES, maxHeaderListSize: headerBytesMax + FIELD_OVERHEAD },
    }
    const session = connect(`${secure ? 'https' : 'http'}://upstream`, options)
    this.#session = session
    session.on('error', ignore)
    session.once('connect', () => session.setLocalWindowSize(WINDOW_BYTES))
    session.on('close', () => this.onClose())
    session.on('goaway', () => {
      // What is under way may end; nothing new.
      if (this.listener === undefined) session.destroy()
    })
  }

  get usable(): boolean {
    return !this.gone && !this.#session.closed && !this.#session.destroyed
  }

  protected get untouched(): boolean {
    return this.carried > 0 && !this.#answered
  }

  send(listener: ResponseListener, head: string, body: Buffer | undefined, request: Sending, nowMs: number): boolean {
    this.begin(listener, request, nowMs)
    this.#answered = false
    if (request.upgrade) {
      this.#refuseSoon(new RequestFault(501, 'WebSockets go to upstreams over HTTP/1.1'))
      return true
    }
    let stream: ClientHttp2Stream
    try {
      const endStream = request.complete && body === undefined
      stream = this.#session.request(headersOf(head, this.#secure ? 'https' : 'http'), { endStream })
    } catch (error) {
      const why = `the request cannot be sent over HTTP/2: ${(error as Error).message}`
      if (this.usable) this.#refuseSoon(new RequestFault(400, why))
      else this.#failSoon(why)
      return true
    }
    this.#stream = stream
    this.#listen(stream, request.method)
    if (body === undefined) return true
    if (!request.complete) return this.wrote(stream.write(Buffer.from(body)))
    stream.end(Buffer.from(body))
    return true
  }

  #listen(stream: ClientHttp2Stream, method: string): void {
    let trailers: readonly string[] = []
    let interims = 0
    const guarded = (step: (listener: ResponseListener) => void): void => {
      const listener = this.listener
      if (stream !== this.#stream || listener === undefined) return
      this.activeAtMs = performance.now()
      try {
        step(listener)
      } catch (error) {
        // Whatever the response did to us, it does to this request alone.
        this.fail(new UpstreamBroken(`passing its response on failed: ${(error as Error).message}`))
      }
    }
    // Types lack the third argument: names and values as received.
    const events = stream as unknown as {
      on(event: 'headers' | 'response' | 'trailers', listener: (_: object, flags: number, raw: readonly string[]) => void): void
    }
    events.on('headers', (_, _flags, raw) => {
      guarded((listener) => {
        if (++interims > INTERIMS_MAX) this.fail(new UpstreamBroken(TOO_MANY_INTERIMS))
        else listener.onInterim(responseHead(raw, false, method))
      })
    })
    events.on('response', (_, flags, raw) => {
      guarded((listener) => {
        this.#answered = true
        listener.onHead(responseHead(raw, (flags & END_STREAM) !== 0, method))
        if (this.listener !== undefined) this.listener.onQuiet()
      })
    })
    events.on('trailers', (_, _flags, raw) => {
      trailers = fieldsOf(raw)
    })
    stream.on('data', (bytes: Buffer) =>
      guarded((listener) => {
        listener.onBody(bytes)
        this.listener?.onQuiet()
      }),
    )
    stream.on('drain', () => guarded(() => this.onDrain()))
    stream.on('end', () => {
      // Of a stream that broke, too.
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR || stream.aborted || !this.#answered) return
      guarded((listener) => {
        this.listener = undefined
        listener.onEnd(trailers)
        this.#free(stream)
      })
    })
    stream.on('error', ignore)
    stream.on('close', () => {
      if (stream !== this.#stream || this.listener === undefined) return
      const { rstCode } = stream
      const why = rstCode === constants.NGHTTP2_NO_ERROR ? 'it broke the connection' : `it reset the stream with code ${rstCode}`
      // A server that goes away refuses what it has not begun (section 8.7).
      const isRefused = rstCode === constants.NGHTTP2_REFUSED_STREAM || rstCode === constants.NGHTTP2_NO_ERROR
      this.broke(why, this.untouched && isRefused)
    })
  }

  write(bytes: Buffer): boolean {
    this.activeAtMs = performance.now()
    return this.wrote(this.#stream?.write(Buffer.from(bytes)) ?? true)
  }

  complete(): void {
    this.wroteAll()
    this.#stream?.end()
  }

  protected stopReading(): void {
    this.#stream?.pause()
  }

  protected goOnReading(): void {
    this.#stream?.resume()
  }

  destroy(): void {
    this.#session.destroy()
  }

  discard(): void {
    this.abandon()
  }

  #free(stream: ClientHttp2Stream): void {
    if (this.gone) return
    this.#stream = undefined
    if (!this.requestWritten || !this.usable) {
      stream.close(constants.NGHTTP2_NO_ERROR)
      this.#session.destroy()
      return
    }
    this.carried++
    this.activeAtMs = performance.now()
    this.owner.onFree(this)
  }

  /** Whoever sends has not got this connection back yet. */
  #failSoon(why: string): void {
    setImmediate(() => this.fail(new UpstreamBroken(why, this.untouched)))
  }

  /** The same of a request of which nothing was sent: the connection is as good as it was. */
  #refuseSoon(fault: RequestFault): void {
    setImmediate(() => {
      const { listener } = this
      if (listener === undefined) return
      this.listener = undefined
      listener.onFailure(fault)
      if (this.gone) return
      this.activeAtMs = performance.now()
      if (this.usable) this.owner.onFree(this)
      else this.destroy()
    })
  }
}

/** A header section as HTTP/1.1 writes it, as fields of HTTP/2: names and values in turn, in their order, with all that come twice. */
function headersOf(head: string, scheme: string): string[] {
  const [first = '', ...lines] = head.split('\r\n')
  const [method = '', path = ''] = first.split(' ', 2)
  const headers = [':method', method, ':scheme', scheme, ':path', path]
  const fields: string[] = []
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon < 1) continue
    const name = line.slice(0, colon).toLowerCase()
    const value = trimOws(line.slice(colon + 1))
    if (name === 'host') headers.push(':authority', value)
    if (!LEFT_OUT.has(name)) fields.push(name, value)
  }
  return headers.concat(fields)
}

/** Without pseudo-headers. @param raw Names and values in turn. */
function fieldsOf(raw: readonly string[]): string[] {
  const fields: string[] = []
  for (let at = 0; at < raw.length; at += 2) if (raw[at]!.charCodeAt(0) !== 0x3a) fields.push(raw[at]!, raw[at + 1]!)
  return fields
}

function responseHead(raw: readonly string[], ends: boolean, method: string): ResponseHead {
  const at = raw.indexOf(':status')
  const status = Number(raw[at + 1])
  const rawHeaders = fieldsOf(raw)
  let contentLength: string | undefined
  for (let field = 0; field < rawHeaders.length; field += 2)
    if (rawHeaders[field] === 'content-length') contentLength = rawHeaders[field + 1]
  const isBare = ends || method === 'HEAD' || status === 204 || status === 304
  return {
    status,
    statusText: '',
    rawHeaders,
    keepAlive: true,
    keepAliveS: undefined,
    bodyBytes: isBare ? 0 : contentLength === undefined ? undefined : Number(contentLength),
    contentLength,
    upgrade: false,
  }
}

function ignore(): void {}
