/**
 * Security events of outside OpenID Providers (RFC 8417, OpenID Shared Signals, CAEP): a session revoked or a credential changed there ends somebody's
 * sessions here. Verified from the arguments alone, by every holder of the ring's key: what they sign of it every validator takes.
 */
import type { OpenIdProviderPolicy } from '@ringwall/ring'
import { jwsFault, type ProviderKey, readJws } from './id-token.ts'
import { type OutsideRefusal, refuseOutside } from './outside.ts'

export const EVENT_TYPES = [
  'https://schemas.openid.net/secevent/caep/event-type/session-revoked',
  'https://schemas.openid.net/secevent/caep/event-type/credential-change',
] as const
/** How old an event may be: no session is older. */
export const EVENT_S_MAX = 86_400
const SKEW_S = 60

export interface SecurityEvent {
  readonly jti: string
  /** Whom it is about, as the provider calls them. */
  readonly subject: string
  /** Sessions that began before are over; Unix seconds. */
  readonly beforeS: number
  /** When the provider said so; Unix seconds. */
  readonly saidS: number
}

export function readSecurityEvent(
  set: string,
  provider: OpenIdProviderPolicy,
  keys: readonly ProviderKey[],
  nowMs: number,
): SecurityEvent | OutsideRefusal {
  const read = readJws(set)
  const { signals } = provider
  // Explicitly typed (RFC 8417 section 2.3): no ID token passes for an event, nor the other way round.
  if (read === undefined || signals === undefined || !/^(?:application\/)?secevent\+jwt$/i.test(String(read.header.typ)))
    return refuseOutside('OUTSIDE_MALFORMED', 'expected a security event token, of the type secevent+jwt')
  const { iss, aud, iat, jti, events, exp, sub_id } = read.claims
  if (iss !== (signals.issuer ?? provider.issuer)) return refuseOutside('OUTSIDE_ISSUER', 'the event is of another issuer')
  const fault = jwsFault(read, provider.algorithms, keys)
  if (fault !== undefined) return fault
  const audience: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audience.includes(signals.audience ?? provider.clientId))
    return refuseOutside('OUTSIDE_AUDIENCE', 'the event is for another audience')
  const nowS = nowMs / 1_000
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat) || iat > nowS + SKEW_S || iat < nowS - EVENT_S_MAX)
    return refuseOutside('OUTSIDE_TIME', 'the event is of a time to come, or too old')
  if (typeof jti !== 'string' || jti.length === 0 || jti.length > 256 || exp !== undefined)
    return refuseOutside('OUTSIDE_MALFORMED', 'an event has an id, and no end')
  const said = typeof events === 'object' && events !== null ? Object.entries(events) : []
  const [type, event] = said[0] ?? []
  if (said.length !== 1 || !EVENT_TYPES.some((known) => known === type) || typeof event !== 'object' || event === null)
    return refuseOutside('OUTSIDE_MALFORMED', 'expected one event, session-revoked or credential-change')
  const { event_timestamp: at = iat, subject } = event as Readonly<Record<string, unknown>>
  if (typeof at !== 'number' || !Number.isSafeInteger(at) || at < 0 || at > iat + SKEW_S)
    return refuseOutside('OUTSIDE_TIME', 'event_timestamp is no time of before')
  // RFC 9493 section 3.2.3; in the event itself by earlier drafts.
  const named = (sub_id ?? subject) as Readonly<Record<string, unknown>> | null | undefined
  if (typeof named !== 'object' || named === null || named.format !== 'iss_sub' || named.iss !== provider.issuer)
    return refuseOutside('OUTSIDE_SUBJECT', 'the subject is named by issuer and sub (iss_sub), of this provider')
  if (typeof named.sub !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(named.sub))
    return refuseOutside('OUTSIDE_SUBJECT', 'sub is 1 to 255 printable characters without blanks')
  return { jti, subject: named.sub, beforeS: Math.min(at, iat) + 1, saidS: iat }
}
