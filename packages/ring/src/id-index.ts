/**
 * Which ids stand under a 64-bit hash: 16 bytes an entry. Persistent: a change makes a new index and shares all but one
 * bucket and the way to it, so that views of different heights stand side by side and a change costs some kilobytes of copying
 * whatever the size of the whole.
 *
 * A trie with 64 branches a level over the hash's upper word; its leaves are sorted arrays, searched by halves. Several ids may
 * stand under one hash: who looks something up compares what the id stands for. Searching allocates nothing.
 */

/** Sorted entries of four words, as signed: upper and lower half of the hash, then of the id. Never changed once made. */
export type Bucket = Int32Array

/** Entries in a bucket before it is divided, and in a branch before it is one bucket again. */
const BUCKET_MAX = 512
const BRANCH_MIN = 128
const WIDTH = 64
/** Of the upper word; below the last there is nothing left to divide by. */
const SHIFTS = [26, 20, 14, 8, 2] as const
const BITS_A_LEVEL = 6

/** In the order of the words as signed, so that branches and sorted entries have one order. */
function digitOf(high: number, depth: number): number {
  return ((high ^ 0x80000000) >>> SHIFTS[depth]!) & (WIDTH - 1)
}

/** How many bits of the upper word the last bucket that was looked for has in common. */
let bitsShared = 0

export const NOTHING: Bucket = new Int32Array(0)

class Branch {
  readonly parts: readonly Part[]
  readonly size: number
  constructor(parts: readonly Part[], size: number) {
    this.parts = parts
    this.size = size
  }
}

type Part = Bucket | Branch

interface Entry {
  readonly high: number
  readonly low: number
  readonly idHigh: number
  readonly idLow: number
}

export class IdIndex {
  static readonly empty: IdIndex = new IdIndex(NOTHING)
  readonly #root: Part

  private constructor(root: Part) {
    this.#root = root
  }

  get size(): number {
    return sizeOf(this.#root)
  }

  /** Where entries of a hash are, if there are any. */
  bucket(high: number): Bucket {
    let part = this.#root
    let depth = 0
    for (; part instanceof Branch; depth += 1) part = part.parts[digitOf(high, depth)]!
    bitsShared = depth * BITS_A_LEVEL
    return part
  }

  /** The same index when the entry is there already. */
  with(entry: Entry): IdIndex {
    const root = put(this.#root, 0, entry)
    return root === this.#root ? this : new IdIndex(root)
  }

  /** The same index when the entry is not there. */
  without(entry: Entry): IdIndex {
    const root = drop(this.#root, 0, entry)
    return root === this.#root ? this : new IdIndex(root)
  }
}

/** Index of the first word of the first entry under the hash; where it would stand, if there is none. */
export function seek(bucket: Bucket, high: number, low: number): number {
  return halved(bucket, high, low, 0, bucket.length >>> 2)
}

/**
 * As `seek`, in the bucket that was looked for last: hashes are spread evenly, so that it begins where the entry should be, and
 * mostly reads one or two lines of memory.
 */
export function seekNear(bucket: Bucket, high: number, low: number): number {
  const count = bucket.length >>> 2
  if (count === 0) return 0
  const fraction = (((high ^ 0x80000000) << bitsShared) >>> 0) / 4_294_967_296
  let from = Math.floor(fraction * count)
  let to = from
  // Twice as far each time: evenly spread or not, the number of steps is bounded by the logarithm.
  for (let step = 4; from > 0 && !isBefore(bucket, from - 1, high, low); step *= 4) {
    to = from
    from = Math.max(0, from - step)
  }
  for (let step = 4; to < count && isBefore(bucket, to, high, low); step *= 4) {
    from = to + 1
    to = Math.min(count, to + step)
  }
  return halved(bucket, high, low, from, to)
}

function isBefore(bucket: Bucket, at: number, high: number, low: number): boolean {
  const held = bucket[at * 4]!
  return held < high || (held === high && bucket[at * 4 + 1]! < low)
}

function halved(bucket: Bucket, high: number, low: number, first: number, end: number): number {
  let from = first
  let to = end
  while (from < to) {
    const middle = (from + to) >>> 1
    if (isBefore(bucket, middle, high, low)) from = middle + 1
    else to = middle
  }
  return from * 4
}

function sizeOf(part: Part): number {
  return part instanceof Branch ? part.size : part.length >>> 2
}

/** Where the entry stands, or is to stand. */
function placeOf(bucket: Bucket, { high, low, idHigh, idLow }: Entry): { readonly at: number; readonly found: boolean } {
  let at = seek(bucket, high, low)
  for (; at < bucket.length && bucket[at] === high && bucket[at + 1] === low; at += 4) {
    const [heldHigh, heldLow] = [bucket[at + 2]!, bucket[at + 3]!]
    if (heldHigh === idHigh && heldLow === idLow) return { at, found: true }
    if (heldHigh > idHigh || (heldHigh === idHigh && heldLow > idLow)) break
  }
  return { at, found: false }
}

function put(part: Part, depth: number, entry: Entry): Part {
  if (part instanceof Branch) {
    const digit = digitOf(entry.high, depth)
    const before = part.parts[digit]!
    const after = put(before, depth + 1, entry)
    return after === before ? part : new Branch(part.parts.with(digit, after), part.size + 1)
  }
  const { at, found } = placeOf(part, entry)
  if (found) return part
  const next = new Int32Array(part.length + 4)
  next.set(part.subarray(0, at))
  next[at] = entry.high
  next[at + 1] = entry.low
  next[at + 2] = entry.idHigh
  next[at + 3] = entry.idLow
  next.set(part.subarray(at), at + 4)
  return next.length >>> 2 > BUCKET_MAX && depth < SHIFTS.length ? divided(next, depth) : next
}

/** Entries are in order of the hash, so that each branch takes a run of them. */
function divided(bucket: Bucket, depth: number): Branch {
  const parts: Bucket[] = new Array(WIDTH).fill(NOTHING)
  for (let from = 0; from < bucket.length; ) {
    const digit = digitOf(bucket[from]!, depth)
    let to = from
    while (to < bucket.length && digitOf(bucket[to]!, depth) === digit) to += 4
    parts[digit] = bucket.slice(from, to)
    from = to
  }
  return new Branch(parts, bucket.length >>> 2)
}

function drop(part: Part, depth: number, entry: Entry): Part {
  if (part instanceof Branch) {
    const digit = digitOf(entry.high, depth)
    const before = part.parts[digit]!
    const after = drop(before, depth + 1, entry)
    if (after === before) return part
    const less = new Branch(part.parts.with(digit, after), part.size - 1)
    return less.size <= BRANCH_MIN ? joined(less) : less
  }
  const { at, found } = placeOf(part, entry)
  if (!found) return part
  if (part.length === 4) return NOTHING
  const next = new Int32Array(part.length - 4)
  next.set(part.subarray(0, at))
  next.set(part.subarray(at + 4), at)
  return next
}

function joined(branch: Branch): Bucket {
  const all = new Int32Array(branch.size * 4)
  let at = 0
  const take = (part: Part): void => {
    if (part instanceof Branch) part.parts.forEach(take)
    else {
      all.set(part, at)
      at += part.length
    }
  }
  take(branch)
  return all
}
