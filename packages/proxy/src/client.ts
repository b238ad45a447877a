/** The client's side of one exchange, which HTTP/1.1 and HTTP/2 each have in their own way. */
import type { Peer } from '@ringwall/guard'
import type { Listener } from './listener.ts'
import type { RequestHead } from './request-head.ts'
import type { ResponseHead } from './response-parser.ts'
import type { Standing } from './standing.ts'
import type { Wire } from './wire.ts'

/** How long before its certificate ends a client has to come with another connection. */
const EXPIRY_MARGIN_MS = 5_000

/** Whether a connection is to take nothing new: whom its certificate names is soon not known by it any more. */
export function isExpiring(peer: Peer | undefined): boolean {
  return peer !== undefined && Date.now() > peer.expiresAtMs - EXPIRY_MARGIN_MS
}

/** What a client's TLS shows of it; nothing of one that comes without. */
export interface ShownInTls {
  readonly ja4?: string | undefined
  readonly clientCertificate?: string | undefined
  readonly peer?: Peer | undefined
}

export interface Client {
  /** Of the connection's other end. */
  readonly address: string
  /** Fingerprint of its TLS. */
  readonly ja4: string | undefined
  /** SHA-256 of the certificate that it showed, base64url. */
  readonly clientCertificate: string | undefined
  /** Who that says that it is. */
  readonly peer: Peer | undefined
  /** Fingerprint of its HTTP/2. */
  readonly http2: string | undefined
  readonly listener: Listener
  /** Whether the request has been read whole. */
  readonly requestComplete: boolean
  /** Lets the body come; `onRequestBody` and `onRequestEnd` follow. @param msMax Until all of it must have been taken. */
  takeBody(msMax: number): void
  pauseBody(): void
  resumeBody(): void
  /** The time that the body may take from here on: `inspectedBodyMsMax` holds for its inspected part only. */
  extendBody(): void
  /** `100 Continue`. */
  sayContinue(): void
  /** Passes an interim response on. */
  inform(head: ResponseHead): void
  /** Begins the response. @param own Names and values to add. @param nowMs Unix milliseconds. */
  respond(head: ResponseHead, request: RequestHead, own: readonly string[], nowMs: number): void
  /** The next bytes of the response; copied. They leave with `flush`. */
  send(bytes: Buffer): void
  /** Writes what waits. Returns whether there is room for more; `onClientDrain` follows when not. */
  flush(): boolean
  /** The response is complete. @param trailers Names and values. @param nowMs Monotonic milliseconds. */
  end(trailers: readonly string[], nowMs: number): void
  /** The whole response, of our own. @param head Undefined: what was asked could not be read. @param nowMs Monotonic milliseconds. */
  refuse(refusal: OwnResponse, head: RequestHead | undefined, nowMs: () => number): void
  /** What follows is no HTTP: 101 and a tunnel. */
  switchProtocols(head: ResponseHead, own: readonly string[], ends: UpstreamEnd, nowMs: number): void
  /** Takes nothing more for a while once the response is out, as far as that holds up nobody else. */
  rest(): void
  /** It was given a rest, and asked on as soon as that was over: more waits than is seen of it. */
  readonly insists: boolean
  /** Cuts the response off: the client must not take what it got for a whole one. */
  destroy(): void
}

/** A response that we make ourselves. */
export interface OwnResponse {
  readonly status: number
  /** Names and values. */
  readonly fields: readonly string[]
  readonly body: string
  /** Whether `100 Continue` was said, if it was asked for. */
  readonly continued: boolean
}

/** The other end of a tunnel. */
export interface UpstreamEnd {
  readonly wire: Wire
  /** What it has said already. */
  readonly rest: Buffer
  /** On whose behalf. */
  readonly source: string
  /** Where it is to be judged again. */
  readonly standing: Standing | undefined
}
