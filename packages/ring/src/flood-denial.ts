/** Denials of sources that flood. Nodes find them, and say so with the first word of the reason; their connections are not answered. */
import type { Denial } from './types.ts'

export const FLOOD_REASON = 'flood: '

/** Said by a node, which may say it of sources only. What an operator writes as a reason changes nothing. */
export function isFloodDenial({ issuer, reason }: Pick<Denial, 'issuer' | 'reason'>): boolean {
  return issuer.startsWith('node:') && reason.startsWith(FLOOD_REASON)
}
