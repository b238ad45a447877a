/**
 * One party's half of signing: keeps pairs of nonces made ahead of time, and answers requests in one round.
 *
 * Pure: randomness and messages are arguments. Who may have what signed is the caller's question, answered before `sign`.
 *
 * A nonce used for two messages gives the share away. So:
 *
 * - The secret halves live in memory only. `persist` never holds them: no crash, no old disk and no backup can bring one back, and
 *   what a restart costs is the stock, not the key.
 * - A pair leaves the stock and is wiped before anything is computed with it (`#take`, `NoncePair.take`), so that no error and no
 *   repeated request finds it again.
 * - A request names the pair by number and by both commitments; one of another life of this signer does not fit.
 *
 * `persist` is the number that the next pair gets. It stands before the `send` it permits: a signer that gave one number to two
 * pairs would be taken for an equivocator.
 */
import { bytesToHex } from '@noble/hashes/utils.js'
import { fail, type ThresholdCode, ThresholdError } from './errors.ts'
import { NONCE_RANDOM_BYTES, NoncePair, signingContext, signShare } from './frost.ts'
import type { KeyShare } from './key.ts'
import {
  BATCH_MAX,
  CommitmentMemo,
  decodeCommitments,
  decodeRequest,
  digestOf,
  encodeCommitments,
  encodeSignatureShare,
  type SigningRequest,
} from './signing-wire.ts'
import { sameBytes } from './wire.ts'

export type SignerEvent =
  /** @property random 64 secret random bytes for each pair, of at most BATCH_MAX pairs. */
  | { readonly kind: 'provision'; readonly random: Uint8Array }
  /**
   * Commitments that another signer sent ahead, by its identifier: their elements are checked now, so that a request that names them
   * is answered without. Nothing else depends on it; bad ones are forgotten.
   */
  | { readonly kind: 'learn'; readonly from: number; readonly body: Uint8Array }
  /** A request that the caller has found rightful. */
  | { readonly kind: 'sign'; readonly request: Uint8Array }

/** What the shell does, in this order. */
export type SignerEffect =
  | { readonly kind: 'persist'; readonly next: number }
  | { readonly kind: 'send'; readonly body: Uint8Array }
  | { readonly kind: 'refuse'; readonly code: ThresholdCode; readonly reason: string }

/** Pairs kept at most; the oldest go first. */
export const STOCK_MAX = 512

export class Signer {
  readonly #share: KeyShare
  readonly #stock = new Map<number, NoncePair>()
  readonly #memo: CommitmentMemo
  #next: number

  /**
   * @param next What `persist` said last for this epoch's share; 0 at first.
   * @throws {ThresholdError} THRESHOLD_CONFIG for a key that does not sign.
   */
  constructor(share: KeyShare, next: number, memo: CommitmentMemo = new CommitmentMemo()) {
    if (share.publicKey.suite !== 'ed25519') fail('THRESHOLD_CONFIG', `a key of ${share.publicKey.suite} does not sign`)
    if (!Number.isInteger(next) || next < 0) fail('THRESHOLD_VALUE', 'a number of nonces is a whole number, 0 or more')
    this.#share = share
    this.#next = next
    this.#memo = memo
  }

  get stock(): number {
    return this.#stock.size
  }

  step(event: SignerEvent): readonly SignerEffect[] {
    if (event.kind === 'provision') return this.#provision(event.random)
    if (event.kind === 'learn') return this.#learn(event.from, event.body)
    return this.#sign(event.request)
  }

  #learn(from: number, body: Uint8Array): readonly SignerEffect[] {
    try {
      decodeCommitments(this.#share.publicKey, from, body, this.#memo)
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
    }
    return []
  }

  #provision(random: Uint8Array): readonly SignerEffect[] {
    const count = random.length / NONCE_RANDOM_BYTES
    if (!Number.isInteger(count) || count < 1 || count > BATCH_MAX)
      fail('THRESHOLD_VALUE', `from 1 to ${BATCH_MAX} pairs, ${NONCE_RANDOM_BYTES} random bytes each`)
    const { publicKey, index, secret } = this.#share
    const first = this.#next
    const commitments = Array.from({ length: count }, (_, i) => {
      const pair = new NoncePair(random.subarray(i * NONCE_RANDOM_BYTES, (i + 1) * NONCE_RANDOM_BYTES), secret)
      this.#stock.set(first + i, pair)
      this.#memo.add(pair.commitment)
      return pair.commitment
    })
    this.#next = first + count
    for (const [number, pair] of this.#stock) {
      if (this.#stock.size <= STOCK_MAX) break
      pair.wipe()
      this.#stock.delete(number)
    }
    return [
      { kind: 'persist', next: this.#next },
      { kind: 'send', body: encodeCommitments(publicKey, { index, first, commitments }) },
    ]
  }

  /** Takes the pair that a request names out of the stock. @throws {ThresholdError} THRESHOLD_NONCE. */
  #take(request: SigningRequest): NoncePair {
    const own = request.commitments.filter(({ index }) => index === this.#share.index)
    const [entry] = own
    if (entry === undefined || own.length > 1) return fail('THRESHOLD_IDENTIFIER', 'the request names this signer once')
    const pair = this.#stock.get(entry.number)
    if (
      pair === undefined ||
      !sameBytes(pair.commitment.hidingBytes, entry.hidingBytes) ||
      !sameBytes(pair.commitment.bindingBytes, entry.bindingBytes)
    )
      return fail('THRESHOLD_NONCE', `the pair of nonces ${entry.number} is not there, or no longer`)
    this.#stock.delete(entry.number)
    return pair
  }

  #sign(request: Uint8Array): readonly SignerEffect[] {
    const { publicKey, index } = this.#share
    let pair: NoncePair | undefined
    try {
      const decoded = decodeRequest(publicKey, request, this.#memo)
      pair = this.#take(decoded)
      const { message, commitments } = decoded
      const digest = digestOf(request)
      const own = { index, nonces: pair }
      const context = this.#memo.contextOf(bytesToHex(digest), () => signingContext(publicKey, message, commitments, own))
      const share = signShare(context, this.#share, pair)
      return [{ kind: 'send', body: encodeSignatureShare(publicKey, { request: digest, index, share }) }]
    } catch (error) {
      pair?.wipe()
      if (!(error instanceof ThresholdError)) throw error
      return [{ kind: 'refuse', code: error.code, reason: error.message }]
    }
  }

  /** Forgets all nonces: for a key that was reshared, and at the end. The share is the caller's to wipe. */
  close(): void {
    for (const pair of this.#stock.values()) pair.wipe()
    this.#stock.clear()
  }

  toJSON(): string {
    return '[signer]'
  }
}
