/**
 * What has been seen before, within a span: two Bloom filters (1970), each for half of it; when the younger is full or has had its time, the
 * older is forgotten. Nothing that was added is missed; of what was not, one in 600 is taken for known when both are full. The union is
 * associative, commutative and idempotent.
 *
 * What other nodes tell is added as well, up to a part of the whole each, so that one that lies cannot fill it.
 */
const HASHES = 10
const BITS_PER_ENTRY = 15
const TOLD_PARTS = 16
const UNTOLD_MAX = 10_000
export const KNOWN_TOLD_MAX = 2_000

interface Half {
  readonly bits: Uint32Array
  entries: number
  sinceMs: number
}

export interface KnownOptions {
  /** Of each half. */
  readonly entriesMax: number
  readonly spanMs: number
}

/** Two hashes of 32 bits. */
export type KnownEntry = readonly [number, number]

export class Known {
  readonly #options: KnownOptions
  #young: Half
  #old: Half
  readonly #untold: KnownEntry[] = []
  #toldBy = new Map<string, number>()
  #sinceMs = 0

  constructor(options: KnownOptions) {
    this.#options = options
    this.#young = half(options.entriesMax)
    this.#old = half(options.entriesMax)
  }

  add(entry: KnownEntry, atMs: number): void {
    if (this.#add(entry, atMs) && this.#untold.length < UNTOLD_MAX) this.#untold.push(entry)
  }

  /** Whether it was news. */
  #add(entry: KnownEntry, atMs: number): boolean {
    if (has(this.#young, entry)) return false
    const { entriesMax, spanMs } = this.#options
    if (this.#sinceMs === 0) this.#sinceMs = atMs
    if (this.#young.sinceMs === 0) this.#young.sinceMs = atMs
    if (this.#young.entries >= entriesMax || atMs - this.#young.sinceMs > spanMs / 2) {
      this.#old = this.#young
      this.#young = half(entriesMax)
      this.#young.sinceMs = atMs
      this.#toldBy = new Map()
    }
    // What is known from before stays known, and nobody has to be told.
    const isNews = !has(this.#old, entry)
    set(this.#young, entry)
    return isNews
  }

  /** Since when it has been learning; 0: it has not begun. */
  get sinceMs(): number {
    return this.#sinceMs
  }

  has(entry: KnownEntry): boolean {
    return has(this.#young, entry) || has(this.#old, entry)
  }

  /** What was added here since the last time. */
  news(): readonly KnownEntry[] {
    return this.#untold.splice(0, KNOWN_TOLD_MAX)
  }

  /** What another node added. */
  merge(node: string, entries: readonly KnownEntry[], nowMs: number): void {
    const room = this.#options.entriesMax / TOLD_PARTS
    let told = this.#toldBy.get(node) ?? 0
    for (const entry of entries) {
      if (told >= room) return
      if (!this.#add(entry, nowMs)) continue
      told += 1
      this.#toldBy.set(node, told)
    }
  }
}

function half(entriesMax: number): Half {
  return { bits: new Uint32Array(Math.ceil((entriesMax * BITS_PER_ENTRY) / 32)), entries: 0, sinceMs: 0 }
}

/** Two hashes do for ten (Kirsch, Mitzenmacher, "Less hashing, same performance", 2006). */
function has({ bits }: Half, [first, second]: KnownEntry): boolean {
  const size = bits.length * 32
  for (let at = 0; at < HASHES; at += 1) {
    const bit = (first + at * oddOf(second)) % size
    if ((bits[bit >>> 5]! & (1 << (bit & 31))) === 0) return false
  }
  return true
}

function set(half: Half, [first, second]: KnownEntry): void {
  const size = half.bits.length * 32
  for (let at = 0; at < HASHES; at += 1) {
    const bit = (first + at * oddOf(second)) % size
    half.bits[bit >>> 5]! |= 1 << (bit & 31)
  }
  half.entries += 1
}

/** Unsigned, as the first is. */
function oddOf(hash: number): number {
  return (hash | 1) >>> 0
}
