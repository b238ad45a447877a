/**
 * Scalars modulo L = 2^252 + 27742317777372353535851937790883648493, the order of both groups, and the polynomials over
 * them that shares lie on (Shamir, "How to Share a Secret", 1979).
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { fail } from './errors.ts'
import { sha512 } from './hash.ts'

export type Scalar = bigint

const Fn = ed25519.Point.Fn
export const ORDER: Scalar = Fn.ORDER
export const SCALAR_BYTES = 32

/** The greatest identifier; the least is 1. Zero is where the secret lies. */
export const IDENTIFIER_MAX = 65_535

export const add = (a: Scalar, b: Scalar): Scalar => Fn.add(a, b)
export const subtract = (a: Scalar, b: Scalar): Scalar => Fn.sub(a, b)
export const multiply = (a: Scalar, b: Scalar): Scalar => Fn.mul(a, b)
export const negate = (a: Scalar): Scalar => Fn.neg(a)

const WORD = 8
const WORD_BITS = 64n

/** Of whole words of 8 bytes. */
export function littleEndian(bytes: Uint8Array): bigint {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let value = 0n
  for (let at = bytes.length - WORD; at >= 0; at -= WORD) value = (value << WORD_BITS) | words.getBigUint64(at, true)
  return value
}

/** 32 bytes, little-endian (RFC 9591 section 6.1, SerializeScalar). */
export function encodeScalar(value: Scalar): Uint8Array {
  if (value < 0n || value >= ORDER) fail('THRESHOLD_SCALAR', 'a scalar is from 0 to the order less 1')
  return toLittleEndian(value)
}

/** 32 bytes. */
export function toLittleEndian(value: bigint): Uint8Array {
  const bytes = new Uint8Array(SCALAR_BYTES)
  const words = new DataView(bytes.buffer)
  let rest = value
  for (let at = 0; at < SCALAR_BYTES; at += WORD) {
    words.setBigUint64(at, rest, true)
    rest >>= WORD_BITS
  }
  return bytes
}

/** The one spelling of a scalar (DeserializeScalar): values of the order and above are refused, not reduced. */
export function decodeScalar(bytes: Uint8Array): Scalar {
  if (bytes.length !== SCALAR_BYTES) fail('THRESHOLD_SCALAR', `a scalar has ${SCALAR_BYTES} bytes, not ${bytes.length}`)
  const value = littleEndian(bytes)
  if (value >= ORDER) fail('THRESHOLD_SCALAR', 'a scalar is below the order of the group')
  return value
}

/** 64 bytes of a hash as a scalar: the bias of the reduction is below 2^-259. */
export function reduceWide(digest: Uint8Array): Scalar {
  return littleEndian(digest) % ORDER
}

/**
 * SHA-512 over a label and parts, each with its length before it, so that no two lists of parts are the same input.
 * Labels are ASCII, and a registry: grep RINGWALL_THRESHOLD.
 */
export function hashParts(label: string, parts: readonly Uint8Array[]): Uint8Array {
  let size = 4 + label.length
  for (const { length } of parts) size += 4 + length
  const framed = new Uint8Array(size)
  const lengths = new DataView(framed.buffer)
  lengths.setUint32(0, label.length)
  let at = 4
  for (let i = 0; i < label.length; i += 1, at += 1) framed[at] = label.charCodeAt(i)
  for (const part of parts) {
    lengths.setUint32(at, part.length)
    framed.set(part, at + 4)
    at += 4 + part.length
  }
  return sha512(framed)
}

/** A challenge (Fiat and Shamir) or a scalar drawn from a seed, by what `parts` hold. */
export function hashToScalar(label: string, parts: readonly Uint8Array[]): Scalar {
  return reduceWide(hashParts(label, parts))
}

/** @throws {ThresholdError} THRESHOLD_IDENTIFIER for zero, a fraction, or more than IDENTIFIER_MAX. */
export function assertIdentifier(index: number): void {
  if (!Number.isInteger(index) || index < 1 || index > IDENTIFIER_MAX)
    fail('THRESHOLD_IDENTIFIER', `an identifier is a whole number from 1 to ${IDENTIFIER_MAX}, not ${index}`)
}

/** Every identifier is in range, and none is there twice. */
export function assertIdentifiers(indexes: readonly number[]): void {
  const seen = new Set<number>()
  for (const index of indexes) {
    assertIdentifier(index)
    if (seen.has(index)) fail('THRESHOLD_IDENTIFIER', `identifier ${index} is there twice`)
    seen.add(index)
  }
}

/** Inverses of many at the price of one (Montgomery's trick). */
export function invertAll(values: readonly Scalar[]): readonly Scalar[] {
  const products: Scalar[] = []
  let product = 1n
  for (const value of values) {
    if (value === 0n) fail('THRESHOLD_SCALAR', 'zero has no inverse')
    products.push(product)
    product = multiply(product, value)
  }
  let inverse = Fn.inv(product)
  const inverses = new Array<Scalar>(values.length)
  for (let i = values.length - 1; i >= 0; i -= 1) {
    inverses[i] = multiply(inverse, products[i] as Scalar)
    inverse = multiply(inverse, values[i] as Scalar)
  }
  return inverses
}

/**
 * The Lagrange coefficients at zero of these identifiers, in their order (RFC 9591 section 4.2).
 * @throws {ThresholdError} THRESHOLD_IDENTIFIER, THRESHOLD_SHORT for none.
 */
export function lagrangeAtZero(indexes: readonly number[]): readonly Scalar[] {
  if (indexes.length === 0) fail('THRESHOLD_SHORT', 'nothing to interpolate')
  assertIdentifiers(indexes)
  const points = indexes.map(BigInt)
  const numerators: Scalar[] = []
  const denominators: Scalar[] = []
  for (const own of points) {
    let numerator = 1n
    let denominator = 1n
    for (const other of points) {
      if (other === own) continue
      numerator = multiply(numerator, other)
      denominator = multiply(denominator, subtract(other, own))
    }
    numerators.push(numerator)
    denominators.push(denominator)
  }
  return invertAll(denominators).map((inverse, i) => multiply(numerators[i] as Scalar, inverse))
}

/** `coefficients[k]` belongs to x^k (Horner). */
export function evaluate(coefficients: readonly Scalar[], index: number): Scalar {
  const x = BigInt(index)
  return coefficients.reduceRight((sum, coefficient) => add(multiply(sum, x), coefficient), 0n)
}

/** 1, x, x^2, ... : `count` of them. */
export function powersOf(index: number, count: number): readonly Scalar[] {
  const x = BigInt(index)
  const powers: Scalar[] = []
  let power = 1n
  for (let k = 0; k < count; k += 1) {
    powers.push(power)
    power = multiply(power, x)
  }
  return powers
}
