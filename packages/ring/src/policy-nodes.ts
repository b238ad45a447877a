/**
 * Which nodes serve which service: `services.NAME.nodes` selects them by their labels. Where a service is not served it is as if the policy did not have
 * it; but what the ring agrees on (limits of the whole ring, identities, secrets) goes by the whole policy on all nodes.
 */
import { labelsOf } from './fleet.ts'
import { type Labels, matchesSelector, parseSelector, type Selector } from './fleet-label.ts'
import type { Policy } from './policy.ts'
import type { RingState } from './state.ts'
import type { CompiledRoute } from './types.ts'

/** What one node serves. */
export interface NodeRouting {
  /** Services of the policy that other nodes serve, and this one does not. */
  readonly elsewhere: ReadonlySet<string>
  readonly routes: readonly CompiledRoute[]
  route(host: string, path: string, method: string): CompiledRoute | undefined
}

/** A node has one set of labels at a time; tests of a policy ask for several. */
const REMEMBERED_MAX = 64

/** Selectors of services that have one; they are known to be well formed. */
function serviceSelectors({ services }: Policy): ReadonlyMap<string, Selector> {
  const selectors = new Map<string, Selector>()
  for (const [name, { nodes }] of Object.entries(services)) {
    const read = nodes === undefined ? undefined : parseSelector(nodes)
    if (read !== undefined && 'terms' in read) selectors.set(name, read.terms)
  }
  return selectors
}

/** Of one service that not all nodes serve. */
export interface ServiceNodes {
  readonly service: string
  readonly select: string
  /** Those that it selects, by the labels that they have now. */
  readonly nodes: readonly string[]
}

export function servedBy(
  state: Pick<RingState, 'nodes' | 'fleet' | 'node' | 'enrolment'>,
  policy: Policy,
): readonly ServiceNodes[] {
  const selectors = serviceSelectors(policy)
  if (selectors.size === 0) return []
  const nodes = state.nodes.map(({ id }) => ({ id, labels: labelsOf(state, id) }))
  return [...selectors].map(([service, selector]) => ({
    service,
    select: policy.services[service]?.nodes ?? '',
    nodes: nodes.flatMap(({ id, labels }) => (matchesSelector(selector, labels) ? [id] : [])),
  }))
}

/** Equal sets of services are the same object: whoever compares finds that nothing changed. */
export class NodeRoutings {
  readonly #selectors: ReadonlyMap<string, Selector>
  readonly #make: (elsewhere: ReadonlySet<string>) => NodeRouting
  readonly #known = new Map<string, NodeRouting>()

  constructor(policy: Policy, make: (elsewhere: ReadonlySet<string>) => NodeRouting) {
    this.#selectors = serviceSelectors(policy)
    this.#make = make
  }

  /** Every node serves every service: nobody’s labels matter. */
  get areAlike(): boolean {
    return this.#selectors.size === 0
  }

  /** For a node with these labels. */
  of(labels: Labels): NodeRouting {
    return this.without([...this.#selectors].flatMap(([name, selector]) => (matchesSelector(selector, labels) ? [] : [name])))
  }

  /** @param elsewhere Names of services; others than those with a selector count for nothing. */
  without(elsewhere: readonly string[]): NodeRouting {
    const names = elsewhere.filter((name) => this.#selectors.has(name)).sort()
    const key = names.join(' ')
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const made = this.#make(new Set(names))
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear()
    this.#known.set(key, made)
    return made
  }
}
