/**
 * A persistent, ordered map from hex keys of one length, with a commitment. Setting and deleting share all that did not
 * change; the hash of an untouched part is kept. Its shape follows from its contents alone (a part with at most
 * `LEAF_MAX` entries is a leaf), so that equal contents have equal roots whatever the order they came in.
 *
 * Many changes that nobody looks at in between are made on a draft: it changes in place what it made itself, and nothing else.
 */
import { canonicalJson } from './canonical-json.ts'
import { decodeHexInto, passingUtf8, Scratch } from './encoding.ts'
import { portableSha256, type Sha256 } from './tx.ts'

const LEAF_MAX = 8

/** Its hash is computed once, also when its neighbours change. */
class Entry<V> {
  readonly key: string
  readonly value: V
  hash: string | undefined
  constructor(key: string, value: V) {
    this.key = key
    this.value = value
  }
}

/**
 * What shows that an entry is in a trie of a known root, hashes in lower-case hex: those of the entries in its leaf, and
 * for every branch from the root down those of its children with their digits.
 */
export interface MerkleProof {
  readonly leaf: readonly string[]
  readonly branches: readonly (readonly (readonly [digit: number, hash: string])[])[]
}

class Leaf<V> {
  readonly entries: readonly Entry<V>[]
  hash: string | undefined
  constructor(entries: readonly Entry<V>[]) {
    this.entries = entries
  }
  get size(): number {
    return this.entries.length
  }
}

/** Of one draft: what it made carries it, and may be changed in place by that draft alone. */
type Owner = object | undefined

class Branch<V> {
  /** 16, by the key's digit at this depth. */
  readonly children: (Part<V> | undefined)[]
  size: number
  hash: string | undefined
  readonly #owner: Owner
  constructor(children: (Part<V> | undefined)[], size: number, owner: Owner) {
    this.children = children
    this.size = size
    this.#owner = owner
  }

  /** With another part at a digit: this branch itself when it is the draft's own. */
  with(at: number, part: Part<V> | undefined, size: number, owner: Owner): Branch<V> {
    if (owner === undefined || owner !== this.#owner) return new Branch(this.children.with(at, part), size, owner)
    this.children[at] = part
    this.size = size
    this.hash = undefined
    return this
  }
}

type Part<V> = Leaf<V> | Branch<V>

export class MerkleTrie<V> {
  #root: Part<V>
  readonly #owner: Owner

  private constructor(root: Part<V>, owner?: Owner) {
    this.#root = root
    this.#owner = owner
  }

  static empty<V>(): MerkleTrie<V> {
    return new MerkleTrie<V>(new Leaf<V>([]))
  }

  /** All at once, as if set one by one: much faster for many. */
  static from<V>(entries: Iterable<readonly [key: string, value: V]>): MerkleTrie<V> {
    const held = [...new Map(entries)].sort(([a], [b]) => (a < b ? -1 : 1))
    return new MerkleTrie<V>(
      shaped(
        held.map(([key, value]) => new Entry(key, value)),
        0,
        undefined,
      ),
    )
  }

  get size(): number {
    return this.#root.size
  }

  get(key: string): V | undefined {
    let part: Part<V> | undefined = this.#root
    let depth = 0
    for (; part instanceof Branch; depth += 1) part = part.children[digit(key, depth)]
    if (part === undefined) return undefined
    const { entries } = part
    // The last digit that they may differ in tells most of them apart: it costs a small part of comparing keys that were cut out of longer texts.
    const last = key.length - 1
    const digits = key.charCodeAt(last)
    for (let at = 0; at < entries.length; at += 1) {
      const entry = entries[at]!
      if (entry.key.charCodeAt(last) === digits && entry.key === key) return entry.value
    }
    return undefined
  }

  /** The same contents, to be changed in place by `set` and `delete`, which answer with the draft itself. */
  draft(): MerkleTrie<V> {
    return new MerkleTrie(this.#root, {})
  }

  /** The contents of a draft, never to change again. */
  sealed(): MerkleTrie<V> {
    return this.#owner === undefined ? this : new MerkleTrie(this.#root)
  }

  set(key: string, value: V): MerkleTrie<V> {
    return this.#with(put(this.#root, 0, new Entry(key, value), this.#owner))
  }

  delete(key: string): MerkleTrie<V> {
    if (this.get(key) === undefined) return this
    return this.#with(drop(this.#root, 0, key, this.#owner) ?? new Leaf<V>([]))
  }

  #with(root: Part<V>): MerkleTrie<V> {
    if (this.#owner === undefined) return new MerkleTrie(root)
    this.#root = root
    return this
  }

  /** The entry with the smallest key. */
  first(): readonly [key: string, value: V] | undefined {
    let part: Part<V> | undefined = this.#root
    while (part instanceof Branch) part = part.children.find((child) => child !== undefined)
    const entry = part?.entries[0]
    return entry === undefined ? undefined : [entry.key, entry.value]
  }

  /** In order of keys. */
  *entries(): Generator<readonly [key: string, value: V]> {
    for (const { key, value } of walk(this.#root)) yield [key, value]
  }

  /** Undefined when the key is not there. */
  prove(key: string): MerkleProof | undefined {
    const branches: (readonly (readonly [number, string])[])[] = []
    let part: Part<V> | undefined = this.#root
    for (let depth = 0; part instanceof Branch; depth += 1) {
      branches.push(
        part.children.flatMap((child, at) => (child === undefined ? [] : [[at, hashOf(child, portableSha256)] as const])),
      )
      part = part.children[digit(key, depth)]
    }
    if (part?.entries.some((held) => held.key === key) !== true) return undefined
    return { leaf: part.entries.map((entry) => hashOfEntry(entry, portableSha256)), branches }
  }

  /** Lower-case hex SHA-256 over the contents; values are taken as canonical JSON. By the portable hash unless given another. */
  root(hash: Sha256 = portableSha256): string {
    return hashOf(this.#root, hash)
  }
}

function digit(key: string, depth: number): number {
  const code = key.charCodeAt(depth)
  return code <= 57 ? code - 48 : code - 87
}

function put<V>(part: Part<V> | undefined, depth: number, entry: Entry<V>, owner: Owner): Part<V> {
  if (part === undefined) return new Leaf([entry])
  if (part instanceof Branch) {
    const at = digit(entry.key, depth)
    const before = part.children[at]
    const sizeBefore = before?.size ?? 0
    const after = put(before, depth + 1, entry, owner)
    return part.with(at, after, part.size + after.size - sizeBefore, owner)
  }
  const { entries } = part
  let at = 0
  while (at < entries.length && entries[at]!.key < entry.key) at += 1
  const replaces = entries[at]?.key === entry.key
  return shaped(entries.toSpliced(at, replaces ? 1 : 0, entry), depth, owner)
}

/** A leaf when the entries are few, else a branch of such. */
function shaped<V>(entries: readonly Entry<V>[], depth: number, owner: Owner): Part<V> {
  if (entries.length <= LEAF_MAX) return new Leaf(entries)
  const groups: (Entry<V>[] | undefined)[] = Array.from({ length: 16 })
  for (const entry of entries) {
    const at = digit(entry.key, depth)
    const group = groups[at]
    if (group === undefined) groups[at] = [entry]
    else group.push(entry)
  }
  return new Branch(
    groups.map((group) => (group === undefined ? undefined : shaped(group, depth + 1, owner))),
    entries.length,
    owner,
  )
}

function drop<V>(part: Part<V>, depth: number, key: string, owner: Owner): Part<V> | undefined {
  if (part instanceof Leaf) {
    const entries = part.entries.filter((held) => held.key !== key)
    return entries.length === 0 ? undefined : new Leaf(entries)
  }
  const at = digit(key, depth)
  const less = part.with(at, drop(part.children[at]!, depth + 1, key, owner), part.size - 1, owner)
  return less.size <= LEAF_MAX ? new Leaf([...walk(less)]) : less
}

function* walk<V>(part: Part<V>): Generator<Entry<V>> {
  if (part instanceof Leaf) yield* part.entries
  else for (const child of part.children) if (child !== undefined) yield* walk(child)
}

const LEAF_MARK = 0x4c
const BRANCH_MARK = 0x42
const HASH_BYTES = 32

/** What is about to be hashed, so that nothing is allocated for it: a branch of 16 is the largest. */
const scratch = new Scratch(1 + 16 * (1 + HASH_BYTES))

/**
 * Entries, leaves and branches hash under different first bytes: none can pass for another. Hashes are kept as they are
 * written, in lower-case hex: a short text takes a third of the memory of an array of bytes.
 */
function hashOf<V>(part: Part<V>, sha: Sha256): string {
  if (part.hash !== undefined) return part.hash
  // First those of the children: all are written to the same place.
  if (part instanceof Leaf) {
    const { entries } = part
    for (let at = 0; at < entries.length; at += 1) hashOfEntry(entries[at]!, sha)
    scratch.bytes[0] = LEAF_MARK
    for (let at = 0; at < entries.length; at += 1) decodeHexInto(entries[at]!.hash!, scratch.bytes, 1 + at * HASH_BYTES)
    part.hash = sha(scratch.first(1 + entries.length * HASH_BYTES))
    return part.hash
  }
  const { children } = part
  for (let at = 0; at < children.length; at += 1) {
    const child = children[at]
    if (child !== undefined) hashOf(child, sha)
  }
  scratch.bytes[0] = BRANCH_MARK
  let to = 1
  for (let at = 0; at < children.length; at += 1) {
    const child = children[at]
    if (child === undefined) continue
    scratch.bytes[to] = at
    decodeHexInto(child.hash!, scratch.bytes, to + 1)
    to += 1 + HASH_BYTES
  }
  part.hash = sha(scratch.first(to))
  return part.hash
}

function hashOfEntry<V>(entry: Entry<V>, sha: Sha256): string {
  entry.hash ??= sha(entryBytes(entry.key, entry.value))
  return entry.hash
}

/** To be hashed at once: the next call may overwrite it. */
function entryBytes(key: string, value: unknown): Uint8Array {
  // Keys are hex digits, which need no escapes.
  return passingUtf8(`E["${key}",${canonicalJson(value)}]`)
}

/** Is `value` what a trie with this root holds under `key`? False also for a proof that is none. */
export function verifyMerkleProof(root: string, key: string, value: unknown, { leaf, branches }: MerkleProof): boolean {
  const entry = portableSha256(entryBytes(key, value))
  if (leaf.length > LEAF_MAX || !leaf.includes(entry) || branches.length > key.length) return false
  scratch.bytes[0] = LEAF_MARK
  leaf.forEach((hash, at) => void writeHash(hash, 1 + at * HASH_BYTES))
  let hash = portableSha256(scratch.first(1 + leaf.length * HASH_BYTES))
  for (let depth = branches.length - 1; depth >= 0; depth -= 1) {
    const children = branches[depth]!
    const own = hash
    if (children.length > 16 || !children.some(([at, held]) => at === digit(key, depth) && held === own)) return false
    scratch.bytes[0] = BRANCH_MARK
    children.forEach(([at, held], index) => {
      scratch.bytes[1 + index * (1 + HASH_BYTES)] = at
      writeHash(held, 2 + index * (1 + HASH_BYTES))
    })
    hash = portableSha256(scratch.first(1 + children.length * (1 + HASH_BYTES)))
  }
  return hash === root
}

/** 32 bytes of `scratch`; all zero for what is no hash, which no entry has. */
function writeHash(text: string, to: number): void {
  if (/^[0-9a-f]{64}$/.test(text)) decodeHexInto(text, scratch.bytes, to)
  else scratch.bytes.fill(0, to, to + HASH_BYTES)
}
