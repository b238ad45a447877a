/**
 * People in front of an application, as far as the proxy has a part in it: it hands requests for pages of ours to the node, has sessions renewed,
 * sends browsers to the page where they log in, and tells the upstream who it is.
 */
import { LOGIN_PATH, SESSION_COOKIES, sessionCookie } from '@ringwall/guard'
import type { PeoplePolicy } from '@ringwall/ring'
import type { HeaderField } from '@ringwall/waf'
import { lowerName } from './header-names.ts'
import { foldedName } from './rewriting.ts'

/** A request for a page of ours. Plain data: threads hand it to each other. */
export interface PortalRequest {
  readonly service: string
  readonly method: string
  readonly target: string
  /** As the client asks for it, with its port. */
  readonly authority: string
  readonly host: string
  readonly secure: boolean
  readonly headers: readonly HeaderField[]
  readonly body: Uint8Array
  readonly source: string
  readonly requestId: string
}

export interface PortalAnswer {
  readonly status: number
  /** Names and values in turn. */
  readonly headers: readonly string[]
  /** ASCII alone. */
  readonly body: string
}

/** Answers for pages of ours, and renews sessions. */
export interface Portal {
  answer(request: PortalRequest): Promise<PortalAnswer>
  /** Undefined when it cannot be renewed, or not now. */
  renew(token: string): Promise<RenewedSession | undefined>
}

export interface RenewedSession {
  readonly token: string
  /** Until when the cookie is kept, seconds. */
  readonly forS: number
}

export function sessionCookieText({ token, forS }: RenewedSession, secure: boolean): string {
  return `${sessionCookie(secure)}=${token}; Path=/; Max-Age=${forS}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`
}

/** Where a browser that nobody is logged in with goes; undefined: it is a program, or sends something. */
export function loginLocation(method: string, target: string, rawHeaders: readonly string[]): string | undefined {
  if (method !== 'GET' && method !== 'HEAD') return undefined
  let [accepts, mode] = [false, '']
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = lowerName(rawHeaders[at]!)
    if (name === 'accept') accepts ||= rawHeaders[at + 1]!.toLowerCase().includes('text/html')
    else if (name === 'sec-fetch-mode') mode = rawHeaders[at + 1]!
  }
  if (!accepts || (mode !== '' && mode !== 'navigate')) return undefined
  return target.length > 2_000 ? LOGIN_PATH : `${LOGIN_PATH}?to=${encodeURIComponent(target)}`
}

/** What the upstream is told of people, and what it is not: lines to add, and names that stay behind. */
export interface PersonFields {
  readonly dropped: ReadonlySet<string>
  readonly added: string
}

const droppedBy = new WeakMap<PeoplePolicy, ReadonlySet<string>>()

/**
 * @param claims Of the session; undefined: nobody is logged in, and a client does not get to say so.
 * @param rawHeaders Cookies but for the session's go on.
 */
export function personFields(
  people: PeoplePolicy,
  claims: Readonly<Record<string, unknown>> | undefined,
  subject: string | undefined,
  rawHeaders: readonly string[],
): PersonFields {
  let dropped = droppedBy.get(people)
  if (dropped === undefined) {
    dropped = new Set(['cookie', ...[people.userHeader, people.groupsHeader].flatMap((name) => (name && foldedName(name)) || [])])
    droppedBy.set(people, dropped)
  }
  let added = ''
  const cookies: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (lowerName(rawHeaders[at]!) === 'cookie') cookies.push(...rawHeaders[at + 1]!.split(';'))
  const kept = cookies.map((pair) => pair.trim()).filter((pair) => pair !== '' && !SESSION_COOKIES.includes(nameOf(pair)))
  if (kept.length > 0) added += `cookie: ${kept.join('; ')}\r\n`
  if (subject !== undefined && claims?.use === 'session') {
    const groups = Array.isArray(claims.groups) ? claims.groups.filter((group) => typeof group === 'string') : []
    if (people.userHeader !== undefined) added += `${people.userHeader}: ${subject.slice('person:'.length)}\r\n`
    if (people.groupsHeader !== undefined) added += `${people.groupsHeader}: ${groups.join(',')}\r\n`
  }
  return { dropped, added }
}

function nameOf(pair: string): string {
  const at = pair.indexOf('=')
  return (at < 0 ? pair : pair.slice(0, at)).trim()
}
