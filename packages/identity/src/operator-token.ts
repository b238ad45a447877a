/**
 * Sign-in to the admin API: a compact JWS (RFC 7515, EdDSA of RFC 8037) that an operator's key signed, naming the ring
 * and living a few minutes. Nodes keep no sessions and no passwords.
 */
import type { RingOperator } from '@ringwall/ring'
import { verifiesRaw } from './mint-check.ts'
import { parseStrictObject } from './strict-json.ts'

const LIFETIME_S_MAX = 300
const SKEW_S = 30

export type OperatorVerdict = { readonly ok: true; readonly operator: string } | { readonly ok: false; readonly reason: string }

const refuse = (reason: string): OperatorVerdict => ({ ok: false, reason })

/** Checks form, key, signature, ring and time. Reasons never hold the token. */
export function verifyOperatorToken(
  token: string,
  context: { readonly ring: string; readonly operators: readonly RingOperator[]; readonly nowMs: number },
): OperatorVerdict {
  if (token.length > 2_048 || !/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token))
    return refuse('the token is no compact JWS')
  const [head, body, tail] = token.split('.') as [string, string, string]
  const header = parseStrictObject(Buffer.from(head, 'base64url').toString('utf8'))
  const claims = parseStrictObject(Buffer.from(body, 'base64url').toString('utf8'))
  if (header === undefined || claims === undefined) return refuse('the token’s header or claims are no JSON')
  if (header.alg !== 'EdDSA' || 'crit' in header || 'b64' in header) return refuse('the token is not signed with EdDSA')
  const operator = context.operators.find(({ name }) => name === header.kid)
  if (operator === undefined || claims.iss !== operator.name) return refuse('the ring has no such operator')
  if (!verifiesRaw(operator.publicKey, Buffer.from(`${head}.${body}`), tail))
    return refuse('the token’s signature does not verify: is this the operator’s key of this ring?')
  if (claims.aud !== context.ring) return refuse('the token is for another ring')
  const { iat, exp } = claims
  if (typeof iat !== 'number' || typeof exp !== 'number' || !(exp > iat && exp - iat <= LIFETIME_S_MAX))
    return refuse(`the token does not live up to ${LIFETIME_S_MAX} s: sign a new one`)
  const nowS = context.nowMs / 1_000
  if (!(nowS < exp + SKEW_S)) return refuse('the token has expired: sign a new one')
  if (!(nowS >= iat - SKEW_S)) return refuse('the token is from the future: is a clock wrong?')
  return { ok: true, operator: operator.name }
}
