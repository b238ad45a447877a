/** May somebody do something? As a request would be told. */
import type { Access, AccessRequest, RingwallClient } from '@ringwall/client'
import { QuietFailure, UsageError } from '../errors.ts'
import { paint, printable } from '../format.ts'
import { type Format, printOne } from '../output.ts'

export interface CanOptions {
  readonly explain: boolean
  /** `NAME=VALUE`; values as JSON where they are, else as text. */
  readonly claims: readonly string[]
  readonly groups: readonly string[]
  readonly roles: readonly string[]
  readonly source: string | undefined
  /** The service that asks on behalf of the principal. */
  readonly caller: string | undefined
}

/** Fails when it is not allowed, for scripts. */
export async function can(
  client: RingwallClient,
  format: Format,
  principal: string,
  action: string,
  resource: string,
  options: CanOptions,
): Promise<void> {
  const question: AccessRequest = {
    ...whoOf(principal, options),
    action,
    ...resourceOf(resource),
    ...(options.source === undefined ? {} : { source: options.source }),
  }
  const answer = await client.access(question)
  printOne(format, answer, (access) => describe(access, options.explain), answer.allowed ? 'allowed' : 'denied')
  if (!answer.allowed) throw new QuietFailure()
}

const SERVICE = /^(?:(?:service|node)\/|spiffe:\/\/)/

function whoOf(text: string, options: CanOptions): Pick<AccessRequest, 'principal' | 'caller'> {
  const { caller, claims, groups, roles } = options
  if (!SERVICE.test(text)) return { principal: principalOf(text, options), ...(caller === undefined ? {} : { caller }) }
  if (caller !== undefined) throw new UsageError(`${text} asks for itself: leave --caller out`)
  if (claims.length + groups.length + roles.length > 0) throw new UsageError('a certificate has no claims, groups or roles')
  return { principal: null, caller: text }
}

function principalOf(text: string, { claims, groups, roles }: CanOptions): AccessRequest['principal'] {
  if (text === 'anonymous') {
    if (claims.length + groups.length + roles.length > 0) throw new UsageError('nobody known has no claims, groups or roles')
    return null
  }
  const hash = text.lastIndexOf('#')
  const all: Record<string, unknown> = {}
  for (const claim of claims) {
    const at = claim.indexOf('=')
    if (at <= 0) throw new UsageError(`--claim ${claim}: expected NAME=VALUE`)
    all[claim.slice(0, at)] = claimValue(claim.slice(at + 1))
  }
  if (groups.length > 0) all.groups = groups
  if (roles.length > 0) all.roles = roles
  const subject = text.slice(hash + 1)
  return { subject, claims: all, ...(hash < 0 ? {} : { issuer: text.slice(0, hash) }) }
}

function claimValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function resourceOf(
  text: string,
): { readonly service: string; readonly path: string } | { readonly host: string; readonly path: string } {
  if (/^https?:\/\//.test(text)) {
    const url = URL.parse(text)
    if (url === null) throw new UsageError(`${text} is no URL`)
    // As it is written: what a URL parser resolves, the proxy is to see.
    const path = text.replace(/^https?:\/\/[^/?#]*/, '').replace(/[?#].*$/, '')
    return { host: url.hostname, path: path === '' ? '/' : path }
  }
  const [, service, path] = /^([a-z0-9][a-z0-9-]{0,62})(\/.*)?$/.exec(text) ?? []
  if (service === undefined) throw new UsageError(`${text}: expected SERVICE, SERVICE/PATH or a URL`)
  return { service, path: path ?? '/' }
}

function describe(access: Access, isExplained: boolean): string {
  const { allowed, reason, rule, check, status, height, policyVersion, node, principal, action, method, service, route, path } =
    access
  const verdict = allowed ? paint('green', 'allowed') : paint('red', 'denied')
  if (!isExplained) return allowed ? verdict : `${verdict}: ${printable(reason)}`
  const named = action === method ? '' : ` (${method})`
  return [
    `${verdict} ${status}`,
    `  principal ${printable(principal)}`,
    `  action    ${printable(action)}${named}`,
    `  resource  ${printable(`${service ?? 'no service'}${path}`)}${route === null ? '' : `, route ${route}`}`,
    `  decided   by ${check === 'none' ? 'no check: nothing objected' : check}${rule === null ? '' : `, ${printable(rule)}`}`,
    `  because   ${printable(reason)}`,
    `  view      policy ${policyVersion} at height ${height}, on ${printable(node)}`,
  ].join('\n')
}
