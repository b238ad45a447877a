/**
 * Threshold decryption as a key encapsulation: TDH2 of Shoup and Gennaro ("Securing Threshold Cryptosystems against Chosen
 * Ciphertext Attack", 2002, section 5), over ristretto255, with a hashed key in place of the message.
 *
 *     capsule = opening(key) length(4) label u(32) uBar(32) proof(64)
 *     partial = opening(epoch) capsule(32) index(2) D(32) a(32) b(32) z(32)
 *
 * A capsule carries a proof that whoever made it knows r, with u = rG and uBar = rGBar, over the label and the key. A party checks it
 * before it touches its share. Without it, whoever may have some capsules opened could change another's into one of theirs (2u, or
 * u + sG), have that opened, and learn what it holds: parties would be an oracle. With it a changed capsule does not verify, which
 * is security against chosen ciphertexts, under DDH in the random-oracle model. The label belongs to the capsule: put into it what the
 * right to open depends on.
 *
 * The key that comes out is for one authenticated encryption (AES-256-GCM) of one object. Capsules are bound to the key, not to the
 * epoch, so that resharing leaves them as they are; partial decryptions are bound to the epoch.
 */
import { fail, ThresholdError } from './errors.ts'
import { ELEMENT_BYTES, type Element, type Group, independentGenerator, ristretto } from './group.ts'
import { sha256 } from './hash.ts'
import type { KeyShare, PublicKey } from './key.ts'
import { type EqualityStatement, proveEquality, readEquality, verifyEquality, writeEquality } from './proof.ts'
import { add, encodeScalar, hashParts, hashToScalar, lagrangeAtZero, multiply, negate, type Scalar } from './scalar.ts'
import { MESSAGE_BYTES_MAX, Reader, sameBytes, Writer } from './wire.ts'

export const LABEL_BYTES_MAX = 1_024
/** A proof of equality: challenge and response. */
const EQUALITY_BYTES = 64
export const CAPSULE_KEY_BYTES = 32

let generator: { readonly group: Group; readonly element: Element } | undefined
/** Computed at first use: mapping to the group takes longer than loading the module. */
function secondGenerator(): Element {
  if (generator?.group !== ristretto)
    generator = { group: ristretto, element: independentGenerator('RINGWALL_THRESHOLD_CAPSULE_V1') }
  return generator.element
}

function assertSealing(publicKey: PublicKey): void {
  if (publicKey.suite !== 'ristretto255') fail('THRESHOLD_CONFIG', `a key of ${publicKey.suite} does not open capsules`)
}

/** What capsules call a key, in all its epochs. */
function keyContext({ suite, groupKey }: PublicKey): Uint8Array {
  return hashParts(`RINGWALL_THRESHOLD_KEY_V1 ${suite}`, [groupKey]).slice(0, 32)
}

export interface Capsule {
  readonly label: Uint8Array
  readonly u: Element
  readonly uBar: Element
  /** SHA-256 of the encoding. */
  readonly digest: Uint8Array
  readonly body: Uint8Array
}

function capsuleStatement(publicKey: PublicKey, label: Uint8Array, u: Element, uBar: Element): EqualityStatement {
  return {
    leftBase: ristretto.base,
    left: u,
    rightBase: secondGenerator(),
    right: uBar,
    label: 'RINGWALL_THRESHOLD_CAPSULE_PROOF_V1',
    context: [publicKey.groupKey, label],
  }
}

function keyFrom(publicKey: PublicKey, { label, u, uBar }: Omit<Capsule, 'digest' | 'body'>, shared: Element): Uint8Array {
  return keyFromBytes(publicKey, { label, u: ristretto.encode(u), uBar: ristretto.encode(uBar) }, shared)
}

function keyFromBytes(publicKey: PublicKey, { label, u, uBar }: Omit<ReadCapsule, 'digest'>, shared: Element): Uint8Array {
  const parts = [publicKey.groupKey, label, u, uBar, ristretto.encode(shared)]
  return hashParts('RINGWALL_THRESHOLD_CAPSULE_KEY_V1', parts).slice(0, CAPSULE_KEY_BYTES)
}

/**
 * Makes a fresh key, and the capsule that the threshold's number of parties can get it out of.
 *
 * @param label At most 1,024 bytes, in the clear: what the right to open depends on.
 * @param seed 32 secret random bytes, of this capsule only: whoever knows them knows the key.
 * @throws {ThresholdError}
 */
export function encapsulate(
  publicKey: PublicKey,
  label: Uint8Array,
  seed: Uint8Array,
): { readonly capsule: Uint8Array; readonly key: Uint8Array } {
  assertSealing(publicKey)
  if (seed.length !== 32) fail('THRESHOLD_VALUE', `a seed has 32 bytes, not ${seed.length}`)
  const draw = (name: string): Scalar => hashToScalar(`RINGWALL_THRESHOLD_DRAW_V1 ${name}`, [seed, publicKey.groupKey, label])
  const secret = draw('capsule')
  const u = ristretto.multiplyBase(secret)
  const uBar = ristretto.multiply(secondGenerator(), secret)
  const writer = new Writer('capsule', keyContext(publicKey)).bytes(label, LABEL_BYTES_MAX)
  writer.element(ristretto, u).element(ristretto, uBar)
  writeEquality(writer, proveEquality(capsuleStatement(publicKey, label, u, uBar), secret, draw('capsule nonce')))
  const shared = ristretto.multiply(publicKey.element, secret)
  return { capsule: writer.done(), key: keyFrom(publicKey, { label, u, uBar }, shared) }
}

/**
 * Takes a capsule apart and verifies its proof: everybody does so before a share touches it.
 * @throws {ThresholdError} THRESHOLD_PROOF, or what is wrong with the form.
 */
export function verifyCapsule(publicKey: PublicKey, body: Uint8Array): Capsule {
  assertSealing(publicKey)
  const reader = new Reader('capsule', body)
  if (!sameBytes(reader.context, keyContext(publicKey))) fail('THRESHOLD_CONTEXT', 'a capsule of another key')
  const label = reader.bytes(LABEL_BYTES_MAX)
  const u = reader.element(ristretto)
  const uBar = reader.element(ristretto)
  const proof = readEquality(reader)
  reader.end()
  if (!verifyEquality(capsuleStatement(publicKey, label, u, uBar), proof))
    fail('THRESHOLD_PROOF', "the capsule's proof does not verify: it was changed, or not made for this key and label")
  return { label, u, uBar, digest: sha256(body), body: new Uint8Array(body) }
}

/** A capsule whose proof was not looked at; its elements are not decoded yet, which is most of what reading it would cost. */
export interface ReadCapsule {
  readonly label: Uint8Array
  /** 32 bytes each. */
  readonly u: Uint8Array
  readonly uBar: Uint8Array
  readonly digest: Uint8Array
}

/**
 * The form, and not the proof: where that was verified before, and where an authenticated encryption under the capsule's key will tell.
 * Nobody's share may touch what nobody verified. @throws {ThresholdError}
 */
export function readCapsule(publicKey: PublicKey, body: Uint8Array): ReadCapsule {
  assertSealing(publicKey)
  const reader = new Reader('capsule', body)
  if (!sameBytes(reader.context, keyContext(publicKey))) fail('THRESHOLD_CONTEXT', 'a capsule of another key')
  const label = reader.bytes(LABEL_BYTES_MAX)
  const u = reader.fixed(ELEMENT_BYTES)
  const uBar = reader.fixed(ELEMENT_BYTES)
  reader.fixed(EQUALITY_BYTES)
  reader.end()
  return { label, u, uBar, digest: sha256(body) }
}

/**
 * D = x_i u, with the proof (a, b, z) of Chaum and Pedersen that its logarithm to u is that of the verification share to G. The form
 * with commitments, not with the challenge, since that is what many can be checked of at once.
 */
export interface Partial {
  readonly index: number
  readonly value: Element
  readonly a: Element
  readonly b: Element
  readonly z: Scalar
}

export function partialChallenge(publicKey: PublicKey, capsule: Capsule, { index, value, a, b }: Omit<Partial, 'z'>): Scalar {
  const elements = [publicKey.verificationShare(index), capsule.u, value, a, b].map((element) => ristretto.encode(element))
  return hashToScalar('RINGWALL_THRESHOLD_PARTIAL_V1', [publicKey.id, capsule.digest, encodeScalar(BigInt(index)), ...elements])
}

/**
 * One party's part of opening a capsule. Needs no randomness: the nonce is a hash of the share and the capsule.
 * The caller has checked the right to open, by the capsule's label.
 */
export function makePartial({ publicKey, index, secret }: KeyShare, capsule: Capsule): Uint8Array {
  assertSealing(publicKey)
  const x = secret.reveal()
  const nonce = hashToScalar('RINGWALL_THRESHOLD_DRAW_V1 partial nonce', [encodeScalar(x), publicKey.id, capsule.body])
  const value = ristretto.multiply(capsule.u, x)
  const a = ristretto.multiplyBase(nonce)
  const b = ristretto.multiply(capsule.u, nonce)
  const z = add(nonce, multiply(partialChallenge(publicKey, capsule, { index, value, a, b }), x))
  const writer = new Writer('partial', publicKey.id).fixed(capsule.digest).index(index)
  return writer.element(ristretto, value).element(ristretto, a).element(ristretto, b).scalar(z).done()
}

/** D = x_i u alone, 32 bytes: a third of what a partial decryption with its proof costs. What is said of `makePartial` is said of this. */
export function makeBarePartial({ publicKey, secret }: KeyShare, { u }: Pick<ReadCapsule, 'u'>): Uint8Array {
  assertSealing(publicKey)
  return ristretto.encode(ristretto.multiply(ristretto.decode(u), secret.reveal()))
}

/** A partial decryption without its proof. */
export interface BarePartial {
  readonly index: number
  /** 32 bytes. */
  readonly value: Uint8Array
}

/**
 * The capsule's key if all of these are right, and some other key if one is not: the authenticated encryption under it says which. Then, to
 * learn who lied, have the proofs (`makePartial`, `openCapsule`).
 *
 * @throws {ThresholdError} THRESHOLD_SHORT; THRESHOLD_ELEMENT, THRESHOLD_IDENTIFIER for what nobody honest sends.
 */
export function combineUnproven(publicKey: PublicKey, capsule: ReadCapsule, partials: readonly BarePartial[]): Uint8Array {
  if (partials.length < publicKey.threshold)
    fail('THRESHOLD_SHORT', `${partials.length} partial decryptions, the threshold is ${publicKey.threshold}`)
  const weights = lagrangeAtZero(partials.map(({ index }) => index))
  const values = partials.map(({ value }) => ristretto.decode(value))
  return keyFromBytes(publicKey, capsule, ristretto.combine(values, weights))
}

/** The form; `verifyPartials` checks the proof. @throws {ThresholdError} */
export function decodePartial(publicKey: PublicKey, from: number, body: Uint8Array): Partial & { readonly capsule: Uint8Array } {
  const reader = new Reader('partial', body)
  if (!sameBytes(reader.context, publicKey.id)) fail('THRESHOLD_CONTEXT', 'a message of another key, or of another epoch')
  const capsule = reader.fixed(32)
  const index = reader.index()
  if (index !== from) fail('THRESHOLD_IDENTIFIER', `a partial decryption in the name of ${index}, by ${from}`)
  const value = reader.element(ristretto)
  const a = reader.element(ristretto)
  const b = reader.element(ristretto)
  const z = reader.scalar()
  reader.end()
  return { capsule, index, value, a, b, z }
}

export function verifyPartial(publicKey: PublicKey, capsule: Capsule, partial: Partial): boolean {
  const challenge = partialChallenge(publicKey, capsule, partial)
  const { index, value, a, b, z } = partial
  const share = publicKey.verificationShare(index)
  return (
    ristretto.equals(ristretto.combine([ristretto.base, share], [z, negate(challenge)]), a) &&
    ristretto.equals(ristretto.combine([capsule.u, value], [z, negate(challenge)]), b)
  )
}

const WEIGHT_BITS = 128n

/**
 * Verifies many at once: all their equations, each times a weight of 128 bits, add up to the identity. The weights are hashes of all
 * that is checked, so that nobody can choose a proof by its weight; a false one passes with a probability of 2^-128. Sound because
 * ristretto255 has prime order, without small subgroups that a weight could cancel.
 */
export function verifyPartials(publicKey: PublicKey, capsule: Capsule, partials: readonly Partial[]): boolean {
  if (partials.length === 0) return true
  const challenges = partials.map((partial) => partialChallenge(publicKey, capsule, partial))
  const transcript = hashParts(
    'RINGWALL_THRESHOLD_BATCH_V1',
    partials.flatMap(({ z }, i) => [encodeScalar(challenges[i] as Scalar), encodeScalar(z)]),
  )
  const weight = (i: number, side: number): Scalar =>
    hashToScalar('RINGWALL_THRESHOLD_WEIGHT_V1', [transcript, Uint8Array.of(i, side)]) & ((1n << WEIGHT_BITS) - 1n)
  const elements: Element[] = []
  const scalars: Scalar[] = []
  let base = 0n
  let u = 0n
  partials.forEach(({ index, value, a, b, z }, i) => {
    const [left, right] = [weight(i, 0), weight(i, 1)]
    const challenge = challenges[i] as Scalar
    base = add(base, multiply(left, z))
    u = add(u, multiply(right, z))
    elements.push(a, publicKey.verificationShare(index), b, value)
    scalars.push(negate(left), negate(multiply(left, challenge)), negate(right), negate(multiply(right, challenge)))
  })
  return ristretto.isIdentity(ristretto.combine([ristretto.base, capsule.u, ...elements], [base, u, ...scalars]))
}

/**
 * The capsule's key, of verified partial decryptions: as many as the threshold, or more.
 * @throws {ThresholdError} THRESHOLD_SHORT; THRESHOLD_SHARE with the identifiers of those that do not verify.
 */
export function openCapsule(publicKey: PublicKey, capsule: Capsule, partials: readonly Partial[]): Uint8Array {
  if (partials.length < publicKey.threshold)
    fail('THRESHOLD_SHORT', `${partials.length} partial decryptions, the threshold is ${publicKey.threshold}`)
  const weights = lagrangeAtZero(partials.map(({ index }) => index))
  if (!verifyPartials(publicKey, capsule, partials)) {
    const culprits = partials.filter((partial) => !verifyPartial(publicKey, capsule, partial)).map(({ index }) => index)
    throw new ThresholdError('THRESHOLD_SHARE', `${culprits.length} partial decryptions do not verify`, culprits)
  }
  const shared = ristretto.combine(
    partials.map(({ value }) => value),
    weights,
  )
  return keyFrom(publicKey, capsule, shared)
}

export const CAPSULE_BYTES_MAX: number = MESSAGE_BYTES_MAX
