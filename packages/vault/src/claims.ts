/** What holders say in answer to a request, as far as it is theirs: whoever made up, garbled or repeated an answer is left out. */
import type { PublicKey } from '@ringwall/threshold'
import { VaultError } from './errors.ts'
import { type ReplyKey, requestDigest } from './reply.ts'

/** Of one holder, about one of the things that were asked for. */
export interface Claim {
  readonly party: string
  readonly index: number
  readonly version: number
  /** Hex. */
  readonly body: string
  readonly partial: Uint8Array
}

interface Asked {
  readonly publicKey: PublicKey
  verify(party: string, message: Uint8Array, signature: Uint8Array): boolean
  readonly replyKey: ReplyKey
  /** What the request's signature is over. */
  readonly signed: Uint8Array
  /** A version of each thing that was asked for; 0: any. */
  readonly versions: readonly number[]
}

/** By the place of what was asked for. */
export function readClaims(
  { publicKey, verify, replyKey, signed, versions }: Asked,
  replies: readonly { readonly party: string; readonly reply: string }[],
): readonly (readonly Claim[])[] {
  const digest = requestDigest(signed)
  const claims: Claim[][] = versions.map(() => [])
  const heard = new Set<string>()
  for (const { party, reply } of replies) {
    const index = publicKey.indexOf(party)
    if (index === undefined || heard.has(party)) continue
    heard.add(party)
    try {
      const content = replyKey.open(Buffer.from(reply, 'base64url'), party, digest, (message, signature) =>
        verify(party, message, signature),
      )
      // A share of another epoch does not fit the others.
      if (Buffer.compare(content.epoch, publicKey.id) !== 0 || content.index !== index) continue
      if (content.openings.length !== versions.length) continue
      for (const [at, { version, body, partial }] of content.openings.entries()) {
        const asked = versions[at] ?? 0
        if (asked !== 0 && asked !== version) continue
        claims[at]?.push({ party, index, version, body: Buffer.from(body).toString('hex'), partial })
      }
    } catch (error) {
      if (!(error instanceof VaultError)) throw error
    }
  }
  return claims
}
