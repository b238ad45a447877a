/** Whose budget a request draws on. */
import type { CompiledRoute, LimitPolicy } from '@ringwall/ring'
import { formatAddress, parseAddress } from '@ringwall/ring'
import type { RateLimiter } from './rate-limiter.ts'
import type { GuardRequest } from './types.ts'

export interface LimitRefusal {
  readonly name: string
  readonly retryAfterS: number
}

/** Limits that draw on the subject of a token wait until it is known. */
export function needsSubject({ key }: LimitPolicy): boolean {
  return key.includes('subject')
}

/**
 * Takes from the service's limits, then the route's; the first that is used up ends it.
 *
 * @param subject Undefined before identity is known, and for requests without a token.
 */
export function takeLimits(
  limiter: RateLimiter,
  route: CompiledRoute,
  request: GuardRequest,
  subject: string | undefined,
  afterIdentity: boolean,
  nowMs: number,
): LimitRefusal | undefined {
  return (
    takeAll(limiter, route.service.limits, route.service.name, request, subject, afterIdentity, nowMs) ??
    (route.route === undefined
      ? undefined
      : takeAll(limiter, route.route.limits, `${route.service.name}/${route.route.name}`, request, subject, afterIdentity, nowMs))
  )
}

function takeAll(
  limiter: RateLimiter,
  limits: readonly LimitPolicy[],
  scope: string,
  request: GuardRequest,
  subject: string | undefined,
  afterIdentity: boolean,
  nowMs: number,
): LimitRefusal | undefined {
  for (const limit of limits) {
    if (needsSubject(limit) !== afterIdentity) continue
    const { count, windowMs } = limit.rate
    const parts = limit.key.map((part) => keyPart(part, request, subject))
    const waitMs = limiter.take(`${scope}\n${limit.name}\n${parts.join('\n')}`, count, windowMs, limit.burst ?? count, nowMs)
    if (waitMs > 0) return { name: limit.name, retryAfterS: Math.max(1, Math.ceil(waitMs / 1_000)) }
  }
  return undefined
}

function keyPart(part: string, request: GuardRequest, subject: string | undefined): string {
  if (part === 'ip') return sourceKey(request.remoteAddress)
  // Without a token the source stands in, or all who have none would share one budget.
  if (part === 'subject') return subject === undefined ? `-${sourceKey(request.remoteAddress)}` : `+${subject}`
  const name = part.slice('header:'.length).toLowerCase()
  const values = request.headers.filter(([held]) => held.toLowerCase() === name).map(([, value]) => value)
  return JSON.stringify(values)
}

/** An IPv4 address, or the /64 of an IPv6 address: whoever has one address of it has them all (RFC 6177). */
export function sourceKey(address: string): string {
  if (!address.includes(':')) return address
  const parsed = parseAddress(address.split('%', 1)[0]!)
  if (parsed === undefined) return address
  return parsed.version === 4 ? formatAddress(parsed) : `${parsed.words[0]}:${parsed.words[1]}`
}
