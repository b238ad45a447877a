/**
 * Who may do what with a service: its Cedar policies, as the guard asks them. The engine is passed in from outside; this file says
 * what it is asked and what it answers, and finds fault with policies that it does not take.
 */
import type { Credential } from './credential.ts'
import type { Policy, ServicePolicy } from './policy.ts'
import type { PolicyFault } from './policy-faults.ts'

/** One request as policies see it. Whoever asks has verified the token. */
export interface AccessQuestion {
  /** Undefined: nobody that is known. */
  readonly principal: (Credential & { readonly claims: Readonly<Record<string, unknown>> }) | undefined
  readonly method: string
  /** As the route names it; undefined: the method is the action. */
  readonly action: string | undefined
  readonly route: string | undefined
  /** Decoded and normalized, as for routing. */
  readonly path: string
  readonly host: string
  readonly remoteAddress: string
  readonly nowMs: number
}

export interface AccessAnswer {
  readonly allowed: boolean
  /** Ids of the policies that decided; none when nothing permits. */
  readonly policies: readonly string[]
  /** Ids of policies that could not be evaluated. One that forbids then does so. */
  readonly failed: readonly string[]
  /** Why it is not allowed, where that is more than which policies say so. */
  readonly reason?: string
}

/** The policies of one service. Pure: the same question has the same answer. */
export interface Authorizer {
  decide(question: AccessQuestion): AccessAnswer
}

export interface AuthorizedService {
  readonly name: string
  readonly authorization: NonNullable<ServicePolicy['authorization']>
  /** That routes name, with the methods that they are about; all when empty. */
  readonly actions: readonly { readonly name: string; readonly methods: readonly string[] }[]
}

/** What is wrong, by line and column of the policies’ text, from 1. */
export interface AuthorizationFault {
  readonly message: string
  readonly hint?: string
  readonly line: number
  readonly column: number
}

export type AuthorizationCompilation =
  | { readonly ok: true; readonly authorizer: Authorizer }
  | { readonly ok: false; readonly faults: readonly AuthorizationFault[] }

/** Total: whatever the text, faults and no exception. */
export type AuthorizationCompiler = (service: AuthorizedService) => AuthorizationCompilation

const NO_ENGINE: AuthorizationCompilation = {
  ok: false,
  faults: [{ message: 'nothing here evaluates authorization policies', line: 1, column: 1 }],
}

/**
 * Compiled policies by what they are made of, the latest last: a policy is looked at several times before it is in force, and most
 * changes leave most services as they were. A pure function remembered.
 */
const remembered = new WeakMap<AuthorizationCompiler, Map<string, AuthorizationCompilation>>()
const REMEMBERED_MAX = 512

/** Undefined for a service without authorization. */
export function compiledAuthorization(
  name: string,
  service: ServicePolicy,
  compile: AuthorizationCompiler | undefined,
): AuthorizationCompilation | undefined {
  const { authorization, routes } = service
  if (authorization === undefined) return undefined
  if (compile === undefined) return NO_ENGINE
  const actions = routes.flatMap(({ action, methods }) => (action === undefined ? [] : [{ name: action, methods }]))
  const asked = { name, authorization, actions }
  const known = remembered.get(compile) ?? new Map<string, AuthorizationCompilation>()
  remembered.set(compile, known)
  const key = JSON.stringify(asked)
  const compilation = known.get(key) ?? compile(asked)
  known.delete(key)
  known.set(key, compilation)
  if (known.size > REMEMBERED_MAX) known.delete(known.keys().next().value as string)
  return compilation
}

export function authorizationFaults(policy: Policy, compile: AuthorizationCompiler | undefined): readonly PolicyFault[] {
  return Object.entries(policy.services).flatMap(([name, service]) => {
    const compilation = compiledAuthorization(name, service, compile)
    if (compilation === undefined || compilation.ok) return []
    const path = ['services', name, 'authorization', 'policies']
    return compilation.faults.map(({ message, hint, line, column }) => ({
      path,
      message: `${message} (${service.authorization?.language === 'xacml' ? 'XACML' : 'Cedar'} ${line}:${column})`,
      within: { line, column },
      ...(hint === undefined ? {} : { hint }),
    }))
  })
}
