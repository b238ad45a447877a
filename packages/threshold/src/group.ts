/**
 * The two groups of prime order L, behind one interface: the subgroup of edwards25519 that Ed25519 keys live in (RFC 8032),
 * and ristretto255 (RFC 9496). The arithmetic is `@noble/curves`.
 *
 * `multiply` and `multiplyBase` take secrets: noble's constant-time ladders, which blind the scalar with randomness of their own
 * (the result does not depend on it). `combine` is of variable time and for public values only.
 */
import { mulAddUnsafe } from '@noble/curves/abstract/curve.js'
import { ed25519, ristretto255, ristretto255_hasher } from '@noble/curves/ed25519.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { fail } from './errors.ts'
import { littleEndian, ORDER, type Scalar, toLittleEndian } from './scalar.ts'

export type SuiteName = 'ed25519' | 'ristretto255'

export const ELEMENT_BYTES = 32

declare const element: unique symbol
/** An element of a group. Which one is known where it was decoded; elements of two groups do not mix. */
export interface Element {
  readonly [element]: true
}

export interface Group {
  readonly name: SuiteName
  readonly base: Element
  readonly identity: Element
  /** The one spelling of an element that is not the identity and has prime order. @throws {ThresholdError} THRESHOLD_ELEMENT. */
  decode(bytes: Uint8Array): Element
  /**
   * As `decode`, but the element may be outside the subgroup of prime order (its sum with one of low order): without that check it costs
   * a tenth. Only where nothing rests on it: see `CommitmentMemo`. @throws {ThresholdError} THRESHOLD_ELEMENT.
   */
  decodeOfAnyOrder(bytes: Uint8Array): Element
  /** The element itself. @throws {ThresholdError} THRESHOLD_ELEMENT when it is outside the subgroup of prime order. */
  assertPrimeOrder(value: Element): Element
  encode(value: Element): Uint8Array
  /** Remembers the encoding of an element, which is the caller's to know. */
  known(value: Element, encoding: Uint8Array): Element
  equals(a: Element, b: Element): boolean
  isIdentity(value: Element): boolean
  add(a: Element, b: Element): Element
  negate(value: Element): Element
  /** Constant-time. */
  multiply(value: Element, secret: Scalar): Element
  /** Constant-time, from a precomputed table. */
  multiplyBase(secret: Scalar): Element
  /** The sum of `scalars[i]` times `elements[i]`, by one shared chain of doublings. Variable time: public values only. */
  combine(elements: readonly Element[], scalars: readonly Scalar[]): Element
}

interface Constructor<P> {
  readonly BASE: P
  readonly ZERO: P
  fromBytes(bytes: Uint8Array): P
}

interface NoblePoint<P> {
  add(other: P): P
  negate(): P
  equals(other: P): boolean
  is0(): boolean
  multiply(scalar: bigint): P
  toBytes(): Uint8Array
  isTorsionFree(): boolean
}

/** noble's types want more of a point than is used here. */
const combinePoints = mulAddUnsafe as unknown as <P>(c: Constructor<P>, points: readonly P[], scalars: readonly Scalar[]) => P

function groupOf<P extends NoblePoint<P>>(name: SuiteName, Point: Constructor<P>): Group {
  const wrap = (point: P): Element => point as unknown as Element
  const bare = (value: Element): P => value as unknown as P
  // Elements do not change, and encoding one costs a square root or an inversion: each is encoded once.
  const encodings = new WeakMap<Element, Uint8Array>()
  const decodeOfAnyOrder = (bytes: Uint8Array): Element => {
    if (bytes.length !== ELEMENT_BYTES) fail('THRESHOLD_ELEMENT', `an element has ${ELEMENT_BYTES} bytes, not ${bytes.length}`)
    let point: P
    try {
      point = Point.fromBytes(bytes)
    } catch {
      return fail('THRESHOLD_ELEMENT', `not a canonical encoding of an element of ${name}`)
    }
    if (point.is0()) fail('THRESHOLD_ELEMENT', 'the identity is not accepted')
    const value = wrap(point)
    encodings.set(value, Uint8Array.from(bytes))
    return value
  }
  const assertPrimeOrder = (value: Element): Element => {
    if (!bare(value).isTorsionFree()) fail('THRESHOLD_ELEMENT', 'an element outside the subgroup of prime order')
    return value
  }
  return {
    name,
    base: wrap(Point.BASE),
    identity: wrap(Point.ZERO),
    decode(bytes) {
      const value = decodeOfAnyOrder(bytes)
      return assertPrimeOrder(value)
    },
    assertPrimeOrder,
    decodeOfAnyOrder,
    encode(value) {
      const known = encodings.get(value)
      if (known !== undefined) return known.slice()
      if (bare(value).is0()) fail('THRESHOLD_ELEMENT', 'the identity has no encoding here')
      const bytes = bare(value).toBytes()
      encodings.set(value, bytes)
      return bytes.slice()
    },
    known(value, encoding) {
      encodings.set(value, Uint8Array.from(encoding))
      return value
    },
    equals: (a, b) => bare(a).equals(bare(b)),
    isIdentity: (value) => bare(value).is0(),
    add: (a, b) => wrap(bare(a).add(bare(b))),
    negate: (value) => wrap(bare(value).negate()),
    multiply: (value, secret) => (secret === 0n ? wrap(Point.ZERO) : wrap(bare(value).multiply(secret))),
    multiplyBase: (secret) => (secret === 0n ? wrap(Point.ZERO) : wrap(Point.BASE.multiply(secret))),
    combine(elements, scalars) {
      if (elements.length !== scalars.length) fail('THRESHOLD_VALUE', 'as many scalars as elements are needed')
      const points: P[] = []
      const factors: Scalar[] = []
      elements.forEach((value, i) => {
        const scalar = scalars[i] as Scalar
        if (scalar === 0n || bare(value).is0()) return
        // A scalar just below the order is a small one of the negated element: shorter chains for small negative factors.
        const negative = scalar > ORDER >> 1n
        points.push(negative ? bare(value).negate() : bare(value))
        factors.push(negative ? ORDER - scalar : scalar)
      })
      if (points.length === 0) return wrap(Point.ZERO)
      return wrap(combinePoints(Point, points, factors))
    },
  }
}

export const edwards: Group = groupOf('ed25519', ed25519.Point)

const ED25519_POINT = ed25519.Point
const FIELD = ED25519_POINT.Fp.ORDER
type Ed25519Point = typeof ED25519_POINT.BASE

/** The x coordinate, 32 bytes, little-endian: with it, whoever decodes the element computes no square root. */
export function encodeX(value: Element): Uint8Array {
  return toLittleEndian((value as unknown as Ed25519Point).toAffine().x)
}

/**
 * As `edwards.decodeOfAnyOrder`, where the x coordinate came along: it is checked to be the one that the encoding stands for, at a tenth of
 * what finding it costs.
 *
 * @throws {ThresholdError} THRESHOLD_ELEMENT.
 */
export function decodeWithX(bytes: Uint8Array, xBytes: Uint8Array): Element {
  if (bytes.length !== ELEMENT_BYTES || xBytes.length !== ELEMENT_BYTES)
    fail('THRESHOLD_ELEMENT', `an element and its x coordinate have ${ELEMENT_BYTES} bytes each`)
  const sign = (bytes[31] as number) >> 7
  const y = littleEndian(bytes) & ((1n << 255n) - 1n)
  const x = littleEndian(xBytes)
  // One spelling: both below the field's order, and the sign bit that of x (RFC 8032 section 5.1.2). Zero has no sign.
  if (x >= FIELD || y >= FIELD || Number(x & 1n) !== sign)
    fail('THRESHOLD_ELEMENT', 'the x coordinate is not that of the element')
  const point = ED25519_POINT.fromAffine({ x, y })
  try {
    // On the curve, and not the identity.
    point.assertValidity()
  } catch {
    fail('THRESHOLD_ELEMENT', 'the x coordinate is not that of the element')
  }
  return edwards.known(point as unknown as Element, bytes)
}

export const ristretto: Group = groupOf('ristretto255', ristretto255.Point)

export function groupNamed(name: SuiteName): Group {
  return name === 'ed25519' ? edwards : ristretto
}

/** A generator of ristretto255 that nobody knows the logarithm of: RFC 9496's one-way map, by way of RFC 9380. */
export function independentGenerator(label: string): Element {
  const point = ristretto255_hasher.hashToCurve(utf8ToBytes(label), { DST: 'RINGWALL_THRESHOLD_GENERATOR_V1' })
  return ristretto.decode(point.toBytes())
}
