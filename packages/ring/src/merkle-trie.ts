/**
 * A persistent, ordered map from hex keys of one length, with a commitment. Setting and deleting share all that did not
 * change; the hash of an untouched part is kept. Its shape follows from its contents alone (a part with at most
 * `LEAF_MAX` entries is a leaf), so that equal contents have equal roots whatever the order they came in.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { canonicalJson } from './canonical-json.ts'
import { encodeHex, encodeUtf8 } from './encoding.ts'

const LEAF_MAX = 8

type Entry<V> = readonly [key: string, value: V]

class Leaf<V> {
  readonly entries: readonly Entry<V>[]
  hash: Uint8Array | undefined
  constructor(entries: readonly Entry<V>[]) {
    this.entries = entries
  }
  get size(): number {
    return this.entries.length
  }
}

class Branch<V> {
  /** 16, by the key's digit at this depth. */
  readonly children: readonly (Part<V> | undefined)[]
  readonly size: number
  hash: Uint8Array | undefined
  constructor(children: readonly (Part<V> | undefined)[], size: number) {
    this.children = children
    this.size = size
  }
}

type Part<V> = Leaf<V> | Branch<V>

export class MerkleTrie<V> {
  readonly #root: Part<V>

  private constructor(root: Part<V>) {
    this.#root = root
  }

  static empty<V>(): MerkleTrie<V> {
    return new MerkleTrie<V>(new Leaf<V>([]))
  }

  get size(): number {
    return this.#root.size
  }

  get(key: string): V | undefined {
    let part: Part<V> | undefined = this.#root
    for (let depth = 0; part instanceof Branch; depth += 1) part = part.children[digit(key, depth)]
    return part?.entries.find(([held]) => held === key)?.[1]
  }

  set(key: string, value: V): MerkleTrie<V> {
    return new MerkleTrie(put(this.#root, 0, [key, value]))
  }

  delete(key: string): MerkleTrie<V> {
    return this.get(key) === undefined ? this : new MerkleTrie(drop(this.#root, 0, key) ?? new Leaf<V>([]))
  }

  /** The entry with the smallest key. */
  first(): Entry<V> | undefined {
    let part: Part<V> | undefined = this.#root
    while (part instanceof Branch) part = part.children.find((child) => child !== undefined)
    return part?.entries[0]
  }

  /** In order of keys. */
  entries(): Generator<Entry<V>> {
    return walk(this.#root)
  }

  /** Lower-case hex SHA-256 over the contents; values are taken as canonical JSON. */
  root(): string {
    return encodeHex(hashOf(this.#root))
  }
}

function digit(key: string, depth: number): number {
  const code = key.charCodeAt(depth)
  return code <= 57 ? code - 48 : code - 87
}

function put<V>(part: Part<V> | undefined, depth: number, entry: Entry<V>): Part<V> {
  if (part === undefined) return new Leaf([entry])
  if (part instanceof Branch) {
    const at = digit(entry[0], depth)
    const before = part.children[at]
    const after = put(before, depth + 1, entry)
    return new Branch(part.children.with(at, after), part.size + after.size - (before?.size ?? 0))
  }
  const { entries } = part
  let at = 0
  while (at < entries.length && entries[at]![0] < entry[0]) at += 1
  const replaces = entries[at]?.[0] === entry[0]
  return shaped(entries.toSpliced(at, replaces ? 1 : 0, entry), depth)
}

/** A leaf when the entries are few, else a branch of such. */
function shaped<V>(entries: readonly Entry<V>[], depth: number): Part<V> {
  if (entries.length <= LEAF_MAX) return new Leaf(entries)
  const groups: Entry<V>[][] = Array.from({ length: 16 }, () => [])
  for (const entry of entries) groups[digit(entry[0], depth)]!.push(entry)
  return new Branch(
    groups.map((group) => (group.length === 0 ? undefined : shaped(group, depth + 1))),
    entries.length,
  )
}

function drop<V>(part: Part<V>, depth: number, key: string): Part<V> | undefined {
  if (part instanceof Leaf) {
    const entries = part.entries.filter(([held]) => held !== key)
    return entries.length === 0 ? undefined : new Leaf(entries)
  }
  const at = digit(key, depth)
  const children = part.children.with(at, drop(part.children[at]!, depth + 1, key))
  const less = new Branch(children, part.size - 1)
  return less.size <= LEAF_MAX ? new Leaf([...walk(less)]) : less
}

function* walk<V>(part: Part<V>): Generator<Entry<V>> {
  if (part instanceof Leaf) yield* part.entries
  else for (const child of part.children) if (child !== undefined) yield* walk(child)
}

/** Leaves and branches hash under different first bytes: no branch can pass for a leaf. */
function hashOf<V>(part: Part<V>): Uint8Array {
  if (part.hash !== undefined) return part.hash
  if (part instanceof Leaf) {
    part.hash = sha256(encodeUtf8(`L${canonicalJson(part.entries)}`))
    return part.hash
  }
  const present = part.children.flatMap((child, at) => (child === undefined ? [] : [[at, hashOf(child)] as const]))
  const bytes = new Uint8Array(1 + present.length * 33)
  bytes[0] = 0x42
  present.forEach(([at, hash], index) => {
    bytes[1 + index * 33] = at
    bytes.set(hash, 2 + index * 33)
  })
  part.hash = sha256(bytes)
  return part.hash
}
