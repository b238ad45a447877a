/** Errors of the proxy. Switch on `code`: it is stable, the message is for people. */
export abstract class ProxyError extends Error {
  abstract readonly code:
    | 'PROXY_LISTEN_FAILED'
    | 'PROXY_TLS_FILES_INVALID'
    | 'PROXY_UPSTREAM_UNREACHABLE'
    | 'PROXY_UPSTREAM_FULL'
    | 'PROXY_UPSTREAM_BROKEN'
    | 'PROXY_UPSTREAM_TIMEOUT'
    | 'PROXY_REQUEST_FAULT'
}

/** The listener could not be opened. */
export class ListenFailed extends ProxyError {
  override readonly name = 'ListenFailed'
  readonly code = 'PROXY_LISTEN_FAILED'
  readonly host: string
  readonly port: number
  constructor(host: string, port: number, why: string, options?: ErrorOptions) {
    super(`cannot listen on ${host}:${port}: ${why}`, options)
    this.host = host
    this.port = port
  }
}

/** A certificate or its private key cannot be used. The message never holds what is in the files. */
export class TlsFilesInvalid extends ProxyError {
  override readonly name = 'TlsFilesInvalid'
  readonly code = 'PROXY_TLS_FILES_INVALID'
  readonly file: string
  constructor(file: string, why: string) {
    super(`${file}: ${why}`)
    this.file = file
  }
}

/** No connection: nothing of the request has been sent. */
export class UpstreamUnreachable extends ProxyError {
  override readonly name = 'UpstreamUnreachable'
  readonly code = 'PROXY_UPSTREAM_UNREACHABLE'
}

/** It carries as many requests as the service's `circuit` lets it: nothing of this one has been sent. */
export class UpstreamFull extends ProxyError {
  override readonly name = 'UpstreamFull'
  readonly code = 'PROXY_UPSTREAM_FULL'
}

/** The connection broke, or what came over it is not HTTP. */
export class UpstreamBroken extends ProxyError {
  override readonly name = 'UpstreamBroken'
  readonly code = 'PROXY_UPSTREAM_BROKEN'
  /** A kept connection that ended without a byte of response: it was most likely closed before we wrote. */
  readonly stale: boolean
  constructor(message: string, stale = false) {
    super(message)
    this.stale = stale
  }
}

/** The upstream was silent for longer than its service's `upstreamTimeout`. */
export class UpstreamTimeout extends ProxyError {
  override readonly name = 'UpstreamTimeout'
  readonly code = 'PROXY_UPSTREAM_TIMEOUT'
}

/** The request itself could not be sent, or not to its end: no upstream is to blame for it. */
export class RequestFault extends ProxyError {
  override readonly name = 'RequestFault'
  readonly code = 'PROXY_REQUEST_FAULT'
  /** What its client is answered. */
  readonly status: 400 | 408 | 501
  constructor(status: 400 | 408 | 501, message: string) {
    super(message)
    this.status = status
  }
}

export type AnyProxyError =
  | ListenFailed
  | TlsFilesInvalid
  | UpstreamUnreachable
  | UpstreamFull
  | UpstreamBroken
  | UpstreamTimeout
  | RequestFault
