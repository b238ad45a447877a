/**
 * Header sections that came before, byte for byte: clients and upstreams say the same again and again, and what was found out about it holds.
 * Bounded, and shared by all connections of a thread. Pure.
 */

/** What a section's bytes were found to say. */
export interface KnownSection<T> {
  /** To the end of the empty line. */
  readonly bytes: Buffer
  readonly said: T
  /** Where it is kept: whoever says the same again finds it there at once. */
  readonly slot: number
}

const SLOTS = 256
const BYTES_MAX = 4_096
const SAMPLES = 16
const END = Buffer.from('\r\n\r\n')

export class KnownSections<T> {
  readonly #slots: (KnownSection<T> | undefined)[] = new Array(SLOTS).fill(undefined)
  /** Of the last section that came to each slot: one that comes once is not kept. */
  readonly #marks = new Int32Array(SLOTS)

  /** The section that begins at `from`, where the same was learned before. @param slot Where to look first. */
  find(bytes: Buffer, from: number, to: number, slot = 0): KnownSection<T> | undefined {
    const likely = this.#slots[slot]
    if (likely !== undefined) {
      const likelyEnd = from + likely.bytes.length
      if (likelyEnd <= to && likely.bytes.compare(bytes, from, likelyEnd) === 0) return likely
    }
    // A section without fields is its empty line alone, and begins with the end of the line before.
    const end = bytes.indexOf(END, Math.max(0, from - 2)) + END.length
    if (end < from || end > to || end - from > BYTES_MAX) return undefined
    const known = this.#slots[slotOf(markOf(bytes, from, end))]
    if (known === undefined || known.bytes.length !== end - from) return undefined
    return known.bytes.compare(bytes, from, end) === 0 ? known : undefined
  }

  /** Keeps it if it comes the second time, and returns whether it does. `bytes` are copied. */
  learn(bytes: Buffer, from: number, end: number, said: T): boolean {
    if (end - from > BYTES_MAX) return false
    const mark = markOf(bytes, from, end)
    const slot = slotOf(mark)
    const isKept = this.#marks[slot] === mark
    if (isKept) this.#slots[slot] = { bytes: Buffer.from(bytes.subarray(from, end)), said, slot }
    else this.#marks[slot] = mark
    return isKept
  }
}

/** Of the length and some of the bytes: enough to tell most sections apart. */
function markOf(bytes: Buffer, from: number, end: number): number {
  const length = end - from
  let mark = length
  for (let i = 1; i <= SAMPLES; i += 1) mark = (Math.imul(mark, 31) + bytes[from + ((length * i) >>> 4) - 1]!) | 0
  return mark
}

const slotOf = (mark: number): number => (mark ^ (mark >>> 8) ^ (mark >>> 16)) & (SLOTS - 1)
