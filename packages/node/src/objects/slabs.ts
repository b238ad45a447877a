/**
 * Memory for segments and their pieces, which the node's own thread and the object thread both see, used again and again: nothing is copied between
 * threads, and neither the kernel nor the collector of garbage has work with it. Both cost more than encryption otherwise.
 */
import { wipe } from '@ringwall/vault'

/** Lengths are rounded up to this, so that memory of one length serves others. */
const STEP_BYTES = 65_536
/** What is kept for the next one. */
const KEPT_BYTES_MAX = 67_108_864
/** What nobody wanted for so long goes back to the system. */
const KEPT_MS = 10_000

export interface Slab {
  /** As long as was asked for. What is in it is whatever was there. */
  readonly bytes: Uint8Array
  /** Nobody may look at `bytes` any more, in no thread. More than once is as once. */
  release(): void
}

export class SlabPool {
  /** By length. */
  readonly #free = new Map<number, SharedArrayBuffer[]>()
  #keptBytes = 0
  #timer: NodeJS.Timeout | undefined

  /** @param isSecret What is in it is overwritten when it is released. */
  take(length: number, isSecret = false): Slab {
    const size = Math.max(1, Math.ceil(length / STEP_BYTES)) * STEP_BYTES
    const kept = this.#free.get(size)?.pop()
    if (kept !== undefined) this.#keptBytes -= size
    const memory = kept ?? new SharedArrayBuffer(size)
    const bytes = new Uint8Array(memory, 0, length)
    let isReleased = false
    return {
      bytes,
      release: () => {
        if (isReleased) return
        isReleased = true
        if (isSecret) wipe(bytes)
        this.#keep(memory)
      },
    }
  }

  #keep(memory: SharedArrayBuffer): void {
    const size = memory.byteLength
    if (this.#keptBytes + size > KEPT_BYTES_MAX) return
    this.#keptBytes += size
    const free = this.#free.get(size)
    if (free === undefined) this.#free.set(size, [memory])
    else free.push(memory)
    if (this.#timer === undefined) this.#timer = setTimeout(() => this.clear(), KEPT_MS).unref()
    else this.#timer.refresh()
  }

  /** Gives back what nobody has. */
  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#free.clear()
    this.#keptBytes = 0
  }
}
