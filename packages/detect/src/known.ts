/**
 * What has been seen before, within a span: two Bloom filters (1970), each for half of it; when the younger is full or has had its time, the
 * older is forgotten. Nothing that was added is missed; of what was not, one in 600 is taken for known when both are full. The union is
 * associative, commutative and idempotent.
 *
 * What other nodes tell is added as well, up to a part of the whole each, so that one that lies cannot fill it.
 */
import { type KeptReader, type KeptWriter, TIME_MAX } from './kept.ts'

const HASHES = 10
const BITS_PER_ENTRY = 15
const TOLD_PARTS = 16
const UNTOLD_MAX = 10_000
export const KNOWN_TOLD_MAX = 2_000
/** Of a half in one piece of what is kept. */
const BLOCK_WORDS = 4_096
/** A first time that is later than now by so much is of a clock that was set. */
const AHEAD_MS_MAX = 86_400_000

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
    // A clock that was set back would have all wait until it is where it was.
    if (this.#sinceMs === 0 || this.#sinceMs - atMs > AHEAD_MS_MAX) this.#sinceMs = atMs
    if (this.#young.sinceMs === 0 || this.#young.sinceMs - atMs > AHEAD_MS_MAX) this.#young.sinceMs = atMs
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

  /** All of it, in pieces of one block each; the first has the times. @param begin Begins one. */
  *memory(begin: (kind: 'known' | 'block') => KeptWriter): Generator<Uint8Array> {
    if (this.#sinceMs === 0) return
    const halves = [this.#young, this.#old]
    const head = begin('known').u32(this.#young.bits.length).f64(this.#sinceMs)
    for (const { entries, sinceMs } of halves) head.u32(entries).f64(sinceMs)
    yield head.done()
    for (const [at, { bits }] of halves.entries())
      for (let from = 0; from < bits.length; from += BLOCK_WORDS) {
        const block = bits.subarray(from, from + BLOCK_WORDS)
        if (block.some((word) => word !== 0))
          yield keptBlock(
            begin('block')
              .u8(at)
              .u16(from / BLOCK_WORDS),
            block,
          )
      }
  }

  /**
   * One piece, into what knows nothing. For as long as it was away, `learnMs` at most, it has yet to learn: others may have become known meanwhile.
   *
   * @throws {MemoryMalformed}
   */
  restore(kind: 'known' | 'block', from: KeptReader, { keptMs, nowMs, learnMs }: KnownAway): void {
    const { bits } = this.#young
    const halves = [this.#young, this.#old]
    if (kind === 'block') {
      const half = halves[from.u8('a half', 1)]!
      const at = BLOCK_WORDS * from.u16('a block', Math.ceil(bits.length / BLOCK_WORDS) - 1)
      const block = half.bits.subarray(at, at + BLOCK_WORDS)
      if (half.sinceMs === 0 || block.some((word) => word !== 0)) from.fail('each block once, of a half that began')
      readBlock(from, block)
      return
    }
    if (this.#sinceMs !== 0) from.fail('what is known once')
    if (from.u32('words') !== bits.length) from.fail('it is of another size')
    const learnedMs = keptMs - from.f64('since when it learns', 1, TIME_MAX)
    this.#sinceMs = nowMs - Math.max(0, Math.min(learnMs, learnedMs) - Math.abs(nowMs - keptMs))
    for (const half of halves) {
      half.entries = from.u32('entries', this.#options.entriesMax)
      half.sinceMs = Math.min(nowMs, from.f64('since when a half is filled', 0, TIME_MAX))
    }
  }
}

export interface KnownAway {
  readonly keptMs: number
  readonly nowMs: number
  readonly learnMs: number
}

/** How far each bit is from the one before it, in seven bits a byte, the lowest first, until one of 0; or all words after a 1, where that is less. */
function keptBlock(into: KeptWriter, block: Uint32Array): Uint8Array {
  const gaps: number[] = []
  let before = -1
  for (let at = 0; at < block.length; at += 1) {
    for (let rest = block[at]!; rest !== 0; rest &= rest - 1) {
      const bit = 32 * at + 31 - Math.clz32(rest & -rest)
      let gap = bit - before
      for (; gap > 127; gap >>>= 7) gaps.push((gap & 127) | 128)
      gaps.push(gap)
      before = bit
    }
    if (gaps.length >= 4 * block.length) break
  }
  if (gaps.length < 4 * block.length) {
    into.u8(0)
    for (const byte of gaps) into.u8(byte)
    return into.u8(0).done()
  }
  into.u8(1)
  for (const word of block) into.u32(word)
  return into.done()
}

function readBlock(from: KeptReader, block: Uint32Array): void {
  if (from.u8('gaps or words', 1) === 1) {
    for (let at = 0; at < block.length; at += 1) block[at] = from.u32('a word')
    return
  }
  for (let bit = -1; ; ) {
    let gap = 0
    for (let shift = 0; ; shift += 7) {
      const byte = from.u8('a gap')
      gap += (byte & 127) << shift
      if (byte < 128) break
      if (shift === 14) from.fail('a gap is within its block')
    }
    if (gap === 0) return
    bit += gap
    if (bit >= 32 * block.length) from.fail('a gap is within its block')
    block[bit >>> 5]! |= 1 << (bit & 31)
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
