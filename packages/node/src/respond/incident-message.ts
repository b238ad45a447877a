/** An incident in the words of a message. */
import type { Incident, Message } from '@ringwall/respond'

const RANKS = { low: 0, medium: 1, high: 2 } as const
const NAMED_MAX = 10

export function isAtLeast(severity: Incident['severity'], least: Incident['severity']): boolean {
  return RANKS[severity] >= RANKS[least]
}

/** All nodes know of it: one tells. */
export function tellsOf({ nodes }: Incident, self: string): boolean {
  return nodes[0] === self
}

export function messageOf(incident: Incident, ring: string, node: string): Message {
  const { id, severity, title, attack, sources, timeline, firstMs } = incident
  const more = sources.length > NAMED_MAX ? ` and ${sources.length - NAMED_MAX} more` : ''
  return {
    id: `incident-${id}`,
    type: 'incident.opened',
    severity,
    title: `incident ${id}: ${title}`,
    text: timeline[0] === undefined ? '' : `${timeline[0].detector}: ${timeline[0].reason}`,
    atMs: firstMs,
    ring,
    node,
    facts: {
      incident: id,
      ...(attack.length === 0 ? {} : { attack: attack.join(', ') }),
      ...(sources[0] === undefined ? {} : { source: sources[0] }),
      ...(sources.length < 2 ? {} : { sources: `${sources.slice(0, NAMED_MAX).join(', ')}${more}` }),
    },
  }
}
