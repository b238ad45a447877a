/** Checks accusations of signing and decryption, by the key of the epoch that they were made in. */
import type { Accusation, Attests } from './blame.ts'
import { faultIn } from './blame.ts'
import { decodePartial, verifyCapsule, verifyPartial } from './capsule.ts'
import { ThresholdError } from './errors.ts'
import { signingContext, verifyShare } from './frost.ts'
import type { PublicKey } from './key.ts'
import { CommitmentMemo, decodeCommitments, decodeRequest, decodeSignatureShare, digestOf } from './signing-wire.ts'
import { isFor, type MessageType, PARTIES_MAX, sameBytes } from './wire.ts'

function proves(publicKey: PublicKey, { party, fault, evidence, subject }: Accusation, attests: Attests): boolean {
  const index = publicKey.indexOf(party)
  const [own, other] = evidence
  if (index === undefined || own === undefined || !attests(party, own)) return false
  const memo = new CommitmentMemo(1_024)
  const malformed = (type: MessageType, decode: () => unknown): boolean =>
    isFor(own.body, type, publicKey.id) && faultIn(decode) !== undefined
  switch (fault) {
    case 'malformed-commitments':
      return malformed('commitments', () => decodeCommitments(publicKey, index, own.body, memo))
    case 'malformed-signature-share':
      return malformed('signatureShare', () => decodeSignatureShare(publicKey, index, own.body))
    case 'malformed-partial':
      return malformed('partial', () => decodePartial(publicKey, index, own.body))
    case 'equivocation': {
      if (other === undefined || !attests(party, other)) return false
      const [first, second] = [own, other].map(({ body }) => decodeCommitments(publicKey, index, body, memo))
      if (first === undefined || second === undefined) return false
      return first.commitments.some((commitment, i) => {
        const twin = second.commitments[first.first + i - second.first]
        return (
          twin !== undefined &&
          !(sameBytes(twin.hidingBytes, commitment.hidingBytes) && sameBytes(twin.bindingBytes, commitment.bindingBytes))
        )
      })
    }
    case 'bad-signature-share': {
      const { request, share } = decodeSignatureShare(publicKey, index, own.body)
      if (!sameBytes(request, digestOf(subject))) return false
      // As the coordinator may have read it: a share that does not verify is one whatever the order of others' elements.
      const { message, commitments } = decodeRequest(publicKey, subject, new CommitmentMemo(PARTIES_MAX, 'unchecked'))
      return !verifyShare(signingContext(publicKey, message, commitments), index, share)
    }
    case 'bad-partial': {
      const partial = decodePartial(publicKey, index, own.body)
      const capsule = verifyCapsule(publicKey, subject)
      return sameBytes(partial.capsule, capsule.digest) && !verifyPartial(publicKey, capsule, partial)
    }
    default:
      return false
  }
}

/**
 * Whether the evidence shows that this party lied with its share of this key, in this epoch.
 *
 * A `bad-signature-share` rests on the share alone: a signer checks that its own commitment stands in a request before it answers, so
 * whoever answered owns the request.
 */
export function verifyKeyAccusation(publicKey: PublicKey, accusation: Accusation, attests: Attests): boolean {
  try {
    return proves(publicKey, accusation, attests)
  } catch (error) {
    if (error instanceof ThresholdError) return false
    throw error
  }
}
