/** What is wrong with where a service's requests go, though its shape is right. */
import { didYouMean } from './did-you-mean.ts'
import type { RewritePolicy, RoutePolicy, ServicePolicy } from './policy.ts'
import type { PolicyFault } from './policy-faults.ts'

type Place = readonly PropertyKey[]

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const FIELDS_MAX = 32

export function upstreamFaults(service: ServicePolicy, at: Place, faults: PolicyFault[]): void {
  const { health, outliers, retries, hedge, sticky, mirror, slowStart, upstreams } = service
  bounds(slowStart, 0, HOUR_MS, [...at, 'slowStart'], faults)
  if (health !== undefined) {
    bounds(health.interval, 100, HOUR_MS, [...at, 'health', 'interval'], faults)
    bounds(health.timeout, 10, MINUTE_MS, [...at, 'health', 'timeout'], faults)
    if (upstreams.some(({ http2 }) => http2)) {
      const message = 'checks ask over HTTP/1.1, and an upstream of this service speaks HTTP/2'
      faults.push({
        path: [...at, 'health'],
        onKey: true,
        message,
        hint: 'leave health out: answers and connects are watched anyway',
      })
    }
  }
  bounds(outliers.ejectFor, 100, HOUR_MS, [...at, 'outliers', 'ejectFor'], faults)
  bounds(outliers.ejectForMax, outliers.ejectFor, DAY_MS, [...at, 'outliers', 'ejectForMax'], faults)
  if (retries.perTryTimeout !== undefined)
    bounds(retries.perTryTimeout, 10, service.upstreamTimeout, [...at, 'retries', 'perTryTimeout'], faults)
  if (hedge !== undefined) {
    bounds(hedge.delayMin, 1, MINUTE_MS, [...at, 'hedge', 'delayMin'], faults)
    if (upstreams.length === 1) {
      const message = 'there is no second upstream to ask'
      faults.push({ path: [...at, 'hedge'], onKey: true, message, hint: 'add one, or leave hedge out' })
    }
  }
  if (sticky?.maxAge !== undefined) bounds(sticky.maxAge, 1_000, 400 * DAY_MS, [...at, 'sticky', 'maxAge'], faults)
  if (mirror !== undefined && upstreams.some(({ url }) => originOf(url) === originOf(mirror.url))) {
    const message = `${mirror.url} is one of this service’s upstreams: it would get these requests twice`
    faults.push({ path: [...at, 'mirror', 'url'], message, hint: 'mirror to another one' })
  }
  splitFaults(service, at, faults)
  rewriteFaults(service.rewrite, [...at, 'rewrite'], faults)
  for (const [index, route] of service.routes.entries()) {
    const place = [...at, 'routes', index, 'rewrite']
    rewriteFaults(route.rewrite, place, faults)
    reachFaults(route, place, faults)
  }
}

function originOf(url: string): string {
  return url.replace(/\/$/, '').toLowerCase()
}

function bounds(ms: number, min: number, max: number, path: Place, faults: PolicyFault[]): void {
  if (ms >= min && ms <= max) return
  faults.push({ path, message: `expected ${duration(min)} to ${duration(max)}, found ${duration(ms)}` })
}

function duration(ms: number): string {
  if (ms !== 0 && ms % HOUR_MS === 0) return ms % DAY_MS === 0 ? `${ms / DAY_MS}d` : `${ms / HOUR_MS}h`
  if (ms % 1_000 === 0) return ms !== 0 && ms % MINUTE_MS === 0 ? `${ms / MINUTE_MS}m` : `${ms / 1_000}s`
  return `${ms}ms`
}

function splitFaults(service: ServicePolicy, at: Place, faults: PolicyFault[]): void {
  const { split, upstreams } = service
  if (split === undefined) {
    for (const [index, { subset }] of upstreams.entries()) {
      if (subset === undefined) continue
      const message = `the subset ${subset} has no weight, because this service has no split`
      faults.push({ path: [...at, 'upstreams', index, 'subset'], message, hint: `add split: { ${subset}: 1, … } to the service` })
    }
    return
  }
  const known = new Set(upstreams.flatMap(({ subset }) => subset ?? []))
  for (const name of Object.keys(split)) {
    if (known.has(name)) continue
    const near = didYouMean(name, known)
    const hint = near === undefined ? 'give some upstreams this subset' : `did you mean ${near}?`
    faults.push({ path: [...at, 'split', name], onKey: true, message: `no upstream is of the subset ${name}`, hint })
  }
  for (const [index, { subset, url }] of upstreams.entries()) {
    if (subset !== undefined && Object.hasOwn(split, subset)) continue
    const message = subset === undefined ? `the upstream ${url} is of no subset` : `split does not weigh the subset ${subset}`
    faults.push({ path: [...at, 'upstreams', index], message, hint: `with split, each upstream is of one of its subsets` })
  }
  if (!Object.values(split).some((weight) => weight > 0)) {
    faults.push({ path: [...at, 'split'], onKey: true, message: 'no subset has a weight', hint: 'give at least one more than 0' })
  }
}

/** A rewriting that no request of its route could meet does nothing. */
function reachFaults(route: RoutePolicy, at: Place, faults: PolicyFault[]): void {
  const from = route.rewrite?.path?.from
  if (from === undefined || isUnder(route.path, from) || isUnder(from, route.path)) return
  const message = `no path of this route begins with ${from}`
  faults.push({ path: [...at, 'path', 'from'], message, hint: `the route’s path is ${route.path}` })
}

function isUnder(path: string, base: string): boolean {
  const trimmed = base.replace(/\/$/, '')
  return path.startsWith(trimmed) && (path.length === trimmed.length || path[trimmed.length] === '/' || trimmed === '')
}

function rewriteFaults(rewrite: RewritePolicy | undefined, at: Place, faults: PolicyFault[]): void {
  if (rewrite === undefined) return
  for (const key of ['from', 'to'] as const) {
    const path = rewrite.path?.[key]
    if (path === undefined || !UNCLEAR_PATH.test(path)) continue
    const message = `${path} can be read in more than one way`
    faults.push({ path: [...at, 'path', key], message, hint: 'write it without %, ;, ?, #, \\, //, /. and /..' })
  }
  for (const side of ['request', 'response'] as const) {
    const { set, remove } = rewrite[side]
    const place = [...at, side]
    const names = Object.keys(set)
    if (names.length > FIELDS_MAX) {
      faults.push({ path: [...place, 'set'], onKey: true, message: `${names.length} headers, at most ${FIELDS_MAX} are set` })
    }
    const seen = new Map<string, string>()
    for (const name of names) {
      const path = [...place, 'set', name]
      const folded = name.toLowerCase()
      const reason = refusedHeader(folded, side) ?? (side === 'response' ? RESPONSE_SET_REFUSED.get(folded) : undefined)
      if (reason !== undefined) faults.push({ path, onKey: true, message: `${name} cannot be set: ${reason}` })
      else if (seen.has(folded)) faults.push({ path, onKey: true, message: `${name} is set twice`, hint: 'keep one of the two' })
      seen.set(folded, name)
    }
    for (const [index, name] of remove.entries()) {
      const path = [...place, 'remove', index]
      const reason = refusedHeader(name.toLowerCase(), side)
      if (reason !== undefined) faults.push({ path, message: `${name} cannot be removed: ${reason}` })
      else if (seen.has(name.toLowerCase())) {
        faults.push({ path, message: `${name} is set, too`, hint: 'to set it replaces what there is' })
      }
      seen.set(name.toLowerCase(), name)
    }
  }
}

/** Encodings, parameters, queries, fragments, backslashes, empty and dot segments. */
const UNCLEAR_PATH = /[%;?#\\]|\/\/|\/\.\.?(\/|$)/

const CONNECTION = 'it belongs to the connection (RFC 9110 section 7.6.1)'
const FRAMING = 'it says where the message ends'
const OURS = 'the proxy says it'

const REFUSED: ReadonlyMap<string, string> = new Map([
  ...[
    'connection',
    'keep-alive',
    'proxy-connection',
    'proxy-authenticate',
    'proxy-authorization',
    'te',
    'trailer',
    'upgrade',
    'http2-settings',
  ].map((name) => [name, CONNECTION] as const),
  ...['content-length', 'transfer-encoding', 'content-encoding', 'expect'].map((name) => [name, FRAMING] as const),
  ...['x-request-id', 'date'].map((name) => [name, OURS] as const),
])

const REQUEST_REFUSED: ReadonlyMap<string, string> = new Map([
  ['host', 'rewrite.host does that'],
  ...['forwarded', 'x-real-ip', 'traceparent', 'tracestate', 'ringwall-password'].map((name) => [name, OURS] as const),
  ...['x-original-url', 'x-rewrite-url'].map(
    (name) => [name, 'upstreams route by it instead of the path that was judged'] as const,
  ),
])

const RESPONSE_SET_REFUSED: ReadonlyMap<string, string> = new Map([
  ['set-cookie', 'every cookie of the upstream would be lost'],
  ['content-range', FRAMING],
])

/** @param name In lower case. Servers of the CGI kind read `_` as `-`. */
function refusedHeader(name: string, side: 'request' | 'response'): string | undefined {
  const plain = name.replaceAll('_', '-')
  if (plain.startsWith('x-ringwall-')) return OURS
  const refused = REFUSED.get(plain)
  if (refused !== undefined || side === 'response') return refused
  return plain.startsWith('x-forwarded-') ? OURS : REQUEST_REFUSED.get(plain)
}
