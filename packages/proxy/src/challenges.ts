/**
 * Challenges and passes, sealed: nothing is kept of either. A challenge says when it was made, how hard it is, how long the pass for it
 * lasts, and a random number; its seal also covers whom it is for, which it does not say. The pass for it has the same random
 * number as its id, and lasts from the challenge's making: a proof that is brought twice gives the same pass twice, on any node, and so
 * there is nothing to be won by it and nothing to remember.
 *
 * The proof is a number for which SHA-256 of a block, the number before the challenge over and over, begins with so many zero bits. The number stands
 * first, so that no part of the work serves for two numbers; the block is long, so that a browser's way to its own SHA-256 weighs less
 * beside the hashing, which a program does hardly faster.
 *
 * Opening costs one HMAC, a proof one hash of 4 KiB more: some microseconds, before anything is looked up.
 */
import { createHmac, createSecretKey, hash, type KeyObject, randomFillSync, timingSafeEqual } from 'node:crypto'
import type { ChallengeTerms, GrantedPass, Passes } from '@ringwall/guard'
import { newPassKey, PASS_KEY_ID_BYTES, type PassKey } from './pass-keys.ts'

/** From a challenge to its proof, however slow the client. */
export const CHALLENGE_S_MAX = 600
/** By which the clocks of two nodes may differ. */
const SKEW_S = 60
export const WORK_BLOCK_BYTES = 4_096
const COUNTER_BYTES = 8
const NONCE_BYTES = 12
const CHALLENGE_KIND = 1
const PASS_KIND = 2
const CHALLENGE_HEAD_BYTES = 1 + PASS_KEY_ID_BYTES + 4 + 1 + 4 + NONCE_BYTES
const CHALLENGE_SEAL_BYTES = 20
const PASS_HEAD_BYTES = 1 + PASS_KEY_ID_BYTES + 4 + NONCE_BYTES
const PASS_SEAL_BYTES = 16
/** Both are whole groups of three bytes: there is one way to write each. */
const CHALLENGE_CHARS = ((CHALLENGE_HEAD_BYTES + CHALLENGE_SEAL_BYTES) / 3) * 4
const PASS_CHARS = ((PASS_HEAD_BYTES + PASS_SEAL_BYTES) / 3) * 4
const BASE64URL = /^[A-Za-z0-9_-]+$/
const SOLUTION = /^([A-Za-z0-9_-]{1,128})\.(0|[1-9][0-9]{0,15})$/

interface Sealer {
  readonly id: string
  /** As an object: made of bytes anew for every HMAC, it would cost five times as much. */
  readonly key: KeyObject
}

export class Challenges implements Passes {
  #sealing: Sealer
  #keys: ReadonlyMap<string, Sealer>
  readonly #block = Buffer.alloc(WORK_BLOCK_BYTES)

  /** With a key of its own, until it is told of others. */
  constructor(sealing: PassKey = newPassKey(Date.now())) {
    this.#sealing = sealerOf(sealing)
    this.#keys = new Map([[sealing.id, this.#sealing]])
  }

  /** @param keys All that open; where two have one id, the first. */
  use(sealing: PassKey, keys: readonly PassKey[]): void {
    this.#sealing = sealerOf(sealing)
    const before = this.#keys
    const sealers = keys.map((key) => before.get(key.id) ?? sealerOf(key))
    this.#keys = new Map([this.#sealing, ...sealers].toReversed().map((sealer) => [sealer.id, sealer]))
  }

  issue({ binding, difficulty, passForMs }: ChallengeTerms, nowMs: number): string {
    const bytes = Buffer.alloc(CHALLENGE_HEAD_BYTES + CHALLENGE_SEAL_BYTES)
    let at = bytes.writeUInt8(CHALLENGE_KIND, 0)
    at += bytes.write(this.#sealing.id, at, 'hex')
    at = bytes.writeUInt32BE(Math.floor(nowMs / 1_000), at)
    at = bytes.writeUInt8(difficulty, at)
    at = bytes.writeUInt32BE(Math.ceil(passForMs / 1_000), at)
    randomFillSync(bytes, at, NONCE_BYTES)
    return sealed(bytes, CHALLENGE_HEAD_BYTES, this.#sealing, binding)
  }

  redeem(solution: string, binding: string, nowMs: number): GrantedPass | { readonly refused: string } {
    const parts = solution.length > 160 ? null : SOLUTION.exec(solution)
    if (parts === null) return { refused: 'no proof of work' }
    const [, challenge = '', counter = ''] = parts
    if (challenge.length !== CHALLENGE_CHARS) return { refused: 'no challenge of ours' }
    const bytes = Buffer.from(challenge, 'base64url')
    if (bytes[0] !== CHALLENGE_KIND) return { refused: 'no challenge of ours' }
    let at = 1 + PASS_KEY_ID_BYTES
    const madeAtS = bytes.readUInt32BE(at)
    const difficulty = bytes.readUInt8((at += 4))
    const passForS = bytes.readUInt32BE((at += 1))
    const nowS = Math.floor(nowMs / 1_000)
    if (nowS - madeAtS > CHALLENGE_S_MAX || madeAtS - nowS > SKEW_S) return { refused: 'the challenge is too old' }
    if (this.#opener(bytes, CHALLENGE_HEAD_BYTES, binding) === undefined)
      return { refused: 'the challenge is none of ours, or somebody else’s' }
    if (!isProof(this.#block, challenge, Number(counter), difficulty)) return { refused: 'the proof is wrong' }
    const expiresAtS = madeAtS + passForS
    if (expiresAtS <= nowS) return { refused: 'the pass would be over' }
    const pass = Buffer.alloc(PASS_HEAD_BYTES + PASS_SEAL_BYTES)
    let to = pass.writeUInt8(PASS_KIND, 0)
    to += pass.write(this.#sealing.id, to, 'hex')
    to = pass.writeUInt32BE(expiresAtS, to)
    bytes.copy(pass, to, at + 4, at + 4 + NONCE_BYTES)
    return { pass: sealed(pass, PASS_HEAD_BYTES, this.#sealing, binding), forS: expiresAtS - nowS }
  }

  check(pass: string, binding: string, nowMs: number): string | undefined {
    if (pass.length !== PASS_CHARS || !BASE64URL.test(pass)) return undefined
    const bytes = Buffer.from(pass, 'base64url')
    if (bytes[0] !== PASS_KIND) return undefined
    const expiresAtS = bytes.readUInt32BE(1 + PASS_KEY_ID_BYTES)
    if (expiresAtS * 1_000 <= nowMs) return undefined
    if (this.#opener(bytes, PASS_HEAD_BYTES, binding) === undefined) return undefined
    return bytes.toString('base64url', PASS_HEAD_BYTES - NONCE_BYTES, PASS_HEAD_BYTES)
  }

  /** The key that it is sealed with, if it is. */
  #opener(bytes: Buffer, headBytes: number, binding: string): Sealer | undefined {
    const key = this.#keys.get(bytes.toString('hex', 1, 1 + PASS_KEY_ID_BYTES))
    if (key === undefined) return undefined
    const seal = sealOf(bytes, headBytes, key, binding)
    return timingSafeEqual(seal.subarray(0, bytes.length - headBytes), bytes.subarray(headBytes)) ? key : undefined
  }
}

function sealerOf({ id, bytes }: PassKey): Sealer {
  return { id, key: createSecretKey(bytes) }
}

/** The first byte of what is sealed says what it is: a challenge is no pass. */
function sealOf(bytes: Buffer, headBytes: number, { key }: Sealer, binding: string): Buffer {
  return createHmac('sha256', key).update(bytes.subarray(0, headBytes)).update(binding, 'utf8').digest()
}

function sealed(bytes: Buffer, headBytes: number, sealer: Sealer, binding: string): string {
  sealOf(bytes, headBytes, sealer, binding).copy(bytes, headBytes, 0, bytes.length - headBytes)
  return bytes.toString('base64url')
}

/** @param block Of `WORK_BLOCK_BYTES`, written over. */
export function isProof(block: Buffer, challenge: string, counter: number, difficulty: number): boolean {
  if (!Number.isSafeInteger(counter)) return false
  block.writeBigUInt64BE(BigInt(counter), 0)
  block.fill(challenge, COUNTER_BYTES, WORK_BLOCK_BYTES, 'latin1')
  return leadingZeros(hash('sha256', block, 'buffer')) >= difficulty
}

function leadingZeros(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) {
    if (byte !== 0) return count + Math.clz32(byte) - 24
    count += 8
  }
  return count
}
