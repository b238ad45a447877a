/**
 * What a request's header list means, and a refusal of what two parsers could read in two ways. Pure.
 *
 * The header section's syntax has been checked before (`head-scanner.ts`). Source: RFC 9112 sections 3.2, 5.2, 6.1, 6.3.
 */
import { normalizeRoutingPath } from '@ringwall/guard'
import { connectionTokens, detached, lowerName } from './header-names.ts'

/** What a header list says, whatever the request line before it. */
export interface HeaderMeaning {
  /** As received, with port. */
  readonly authority: string
  /** Without port, lower case. */
  readonly host: string
  /** 0 without body; undefined: chunked. */
  readonly contentLength: number | undefined
  readonly upgrade: boolean
  readonly trailersAccepted: boolean
  /** The client waits for `100 Continue` before it sends its body. */
  readonly continueWanted: boolean
  /** Whether the client wants the connection kept (RFC 9112 section 9.3). */
  readonly keepAlive: boolean
  /** What `Connection` names beside the standard set; undefined for nothing. */
  readonly connectionNames: readonly string[] | undefined
  readonly forwardedFor: string | undefined
  /** As received; undefined when there is none, or more than one. */
  readonly forwardedProto: string | undefined
  readonly traceparent: string | undefined
  readonly tracestate: string | undefined
  readonly jsonWanted: boolean
}

export interface RequestHead extends HeaderMeaning {
  readonly method: string
  /** Origin form: path and query. */
  readonly target: string
  readonly path: string
}

/** Why a head is refused: for the operator. */
export interface HeadRefused {
  readonly refused: string
  readonly status: 400 | 405 | 414 | 416 | 417 | 431 | 501
}

const HOST = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?$/
const ABSOLUTE = /^https?:\/\/([^/?#@\s\\]*)([/?].*)?$/i
const DIGITS = /^[0-9]{1,15}$/
/** Both carry no request body to an origin, and neither is for an origin: CONNECT tunnels, TRACE reflects credentials. */
const METHODS_REFUSED: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK'])

/** A server should refuse many small ranges (RFC 9110 section 17.15); who resumes or reads ahead asks for a few. */
const RANGES_MAX = 64

function hasMore(text: string, character: string, most: number): boolean {
  let found = 0
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + 1)) {
    found += 1
    if (found > most) return true
  }
  return false
}

/**
 * @param rawHeaders Names and values in turn, without control characters: `scanHead` has seen to that.
 * @param httpVersion `1.0` or `1.1`.
 * @param meaning Of these headers in this version, where it is known already.
 */
export function parseRequestHead(
  method: string,
  url: string,
  httpVersion: string,
  rawHeaders: readonly string[],
  meaning: HeaderMeaning | HeadRefused = meaningOf(rawHeaders, httpVersion),
): RequestHead | HeadRefused {
  if (METHODS_REFUSED.has(method)) return refuse(`method ${method}`, 405)
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return refuse('HTTP version', 400)
  if ('refused' in meaning) return meaning
  const { authority } = meaning
  if (meaning.upgrade && (method !== 'GET' || httpVersion !== '1.1'))
    return refuse('WebSocket upgrade without GET and HTTP/1.1', 400)
  let target = url
  if (url.charCodeAt(0) !== 0x2f) {
    const absolute = ABSOLUTE.exec(url)
    if (absolute === null) return refuse('request target', 400)
    if (absolute[1]!.toLowerCase() !== authority.toLowerCase()) return refuse('target and Host name different hosts', 400)
    const rest = absolute[2] ?? '/'
    target = rest.charCodeAt(0) === 0x2f ? rest : `/${rest}`
  }
  if (!isTarget(target)) return refuse('request target', 400)
  const routing = normalizeRoutingPath(target)
  if (routing === undefined) return refuse('path with an encoding that is not UTF-8, or a control character or backslash', 400)
  return {
    method,
    target,
    path: routing.path,
    authority,
    host: meaning.host,
    contentLength: meaning.contentLength,
    upgrade: meaning.upgrade,
    trailersAccepted: meaning.trailersAccepted,
    continueWanted: meaning.continueWanted,
    keepAlive: meaning.keepAlive,
    connectionNames: meaning.connectionNames,
    forwardedFor: meaning.forwardedFor,
    forwardedProto: meaning.forwardedProto,
    traceparent: meaning.traceparent,
    tracestate: meaning.tracestate,
    jsonWanted: meaning.jsonWanted,
  }
}

/** What these headers say, or why a request with them is refused. As of `parseRequestHead`. */
export function meaningOf(rawHeaders: readonly string[], httpVersion: string): HeaderMeaning | HeadRefused {
  let authority: string | undefined
  let contentLength: string | undefined
  let transferEncoding: string | undefined
  let upgrade: string | undefined
  let connection: string | undefined
  let te: string | undefined
  let forwardedFor: string | undefined
  let forwardedProto: string | undefined
  let traceparent: string | undefined
  let traceparents = 0
  let tracestate: string | undefined
  let jsonWanted = false
  let contentTyped = false
  let continueWanted = false
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = lowerName(rawHeaders[at]!)
    const value = rawHeaders[at + 1]!
    if (name === undefined) return refuse('header name', 400)
    switch (name) {
      case 'host':
        if (authority !== undefined) return refuse('two Host headers', 400)
        authority = value
        break
      case 'content-length':
        if (contentLength !== undefined) return refuse('two Content-Length headers', 400)
        contentLength = value
        break
      case 'transfer-encoding':
        if (transferEncoding !== undefined) return refuse('two Transfer-Encoding headers', 400)
        transferEncoding = value
        break
      case 'content-type':
        if (contentTyped) return refuse('two Content-Type headers', 400)
        contentTyped = true
        break
      case 'upgrade':
        if (upgrade !== undefined) return refuse('two Upgrade headers', 400)
        upgrade = value
        break
      case 'connection':
        connection = connection === undefined ? value : `${connection},${value}`
        break
      case 'te':
        te = value
        break
      case 'x-forwarded-for':
        forwardedFor = forwardedFor === undefined ? value : `${forwardedFor},${value}`
        break
      case 'x-forwarded-proto':
        forwardedProto = forwardedProto === undefined ? value : ''
        break
      case 'traceparent':
        traceparents++
        traceparent = value
        break
      case 'tracestate':
        tracestate = tracestate === undefined ? value : `${tracestate},${value}`
        break
      case 'accept':
        jsonWanted ||= value.includes('json')
        break
      case 'expect':
        if (value.toLowerCase() !== '100-continue') return refuse('Expect', 417)
        // RFC 9110 section 10.1.1: not for HTTP/1.0.
        continueWanted = httpVersion === '1.1'
        break
      case 'range':
        if (hasMore(value, ',', RANGES_MAX - 1)) return refuse(`Range with more than ${RANGES_MAX} ranges`, 416)
        break
    }
  }
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined) return refuse('Transfer-Encoding and Content-Length', 400)
    if (httpVersion === '1.0') return refuse('Transfer-Encoding in HTTP/1.0', 400)
    // Chunked alone: other codings would reach the guard undecoded and the upstream decoded.
    if (transferEncoding.toLowerCase() !== 'chunked') return refuse('Transfer-Encoding other than chunked', 501)
  }
  if (contentLength !== undefined && !DIGITS.test(contentLength)) return refuse('Content-Length', 400)
  if (authority === undefined) return refuse('no Host header', 400)
  if (!isHost(authority)) return refuse('Host header', 400)
  const names = connection === undefined ? undefined : connectionTokens(connection)
  if (names?.some((name) => END_TO_END.has(name))) return refuse('Connection names an end-to-end header', 400)
  const upgrading = names?.includes('upgrade') ?? false
  if (upgrade !== undefined && upgrading) {
    if (upgrade.toLowerCase() !== 'websocket') return refuse('Upgrade other than websocket', 400)
    if (transferEncoding !== undefined || (contentLength !== undefined && contentLength !== '0'))
      return refuse('WebSocket upgrade with a body', 400)
  }
  const bodyBytes = transferEncoding !== undefined ? undefined : contentLength === undefined ? 0 : Number(contentLength)
  return {
    authority,
    host: hostOf(authority),
    contentLength: bodyBytes,
    upgrade: upgrade !== undefined && upgrading,
    trailersAccepted: te?.toLowerCase().includes('trailers') ?? false,
    continueWanted: continueWanted && bodyBytes !== 0,
    keepAlive: names?.includes('close') ? false : httpVersion === '1.1' || (names?.includes('keep-alive') ?? false),
    connectionNames: names?.every((name) => STANDARD.has(name)) ? undefined : names,
    forwardedFor,
    forwardedProto,
    // Two of them cannot both be the parent (Trace Context section 3.2.1): none is.
    traceparent: traceparents === 1 ? traceparent : undefined,
    tracestate,
    jsonWanted,
  }
}

const STANDARD: ReadonlySet<string> = new Set(['keep-alive', 'close', 'upgrade', 'te'])
/** Naming these in `Connection` asks us to strip what the guard or the upstream relies on. */
const END_TO_END: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'authorization',
  'cookie',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'forwarded',
  'x-request-id',
  'traceparent',
])

function refuse(refused: string, status: HeadRefused['status']): HeadRefused {
  return { refused, status }
}

const hosts = new Map<string, string>()
const HOSTS_MAX = 1_024

function isHost(authority: string): boolean {
  if (hosts.has(authority)) return true
  const match = HOST.exec(authority)
  if (match === null || Number(match[1] ?? 0) > 65_535) return false
  if (hosts.size >= HOSTS_MAX) hosts.clear()
  const own = detached(authority)
  hosts.set(own, withoutPort(own))
  return true
}

function hostOf(authority: string): string {
  return hosts.get(authority) ?? withoutPort(authority)
}

function withoutPort(authority: string): string {
  const end = authority.charCodeAt(0) === 0x5b ? authority.indexOf(']') + 1 : authority.indexOf(':')
  const host = (end > 0 ? authority.slice(0, end) : authority).toLowerCase()
  // The root's dot: one host must not have two spellings.
  return host.length > 1 && host.endsWith('.') ? host.slice(0, -1) : host
}

/**
 * Visible ASCII without a fragment (RFC 9112 section 3.2). Bytes above are of no encoding that anybody has named: a route would be looked up
 * by one reading of them, and the upstream might go by another.
 */
function isTarget(target: string): boolean {
  return !NOT_IN_TARGET.test(target)
}

const NOT_IN_TARGET = /[^\x21\x22\x24-\x7e]/
