/** A request as the guard sees it. */
import type { GuardRequest, Peer } from '@ringwall/guard'
import type { HeaderField } from '@ringwall/waf'
import type { Client } from './client.ts'
import { headerPairs } from './header-pairs.ts'
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
  readonly #request: RawRequest
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
    this.#request = request
  }

  get headers(): readonly HeaderField[] {
    this.#headers ??= headerPairs(this.#request.rawHeaders, this.#request.section)
    return this.#headers
  }
}
