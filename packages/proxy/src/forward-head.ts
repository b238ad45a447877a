/** The two heads that pass through us, rewritten: request to upstream, response to client. Pure. */
import { connectionTokens, HOP_BY_HOP, lowerName } from './header-names.ts'
import type { RequestHead } from './request-head.ts'

/** Ours to say. A client's own are dropped, also in spellings that a CGI-like upstream reads as the same (`X_Forwarded_For`). */
const OURS: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'expect',
  'trailer',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-forwarded-server',
  'x-real-ip',
  // Some upstreams route by these instead of the target that was judged.
  'x-original-url',
  'x-rewrite-url',
  'x-request-id',
  'traceparent',
  'tracestate',
])

const DROPPED_MAX = 2_048
const dropped = new Map<string, boolean>()

/** Whether a request header stays behind; remembered by its spelling. */
function isDropped(name: string): boolean {
  const found = dropped.get(name)
  if (found !== undefined) return found
  const lower = lowerName(name)
  const plain = lower?.replaceAll('_', '-')
  const drop =
    lower === undefined || plain === undefined || HOP_BY_HOP.has(plain) || OURS.has(plain) || plain.startsWith('x-ringwall-')
  if (dropped.size >= DROPPED_MAX) dropped.clear()
  dropped.set(name, drop)
  return drop
}

export interface Forwarding {
  readonly head: RequestHead
  readonly rawHeaders: readonly string[]
  /** Bytes of body; undefined: chunked. */
  readonly bodyBytes: number | undefined
  readonly source: string
  /** `X-Forwarded-For` to send, the source first. */
  readonly chain: string
  readonly proto: 'http' | 'https'
  readonly requestId: string
  readonly traceparent: string
  readonly tracestate: string | undefined
}

/** The whole header section, to be written as latin1. */
export function requestHeadText(forwarding: Forwarding): string {
  const { head, rawHeaders } = forwarding
  let text = `${head.method} ${head.target} HTTP/1.1\r\nhost: ${head.authority}\r\n`
  const named = head.connectionNames
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    if (isDropped(name) || named?.includes(name.toLowerCase())) continue
    text += `${name}: ${rawHeaders[at + 1]!}\r\n`
  }
  if (head.upgrade) text += 'connection: upgrade\r\nupgrade: websocket\r\n'
  else if (forwarding.bodyBytes === undefined) text += 'transfer-encoding: chunked\r\n'
  else if (forwarding.bodyBytes > 0 || !BODYLESS.has(head.method)) text += `content-length: ${forwarding.bodyBytes}\r\n`
  if (head.trailersAccepted && !head.upgrade) text += 'te: trailers\r\nconnection: te\r\n'
  const source = forwarding.source.includes(':') ? `"[${forwarding.source}]"` : forwarding.source
  text += `x-forwarded-for: ${forwarding.chain}\r\nx-forwarded-host: ${head.authority}\r\nx-forwarded-proto: ${forwarding.proto}\r\n`
  text += `forwarded: for=${source};host="${head.authority}";proto=${forwarding.proto}\r\n`
  text += `x-request-id: ${forwarding.requestId}\r\ntraceparent: ${forwarding.traceparent}\r\n`
  if (forwarding.tracestate !== undefined) text += `tracestate: ${forwarding.tracestate}\r\n`
  return `${text}\r\n`
}

/** Methods whose requests need no `Content-Length: 0` (RFC 9110 section 8.6). */
const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE'])

const RESPONSE_DROPPED: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'x-request-id'])
const responseDropped = new Map<string, boolean>()

function isResponseDropped(name: string): boolean {
  const found = responseDropped.get(name)
  if (found !== undefined) return found
  const lower = name.toLowerCase()
  const drop = RESPONSE_DROPPED.has(lower) || lower.startsWith('x-ringwall-')
  if (responseDropped.size >= DROPPED_MAX) responseDropped.clear()
  responseDropped.set(name, drop)
  return drop
}

/** Names and values in turn, for the client; `extra` likewise. */
export function responseHeaders(
  rawHeaders: readonly string[],
  status: number,
  requestId: string,
  extra: readonly string[],
): string[] {
  const headers: string[] = []
  let named: string[] | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    if (isResponseDropped(name)) {
      if (name.length === 10 && name.toLowerCase() === 'connection') {
        const tokens = connectionTokens(rawHeaders[at + 1]!).filter((token) => token !== 'keep-alive' && token !== 'close')
        if (tokens.length > 0) named = (named ?? []).concat(tokens)
      }
      continue
    }
    // RFC 9110 section 8.6: none in a 204.
    if (status === 204 && name.length === 14 && name.toLowerCase() === 'content-length') continue
    headers.push(name, rawHeaders[at + 1]!)
  }
  const kept = named === undefined ? headers : withoutNamed(headers, named)
  kept.push('x-request-id', requestId)
  if (extra.length > 0) kept.push(...extra)
  return kept
}

function withoutNamed(headers: readonly string[], named: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < headers.length; at += 2) {
    const lower = headers[at]!.toLowerCase()
    // Never by request of the upstream: without its length the body would lose its end.
    if (named.includes(lower) && lower !== 'content-length') continue
    kept.push(headers[at]!, headers[at + 1]!)
  }
  return kept
}
