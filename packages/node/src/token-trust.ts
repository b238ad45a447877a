/** Whose bearer tokens a view trusts. */
import type { TokenVerifier } from '@ringwall/guard'
import { createTokenVerifier, type ProofReplays, sessionKeys } from '@ringwall/identity'
import type { View } from '@ringwall/ring'

/** Of the issuers that the policy trusts, and of the ring. @param replays Of all verifiers: what was seen outlasts a policy and a key. */
export function tokensOf(view: View, replays: ProofReplays): TokenVerifier {
  const { ring, policy } = view
  return createTokenVerifier({ issuers: policy.issuers, ring: { ring, keys: sessionKeys(view) }, replays })
}

export function sameKeys(a: View, b: View): boolean {
  return a.signingKey.key === b.signingKey.key && a.signingKey.former === b.signingKey.former && a.nodes === b.nodes
}
