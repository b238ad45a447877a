/**
 * Transactions whose form and signature were found good, by their bytes: one is met when it arrives, when a leader chooses it,
 * when its block is judged, and after each block that it waits for. Only what an issuer of the genesis signed gets in.
 */
import { equalBytes } from './encoding.ts'
import type { TxContent, TxId } from './types.ts'

export interface VerifiedTransaction {
  readonly id: TxId
  readonly content: TxContent
  readonly issuer: { readonly kind: 'operator' | 'node'; readonly name: string }
  /** Of the denial that it adds; undefined for other statements. */
  readonly denialId: string | undefined
}

interface Entry {
  readonly bytes: Uint8Array
  readonly transaction: VerifiedTransaction
}

const BYTES_MAX = 4_096
const GENERATION = 8_192

export class VerifiedTransactions {
  #young = new Map<string, Entry>()
  #old = new Map<string, Entry>()

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
    }
    this.#young.set(keyOf(bytes), { bytes: bytes.slice(), transaction })
  }
}

/** The wire form ends with half of the signature in so many characters, then a quote and a brace. */
const KEY_BYTES = 43
const END_BYTES = 2

/** Part of the signature, each byte as one character. Signatures that share it share a place, and the later one has it. */
function keyOf(bytes: Uint8Array): string {
  const end = bytes.length - END_BYTES
  return String.fromCharCode.apply(null, bytes.subarray(Math.max(0, end - KEY_BYTES), end) as unknown as number[])
}
