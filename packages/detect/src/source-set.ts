/**
 * Addresses with when a login last failed and last succeeded from there: the latest `max` of them, 16 bytes each. The join of two sets is the
 * later of both times for each address; it is associative, commutative and idempotent. Where there are more than `max`, which of them stay,
 * and the later of their times, is the same in every order; the earlier time of one that went and came back is forgotten.
 */

/** A source as it is counted: IPv4 addresses with `high` 0, of IPv6 the first 64 bits. Unsigned 32-bit each. */
export type SourceWords = readonly [high: number, low: number]

/** Unix minutes; 0 for never. */
export interface SourceCell {
  readonly words: SourceWords
  readonly failedMin: number
  readonly goodMin: number
}

const CELL = 4
const NOTHING = new Uint32Array(0)

export class SourceSet {
  readonly #max: number
  /** high, low, failed, good of each, in order of high and low. */
  #cells: Uint32Array = NOTHING

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#cells.length / CELL
  }

  has([high, low]: SourceWords): boolean {
    const at = this.#seek(high, low)
    return this.#cells[at] === high && this.#cells[at + 1] === low
  }

  /** Whether it was news. */
  raise([high, low]: SourceWords, failedMin: number, goodMin: number): boolean {
    const cells = this.#cells
    const at = this.#seek(high, low)
    if (at < cells.length && cells[at] === high && cells[at + 1] === low) {
      const isNews = failedMin > cells[at + 2]! || goodMin > cells[at + 3]!
      cells[at + 2] = Math.max(cells[at + 2]!, failedMin)
      cells[at + 3] = Math.max(cells[at + 3]!, goodMin)
      return isNews
    }
    const next = new Uint32Array(cells.length + CELL)
    next.set(cells.subarray(0, at))
    next.set([high, low, failedMin, goodMin], at)
    next.set(cells.subarray(at), at + CELL)
    this.#cells = next
    return this.size <= this.#max || this.#dropOldest() !== at
  }

  /** Adds all of another set at once. @param others In order of address, each once. */
  join(others: readonly SourceCell[]): void {
    const cells = this.#cells
    const joined = new Uint32Array(cells.length + others.length * CELL)
    let [from, to] = [0, 0]
    for (const {
      words: [high, low],
      failedMin,
      goodMin,
    } of others) {
      while (from < cells.length && (cells[from]! < high || (cells[from] === high && cells[from + 1]! < low))) {
        for (let word = 0; word < CELL; word += 1) joined[to + word] = cells[from + word]!
        from += CELL
        to += CELL
      }
      const isKnown = from < cells.length && cells[from] === high && cells[from + 1] === low
      joined[to] = high
      joined[to + 1] = low
      joined[to + 2] = isKnown ? Math.max(cells[from + 2]!, failedMin) : failedMin
      joined[to + 3] = isKnown ? Math.max(cells[from + 3]!, goodMin) : goodMin
      if (isKnown) from += CELL
      to += CELL
    }
    joined.set(cells.subarray(from), to)
    this.#cells = joined.slice(0, to + cells.length - from)
    while (this.size > this.#max) this.#dropOldest()
  }

  /** Of equals in time the lowest address. Where it stood. */
  #dropOldest(): number {
    const cells = this.#cells
    let oldest = 0
    for (let at = CELL; at < cells.length; at += CELL) if (timeOf(cells, at) < timeOf(cells, oldest)) oldest = at
    const next = new Uint32Array(cells.length - CELL)
    next.set(cells.subarray(0, oldest))
    next.set(cells.subarray(oldest + CELL), oldest)
    this.#cells = next
    return oldest
  }

  /** The first cell that is not before the address. */
  #seek(high: number, low: number): number {
    const cells = this.#cells
    let [from, to] = [0, this.size]
    while (from < to) {
      const middle = (from + to) >>> 1
      const [otherHigh, otherLow] = [cells[middle * CELL]!, cells[middle * CELL + 1]!]
      if (otherHigh < high || (otherHigh === high && otherLow < low)) from = middle + 1
      else to = middle
    }
    return from * CELL
  }

  /** In order of address. */
  cells(): readonly SourceCell[] {
    const cells = this.#cells
    return Array.from({ length: this.size }, (_, index) => ({
      words: [cells[index * CELL]!, cells[index * CELL + 1]!] as const,
      failedMin: cells[index * CELL + 2]!,
      goodMin: cells[index * CELL + 3]!,
    }))
  }

  /** Those from which logins failed since then, whatever else came from there. */
  bad(fromMin: number): readonly SourceCell[] {
    return this.cells().filter(({ failedMin }) => failedMin > 0 && failedMin >= fromMin)
  }

  /** Names, as `HIGH LOW`, of those from which one succeeded since then. */
  good(fromMin: number): readonly string[] {
    return this.cells().flatMap(({ words, goodMin }) => (goodMin > 0 && goodMin >= fromMin ? [`${words[0]} ${words[1]}`] : []))
  }

  /** Forgets what is older. */
  expire(oldestMin: number): void {
    const cells = this.#cells
    let kept = 0
    for (let at = 0; at < cells.length; at += CELL) if (timeOf(cells, at) >= oldestMin) kept += 1
    if (kept === this.size) return
    const next = new Uint32Array(kept * CELL)
    let to = 0
    for (let at = 0; at < cells.length; at += CELL) {
      if (timeOf(cells, at) < oldestMin) continue
      next.set(cells.subarray(at, at + CELL), to)
      to += CELL
    }
    this.#cells = next
  }
}

function timeOf(cells: Uint32Array, at: number): number {
  return Math.max(cells[at + 2]!, cells[at + 3]!)
}
