/**
 * Answers that are kept, within a budget of bytes. Pure.
 *
 * Evicted is what has not been asked for for longest, first of what was asked for only once: a scan over many addresses drives out
 * other scans, not what is in use (segmented LRU, Karedla et al., "Caching strategies to improve disk system performance", 1994).
 */
import type { KeepingTerms } from './cache-terms.ts'

/** Of the budget, for what was asked for more than once. */
const PROTECTED_SHARE = 0.8
/** An answer, beside its text: what the engine takes for it, generously. */
const ENTRY_OVERHEAD = 1_024
const VARIANTS_MAX = 16

/** One kept answer. */
export interface Stored {
  readonly key: string
  /** The place of the policy that let it pass. */
  readonly place: string
  readonly variant: string
  readonly status: number
  readonly statusText: string
  /** Names, in lower case, and values in turn, without `age`. */
  fields: readonly string[]
  readonly body: Buffer
  terms: KeepingTerms
  /** Monotonic milliseconds of when it was last known to be right. */
  atMs: number
  /** Beside its body and head: forms of it made later. */
  extraBytes: number
  /** Its body, compressed, by coding; or on the way there. */
  forms?: Map<string, Buffer | Promise<Buffer | undefined>>
  /** Answers under way that read from it: its bytes are in use until they have ended. */
  readers: number
  state: 'once' | 'often' | 'gone'
}

export class CacheStore {
  readonly #bytesMax: number
  readonly #byKey = new Map<string, Stored[]>()
  /** The longest unused first. */
  readonly #once = new Set<Stored>()
  readonly #often = new Set<Stored>()
  #bytes = 0
  #oftenBytes = 0
  #entries = 0
  evictions = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** In use, what has been evicted and is still being sent among it. */
  get bytes(): number {
    return this.#bytes
  }

  get bytesMax(): number {
    return this.#bytesMax
  }

  get entries(): number {
    return this.#entries
  }

  /** All answers of one address, the newest last. */
  of(key: string): readonly Stored[] {
    return this.#byKey.get(key) ?? NOTHING
  }

  /** Takes the place of the variant that there is. Returns whether there was room. */
  add(stored: Stored): boolean {
    const size = sizeOf(stored)
    const known = this.#byKey.get(stored.key)
    const same = known?.find(({ variant, place }) => variant === stored.variant && place === stored.place)
    if (same !== undefined) this.drop(same)
    if (!this.#makeRoom(size)) return false
    const list = this.#byKey.get(stored.key) ?? []
    if (list.length >= VARIANTS_MAX) this.#evict(list[0]!)
    // Evicting may have taken the list's last.
    const current = this.#byKey.get(stored.key) ?? []
    current.push(stored)
    this.#byKey.set(stored.key, current)
    stored.state = 'once'
    this.#once.add(stored)
    this.#bytes += size
    this.#entries++
    return true
  }

  /** It was of use. */
  touch(stored: Stored): void {
    if (stored.state === 'gone') return
    if (stored.state === 'once') {
      this.#once.delete(stored)
      this.#oftenBytes += sizeOf(stored)
      stored.state = 'often'
    } else this.#often.delete(stored)
    this.#often.add(stored)
    const bound = this.#bytesMax * PROTECTED_SHARE
    for (const oldest of this.#often) {
      if (this.#oftenBytes <= bound || oldest === stored) break
      this.#often.delete(oldest)
      this.#oftenBytes -= sizeOf(oldest)
      oldest.state = 'once'
      this.#once.add(oldest)
    }
  }

  /** Another head, or another form of its body beside it. Returns whether there is room. */
  change(stored: Stored, change: { readonly fields?: readonly string[]; readonly extraBytes?: number }): boolean {
    if (stored.state === 'gone') return false
    const before = sizeOf(stored)
    const after =
      before + (change.extraBytes ?? 0) + (change.fields === undefined ? 0 : textSize(change.fields) - textSize(stored.fields))
    stored.readers++
    const fits = after <= before || this.#makeRoom(after - before)
    stored.readers--
    // Room may have been made of it.
    if ((stored.state as Stored['state']) === 'gone') {
      if (stored.readers === 0) this.#bytes -= before
      return false
    }
    if (!fits) return false
    if (change.fields !== undefined) stored.fields = change.fields
    stored.extraBytes += change.extraBytes ?? 0
    this.#bytes += after - before
    if (stored.state === 'often') this.#oftenBytes += after - before
    return true
  }

  drop(stored: Stored): void {
    if (stored.state === 'gone') return
    if (stored.state === 'often') {
      this.#often.delete(stored)
      this.#oftenBytes -= sizeOf(stored)
    } else this.#once.delete(stored)
    stored.state = 'gone'
    this.#entries--
    const list = this.#byKey.get(stored.key)!
    list.splice(list.indexOf(stored), 1)
    if (list.length === 0) this.#byKey.delete(stored.key)
    if (stored.readers === 0) this.#bytes -= sizeOf(stored)
  }

  /** Returns how many answers. */
  dropAll(key: string): number {
    const all = [...this.of(key)]
    for (const stored of all) this.drop(stored)
    return all.length
  }

  dropWhere(isMeant: (stored: Stored) => boolean): void {
    for (const list of [...this.#byKey.values()]) for (const stored of [...list]) if (isMeant(stored)) this.drop(stored)
  }

  clear(): void {
    this.dropWhere(() => true)
  }

  /** To be told when an answer is being sent from it, and when that has ended. */
  hold(stored: Stored): void {
    stored.readers++
  }

  release(stored: Stored): void {
    stored.readers--
    if (stored.state === 'gone' && stored.readers === 0) this.#bytes -= sizeOf(stored)
  }

  /** Bytes of bodies that are on their way in count as well: they are the next to be here. Returns whether there is room. */
  reserve(bytes: number): boolean {
    if (!this.#makeRoom(bytes)) return false
    this.#bytes += bytes
    return true
  }

  /** What was counted until now goes on counting, as something else. */
  retain(bytes: number): void {
    this.#bytes += bytes
  }

  unreserve(bytes: number): void {
    this.#bytes -= bytes
  }

  #makeRoom(bytes: number): boolean {
    // What can never fit must not drive out what does.
    if (bytes > this.#bytesMax / 2) return false
    while (this.#bytes + bytes > this.#bytesMax) {
      const oldest = first(this.#once) ?? first(this.#often)
      if (oldest === undefined) return false
      this.#evict(oldest)
    }
    return true
  }

  #evict(stored: Stored): void {
    this.evictions++
    this.drop(stored)
  }
}

const NOTHING: readonly Stored[] = []

function first(set: ReadonlySet<Stored>): Stored | undefined {
  for (const stored of set) return stored
  return undefined
}

function textSize(fields: readonly string[]): number {
  let size = 0
  // A name and a value are an object each.
  for (const text of fields) size += text.length + 24
  return size
}

export function sizeOf({ key, body, fields, extraBytes }: Stored): number {
  return ENTRY_OVERHEAD + key.length * 2 + body.length + textSize(fields) + extraBytes
}
