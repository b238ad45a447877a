/**
 * Finds the denial that covers an address, token, subject or account. Persistent: a block's changes make a new index
 * that shares the rest, so views of different heights stand side by side.
 */
import { maskOf, type Prefix, parsePrefix, scanAddress, scanned } from './address.ts'
import { HashTrie, hashText, mix32 } from './hash-trie.ts'
import type { Denial, DenialIndex, DenialSubject } from './types.ts'

interface V6Key {
  a: number
  b: number
  c: number
  d: number
}

type V4Table = { readonly length: number; readonly mask: number; readonly trie: HashTrie<number, Denial> }
type V6Table = { readonly length: number; readonly masks: V6Key; readonly trie: HashTrie<V6Key, Denial> }

const sameText = (a: string, b: string) => a === b
const sameNumber = (a: number, b: number) => a === b
const sameV6 = (x: V6Key, y: V6Key) => x.a === y.a && x.b === y.b && x.c === y.c && x.d === y.d
const hashV6 = (key: V6Key) => mix32(mix32(mix32(mix32(key.a) + key.b) + key.c) + key.d)

/** Reused by each lookup: nothing is allocated, and nothing yields in between. */
const sought: V6Key = { a: 0, b: 0, c: 0, d: 0 }

interface Parts {
  /** Most specific first; only lengths that occur. */
  readonly v4: readonly V4Table[]
  readonly v6: readonly V6Table[]
  readonly texts: HashTrie<string, Denial>
  readonly size: number
}

/** `t`, `s` or `a` and the value: one table for all that is looked up by text. */
function textKey(subject: DenialSubject): string {
  if (subject.kind === 'account') return `a${subject.service}\n${subject.value}`
  return (subject.kind === 'token' ? 't' : 's') + subject.value
}

export class DenialTable implements DenialIndex {
  static readonly empty: DenialTable = new DenialTable({ v4: [], v6: [], texts: HashTrie.empty(sameText), size: 0 })
  #parts: Parts
  readonly #isDraft: boolean

  private constructor(parts: Parts, isDraft = false) {
    this.#parts = parts
    this.#isDraft = isDraft
  }

  /** The same denials, to be changed in place by `with` and `without`, which answer with the draft itself. */
  draft(): DenialTable {
    const { v4, v6, texts, size } = this.#parts
    const parts = {
      v4: v4.map((table) => ({ ...table, trie: table.trie.draft() })),
      v6: v6.map((table) => ({ ...table, trie: table.trie.draft() })),
      texts: texts.draft(),
      size,
    }
    return new DenialTable(parts, true)
  }

  /** The denials of a draft, never to change again. */
  sealed(): DenialTable {
    if (!this.#isDraft) return this
    const { v4, v6, texts, size } = this.#parts
    return new DenialTable({
      v4: v4.map((table) => ({ ...table, trie: table.trie.sealed() })),
      v6: v6.map((table) => ({ ...table, trie: table.trie.sealed() })),
      texts: texts.sealed(),
      size,
    })
  }

  get size(): number {
    return this.#parts.size
  }

  /** Adds or replaces the denial of a subject. An `ip` or `cidr` that is no address is left out: it covers nothing. */
  with(denial: Denial): DenialTable {
    return this.#change(denial.subject, denial)
  }

  without(subject: DenialSubject): DenialTable {
    return this.#change(subject, undefined)
  }

  #change(subject: DenialSubject, denial: Denial | undefined): DenialTable {
    const parts = this.#parts
    if (subject.kind !== 'ip' && subject.kind !== 'cidr') {
      const key = textKey(subject)
      const before = parts.texts.size
      const texts = changed(parts.texts, hashText(key), key, denial)
      return this.#with({ ...parts, texts, size: parts.size + texts.size - before })
    }
    const prefix = parsePrefix(subject.value)
    if (prefix === undefined) return this
    if (prefix.version === 4) {
      const table = parts.v4.find(({ length }) => length === prefix.length) ?? emptyV4(prefix)
      const before = table.trie.size
      const key = prefix.words[0]!
      const trie = changed(table.trie, mix32(key), key, denial)
      if (trie === table.trie && trie.size > 0) {
        const { v4, v6, texts, size } = parts
        return this.#with({ v4, v6, texts, size: size + trie.size - before })
      }
      return this.#with({ ...parts, v4: replaced(parts.v4, table, { ...table, trie }), size: parts.size + trie.size - before })
    }
    const table = parts.v6.find(({ length }) => length === prefix.length) ?? emptyV6(prefix)
    const before = table.trie.size
    const [a, b, c, d] = prefix.words as readonly [number, number, number, number]
    const key = { a, b, c, d }
    const trie = changed(table.trie, hashV6(key), key, denial)
    return this.#with({ ...parts, v6: replaced(parts.v6, table, { ...table, trie }), size: parts.size + trie.size - before })
  }

  #with(parts: Parts): DenialTable {
    if (!this.#isDraft) return new DenialTable(parts)
    this.#parts = parts
    return this
  }

  matchAddress(address: string, nowMs: number): Denial | undefined {
    const { v4, v6 } = this.#parts
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

  matchToken(jti: string, nowMs: number): Denial | undefined {
    return this.#matchText(`t${jti}`, nowMs)
  }

  matchSubject(sub: string, nowMs: number): Denial | undefined {
    return this.#matchText(`s${sub}`, nowMs)
  }

  matchAccount(service: string, key: string, nowMs: number): Denial | undefined {
    return this.#matchText(`a${service}\n${key}`, nowMs)
  }

  #matchText(key: string, nowMs: number): Denial | undefined {
    const { texts } = this.#parts
    if (texts.size === 0) return undefined
    const denial = texts.get(hashText(key), key)
    return denial !== undefined && denial.expiresAtMs > nowMs ? denial : undefined
  }

  list(nowMs: number): readonly Denial[] {
    const { v4, v6, texts } = this.#parts
    const all: Denial[] = []
    for (const trie of [...v4.map((table) => table.trie), ...v6.map((table) => table.trie), texts]) {
      for (const denial of trie.values()) if (denial.expiresAtMs > nowMs) all.push(denial)
    }
    return all.sort((a, b) => b.issuedAtMs - a.issuedAtMs || (a.id < b.id ? -1 : 1))
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
