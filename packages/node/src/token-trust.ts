/** Whose bearer tokens a view trusts. */
import type { TokenVerifier } from '@ringwall/guard'
import { createProofReplays, createTokenVerifier } from '@ringwall/identity'
import type { View } from '@ringwall/ring'

/** Those of this thread: what is seen is not forgotten with a policy or a key that changes. */
const replays = createProofReplays()

/** Of the issuers that the policy trusts, and of the ring. */
export function tokensOf({ ring, policy, signingKey }: View): TokenVerifier {
  const { key, former } = signingKey
  const keys = [...(key === undefined ? [] : [key]), ...former.map((one) => one.key)]
  return createTokenVerifier({ issuers: policy.issuers, ring: { ring, keys }, replays })
}

export function sameKeys(a: View, b: View): boolean {
  return a.signingKey.key === b.signingKey.key && a.signingKey.former === b.signingKey.former
}
