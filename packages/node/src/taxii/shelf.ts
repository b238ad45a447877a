/** The objects of a collection, in all their versions, in the order in which they were added. Pure: time is an argument. */
import { formatMoment, type ObjectFilter } from './protocol.ts'

/** One version of an object. */
export interface ShelfEntry {
  readonly id: string
  readonly type: string
  readonly specVersion: string
  /** Microseconds of `modified`, else of `created`, else of when it was added. */
  readonly version: number
  /** As the object says it: that may be with less digits. */
  readonly versionText: string
  /** Microseconds; no two of a shelf are the same, so that a moment is a place in it. */
  readonly added: number
  /** Its JSON. */
  readonly text: string
}

export interface ShelfPage {
  readonly entries: readonly ShelfEntry[]
  readonly more: boolean
}

/** Of an answer; one object is always told. */
const PAGE_BYTES_MAX = 4 * 1_048_576

export class ObjectShelf {
  /** In order of `added`. */
  #entries: ShelfEntry[] = []
  /** In order of `version`. */
  readonly #byId = new Map<string, readonly ShelfEntry[]>()
  #bytes = 0
  #last = 0

  get size(): number {
    return this.#entries.length
  }

  /** Characters of its objects. */
  get bytes(): number {
    return this.#bytes
  }

  entries(): readonly ShelfEntry[] {
    return this.#entries
  }

  versionsOf(id: string): readonly ShelfEntry[] {
    return this.#byId.get(id) ?? []
  }

  has(id: string, version: number): boolean {
    return this.versionsOf(id).some((entry) => entry.version === version)
  }

  /** The next place, not before `nowMs`. */
  nextAdded(nowMs: number): number {
    return Math.max(this.#last + 1, nowMs * 1_000)
  }

  /** @param entry Its `added` is from `nextAdded`, or later than all that there is. */
  add(entry: ShelfEntry): void {
    this.#last = entry.added
    this.#entries.push(entry)
    this.#bytes += entry.text.length
    this.#byId.set(
      entry.id,
      [...this.versionsOf(entry.id), entry].sort((a, b) => a.version - b.version),
    )
  }

  /** Takes away all that fit. @returns How many. */
  remove(fits: (entry: ShelfEntry) => boolean): number {
    const gone = this.#entries.filter(fits)
    if (gone.length === 0) return 0
    const isGone = new Set(gone)
    this.#entries = this.#entries.filter((entry) => !isGone.has(entry))
    for (const { id, text } of gone) {
      this.#bytes -= text.length
      const left = this.versionsOf(id).filter((entry) => !isGone.has(entry))
      if (left.length === 0) this.#byId.delete(id)
      else this.#byId.set(id, left)
    }
    return gone.length
  }

  select(filter: ObjectFilter): ShelfPage {
    const { ids, types, specVersions, versions, after, limit } = filter
    const entries: ShelfEntry[] = []
    let bytes = 0
    for (let at = this.#firstAfter(after); at < this.#entries.length; at += 1) {
      const entry = this.#entries[at]!
      if (ids?.has(entry.id) === false || types?.has(entry.type) === false) continue
      if (specVersions?.has(entry.specVersion) === false || !this.#isOf(entry, versions)) continue
      bytes += entry.text.length
      if (entries.length === limit || (entries.length > 0 && bytes > PAGE_BYTES_MAX)) return { entries, more: true }
      entries.push(entry)
    }
    return { entries, more: false }
  }

  #isOf(entry: ShelfEntry, versions: ObjectFilter['versions']): boolean {
    if (versions.has('all') || versions.has(entry.version)) return true
    const all = this.versionsOf(entry.id)
    return (versions.has('last') && all.at(-1) === entry) || (versions.has('first') && all[0] === entry)
  }

  /** By halves: pollers ask for the end of a long list. */
  #firstAfter(after: number): number {
    let [from, to] = [0, this.#entries.length]
    while (from < to) {
      const middle = (from + to) >>> 1
      if (this.#entries[middle]!.added <= after) from = middle + 1
      else to = middle
    }
    return from
  }
}

/** When the first and the last of a page were added: `X-TAXII-Date-Added-First` and `-Last`. */
export function addedHeaders(entries: readonly ShelfEntry[]): Readonly<Record<string, string>> {
  const [first, last] = [entries[0], entries.at(-1)]
  if (first === undefined || last === undefined) return {}
  return {
    'x-taxii-date-added-first': formatMoment(first.added),
    'x-taxii-date-added-last': formatMoment(last.added),
  }
}
