/**
 * Operators' recovery of disks, for the day when too few nodes are up to open one another's: each disk's storage key is also encapsulated to a recovery
 * key, of which every operator has a share, and which no one of them holds. The key is dealt on one machine, which has all of it for a moment.
 */
import { randomBytes } from 'node:crypto'
import { decodeBase64url, encodeBase64url } from '@ringwall/ring/tx'
import {
  dealTrusted,
  decodePartial,
  KeyShare,
  makePartial,
  ORDER,
  openCapsule,
  type Partial,
  PublicKey,
  ThresholdError,
  verifyCapsule,
  verifyPartial,
} from '@ringwall/threshold'
import { StartError } from '../errors.ts'
import { unwrapKey } from './local-lock.ts'

export const RECOVERY_LOCK = 'storage key of the operators'
const OPERATORS_MAX = 16

export interface HeldByOperators {
  /** `PublicKey.encode`, base64url. */
  readonly key: string
  readonly capsule: string
  readonly wrapped: string
}

/** @returns The key for the policy, and a share for each operator. @throws {StartError} `CONFIG_INVALID`. */
export function makeRecovery(operators: number, needed: number): { readonly key: string; readonly shares: readonly string[] } {
  if (!Number.isInteger(operators) || !Number.isInteger(needed) || operators > OPERATORS_MAX || needed < 2 || needed > operators)
    throw new StartError(
      'CONFIG_INVALID',
      `--operators ${operators} --needed ${needed}: expected 2 to ${OPERATORS_MAX} operators, of whom at least 2 and at most all are needed`,
    )
  const members = Array.from({ length: operators }, (_, at) => ({ party: `operator-${at + 1}`, index: at + 1 }))
  const parts = { suite: 'ristretto255', purpose: 'ringwall recovery of disks', epoch: 0, threshold: needed, members } as const
  // 64 bytes: what is left of them modulo the order is uniform but for 2^-259.
  const coefficients = Array.from({ length: needed }, () => BigInt(`0x${randomBytes(64).toString('hex')}`) % ORDER)
  const shares = dealTrusted(parts, coefficients)
  const [first] = shares as readonly [KeyShare]
  return {
    key: encodeBase64url(first.publicKey.encode()),
    shares: shares.map((share) => encodeBase64url(share.encodeSecret())),
  }
}

/** Undefined when the text is no key that disks may be sealed to. */
export function recoveryKeyOf(text: string): PublicKey | undefined {
  try {
    const publicKey = PublicKey.decode(decodeBase64url(text))
    return publicKey.suite === 'ristretto255' && publicKey.threshold >= 2 ? publicKey : undefined
  } catch {
    return undefined
  }
}

/** One operator's part. @throws {StartError} `DISK_LOCKED` when the share is not of the key that the disk is sealed to. */
export function operatorPart(share: string, held: HeldByOperators): { readonly index: number; readonly partial: string } {
  try {
    const key = KeyShare.decode(decodeBase64url(share.trim()))
    const capsule = verifyCapsule(key.publicKey, decodeBase64url(held.capsule))
    return { index: key.index, partial: encodeBase64url(makePartial(key, capsule)) }
  } catch (cause) {
    throw new StartError(
      'DISK_LOCKED',
      'the share is none of the recovery key that this disk was sealed to: take one of that key',
      {
        cause,
      },
    )
  }
}

/** Takes the operators' parts, until there are enough. */
export class OperatorParts {
  readonly #held: HeldByOperators
  readonly #publicKey: PublicKey
  readonly #parts = new Map<number, Partial>()

  /** @throws {StartError} `DISK_LOCKED`. */
  constructor(held: HeldByOperators) {
    const publicKey = recoveryKeyOf(held.key)
    if (publicKey === undefined) throw new StartError('DISK_LOCKED', 'disk.json names no recovery key that can be used')
    this.#held = held
    this.#publicKey = publicKey
  }

  get missing(): number {
    return Math.max(0, this.#publicKey.threshold - this.#parts.size)
  }

  /** False when it does not verify. */
  take(index: number, partial: string): boolean {
    try {
      const part = decodePartial(this.#publicKey, index, decodeBase64url(partial))
      if (!verifyPartial(this.#publicKey, verifyCapsule(this.#publicKey, decodeBase64url(this.#held.capsule)), part)) return false
      this.#parts.set(index, part)
      return true
    } catch {
      return false
    }
  }

  /** Undefined while parts are missing, or when the disk file was changed. */
  storageKey(): Uint8Array | undefined {
    if (this.missing > 0) return undefined
    try {
      const capsule = verifyCapsule(this.#publicKey, decodeBase64url(this.#held.capsule))
      return unwrapKey(openCapsule(this.#publicKey, capsule, [...this.#parts.values()]), this.#held.wrapped, RECOVERY_LOCK)
    } catch (error) {
      if (error instanceof ThresholdError) return undefined
      throw error
    }
  }
}
