/** What a service or route has changed on the way to its upstream and back. Pure; made once from the policy. */
import type { RewritePolicy } from '@ringwall/ring'

export interface HeaderRewriting {
  /** Names, in lower case, that do not pass. `_` is read as `-`, as servers of the CGI kind do. */
  readonly dropped: ReadonlySet<string>
  /** Fields that are added: names and values in turn; and the same as lines. */
  readonly fields: readonly string[]
  readonly added: string
}

export interface Rewriting {
  readonly host: string | undefined
  readonly request: HeaderRewriting | undefined
  readonly response: HeaderRewriting | undefined
  readonly path: { readonly from: string; readonly to: string } | undefined
}

const made = new WeakMap<RewritePolicy, Rewriting>()

export function rewritingOf(policy: RewritePolicy): Rewriting {
  const found = made.get(policy)
  if (found !== undefined) return found
  const rewriting = {
    host: policy.host,
    request: headers(policy.request),
    response: headers(policy.response),
    path: policy.path && { from: trimmed(policy.path.from), to: trimmed(policy.path.to) },
  }
  made.set(policy, rewriting)
  return rewriting
}

function headers({ set, remove }: RewritePolicy['request']): HeaderRewriting | undefined {
  const fields = Object.entries(set)
  if (fields.length === 0 && remove.length === 0) return undefined
  return {
    dropped: new Set([...fields.map(([name]) => foldedName(name)), ...remove.map(foldedName)]),
    fields: fields.flat(),
    added: fields.map(([name, value]) => `${name}: ${value}\r\n`).join(''),
  }
}

/** Names and values in turn, with what is dropped and added. */
export function rewrittenFields({ dropped, fields }: HeaderRewriting, rawHeaders: readonly string[]): readonly string[] {
  const kept: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (!dropped.has(foldedName(rawHeaders[at]!))) kept.push(rawHeaders[at]!, rawHeaders[at + 1]!)
  }
  kept.push(...fields)
  return kept
}

export function foldedName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

function trimmed(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}

/**
 * The target with its prefix exchanged; as it is where it has not that prefix.
 *
 * @param target Origin form, as received.
 * @param routingPath What routing read from it.
 * @returns undefined when the two do not agree on the prefix: the target is written so that it can be read in two ways, and one
 *   of them would leave the part of the upstream that the rewriting keeps it to.
 */
export function rewrittenTarget(
  { from, to }: NonNullable<Rewriting['path']>,
  target: string,
  routingPath: string,
): string | undefined {
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  const under = isUnder(path, from)
  if (under !== isUnder(routingPath, from)) return undefined
  if (!under) return target
  const rest = path.slice(from.length)
  if (climbs(rest)) return undefined
  // One slash: two at the beginning read as a host in some places.
  const joined = `${to}${rest}`.replace(/^\/{2,}/, '/')
  return `${joined === '' ? '/' : joined}${query < 0 ? '' : target.slice(query)}`
}

function isUnder(path: string, base: string): boolean {
  return path.startsWith(base) && (path.length === base.length || path.charCodeAt(base.length) === 0x2f)
}

/** What dot segments are made of, and what hides them. */
const SUSPECT = /\.\.|[%;\\]/
const ROUNDS_MAX = 4

/**
 * Whether dot segments might lead above where it begins: as it stands and decoded as often as some server might, with
 * backslashes for slashes or not, with segment parameters or without them.
 */
function climbs(rest: string): boolean {
  if (!SUSPECT.test(rest)) return false
  let reading = rest
  for (let round = 0; ; round++) {
    const slashed = reading.replaceAll('\\', '/')
    for (const each of slashed === reading ? [reading] : [reading, slashed]) {
      if (leadsUp(each.split('/')) || leadsUp(each.replace(/;[^/]*/g, '').split('/'))) return true
    }
    const decoded = reading.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    if (decoded === reading) return false
    // Nobody who is honest encodes so often.
    if (round === ROUNDS_MAX) return true
    reading = decoded
  }
}

function leadsUp(segments: readonly string[]): boolean {
  let depth = 0
  for (const segment of segments) {
    if (segment === '..') {
      if (--depth < 0) return true
    } else if (segment !== '' && segment !== '.') depth++
  }
  return false
}
