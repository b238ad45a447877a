/** Messages of the epoch to come, from peers that are in it already: kept, within bounds, until this node is in it too. */

const COUNT_MAX = 512
const BYTES_MAX: number = 8 * 1024 * 1024

export interface EarlyMessage {
  readonly from: string
  readonly payload: Uint8Array
}

export class EarlyMessages {
  #kept: EarlyMessage[] = []
  #bytes = 0

  /** What there is no room for is dropped: its sender tells it again. */
  keep(from: string, payload: Uint8Array): void {
    if (this.#kept.length >= COUNT_MAX || this.#bytes + payload.length > BYTES_MAX) return
    this.#kept.push({ from, payload })
    this.#bytes += payload.length
  }

  /** All of them, in the order in which they came; then none are left. */
  take(): readonly EarlyMessage[] {
    const kept = this.#kept
    this.#kept = []
    this.#bytes = 0
    return kept
  }
}
