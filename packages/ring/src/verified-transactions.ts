/**
 * Transactions whose form and signature were found good, by their bytes: one is met when it arrives, when a leader chooses it,
 * when its block is judged, and after each block that it waits for. Only what an issuer of the genesis signed gets in.
 */
import { equalBytes } from './encoding.ts'
import type { SubjectMemo } from './meaning.ts'
import { timeKey } from './time-key.ts'
import type { TxContent, TxId } from './types.ts'

export class VerifiedTransaction {
  readonly id: TxId
  readonly content: TxContent
  readonly issuer: { readonly kind: 'operator' | 'node'; readonly name: string }
  /** Of the denial that it adds; undefined for other statements. */
  readonly denialId: string | undefined
  /** Its place among the transactions seen. */
  readonly seenKey: string
  /** What its subject came to when it was last judged. */
  readonly memo: SubjectMemo = { policy: undefined, refusal: undefined }

  constructor(
    id: TxId,
    content: TxContent,
    issuer: { readonly kind: 'operator' | 'node'; readonly name: string },
    denialId: string | undefined,
  ) {
    this.id = id
    this.content = content
    this.issuer = issuer
    this.denialId = denialId
    this.seenKey = timeKey(content.untilMs, id)
  }
}

interface Entry {
  readonly bytes: Uint8Array
  readonly transaction: VerifiedTransaction
}

const BYTES_MAX = 4_096
const GENERATION = 8_192
/** Copies are cut from pieces of this size: all of a generation go at once, and one allocation for each would cost more than the copy. */
const PIECE_BYTES = 64 * 1_024

export class VerifiedTransactions {
  #young = new Map<number, Entry>()
  #old = new Map<number, Entry>()
  #piece = new Uint8Array(0)

  get(bytes: Uint8Array): VerifiedTransaction | undefined {
    if (bytes.length > BYTES_MAX) return undefined
    const key = keyOf(bytes)
    const entry = this.#young.get(key) ?? this.#old.get(key)
    return entry !== undefined && equalBytes(entry.bytes, bytes) ? entry.transaction : undefined
  }

  /** Copies `bytes`: what is remembered as good is what was found good. */
  set(bytes: Uint8Array, transaction: VerifiedTransaction): void {
    if (bytes.length > BYTES_MAX) return
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young
      this.#young = new Map()
      this.#piece = new Uint8Array(0)
    }
    this.#young.set(keyOf(bytes), { bytes: this.#copy(bytes), transaction })
  }

  #copy(bytes: Uint8Array): Uint8Array {
    const { length } = bytes
    if (this.#piece.length < length) this.#piece = new Uint8Array(PIECE_BYTES)
    const copy = this.#piece.subarray(0, length)
    this.#piece = this.#piece.subarray(length)
    copy.set(bytes)
    return copy
  }
}

/** The wire form ends with the signature, a quote and a brace. */
const KEY_BYTES = 20
const END_BYTES = 2

/** 30 bits of the signature's end. Signatures that share it share a place, and the later one has it. */
function keyOf(bytes: Uint8Array): number {
  const end = bytes.length - END_BYTES
  let key = 0
  for (let at = Math.max(0, end - KEY_BYTES); at < end; at += 1) key = Math.imul(key ^ bytes[at]!, 0x01000193)
  return (key ^ (key >>> 15)) & 0x3fffffff
}
