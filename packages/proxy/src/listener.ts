/** One address that the proxy listens on, and what holds for all connections to it. */
import type { Server } from 'node:net'
import type { SecureContext } from 'node:tls'
import { type Prefix, parseAddress, parsePrefix, prefixContains } from '@ringwall/ring'
import { Certificates } from './certificates.ts'
import type { TicketSecret } from './ticket-secret.ts'
import type { ListenerOptions, TlsSource, Unseal } from './types.ts'

export class Listener {
  readonly options: ListenerOptions
  readonly certificates: Certificates | undefined
  readonly #source: TlsSource | undefined
  /** What the handshake offers (ALPN, RFC 7301). */
  readonly protocols: readonly string[]
  /** Field lines of every response. */
  readonly ownFields: readonly string[]
  readonly #balancers: readonly Prefix[]
  /** All on the one port. */
  servers: readonly Server[] = []
  /** As bound. */
  port: number

  /** @throws {TlsFilesInvalid} */
  constructor(
    options: ListenerOptions,
    log: (level: 'info' | 'warn', line: string) => void,
    ticketSecret?: TicketSecret,
    unseal?: Unseal,
  ) {
    this.options = options
    this.port = options.port
    this.protocols = options.http2 === true ? ['h2', 'http/1.1'] : ['http/1.1']
    this.#source = options.tls?.source
    const isOfFiles = options.tls !== undefined && this.#source === undefined
    this.certificates = isOfFiles ? new Certificates(options.tls, log, ticketSecret, unseal) : undefined
    this.#balancers = (options.proxyProtocol?.from ?? []).map((text) => {
      const prefix = parsePrefix(text)
      if (prefix === undefined) throw new TypeError(`${text} is no prefix`)
      return prefix
    })
    this.ownFields = options.tls?.hsts === undefined ? [] : ['strict-transport-security', options.tls.hsts]
  }

  /** Whether a connection from there begins with a header of the PROXY protocol. */
  announces(peer: string): boolean {
    if (this.#balancers.length === 0) return false
    const address = parseAddress(peer)
    return address !== undefined && this.#balancers.some((prefix) => prefixContains(prefix, address))
  }

  /** For the name that a client asks for; undefined: refuse it. */
  contextFor(serverName: string | undefined): SecureContext | undefined {
    return (this.#source ?? this.certificates)?.contextFor(serverName)
  }

  get secure(): boolean {
    return this.options.tls !== undefined
  }
}
