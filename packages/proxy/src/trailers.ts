/**
 * Which trailers of an upstream go on to the client. What comes after the body may add to the answer, and changes nothing of what was decided
 * from its head (RFC 9110 section 6.5.1): framing, routing, caching, authentication, what the body is, and what we say ourselves. Those of
 * requests are dropped, all of them: the guard has not seen them.
 */
import { HOP_BY_HOP } from './header-names.ts'

const TRAILERS_REFUSED: ReadonlySet<string> = new Set([
  // Also malformed in HTTP/2 (RFC 9113 section 8.2.2): a client gives up the whole answer for one of them.
  ...HOP_BY_HOP,
  'content-length',
  'trailer',
  'host',
  'expect',
  'max-forwards',
  'content-type',
  'content-encoding',
  'content-range',
  'content-disposition',
  'content-location',
  'accept-ranges',
  'authorization',
  'authentication-info',
  'proxy-authentication-info',
  'www-authenticate',
  'cookie',
  'set-cookie',
  'clear-site-data',
  'age',
  'cache-control',
  'cache-status',
  'cdn-cache-control',
  'expires',
  'pragma',
  'vary',
  'warning',
  'date',
  'location',
  'refresh',
  'retry-after',
  'alt-svc',
  'strict-transport-security',
  'content-security-policy',
  'content-security-policy-report-only',
  'x-content-type-options',
  'x-frame-options',
  'forwarded',
  'via',
  'x-request-id',
  'traceparent',
  'tracestate',
])
const REFUSED_BEGIN = ['x-ringwall-', 'x-forwarded-', 'access-control-']

export function keptTrailers(trailers: readonly string[]): readonly string[] {
  if (trailers.length === 0) return trailers
  const kept: string[] = []
  for (let at = 0; at < trailers.length; at += 2) {
    const name = trailers[at]!.toLowerCase()
    if (TRAILERS_REFUSED.has(name) || REFUSED_BEGIN.some((beginning) => name.startsWith(beginning))) continue
    kept.push(trailers[at]!, trailers[at + 1]!)
  }
  return kept
}
