/** What is wrong with a policy though its shape is right: addresses, names used twice, references to nothing. */
import { formatPrefix, parseAddress, parsePrefix, parsePrefixLoosely } from './address.ts'
import { didYouMean } from './did-you-mean.ts'
import { type LimitPolicy, PASS_MS_MAX, PASS_MS_MIN, type Policy, type RoutePolicy, type ServicePolicy } from './policy.ts'
import { anomalyFaults } from './policy-anomalies.ts'
import { compiledApi } from './policy-api.ts'
import { cacheFaults } from './policy-delivery.ts'
import { detectionFaults } from './policy-detection.ts'
import { openIdFaults } from './policy-openid.ts'
import { peopleFaults } from './policy-people.ts'
import { playbookFaults } from './policy-playbooks.ts'
import { providerFaults } from './policy-providers.ts'
import { samlFaults } from './policy-saml.ts'
import { upstreamFaults } from './policy-upstream-faults.ts'
import { workloadFaults } from './policy-workloads.ts'

/** One fault, by its place in the document. */
export interface PolicyFault {
  readonly path: readonly PropertyKey[]
  /** The key itself is at fault, not its value. */
  readonly onKey?: boolean
  /** Line and column, from 1, within the text that stands there. */
  readonly within?: { readonly line: number; readonly column: number }
  readonly message: string
  readonly hint?: string
}

const HOST_LABELS = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/

export function policyFaults(policy: Policy): PolicyFault[] {
  const faults: PolicyFault[] = []
  prefixFaults(policy.trustedProxies, ['trustedProxies'], faults)
  prefixFaults(policy.denials.safe, ['denials', 'safe'], faults)
  for (const [name, { prefixes }] of Object.entries(policy.bots)) prefixFaults(prefixes, ['bots', name, 'prefixes'], faults)
  repeated(policy.tests.map(({ name }) => name)).forEach(({ index, value }) => {
    faults.push({ path: ['tests', index, 'name'], message: `the test ${value} occurs twice`, hint: 'give each its own name' })
  })
  for (const [index, { mode, rate }] of policy.indicators.entries()) {
    if ((mode === 'limit') === (rate !== undefined)) continue
    const message = mode === 'limit' ? 'a limit needs a rate' : `${mode} has no rate`
    faults.push({ path: ['indicators', index, 'mode'], message, hint: 'write mode: limit with rate: 10/m' })
  }
  const slowWindow = policy.detectors.slowLogins?.window
  if (slowWindow !== undefined && (slowWindow < 3_600_000 || slowWindow > 90 * 86_400_000)) {
    const message = `expected 1h to 90d, found ${slowWindow / 1_000} s`
    faults.push({ path: ['detectors', 'slowLogins', 'window'], message, hint: 'the default is 3d' })
  }
  faults.push(...detectionFaults(policy), ...anomalyFaults(policy))
  faults.push(...playbookFaults(policy.playbooks))
  for (const [list, kind] of [
    ['bouncers', 'bouncer'],
    ['taxii', 'client'],
  ] as const) {
    const listed: readonly { readonly name: string; readonly keyHash: string }[] = policy[list]
    repeated(listed.map(({ name }) => name)).forEach(({ index, value }) => {
      faults.push({ path: [list, index, 'name'], message: `the ${kind} ${value} occurs twice`, hint: 'keep one of the two' })
    })
    repeated(listed.map(({ keyHash }) => keyHash)).forEach(({ index }) => {
      const add = list === 'taxii' ? 'taxii' : kind
      const hint = `give each its own: ringwall ${add} add makes one`
      faults.push({ path: [list, index, 'keyHash'], message: `two ${kind}s have the same key`, hint })
    })
  }
  temporaryFaults(policy, 'exceptions', 'exception', faults)
  temporaryFaults(policy, 'patches', 'patch', faults)
  for (const [index, { request }] of policy.tests.entries()) {
    if (parseAddress(request.source) !== undefined) continue
    const message = `expected an IP address, found ${JSON.stringify(request.source)}`
    faults.push({ path: ['tests', index, 'request', 'source'], message })
  }
  const waits = policy.operators.within
  if (waits < 60_000 || waits > 7 * 86_400_000) {
    const message = `expected 1m to 7d, found ${waits / 1_000} s`
    faults.push({ path: ['operators', 'within'], message, hint: 'the default is 24h' })
  }
  const { within, alone } = policy.denials.corroboration
  if (alone < 1_000 || alone > 60_000) {
    const message = `expected 1s to 1m, found ${alone / 1_000} s`
    faults.push({ path: ['denials', 'corroboration', 'alone'], message, hint: 'the default is 10s' })
  }
  if (within < 10_000 || within > 3_600_000) {
    const message = `expected 10s to 1h, found ${within / 1_000} s`
    faults.push({ path: ['denials', 'corroboration', 'within'], message, hint: 'the default is 10m' })
  }
  repeated(policy.issuers.map(({ issuer }) => issuer)).forEach(({ index, value }) => {
    faults.push({ path: ['issuers', index, 'issuer'], message: `the issuer ${value} occurs twice`, hint: 'keep one of the two' })
  })
  if (Object.values(policy.services).some(({ authorization }) => authorization !== undefined)) {
    for (const [index, { issuer }] of policy.issuers.entries()) {
      if (!issuer.includes('#')) continue
      const message = `the issuer ${issuer} has a # in it, which parts issuer and subject in the names of principals`
      faults.push({ path: ['issuers', index, 'issuer'], message, hint: 'authorization needs issuers without it' })
    }
  }
  faults.push(...workloadFaults(policy))
  faults.push(...openIdFaults(policy))
  faults.push(...providerFaults(policy))
  faults.push(...samlFaults(policy))
  const hosts = new Map<string, string>()
  for (const [name, service] of Object.entries(policy.services)) {
    const at = ['services', name] as const
    for (const [index, host] of service.hosts.entries()) {
      const path = [...at, 'hosts', index]
      const folded = host.toLowerCase()
      if (!isHostPattern(folded)) {
        const hint = 'write a host without port or scheme, *.DOMAIN or *'
        faults.push({ path, message: `${JSON.stringify(host)} is no host name`, hint })
      }
      const owner = hosts.get(folded)
      // One that only some nodes serve leaves its hosts to the next on all others.
      if (owner !== undefined && (owner === name || policy.services[owner]?.nodes === undefined)) {
        const isOwn = owner === name
        const message = `the host ${host} belongs to ${isOwn ? 'this service already' : `the service ${owner}`}`
        const hint = isOwn ? 'name it once' : `name it once, or say before this one which nodes serve ${owner}: nodes: role=edge`
        faults.push({ path, message, hint })
      }
      hosts.set(folded, name)
    }
    repeated(service.upstreams.map(({ url }) => url)).forEach(({ index, value }) => {
      faults.push({
        path: [...at, 'upstreams', index, 'url'],
        message: `the upstream ${value} occurs twice`,
        hint: 'keep one of the two',
      })
    })
    upstreamFaults(service, at, faults)
    cacheFaults(service.cache, at, faults)
    for (const [index, { cache }] of service.routes.entries()) cacheFaults(cache, [...at, 'routes', index], faults)
    limitFaults(service.limits, [...at, 'limits'], faults)
    accountFaults(service, at, faults)
    peopleFaults(service.people, at, faults)
    for (const [index, route] of service.routes.entries()) {
      if (route.people === undefined || service.people !== undefined) continue
      const message = `the route ${route.name} speaks of people, and the service does not`
      faults.push({ path: [...at, 'routes', index, 'people'], message, hint: 'add people: {} to the service' })
    }
    sourceFaults(service, at, faults)
    const { passFor } = service.challenge
    if (passFor < PASS_MS_MIN || passFor > PASS_MS_MAX) {
      const message = `expected 5s to 24h, found ${passFor / 1_000} s`
      faults.push({ path: [...at, 'challenge', 'passFor'], message, hint: 'the default is 1h' })
    }
    issuerFaults(policy, service.identity?.issuers ?? [], [...at, 'identity', 'issuers'], faults)
    routeFaults(policy, service.routes, [...at, 'routes'], faults)
    apiFaults(service, at, faults)
    actionFaults(service, at, faults)
  }
  return faults
}

function apiFaults({ api, routes, waf }: ServicePolicy, at: readonly PropertyKey[], faults: PolicyFault[]): void {
  if (api === undefined) {
    for (const [index, route] of routes.entries()) {
      if (route.api === undefined) continue
      const message = `the route ${route.name} speaks of an api, and the service has none`
      faults.push({ path: [...at, 'routes', index, 'api'], message, hint: 'ringwall policy import openapi FILE writes one' })
    }
    return
  }
  if (waf.bodyBytesMax === 0) {
    const message = 'an api cannot be held against bodies of which nothing is read'
    faults.push({ path: [...at, 'waf', 'bodyBytesMax'], message, hint: 'the default is 131072' })
  }
  const compilation = compiledApi(api)
  if (compilation.ok) return
  for (const fault of compilation.faults) faults.push({ ...fault, path: [...at, 'api', ...fault.path] })
}

/** Of what is about a place of a service, for a time. */
function temporaryFaults(policy: Policy, key: 'exceptions' | 'patches', word: string, faults: PolicyFault[]): void {
  const { services } = policy
  const all: readonly {
    readonly name: string
    readonly service: string
    readonly route?: string | undefined
    readonly until: string
  }[] = policy[key]
  repeated(all.map(({ name }) => name)).forEach(({ index, value }) => {
    faults.push({ path: [key, index, 'name'], message: `the ${word} ${value} occurs twice`, hint: 'give each its own name' })
  })
  for (const [index, { service, route, until }] of all.entries()) {
    const at = [key, index] as const
    const known = Object.hasOwn(services, service) ? services[service]! : undefined
    const named = (what: string, value: string, names: readonly string[]): void => {
      const near = didYouMean(value, names)
      const hint = near === undefined ? 'name one of the policy’s' : `did you mean ${near}?`
      faults.push({ path: [...at, what], message: `there is no ${what} ${value}`, hint })
    }
    if (known === undefined) named('service', service, Object.keys(services))
    const routes = known?.routes.map(({ name }) => name) ?? []
    if (known !== undefined && route !== undefined && !routes.includes(route)) named('route', route, routes)
    if (untilMs(until) === undefined)
      faults.push({ path: [...at, 'until'], message: `${until} is no moment`, hint: 'write it as 2027-01-31T12:00:00Z' })
  }
}

/** Unix milliseconds of an exception's `until`; undefined for days and hours that are none. */
export function untilMs(until: string): number | undefined {
  const ms = Date.parse(until)
  return Number.isNaN(ms) || `${new Date(ms).toISOString().slice(0, 19)}Z` !== until ? undefined : ms
}

/** A name, an IPv4 or IPv6 address, `*.NAME` or `*`. Already in lower case. */
function isHostPattern(host: string): boolean {
  if (host === '*') return true
  if (host.startsWith('*.')) return HOST_LABELS.test(host.slice(2))
  return HOST_LABELS.test(host) || parseAddress(host.replace(/^\[(.*)\]$/, '$1')) !== undefined
}

function prefixFaults(texts: readonly string[], at: readonly PropertyKey[], faults: PolicyFault[]): void {
  for (const [index, text] of texts.entries()) {
    if (parsePrefix(text) !== undefined) continue
    const meant = parsePrefixLoosely(text)
    const path = [...at, index]
    faults.push(
      meant === undefined
        ? {
            path,
            message: `expected an IP address or CIDR prefix, found ${JSON.stringify(text)}`,
            hint: 'for example 203.0.113.0/24',
          }
        : { path, message: `${text} has bits set beyond its length`, hint: `did you mean ${formatPrefix(meant)}?` },
    )
  }
}

function limitFaults(limits: readonly LimitPolicy[], at: readonly PropertyKey[], faults: PolicyFault[]): void {
  repeated(limits.map(({ name }) => name)).forEach(({ index, value }) => {
    faults.push({ path: [...at, index, 'name'], message: `the limit ${value} occurs twice`, hint: 'give each its own name' })
  })
}

function sourceFaults({ sources, limits, routes }: ServicePolicy, at: readonly PropertyKey[], faults: PolicyFault[]): void {
  const look = (part: Pick<RoutePolicy, 'sources' | 'limits'>, path: readonly PropertyKey[]): void => {
    for (const key of ['allow', 'deny'] as const)
      prefixFaults(part.sources?.[key]?.prefixes ?? [], [...path, 'sources', key, 'prefixes'], faults)
    for (const [index, limit] of part.limits.entries())
      for (const key of ['from', 'except'] as const)
        prefixFaults(limit[key]?.prefixes ?? [], [...path, 'limits', index, key, 'prefixes'], faults)
  }
  look({ sources, limits }, at)
  for (const [index, route] of routes.entries()) look(route, [...at, 'routes', index])
}

/** Accounts are known where a route says which field names them. */
function accountFaults({ limits, routes }: ServicePolicy, at: readonly PropertyKey[], faults: PolicyFault[]): void {
  const needs = ({ key, count }: LimitPolicy): boolean => key.includes('account') || count === 'accounts'
  const find = (list: readonly LimitPolicy[], path: readonly PropertyKey[]): void => {
    for (const [index, limit] of list.entries()) {
      if (!needs(limit)) continue
      const message = `the limit ${limit.name} is about accounts, and nothing here says where they are named`
      faults.push({ path: [...path, 'limits', index], message, hint: 'put it into a route with login or signup' })
    }
  }
  find(limits, at)
  for (const [index, { name, limits: own, login, signup }] of routes.entries()) {
    const path = [...at, 'routes', index]
    if (login === undefined && signup === undefined) find(own, path)
    if (login !== undefined && signup !== undefined) {
      const message = `the route ${name} has both login and signup`
      faults.push({ path: [...path, 'signup'], message, hint: 'keep one of the two, or make two routes by method' })
    }
    for (const [key, declared] of [
      ['login', login],
      ['signup', signup],
    ] as const) {
      if (declared === undefined || declared.breached === 'pass' || declared.password !== undefined) continue
      const message = `what becomes of breached passwords is said, and not which field holds the password`
      faults.push({ path: [...path, key, 'breached'], message, hint: 'name it: password: FIELD' })
    }
  }
}

function issuerFaults(policy: Policy, names: readonly string[], at: readonly PropertyKey[], faults: PolicyFault[]): void {
  const known = policy.issuers.map(({ issuer }) => issuer)
  for (const [index, name] of names.entries()) {
    if (known.includes(name) || name === 'ring') continue
    const near = didYouMean(name, [...known, 'ring'])
    const hint = near === undefined ? 'list it under issuers' : `did you mean ${near}?`
    faults.push({ path: [...at, index], message: `the issuer ${name} is not in issuers`, hint })
  }
}

function actionFaults({ authorization, routes }: ServicePolicy, at: readonly PropertyKey[], faults: PolicyFault[]): void {
  for (const [index, { name, action }] of routes.entries()) {
    if (action === undefined) continue
    const path = [...at, 'routes', index, 'action']
    if (authorization === undefined) {
      const message = `the route ${name} names an action, and the service has no authorization`
      faults.push({ path, message, hint: 'write the service’s authorization, or leave the action out' })
    } else if (action === 'read' || action === 'write') {
      faults.push({ path, message: `${action} is a group of actions`, hint: 'name the action otherwise' })
    }
  }
}

function routeFaults(policy: Policy, routes: readonly RoutePolicy[], at: readonly PropertyKey[], faults: PolicyFault[]): void {
  repeated(routes.map(({ name }) => name)).forEach(({ index, value }) => {
    faults.push({ path: [...at, index, 'name'], message: `the route ${value} occurs twice`, hint: 'give each its own name' })
  })
  const byPath = new Map<string, RoutePolicy[]>()
  for (const [index, route] of routes.entries()) {
    const same = byPath.get(route.path) ?? []
    const rival = same.find((other) => methodsMeet(other.methods, route.methods))
    if (rival !== undefined) {
      const message = `the route ${rival.name} has this path and a method in common`
      faults.push({ path: [...at, index, 'path'], message, hint: 'join the two, or give them different methods' })
    }
    byPath.set(route.path, [...same, route])
    limitFaults(route.limits, [...at, index, 'limits'], faults)
    issuerFaults(policy, route.identity?.issuers ?? [], [...at, index, 'identity', 'issuers'], faults)
  }
}

function methodsMeet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === 0 ? b.length === 0 : a.some((method) => b.includes(method))
}

/** Each value that was there before, with its place. */
function repeated(values: readonly string[]): { readonly index: number; readonly value: string }[] {
  const seen = new Set<string>()
  return values.flatMap((value, index) => {
    if (seen.has(value)) return [{ index, value }]
    seen.add(value)
    return []
  })
}
