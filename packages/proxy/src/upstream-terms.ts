/** What the policy says of one upstream, in one place. */
import type { ServicePolicy, UpstreamPolicy } from '@ringwall/ring'

export interface UpstreamTerms {
  readonly weight: number
  /** It speaks HTTP/2; HTTP/1.1 unless so. */
  readonly http2: boolean
  readonly region: string | undefined
  readonly subset: string | undefined
  readonly connectionsMax: number
  readonly pendingMax: number
  readonly slowStartMs: number
  readonly health: ServicePolicy['health']
}

export function termsOf(service: ServicePolicy, { weight, http2, region, subset }: UpstreamPolicy): UpstreamTerms {
  const { circuit, slowStart, health } = service
  return {
    weight,
    http2,
    region,
    subset,
    connectionsMax: circuit.connections,
    pendingMax: circuit.pending,
    slowStartMs: slowStart,
    health,
  }
}
