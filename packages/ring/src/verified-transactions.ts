/**
 * Transactions whose form and signature were found good, by their bytes: one is met when it arrives, when a leader chooses it,
 * when its block is judged, and after each block that it waits for. Only what an issuer of the genesis signed gets in.
 */
import type { TxContent, TxId } from './types.ts'

export interface VerifiedTransaction {
  readonly id: TxId
  readonly content: TxContent
  readonly issuer: { readonly kind: 'operator' | 'node'; readonly name: string }
}

const BYTES_MAX = 4_096
const GENERATION = 8_192

export class VerifiedTransactions {
  #young = new Map<string, VerifiedTransaction>()
  #old = new Map<string, VerifiedTransaction>()

  get(bytes: Uint8Array): VerifiedTransaction | undefined {
    if (bytes.length > BYTES_MAX) return undefined
    const key = keyOf(bytes)
    return this.#young.get(key) ?? this.#old.get(key)
  }

  set(bytes: Uint8Array, transaction: VerifiedTransaction): void {
    if (bytes.length > BYTES_MAX) return
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(keyOf(bytes), transaction)
  }
}

/** Each byte as one character: equal keys are equal bytes. */
function keyOf(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[])
}
