/**
 * Who may call a service: `callers` of services and routes, and `segmentation` of the policy. A caller is whom an X.509-SVID of the ring or a token
 * of the ring says that it is; the guard asks, and this file says what the policy answers. Pure.
 */
import { z } from 'zod'

const CALLERS_MAX = 256

export const Callers = z
  .array(
    z
      .string()
      .max(2_048)
      .regex(
        /^(?:anyone|people|(?:service|node)\/(?:\*|[a-z0-9][a-z0-9-]{0,62})|spiffe:\/\/[A-Za-z0-9._-]{1,255}(?:\/[A-Za-z0-9._-]{1,255})+)$/,
        'expected service/NAME, service/*, node/NAME, node/*, a SPIFFE id, people or anyone',
      ),
  )
  .max(CALLERS_MAX)
  .meta({
    description:
      'Who may call: service/NAME and node/NAME of this ring, service/* and node/* for all of them, a SPIFFE id, people for whoever shows a token that is no service’s, anyone.',
  })

export const Segmentation = z.strictObject({
  mode: z.enum(['off', 'shadow', 'enforce']).default('off').meta({
    description:
      'enforce: a service that names no callers, and has no authorization, is called by nobody. shadow: only record it.',
  }),
})

/** Of a policy, what says who may call what. */
export interface CallersPolicy {
  readonly segmentation: z.output<typeof Segmentation>
}

interface Called {
  readonly name: string
  readonly callers?: readonly string[] | undefined
  readonly authorization?: unknown
}

export interface Caller {
  /** Its SPIFFE id; undefined: it is no service and no node. */
  readonly id: string | undefined
  /** A token that verified says who it is. */
  readonly isKnown: boolean
}

export interface CallerRefusal {
  readonly reason: string
  readonly rule: string
  /** Recorded only. */
  readonly isShadow: boolean
}

/** Undefined: nothing objects. @param route Its own list takes the place of the service's. */
export function callerRefusal(
  { segmentation: { mode } }: CallersPolicy,
  ring: string,
  service: Called,
  route: Pick<Called, 'callers'> | undefined,
  caller: Caller,
): CallerRefusal | undefined {
  const callers = route?.callers ?? service.callers
  const who = caller.id ?? (caller.isKnown ? 'somebody who is no service' : 'nobody known')
  if (callers === undefined) {
    // Where Cedar says who may, it says so of services, too.
    if (mode === 'off' || service.authorization !== undefined) return undefined
    const reason = `${who} calls ${service.name}, which names no callers: segmentation is on`
    return { reason, rule: 'callers:default', isShadow: mode === 'shadow' }
  }
  if (callers.some((entry) => isOf(entry, ring, caller))) return undefined
  return {
    reason: `${who} is none of the callers of ${service.name}`,
    rule: `callers:${service.name}`,
    isShadow: mode === 'shadow',
  }
}

function isOf(entry: string, ring: string, { id, isKnown }: Caller): boolean {
  if (entry === 'anyone') return true
  if (entry === 'people') return isKnown && id === undefined
  if (id === undefined) return false
  if (entry.startsWith('spiffe://')) return id === entry
  const named = `spiffe://${ring}/${entry}`
  return entry.endsWith('/*') ? id.startsWith(named.slice(0, -1)) : id === named
}
