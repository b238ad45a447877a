/**
 * What the header list of an HTTP/2 request means, as the request that HTTP/1.1 would have: what follows, guard and upstream
 * alike, knows one kind of request. Pure. Source: RFC 9113 sections 8.2 and 8.3.
 *
 * Nothing passes that HTTP/1.1 could read otherwise: no control characters, no field that frames or ends a message there.
 */
import { parseRequestHead, type RequestHead } from './request-head.ts'
import type { RawRequest } from './request-parser.ts'

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** Also what HTTP/2 would let pass: any control character but a tab. And nothing blank at either end (section 8.2.1). */
const NOT_IN_VALUE = /[\x00-\x08\x0a-\x1f\x7f]|^[\t ]|[\t ]$/
const METHOD = /^[A-Z][A-Z-]{0,31}$/
/** Of one connection of HTTP/1.1 (section 8.2.2). */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])
const PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority'])

export interface H2RequestBounds {
  readonly requestLineBytesMax: number
}

/**
 * @param fields Names and values in turn, as they were sent.
 * @param ended Whether the request has no body.
 * @returns Why it is malformed: a stream error. Else the request, which may be refused like any other.
 */
export function requestOf(fields: readonly string[], ended: boolean, bounds: H2RequestBounds): RawRequest | string {
  const pseudo = new Map<string, string>()
  const rawHeaders: string[] = []
  let cookies: string | undefined
  let host: string | undefined
  let contentLength: string | undefined
  let expects = false
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!
    const value = fields[at + 1]!
    if (NOT_IN_VALUE.test(value)) return 'a field value with a control character or a blank at its end'
    if (name.charCodeAt(0) === 0x3a) {
      if (rawHeaders.length > 0 || host !== undefined || cookies !== undefined) return 'a pseudo-header after a field'
      if (!PSEUDO.has(name)) return 'an unknown pseudo-header'
      if (pseudo.has(name)) return 'a pseudo-header twice'
      pseudo.set(name, value)
      continue
    }
    if (!NAME.test(name)) return 'a field name that is no token in lower case'
    if (CONNECTION_FIELDS.has(name)) return 'a field of HTTP/1.1 connections'
    if (name === 'te' && value !== 'trailers') return 'TE other than trailers'
    if (name === 'host') {
      if (host !== undefined) return 'two Host fields'
      host = value
    } else if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
    else {
      if (name === 'content-length') {
        if (contentLength !== undefined) return 'two Content-Length fields'
        contentLength = value
      }
      // Anything else than 100-continue is refused with the rest of the head.
      if (name === 'expect') expects = true
      rawHeaders.push(name, value)
    }
  }
  const method = pseudo.get(':method')
  const scheme = pseudo.get(':scheme')
  const path = pseudo.get(':path')
  const authority = pseudo.get(':authority') ?? host
  if (method === undefined || !METHOD.test(method)) return 'no method'
  if (method === 'CONNECT') {
    if (scheme !== undefined || path !== undefined || authority === undefined) return 'CONNECT with a scheme or a path'
  } else {
    if (scheme !== 'http' && scheme !== 'https') return 'no scheme, or an unknown one'
    if (path === undefined || (path.charCodeAt(0) !== 0x2f && !(path === '*' && method === 'OPTIONS'))) return 'no path'
    // A proxy that passed both on would let each of them be believed by somebody (section 8.3.1).
    if (host !== undefined && host.toLowerCase() !== authority!.toLowerCase()) return ':authority and Host differ'
  }
  if (ended && contentLength !== undefined && Number(contentLength) !== 0) return 'Content-Length without a body'
  const url = path ?? authority!
  if (authority !== undefined) rawHeaders.unshift('host', authority)
  if (cookies !== undefined) rawHeaders.push('cookie', cookies)
  const request = { method, url, httpVersion: '2.0', rawHeaders } as const
  if (url.length > bounds.requestLineBytesMax) return { ...request, head: { refused: 'the path is too long', status: 414 } }
  const head = parseRequestHead(method, url, '1.1', rawHeaders)
  if ('refused' in head) return { ...request, head }
  const bodyBytes = bodyLength(head, contentLength, ended)
  return { ...request, head: { ...head, contentLength: bodyBytes, continueWanted: expects && bodyBytes !== 0 } }
}

function bodyLength(head: RequestHead, contentLength: string | undefined, ended: boolean): number | undefined {
  if (ended) return 0
  return contentLength === undefined ? undefined : head.contentLength
}

/** Whether fields may stand in a trailer section. They are read and dropped, as in HTTP/1.1. */
export function areTrailers(fields: readonly string[]): boolean {
  for (let at = 0; at < fields.length; at += 2)
    if (!NAME.test(fields[at]!) || NOT_IN_VALUE.test(fields[at + 1]!) || CONNECTION_FIELDS.has(fields[at]!)) return false
  return true
}
