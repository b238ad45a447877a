/** Errors of the package. Switch on `code`: it is stable, the message is for people. No message holds a secret. */
export type ThresholdCode =
  /** Fewer bytes than the encoding says. */
  | 'THRESHOLD_TRUNCATED'
  /** Bytes left over behind a whole encoding. */
  | 'THRESHOLD_TRAILING'
  /** A length or a count beyond its bound. */
  | 'THRESHOLD_LIMIT'
  /** A field whose value no encoder writes. */
  | 'THRESHOLD_VALUE'
  /** Not a canonical scalar: 32 bytes little-endian, below the group's order. */
  | 'THRESHOLD_SCALAR'
  /** Not a canonical element: off the curve, not of prime order, the identity, or another spelling. */
  | 'THRESHOLD_ELEMENT'
  /** Parties, thresholds or names that make no ceremony or key. */
  | 'THRESHOLD_CONFIG'
  /** An identifier that is zero, twice there, or of nobody. */
  | 'THRESHOLD_IDENTIFIER'
  /** A message of another ceremony, key or request. */
  | 'THRESHOLD_CONTEXT'
  /** A proof that does not verify. */
  | 'THRESHOLD_PROOF'
  /** A dealing, share or partial decryption that does not fit what is public. */
  | 'THRESHOLD_SHARE'
  /** Fewer shares than the threshold. */
  | 'THRESHOLD_SHORT'
  /** A nonce that is not there, or no longer. */
  | 'THRESHOLD_NONCE'
  /** A secret that was wiped. */
  | 'THRESHOLD_WIPED'

export class ThresholdError extends Error {
  override readonly name = 'ThresholdError'
  readonly code: ThresholdCode
  /** Identifiers of the parties that the error names as liars; empty when nobody is. */
  readonly culprits: readonly number[]

  constructor(code: ThresholdCode, message: string, culprits: readonly number[] = []) {
    super(message)
    this.code = code
    this.culprits = culprits
  }
}

export function fail(code: ThresholdCode, message: string): never {
  throw new ThresholdError(code, message)
}
