/**
 * What nodes show to an outside OpenID Provider in the place of a secret: `private_key_jwt` (RFC 7523 section 3, OpenID Connect Core section 9), signed by
 * the ring's key. Each holder takes client and provider from its own view of the policy, so that nothing else comes of it: who asks chooses a provider
 * and a moment.
 */
import { hash } from 'node:crypto'
import { ringIssuer, type View } from '@ringwall/ring'
import { canonicalJson } from '@ringwall/ring/tx'
import type { MintRefusal } from '../mint-check.ts'
import { providerOf } from './outside/outside.ts'
import type { ClientRequest } from './person-request.ts'

/** A code is redeemed at once: good for a minute, so that one that got lost is soon worth nothing. Seconds. */
export const CLIENT_ASSERTION_S = 60
/** How old a request may be, and how far ahead its node's clock. */
const REQUEST_MS_MAX = 30_000

type ClientView = Pick<View, 'ring'> & { readonly policy: Pick<View['policy'], 'providers' | 'openid'> }

/** RFC 7519's claims; `aud` is the provider's issuer, as the authorization server's name (RFC 7523 section 3). Unix seconds. */
export interface ClientAssertionClaims {
  readonly aud: string
  readonly exp: number
  readonly iat: number
  readonly iss: string
  readonly jti: string
  readonly sub: string
}

const refuse = (code: MintRefusal['code'], reason: string): MintRefusal => ({ ok: false, code, reason })

export function checkClientAssertion(
  request: ClientRequest,
  view: ClientView,
  nowMs: number,
): { readonly claims: ClientAssertionClaims } | MintRefusal {
  if (Math.abs(nowMs - request.atMs) > REQUEST_MS_MAX) return refuse('MINT_STALE', 'it was asked too long ago: ask anew')
  const provider = providerOf(view, request.provider)
  if (provider?.kind !== 'openid' || provider.authentication.method !== 'private_key_jwt')
    return refuse('MINT_NOT_ENTITLED', `the policy has no provider ${request.provider} that the ring signs for`)
  const { clientId, issuer } = provider
  // What is said in the ring's own name is a token of the ring.
  if (clientId === ringIssuer(view.ring) || clientId === view.policy.openid?.issuer)
    return refuse('MINT_NOT_ENTITLED', `${request.provider} calls its client what the ring calls itself`)
  const iat = Math.floor(request.atMs / 1_000)
  const jti = hash('sha256', `client ${canonicalJson(request)}`, 'hex').slice(0, 32)
  return { claims: { aud: issuer, exp: iat + CLIENT_ASSERTION_S, iat, iss: clientId, jti, sub: clientId } }
}
