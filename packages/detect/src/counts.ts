/**
 * Counts that merge: for each key and time bucket, how many events each node has seen. A node only ever raises its own
 * counts, so that keeping the larger of two values for the same node, key and bucket makes merging associative,
 * commutative and idempotent (a grow-only counter: Shapiro et al., "A comprehensive study of Convergent and Commutative
 * Replicated Data Types", 2011). Summaries may be lost, repeated and reordered.
 *
 * Pure and bounded: at most `keysMax` keys a node; the least recently raised go first, counted.
 */
import { SummaryMalformed } from './errors.ts'

/** One node's own counts, as it tells them: bucket number to count, by key. */
export type Cells = ReadonlyMap<string, ReadonlyMap<number, number>>

export interface CountsOptions {
  readonly windowMs: number
  /** The window is counted in so many buckets: its edge is exact to one of them. */
  readonly buckets: number
  readonly keysMax: number
}

const NODES_MAX = 128
const COUNT_MAX = 1_000_000
export const KEY_CHARS_MAX = 256
/** A summary tells of at most so many keys; the rest follow in the next. */
export const SUMMARY_KEYS_MAX = 2_000

export class Counts {
  readonly #options: CountsOptions
  readonly #bucketMs: number
  readonly #nodes = new Map<string, Map<string, Map<number, number>>>()
  #evicted = 0

  constructor(options: CountsOptions) {
    this.#options = options
    this.#bucketMs = Math.max(1, Math.ceil(options.windowMs / options.buckets))
  }

  /** Keys dropped to stay within the bound. */
  get evicted(): number {
    return this.#evicted
  }

  bucketOf(atMs: number): number {
    return Math.floor(atMs / this.#bucketMs)
  }

  /** One more event of this node's own. */
  add(node: string, key: string, atMs: number): void {
    const bucket = this.bucketOf(atMs)
    this.raise(node, key, bucket, (this.#nodes.get(node)?.get(key)?.get(bucket) ?? 0) + 1)
  }

  /** Sets a count unless a larger one is known. @returns Whether it was news. */
  raise(node: string, key: string, bucket: number, count: number): boolean {
    let keys = this.#nodes.get(node)
    if (keys === undefined) {
      if (this.#nodes.size >= NODES_MAX) return false
      keys = new Map()
      this.#nodes.set(node, keys)
    }
    const buckets = keys.get(key) ?? new Map<number, number>()
    if ((buckets.get(bucket) ?? 0) >= count) return false
    buckets.set(bucket, count)
    // The youngest last: insertion order is the order of eviction.
    keys.delete(key)
    keys.set(key, buckets)
    if (keys.size > this.#options.keysMax) {
      keys.delete(keys.keys().next().value as string)
      this.#evicted += 1
    }
    return true
  }

  /**
   * Events of a key within the window that ends now, as `self` may believe them, and how many nodes saw some. What another
   * node tells counts at most as often as what `self` saw: `f` nodes that invent counts make one event look like at most
   * `f + 1`, and none where there was none. Events that are spread evenly count in full on every node.
   */
  total(key: string, nowMs: number, self: string): { readonly count: number; readonly nodes: number } {
    const own = this.#countOf(self, key, nowMs)
    let count = 0
    let nodes = 0
    for (const node of this.#nodes.keys()) {
      const told = node === self ? own : Math.min(own, this.#countOf(node, key, nowMs))
      count += told
      if (told > 0) nodes += 1
    }
    return { count, nodes }
  }

  #countOf(node: string, key: string, nowMs: number): number {
    const [oldest, newest] = this.#window(nowMs)
    let count = 0
    for (const [bucket, value] of this.#nodes.get(node)?.get(key) ?? []) if (bucket >= oldest && bucket <= newest) count += value
    return count
  }

  /** Is the bucket one that counts now? Peers' clocks may be a bucket ahead. */
  inWindow(bucket: number, nowMs: number): boolean {
    const [oldest, newest] = this.#window(nowMs)
    return bucket >= oldest && bucket <= newest
  }

  #window(nowMs: number): readonly [number, number] {
    const newest = this.bucketOf(nowMs)
    return [newest - this.#options.buckets + 1, newest + 1]
  }

  cells(node: string, keys: Iterable<string>): Cells {
    const own = this.#nodes.get(node)
    return new Map(
      [...keys].flatMap((key) => {
        const buckets = own?.get(key)
        return buckets === undefined ? [] : [[key, buckets] as const]
      }),
    )
  }

  expire(nowMs: number): void {
    for (const [node, keys] of this.#nodes) {
      for (const [key, buckets] of keys) {
        for (const bucket of buckets.keys()) if (!this.inWindow(bucket, nowMs)) buckets.delete(bucket)
        if (buckets.size === 0) keys.delete(key)
      }
      if (keys.size === 0) this.#nodes.delete(node)
    }
  }
}

/** JSON: `[[key, [[bucket, count], …]], …]`. */
export function encodeCells(cells: Cells): Uint8Array {
  return new TextEncoder().encode(JSON.stringify([...cells].map(([key, buckets]) => [key, [...buckets]])))
}

const isCount = (value: unknown, max: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max

/**
 * @param bytesMax Refused before it is parsed when longer.
 * @throws {SummaryMalformed}
 */
export function decodeCells(bytes: Uint8Array, bytesMax: number, bucketsMax: number): Cells {
  if (bytes.length > bytesMax) throw new SummaryMalformed(`a summary has at most ${bytesMax} bytes, not ${bytes.length}`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new SummaryMalformed('a summary is JSON', { cause })
  }
  if (!Array.isArray(value) || value.length > SUMMARY_KEYS_MAX)
    throw new SummaryMalformed(`a summary is a list of at most ${SUMMARY_KEYS_MAX} keys`)
  const cells = new Map<string, ReadonlyMap<number, number>>()
  for (const entry of value as unknown[]) {
    if (!Array.isArray(entry) || entry.length !== 2) throw new SummaryMalformed('an entry is [key, counts]')
    const [key, counts] = entry as [unknown, unknown]
    if (typeof key !== 'string' || key.length > KEY_CHARS_MAX || cells.has(key))
      throw new SummaryMalformed('a key is a short string, once')
    if (!Array.isArray(counts) || counts.length > bucketsMax)
      throw new SummaryMalformed(`a key has at most ${bucketsMax} buckets`)
    const buckets = new Map<number, number>()
    for (const pair of counts as unknown[]) {
      const [bucket, count] = Array.isArray(pair) && pair.length === 2 ? (pair as [unknown, unknown]) : [undefined, undefined]
      if (!isCount(bucket, Number.MAX_SAFE_INTEGER) || !isCount(count, COUNT_MAX))
        throw new SummaryMalformed('a count is [bucket, count]')
      buckets.set(bucket, count)
    }
    cells.set(key, buckets)
  }
  return cells
}
