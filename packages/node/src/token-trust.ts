/** Whose bearer tokens a view trusts. */
import type { TokenVerifier } from '@ringwall/guard'
import { createTokenVerifier, type ProofReplays } from '@ringwall/identity'
import type { View } from '@ringwall/ring'

/** Of the issuers that the policy trusts, and of the ring. @param replays Of all verifiers: what was seen outlasts a policy and a key. */
export function tokensOf({ ring, policy, signingKey }: View, replays: ProofReplays): TokenVerifier {
  const { key, former } = signingKey
  const keys = [...(key === undefined ? [] : [key]), ...former.map((one) => one.key)]
  return createTokenVerifier({ issuers: policy.issuers, ring: { ring, keys }, replays })
}

export function sameKeys(a: View, b: View): boolean {
  return a.signingKey.key === b.signingKey.key && a.signingKey.former === b.signingKey.former
}
