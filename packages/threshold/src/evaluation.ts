/**
 * A pseudorandom function under a key in shares: the DDH-based construction of Naor, Pinkas and Reingold ("Distributed Pseudo-Random Functions
 * and KDCs", 1999, section 3), hashed at the end as in 2HashDH (Jarecki, Kiayias and Krawczyk, 2014), over ristretto255.
 *
 *     F(input) = SHA-512(label, key, input, x H(input)),   H: RFC 9380 onto ristretto255
 *
 * Each party gives x_i H(input) as a partial decryption with its proof; nobody learns x, and fewer than the threshold learn nothing of F(input).
 * The key may be one that opens capsules as well: H(input) is nobody's u, since a capsule proves that its maker knows the logarithm of u to G, and
 * nobody knows that of H(input). Inputs are for the caller to separate: what one right covers must not be an input of another.
 */
import { type Capsule, type Partial, verifyPartial, verifyPartials } from './capsule.ts'
import { fail, ThresholdError } from './errors.ts'
import { ristretto } from './group.ts'
import { sha256 } from './hash.ts'
import type { PublicKey } from './key.ts'
import { hashParts, lagrangeAtZero } from './scalar.ts'

export const EVALUATION_INPUT_BYTES_MAX = 1_024
export const EVALUATION_BYTES = 64

/** What parties multiply by their shares, in the form in which they do: `makePartial` of it is a party's part. */
export function evaluationPoint(publicKey: PublicKey, input: Uint8Array): Capsule {
  if (publicKey.suite !== 'ristretto255') fail('THRESHOLD_CONFIG', `a key of ${publicKey.suite} evaluates nothing`)
  if (input.length > EVALUATION_INPUT_BYTES_MAX)
    fail('THRESHOLD_LIMIT', `an input has ${input.length} bytes, at most ${EVALUATION_INPUT_BYTES_MAX} are taken`)
  const body = hashParts('RINGWALL_THRESHOLD_EVALUATION_V1', [publicKey.groupKey, input])
  const u = ristretto.hash(body, 'RINGWALL_THRESHOLD_EVALUATION_V1')
  return { label: input, u, uBar: u, digest: sha256(body), body }
}

/**
 * F(input), 64 bytes, of the parts of as many parties as the threshold, or more.
 *
 * @throws {ThresholdError} THRESHOLD_SHORT; THRESHOLD_SHARE with the identifiers of those whose proofs do not verify.
 */
export function combineEvaluations(publicKey: PublicKey, input: Uint8Array, partials: readonly Partial[]): Uint8Array {
  if (partials.length < publicKey.threshold)
    fail('THRESHOLD_SHORT', `${partials.length} parts of an evaluation, the threshold is ${publicKey.threshold}`)
  const point = evaluationPoint(publicKey, input)
  const weights = lagrangeAtZero(partials.map(({ index }) => index))
  if (!verifyPartials(publicKey, point, partials)) {
    const culprits = partials.filter((partial) => !verifyPartial(publicKey, point, partial)).map(({ index }) => index)
    throw new ThresholdError('THRESHOLD_SHARE', `${culprits.length} parts of an evaluation do not verify`, culprits)
  }
  const values = partials.map(({ value }) => value)
  const shared = ristretto.encode(ristretto.combine(values, weights))
  return hashParts('RINGWALL_THRESHOLD_EVALUATION_OUTPUT_V1', [publicKey.groupKey, input, shared])
}
