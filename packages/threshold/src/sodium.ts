/**
 * libsodium's arithmetic of edwards25519 and ristretto255 (WebAssembly), several times faster than big integers and constant-time for secret
 * scalars. An entrance of its own, since it takes 0.4 MB and some milliseconds to load: threads that compute with shares load it, nobody else.
 *
 * None of libsodium's randomness is used, so that it needs no initialisation (`sodium_init`).
 */
import { equalBytes as isSame } from '@noble/curves/utils.js'
import type { Sodium } from 'libsodium-sumo'
import { type Arithmetic, type EncodedArithmetic, installArithmetic } from './arithmetic.ts'

const BYTES = 32

let loading: Promise<Arithmetic> | undefined

/**
 * Has both groups of this thread computed by libsodium from then on; it is loaded once, however often this is called. Elements and secrets made
 * before are as good as ever.
 */
export async function loadSodium(): Promise<void> {
  loading ??= sodiumArithmetic()
  installArithmetic(await loading)
}

export async function sodiumArithmetic(): Promise<Arithmetic> {
  const { default: load } = await import('libsodium-sumo')
  const sodium = await load()
  const scratch = scratchOf(sodium)
  return {
    ed25519: encodedArithmetic(scratch, {
      hasCofactor: true,
      identity: Uint8Array.from({ length: BYTES }, (_, i) => (i === 0 ? 1 : 0)),
      isValid: sodium._crypto_core_ed25519_is_valid_point,
      add: sodium._crypto_core_ed25519_add,
      subtract: sodium._crypto_core_ed25519_sub,
      multiply: sodium._crypto_scalarmult_ed25519_noclamp,
      multiplyBase: sodium._crypto_scalarmult_ed25519_base_noclamp,
    }),
    ristretto255: encodedArithmetic(scratch, {
      hasCofactor: false,
      identity: new Uint8Array(BYTES),
      isValid: sodium._crypto_core_ristretto255_is_valid_point,
      add: sodium._crypto_core_ristretto255_add,
      subtract: sodium._crypto_core_ristretto255_sub,
      multiply: sodium._crypto_scalarmult_ristretto255,
      multiplyBase: sodium._crypto_scalarmult_ristretto255_base,
    }),
  }
}

/** Three places of 32 bytes in libsodium's memory. */
interface Scratch {
  readonly out: number
  readonly first: number
  readonly second: number
  put(place: number, bytes: Uint8Array): void
  /** A copy of `out`, which is wiped: it may be a secret of two parties. */
  result(): Uint8Array
  wipe(place: number): void
}

function scratchOf(sodium: Sodium): Scratch {
  const out = sodium._malloc(3 * BYTES)
  if (out === 0) throw new Error('libsodium has no memory')
  return {
    out,
    first: out + BYTES,
    second: out + 2 * BYTES,
    put(place, bytes) {
      // One byte more or less would be read from, or written to, where other things lie.
      if (bytes.length !== BYTES) throw new Error(`bug: ${bytes.length} bytes in the place of ${BYTES}`)
      sodium.HEAPU8.set(bytes, place)
    },
    result() {
      const bytes = sodium.HEAPU8.slice(out, out + BYTES)
      sodium.HEAPU8.fill(0, out, out + BYTES)
      return bytes
    },
    wipe: (place) => void sodium.HEAPU8.fill(0, place, place + BYTES),
  }
}

interface Functions {
  /** Does this have elements outside the subgroup of prime order? */
  readonly hasCofactor: boolean
  readonly identity: Uint8Array
  readonly isValid: (point: number) => number
  readonly add: (out: number, a: number, b: number) => number
  readonly subtract: (out: number, a: number, b: number) => number
  readonly multiply: (out: number, scalar: number, point: number) => number
  readonly multiplyBase: (out: number, scalar: number) => number
}

function encodedArithmetic(scratch: Scratch, functions: Functions): EncodedArithmetic {
  const { out, first, second, put, result, wipe } = scratch
  const { hasCofactor, identity } = functions
  const isOfPrimeOrder = (value: Uint8Array): boolean => {
    put(first, value)
    return functions.isValid(first) === 1
  }
  const add = (a: Uint8Array, b: Uint8Array): Uint8Array | undefined => {
    put(first, a)
    put(second, b)
    return functions.add(out, first, second) === 0 ? result() : undefined
  }
  return {
    isOfPrimeOrder,
    isElement(value) {
      if (!hasCofactor) return isOfPrimeOrder(value)
      // Any spelling can be added; what comes out has the one.
      const same = add(value, identity)
      return same !== undefined && isSame(same, value)
    },
    add,
    subtract(a, b) {
      put(first, a)
      put(second, b)
      return functions.subtract(out, first, second) === 0 ? result() : undefined
    },
    multiply(value, scalar) {
      put(first, value)
      put(second, scalar)
      const isDone = functions.multiply(out, second, first) === 0
      wipe(second)
      return isDone ? result() : undefined
    },
    multiplyBase(scalar) {
      put(second, scalar)
      const isDone = functions.multiplyBase(out, second) === 0
      wipe(second)
      return isDone ? result() : undefined
    },
  }
}
