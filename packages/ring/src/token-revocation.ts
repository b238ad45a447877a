/**
 * `token.revoke`: whoever holds a token of the ring may end it (RFC 7009). The transaction shows the token, so that every validator sees
 * for itself that the ring signed it: no operator's word is needed, and nobody can end a token that it does not have. From then on the
 * token is worth nothing, so that it may stand in the ledger.
 */
import { decodeBase64url, decodeUtf8, encodeUtf8 } from './encoding.ts'
import { EncodingInvalid } from './errors.ts'
import type { RingKey } from './ring-key.ts'
import { publicKeyOf } from './ring-key.ts'
import { encodeBase64url } from './tx.ts'

/** Clocks of those who verify may be behind by so much: the denial outlives the token. */
const SKEW_MS = 60_000

export interface RevocableToken {
  readonly id: string
  /** When nobody takes it any more. */
  readonly overAtMs: number
  /** The session that it belongs to, and when that ends at the latest; undefined: none. */
  readonly session: { readonly id: string; readonly overAtMs: number } | undefined
  /** It stands for its session: whoever ends it ends that. */
  readonly isSession: boolean
  /** It says that somebody's sessions of before are over: whoever shows it ends them. */
  readonly ends: { readonly subject: string; readonly beforeMs: number } | undefined
}

/** `iss` of the ring's tokens. */
export function ringIssuer(ring: string): string {
  return `urn:ringwall:${ring}`
}

/** What a token of the ring says of itself; undefined for anything else. Its signature is not looked at. */
export function readRingToken(ring: string, token: string): RevocableToken | undefined {
  try {
    const claims: unknown = JSON.parse(decodeUtf8(decodeBase64url(token.split('.')[1] ?? '')))
    if (typeof claims !== 'object' || claims === null) return undefined
    const { before, iss, jti, exp, sid, session_end: end, sub, use } = claims as Record<string, unknown>
    if (iss !== ringIssuer(ring) || typeof jti !== 'string' || !/^[0-9a-f]{32}$/.test(jti)) return undefined
    if (!isMoment(exp)) return undefined
    const hasSession = typeof sid === 'string' && /^[0-9a-f]{32}$/.test(sid) && isMoment(end)
    const session = hasSession ? { id: sid, overAtMs: end * 1_000 + SKEW_MS } : undefined
    const isSession = session !== undefined && (use === 'session' || use === 'refresh')
    const isEvent = use === 'event' && typeof sub === 'string' && sub.startsWith('person:') && isMoment(before)
    const ends = isEvent ? { subject: sub, beforeMs: before * 1_000 } : undefined
    return { id: jti, overAtMs: exp * 1_000 + SKEW_MS, session, isSession, ends }
  } catch (error) {
    if (error instanceof EncodingInvalid || error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/** Unix seconds. */
function isMoment(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= 8_640_000_000_000
}

/**
 * The keys that the ring's tokens verify by, base64url, the one in force first. A ring of one validator has no key that is held together, and
 * its people's tokens are signed by the validator, who could agree on anything alone.
 */
export function tokenKeys(
  { key, former }: { readonly key: string | undefined; readonly former: readonly { readonly key: string }[] },
  validators: readonly { readonly publicKey: string }[],
): readonly string[] {
  const keys = [...(key === undefined ? [] : [key]), ...former.map((one) => one.key)]
  return key === undefined && validators.length === 1 ? [validators[0]!.publicKey, ...keys] : keys
}

/** Did the ring sign it, with its key or a former one? */
export function isSignedByRing(
  token: string,
  key: RingKey,
  validators: readonly { readonly publicKey: string }[],
  verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean,
): boolean {
  const at = token.lastIndexOf('.')
  const current = publicKeyOf(key)
  const own = current === undefined ? undefined : encodeBase64url(current.groupKey)
  const keys = tokenKeys({ key: own, former: key.former }, validators)
  try {
    const signature = decodeBase64url(token.slice(at + 1))
    const message = encodeUtf8(token.slice(0, at))
    return keys.some((one) => verify(decodeBase64url(one), message, signature))
  } catch (error) {
    if (error instanceof EncodingInvalid) return false
    throw error
  }
}
