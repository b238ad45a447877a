/**
 * A connection before its first request: the word of a balancer on whose it is, then what it says over TLS, are read and checked
 * here; then the TLS engine has it, then HTTP.
 *
 * Bounded: an arrival holds at most one header and one ClientHello, has one deadline for all of it, and is the first to go when there are too
 * many: a client that means it is done within a round trip or two, and so is never among the oldest.
 */
import { hash, type X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import type { Peer } from '@ringwall/guard'
import { ACME_PROTOCOL } from './acme-answers.ts'
import { ALERT_UNRECOGNIZED_NAME, HELLO_BYTES_MAX, readClientHello } from './client-hello.ts'
import type { Connection, Context } from './context.ts'
import { HeldBody } from './held-body.ts'
import { ja4 } from './ja4.ts'
import type { Listener } from './listener.ts'
import { PREAMBLE_BYTES_MAX, readPreamble } from './proxy-protocol.ts'
import { refusalText } from './refusal.ts'

/** Enough to tell HTTP/2 from HTTP/1.1. */
const START_BYTES = 4

/** Whom a connection becomes. */
export interface Arrivals {
  /** Whether connections of this source are taken: it is known only now. */
  admits(source: string): boolean
  /** What follows is plain HTTP, of which this is there already. */
  onPlain(arrival: Arrival, socket: Socket, rest: Buffer): void
  /** The handshake is done. */
  onSecured(arrival: Arrival, socket: TLSSocket): void
  onGone(arrival: Arrival): void
}

export class Arrival implements Connection {
  /** Of the other end, or of whom it speaks for. */
  address: string
  readonly listener: Listener
  /** Known once the ClientHello is. */
  ja4: string | undefined
  /** SHA-256 of the certificate that the client showed, base64url; known once the handshake is done. */
  clientCertificate: string | undefined
  peer: Peer | undefined
  readonly #context: Context
  readonly #arrivals: Arrivals
  readonly #socket: Socket
  readonly #deadlineMs: number
  #held = new HeldBody()
  #announced: boolean
  #secured: TLSSocket | undefined
  #over = false

  /**
   * @param socket Not read from yet.
   * @param announced Whether it begins with a header of the PROXY protocol.
   */
  constructor(context: Context, listener: Listener, socket: Socket, address: string, announced: boolean, arrivals: Arrivals) {
    this.#context = context
    this.listener = listener
    this.address = address
    this.#arrivals = arrivals
    this.#socket = socket
    this.#announced = announced
    this.#deadlineMs = performance.now() + context.limits.handshakeMsMax
    socket.on('readable', this.#onReadable)
    socket.on('error', ignore)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onClose)
  }

  get gone(): boolean {
    return this.#over
  }

  /** It has not said a word yet. */
  get silent(): boolean {
    return this.#held.length === 0 && this.#secured === undefined
  }

  /** There are few of them at most, and the oldest goes anyway. */
  expendable(): boolean {
    return false
  }

  sweep(nowMs: number): void {
    if (nowMs >= this.#deadlineMs) this.#fail()
  }

  /** Nothing is under way that was worth waiting for. */
  close(): void {
    this.destroy()
  }

  destroy(): void {
    this.#end()
    this.#secured?.destroy()
    this.#socket.destroy()
  }

  readonly #onReadable = (): void => {
    const bytes = this.#socket.read() as Buffer | null
    if (bytes === null || this.#over) return
    // Past the bound the reader refuses: it needs to see one byte more.
    this.#held.add(bytes, PREAMBLE_BYTES_MAX + HELLO_BYTES_MAX)
    try {
      if (this.#announced) this.#readPreamble()
      else if (this.listener.secure) this.#readHello()
      else this.#readStart()
    } catch (error) {
      this.#context.log('warn', `a connection failed before its handshake: ${(error as Error).message}`)
      this.#fail()
    }
  }

  readonly #onEnd = (): void => {
    // A balancer that only looks whether somebody listens says nothing.
    if (this.#held.length === 0) this.destroy()
    else this.#fail()
  }

  readonly #onClose = (): void => {
    if (this.#held.length > 0) this.#count()
    this.#end()
  }

  #readPreamble(): void {
    const bytes = this.#held.bytes
    const reading = readPreamble(bytes)
    if (reading.kind === 'more') return
    if (reading.kind === 'refused') {
      this.#fail()
      return
    }
    this.#announced = false
    if (reading.source !== undefined) {
      this.address = reading.source
      if (!this.#arrivals.admits(reading.source)) {
        this.#end()
        this.#socket.resetAndDestroy()
        return
      }
    }
    const rest = bytes.subarray(reading.bytes)
    this.#held = new HeldBody()
    if (rest.length > 0) this.#held.add(rest, HELLO_BYTES_MAX)
    if (!this.listener.secure) this.#readStart()
    else if (rest.length > 0) this.#readHello()
  }

  /** Plain HTTP: which version shows in the first bytes, where there is a choice. */
  #readStart(): void {
    const { bytes } = this.#held
    if (this.listener.options.http2 === true && bytes.length < START_BYTES) return
    const socket = this.#socket
    socket.off('readable', this.#onReadable)
    socket.off('end', this.#onEnd)
    socket.off('close', this.#onClose)
    socket.off('error', ignore)
    this.#end()
    this.#arrivals.onPlain(this, socket, bytes)
  }

  #readHello(): void {
    const bytes = this.#held.bytes
    const reading = readClientHello(bytes)
    if (reading.kind === 'more') return
    if (reading.kind === 'refused') {
      this.#refuse(reading.alert)
      return
    }
    const proof = this.#context.acme.contextFor(reading.hello.serverName, reading.hello.alpn)
    if (proof !== undefined) {
      this.#prove(proof, bytes)
      return
    }
    const secureContext = this.listener.contextFor(reading.hello.serverName)
    if (secureContext === undefined) {
      this.#refuse(ALERT_UNRECOGNIZED_NAME)
      return
    }
    this.ja4 = ja4(reading.hello)
    const socket = this.#socket
    socket.off('readable', this.#onReadable)
    socket.off('end', this.#onEnd)
    // The engine takes what was read already from the socket's own buffer.
    socket.unshift(Buffer.from(bytes))
    const wanted = this.listener.options.tls?.clientCertificates
    const asks = wanted !== undefined
    const secured = new TLSSocket(socket, {
      isServer: true,
      secureContext,
      ALPNProtocols: this.listener.protocols,
      requestCert: asks,
      // By whomever it is issued: see `TlsOptions.clientCertificates`.
      rejectUnauthorized: false,
    })
    this.#secured = secured
    secured.on('error', ignore)
    secured.on('_tlsError', onTlsError)
    secured.once('secure', () => {
      if (this.#over) return
      const { counters } = this.#context
      counters.tlsHandshakes++
      if (secured.isSessionReused()) counters.tlsResumed++
      // That of the first handshake, where a session is resumed.
      const shown = asks ? secured.getPeerX509Certificate() : undefined
      if (shown !== undefined) {
        this.clientCertificate = hash('sha256', shown.raw, 'base64url')
        this.peer = this.#context.options.peer?.(shown, Date.now())
      }
      if (wanted === 'require' && this.peer === undefined) {
        counters.tlsFailed++
        const showed = shown === undefined ? 'no certificate' : `a certificate that is not taken (${namesOf(shown)})`
        this.#context.log('warn', `a client from ${this.address} is not let in: it shows ${showed}`)
        this.destroy()
        return
      }
      socket.off('close', this.#onClose)
      this.#end()
      this.#arrivals.onSecured(this, secured)
    })
  }

  /** The handshake is all that an ACME server wants to see (RFC 8737 section 3). */
  #prove(secureContext: SecureContext, bytes: Buffer): void {
    const socket = this.#socket
    socket.off('readable', this.#onReadable)
    socket.off('end', this.#onEnd)
    socket.unshift(Buffer.from(bytes))
    const secured = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: [ACME_PROTOCOL] })
    this.#secured = secured
    secured.on('error', ignore)
    secured.on('_tlsError', onTlsError)
    secured.once('secure', () => {
      socket.off('close', this.#onClose)
      this.#end()
      secured.destroySoon()
    })
  }

  #refuse(alert: number): void {
    const first = this.#held.bytes[0]!
    // Somebody speaks HTTP to a port of TLS: worth a word that people can read.
    const words =
      first >= 65 && first <= 90
        ? refusalText(
            400,
            this.#context.options.recorder.requestId(this.#context.options.node),
            'this port speaks TLS: use https',
          )
        : Buffer.from([21, 3, 3, 0, 2, 2, alert])
    this.#context.counters.tlsFailed++
    this.#end()
    const socket = this.#socket
    socket.off('readable', this.#onReadable)
    socket.write(words, 'latin1')
    socket.destroySoon()
  }

  #fail(): void {
    this.#count()
    this.destroy()
  }

  #count(): void {
    if (this.#over) return
    if (this.#announced) this.#context.counters.proxyHeadersRefused++
    else this.#context.counters.tlsFailed++
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#arrivals.onGone(this)
  }
}

/** For people: what a certificate says, which nobody vouches for. */
function namesOf({ subjectAltName, subject }: X509Certificate): string {
  return (subjectAltName ?? subject ?? 'without a name').slice(0, 200).replaceAll(/[^\x20-\x7e]/g, '?')
}

/** After the handshake, too: a record that does not decrypt ends the connection, which the engine leaves to us. */
function onTlsError(this: TLSSocket): void {
  this.destroy()
}

function ignore(): void {}
