/**
 * Builds dealings and other messages that say what a liar wants. A second writing of the formats, from the comments in
 * `packages/threshold`, so that a liar can put anything anywhere and still prove what it can.
 */
import { type Ceremony, type Element, groupNamed, ristretto, type Scalar } from '@ringwall/threshold'
import { provePossession } from '../../packages/threshold/src/proof.ts'
import { add, evaluate, hashToScalar } from '../../packages/threshold/src/scalar.ts'
import { Writer } from '../../packages/threshold/src/wire.ts'
import type { Random } from '../random.ts'

export function randomBytes(random: Random, count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let i = 0; i < count; i += 1) bytes[i] = random.whole(0, 255)
  return bytes
}

export function randomScalar(random: Random): Scalar {
  return hashToScalar('sim', [randomBytes(random, 64)])
}

export interface Forgery {
  /** Coefficients of the committed polynomial. */
  readonly coefficients: readonly Scalar[]
  /** In place of what the coefficients commit to. */
  readonly commitments?: readonly Uint8Array[]
  /** Added to the share of a receiver before it is encrypted. */
  readonly shift?: (index: number) => Scalar
  /** In place of the ephemeral key, whose secret is then not known. */
  readonly ephemeral?: Element
  /** Ciphertexts as bytes, in place of scalars. */
  readonly spoil?: (ciphertext: Uint8Array, index: number) => Uint8Array
  /** The dealer's identifier in the message. */
  readonly dealer?: number
  readonly lieInProof?: boolean
}

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255)

/** A dealing, lies and all, with a proof over it as far as the forger can make one. */
export function forgeDealing(ceremony: Ceremony, index: number, random: Random, forgery: Forgery): Uint8Array {
  const group = groupNamed(ceremony.suite)
  const dealer = forgery.dealer ?? index
  const { coefficients } = forgery
  const commitments = forgery.commitments ?? coefficients.map((value) => group.encode(group.multiplyBase(value)))
  const secret = randomScalar(random)
  const ephemeral = forgery.ephemeral ?? ristretto.multiplyBase(secret)
  const writer = new Writer('dealing', ceremony.id).u16(dealer).u8(commitments.length)
  for (const commitment of commitments) writer.fixed(commitment)
  writer.element(ristretto, ephemeral).u8(ceremony.receivers.length)
  for (const receiver of ceremony.receivers) {
    const mask = hashToScalar('RINGWALL_THRESHOLD_MASK_V1', [
      ceremony.id,
      u16(dealer),
      u16(receiver.index),
      ristretto.encode(ephemeral),
      ristretto.encode(receiver.encryptionKey),
      ristretto.encode(ristretto.multiply(receiver.encryptionKey, secret)),
    ])
    const share = add(evaluate(coefficients, receiver.index), forgery.shift?.(receiver.index) ?? 0n)
    const ciphertext = new Writer('dealing', ceremony.id).scalar(add(share, mask)).done().slice(-32)
    writer.fixed(forgery.spoil?.(ciphertext, receiver.index) ?? ciphertext)
  }
  const proof = provePossession(
    group,
    writer.done(),
    { constant: coefficients[0] as Scalar, ephemeral: secret },
    { constant: randomScalar(random), ephemeral: randomScalar(random) },
  )
  const lie = forgery.lieInProof === true ? 1n : 0n
  writer.scalar(proof.challenge).scalar(add(proof.constantResponse, lie)).scalar(proof.ephemeralResponse)
  return writer.done()
}

/** Another spelling of a scalar: the order added. 32 bytes still. */
export function spelledOtherwise(scalar: Uint8Array): Uint8Array {
  const order = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0x10,
  ]
  const out = new Uint8Array(32)
  let carry = 0
  for (let i = 0; i < 32; i += 1) {
    const sum = (scalar[i] as number) + (order[i] as number) + carry
    out[i] = sum & 255
    carry = sum >> 8
  }
  return out
}
