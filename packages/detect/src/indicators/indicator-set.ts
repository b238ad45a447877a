/**
 * Addresses and prefixes that somebody calls bad, a million of them: with confidence, expiry and a label each, looked up in under a
 * microsecond. Open-addressing hash tables, one for each length of prefix that occurs, in typed arrays, so that threads may share them.
 *
 * Pure: time and the seed are arguments. The seed keeps whoever writes a list from choosing what falls together.
 */

/** `words` are unsigned 32-bit, one for IPv4 and four for IPv6; bits beyond `length` are zero. */
export interface IndicatorPrefix {
  readonly version: 4 | 6
  readonly words: ArrayLike<number>
  readonly length: number
}

export interface Indicator {
  readonly prefix: IndicatorPrefix
  /** 0 to 100. */
  readonly confidence: number
  /** Unix milliseconds; Infinity for never. */
  readonly expiresAtMs: number
  /** What its source calls it; may be empty. */
  readonly label: string
}

export interface IndicatorMatch {
  readonly confidence: number
  readonly expiresAtMs: number
  readonly label: string
  /** Length of the prefix that matched. */
  readonly length: number
}

interface Table {
  readonly version: 4 | 6
  readonly length: number
  /** `words` a slot; whether it is taken says `entries`. */
  readonly keys: Uint32Array
  /** Number of the indicator, from 1; 0 for none. A power of two of them. */
  readonly entries: Uint32Array
}

/** All of a set; plain data, so that it can be handed to other threads. */
export interface IndicatorParts {
  readonly seed: number
  readonly size: number
  readonly confidences: Uint8Array
  /** Unix seconds, rounded up; 0 for never. */
  readonly expiries: Uint32Array
  /** Numbers in `labels`. */
  readonly named: Uint16Array
  readonly labels: readonly string[]
  /** Most specific first. */
  readonly tables: readonly Table[]
}

/** Different labels at most; what comes later has none. */
export const LABELS_MAX = 65_535
export const LABEL_CHARS_MAX = 120
const WORDS = { 4: 1, 6: 4 } as const
const FIRST_ROOM = 1_024

/** As `new ArrayBuffer`, or memory that threads share. */
export type Allocate = (bytes: number) => ArrayBuffer | SharedArrayBuffer

export interface IndicatorBuilderOptions {
  readonly seed: number
  readonly indicatorsMax: number
  readonly nowMs: number
  readonly allocate?: Allocate
}

/** Takes indicators one by one. Of several about one prefix the surest stays, and of equals the one that lasts longest. */
export class IndicatorBuilder {
  readonly #options: IndicatorBuilderOptions
  readonly #tables = new Map<number, Growing>()
  readonly #labels = new Map<string, number>([['', 0]])
  #confidences = new Uint8Array(FIRST_ROOM)
  #expiries = new Uint32Array(FIRST_ROOM)
  #named = new Uint16Array(FIRST_ROOM)
  #size = 0
  /** Not taken for want of room, for being over, for being there already. */
  readonly counts = { full: 0, expired: 0, repeated: 0 }

  constructor(options: IndicatorBuilderOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  add({ prefix, confidence, expiresAtMs, label }: Indicator): void {
    if (expiresAtMs <= this.#options.nowMs) {
      this.counts.expired += 1
      return
    }
    const { version, length, words } = prefix
    const kind = version * 256 + length
    let table = this.#tables.get(kind)
    if (table === undefined) {
      table = new Growing(version, length, this.#options.seed)
      this.#tables.set(kind, table)
    }
    const known = table.find(words)
    if (known !== 0) {
      this.counts.repeated += 1
      this.#strengthen(known - 1, confidence, secondsOf(expiresAtMs), label)
      return
    }
    if (this.#size >= this.#options.indicatorsMax) {
      this.counts.full += 1
      return
    }
    this.#reserve()
    this.#size += 1
    table.insert(words, this.#size)
    this.#write(this.#size - 1, confidence, secondsOf(expiresAtMs), label)
  }

  /** Joins: the order in which indicators come changes nothing but which label stays between equals. */
  #strengthen(at: number, confidence: number, expiry: number, label: string): void {
    const held = this.#confidences[at]!
    const lasts = (seconds: number): number => (seconds === 0 ? Number.POSITIVE_INFINITY : seconds)
    const isSurer = confidence > held || (confidence === held && lasts(expiry) > lasts(this.#expiries[at]!))
    if (isSurer) this.#write(at, confidence, expiry, label)
  }

  #write(at: number, confidence: number, expiry: number, label: string): void {
    this.#confidences[at] = Math.min(100, Math.max(0, Math.round(confidence)))
    this.#expiries[at] = expiry
    this.#named[at] = this.#labelOf(label.slice(0, LABEL_CHARS_MAX))
  }

  #labelOf(label: string): number {
    const known = this.#labels.get(label)
    if (known !== undefined) return known
    if (this.#labels.size >= LABELS_MAX) return 0
    this.#labels.set(label, this.#labels.size)
    return this.#labels.size - 1
  }

  #reserve(): void {
    if (this.#size < this.#confidences.length) return
    const room = this.#size * 2
    this.#confidences = grown(this.#confidences, new Uint8Array(room))
    this.#expiries = grown(this.#expiries, new Uint32Array(room))
    this.#named = grown(this.#named, new Uint16Array(room))
  }

  build(): IndicatorSet {
    const allocate = this.#options.allocate ?? ((bytes) => new ArrayBuffer(bytes))
    const size = this.#size
    const parts: IndicatorParts = {
      seed: this.#options.seed,
      size,
      confidences: grown(this.#confidences.subarray(0, size), new Uint8Array(allocate(size))),
      expiries: grown(this.#expiries.subarray(0, size), new Uint32Array(allocate(size * 4))),
      named: grown(this.#named.subarray(0, size), new Uint16Array(allocate(size * 2))),
      labels: [...this.#labels.keys()],
      tables: [...this.#tables.values()]
        .map(({ version, length, keys, entries }) => ({
          version,
          length,
          keys: grown(keys, new Uint32Array(allocate(keys.byteLength))),
          entries: grown(entries, new Uint32Array(allocate(entries.byteLength))),
        }))
        .sort((a, b) => b.length - a.length || a.version - b.version),
    }
    return new IndicatorSet(parts)
  }
}

export class IndicatorSet {
  readonly parts: IndicatorParts
  readonly #sought = new Uint32Array(4)

  constructor(parts: IndicatorParts) {
    this.parts = parts
  }

  get size(): number {
    return this.parts.size
  }

  /** Bytes of its tables. */
  get bytes(): number {
    const { confidences, expiries, named, tables } = this.parts
    const own = confidences.byteLength + expiries.byteLength + named.byteLength
    return tables.reduce((sum, { keys, entries }) => sum + keys.byteLength + entries.byteLength, own)
  }

  /** The most specific indicator in force about an address, of at least this confidence. @param words As in `IndicatorPrefix`. */
  match(version: 4 | 6, words: ArrayLike<number>, confidenceMin: number, nowMs: number): IndicatorMatch | undefined {
    const { tables, seed, confidences, expiries, named, labels } = this.parts
    const nowS = nowMs / 1_000
    for (const { version: of, length, keys, entries } of tables) {
      if (of !== version) continue
      maskInto(this.#sought, words, length, WORDS[version])
      const found = entries[slotOf(keys, entries, this.#sought, WORDS[version], seed)]!
      if (found === 0) continue
      const at = found - 1
      const expiry = expiries[at]!
      if (confidences[at]! < confidenceMin || (expiry !== 0 && expiry <= nowS)) continue
      const expiresAtMs = expiry === 0 ? Number.POSITIVE_INFINITY : expiry * 1_000
      return { confidence: confidences[at]!, expiresAtMs, label: labels[named[at]!]!, length }
    }
    return undefined
  }
}

/** All that a set holds, in no order that means anything. */
export function* indicatorsOf({ tables, confidences, expiries, named, labels }: IndicatorParts): Generator<Indicator> {
  for (const { version, length, keys, entries } of tables)
    for (let slot = 0; slot < entries.length; slot += 1) {
      const at = entries[slot]! - 1
      if (at < 0) continue
      const expiry = expiries[at]!
      yield {
        prefix: { version, length, words: keys.slice(slot * WORDS[version], (slot + 1) * WORDS[version]) },
        confidence: confidences[at]!,
        expiresAtMs: expiry === 0 ? Number.POSITIVE_INFINITY : expiry * 1_000,
        label: labels[named[at]!]!,
      }
    }
}

/** A table that doubles when it is half full. */
class Growing {
  readonly version: 4 | 6
  readonly length: number
  readonly #seed: number
  readonly #words: number
  keys: Uint32Array
  entries = new Uint32Array(16)
  #count = 0

  constructor(version: 4 | 6, length: number, seed: number) {
    this.version = version
    this.length = length
    this.#seed = seed
    this.#words = WORDS[version]
    this.keys = new Uint32Array(16 * this.#words)
  }

  find(words: ArrayLike<number>): number {
    return this.entries[slotOf(this.keys, this.entries, words, this.#words, this.#seed)]!
  }

  insert(words: ArrayLike<number>, entry: number): void {
    this.#count += 1
    if (this.#count * 2 > this.entries.length) this.#double()
    this.#put(this.keys, this.entries, words, entry)
  }

  #put(keys: Uint32Array, entries: Uint32Array, words: ArrayLike<number>, entry: number): void {
    const slot = slotOf(keys, entries, words, this.#words, this.#seed)
    entries[slot] = entry
    for (let word = 0; word < this.#words; word += 1) keys[slot * this.#words + word] = words[word]!
  }

  #double(): void {
    const [keys, entries] = [new Uint32Array(this.keys.length * 2), new Uint32Array(this.entries.length * 2)]
    for (let slot = 0; slot < this.entries.length; slot += 1) {
      const entry = this.entries[slot]!
      if (entry !== 0) this.#put(keys, entries, this.keys.subarray(slot * this.#words, (slot + 1) * this.#words), entry)
    }
    this.keys = keys
    this.entries = entries
  }
}

/** Where the key is, or would be. There is always a free slot. */
function slotOf(keys: Uint32Array, entries: Uint32Array, words: ArrayLike<number>, count: number, seed: number): number {
  let hash = seed
  for (let word = 0; word < count; word += 1) hash = mix32((hash ^ words[word]!) >>> 0)
  const last = entries.length - 1
  for (let slot = hash & last; ; slot = (slot + 1) & last) {
    if (entries[slot] === 0) return slot
    let isSame = true
    for (let word = 0; word < count; word += 1) if (keys[slot * count + word] !== words[word]! >>> 0) isSame = false
    if (isSame) return slot
  }
}

/** An avalanche (the finalizer of MurmurHash3). */
function mix32(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function maskInto(into: Uint32Array, words: ArrayLike<number>, length: number, count: number): void {
  for (let word = 0; word < count; word += 1) {
    const bits = length - word * 32
    const mask = bits <= 0 ? 0 : bits >= 32 ? 0xffffffff : 0xffffffff << (32 - bits)
    into[word] = words[word]! & mask
  }
}

/** Up, so that nothing ends early, and never to 0, which is for ever. */
function secondsOf(expiresAtMs: number): number {
  return expiresAtMs === Number.POSITIVE_INFINITY ? 0 : Math.min(0xffffffff, Math.max(1, Math.ceil(expiresAtMs / 1_000)))
}

function grown<T extends Uint8Array | Uint16Array | Uint32Array>(from: T, into: T): T {
  into.set(from)
  return into
}
