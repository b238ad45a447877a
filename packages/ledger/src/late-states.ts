/** The states after the last blocks, by height. They share what did not change, so what they hold goes by their transactions. */
import type { Executed } from './chain.ts'

const STATES_MAX = 1024
const TRANSACTIONS_MAX = 16_384

export class LateStates<S> {
  readonly #held = new Map<number, { readonly state: S; readonly transactions: number }>()
  #transactions = 0

  /** Heights come in ascending order. */
  add({ block, state, txs }: Pick<Executed<S>, 'block' | 'state' | 'txs'>): void {
    this.#held.set(block.height, { state, transactions: txs.length })
    this.#transactions += txs.length
    for (const [height, { transactions }] of this.#held) {
      if (this.#held.size <= STATES_MAX && (this.#transactions <= TRANSACTIONS_MAX || this.#held.size === 1)) break
      this.#held.delete(height)
      this.#transactions -= transactions
    }
  }

  get(height: number): S | undefined {
    return this.#held.get(height)?.state
  }
}
