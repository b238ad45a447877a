/** Lists of objects and versions, as S3 pages through them. Pure. */
import type { ObjectEntry, ObjectVersion } from '@ringwall/ring'

export interface ListAsked {
  readonly prefix: string
  readonly delimiter: string
  /** Keys after this one. */
  readonly after: string
  /** And what `itemsOf` has left of this one itself. */
  readonly isWithin?: boolean
  readonly most: number
}

export interface Listed<Item> {
  readonly items: readonly Item[]
  /** Beginnings that several keys have in common, up to the delimiter. */
  readonly common: readonly string[]
  readonly isTruncated: boolean
  /** Key, or common beginning, that the next page follows; empty when this is the last. */
  readonly next: string
}

/** UTF-8 order, which is that of code points. */
function isAfter(key: string, than: string): boolean {
  return Buffer.compare(Buffer.from(key), Buffer.from(than)) > 0
}

/** @param entries In the order of their keys. @param itemsOf What of an entry is listed. */
export function list<Item>(
  entries: readonly ObjectEntry[],
  { prefix, delimiter, after, isWithin = false, most }: ListAsked,
  itemsOf: (entry: ObjectEntry) => readonly Item[],
): Listed<Item> {
  const items: Item[] = []
  const common: string[] = []
  let last = ''
  for (const entry of entries.slice(firstAfter(entries, after, isWithin))) {
    const { key } = entry
    if (!key.startsWith(prefix)) {
      if (isAfter(key, prefix)) break
      continue
    }
    const of = itemsOf(entry)
    if (of.length === 0) continue
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    const shared = at < 0 ? undefined : key.slice(0, at + delimiter.length)
    if (shared !== undefined && (shared === common.at(-1) || (after.startsWith(shared) && after !== ''))) continue
    for (const item of shared === undefined ? of : of.slice(0, 1)) {
      if (items.length + common.length >= most) return { items, common, isTruncated: most > 0, next: last }
      if (shared === undefined) items.push(item)
      else common.push(shared)
      last = shared ?? key
    }
  }
  return { items, common, isTruncated: false, next: '' }
}

/** By bisection. */
function firstAfter(entries: readonly ObjectEntry[], after: string, isWithin: boolean): number {
  if (after === '') return 0
  let [low, high] = [0, entries.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const { key } = entries[middle] as ObjectEntry
    if (isAfter(key, after) || (isWithin && key === after)) high = middle
    else low = middle + 1
  }
  return low
}

/** As clients see the id of a version. */
export const shownVersion = ({ id, plain }: ObjectVersion): string => (plain ? 'null' : id)
