/** Transactions that wait to be ordered: first in, first out, bounded in number and bytes. Pure. */

export interface Waiting {
  readonly id: string
  readonly tx: Uint8Array
  readonly addedAtMs: number
  /** Given to this node by a caller of its own: it spreads it until it is final. */
  readonly local: boolean
  sentAtMs: number
}

export interface MempoolLimits {
  readonly countMax: number
  readonly bytesMax: number
}

export class Mempool {
  readonly #limits: MempoolLimits
  readonly #waiting = new Map<string, Waiting>()
  #bytes = 0

  constructor(limits: MempoolLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#waiting.size
  }

  get bytes(): number {
    return this.#bytes
  }

  get(id: string): Waiting | undefined {
    return this.#waiting.get(id)
  }

  add(entry: Waiting): 'added' | 'known' | 'full' {
    const known = this.#waiting.get(entry.id)
    if (known !== undefined) {
      if (entry.local && !known.local) this.#waiting.set(entry.id, { ...known, local: true })
      return 'known'
    }
    const { countMax, bytesMax } = this.#limits
    if (this.#waiting.size >= countMax || this.#bytes + entry.tx.length > bytesMax) return 'full'
    this.#waiting.set(entry.id, entry)
    this.#bytes += entry.tx.length
    return 'added'
  }

  remove(id: string): Waiting | undefined {
    const entry = this.#waiting.get(id)
    if (entry === undefined) return undefined
    this.#waiting.delete(id)
    this.#bytes -= entry.tx.length
    return entry
  }

  /** Behind all others: it was offered to a block that had room, and not taken. */
  defer(id: string): void {
    const entry = this.#waiting.get(id)
    if (entry === undefined) return
    this.#waiting.delete(id)
    this.#waiting.set(id, entry)
  }

  /** The longest waiting, without those in `except`, at most `countMax` and about `bytesMax`. */
  candidates(countMax: number, bytesMax: number, except: ReadonlySet<string>): readonly Waiting[] {
    const chosen: Waiting[] = []
    let bytes = 0
    for (const entry of this.#waiting.values()) {
      if (except.has(entry.id)) continue
      if (chosen.length === countMax || bytes > bytesMax) break
      chosen.push(entry)
      bytes += entry.tx.length
    }
    return chosen
  }

  entries(): IterableIterator<Waiting> {
    return this.#waiting.values()
  }
}
