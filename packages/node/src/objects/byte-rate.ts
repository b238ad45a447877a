/** So many bytes a second, and one second's worth at once: whoever takes more waits. */
import { setTimeout as sleep } from 'node:timers/promises'

export class ByteRate {
  readonly #perSecond: number
  #left: number
  #atMs = performance.now()

  constructor(perSecond: number) {
    this.#perSecond = perSecond
    this.#left = perSecond
  }

  /** Resolves when they may be used, at once when the signal is aborted. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = performance.now()
    this.#left = Math.min(this.#perSecond, this.#left + ((nowMs - this.#atMs) / 1_000) * this.#perSecond) - bytes
    this.#atMs = nowMs
    if (this.#left < 0) await sleep((-this.#left / this.#perSecond) * 1_000, undefined, { signal }).catch(() => {})
  }
}
