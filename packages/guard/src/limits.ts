/** Whose budget a request draws on. */
import { type CompiledRoute, formatAddress, type LimitPolicy, parseAddress } from '@ringwall/ring'
import type { RateLimiter } from './rate-limiter.ts'
import type { Budget } from './ring-limiter.ts'
import type { GuardRequest } from './types.ts'

/** What counts for all nodes together. */
export interface SharedLimiter {
  /** As `RateLimiter.take`; a promise where another node has to be asked. */
  take(key: string, budget: Budget, nowMs: number): number | Promise<number>
}

/** Who counts. */
export interface Limiters {
  readonly own: RateLimiter
  readonly shared: SharedLimiter | undefined
}

export interface LimitRefusal {
  readonly name: string
  readonly retryAfterS: number
  readonly budget: Budget
  /** The limit only watches. */
  readonly shadow: boolean
}

/** A request that counts if it is answered with one of these. */
export interface Charge {
  readonly status: readonly number[]
  readonly key: string
  readonly budget: Budget
}

interface Drawing {
  readonly limit: LimitPolicy
  readonly scope: string
}

/** Limits that draw on the subject of a token wait until it is known. */
export function needsSubject({ key }: LimitPolicy): boolean {
  return key.includes('subject')
}

/** The service's limits, then the route's. */
function drawings({ service, route }: CompiledRoute, afterIdentity: boolean): readonly Drawing[] {
  if (service.limits.length === 0 && (route === undefined || route.limits.length === 0)) return NONE
  const all: Drawing[] = []
  for (const limit of service.limits) if (needsSubject(limit) === afterIdentity) all.push({ limit, scope: service.name })
  for (const limit of route?.limits ?? [])
    if (needsSubject(limit) === afterIdentity) all.push({ limit, scope: `${service.name}/${route!.name}` })
  return all
}

const NONE: readonly Drawing[] = []

/** The limit that a budget's key is of, as `take` of a limiter got it: by name of service, or service and route, and its own. */
export function budgetOf(
  limits: (service: string, route: string | undefined) => readonly LimitPolicy[],
  key: string,
): Budget | undefined {
  const [scope = '', name = ''] = key.split('\n', 2)
  const [service = '', route] = scope.split('/', 2)
  const limit = limits(service, route).find((one) => one.name === name && one.scope === 'ring')
  return limit === undefined ? undefined : budget(limit)
}

function budget({ rate, burst }: LimitPolicy): Budget {
  return { count: rate.count, windowMs: rate.windowMs, burst: burst ?? rate.count }
}

/**
 * Takes from each limit in turn; the first that is used up ends it, unless it only watches.
 *
 * @param subject Undefined before identity is known, and for requests without a token.
 * @param noted Called for limits that only watch and would have refused, and for those that count by the answer.
 * @returns A promise where another node has to be asked.
 */
export function takeLimits(
  limiters: Limiters,
  route: CompiledRoute,
  request: GuardRequest,
  subject: string | undefined,
  afterIdentity: boolean,
  nowMs: number,
  noted: { shadow(refusal: LimitRefusal): void; charge(charge: Charge): void },
): LimitRefusal | undefined | Promise<LimitRefusal | undefined> {
  const all = drawings(route, afterIdentity)
  const from = (start: number): LimitRefusal | undefined | Promise<LimitRefusal | undefined> => {
    for (let at = start; at < all.length; at += 1) {
      const { limit, scope } = all[at]!
      const key = `${scope}\n${limit.name}\n${limit.key.map((part) => keyPart(part, request, subject)).join('\n')}`
      const of = budget(limit)
      const judge = (waitMs: number): LimitRefusal | undefined => {
        if (waitMs <= 0) return undefined
        const retryAfterS = Math.max(1, Math.ceil(waitMs / 1_000))
        const refusal = { name: limit.name, retryAfterS, budget: of, shadow: limit.mode === 'shadow' }
        if (!refusal.shadow) return refusal
        noted.shadow(refusal)
        return undefined
      }
      if (limit.status !== undefined) noted.charge({ status: limit.status, key, budget: of })
      const taken = take(limiters, limit, key, of, nowMs)
      if (typeof taken !== 'number') return taken.then((waitMs) => judge(waitMs) ?? from(at + 1))
      const refusal = judge(taken)
      if (refusal !== undefined) return refusal
    }
    return undefined
  }
  return from(0)
}

function take({ own, shared }: Limiters, limit: LimitPolicy, key: string, of: Budget, nowMs: number): number | Promise<number> {
  if (limit.status !== undefined) return own.peek(key, of.count, of.windowMs, of.burst, nowMs)
  if (limit.scope === 'ring' && shared !== undefined) return shared.take(key, of, nowMs)
  return own.take(key, of.count, of.windowMs, of.burst, nowMs)
}

/** Counts a request by what it was answered with. */
export function chargeAnswer({ own }: Limiters, charges: readonly Charge[], status: number, nowMs: number): void {
  for (const { status: counted, key, budget: of } of charges) {
    if (counted.includes(status)) own.take(key, of.count, of.windowMs, of.burst, nowMs)
  }
}

function keyPart(part: string, request: GuardRequest, subject: string | undefined): string {
  if (part === 'ip') return sourceKey(request.remoteAddress)
  if (part === 'network') return networkKey(request.remoteAddress)
  // Without a token the source stands in, or all who have none would share one budget.
  if (part === 'subject') return subject === undefined ? `-${sourceKey(request.remoteAddress)}` : `+${subject}`
  if (part === 'host') return request.host
  if (part === 'method') return request.method
  if (part === 'path') return JSON.stringify(request.path)
  const isCookie = part.startsWith('cookie:')
  const name = isCookie ? 'cookie' : part.slice('header:'.length).toLowerCase()
  const values = request.headers.filter(([held]) => held.toLowerCase() === name).map(([, value]) => value)
  return JSON.stringify(isCookie ? cookieValues(values, part.slice('cookie:'.length)) : values)
}

/** The values of a cookie (RFC 6265 section 4.2.1); all of them, since an application may read any. */
function cookieValues(fields: readonly string[], name: string): readonly string[] {
  return fields
    .flatMap((field) => field.split(';'))
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
}

/** An IPv4 address, or the /64 of an IPv6 address: whoever has one address of it has them all (RFC 6177). */
export function sourceKey(address: string): string {
  if (!address.includes(':')) return address
  const parsed = parseAddress(address.split('%', 1)[0]!)
  if (parsed === undefined) return address
  return parsed.version === 4 ? formatAddress(parsed) : `${parsed.words[0]}:${parsed.words[1]}`
}

/** The /24 of an IPv4 address, the /48 of an IPv6 address: what is handed out to one site (RFC 6177). */
function networkKey(address: string): string {
  const parsed = parseAddress(address.split('%', 1)[0]!)
  if (parsed === undefined) return address
  if (parsed.version === 4) return formatAddress(parsed).replace(/\.[0-9]+$/, '')
  return `${parsed.words[0]}:${parsed.words[1]! >>> 16}`
}
