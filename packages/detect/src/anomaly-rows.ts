/**
 * Which row of a table an actor has, by its hash: a cache of four ways, as processors have them. Of four whose hashes fall together the one that was
 * touched longest ago goes first. No names are kept; of two actors with the same 32 bits, one in four billion pairs, both are one.
 */
const WAYS = 4

export class HashRows {
  readonly #tags: Uint32Array
  /** Unix milliseconds; 0: free. */
  readonly #touchedMs: Float64Array
  #used = 0
  #evicted = 0

  /** @param rows A multiple of 4. */
  constructor(rows: number) {
    this.#tags = new Uint32Array(rows)
    this.#touchedMs = new Float64Array(rows)
  }

  get used(): number {
    return this.#used
  }

  get evicted(): number {
    return this.#evicted
  }

  get bytes(): number {
    return this.#tags.byteLength + this.#touchedMs.byteLength
  }

  /** @returns The row, or −1: there is none. */
  find(hash: number): number {
    const from = this.#from(hash)
    for (let row = from; row < from + WAYS; row += 1) if (this.#tags[row] === hash && this.#touchedMs[row] !== 0) return row
    return -1
  }

  /** Gives one, which may have been another’s. */
  give(hash: number, atMs: number): { readonly row: number; readonly isNew: boolean } {
    const known = this.find(hash)
    if (known >= 0) {
      this.#touchedMs[known] = atMs
      return { row: known, isNew: false }
    }
    const from = this.#from(hash)
    let row = from
    for (let way = from + 1; way < from + WAYS; way += 1) if (this.#touchedMs[way]! < this.#touchedMs[row]!) row = way
    if (this.#touchedMs[row] === 0) this.#used += 1
    else this.#evicted += 1
    this.#tags[row] = hash
    this.#touchedMs[row] = atMs
    return { row, isNew: true }
  }

  #from(hash: number): number {
    return (hash % (this.#tags.length / WAYS)) * WAYS
  }

  /** Of rows that are in use: hash and when it was touched. */
  *entries(): Generator<readonly [row: number, hash: number, touchedMs: number]> {
    for (let row = 0; row < this.#tags.length; row += 1)
      if (this.#touchedMs[row] !== 0) yield [row, this.#tags[row]!, this.#touchedMs[row]!]
  }
}
