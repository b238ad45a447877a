/**
 * What was asked of services that declare an API: how often each operation, and which endpoints are not declared. Bounded: a
 * scanner can fill the list of unknown endpoints, but what comes again and again stays in it.
 */
import type { ApiEvent } from '@ringwall/proxy'
import type { Policy } from '@ringwall/ring'

export const UNKNOWN_ENDPOINTS_MAX = 500
const PATH_CHARS_MAX = 200
const METHOD_CHARS_MAX = 16
const STATUSES_MAX = 8

export interface OperationActivity {
  readonly service: string
  readonly operation: string
  readonly requests: number
  /** Of these, outside of what is declared. */
  readonly outside: number
  readonly lastAtMs: number | undefined
}

export interface UnknownEndpoint {
  readonly service: string
  readonly method: string
  /** With `{}` for what looks like an id. */
  readonly path: string
  readonly requests: number
  readonly firstAtMs: number
  readonly lastAtMs: number
  /** How often each status was the answer; at most eight of them. */
  readonly statuses: ReadonlyMap<number, number>
}

interface Operation {
  requests: number
  outside: number
  lastAtMs: number
}

interface Unknown {
  readonly service: string
  readonly method: string
  readonly path: string
  readonly firstAtMs: number
  readonly statuses: Map<number, number>
  requests: number
  lastAtMs: number
}

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i
const HEX = /^(?=.*[0-9])[0-9a-f]{8,}$/i

/** Segments that look like an id become `{}`, so that one endpoint is one line. */
export function foldPath(path: string): string {
  const folded = path
    .slice(0, PATH_CHARS_MAX)
    .split('/')
    .map((segment) => (/^[0-9]+$/.test(segment) || UUID.test(segment) || HEX.test(segment) ? '{}' : segment))
    .join('/')
  return path.length > PATH_CHARS_MAX ? `${folded}…` : folded
}

export class ApiActivity {
  readonly #operations = new Map<string, Operation>()
  readonly #unknown = new Map<string, Unknown>()
  /** What each service declares, as text: to see when it changes. */
  #declared = new Map<string, string>()
  #dropped = 0

  /** How many unknown endpoints made room for others. */
  get dropped(): number {
    return this.#dropped
  }

  observe({ service, method, path, operation, rule, status, atMs }: ApiEvent): void {
    if (operation === undefined) {
      this.#observeUnknown(service, method.slice(0, METHOD_CHARS_MAX), foldPath(path), status, atMs)
      return
    }
    const key = `${service} ${operation}`
    const known = this.#operations.get(key) ?? { requests: 0, outside: 0, lastAtMs: 0 }
    known.requests += 1
    if (rule !== undefined) known.outside += 1
    known.lastAtMs = atMs
    this.#operations.set(key, known)
  }

  #observeUnknown(service: string, method: string, path: string, status: number, atMs: number): void {
    const key = `${service} ${method} ${path}`
    let known = this.#unknown.get(key)
    if (known === undefined) {
      if (this.#unknown.size >= UNKNOWN_ENDPOINTS_MAX) this.#dropRarest()
      known = { service, method, path, firstAtMs: atMs, statuses: new Map(), requests: 0, lastAtMs: atMs }
      this.#unknown.set(key, known)
    }
    known.requests += 1
    known.lastAtMs = atMs
    const { statuses } = known
    if (statuses.has(status) || statuses.size < STATUSES_MAX) statuses.set(status, (statuses.get(status) ?? 0) + 1)
  }

  /** The one that was asked least; of equals the one not asked for longest. */
  #dropRarest(): void {
    let rarest: readonly [string, Unknown] | undefined
    for (const entry of this.#unknown) {
      const [, { requests, lastAtMs }] = entry
      if (
        rarest === undefined ||
        requests < rarest[1].requests ||
        (requests === rarest[1].requests && lastAtMs < rarest[1].lastAtMs)
      ) {
        rarest = entry
      }
    }
    if (rarest === undefined) return
    this.#unknown.delete(rarest[0])
    this.#dropped += 1
  }

  /** With another policy: where a service's API has changed, what was counted by the old one goes. */
  follow(policy: Policy): void {
    const declared = new Map(
      Object.entries(policy.services).flatMap(([name, { api }]) =>
        api === undefined ? [] : [[name, JSON.stringify(api)] as const],
      ),
    )
    for (const [key, { service }] of this.#unknown) {
      if (declared.get(service) !== this.#declared.get(service)) this.#unknown.delete(key)
    }
    const names = new Set(declaredOperations(policy).map(({ service, operation }) => `${service} ${operation}`))
    for (const key of this.#operations.keys()) if (!names.has(key)) this.#operations.delete(key)
    this.#declared = declared
  }

  /** All operations that the policy declares, those never asked too. */
  operations(policy: Policy): readonly OperationActivity[] {
    return declaredOperations(policy).map(({ service, operation }) => {
      const known = this.#operations.get(`${service} ${operation}`)
      return { service, operation, requests: known?.requests ?? 0, outside: known?.outside ?? 0, lastAtMs: known?.lastAtMs }
    })
  }

  /** Most asked first. */
  unknown(): readonly UnknownEndpoint[] {
    return [...this.#unknown.values()].sort((a, b) => b.requests - a.requests || b.lastAtMs - a.lastAtMs)
  }
}

function declaredOperations(policy: Policy): readonly { readonly service: string; readonly operation: string }[] {
  return Object.entries(policy.services).flatMap(([service, { api }]) =>
    Object.entries(api?.paths ?? {}).flatMap(([path, item]) =>
      Object.keys(item).map((method) => ({ service, operation: `${method.toUpperCase()} ${path}` })),
    ),
  )
}
