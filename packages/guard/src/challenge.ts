/**
 * Proof of work for browsers, as far as it is judgement: who is challenged, who shows a pass, whose pass it is. How challenges and
 * passes are sealed is not known here.
 */
import type { CompiledRoute, RoutePolicy, ServicePolicy } from '@ringwall/ring'
import { cookieValues, networkKey } from './limits.ts'
import type { GuardRequest } from './types.ts'

/** Where a browser brings its proof: POST without a body. Taken from services that challenge. */
export const CHALLENGE_PATH = '/.ringwall/challenge'
/** The challenge, a dot, and the number found. */
export const SOLUTION_FIELD = 'ringwall-solution'
export const PASS_COOKIE = 'ringwall_pass'
/** A client keeps one; beyond these few none is looked at. */
const PASSES_LOOKED_AT_MAX = 2

/** What a challenge asks and gives. */
export interface ChallengeTerms {
  /** Whom challenge and pass are for, as `bindingOf` says. */
  readonly binding: string
  /** Zero bits. */
  readonly difficulty: number
  readonly passForMs: number
}

export interface GrantedPass {
  readonly pass: string
  readonly forS: number
}

/** Seals and opens. All of it is quick, and none of it remembers what was asked. */
export interface Passes {
  /** The pass's id; undefined: it is none of ours, not this client's, or over. */
  check(pass: string, binding: string, nowMs: number): string | undefined
  /** The same proof brought twice gives the same pass twice. */
  redeem(solution: string, binding: string, nowMs: number): GrantedPass | { readonly refused: string }
}

/**
 * The service, the client's network (/24, IPv6 /48), and of its TLS what stays the same from one connection to the next: the count of
 * extensions and their digest differ when a session is resumed, the protocol when it is for a WebSocket.
 */
export function bindingOf(service: string, { remoteAddress, ja4 }: Pick<GuardRequest, 'remoteAddress' | 'ja4'>): string {
  const [shape = '', ciphers = ''] = ja4?.split('_') ?? []
  return `${service}\n${networkKey(remoteAddress)}\n${ja4 === undefined ? '' : `${shape.slice(0, 3)} ${ciphers}`}`
}

export function termsOf(service: ServicePolicy & { readonly name: string }, request: GuardRequest): ChallengeTerms {
  const { difficulty, passFor } = service.challenge
  return { binding: bindingOf(service.name, request), difficulty, passForMs: passFor }
}

/** The id of the pass that the request shows, if it is good. */
export function passOf(passes: Passes | undefined, request: GuardRequest, service: string, nowMs: number): string | undefined {
  if (passes === undefined) return undefined
  const fields: string[] = []
  for (const [name, value] of request.headers) if (name.length === 6 && name.toLowerCase() === 'cookie') fields.push(value)
  if (fields.length === 0) return undefined
  const shown = cookieValues(fields, PASS_COOKIE)
  if (shown.length === 0) return undefined
  const binding = bindingOf(service, request)
  for (const pass of shown.slice(0, PASSES_LOOKED_AT_MAX)) {
    const id = passes.check(pass, binding, nowMs)
    if (id !== undefined) return id
  }
  return undefined
}

/** Whether a request without a pass is challenged here, whatever its limits say. */
export function isChallenged({ service, route }: CompiledRoute, pressed: boolean | undefined): boolean {
  const when = route?.challenge ?? service.challenge.when
  return when === 'always' || (when === 'overload' && pressed === true)
}

type ChallengingPart = Pick<RoutePolicy, 'limits' | 'sources'> & Partial<Pick<RoutePolicy, 'login' | 'signup'>>

const challenging = new WeakMap<ServicePolicy, boolean>()

/** Whether anything of this service challenges: only then is a path of it ours. */
export function challenges(service: ServicePolicy): boolean {
  let found = challenging.get(service)
  if (found === undefined) {
    const byLimit = ({ limits, sources, login, signup }: ChallengingPart): boolean =>
      limits.some(({ action }) => action === 'challenge') ||
      [sources?.action, login?.breached, signup?.breached].includes('challenge')
    found =
      service.challenge.when !== 'never' ||
      service.pretenders === 'challenge' ||
      byLimit(service) ||
      service.routes.some((route) => (route.challenge ?? 'never') !== 'never' || byLimit(route))
    challenging.set(service, found)
  }
  return found
}

/** The page itself is asked for, as by an application whose own requests were challenged. */
export function isVisit({ method, target }: GuardRequest): boolean {
  return target === CHALLENGE_PATH && (method === 'GET' || method === 'HEAD')
}

/** The proof that a request brings; undefined: it is not one that does. */
export function solutionOf(request: GuardRequest): string | undefined {
  if (request.target !== CHALLENGE_PATH || request.method !== 'POST') return undefined
  return request.headers.find(([name]) => name.toLowerCase() === SOLUTION_FIELD)?.[1] ?? ''
}
