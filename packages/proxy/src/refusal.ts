/** What a client sees when we answer ourselves: the status and the request id, nothing of the rule that refused it. */
import type { Budget, Judgement } from '@ringwall/guard'
import { httpDate } from './forward-head.ts'
import { nodeHttp } from './node-http.ts'

/** Both ways in which a token comes (RFC 6750 section 3, RFC 9449 section 7.1). */
const CHALLENGE = 'Bearer, DPoP algs="EdDSA ES256 ES384"'
/** For a token that is revoked (RFC 6750 section 3.1). */
const CHALLENGE_REVOKED = 'Bearer error="invalid_token", DPoP error="invalid_token", algs="EdDSA ES256 ES384"'

export interface Refusal {
  /** Names and values in turn. */
  readonly headers: readonly string[]
  readonly body: string
}

/** Plain text, or problem details (RFC 9457) for clients that accept JSON. */
export function refusal(
  status: number,
  requestId: string,
  options: {
    readonly jsonWanted: boolean
    readonly retryAfterS?: number | undefined
    /** Of the limit that is used up. */
    readonly budget?: Budget | undefined
    /** Why, where that is no secret: `view-stale`, `revoked`, `password-breached`. */
    readonly code?: string | undefined
    /** Of a redirect. */
    readonly location?: string | undefined
  },
): Refusal {
  const title = nodeHttp.STATUS_CODES[status] ?? 'Error'
  const body = options.jsonWanted
    ? `${JSON.stringify({ type: 'about:blank', title, status, requestId, code: options.code })}\n`
    : `${status} ${title}\nrequest id: ${requestId}\n${options.code === undefined ? '' : `code: ${options.code}\n`}`
  const headers = [
    'content-type',
    options.jsonWanted ? 'application/problem+json' : 'text/plain; charset=utf-8',
    'content-length',
    String(body.length),
    'cache-control',
    'no-store',
    'x-request-id',
    requestId,
  ]
  if (options.location !== undefined) headers.push('location', options.location)
  if (options.retryAfterS !== undefined) {
    const seconds = Math.max(1, Math.ceil(options.retryAfterS))
    headers.push('retry-after', String(seconds))
    const { budget } = options
    if (budget !== undefined) {
      // draft-ietf-httpapi-ratelimit-headers: which limit it was stays our affair.
      headers.push('ratelimit-policy', `"limit";q=${budget.count};w=${Math.ceil(budget.windowMs / 1_000)}`)
      headers.push('ratelimit', `"limit";r=0;t=${seconds}`)
    }
  }
  if (status === 401 && options.code !== 'login-required')
    headers.push('www-authenticate', options.code === 'revoked' ? CHALLENGE_REVOKED : CHALLENGE)
  return { headers, body }
}

/** What a client may know of why: the ring's own state, and what its user is to mend. */
export function refusalCode(judgement: Pick<Judgement, 'decision' | 'loginWanted'> | undefined): string | undefined {
  const decision = judgement?.decision
  if (decision?.check === 'staleness') return 'view-stale'
  if (decision?.outcome !== 'deny') return undefined
  if (decision.status === 401 && (decision.rule === 'people:login' || judgement?.loginWanted === true)) return 'login-required'
  if (decision.status === 401 && decision.check === 'denial') return 'revoked'
  return decision.rule === 'password:breached' ? 'password-breached' : undefined
}

/** The whole response as text; closes the connection. @param code As for `refusal`. */
export function refusalText(status: number, requestId: string, code?: string): string {
  const { headers, body } = refusal(status, requestId, { jsonWanted: false, code })
  return `${statusLine(status)}connection: close\r\n${fieldLines(headers)}\r\n${body}`
}

export function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${nodeHttp.STATUS_CODES[status] ?? 'Error'}\r\ndate: ${httpDate(Date.now())}\r\n`
}

/** @param headers Names and values in turn. */
export function fieldLines(headers: readonly string[]): string {
  let text = ''
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
  return text
}
