/** What the policy says of one upstream, in one place. */
import type { ServicePolicy, UpstreamPolicy } from '@ringwall/ring'

export interface UpstreamTerms {
  readonly weight: number
  readonly region: string | undefined
  readonly subset: string | undefined
  readonly connectionsMax: number
  readonly pendingMax: number
  readonly slowStartMs: number
  readonly health: ServicePolicy['health']
}

export function termsOf(service: ServicePolicy, { weight, region, subset }: UpstreamPolicy): UpstreamTerms {
  const { circuit, slowStart, health } = service
  return {
    weight,
    region,
    subset,
    connectionsMax: circuit.connections,
    pendingMax: circuit.pending,
    slowStartMs: slowStart,
    health,
  }
}
