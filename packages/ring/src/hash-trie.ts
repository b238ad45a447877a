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

class Branch<K, V> {
  readonly bitmap: number
  readonly slots: readonly Slot<K, V>[]
  constructor(bitmap: number, slots: readonly Slot<K, V>[]) {
    this.bitmap = bitmap
    this.slots = slots
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

const EMPTY: Branch<never, never> = new Branch(0, [])

function bitCount(bits: number): number {
  let count = bits - ((bits >>> 1) & 0x55555555)
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333)
  return Math.imul((count + (count >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** `hash` is any 32-bit integer derived from the key; `same` says whether two keys are one. */
export class HashTrie<K, V> {
  readonly size: number
  readonly #root: Branch<K, V>
  readonly #same: (a: K, b: K) => boolean

  private constructor(root: Branch<K, V>, size: number, same: (a: K, b: K) => boolean) {
    this.#root = root
    this.size = size
    this.#same = same
  }

  static empty<K, V>(same: (a: K, b: K) => boolean): HashTrie<K, V> {
    return new HashTrie<K, V>(EMPTY, 0, same)
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
    return new HashTrie(this.#put(this.#root, 0, { hash, key, value }), this.size + grown, this.#same)
  }

  delete(hash: number, key: K): HashTrie<K, V> {
    if (this.get(hash, key) === undefined) return this
    return new HashTrie(this.#drop(this.#root, 0, hash, key) ?? EMPTY, this.size - 1, this.#same)
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
    if ((branch.bitmap & bit) === 0) return new Branch(branch.bitmap | bit, branch.slots.toSpliced(at, 0, new Leaf([entry])))
    const slot = branch.slots[at]!
    let next: Slot<K, V>
    if (slot instanceof Branch) next = this.#put(slot, shift + 5, entry)
    else if (slot.entries[0]!.hash === entry.hash) {
      next = new Leaf([...slot.entries.filter(({ key }) => !this.#same(key, entry.key)), entry])
    } else {
      // Two hashes meet: push the older leaf one level down, then try again there.
      const older = new Branch<K, V>(1 << ((slot.entries[0]!.hash >>> (shift + 5)) & 31), [slot])
      next = this.#put(older, shift + 5, entry)
    }
    return new Branch(branch.bitmap, branch.slots.with(at, next))
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
    if (next !== undefined) return new Branch(branch.bitmap, branch.slots.with(at, next))
    const bitmap = branch.bitmap & ~bit
    return bitmap === 0 ? undefined : new Branch(bitmap, branch.slots.toSpliced(at, 1))
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
