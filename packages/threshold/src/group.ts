/**
 * The two groups of prime order L, behind one interface: the subgroup of edwards25519 that Ed25519 keys live in (RFC 8032),
 * and ristretto255 (RFC 9496). The arithmetic is libsodium's where a thread has loaded it (`sodium.ts`), and `@noble/curves`' elsewhere and
 * for what libsodium refuses, with the same results.
 *
 * `multiply` and `multiplyBase` take secrets: libsodium's constant-time multiplications, or noble's constant-time ladders, which blind the
 * scalar with randomness of their own (the result does not depend on it). `combine` is for public values only.
 *
 * libsodium knows elements by their encodings, noble by coordinates; from one to the other is a square root or an inversion. So an element
 * keeps whichever form it has, and gets the other when it is needed, once.
 *
 * `groupOf` takes its points from outside, and `replaceGroups` puts other groups in the place of both: for simulations that run the protocols
 * over a model of a group. No setting reaches it, and no module of a product may call it (`sim/threshold/exponent.test.ts`).
 */
import { mulAddUnsafe } from '@noble/curves/abstract/curve.js'
import { ed25519, ristretto255, ristretto255_hasher } from '@noble/curves/ed25519.js'
import { equalBytes } from '@noble/curves/utils.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { type EncodedArithmetic, installedArithmetic } from './arithmetic.ts'
import { fail } from './errors.ts'
import { encodeScalar, ORDER, type Scalar } from './scalar.ts'

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
   * a quarter. Only where nothing rests on it: see `CommitmentMemo`. @throws {ThresholdError} THRESHOLD_ELEMENT.
   */
  decodeOfAnyOrder(bytes: Uint8Array): Element
  /** The element itself. @throws {ThresholdError} THRESHOLD_ELEMENT when it is outside the subgroup of prime order. */
  assertPrimeOrder(value: Element): Element
  encode(value: Element): Uint8Array
  equals(a: Element, b: Element): boolean
  isIdentity(value: Element): boolean
  add(a: Element, b: Element): Element
  negate(value: Element): Element
  /** Constant-time. */
  multiply(value: Element, secret: Scalar): Element
  /** Constant-time, from a precomputed table. */
  multiplyBase(secret: Scalar): Element
  /** The sum of `scalars[i]` times `elements[i]`. Variable time: public values only. */
  combine(elements: readonly Element[], scalars: readonly Scalar[]): Element
}

/** ristretto255 alone can be hashed to: edwards25519's keys are never hashes. */
export interface HashableGroup extends Group {
  /** An element that nobody knows the logarithm of: RFC 9496's one-way map, by way of RFC 9380's expansion under `domain`. */
  hash(message: Uint8Array, domain: string): Element
}

interface Constructor<P> {
  readonly BASE: P
  readonly ZERO: P
  fromBytes(bytes: Uint8Array): P
}

/** What a group's elements are, where no arithmetic over encodings computes: `@noble/curves`' points, or those of a model. */
export interface Points<P> extends Constructor<P> {
  /** The sum of `scalars[i]` times `points[i]`, none of them zero. Variable time. At least one. */
  combine(points: readonly P[], scalars: readonly Scalar[]): P
}

export interface Point<P> {
  add(other: P): P
  negate(): P
  equals(other: P): boolean
  is0(): boolean
  multiply(scalar: bigint): P
  toBytes(): Uint8Array
  isTorsionFree(): boolean
}

/** noble's types want more of a point than is used here. */
const combineNoble = mulAddUnsafe as unknown as <P>(c: Constructor<P>, points: readonly P[], scalars: readonly Scalar[]) => P

const noblePoints = <P extends Point<P>>(Curve: Constructor<P>): Points<P> => ({
  BASE: Curve.BASE,
  ZERO: Curve.ZERO,
  fromBytes: (bytes) => Curve.fromBytes(bytes),
  // All at once, by one shared chain of doublings.
  combine: (points, scalars) => combineNoble(Curve, points, scalars),
})

/** Scalars below this are multiplied by noble: a few additions of known points are less than libsodium's whole chain for each. */
const SHORT = 1n << 32n

/** One of the two is there. */
class Forms<P extends Point<P>> {
  readonly #points: Points<P>
  #point: P | undefined
  #bytes: Uint8Array | undefined

  constructor(points: Points<P>, point: P | undefined, bytes: Uint8Array | undefined) {
    this.#points = points
    this.#point = point
    this.#bytes = bytes
  }

  get point(): P {
    this.#point ??= this.#points.fromBytes(this.#bytes as Uint8Array)
    return this.#point
  }

  /** Not to be changed or handed out. */
  get bytes(): Uint8Array {
    this.#bytes ??= (this.#point as P).toBytes()
    return this.#bytes
  }

  get hasPoint(): boolean {
    return this.#point !== undefined
  }

  get hasBytes(): boolean {
    return this.#bytes !== undefined
  }
}

export function groupOf<P extends Point<P>>(name: SuiteName, of: Points<P>): Group {
  const ofPoint = (point: P): Element => new Forms(of, point, undefined) as unknown as Element
  const ofBytes = (bytes: Uint8Array): Element => new Forms(of, undefined, bytes) as unknown as Element
  const forms = (value: Element): Forms<P> => value as unknown as Forms<P>
  const fast = (): EncodedArithmetic | undefined => installedArithmetic()?.[name]
  const IDENTITY = of.ZERO.toBytes()
  const identity = new Forms(of, of.ZERO, IDENTITY) as unknown as Element
  const base = ofPoint(of.BASE)

  const isIdentity = (value: Element): boolean =>
    forms(value).hasBytes ? equalBytes(forms(value).bytes, IDENTITY) : forms(value).point.is0()

  const assertForm = (bytes: Uint8Array): void => {
    if (bytes.length !== ELEMENT_BYTES) fail('THRESHOLD_ELEMENT', `an element has ${ELEMENT_BYTES} bytes, not ${bytes.length}`)
    if (equalBytes(bytes, IDENTITY)) fail('THRESHOLD_ELEMENT', 'the identity is not accepted')
  }
  const failForm = (): never => fail('THRESHOLD_ELEMENT', `not a canonical encoding of an element of ${name}`)
  const failOrder = (): never => fail('THRESHOLD_ELEMENT', 'an element outside the subgroup of prime order')

  const decodeOfAnyOrder = (bytes: Uint8Array): Element => {
    assertForm(bytes)
    const own = new Uint8Array(bytes)
    const arithmetic = fast()
    if (arithmetic !== undefined) return arithmetic.isElement(own) ? ofBytes(own) : failForm()
    try {
      return new Forms(of, of.fromBytes(own), own) as unknown as Element
    } catch {
      return failForm()
    }
  }

  const hasPrimeOrder = (value: Element): boolean => {
    const arithmetic = fast()
    if (arithmetic === undefined) return forms(value).point.isTorsionFree()
    return isIdentity(value) || arithmetic.isOfPrimeOrder(forms(value).bytes)
  }

  const multiplyBase = (scalar: Scalar): Element => {
    if (scalar === 0n) return identity
    const arithmetic = fast()
    if (arithmetic === undefined) return ofPoint(of.BASE.multiply(scalar))
    const factor = encodeScalar(scalar)
    const product = arithmetic.multiplyBase(factor)
    factor.fill(0)
    return product === undefined ? ofPoint(of.BASE.multiply(scalar)) : ofBytes(product)
  }

  const multiply = (value: Element, scalar: Scalar): Element => {
    if (scalar === 0n || isIdentity(value)) return identity
    const arithmetic = fast()
    if (arithmetic === undefined) return ofPoint(forms(value).point.multiply(scalar))
    const factor = encodeScalar(scalar)
    const product = arithmetic.multiply(forms(value).bytes, factor)
    factor.fill(0)
    return product === undefined ? ofPoint(forms(value).point.multiply(scalar)) : ofBytes(product)
  }

  const add = (a: Element, b: Element): Element => {
    const [first, second] = [forms(a), forms(b)]
    const arithmetic = first.hasPoint && second.hasPoint ? undefined : fast()
    const sum = arithmetic?.add(first.bytes, second.bytes)
    return sum === undefined ? ofPoint(first.point.add(second.point)) : ofBytes(sum)
  }

  const combinePoints = (elements: readonly Element[], scalars: readonly Scalar[]): Element => {
    const points: P[] = []
    const factors: Scalar[] = []
    elements.forEach((value, i) => {
      const scalar = scalars[i] as Scalar
      if (scalar === 0n || isIdentity(value)) return
      // A scalar just below the order is a small one of the negated element: shorter chains for small negative factors.
      const negative = scalar > ORDER >> 1n
      const { point } = forms(value)
      points.push(negative ? point.negate() : point)
      factors.push(negative ? ORDER - scalar : scalar)
    })
    return points.length === 0 ? identity : ofPoint(of.combine(points, factors))
  }

  /** One after the other. Undefined where one is refused. */
  const combineEncoded = (
    arithmetic: EncodedArithmetic,
    elements: readonly Element[],
    scalars: readonly Scalar[],
  ): Element | undefined => {
    let sum: Uint8Array | undefined
    for (const [i, value] of elements.entries()) {
      const scalar = scalars[i] as Scalar
      if (scalar === 0n || isIdentity(value)) continue
      const factor = encodeScalar(scalar)
      const product = value === base ? arithmetic.multiplyBase(factor) : arithmetic.multiply(forms(value).bytes, factor)
      sum = product === undefined || sum === undefined ? product : arithmetic.add(sum, product)
      if (sum === undefined) return undefined
    }
    return sum === undefined ? identity : ofBytes(sum)
  }

  return {
    name,
    base,
    identity,
    decode(bytes) {
      assertForm(bytes)
      const own = new Uint8Array(bytes)
      // In one step what is right; what is not is taken apart to say why.
      if (fast()?.isOfPrimeOrder(own) === true) return ofBytes(own)
      const value = decodeOfAnyOrder(own)
      return hasPrimeOrder(value) ? value : failOrder()
    },
    decodeOfAnyOrder,
    assertPrimeOrder: (value) => (hasPrimeOrder(value) ? value : failOrder()),
    encode(value) {
      if (isIdentity(value)) fail('THRESHOLD_ELEMENT', 'the identity has no encoding here')
      return forms(value).bytes.slice()
    },
    equals(a, b) {
      const [first, second] = [forms(a), forms(b)]
      if (first.hasPoint && second.hasPoint) return first.point.equals(second.point)
      return equalBytes(first.bytes, second.bytes)
    },
    isIdentity,
    add,
    negate(value) {
      const negated = forms(value).hasPoint ? undefined : fast()?.subtract(IDENTITY, forms(value).bytes)
      return negated === undefined ? ofPoint(forms(value).point.negate()) : ofBytes(negated)
    },
    multiply,
    multiplyBase,
    combine(elements, scalars) {
      if (elements.length !== scalars.length) fail('THRESHOLD_VALUE', 'as many scalars as elements are needed')
      const arithmetic = scalars.every((scalar) => scalar < SHORT) ? undefined : fast()
      const sum = arithmetic === undefined ? undefined : combineEncoded(arithmetic, elements, scalars)
      return sum ?? combinePoints(elements, scalars)
    },
  }
}

export let edwards: Group = groupOf('ed25519', noblePoints(ed25519.Point))

const realRistretto = groupOf('ristretto255', noblePoints(ristretto255.Point))

export let ristretto: HashableGroup = {
  ...realRistretto,
  hash: (message, domain) => realRistretto.decode(ristretto255_hasher.hashToCurve(message, { DST: domain }).toBytes()),
}

/** For all of this thread, from now on. Elements of the groups before do not mix with these. Returns those that were there. */
export function replaceGroups(groups: { readonly edwards: Group; readonly ristretto: HashableGroup }): typeof groups {
  const before = { edwards, ristretto }
  edwards = groups.edwards
  ristretto = groups.ristretto
  return before
}

export function groupNamed(name: SuiteName): Group {
  return name === 'ed25519' ? edwards : ristretto
}

/** A generator of ristretto255 that nobody knows the logarithm of. */
export function independentGenerator(label: string): Element {
  return ristretto.hash(utf8ToBytes(label), 'RINGWALL_THRESHOLD_GENERATOR_V1')
}
