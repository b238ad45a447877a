/**
 * How rare a point is among those that were seen: half-space trees (Tan, Ting, Liu, "Fast anomaly detection for streaming data", IJCAI 2011). Each tree
 * halves the space again and again, along a dimension chosen at random, and counts how many points fell into each part: its mass. A point in parts
 * with little mass for their size is rare. Memory and time are those of the trees, whatever comes.
 *
 * Trees are made of a seed and of nothing else, so that masses of the same seed add up, whoever counted them: addition is associative and
 * commutative, and the masses of two halves of a stream are those of the whole.
 *
 * Other than in the paper the window that is over does not take the place of what was before it but is added to it, which fades
 * (`KEEP`): a day's quiet hours are not rare in its busy ones.
 */
import type { KeptReader, KeptWriter } from './kept.ts'
import { hashText } from './signal.ts'

export const TREES = 25
export const DEPTH = 10
const LEAVES = 2 ** DEPTH
const INNER = LEAVES - 1
const NODES = INNER + LEAVES
/** Of all mass: what has less is not looked at more closely. */
const SIZE_PART = 0.002
/** Of what was before the last window, when one is over. */
const KEEP = 0.95
const MASS_MAX = 1e12
/** Of sums of numbers of 32 bits. */
const ROUNDING = 0.01

/** Points counted by the leaves of each tree, tree by tree. */
export interface Masses {
  readonly count: number
  readonly leaves: Uint32Array
}

/** More no node counts in an hour. */
export const POINTS_MAX = 10_000_000
export const MASSES_LENGTH: number = TREES * LEAVES

export function noMasses(): Masses {
  return { count: 0, leaves: new Uint32Array(MASSES_LENGTH) }
}

export function addMasses(one: Masses, other: Masses): Masses {
  return { count: one.count + other.count, leaves: one.leaves.map((mass, at) => mass + other.leaves[at]!) }
}

export interface HalfSpaceOptions {
  /** The same on all nodes whose masses are to add up. */
  readonly seed: string
  /** Each from 0 to 1. */
  readonly dimensions: number
}

/** xorshift32 (Marsaglia, 2003): the trees must be the same everywhere, and no secret. */
function randomFrom(seed: number): () => number {
  let state = seed === 0 ? 1 : seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

export class HalfSpaceTrees {
  readonly #dimensions: number
  /** Of the inner nodes of each tree, in the order of a heap. */
  readonly #along = new Uint8Array(TREES * INNER)
  readonly #cuts = new Float32Array(TREES * INNER)
  #latest = new Uint32Array(MASSES_LENGTH)
  #latestCount = 0
  /** Of all nodes of each tree. */
  readonly #reference = new Float32Array(TREES * NODES)
  #referenceCount = 0

  constructor({ seed, dimensions }: HalfSpaceOptions) {
    this.#dimensions = dimensions
    for (let tree = 0; tree < TREES; tree += 1) this.#grow(tree, randomFrom(hashText(`${seed} ${tree}`)))
  }

  /**
   * Each dimension of a tree has a range of its own around that of the points, so that no two trees cut at the same places. It is half as wide as in
   * the paper: there is next to nothing outside of 0 to 1 to be cut off.
   */
  #grow(tree: number, random: () => number): void {
    const lows = new Float64Array(INNER * this.#dimensions)
    const highs = new Float64Array(INNER * this.#dimensions)
    for (let dimension = 0; dimension < this.#dimensions; dimension += 1) {
      const middle = random()
      const reach = Math.max(middle, 1 - middle)
      lows[dimension] = middle - reach
      highs[dimension] = middle + reach
    }
    for (let node = 0; node < INNER; node += 1) {
      const from = node * this.#dimensions
      const along = Math.floor(random() * this.#dimensions)
      const cut = (lows[from + along]! + highs[from + along]!) / 2
      this.#along[tree * INNER + node] = along
      this.#cuts[tree * INNER + node] = cut
      for (const child of [2 * node + 1, 2 * node + 2]) {
        if (child >= INNER) continue
        const to = child * this.#dimensions
        lows.copyWithin(to, from, from + this.#dimensions)
        highs.copyWithin(to, from, from + this.#dimensions)
        if (child % 2 === 1) highs[to + along] = cut
        else lows[to + along] = cut
      }
    }
  }

  /** Points of the window that goes on. */
  get latestCount(): number {
    return this.#latestCount
  }

  /** Points that scores rest on. */
  get referenceCount(): number {
    return this.#referenceCount
  }

  get bytes(): number {
    return this.#along.byteLength + this.#cuts.byteLength + this.#latest.byteLength + this.#reference.byteLength
  }

  /** Learns a point, having said how rare it was before, as `rarity`. @param weight How many it stands for: a whole number. */
  observe(point: Readonly<Float32Array>, weight = 1): number | undefined {
    const least = SIZE_PART * this.#referenceCount
    const [along, cuts, reference] = [this.#along, this.#cuts, this.#reference]
    let sum = 0
    for (let tree = 0; tree < TREES; tree += 1) {
      const base = tree * INNER
      const from = tree * NODES
      let node = 0
      let size = 1
      let mass = reference[from]!
      while (node < INNER) {
        node = 2 * node + (point[along[base + node]!]! < cuts[base + node]! ? 1 : 2)
        if (mass <= least) continue
        mass = reference[from + node]!
        size *= 2
      }
      this.#latest[tree * LEAVES + node - INNER]! += weight
      sum += Math.log2((mass + 0.5) * size)
    }
    this.#latestCount += weight
    return this.#rarityOf(sum)
  }

  /** How rare a point is, in bits: 0 where mass is spread evenly, one more for each half of that. Undefined: nothing is known. */
  rarity(point: Readonly<Float32Array>): number | undefined {
    const least = SIZE_PART * this.#referenceCount
    let sum = 0
    for (let tree = 0; tree < TREES; tree += 1) {
      const base = tree * INNER
      const from = tree * NODES
      let node = 0
      let size = 1
      let mass = this.#reference[from]!
      while (node < INNER && mass > least) {
        node = 2 * node + (point[this.#along[base + node]!]! < this.#cuts[base + node]! ? 1 : 2)
        mass = this.#reference[from + node]!
        size *= 2
      }
      sum += Math.log2((mass + 0.5) * size)
    }
    return this.#rarityOf(sum)
  }

  #rarityOf(sum: number): number | undefined {
    return this.#referenceCount === 0 ? undefined : Math.log2(this.#referenceCount) - sum / TREES
  }

  /** The window is over: it becomes a part of what scores rest on. @returns Its masses, to be told. */
  turn(): Masses {
    const masses: Masses = { count: this.#latestCount, leaves: this.#latest }
    for (let at = 0; at < this.#reference.length; at += 1) this.#reference[at]! *= KEEP
    this.#referenceCount *= KEEP
    this.fold(masses, 1)
    this.#latest = new Uint32Array(MASSES_LENGTH)
    this.#latestCount = 0
    return masses
  }

  /** Adds masses of trees of the same seed to what scores rest on. @param part 0 to 1, of them. */
  fold({ count, leaves }: Masses, part: number): void {
    for (let tree = 0; tree < TREES; tree += 1) {
      for (let leaf = 0; leaf < LEAVES; leaf += 1) {
        const mass = part * leaves[tree * LEAVES + leaf]!
        if (mass === 0) continue
        for (let node = INNER + leaf; ; node = (node - 1) >> 1) {
          this.#reference[tree * NODES + node]! += mass
          if (node === 0) break
        }
      }
    }
    this.#referenceCount += part * count
  }

  /** All that was counted; of how the trees were grown nothing. */
  keep(into: KeptWriter): void {
    into.f64(this.#referenceCount)
    for (const mass of this.#reference) into.f32(mass)
    into.u32(this.#latestCount)
    for (const mass of this.#latest) into.u32(mass)
  }

  /** Into trees of the same seed that counted nothing. @throws {MemoryMalformed} */
  restore(from: KeptReader): void {
    this.#referenceCount = from.f64('points that scores rest on', 0, MASS_MAX)
    for (let at = 0; at < this.#reference.length; at += 1) this.#reference[at] = from.f32('mass', 0, MASS_MAX)
    for (let tree = 0; tree < TREES; tree += 1) this.#checkSums(tree * NODES, from)
    this.#latestCount = from.u32('points')
    for (let tree = 0; tree < TREES; tree += 1) {
      let left = this.#latestCount
      for (let leaf = 0; leaf < LEAVES; leaf += 1) {
        const mass = from.u32('mass of a leaf', left)
        this.#latest[tree * LEAVES + leaf] = mass
        left -= mass
      }
      if (left !== 0) from.fail('each tree has all points')
    }
  }

  /** What is below a node is what it has. */
  #checkSums(base: number, from: KeptReader): void {
    const isNear = (one: number, other: number): boolean => Math.abs(one - other) <= 1 + ROUNDING * Math.max(one, other)
    const reference = this.#reference
    if (!isNear(reference[base]!, this.#referenceCount)) from.fail('each tree has all points that scores rest on')
    for (let node = 0; node < INNER; node += 1)
      if (!isNear(reference[base + node]!, reference[base + 2 * node + 1]! + reference[base + 2 * node + 2]!))
        from.fail('a part has the mass of its halves')
  }
}
