/** By what a simulated ring computes: the real groups, or both of them in the exponent (`exponent.ts`). One for a thread at a time. */
import { createPublicKey, hash, verify } from 'node:crypto'
import { edwards, ristretto } from '@ringwall/threshold'
import { sodiumArithmetic } from '@ringwall/threshold/sodium'
import { installArithmetic } from '../../packages/threshold/src/arithmetic.ts'
import { replaceGroups } from '../../packages/threshold/src/group.ts'
import { type Hashes, installHashes } from '../../packages/threshold/src/hash.ts'
import * as exponent from './exponent.ts'

export const ARITHMETICS = ['exponent', 'real'] as const
export type ArithmeticName = (typeof ARITHMETICS)[number]

/** What a simulation has to say in the encodings of the groups. */
export interface Arithmetic {
  /** A point of low order of edwards25519, and the identities of both groups: nobody may take them. */
  readonly LOW_ORDER: Uint8Array
  readonly IDENTITY: Uint8Array
  readonly RISTRETTO_IDENTITY: Uint8Array
  /** Whether somebody who shares no code with the parties takes this signature. */
  verifies(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
}

const REAL: Arithmetic = {
  // Of order 8 (RFC 7748's curve, as listed in many places).
  LOW_ORDER: Uint8Array.from(Buffer.from('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', 'hex')),
  IDENTITY: Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0)),
  RISTRETTO_IDENTITY: new Uint8Array(32),
  verifies(signature, message, publicKey) {
    const key = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey])
    return verify(null, message, createPublicKey({ key, format: 'der', type: 'spki' }), signature)
  },
}

const EXPONENT: Arithmetic = {
  LOW_ORDER: exponent.LOW_ORDER,
  IDENTITY: exponent.IDENTITY,
  RISTRETTO_IDENTITY: exponent.RISTRETTO_IDENTITY,
  verifies: exponent.verifiesInExponent,
}

// As nodes do. The model computes by its own points alone.
const sodium = await sodiumArithmetic()
const realGroups = { edwards, ristretto }

/** Node makes a string of Latin-1 in half the time that it makes a buffer. */
const nodeHash =
  (name: string) =>
  (bytes: Uint8Array): Uint8Array => {
    const digest = hash(name, bytes, 'binary')
    const out = new Uint8Array(digest.length)
    for (let i = 0; i < out.length; i += 1) out[i] = digest.charCodeAt(i)
    return out
  }

/** Most of what is left of a run in the exponent would be hashing. */
const nodeHashes: Hashes = { sha256: nodeHash('sha256'), sha512: nodeHash('sha512') }

let used: Arithmetic = REAL

/** From now on in this thread; elements made before do not mix with those made after. */
export function chooseArithmetic(name: ArithmeticName): void {
  used = name === 'real' ? REAL : EXPONENT
  replaceGroups(name === 'real' ? realGroups : exponent.exponentGroups)
  installArithmetic(name === 'real' ? sodium : undefined)
  installHashes(name === 'real' ? undefined : nodeHashes)
}

export function usedArithmetic(): Arithmetic {
  return used
}
