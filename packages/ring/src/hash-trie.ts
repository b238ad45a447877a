/**
 * A persistent hash map: setting returns a new map and shares the rest. A hash array mapped trie after Bagwell, "Ideal
 * Hash Trees" (2001), 5 bits a level. Lookups allocate nothing. Keys with one hash share a list: who can fill it is
 * bounded by the quotas on denials.
 */

interface Entry<K, V> {
  readonly hash: number
  readonly key: K
  readonly value: V
}

/** Of one draft: what it made carries it, and may be changed in place by that draft alone. */
type Owner = object | undefined

class Branch<K, V> {
  bitmap: number
  readonly slots: Slot<K, V>[]
  readonly owner: Owner
  constructor(bitmap: number, slots: Slot<K, V>[], owner: Owner) {
    this.bitmap = bitmap
    this.slots = slots
    this.owner = owner
  }

  /** With another slot in place of the one at `at`: this branch itself when it is the draft's own. */
  with(at: number, slot: Slot<K, V>, owner: Owner): Branch<K, V> {
    if (owner === undefined || owner !== this.owner) return new Branch(this.bitmap, this.slots.with(at, slot), owner)
    this.slots[at] = slot
    return this
  }

  /** With a slot more, which becomes the one at `at`. */
  grown(bit: number, at: number, slot: Slot<K, V>, owner: Owner): Branch<K, V> {
    if (owner === undefined || owner !== this.owner)
      return new Branch(this.bitmap | bit, this.slots.toSpliced(at, 0, slot), owner)
    this.bitmap |= bit
    this.slots.splice(at, 0, slot)
    return this
  }
}

/** Entries that share a hash. */
class Leaf<K, V> {
  readonly entries: readonly Entry<K, V>[]
  constructor(entries: readonly Entry<K, V>[]) {
    this.entries = entries
  }
}

type Slot<K, V> = Branch<K, V> | Leaf<K, V>

const EMPTY: Branch<never, never> = new Branch(0, [], undefined)

function bitCount(bits: number): number {
  let count = bits - ((bits >>> 1) & 0x55555555)
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333)
  return Math.imul((count + (count >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** `hash` is any 32-bit integer derived from the key; `same` says whether two keys are one. */
export class HashTrie<K, V> {
  #size: number
  #root: Branch<K, V>
  readonly #same: (a: K, b: K) => boolean
  readonly #owner: Owner

  private constructor(root: Branch<K, V>, size: number, same: (a: K, b: K) => boolean, owner?: Owner) {
    this.#root = root
    this.#size = size
    this.#same = same
    this.#owner = owner
  }

  static empty<K, V>(same: (a: K, b: K) => boolean): HashTrie<K, V> {
    return new HashTrie<K, V>(EMPTY, 0, same)
  }

  get size(): number {
    return this.#size
  }

  /** The same contents, to be changed in place by `set` and `delete`, which answer with the draft itself. */
  draft(): HashTrie<K, V> {
    return new HashTrie(this.#root, this.#size, this.#same, {})
  }

  /** The contents of a draft, never to change again. */
  sealed(): HashTrie<K, V> {
    return this.#owner === undefined ? this : new HashTrie(this.#root, this.#size, this.#same)
  }

  get(hash: number, key: K): V | undefined {
    let branch = this.#root
    for (let shift = 0; ; shift += 5) {
      const bit = 1 << ((hash >>> shift) & 31)
      if ((branch.bitmap & bit) === 0) return undefined
      const slot = branch.slots[bitCount(branch.bitmap & (bit - 1))]!
      if (slot instanceof Branch) {
        branch = slot
        continue
      }
      for (const entry of slot.entries) if (entry.hash === hash && this.#same(entry.key, key)) return entry.value
      return undefined
    }
  }

  set(hash: number, key: K, value: V): HashTrie<K, V> {
    const grown = this.get(hash, key) === undefined ? 1 : 0
    return this.#with(this.#put(this.#root, 0, { hash, key, value }), this.#size + grown)
  }

  delete(hash: number, key: K): HashTrie<K, V> {
    if (this.get(hash, key) === undefined) return this
    return this.#with(this.#drop(this.#root, 0, hash, key) ?? EMPTY, this.#size - 1)
  }

  #with(root: Branch<K, V>, size: number): HashTrie<K, V> {
    if (this.#owner === undefined) return new HashTrie(root, size, this.#same)
    this.#root = root
    this.#size = size
    return this
  }

  *values(): Generator<V> {
    const open: Slot<K, V>[] = [this.#root]
    for (let slot = open.pop(); slot !== undefined; slot = open.pop()) {
      if (slot instanceof Branch) open.push(...slot.slots)
      else for (const entry of slot.entries) yield entry.value
    }
  }

  #put(branch: Branch<K, V>, shift: number, entry: Entry<K, V>): Branch<K, V> {
    const bit = 1 << ((entry.hash >>> shift) & 31)
    const at = bitCount(branch.bitmap & (bit - 1))
    if ((branch.bitmap & bit) === 0) return branch.grown(bit, at, new Leaf([entry]), this.#owner)
    const slot = branch.slots[at]!
    let next: Slot<K, V>
    if (slot instanceof Branch) next = this.#put(slot, shift + 5, entry)
    else if (slot.entries[0]!.hash === entry.hash) {
      next = new Leaf([...slot.entries.filter(({ key }) => !this.#same(key, entry.key)), entry])
    } else {
      // Two hashes meet: push the older leaf one level down, then try again there.
      const older = new Branch<K, V>(1 << ((slot.entries[0]!.hash >>> (shift + 5)) & 31), [slot], this.#owner)
      next = this.#put(older, shift + 5, entry)
    }
    return branch.with(at, next, this.#owner)
  }

  #drop(branch: Branch<K, V>, shift: number, hash: number, key: K): Branch<K, V> | undefined {
    const bit = 1 << ((hash >>> shift) & 31)
    const at = bitCount(branch.bitmap & (bit - 1))
    const slot = branch.slots[at]!
    let next: Slot<K, V> | undefined
    if (slot instanceof Branch) next = this.#drop(slot, shift + 5, hash, key)
    else {
      const entries = slot.entries.filter((entry) => !this.#same(entry.key, key))
      next = entries.length === 0 ? undefined : new Leaf(entries)
    }
    if (next !== undefined) return branch.with(at, next, this.#owner)
    const bitmap = branch.bitmap & ~bit
    return bitmap === 0 ? undefined : new Branch(bitmap, branch.slots.toSpliced(at, 1), this.#owner)
  }
}

/** Bijective mix of 32 bits (the finalizer of MurmurHash3). */
export function mix32(value: number): number {
  let hash = value | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** 32 bits of a text's UTF-16 code units. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return mix32(hash)
}
