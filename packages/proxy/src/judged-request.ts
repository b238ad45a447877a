/** A request as the guard sees it. */
import type { GuardRequest, Peer } from '@ringwall/guard'
import type { HeaderField } from '@ringwall/waf'
import type { Client } from './client.ts'
import type { RequestHead } from './request-head.ts'
import type { RawRequest } from './request-parser.ts'

/** The list of fields is made when somebody asks for it: most checks do not. */
export class JudgedRequest implements GuardRequest {
  readonly method: string
  readonly target: string
  readonly httpVersion: string
  readonly remoteAddress: string
  readonly host: string
  readonly path: string
  readonly requestId: string
  readonly serverPort: number
  readonly ja4: string | undefined
  readonly clientCertificate: string | undefined
  readonly peer: Peer | undefined
  readonly http2: string | undefined
  readonly pressed: boolean
  readonly secure: boolean
  readonly #rawHeaders: readonly string[]
  #headers: readonly HeaderField[] | undefined

  constructor(
    request: RawRequest,
    head: RequestHead,
    remoteAddress: string,
    requestId: string,
    client: Client,
    pressed: boolean,
    secure: boolean,
  ) {
    this.method = head.method
    this.target = head.target
    this.httpVersion = request.httpVersion
    this.remoteAddress = remoteAddress
    this.host = head.host
    this.path = head.path
    this.requestId = requestId
    this.serverPort = client.listener.port
    this.ja4 = client.ja4
    this.clientCertificate = client.clientCertificate
    this.peer = client.peer
    this.http2 = client.http2
    this.pressed = pressed
    this.secure = secure
    this.#rawHeaders = request.rawHeaders
  }

  get headers(): readonly HeaderField[] {
    if (this.#headers !== undefined) return this.#headers
    const raw = this.#rawHeaders
    const headers: HeaderField[] = new Array(raw.length >> 1)
    for (let at = 0; at < raw.length; at += 2) headers[at >> 1] = [raw[at]!, raw[at + 1]!]
    this.#headers = headers
    return headers
  }
}
