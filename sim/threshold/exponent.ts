/**
 * Both groups in the exponent: an element is its own discrete logarithm to the base, so that a multiplication takes a microsecond and all
 * equations of the protocols hold exactly as they do over the curves. What this cannot show is that logarithms are hard: whoever cheats in a
 * simulation does so by its lies and never takes a logarithm. It takes its bits of the generic group model (Shoup, "Lower Bounds for
 * Discrete Logarithms and Related Problems", 1997), without the random encoding.
 *
 *     element = logarithm modulo L, 32 bytes little-endian, with a mark in its last three bits:
 *               1tt in the model of edwards25519, where t is the part of low order (modulo 4); 011 in that of ristretto255
 */
import { createHash } from 'node:crypto'
import { ORDER } from '@ringwall/threshold'
import { groupOf, type HashableGroup, type Point, type Points } from '../../packages/threshold/src/group.ts'

const MARK_EDWARDS = 0b100
const MARK_RISTRETTO = 0b011
/** Of the subgroup of low order, in the model of edwards25519: 8 over the curve, and 2 bits suffice to be outside of the right one. */
const COFACTOR = 4

interface Shape {
  readonly mark: number
  readonly cofactor: number
}

const EDWARDS: Shape = { mark: MARK_EDWARDS, cofactor: COFACTOR }
const RISTRETTO: Shape = { mark: MARK_RISTRETTO, cofactor: 1 }

const view = new DataView(new ArrayBuffer(32))
const scratch = new Uint8Array(view.buffer)

class Exponent implements Point<Exponent> {
  readonly log: bigint
  readonly low: number
  readonly shape: Shape

  constructor(shape: Shape, log: bigint, low: number) {
    this.shape = shape
    this.log = log
    this.low = low
  }

  add(other: Exponent): Exponent {
    const sum = this.log + other.log
    return new Exponent(this.shape, sum >= ORDER ? sum - ORDER : sum, (this.low + other.low) % this.shape.cofactor)
  }

  negate(): Exponent {
    const { log, low, shape } = this
    return new Exponent(shape, log === 0n ? 0n : ORDER - log, (shape.cofactor - low) % shape.cofactor)
  }

  equals({ log, low }: Exponent): boolean {
    return this.log === log && this.low === low
  }

  is0(): boolean {
    return this.log === 0n && this.low === 0
  }

  multiply(scalar: bigint): Exponent {
    const low = this.low === 0 ? 0 : Number((BigInt(this.low) * scalar) % BigInt(this.shape.cofactor))
    return new Exponent(this.shape, (this.log * scalar) % ORDER, low)
  }

  toBytes(): Uint8Array {
    let rest = this.log
    for (let at = 0; at < 32; at += 8) {
      view.setBigUint64(at, BigInt.asUintN(64, rest), true)
      rest >>= 64n
    }
    scratch[31] = (scratch[31] as number) | ((this.shape.mark | this.low) << 5)
    return scratch.slice()
  }

  isTorsionFree(): boolean {
    return this.low === 0
  }
}

function decode(shape: Shape, bytes: Uint8Array): Exponent {
  if (bytes.length !== 32) throw new Error('an element has 32 bytes')
  scratch.set(bytes)
  const marked = (scratch[31] as number) >> 5
  const low = marked ^ shape.mark
  if (low >= shape.cofactor) throw new Error('not an element of this group')
  scratch[31] = (scratch[31] as number) & 0x1f
  let log = 0n
  for (let at = 24; at >= 0; at -= 8) log = (log << 64n) | view.getBigUint64(at, true)
  if (log >= ORDER) throw new Error('another spelling of an element')
  return new Exponent(shape, log, low)
}

function pointsOf(shape: Shape): Points<Exponent> {
  return {
    BASE: new Exponent(shape, 1n, 0),
    ZERO: new Exponent(shape, 0n, 0),
    fromBytes: (bytes) => decode(shape, bytes),
    combine(points, scalars) {
      let sum = 0n
      let low = 0
      points.forEach((point, i) => {
        sum += point.log * (scalars[i] as bigint)
        if (point.low !== 0) low = (low + point.multiply(scalars[i] as bigint).low) % shape.cofactor
      })
      return new Exponent(shape, sum % ORDER, low)
    },
  }
}

/** 64 bytes of a hash as a scalar, in arithmetic of this file. */
function wideHash(parts: readonly Uint8Array[]): bigint {
  const hash = createHash('sha512')
  for (const part of parts) hash.update(part)
  return BigInt(`0x${hash.digest().reverse().toString('hex')}`) % ORDER
}

const edwards = groupOf('ed25519', pointsOf(EDWARDS))
const ristrettoGroup = groupOf('ristretto255', pointsOf(RISTRETTO))
const ristretto: HashableGroup = {
  ...ristrettoGroup,
  hash: (message, domain) =>
    ristrettoGroup.decode(new Exponent(RISTRETTO, wideHash([Buffer.from(domain), message]), 0).toBytes()),
}

export const exponentGroups = { edwards, ristretto }

/** What no party may take for an element: of low order in the model of edwards25519, and both identities. */
export const LOW_ORDER = new Exponent(EDWARDS, 0n, 1).toBytes()
export const IDENTITY = new Exponent(EDWARDS, 0n, 0).toBytes()
export const RISTRETTO_IDENTITY = new Exponent(RISTRETTO, 0n, 0).toBytes()

/** RFC 8032's equation, zB = R + H(R, A, M)A, by the logarithms of R and A. */
export function verifiesInExponent(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  const response = BigInt(`0x${Buffer.from(signature.slice(32)).reverse().toString('hex')}`)
  if (signature.length !== 64 || response >= ORDER) return false
  const challenge = wideHash([signature.subarray(0, 32), publicKey, message])
  const [r, a] = [signature.subarray(0, 32), publicKey].map((bytes) => decode(EDWARDS, bytes))
  if (r === undefined || a === undefined) return false
  return r.low === 0 && a.low === 0 && response === (r.log + challenge * a.log) % ORDER
}
