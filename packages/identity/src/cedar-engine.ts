/**
 * Cedar’s own engine (WebAssembly, no I/O), loaded when the first policy needs it.
 *
 * A text that is nested too deep overflows the engine’s stack, after which its memory is not to be trusted: it is thrown away and a
 * new one made. What was prepared in it is prepared again when it is asked for.
 */
import { createRequire } from 'node:module'

type Cedar = typeof import('@cedar-policy/cedar-wasm/nodejs')
export type CedarCall = Parameters<Cedar['statefulIsAuthorized']>[0]
export type CedarAnswer = ReturnType<Cedar['statefulIsAuthorized']>
export type CedarEntity = CedarCall['entities'][number]
export type CedarValue = CedarEntity['attrs'][string]
export type CedarSchema = Exclude<Parameters<Cedar['validate']>[0]['schema'], string>
export type CedarPolicy = Exclude<Parameters<Cedar['policyToText']>[0], string>
export type CedarExpression = CedarPolicy['conditions'][number]['body']

const MODULE = '@cedar-policy/cedar-wasm/nodejs'
/** Policy sets that the engine holds prepared: it has no way to let go of one but to put another in its place. */
const SLOTS = 1_024

/** One set of policies, ready to be asked; by id. */
export class PolicySet {
  readonly policies: Record<string, CedarPolicy>
  slot = -1
  engine: Cedar | undefined
  constructor(policies: Record<string, CedarPolicy>) {
    this.policies = policies
  }
}

/** The engine could not do it; nothing can be said about what was asked. */
export class CedarFailed extends Error {
  override readonly name = 'CedarFailed'
  readonly code = 'CEDAR_FAILED'
}

let cedar: Cedar | undefined
let slots: (PolicySet | undefined)[] = []
let nextSlot = 0

function engine(): Cedar {
  if (cedar === undefined) {
    const require = createRequire(import.meta.url)
    delete require.cache[require.resolve(MODULE)]
    cedar = require(MODULE) as Cedar
    slots = []
    nextSlot = 0
  }
  return cedar
}

/** @throws {CedarFailed} */
export function withCedar<T>(work: (cedar: Cedar) => T): T {
  try {
    return work(engine())
  } catch (cause) {
    if (cause instanceof CedarFailed) throw cause
    cedar = undefined
    throw new CedarFailed('the policies are nested too deep, or too long, for the engine', { cause })
  }
}

/** @throws {CedarFailed} */
export function isAuthorized(set: PolicySet, call: Omit<CedarCall, 'preparsedPolicySetId' | 'validateRequest'>): CedarAnswer {
  return withCedar((held) => {
    if (set.engine !== held || slots[set.slot] !== set) prepare(held, set)
    return held.statefulIsAuthorized({ ...call, preparsedPolicySetId: String(set.slot), validateRequest: false })
  })
}

function prepare(held: Cedar, set: PolicySet): void {
  const slot = nextSlot
  nextSlot = (nextSlot + 1) % SLOTS
  const answer = held.preparsePolicySet(String(slot), { staticPolicies: set.policies })
  if (answer.type === 'failure') throw new CedarFailed(answer.errors[0]?.message ?? 'the policies cannot be prepared')
  slots[slot] = set
  set.slot = slot
  set.engine = held
}
