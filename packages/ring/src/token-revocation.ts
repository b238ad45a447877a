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
    const { iss, jti, exp } = claims as Record<string, unknown>
    if (iss !== ringIssuer(ring) || typeof jti !== 'string' || !/^[0-9a-f]{32}$/.test(jti)) return undefined
    if (typeof exp !== 'number' || !Number.isSafeInteger(exp) || exp < 0 || exp > 8_640_000_000_000) return undefined
    return { id: jti, overAtMs: exp * 1_000 + SKEW_MS }
  } catch (error) {
    if (error instanceof EncodingInvalid || error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/** Did the ring sign it, with its key or a former one? */
export function isSignedByRing(
  token: string,
  key: RingKey,
  verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean,
): boolean {
  const at = token.lastIndexOf('.')
  const current = publicKeyOf(key)
  const keys = [...(current === undefined ? [] : [encodeBase64url(current.groupKey)]), ...key.former.map((one) => one.key)]
  try {
    const signature = decodeBase64url(token.slice(at + 1))
    const message = encodeUtf8(token.slice(0, at))
    return keys.some((one) => verify(decodeBase64url(one), message, signature))
  } catch (error) {
    if (error instanceof EncodingInvalid) return false
    throw error
  }
}
