/**
 * A dealing: one party shares a secret among the receivers of a ceremony, so that everybody can check it and each receiver can
 * show a bad share to everybody.
 *
 *     dealing = opening dealer(2) threshold(1) commitment(32)* ephemeral(32) count(1) ciphertext(32)* proof(96)
 *     answer  = opening receiver(2) transcript(32) count(1) (dealer(2) sharedPoint(32) proof(64))*
 *
 * Commitments are Feldman's (1987), the proof of possession that of FROST's KeyGen (Komlo and Goldberg, ePrint 2020/852, figure
 * 1). Shares are encrypted by hashed ElGamal over ristretto255: the dealer's ephemeral key e, E = eG, and receiver j's key
 * X_j = x_jG make the point S_j = eX_j = x_jE, whose hash is added to the share. Integrity needs no tag: a share that was changed
 * does not fit the commitments, and the proof of possession is over the whole dealing.
 *
 * A receiver complains by opening S_j, with a proof that it is the right one (after Fouque and Stern, "One Round Threshold
 * Discrete-Log Key Generation without Private Channels", 2001, and Schindler et al., "ETHDKG", ePrint 2019/985): everybody
 * decrypts that one share and sees who lies. S_j opens nothing else, as the dealer has shown that it knows e: otherwise a liar
 * could deal under an honest dealer's E, and the complaint would open the honest dealer's share.
 */
import { fail } from './errors.ts'
import { ELEMENT_BYTES, type Element, type Group, groupNamed, ristretto } from './group.ts'
import type { Ceremony, Receiver } from './plan.ts'
import {
  type EqualityProof,
  type EqualityStatement,
  type PossessionProof,
  proveEquality,
  provePossession,
  readEquality,
  verifyEquality,
  verifyPossession,
  writeEquality,
} from './proof.ts'
import { add, encodeScalar, evaluate, hashToScalar, powersOf, type Scalar, subtract } from './scalar.ts'
import type { Secret } from './secret.ts'
import { PARTIES_MAX, Reader, sameBytes, Writer } from './wire.ts'

export interface Dealing {
  readonly dealer: number
  /** To the coefficients of the dealt polynomial, that of x^0 first. */
  readonly commitments: readonly Element[]
  readonly ephemeral: Element
  /** In the order of the ceremony's receivers. */
  readonly ciphertexts: readonly Scalar[]
}

export const SEED_BYTES = 32

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255)

function drawer(ceremony: Ceremony, dealer: number, seed: Uint8Array): (name: string, number?: number) => Scalar {
  if (seed.length !== SEED_BYTES) fail('THRESHOLD_VALUE', `a seed has ${SEED_BYTES} bytes, not ${seed.length}`)
  return (name, number = 0) => hashToScalar(`RINGWALL_THRESHOLD_DRAW_V1 ${name}`, [seed, ceremony.id, u16(dealer), u16(number)])
}

function maskOf(ceremony: Ceremony, dealer: number, ephemeral: Element, receiver: Receiver, sharedPoint: Element): Scalar {
  return hashToScalar('RINGWALL_THRESHOLD_MASK_V1', [
    ceremony.id,
    u16(dealer),
    u16(receiver.index),
    ristretto.encode(ephemeral),
    ristretto.encode(receiver.encryptionKey),
    ristretto.encode(sharedPoint),
  ])
}

/**
 * Makes a dealing. The same arguments make the same bytes.
 *
 * @param seed 32 secret random bytes, of this ceremony only: whoever knows them knows the secret dealt.
 * @param share The dealer's share of the previous epoch, which it deals in a resharing; undefined in a key generation.
 */
export function makeDealing(ceremony: Ceremony, dealer: number, seed: Uint8Array, share: Secret | undefined): Uint8Array {
  if ((share !== undefined) !== (ceremony.previous !== undefined))
    fail('THRESHOLD_CONFIG', 'a share of the previous epoch is dealt in a resharing, and only there')
  const draw = drawer(ceremony, dealer, seed)
  const group = groupNamed(ceremony.suite)
  const constant = share?.reveal() ?? draw('coefficient')
  const coefficients = [constant]
  for (let k = 1; k < ceremony.threshold; k += 1) coefficients.push(draw('coefficient', k))
  const ephemeralSecret = draw('ephemeral')
  const ephemeral = ristretto.multiplyBase(ephemeralSecret)

  const writer = new Writer('dealing', ceremony.id).index(dealer).u8(ceremony.threshold)
  for (const coefficient of coefficients) writer.element(group, group.multiplyBase(coefficient))
  writer.element(ristretto, ephemeral).u8(ceremony.receivers.length)
  for (const receiver of ceremony.receivers) {
    const sharedPoint = ristretto.multiply(receiver.encryptionKey, ephemeralSecret)
    const mask = maskOf(ceremony, dealer, ephemeral, receiver, sharedPoint)
    writer.scalar(add(evaluate(coefficients, receiver.index), mask))
  }
  const statement = writer.done()
  // The nonces depend on the statement too, so that a seed used twice by mistake does not answer two challenges with one nonce.
  const nonce = (name: string): Scalar =>
    hashToScalar(`RINGWALL_THRESHOLD_DRAW_V1 ${name}`, [seed, encodeScalar(constant), statement])
  const proof = provePossession(
    group,
    statement,
    { constant, ephemeral: ephemeralSecret },
    { constant: nonce('constant nonce'), ephemeral: nonce('ephemeral nonce') },
  )
  writer.scalar(proof.challenge).scalar(proof.constantResponse).scalar(proof.ephemeralResponse)
  return writer.done()
}

/**
 * Takes a dealing apart and checks all that can be checked without a secret: the form, the elements, the proof of possession,
 * and in a resharing that what is dealt is the dealer's own share.
 *
 * @throws {ThresholdError} With what is wrong.
 */
export function verifyDealing(ceremony: Ceremony, from: number, body: Uint8Array): Dealing {
  const group = groupNamed(ceremony.suite)
  const reader = new Reader('dealing', body)
  if (!sameBytes(reader.context, ceremony.id)) fail('THRESHOLD_CONTEXT', 'a dealing of another ceremony')
  const dealer = reader.index()
  if (dealer !== from) fail('THRESHOLD_IDENTIFIER', `a dealing in the name of ${dealer}, by ${from}`)
  const threshold = reader.count(0, PARTIES_MAX)
  if (threshold !== ceremony.threshold)
    fail('THRESHOLD_VALUE', `${threshold} commitments where the ceremony has a threshold of ${ceremony.threshold}`)
  const commitments = Array.from({ length: threshold }, () => reader.element(group))
  const ephemeral = reader.element(ristretto)
  const count = reader.count(0, PARTIES_MAX)
  if (count !== ceremony.receivers.length)
    fail('THRESHOLD_VALUE', `${count} encrypted shares for ${ceremony.receivers.length} receivers`)
  const ciphertexts = Array.from({ length: count }, () => reader.scalar())
  const statement = reader.soFar()
  const proof: PossessionProof = {
    challenge: reader.scalar(),
    constantResponse: reader.scalar(),
    ephemeralResponse: reader.scalar(),
  }
  reader.end()
  const constant = commitments[0] as Element
  if (ceremony.previous !== undefined && !group.equals(constant, ceremony.previous.verificationShare(dealer)))
    fail('THRESHOLD_SHARE', 'what is dealt is not the share of the previous epoch')
  if (!verifyPossession(group, statement, constant, ephemeral, proof))
    fail('THRESHOLD_PROOF', 'the proof of possession does not verify')
  return { dealer, commitments, ephemeral, ciphertexts }
}

/** A dealing that was verified: nothing is checked again, and its elements are decoded once they are asked for. */
export function provenDealing(ceremony: Ceremony, body: Uint8Array): Dealing {
  const group = groupNamed(ceremony.suite)
  const reader = new Reader('dealing', body)
  const dealer = reader.index()
  const encoded = Array.from({ length: reader.u8() }, () => reader.fixed(ELEMENT_BYTES))
  const encodedEphemeral = reader.fixed(ELEMENT_BYTES)
  const ciphertexts = Array.from({ length: reader.u8() }, () => reader.scalar())
  let commitments: readonly Element[] | undefined
  let ephemeral: Element | undefined
  return {
    dealer,
    ciphertexts,
    get commitments() {
      commitments ??= encoded.map((bytes) => group.decodeOfAnyOrder(bytes))
      return commitments
    },
    get ephemeral() {
      ephemeral ??= ristretto.decode(encodedEphemeral)
      return ephemeral
    },
  }
}

function shareFrom(ceremony: Ceremony, dealing: Dealing, receiver: Receiver, sharedPoint: Element): Scalar {
  const ciphertext = dealing.ciphertexts[ceremony.receivers.indexOf(receiver)] as Scalar
  return subtract(ciphertext, maskOf(ceremony, dealing.dealer, dealing.ephemeral, receiver, sharedPoint))
}

function fits(group: Group, { commitments }: Dealing, index: number, share: Scalar): boolean {
  return group.equals(group.multiplyBase(share), group.combine(commitments, powersOf(index, commitments.length)))
}

/** The receiver's share of a dealing, or undefined when the dealer lied to it. */
export function openShare(ceremony: Ceremony, dealing: Dealing, receiver: Receiver, key: Secret): Scalar | undefined {
  const share = shareFrom(ceremony, dealing, receiver, ristretto.multiply(dealing.ephemeral, key.reveal()))
  return fits(groupNamed(ceremony.suite), dealing, receiver.index, share) ? share : undefined
}

export interface Complaint {
  readonly dealer: number
  readonly sharedPoint: Element
  readonly proof: EqualityProof
}

/** What a receiver says of all dealings at once: that it saw this transcript, and which of the shares in it are bad. */
export interface Answer {
  readonly receiver: number
  /** SHA-256 over the dealings as the board has them. */
  readonly transcript: Uint8Array
  /** In the order of the dealers' identifiers. None: all shares are good. */
  readonly complaints: readonly Complaint[]
}

function complaintStatement(ceremony: Ceremony, dealing: Dealing, receiver: Receiver, sharedPoint: Element): EqualityStatement {
  return {
    leftBase: ristretto.base,
    left: receiver.encryptionKey,
    rightBase: dealing.ephemeral,
    right: sharedPoint,
    label: 'RINGWALL_THRESHOLD_COMPLAINT_V1',
    context: [ceremony.id, u16(dealing.dealer), u16(receiver.index)],
  }
}

/** Needs no randomness: the proof's nonce is a hash of the key and the statement, so that a restart says the same again. */
export function makeComplaint(ceremony: Ceremony, dealing: Dealing, receiver: Receiver, key: Secret): Complaint {
  const secret = key.reveal()
  const sharedPoint = ristretto.multiply(dealing.ephemeral, secret)
  const statement = complaintStatement(ceremony, dealing, receiver, sharedPoint)
  const nonce = hashToScalar('RINGWALL_THRESHOLD_DRAW_V1 complaint nonce', [
    encodeScalar(secret),
    ...statement.context,
    ristretto.encode(dealing.ephemeral),
    ristretto.encode(sharedPoint),
  ])
  return { dealer: dealing.dealer, sharedPoint, proof: proveEquality(statement, secret, nonce) }
}

/** Who of the two lied, as anybody sees it. `unproven`: the complaint opens nothing, which is the receiver's fault as well. */
export type Verdict = 'dealer' | 'receiver' | 'unproven'

export function judgeComplaint(ceremony: Ceremony, dealing: Dealing, receiver: Receiver, complaint: Complaint): Verdict {
  const statement = complaintStatement(ceremony, dealing, receiver, complaint.sharedPoint)
  if (!verifyEquality(statement, complaint.proof)) return 'unproven'
  const share = shareFrom(ceremony, dealing, receiver, complaint.sharedPoint)
  return fits(groupNamed(ceremony.suite), dealing, receiver.index, share) ? 'receiver' : 'dealer'
}

export function encodeAnswer(ceremony: Ceremony, { receiver, transcript, complaints }: Answer): Uint8Array {
  const writer = new Writer('answer', ceremony.id).index(receiver).fixed(transcript).u8(complaints.length)
  for (const { dealer, sharedPoint, proof } of complaints) {
    writer.index(dealer).element(ristretto, sharedPoint)
    writeEquality(writer, proof)
  }
  return writer.done()
}

/** @throws {ThresholdError} */
export function decodeAnswer(ceremony: Ceremony, from: number, body: Uint8Array): Answer {
  const reader = new Reader('answer', body)
  if (!sameBytes(reader.context, ceremony.id)) fail('THRESHOLD_CONTEXT', 'an answer of another ceremony')
  const receiver = reader.index()
  if (receiver !== from) fail('THRESHOLD_IDENTIFIER', `an answer in the name of ${receiver}, by ${from}`)
  const transcript = reader.fixed(32)
  let last = 0
  const complaints = Array.from({ length: reader.count(0, ceremony.dealers.length) }, () => {
    const dealer = reader.index()
    if (dealer <= last) fail('THRESHOLD_VALUE', 'complaints stand in the order of their dealers, each once')
    last = dealer
    return { dealer, sharedPoint: reader.element(ristretto), proof: readEquality(reader) }
  })
  reader.end()
  return { receiver, transcript, complaints }
}
