/** Of a link that does not come up: is it that the peer knows no node with this one's key? The peer's own key was checked before it closed. */
import { CLOSED_BEFORE_HELLO } from './handshake.ts'
import type { LinkStatus } from './types.ts'

export function refusesThisNode({ connected, reason }: Pick<LinkStatus, 'connected' | 'reason'>): boolean {
  return !connected && reason?.endsWith(CLOSED_BEFORE_HELLO) === true
}
