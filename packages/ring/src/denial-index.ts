/**
 * Finds the denial that covers an address, a token or an account. Persistent: a block's changes make a new index that shares
 * the rest, so views of different heights stand side by side.
 *
 * What is looked up by text (all but addresses) costs 16 bytes a denial here: a keyed 64-bit hash of what it is about, and the
 * denial's id. The denial itself is kept by who keeps the index, the ring's state for one, and fetched by its id. What is fetched
 * is compared with what was sought: two texts of one hash are told apart.
 */
import { maskOf, type Prefix, parsePrefix, scanAddress, scanned } from './address.ts'
import { type Credential, coversCredential } from './credential.ts'
import { HashTrie, hashText, mix32 } from './hash-trie.ts'
import { type Entry, IdIndex, seekNear } from './id-index.ts'
import type { Denial, DenialIndex, DenialSubject } from './types.ts'

interface V6Key {
  a: number
  b: number
  c: number
  d: number
}

type V4Table = { readonly length: number; readonly mask: number; readonly trie: HashTrie<number, Denial> }
type V6Table = { readonly length: number; readonly masks: V6Key; readonly trie: HashTrie<V6Key, Denial> }

const sameNumber = (a: number, b: number) => a === b
const sameV6 = (x: V6Key, y: V6Key) => x.a === y.a && x.b === y.b && x.c === y.c && x.d === y.d
const sameText = (a: string, b: string) => a === b
const hashV6 = (key: V6Key) => mix32(mix32(mix32(mix32(key.a) + key.b) + key.c) + key.d)

/** Reused by each lookup: nothing is allocated, and nothing yields in between. */
const sought: V6Key = { a: 0, b: 0, c: 0, d: 0 }

/**
 * What is looked up by text. Each is counted, so that what nobody denies is not looked for. `before` is about all tokens,
 * `beforeIssuer` about an issuer's, `beforeSubject` about a subject's. Whether a denial is about one issuer only shows when it is
 * found: few names occur with several issuers, and one search for both is half of two.
 */
const SHELVES = [
  'token',
  'subject',
  'session',
  'device',
  'key',
  'issuer',
  'before',
  'beforeIssuer',
  'beforeSubject',
  'account',
] as const
type Shelf = (typeof SHELVES)[number]
const NUMBERS = Object.fromEntries(SHELVES.map((shelf, number) => [shelf, number])) as Readonly<Record<Shelf, number>>

/** Two words keep attackers from choosing what falls together; whoever keeps an index draws them. */
export type HashSeed = readonly [number, number]
const NO_SEED: HashSeed = [0x243f6a88, 0x85a308d3]

/** Of the last `hashText64`. Small integers, which are kept without allocating. */
let high = 0
let low = 0

/** When the search under way takes place. Handed from call to call it would be allocated anew each time. */
const clock = new Float64Array(1)

/** 64 bits of a text's UTF-16 code units, on a shelf. Not cryptographic: what is found is compared. */
function hashText64(seed: HashSeed, shelf: number, text: string): void {
  let a = mix32(seed[0] ^ shelf)
  let b = seed[1] | 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    a = Math.imul(a ^ code, 0x9e3779b1)
    b = Math.imul(b ^ code, 0x7feb352d)
    a ^= b >>> 15
    b ^= a >>> 13
  }
  high = mix32(a ^ text.length)
  low = mix32(b + high)
}

/** The denials themselves. */
export interface DenialStore {
  get(id: string): Denial | undefined
  /** Each once, in any order. */
  all(): Iterable<Denial>
}

interface Parts {
  readonly seed: HashSeed
  /** Most specific first; only lengths that occur. */
  readonly v4: readonly V4Table[]
  readonly v6: readonly V6Table[]
  readonly ids: IdIndex
  /** By number of shelf. */
  readonly counts: readonly number[]
  readonly size: number
}

const NO_COUNTS: readonly number[] = SHELVES.map(() => 0)

/** Where denials are found, without those that are found by text. */
export class DenialSlots {
  parts: Parts
  readonly #isDraft: boolean

  private constructor(parts: Parts, isDraft = false) {
    this.parts = parts
    this.#isDraft = isDraft
  }

  static empty(seed: HashSeed = NO_SEED): DenialSlots {
    return new DenialSlots({ seed, v4: [], v6: [], ids: IdIndex.empty, counts: NO_COUNTS, size: 0 })
  }

  /** All at once: much faster for many. @param denials Each of a subject of its own. */
  static from(denials: readonly Denial[], seed: HashSeed = NO_SEED): DenialSlots {
    let addresses = DenialSlots.empty(seed).draft()
    const counts = [...NO_COUNTS]
    const entries: Entry[] = []
    for (const denial of denials) {
      const { subject, id } = denial
      if (subject.kind === 'ip' || subject.kind === 'cidr') addresses = addresses.with(denial)
      else {
        counts[hashSubject(seed, subject)]! += 1
        entries.push({ high, low, idHigh: wordOf(id, 0), idLow: wordOf(id, 8) })
      }
    }
    const ids = IdIndex.from(entries)
    return new DenialSlots({ ...addresses.sealed().parts, ids, counts, size: addresses.size + ids.size })
  }

  /** The same slots, to be changed in place by `with` and `without`, which answer with the draft itself. */
  draft(): DenialSlots {
    const { v4, v6 } = this.parts
    const drafts = {
      v4: v4.map((table) => ({ ...table, trie: table.trie.draft() })),
      v6: v6.map((table) => ({ ...table, trie: table.trie.draft() })),
    }
    return new DenialSlots({ ...this.parts, ...drafts }, true)
  }

  /** The slots of a draft, never to change again. */
  sealed(): DenialSlots {
    if (!this.#isDraft) return this
    const { v4, v6 } = this.parts
    const sealed = {
      v4: v4.map((table) => ({ ...table, trie: table.trie.sealed() })),
      v6: v6.map((table) => ({ ...table, trie: table.trie.sealed() })),
    }
    return new DenialSlots({ ...this.parts, ...sealed })
  }

  get size(): number {
    return this.parts.size
  }

  /** Adds or replaces the denial of a subject. An `ip` or `cidr` that is no address is left out: it covers nothing. */
  with(denial: Denial): DenialSlots {
    return this.#change(denial.subject, denial.id, denial)
  }

  without(subject: DenialSubject, id: string): DenialSlots {
    return this.#change(subject, id, undefined)
  }

  #change(subject: DenialSubject, id: string, denial: Denial | undefined): DenialSlots {
    const { parts } = this
    if (subject.kind !== 'ip' && subject.kind !== 'cidr') {
      const shelf = hashSubject(parts.seed, subject)
      const entry = { high, low, idHigh: wordOf(id, 0), idLow: wordOf(id, 8) }
      const ids = denial === undefined ? parts.ids.without(entry) : parts.ids.with(entry)
      if (ids === parts.ids) return this
      const more = denial === undefined ? -1 : 1
      const counts = parts.counts.with(shelf, parts.counts[shelf]! + more)
      return this.#with({ ...parts, ids, counts, size: parts.size + more })
    }
    const prefix = parsePrefix(subject.value)
    if (prefix === undefined) return this
    if (prefix.version === 4) {
      const table = parts.v4.find(({ length }) => length === prefix.length) ?? emptyV4(prefix)
      const before = table.trie.size
      const key = prefix.words[0]!
      const trie = changed(table.trie, mix32(key), key, denial)
      if (trie === table.trie && trie.size > 0) return this.#with({ ...parts, size: parts.size + trie.size - before })
      return this.#with({ ...parts, v4: replaced(parts.v4, table, { ...table, trie }), size: parts.size + trie.size - before })
    }
    const table = parts.v6.find(({ length }) => length === prefix.length) ?? emptyV6(prefix)
    const before = table.trie.size
    const [a, b, c, d] = prefix.words as readonly [number, number, number, number]
    const key = { a, b, c, d }
    const trie = changed(table.trie, hashV6(key), key, denial)
    return this.#with({ ...parts, v6: replaced(parts.v6, table, { ...table, trie }), size: parts.size + trie.size - before })
  }

  #with(parts: Parts): DenialSlots {
    if (!this.#isDraft) return new DenialSlots(parts)
    this.parts = parts
    return this
  }
}

type TextSubject = Exclude<DenialSubject, { kind: 'ip' | 'cidr' }>

function shelfOf(subject: TextSubject): number {
  const { kind } = subject
  if (kind !== 'issued-before') return NUMBERS[kind]
  if (subject.subject !== undefined) return NUMBERS.beforeSubject
  return subject.issuer === undefined ? NUMBERS.before : NUMBERS.beforeIssuer
}

/** Of `issued-before` not its moment: there is one for each scope. */
function soughtText(subject: TextSubject): string {
  return subject.kind === 'issued-before' ? (subject.subject ?? subject.issuer ?? '') : subject.value
}

/** Makes `high` and `low` of what is denied. Returns the shelf's number. */
function hashSubject(seed: HashSeed, subject: TextSubject): number {
  const shelf = shelfOf(subject)
  hashText64(seed, shelf, soughtText(subject))
  return shelf
}

/** Half of an id of 16 hex digits. */
function wordOf(id: string, from: number): number {
  return Number.parseInt(id.slice(from, from + 8), 16) | 0
}

function idOf(idHigh: number, idLow: number): string {
  return (idHigh >>> 0).toString(16).padStart(8, '0') + (idLow >>> 0).toString(16).padStart(8, '0')
}

/** Kept by itself: for few. */
class OwnStore implements DenialStore {
  static readonly empty: OwnStore = new OwnStore(HashTrie.empty(sameText))
  readonly #byId: HashTrie<string, Denial>

  private constructor(byId: HashTrie<string, Denial>) {
    this.#byId = byId
  }

  get(id: string): Denial | undefined {
    return this.#byId.get(hashText(id), id)
  }

  all(): Iterable<Denial> {
    return this.#byId.values()
  }

  with(denial: Denial): OwnStore {
    return new OwnStore(this.#byId.set(hashText(denial.id), denial.id, denial))
  }

  without(id: string): OwnStore {
    return new OwnStore(this.#byId.delete(hashText(id), id))
  }
}

/** Slots, and the denials that they are about. */
export class DenialLookup implements DenialIndex {
  readonly #slots: DenialSlots
  readonly #store: DenialStore

  constructor(slots: DenialSlots, store: DenialStore) {
    this.#slots = slots
    this.#store = store
  }

  get size(): number {
    return this.#slots.size
  }

  find(id: string, nowMs: number): Denial | undefined {
    const denial = this.#store.get(id)
    return denial !== undefined && denial.expiresAtMs > nowMs ? denial : undefined
  }

  matchAddress(address: string, nowMs: number): Denial | undefined {
    const { v4, v6 } = this.#slots.parts
    if (v4.length === 0 && v6.length === 0) return undefined
    const version = scanAddress(address)
    if (version === 4) {
      const word = scanned[0]!
      for (let at = 0; at < v4.length; at += 1) {
        const table = v4[at]!
        const key = (word & table.mask) >>> 0
        const denial = table.trie.get(mix32(key), key)
        if (denial !== undefined && denial.expiresAtMs > nowMs) return denial
      }
    } else if (version === 6) {
      for (let at = 0; at < v6.length; at += 1) {
        const { masks, trie } = v6[at]!
        sought.a = (scanned[0]! & masks.a) >>> 0
        sought.b = (scanned[1]! & masks.b) >>> 0
        sought.c = (scanned[2]! & masks.c) >>> 0
        sought.d = (scanned[3]! & masks.d) >>> 0
        const denial = trie.get(hashV6(sought), sought)
        if (denial !== undefined && denial.expiresAtMs > nowMs) return denial
      }
    }
    return undefined
  }

  matchCredential(credential: Credential, nowMs: number): Denial | undefined {
    if (this.#slots.parts.ids.size === 0) return undefined
    clock[0] = nowMs
    const { issuer, subject, keys } = credential
    let found =
      this.#about(NUMBERS.token, credential.tokenId, credential) ??
      this.#about(NUMBERS.session, credential.sessionId, credential) ??
      this.#about(NUMBERS.subject, subject, credential) ??
      this.#about(NUMBERS.device, credential.deviceId, credential)
    if (keys !== undefined) for (let at = 0; at < keys.length; at += 1) found ??= this.#about(NUMBERS.key, keys[at], credential)
    return (
      found ??
      this.#about(NUMBERS.issuer, issuer, credential) ??
      this.#about(NUMBERS.before, '', credential) ??
      this.#about(NUMBERS.beforeIssuer, issuer, credential) ??
      this.#about(NUMBERS.beforeSubject, subject, credential)
    )
  }

  #about(shelf: number, value: string | undefined, credential: Credential): Denial | undefined {
    const { ids, counts, seed } = this.#slots.parts
    if (value === undefined || counts[shelf] === 0) return undefined
    hashText64(seed, shelf, value)
    const bucket = ids.bucket(high)
    for (let at = seekNear(bucket, high, low); at < bucket.length && bucket[at] === high && bucket[at + 1] === low; at += 4) {
      const denial = this.#store.get(idOf(bucket[at + 2]!, bucket[at + 3]!))
      if (denial !== undefined && denial.expiresAtMs > clock[0]! && coversCredential(denial.subject, credential)) return denial
    }
    return undefined
  }

  matchAccount(service: string, key: string, nowMs: number): Denial | undefined {
    const { ids, counts, seed } = this.#slots.parts
    if (counts[NUMBERS.account] === 0) return undefined
    hashText64(seed, NUMBERS.account, key)
    const bucket = ids.bucket(high)
    for (let at = seekNear(bucket, high, low); at < bucket.length && bucket[at] === high && bucket[at + 1] === low; at += 4) {
      const denial = this.#store.get(idOf(bucket[at + 2]!, bucket[at + 3]!))
      if (denial === undefined || denial.expiresAtMs <= nowMs) continue
      const { subject } = denial
      if (subject.kind === 'account' && subject.service === service && subject.value === key) return denial
    }
    return undefined
  }

  list(nowMs: number): readonly Denial[] {
    const all: Denial[] = []
    for (const denial of this.#store.all()) if (denial.expiresAtMs > nowMs) all.push(denial)
    return all.sort((a, b) => b.issuedAtMs - a.issuedAtMs || (a.id < b.id ? -1 : 1))
  }
}

/** An index that keeps its denials itself: for few of them. */
export class DenialTable extends DenialLookup {
  static readonly empty: DenialTable = new DenialTable(DenialSlots.empty(), OwnStore.empty)
  readonly #own: DenialSlots
  readonly #kept: OwnStore

  private constructor(slots: DenialSlots, store: OwnStore) {
    super(slots, store)
    this.#own = slots
    this.#kept = store
  }

  /** Adds or replaces the denial of a subject. An `ip` or `cidr` that is no address is left out: it covers nothing. */
  with(denial: Denial): DenialTable {
    const { subject } = denial
    if ((subject.kind === 'ip' || subject.kind === 'cidr') && parsePrefix(subject.value) === undefined) return this
    return new DenialTable(this.#own.with(denial), this.#kept.with(denial))
  }

  /** @param id Of the denial of this subject. */
  without(subject: DenialSubject, id: string): DenialTable {
    if (this.#kept.get(id) === undefined) return this
    return new DenialTable(this.#own.without(subject, id), this.#kept.without(id))
  }
}

function emptyV4({ length }: Prefix): V4Table {
  return { length, mask: maskOf(length), trie: HashTrie.empty(sameNumber) }
}

function emptyV6({ length }: Prefix): V6Table {
  const masks = { a: maskOf(length), b: maskOf(length - 32), c: maskOf(length - 64), d: maskOf(length - 96) }
  return { length, masks, trie: HashTrie.empty(sameV6) }
}

function changed<K>(trie: HashTrie<K, Denial>, hash: number, key: K, denial: Denial | undefined): HashTrie<K, Denial> {
  return denial === undefined ? trie.delete(hash, key) : trie.set(hash, key, denial)
}

/** With `table` in place of `before`: the same tables when a draft changed its own. */
function replaced<T extends { readonly length: number; readonly trie: { readonly size: number } }>(
  tables: readonly T[],
  before: T,
  table: T,
): readonly T[] {
  if (before.trie === table.trie && table.trie.size > 0 && tables.includes(before)) return tables
  const others = tables.filter(({ length }) => length !== table.length)
  return table.trie.size === 0 ? others : [...others, table].sort((a, b) => b.length - a.length)
}

/** An index over the denials; the last of several for one subject stands. */
export function createDenialIndex(denials: Iterable<Denial>): DenialTable {
  let table = DenialTable.empty
  for (const denial of denials) table = table.with(denial)
  return table
}
