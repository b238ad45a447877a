/**
 * FROST(Ed25519, SHA-512), RFC 9591: two-round threshold Schnorr signatures that any verifier of RFC 8032 takes.
 *
 * The functions of the RFC, without state: who keeps nonces is `signer.ts`, who collects shares `coordinator.ts`. Names are the
 * RFC's. One function goes beyond it: `verifyGroupSignature`, which aggregation rests on.
 */
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { fail, ThresholdError } from './errors.ts'
import { type Element, edwards } from './group.ts'
import { sha512 } from './hash.ts'
import type { KeyShare, PublicKey } from './key.ts'
import { add, assertIdentifiers, encodeScalar, lagrangeAtZero, multiply, negate, reduceWide, type Scalar } from './scalar.ts'
import { Secret } from './secret.ts'

const CONTEXT = 'FROST-ED25519-SHA512-v1'
const hash = (...parts: readonly Uint8Array[]): Uint8Array => sha512(concatBytes(...parts))

// RFC 9591 section 6.1. H2 has no prefix, so that the challenge is that of RFC 8032.
const [RHO, NONCE, MSG, COM] = ['rho', 'nonce', 'msg', 'com'].map((name) => utf8ToBytes(`${CONTEXT}${name}`)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const H1 = (message: Uint8Array): Scalar => reduceWide(hash(RHO, message))
const H2 = (...parts: readonly Uint8Array[]): Scalar => reduceWide(hash(...parts))
const H3 = (...parts: readonly Uint8Array[]): Scalar => reduceWide(hash(NONCE, ...parts))
const H4 = (message: Uint8Array): Uint8Array => hash(MSG, message)
const H5 = (message: Uint8Array): Uint8Array => hash(COM, message)

export const NONCE_RANDOM_BYTES = 64
export const SIGNATURE_BYTES = 64

/** What a signer publishes of a pair of nonces, with the encodings, which are hashed more often than the elements are used. */
export interface NonceCommitment {
  readonly hiding: Element
  readonly binding: Element
  readonly hidingBytes: Uint8Array
  readonly bindingBytes: Uint8Array
}

/** A commitment as it is sent: section 3.1's encodings. */
export type EncodedCommitment = Pick<NonceCommitment, 'hidingBytes' | 'bindingBytes'>

function commitmentOf(hiding: Element, binding: Element): NonceCommitment {
  return { hiding, binding, hidingBytes: edwards.encode(hiding), bindingBytes: edwards.encode(binding) }
}

/** One signer's entry in the commitment list of a signature. */
export interface SignerCommitment extends NonceCommitment {
  readonly index: number
}

/** Good for one signature share. `take` hands the scalars out once and wipes them. */
export class NoncePair {
  readonly #hiding: Secret
  readonly #binding: Secret
  readonly commitment: NonceCommitment

  /**
   * Sections 4.1 and 5.1, nonce_generate and commit: nonces are hashes of fresh randomness and the share, so that bad randomness alone gives neither away.
   *
   * @param random 64 secret random bytes, used for nothing else.
   */
  constructor(random: Uint8Array, share: Secret) {
    if (random.length !== NONCE_RANDOM_BYTES)
      fail('THRESHOLD_VALUE', `a pair of nonces takes ${NONCE_RANDOM_BYTES} random bytes, not ${random.length}`)
    const secret = share.revealBytes()
    const hiding = H3(random.subarray(0, 32), secret)
    const binding = H3(random.subarray(32), secret)
    secret.fill(0)
    this.#hiding = Secret.fromScalar(hiding)
    this.#binding = Secret.fromScalar(binding)
    this.commitment = commitmentOf(edwards.multiplyBase(hiding), edwards.multiplyBase(binding))
  }

  /**
   * What its commitments add to a group commitment, with this binding factor: of the scalars, one multiplication from a table.
   * @throws {ThresholdError} THRESHOLD_WIPED when they were taken.
   */
  bound(factor: Scalar): Element {
    return edwards.multiplyBase(add(this.#hiding.reveal(), multiply(this.#binding.reveal(), factor)))
  }

  /** @throws {ThresholdError} THRESHOLD_WIPED the second time. */
  take(): { readonly hiding: Scalar; readonly binding: Scalar } {
    const taken = { hiding: this.#hiding.reveal(), binding: this.#binding.reveal() }
    this.wipe()
    return taken
  }

  wipe(): void {
    this.#hiding.wipe()
    this.#binding.wipe()
  }

  toJSON(): string {
    return '[nonces]'
  }
}

/** @param order Whether its elements must be of prime order: see `CommitmentMemo`. @throws {ThresholdError} THRESHOLD_ELEMENT. */
export function decodeCommitment(
  { hidingBytes, bindingBytes }: EncodedCommitment,
  order: 'checked' | 'unchecked' = 'checked',
): NonceCommitment {
  const decode = order === 'checked' ? edwards.decode : edwards.decodeOfAnyOrder
  return { hiding: decode(hidingBytes), binding: decode(bindingBytes), hidingBytes, bindingBytes }
}

/** What all shares of one signature have in common; the same for whoever has the same message and list. */
export interface SigningContext {
  readonly publicKey: PublicKey
  readonly message: Uint8Array
  readonly commitments: readonly SignerCommitment[]
  readonly bindingFactors: readonly Scalar[]
  readonly lagrange: readonly Scalar[]
  readonly groupCommitment: Element
  readonly groupCommitmentBytes: Uint8Array
  readonly challenge: Scalar
}

/**
 * Sections 4.3 to 4.6: the list is sorted, without doubles, of parties of the key, and as many as the threshold at least.
 * @param own The nonces behind one of the commitments, where they are at hand: the same comes of it with less work.
 * @throws {ThresholdError}
 */
export function signingContext(
  publicKey: PublicKey,
  message: Uint8Array,
  commitments: readonly SignerCommitment[],
  own?: { readonly index: number; readonly nonces: NoncePair },
): SigningContext {
  if (publicKey.suite !== 'ed25519') fail('THRESHOLD_CONFIG', `a key of ${publicKey.suite} does not sign`)
  const indexes = commitments.map(({ index }) => index)
  assertIdentifiers(indexes)
  if (indexes.some((index, i) => i > 0 && index < (indexes[i - 1] as number)))
    fail('THRESHOLD_IDENTIFIER', 'signers stand in the order of their identifiers')
  for (const index of indexes)
    if (publicKey.partyOf(index) === undefined) fail('THRESHOLD_IDENTIFIER', `signer ${index} is no party of this key`)
  if (commitments.length < publicKey.threshold)
    fail('THRESHOLD_SHORT', `${commitments.length} signers, the threshold is ${publicKey.threshold}`)
  const lagrange = lagrangeAtZero(indexes)

  const encodedIndexes = indexes.map((index) => encodeScalar(BigInt(index)))
  const list = commitments.flatMap(({ hidingBytes, bindingBytes }, i) => [
    encodedIndexes[i] as Uint8Array,
    hidingBytes,
    bindingBytes,
  ])
  const prefix = concatBytes(publicKey.groupKey, H4(message), H5(concatBytes(...list)))
  const bindingFactors = encodedIndexes.map((index) => H1(concatBytes(prefix, index)))

  const ownPart = own?.nonces.bound(bindingFactors[indexes.indexOf(own.index)] as Scalar)
  const others = commitments.map((_, i) => i).filter((i) => indexes[i] !== own?.index)
  const bound = edwards.combine(
    others.map((i) => (commitments[i] as SignerCommitment).binding),
    others.map((i) => bindingFactors[i] as Scalar),
  )
  const parts = [...others.map((i) => (commitments[i] as SignerCommitment).hiding), ...(ownPart === undefined ? [] : [ownPart])]
  const groupCommitment = parts.reduce((sum, part) => edwards.add(sum, part), bound)
  if (edwards.isIdentity(groupCommitment)) fail('THRESHOLD_ELEMENT', 'the nonces cancel out')
  const groupCommitmentBytes = edwards.encode(groupCommitment)
  const challenge = H2(groupCommitmentBytes, publicKey.groupKey, message)
  return { publicKey, message, commitments, bindingFactors, lagrange, groupCommitment, groupCommitmentBytes, challenge }
}

function placeOf({ commitments }: SigningContext, index: number): number {
  const at = commitments.findIndex((commitment) => commitment.index === index)
  return at === -1 ? fail('THRESHOLD_IDENTIFIER', `signer ${index} is not in the list`) : at
}

/** Section 5.2: the signature share. The nonces are gone after it, whatever comes of it. */
export function signShare(context: SigningContext, share: KeyShare, nonces: NoncePair): Scalar {
  const { hiding, binding } = nonces.take()
  const at = placeOf(context, share.index)
  const bound = add(hiding, multiply(binding, context.bindingFactors[at] as Scalar))
  const weighted = multiply(multiply(context.lagrange[at] as Scalar, share.secret.reveal()), context.challenge)
  return add(bound, weighted)
}

/** Section 5.4, verify_signature_share. */
export function verifyShare(context: SigningContext, index: number, signatureShare: Scalar): boolean {
  const at = placeOf(context, index)
  const { hiding, binding } = context.commitments[at] as SignerCommitment
  const weight = multiply(context.challenge, context.lagrange[at] as Scalar)
  const left = edwards.combine(
    [edwards.base, binding, context.publicKey.verificationShare(index)],
    [signatureShare, negate(context.bindingFactors[at] as Scalar), negate(weight)],
  )
  return edwards.equals(left, hiding)
}

/** RFC 8032 section 5.1.7 for this R, which has prime order as all it is made of. */
function verifyGroupSignature({ publicKey, groupCommitment, challenge }: SigningContext, response: Scalar): boolean {
  const expected = edwards.combine([edwards.base, publicKey.element], [response, negate(challenge)])
  return edwards.equals(expected, groupCommitment)
}

/** RFC 8032's verification by somebody faster; never throws. */
export type SignatureVerifier = (groupKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

/**
 * Section 5.3. The sum is checked, not each share; only when it does not verify are the shares looked at one by one.
 *
 * @param shares By signer, exactly those of the list.
 * @param verify Asked first; when it says no, the sum is looked at here before anybody is blamed.
 * @returns 64 bytes, R and z.
 * @throws {ThresholdError} THRESHOLD_SHARE with the identifiers of all who sent a bad share; THRESHOLD_SHORT.
 */
export function aggregate(
  context: SigningContext,
  shares: ReadonlyMap<number, Scalar>,
  verify: SignatureVerifier = () => false,
): Uint8Array {
  let response = 0n
  for (const { index } of context.commitments) {
    const share = shares.get(index)
    if (share === undefined) fail('THRESHOLD_SHORT', `the share of signer ${index} is missing`)
    response = add(response, share)
  }
  if (shares.size !== context.commitments.length) fail('THRESHOLD_IDENTIFIER', 'shares of signers that are not in the list')
  const signature = concatBytes(context.groupCommitmentBytes, encodeScalar(response))
  if (verify(context.publicKey.groupKey, context.message, signature)) return signature
  if (verifyGroupSignature(context, response)) return signature
  const culprits = [...shares].filter(([index, share]) => !verifyShare(context, index, share)).map(([index]) => index)
  throw new ThresholdError('THRESHOLD_SHARE', `${culprits.length} signature shares do not verify`, culprits)
}
