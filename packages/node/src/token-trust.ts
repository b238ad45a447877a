/** Whose bearer tokens a view trusts. */
import type { X509Certificate } from 'node:crypto'
import type { Peer, TokenVerifier } from '@ringwall/guard'
import { createTokenVerifier, type ProofReplays, peerOf, sessionKeys } from '@ringwall/identity'
import type { View } from '@ringwall/ring'

/** Of the issuers that the policy trusts, and of the ring. @param replays Of all verifiers: what was seen outlasts a policy and a key. */
export function tokensOf(view: View, replays: ProofReplays): TokenVerifier {
  const { ring, policy } = view
  return createTokenVerifier({ issuers: policy.issuers, ring: { ring, keys: sessionKeys(view) }, replays })
}

/** Whom clients' certificates name, by the keys that the view has. */
export function peersOf(view: View): (certificate: X509Certificate, nowMs: number) => Peer | undefined {
  const { ring, signingKey } = view
  const keys = [...(signingKey.key === undefined ? [] : [signingKey.key]), ...signingKey.former.map(({ key }) => key)]
  return (certificate, nowMs) => peerOf(certificate, { ring, keys }, nowMs)
}

export function sameKeys(a: View, b: View): boolean {
  return a.signingKey.key === b.signingKey.key && a.signingKey.former === b.signingKey.former && a.nodes === b.nodes
}
