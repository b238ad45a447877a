/**
 * Header sections that came before, byte for byte: clients say the same again and again, and what was found out about it holds. Bounded, and shared
 * by all connections of a thread. Pure.
 */
import type { Section } from './head-scanner.ts'

/** What a section's bytes were found to say. */
export interface KnownSection {
  /** From behind the first line to the end of the empty line. */
  readonly bytes: Buffer
  readonly rawHeaders: readonly string[]
  readonly section: Section | undefined
}

const SLOTS = 256
const BYTES_MAX = 4_096
const SAMPLES = 16
const END = Buffer.from('\r\n\r\n')

export class KnownSections {
  readonly #slots: (KnownSection | undefined)[] = new Array(SLOTS).fill(undefined)
  /** Of the last section that came to each slot: one that comes once is not kept. */
  readonly #marks = new Int32Array(SLOTS)

  /** The section that begins at `from`, where the same was learned before. */
  find(bytes: Buffer, from: number, to: number): KnownSection | undefined {
    // A section without fields is its empty line alone, and begins with the end of the line before.
    const end = bytes.indexOf(END, from - 2) + END.length
    if (end < from || end > to || end - from > BYTES_MAX) return undefined
    const known = this.#slots[slotOf(markOf(bytes, from, end))]
    if (known === undefined || known.bytes.length !== end - from) return undefined
    return known.bytes.compare(bytes, from, end) === 0 ? known : undefined
  }

  /** Keeps it if it comes the second time. `bytes` are copied. */
  learn(bytes: Buffer, from: number, end: number, rawHeaders: readonly string[], section: Section | undefined): void {
    if (end - from > BYTES_MAX) return
    const mark = markOf(bytes, from, end)
    const slot = slotOf(mark)
    if (this.#marks[slot] === mark) this.#slots[slot] = { bytes: Buffer.from(bytes.subarray(from, end)), rawHeaders, section }
    else this.#marks[slot] = mark
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
