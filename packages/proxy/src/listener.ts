/** One address that the proxy listens on, and what holds for all connections to it. */
import type { Server } from 'node:net'
import { Certificates } from './certificates.ts'
import type { ListenerOptions } from './types.ts'

export class Listener {
  readonly options: ListenerOptions
  readonly certificates: Certificates | undefined
  /** What the handshake offers (ALPN, RFC 7301). */
  readonly protocols: readonly string[] = ['http/1.1']
  /** Field lines of every response. */
  readonly ownFields: readonly string[]
  server: Server | undefined
  /** As bound. */
  port: number

  /** @throws {TlsFilesInvalid} */
  constructor(options: ListenerOptions, log: (level: 'info' | 'warn', line: string) => void) {
    this.options = options
    this.port = options.port
    this.certificates = options.tls === undefined ? undefined : new Certificates(options.tls, log)
    this.ownFields = options.tls?.hsts === undefined ? [] : ['strict-transport-security', options.tls.hsts]
  }

  get secure(): boolean {
    return this.certificates !== undefined
  }
}
