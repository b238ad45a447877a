/**
 * Faster arithmetic for both groups, over encodings, where somebody has installed it (`sodium.ts`). Without it, and for what it refuses,
 * `group.ts` computes by `@noble/curves`: results are the same.
 */
import type { SuiteName } from './group.ts'

/** All encodings and scalars (little-endian, below the order) are 32 bytes. What comes back is the caller's. */
export interface EncodedArithmetic {
  /** Is it the one spelling of an element of prime order? What it says of the identity is nothing to rely on. */
  isOfPrimeOrder(value: Uint8Array): boolean
  /** Likewise, of whatever order. */
  isElement(value: Uint8Array): boolean
  /** Undefined when one is no element; other spellings may pass, and the identity is an element. */
  add(a: Uint8Array, b: Uint8Array): Uint8Array | undefined
  /** Likewise: `a` less `b`. */
  subtract(a: Uint8Array, b: Uint8Array): Uint8Array | undefined
  /** Constant-time. Undefined for what it does not multiply: elements outside the subgroup of prime order, the identity, and zero. */
  multiply(value: Uint8Array, scalar: Uint8Array): Uint8Array | undefined
  /** Constant-time. Undefined for zero. */
  multiplyBase(scalar: Uint8Array): Uint8Array | undefined
}

export type Arithmetic = Readonly<Record<SuiteName, EncodedArithmetic>>

let installed: Arithmetic | undefined

export function installedArithmetic(): Arithmetic | undefined {
  return installed
}

/** For all groups of this thread, from now on; undefined: by `@noble/curves` alone. */
export function installArithmetic(arithmetic: Arithmetic | undefined): void {
  installed = arithmetic
}
