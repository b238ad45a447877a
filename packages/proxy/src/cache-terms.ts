/**
 * What a request lets a shared cache do, and what an answer lets it keep, and for how long (RFC 9111 sections 3 and 4). Pure.
 *
 * Stricter than the RFC where an answer might be meant for one client alone: what a request with fields beyond those that browsers send of
 * themselves brought is not shared, nor what a request with cookies brought unless the answer says that it is everybody's.
 */
import { createHash } from 'node:crypto'
import type { CachePolicy } from '@ringwall/ring'
import { type Directives, dateOf, directivesOf, secondsIn, valuesOf } from './cache-control.ts'
import { isDropped } from './forward-head.ts'
import { detached } from './header-names.ts'
import type { RequestHead } from './request-head.ts'

const KEY_CHARS_MAX = 4_096
const VARY_NAMES_MAX = 8
const VARIED_CHARS_MAX = 8_192
/** One spelling of one host: no capitals, no final dot. */
const PLAIN_AUTHORITY = /^(?:\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::[0-9]{1,5})?$/
/** What one server takes for a separator, a dot segment or a parameter, and another does not. */
const UNCLEAR_PATH = /[;\\]|\/\/|\/\.{1,2}(?:\/|$)|%(?:0|1|2[3ef]|3[bf]|5c|7f|25)/i
/** Statuses that are understood, and may be kept when they say for how long (RFC 9110 section 15.1, and 302 and 307). */
const STATUSES: ReadonlySet<number> = new Set([200, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 501])
/** Those that `ttl` of the policy is about. */
const PLAIN_STATUSES: ReadonlySet<number> = new Set([200, 203, 300, 301, 308])

/** Fields of requests that change nothing, or what `Vary` must name if they do, as browsers send them to everybody. */
const COMMON: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'authorization',
  'cache-control',
  'connection',
  'cookie',
  'device-memory',
  'dnt',
  'downlink',
  'dpr',
  'ect',
  'host',
  'if-modified-since',
  'if-none-match',
  'pragma',
  'priority',
  'purpose',
  'referer',
  'rtt',
  'save-data',
  'upgrade-insecure-requests',
  'user-agent',
  'via',
  'viewport-width',
  'width',
])
/** We tell the upstream ourselves, each client something else: an answer that varies by it is one client's. */
const CLIENTS_OWN: ReadonlySet<string> = new Set([
  'forwarded',
  'te',
  'traceparent',
  'tracestate',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-request-id',
])

export interface CacheRequest {
  /** Scheme, host and target, as the upstream is told them. */
  readonly key: string
  readonly rawHeaders: readonly string[]
  /** A GET for the whole, whose answer others may get. */
  readonly isShared: boolean
  /** Fields that may change the answer, unless `Vary` names them. In lower case. */
  readonly uncommon: readonly string[]
  readonly hasAuthorization: boolean
  /** And the policy heeds them. */
  readonly hasCookies: boolean
  /** Names, in lower case, of fields in which the upstream is told who it is. */
  readonly told: readonly string[]
  readonly isConditional: boolean
  readonly noStore: boolean
  /** The client wants it asked for anew. */
  readonly noCache: boolean
  readonly onlyIfCached: boolean
  /** Milliseconds. */
  readonly maxAgeMs: number | undefined
  readonly minFreshMs: number
  /** How long past its time it may be; undefined: not at all. */
  readonly maxStaleMs: number | undefined
}

/**
 * Undefined when the cache has nothing to do with the request.
 *
 * @param proto As the upstream is told. @param isKnown The caller showed a credential, or a certificate of the ring.
 * @param ownCookies Names of cookies that are ours, and change no answer. @param told See `CacheRequest`.
 */
export function cacheRequest(
  head: RequestHead,
  rawHeaders: readonly string[],
  proto: 'http' | 'https',
  isKnown: boolean,
  policy: CachePolicy,
  ownCookies: readonly string[] = [],
  told: readonly string[] = [],
): CacheRequest | undefined {
  const { method, authority, target } = head
  if ((method !== 'GET' && method !== 'HEAD') || head.upgrade || head.contentLength !== 0) return undefined
  // What Connection names does not reach the upstream, and would seem to have.
  if (head.connectionNames !== undefined) return undefined
  const key = resourceKey(proto, authority, target)
  if (key === undefined) return undefined
  let [hasAuthorization, hasCookies, isConditional, hasRange] = [isKnown, false, false, false]
  const uncommon: string[] = []
  const controls: string[] = []
  let pragma = false
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase()
    const value = rawHeaders[at + 1]!
    if (name === 'authorization') hasAuthorization = true
    else if (name === 'cookie') hasCookies ||= policy.cookies === 'heed' && hasOtherCookie(value, ownCookies)
    else if (name === 'range') hasRange = true
    else if (name === 'if-none-match' || name === 'if-modified-since') isConditional = true
    // Only the origin can say (RFC 9111 section 4.3.2).
    else if (name === 'if-match' || name === 'if-unmodified-since') return undefined
    else if (name === 'cache-control') controls.push(value)
    else if (name === 'pragma') pragma ||= value.toLowerCase().includes('no-cache')
    else if (name === 'if-range') continue
    else if (!COMMON.has(name) && !name.startsWith('sec-') && !isDropped(name) && !isIgnored(policy, name)) uncommon.push(name)
  }
  const directives = controls.length === 0 ? NONE : directivesOf(controls)
  const staleS = directives.has('max-stale') ? (directives.get('max-stale') ?? '2147483648') : undefined
  const maxAgeS = secondsIn(directives, 'max-age')
  return {
    key,
    rawHeaders,
    isShared: method === 'GET' && !hasRange && !directives.has('no-store'),
    uncommon,
    hasAuthorization,
    hasCookies,
    told,
    isConditional,
    noStore: directives.has('no-store'),
    // Section 5.4: Pragma counts where there is no Cache-Control.
    noCache: directives.has('no-cache') || (pragma && controls.length === 0),
    onlyIfCached: directives.has('only-if-cached'),
    maxAgeMs: maxAgeS === undefined ? undefined : maxAgeS * 1_000,
    minFreshMs: (secondsIn(directives, 'min-fresh') ?? 0) * 1_000,
    maxStaleMs: staleS === undefined || !/^[0-9]{1,10}$/.test(staleS) ? undefined : Number(staleS) * 1_000,
  }
}

const NONE: Directives = new Map()

/** Whether there is a cookie beside those, in the value of one `Cookie` line. */
export function hasOtherCookie(value: string, own: readonly string[]): boolean {
  return value.split(';').some((pair) => {
    const at = pair.indexOf('=')
    const name = (at < 0 ? pair : pair.slice(0, at)).trim()
    return !own.includes(name) && pair.trim() !== ''
  })
}

function isIgnored({ ignoreHeaders }: CachePolicy, name: string): boolean {
  return ignoreHeaders.some((each) => each.toLowerCase() === name)
}

/** Undefined for an address that can be read in two ways: what one reading brought must not answer the other. */
export function resourceKey(proto: string, authority: string, target: string): string | undefined {
  if (!PLAIN_AUTHORITY.test(authority) || authority.endsWith(proto === 'https' ? ':443' : ':80')) return undefined
  if (authority.length + target.length > KEY_CHARS_MAX) return undefined
  const query = target.indexOf('?')
  if (UNCLEAR_PATH.test(query < 0 ? target : target.slice(0, query))) return undefined
  return `${proto}://${authority}${target}`
}

/** What an answer allows. Times are milliseconds. */
export interface KeepingTerms {
  readonly lifetimeMs: number
  /** How old it was when it came (section 4.2.3). */
  readonly initialAgeMs: number
  /** Names, in lower case and sorted. */
  readonly vary: readonly string[]
  /** Must be asked for anew each time. */
  readonly noCache: boolean
  /** Never used past its time; or not because a client does not mind. */
  readonly mustRevalidate: boolean
  readonly maxStaleHolds: boolean
  /** May answer requests with credentials; with cookies. */
  readonly forAuthorized: boolean
  readonly forCookies: boolean
  /** How long past its time it may be used while it is asked for anew; and when the upstream fails (RFC 5861). */
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
}

export interface AnswerHead {
  readonly status: number
  readonly rawHeaders: readonly string[]
}

/**
 * Undefined when it is not to be kept (RFC 9111 section 3), or is not known to be whole.
 *
 * @param nowMs Unix milliseconds. @param delayMs How long the upstream took to begin its answer.
 */
export function keepingTerms(
  { status, rawHeaders }: AnswerHead,
  request: CacheRequest,
  policy: CachePolicy,
  nowMs: number,
  delayMs: number,
): KeepingTerms | undefined {
  if (!request.isShared || !STATUSES.has(status)) return undefined
  if (policy.setCookie === 'refuse' && valuesOf(rawHeaders, 'set-cookie').length > 0) return undefined
  const controls = valuesOf(rawHeaders, 'cache-control')
  const directives = directivesOf(controls)
  // Section 5.2.2.3: who understands the status may set no-store aside, and all statuses above are understood.
  if ((directives.has('no-store') && !directives.has('must-understand')) || directives.has('private')) return undefined
  const isPublic = directives.has('public')
  const sharedS = secondsIn(directives, 's-maxage')
  const isEverybodys = isPublic || sharedS !== undefined
  const mustRevalidate = directives.has('must-revalidate')
  // Section 3.5.
  if (request.hasAuthorization && !isEverybodys && !mustRevalidate) return undefined
  if (request.hasCookies && !isEverybodys) return undefined
  const vary = varyOf(rawHeaders)
  if (vary === undefined || vary.some((name) => isOneClients(name, request))) return undefined
  if (request.uncommon.some((name) => !vary.includes(name))) return undefined
  const lifetimeMs = lifetimeOf(rawHeaders, directives, sharedS, status, policy, nowMs)
  if (lifetimeMs === undefined) return undefined
  const hasValidator = valuesOf(rawHeaders, 'etag').length === 1 || dateOf(rawHeaders, 'last-modified') !== undefined
  const noCache = directives.has('no-cache')
  const staleIfErrorMs = (secondsIn(directives, 'stale-if-error') ?? 0) * 1_000
  const staleWhileRevalidateMs = (secondsIn(directives, 'stale-while-revalidate') ?? 0) * 1_000
  // Kept for nothing if it can neither be used nor be asked about.
  if ((noCache || lifetimeMs === 0) && !hasValidator && staleIfErrorMs === 0 && staleWhileRevalidateMs === 0) return undefined
  return {
    lifetimeMs,
    initialAgeMs: initialAge(rawHeaders, nowMs, delayMs),
    vary,
    noCache,
    // s-maxage says the same (section 5.2.2.10), unless the answer itself says in the same breath how stale it may be.
    mustRevalidate:
      mustRevalidate ||
      directives.has('proxy-revalidate') ||
      (sharedS !== undefined && staleIfErrorMs === 0 && staleWhileRevalidateMs === 0),
    maxStaleHolds: sharedS === undefined,
    forAuthorized: isEverybodys || mustRevalidate,
    forCookies: isEverybodys,
    staleWhileRevalidateMs,
    staleIfErrorMs,
  }
}

/** Whether clients differ in it whatever they send. @param name In lower case. */
function isOneClients(name: string, { told }: CacheRequest): boolean {
  return CLIENTS_OWN.has(name) || name.startsWith('x-ringwall-') || told.includes(name)
}

/** Section 4.2.1. Undefined when nothing says how long: no guess is made (section 4.2.2 allows one). */
function lifetimeOf(
  rawHeaders: readonly string[],
  directives: Directives,
  sharedS: number | undefined,
  status: number,
  { ttl, ttlMax }: CachePolicy,
  nowMs: number,
): number | undefined {
  const seconds = sharedS ?? secondsIn(directives, 'max-age')
  if (seconds !== undefined) return Math.min(seconds * 1_000, ttlMax)
  if (valuesOf(rawHeaders, 'expires').length > 0) {
    const expires = dateOf(rawHeaders, 'expires')
    const date = dateOf(rawHeaders, 'date') ?? nowMs
    return expires === undefined ? 0 : Math.min(Math.max(0, expires - date), ttlMax)
  }
  if (directives.has('no-cache')) return 0
  return ttl === undefined || !PLAIN_STATUSES.has(status) ? undefined : Math.min(ttl, ttlMax)
}

/** Section 4.2.3. */
function initialAge(rawHeaders: readonly string[], nowMs: number, delayMs: number): number {
  const date = dateOf(rawHeaders, 'date') ?? nowMs
  const [age = '0'] = valuesOf(rawHeaders, 'age')
  const ageMs = /^[0-9]{1,10}$/.test(age) ? Number(age) * 1_000 : 0
  return Math.max(0, nowMs - date, ageMs + delayMs)
}

/** Undefined for `*`, for what is no list of names, and for more of them than are told apart. */
function varyOf(rawHeaders: readonly string[]): readonly string[] | undefined {
  const names = new Set<string>()
  for (const value of valuesOf(rawHeaders, 'vary')) {
    for (const part of value.split(',')) {
      const name = part.trim().toLowerCase()
      if (name === '') continue
      if (!/^[!#$%&'+.^_`|~0-9a-z-]{1,64}$/.test(name) || names.size === VARY_NAMES_MAX) return undefined
      names.add(detached(name))
    }
  }
  // Whoever sends it in another form than asked for forgets to say that this depends on the request.
  if (valuesOf(rawHeaders, 'content-encoding').length > 0) names.add('accept-encoding')
  return [...names].sort()
}

/**
 * What a request says of the fields that an answer varies by (section 4.1), in a form in which requests that mean the same are the
 * same; as a hash, since it may be a credential. Undefined: too long to be told apart.
 */
export function variantOf({ rawHeaders }: CacheRequest, vary: readonly string[]): string | undefined {
  if (vary.length === 0) return ''
  let text = ''
  for (const name of vary) {
    // What does not reach the upstream as the client says it is not the client's to vary.
    const values = isDropped(name) ? [] : valuesOf(rawHeaders, name)
    text += `${name}:${values.length === 0 ? '' : `=${normalized(name, values)}`}\n`
    if (text.length > VARIED_CHARS_MAX) return undefined
  }
  return createHash('sha256').update(text, 'latin1').digest('base64')
}

function normalized(name: string, values: readonly string[]): string {
  const members = values.join(',').split(',')
  const trimmed = members.map((member) => member.trim().replace(/[ \t]+/g, ' '))
  if (name === 'accept-encoding') {
    const wanted = trimmed.map((member) => member.toLowerCase().replace(/ *; */g, ';'))
    return [
      ...new Set(
        wanted.map((member) => (/;q=0(?:\.0{0,3})?$/.test(member) ? member.replace(/;q=.*/, ';q=0') : member.replace(/;.*/, ''))),
      ),
    ]
      .filter((member) => member !== '')
      .sort()
      .join(',')
  }
  const text = trimmed.join(',')
  return name === 'accept-language' ? text.toLowerCase() : text
}
