/** A body while it is being judged: one growing buffer, so that a body in tiny chunks takes no more than its bytes. */
export class HeldBody {
  #bytes: Buffer = EMPTY
  #length = 0

  get length(): number {
    return this.#length
  }

  /** What is held; valid until the next `add`. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Copies. @param expected Bytes that are due in all, as far as known; never more is set aside than twice what came. */
  add(bytes: Buffer, expected: number): void {
    const length = this.#length + bytes.length
    if (length > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, Math.min(expected, length * 2)))
      this.#bytes.copy(grown, 0, 0, this.#length)
      this.#bytes = grown
    }
    bytes.copy(this.#bytes, this.#length)
    this.#length = length
  }
}

const EMPTY = Buffer.alloc(0)
