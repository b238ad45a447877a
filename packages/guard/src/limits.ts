/** Whose budget a request draws on. */
import {
  type CompiledRoute,
  formatAddress,
  formatPrefix,
  type LimitPolicy,
  NO_ASN,
  NO_COUNTRY,
  parseAddress,
} from '@ringwall/ring'
import type { Budget, RateLimiter } from './rate-limiter.ts'
import { isAmong, type Source } from './sources.ts'
import type { GuardRequest } from './types.ts'

/** What counts for all nodes together. */
export interface SharedLimiter {
  /** As `RateLimiter.take`; a promise where another node has to be asked. */
  take(key: string, budget: Budget, nowMs: number): number | Promise<number>
}

/** Who counts. */
export interface Limiters {
  readonly own: RateLimiter
  /** Which accounts a key has been asked about; each thread for itself. */
  readonly pairs: RateLimiter
  readonly shared: SharedLimiter | undefined
  /** Requests under way, by key; none of 0. Bounded by the requests, which are. */
  readonly open: Map<string, number>
}

export interface LimitRefusal {
  readonly name: string
  readonly retryAfterS: number
  /** Undefined: it is about what is under way. */
  readonly budget: Budget | undefined
  /** The limit only watches. */
  readonly shadow: boolean
  readonly action: 'throttle' | 'challenge' | 'deny'
}

/** A request that counts once it is known what it was answered with, or what it cost. */
export interface Charge {
  /** Which answers count; undefined: all. */
  readonly status: readonly number[] | undefined
  readonly cost: LimitPolicy['cost']
  readonly key: string
  readonly budget: Budget
  /** Of one account one request counts. */
  readonly account: string | undefined
  /** What an answer with another status takes back. */
  readonly forgive: number
}

/** Whose request it is, as far as it is known. */
export interface Asker {
  /** Of the token. */
  readonly subject: string | undefined
  /** Named in the body. */
  readonly account: string | undefined
}

const NOBODY: Asker = { subject: undefined, account: undefined }

interface Drawing {
  readonly limit: LimitPolicy
  /** Of service, or service and route, and of the limit: what a key begins with. */
  readonly drawer: string
  readonly budget: Budget | undefined
}

/** Of one route: what is drawn on before it is known who asks, after, and when the account is known. */
interface RouteDrawings {
  readonly head: readonly Drawing[]
  readonly identity: readonly Drawing[]
  readonly body: readonly Drawing[]
}

/** When a limit is drawn on: as soon as what it needs to know is known. */
export type LimitPhase = keyof RouteDrawings

/** Limits that draw on the subject of a token wait until it is known. */
export function needsSubject(limit: LimitPolicy): boolean {
  return limit.key.includes('subject') && !needsAccount(limit)
}

/** Limits about accounts wait for the body. */
export function needsAccount({ key, count }: LimitPolicy): boolean {
  return count === 'accounts' || key.includes('account')
}

const NONE: readonly Drawing[] = []
const known = new WeakMap<CompiledRoute, RouteDrawings>()

/** The service's limits, then the route's. Compiled routes do not change: made once for each. */
function drawings(compiled: CompiledRoute, phase: LimitPhase): readonly Drawing[] {
  const { service, route } = compiled
  if (service.limits.length === 0 && (route === undefined || route.limits.length === 0)) return NONE
  let found = known.get(compiled)
  if (found === undefined) {
    const of = (scope: string, limits: readonly LimitPolicy[]): Drawing[] =>
      limits.map((limit) => ({ limit, drawer: `${scope}\n${limit.name}\n`, budget: budget(limit) }))
    const all = [...of(service.name, service.limits), ...of(`${service.name}/${route?.name ?? ''}`, route?.limits ?? [])]
    found = {
      head: all.filter(({ limit }) => !needsSubject(limit) && !needsAccount(limit)),
      identity: all.filter(({ limit }) => needsSubject(limit)),
      body: all.filter(({ limit }) => needsAccount(limit)),
    }
    known.set(compiled, found)
  }
  return found[phase]
}

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

/** Undefined where requests under way are counted. */
function budget({ rate, burst, algorithm }: LimitPolicy): Budget | undefined {
  return rate && { count: rate.count, windowMs: rate.windowMs, burst: burst ?? rate.count, algorithm }
}

/** Looked at before, counted after. */
function countsAfter({ status, cost }: LimitPolicy): boolean {
  return status !== undefined || cost !== 'requests'
}

/**
 * Takes from each limit in turn; the first that is used up ends it, unless it only watches.
 *
 * @param noted Called for limits that only watch and would have refused, and for those that count by the answer.
 * @returns A promise where another node has to be asked.
 */
export function takeLimits(
  limiters: Limiters,
  route: CompiledRoute,
  request: GuardRequest,
  asker: Asker | undefined,
  phase: LimitPhase,
  nowMs: number,
  noted: Noted,
): LimitRefusal | undefined | Promise<LimitRefusal | undefined> {
  return takeFrom(0, drawings(route, phase), limiters, request, asker ?? NOBODY, route.route?.name, nowMs, noted)
}

interface Noted {
  /** Id of the pass that the request shows; undefined: none that is good. Asked where it makes a difference. */
  readonly pass: string | undefined
  /** Where it comes from. */
  readonly source: Source
  shadow(refusal: LimitRefusal): void
  /** It is under way by this key until `release`. */
  lend(key: string): void
  charge(charge: Charge): void
}

function takeFrom(
  start: number,
  all: readonly Drawing[],
  limiters: Limiters,
  request: GuardRequest,
  asker: Asker,
  route: string | undefined,
  nowMs: number,
  noted: Noted,
): LimitRefusal | undefined | Promise<LimitRefusal | undefined> {
  for (let at = start; at < all.length; at += 1) {
    const { limit, drawer, budget: of } = all[at]!
    if (limit.from !== undefined && !isAmong(limit.from, noted.source)) continue
    if (limit.except !== undefined && isAmong(limit.except, noted.source)) continue
    let key = drawer
    for (let part = 0; part < limit.key.length; part += 1)
      key += `${part === 0 ? '' : '\n'}${keyPart(limit.key[part]!, request, asker, route, noted)}`
    // Whoever has done the work draws on a budget of their own, and beyond it waits like anybody.
    const pass = limit.action === 'challenge' ? noted.pass : undefined
    if (pass !== undefined) key += `\npass ${pass}`
    if (of === undefined) {
      const refusal = lend(limiters.open, limit, key, pass !== undefined, noted)
      if (refusal !== undefined) return refusal
      continue
    }
    const account = limit.count === 'accounts' ? (asker.account ?? '') : undefined
    const { status, cost, forgive = 0 } = limit
    const isLater = countsAfter(limit)
    if (isLater) noted.charge({ status, cost, key, budget: of, account, forgive })
    else if (account !== undefined && isKnown(limiters, key, of, account, nowMs)) continue
    const taken = take(limiters, limit, key, of, nowMs)
    const judged = (waitMs: number): LimitRefusal | undefined => {
      // One that is refused has not been asked about: or the second try would pass.
      if (account !== undefined && !isLater && waitMs <= 0) remember(limiters, key, of, account, nowMs)
      return judge(waitMs, limit, of, pass !== undefined, noted)
    }
    if (typeof taken !== 'number') {
      return taken.then((waitMs) => judged(waitMs) ?? takeFrom(at + 1, all, limiters, request, asker, route, nowMs, noted))
    }
    const refusal = judged(taken)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

/** When one of those under way will be over is not known. */
const CONCURRENCY_RETRY_S = 1

function lend(
  open: Map<string, number>,
  limit: LimitPolicy,
  key: string,
  passed: boolean,
  noted: Noted,
): LimitRefusal | undefined {
  const count = open.get(key) ?? 0
  if (count >= limit.concurrency!) {
    const refusal = refusalBy(limit, CONCURRENCY_RETRY_S, undefined, passed)
    if (!refusal.shadow) return refusal
    noted.shadow(refusal)
  }
  open.set(key, count + 1)
  noted.lend(key)
  return undefined
}

/** Requests by these keys are over. */
export function release({ open }: Limiters, keys: readonly string[]): void {
  for (const key of keys) {
    const left = (open.get(key) ?? 1) - 1
    if (left > 0) open.set(key, left)
    else open.delete(key)
  }
}

function judge(waitMs: number, limit: LimitPolicy, of: Budget, passed: boolean, noted: Noted): LimitRefusal | undefined {
  if (waitMs <= 0) return undefined
  const retryAfterS = Math.max(1, Math.ceil(waitMs / 1_000))
  const refusal = refusalBy(limit, retryAfterS, of, passed)
  if (!refusal.shadow) return refusal
  noted.shadow(refusal)
  return undefined
}

/** @param passed The budget that is used up is that of a pass: to do the work again would not help. */
function refusalBy(limit: LimitPolicy, retryAfterS: number, budget: Budget | undefined, passed: boolean): LimitRefusal {
  const { name, mode, action } = limit
  return { name, retryAfterS, budget, shadow: mode === 'shadow', action: passed ? 'throttle' : action }
}

function isKnown({ pairs }: Limiters, key: string, { windowMs }: Budget, account: string, nowMs: number): boolean {
  return pairs.peek(`${key}\n${account}`, { count: 1, windowMs, burst: 1 }, nowMs) > 0
}

/** Returns whether that is new within the window. */
function remember({ pairs }: Limiters, key: string, { windowMs }: Budget, account: string, nowMs: number): boolean {
  return pairs.take(`${key}\n${account}`, { count: 1, windowMs, burst: 1 }, nowMs) === 0
}

function take({ own, shared }: Limiters, limit: LimitPolicy, key: string, of: Budget, nowMs: number): number | Promise<number> {
  if (countsAfter(limit)) return own.peek(key, of, nowMs)
  if (limit.scope === 'ring' && shared !== undefined) return shared.take(key, of, nowMs)
  return own.take(key, of, nowMs)
}

/** What one answer may cost: more than that is no count of anything. */
const COST_MAX = 1_000_000

/** How an answer begins. */
export interface AnswerHead {
  readonly status: number
  readonly rawHeaders: readonly string[]
}

/** What an answer came to that is over. */
export interface AnswerCost {
  readonly status: number
  /** As they went to the client. */
  readonly bytes: number
  /** From the request's head to the answer's end. */
  readonly ms: number
}

/**
 * Counts a request by what it was answered with.
 *
 * @param rawHeaders Names and values in turn.
 */
export function chargeAnswer(
  limiters: Limiters,
  charges: readonly Charge[],
  { status, rawHeaders }: AnswerHead,
  nowMs: number,
): void {
  const { own } = limiters
  for (const { status: counted, cost, key, budget: of, account, forgive } of charges) {
    if (cost === 'kilobytes' || cost === 'milliseconds') continue
    const counts = counted === undefined || counted.includes(status)
    if (cost !== 'requests') {
      if (counts) own.charge(key, of, nowMs, costIn(rawHeaders, cost.slice('header:'.length).toLowerCase()))
      continue
    }
    if (!counts && forgive === 0) continue
    // Succeeding with one account again and again takes nothing back either.
    if (account !== undefined && !remember(limiters, key, of, `${counts ? '-' : '+'}${account}`, nowMs)) continue
    if (counts) own.charge(key, of, nowMs)
    else own.refund(key, of, nowMs, forgive)
  }
}

/** Counts a request by what its answer came to: what is begun counts as one. */
export function chargeCost(
  { own }: Limiters,
  charges: readonly Charge[],
  { status, bytes, ms }: AnswerCost,
  nowMs: number,
): void {
  for (const { status: counted, cost, key, budget: of } of charges) {
    if ((cost !== 'kilobytes' && cost !== 'milliseconds') || counted?.includes(status) === false) continue
    own.charge(key, of, nowMs, Math.min(COST_MAX, Math.max(1, Math.ceil(cost === 'kilobytes' ? bytes / 1_000 : ms))))
  }
}

/** An application that says nothing, or nothing that is a number, has answered one request. */
function costIn(rawHeaders: readonly string[], name: string): number {
  let text: string | undefined
  for (let at = 0; at < rawHeaders.length && text === undefined; at += 2)
    if (rawHeaders[at]!.toLowerCase() === name) text = rawHeaders[at + 1]
  return text !== undefined && /^[0-9]{1,7}$/.test(text) ? Math.min(COST_MAX, Number(text)) : 1
}

function keyPart(
  part: string,
  request: GuardRequest,
  { subject, account }: Asker,
  route: string | undefined,
  { source }: Noted,
): string {
  if (part === 'ip') return sourceKey(request.remoteAddress)
  if (part === 'network') return networkKey(request.remoteAddress)
  // What no file knows is told apart by its network.
  if (part === 'asn') return source.place.asn === NO_ASN ? `-${networkKey(request.remoteAddress)}` : `+${source.place.asn}`
  if (part === 'country')
    return source.place.country === NO_COUNTRY ? `-${networkKey(request.remoteAddress)}` : `+${source.place.country}`
  // Without a token the source stands in, or all who have none would share one budget.
  if (part === 'subject') return subject === undefined ? `-${sourceKey(request.remoteAddress)}` : `+${subject}`
  if (part === 'account') return account === undefined ? `-${sourceKey(request.remoteAddress)}` : `+${account}`
  if (part === 'host') return request.host
  if (part === 'method') return request.method
  if (part === 'route') return route ?? ''
  // Who has none is told from others by the source: one budget for all of them would let one use it up.
  if (part === 'ja4') return request.ja4 === undefined ? `-${sourceKey(request.remoteAddress)}` : `+${request.ja4}`
  if (part === 'http2') return request.http2 === undefined ? `-${sourceKey(request.remoteAddress)}` : `+${request.http2}`
  if (part === 'path') return JSON.stringify(request.path)
  const isCookie = part.startsWith('cookie:')
  const name = isCookie ? 'cookie' : part.slice('header:'.length).toLowerCase()
  const values = request.headers.filter(([held]) => held.toLowerCase() === name).map(([, value]) => value)
  return JSON.stringify(isCookie ? cookieValues(values, part.slice('cookie:'.length)) : values)
}

/** The values of a cookie (RFC 6265 section 4.2.1); all of them, since an application may read any. */
export function cookieValues(fields: readonly string[], name: string): readonly string[] {
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

/** A source, and the network that it is of, as denials have them; undefined: `key` is none that `sourceKey` makes of an address. */
export interface SourceSubject {
  readonly source: { readonly kind: 'ip' | 'cidr'; readonly value: string }
  /** The /24 or /48. */
  readonly network: string
}

export function subjectOfSource(key: string): SourceSubject | undefined {
  const halves = /^([0-9]{1,10}):([0-9]{1,10})$/.exec(key)
  if (halves === null) {
    const address = parseAddress(key)
    if (address === undefined || address.version !== 4) return undefined
    const network = formatPrefix({ version: 4, words: [(address.words[0]! & 0xffffff00) >>> 0], length: 24 })
    return { source: { kind: 'ip', value: formatAddress(address) }, network }
  }
  const [high, low] = [Number(halves[1]), Number(halves[2])]
  if (high > 0xffffffff || low > 0xffffffff) return undefined
  const source = formatPrefix({ version: 6, words: [high, low, 0, 0], length: 64 })
  const network = formatPrefix({ version: 6, words: [high, (low & 0xffff0000) >>> 0, 0, 0], length: 48 })
  return { source: { kind: 'cidr', value: source }, network }
}

/** The /24 of an IPv4 address, the /48 of an IPv6 address: what is handed out to one site (RFC 6177). */
export function networkKey(address: string): string {
  const parsed = parseAddress(address.split('%', 1)[0]!)
  if (parsed === undefined) return address
  if (parsed.version === 4) return formatAddress(parsed).replace(/\.[0-9]+$/, '')
  return `${parsed.words[0]}:${parsed.words[1]! >>> 16}`
}
