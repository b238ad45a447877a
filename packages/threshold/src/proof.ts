/**
 * Non-interactive proofs in the random-oracle model (Fiat and Shamir). Each challenge hashes the whole statement with the context
 * it is made in, so that a proof of one ceremony, key or party is none of another.
 *
 * `EqualityProof` says that two elements have one logarithm (Chaum and Pedersen, "Wallet Databases with Observers", 1992).
 */
import { type Element, type Group, ristretto } from './group.ts'
import { add, hashToScalar, multiply, negate, type Scalar, subtract } from './scalar.ts'
import type { Reader, Writer } from './wire.ts'

/** The challenge and the response: 64 bytes. */
export interface EqualityProof {
  readonly challenge: Scalar
  readonly response: Scalar
}

/** That log of `left` to `leftBase` is the log of `right` to `rightBase`; all of ristretto255. */
export interface EqualityStatement {
  readonly leftBase: Element
  readonly left: Element
  readonly rightBase: Element
  readonly right: Element
  /** A label of the registry, and what the proof is bound to. */
  readonly label: string
  readonly context: readonly Uint8Array[]
}

function equalityChallenge(statement: EqualityStatement, leftNonce: Element, rightNonce: Element): Scalar {
  const { leftBase, left, rightBase, right, label, context } = statement
  const elements = [leftBase, left, rightBase, right, leftNonce, rightNonce].map((value) => ristretto.encode(value))
  return hashToScalar(label, [...context, ...elements])
}

/** @param nonce Uniform, secret, and used for this statement only. */
export function proveEquality(statement: EqualityStatement, secret: Scalar, nonce: Scalar): EqualityProof {
  const challenge = equalityChallenge(
    statement,
    ristretto.multiply(statement.leftBase, nonce),
    ristretto.multiply(statement.rightBase, nonce),
  )
  return { challenge, response: add(nonce, multiply(challenge, secret)) }
}

export function verifyEquality(statement: EqualityStatement, { challenge, response }: EqualityProof): boolean {
  const { leftBase, left, rightBase, right } = statement
  const leftNonce = ristretto.combine([leftBase, left], [response, negate(challenge)])
  const rightNonce = ristretto.combine([rightBase, right], [response, negate(challenge)])
  if (ristretto.isIdentity(leftNonce) || ristretto.isIdentity(rightNonce)) return false
  return equalityChallenge(statement, leftNonce, rightNonce) === challenge
}

export function writeEquality(writer: Writer, { challenge, response }: EqualityProof): void {
  writer.scalar(challenge).scalar(response)
}

export function readEquality(reader: Reader): EqualityProof {
  return { challenge: reader.scalar(), response: reader.scalar() }
}

/**
 * Knowledge of two logarithms at once, each to its group's base: of a dealing's constant (in the key's group) and of the
 * ephemeral key that its shares are encrypted with (in ristretto255). Schnorr's proof, twice under one challenge. 96 bytes.
 */
export interface PossessionProof {
  readonly challenge: Scalar
  readonly constantResponse: Scalar
  readonly ephemeralResponse: Scalar
}

const POSSESSION = 'RINGWALL_THRESHOLD_POSSESSION_V1'

function possessionChallenge(statement: Uint8Array, group: Group, constantNonce: Element, ephemeralNonce: Element): Scalar {
  return hashToScalar(POSSESSION, [statement, group.encode(constantNonce), ristretto.encode(ephemeralNonce)])
}

export function provePossession(
  group: Group,
  statement: Uint8Array,
  secrets: { readonly constant: Scalar; readonly ephemeral: Scalar },
  nonces: { readonly constant: Scalar; readonly ephemeral: Scalar },
): PossessionProof {
  const challenge = possessionChallenge(
    statement,
    group,
    group.multiplyBase(nonces.constant),
    ristretto.multiplyBase(nonces.ephemeral),
  )
  return {
    challenge,
    constantResponse: add(nonces.constant, multiply(challenge, secrets.constant)),
    ephemeralResponse: add(nonces.ephemeral, multiply(challenge, secrets.ephemeral)),
  }
}

export function verifyPossession(
  group: Group,
  statement: Uint8Array,
  constant: Element,
  ephemeral: Element,
  { challenge, constantResponse, ephemeralResponse }: PossessionProof,
): boolean {
  const minus = subtract(0n, challenge)
  const constantNonce = group.combine([group.base, constant], [constantResponse, minus])
  const ephemeralNonce = ristretto.combine([ristretto.base, ephemeral], [ephemeralResponse, minus])
  if (group.isIdentity(constantNonce) || ristretto.isIdentity(ephemeralNonce)) return false
  return possessionChallenge(statement, group, constantNonce, ephemeralNonce) === challenge
}
