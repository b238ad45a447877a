/** Persistent collections: what `initcol` opens. Plain state without a clock: every call is told the time. */
import { detached } from './bytes.ts'
import { COLLECTION_ENTRIES_MAX, COLLECTIONS_MAX } from './limits.ts'
import { integer } from './operators/numbers.ts'
import type { CollectionStore, PersistentCollection } from './types.ts'

interface Held {
  value: string
  setAtMs: number
  expiresAtMs: number
}

const TIMEOUT_S = 3_600

class Collection implements PersistentCollection {
  readonly #held = new Map<string, Held>()
  readonly #createdAtMs: number
  #timeoutMs = TIMEOUT_S * 1_000
  #changedAtMs: number
  #updates = 0

  constructor(nowMs: number) {
    this.#createdAtMs = nowMs
    this.#changedAtMs = nowMs
  }

  isStale(nowMs: number): boolean {
    return nowMs >= this.#changedAtMs + this.#timeoutMs
  }

  get(name: string, nowMs: number): string | undefined {
    const held = this.#held.get(name)
    if (held === undefined) return this.#builtIn(name, nowMs)
    if (nowMs < held.expiresAtMs) return held.value
    this.#held.delete(name)
    return undefined
  }

  /** What every collection says about itself (ModSecurity's reference, "Persistent Storage"). */
  #builtIn(name: string, nowMs: number): string | undefined {
    switch (name) {
      case 'create_time':
        return String(Math.floor(this.#createdAtMs / 1_000))
      case 'last_update_time':
        return String(Math.floor(this.#changedAtMs / 1_000))
      case 'timeout':
        return String(this.#timeoutMs / 1_000)
      case 'update_counter':
        return String(this.#updates)
      case 'update_rate': {
        const minutes = Math.max(1, (nowMs - this.#createdAtMs) / 60_000)
        return String(Math.floor(this.#updates / minutes))
      }
      case 'is_new':
        return this.#updates === 0 ? '1' : '0'
      default:
        return undefined
    }
  }

  entries(nowMs: number): readonly (readonly [string, string])[] {
    const live: (readonly [string, string])[] = []
    for (const [name, { value, expiresAtMs }] of this.#held) if (nowMs < expiresAtMs) live.push([name, value])
    return live
  }

  set(name: string, value: string, nowMs: number): void {
    const before = this.#held.get(name)
    if (before === undefined && this.#held.size >= COLLECTION_ENTRIES_MAX) return
    this.#changedAtMs = nowMs
    this.#updates += 1
    const expiresAtMs = before === undefined || nowMs >= before.expiresAtMs ? Number.POSITIVE_INFINITY : before.expiresAtMs
    this.#held.set(detached(name), { value: detached(value), setAtMs: nowMs, expiresAtMs })
  }

  delete(name: string): void {
    this.#held.delete(name)
  }

  expire(name: string, seconds: number, nowMs: number): void {
    const held = this.#held.get(name)
    if (held !== undefined) held.expiresAtMs = nowMs + seconds * 1_000
  }

  deprecate(name: string, amount: number, seconds: number, nowMs: number): void {
    const held = this.#held.get(name)
    if (held === undefined) return
    const steps = Math.floor((nowMs - held.setAtMs) / (seconds * 1_000))
    if (steps <= 0) return
    held.value = String(Math.max(0, integer(held.value) - steps * amount))
    held.setAtMs += steps * seconds * 1_000
  }

  timeout(seconds: number): void {
    this.#timeoutMs = seconds * 1_000
  }
}

/**
 * A store in memory for one process. At most `COLLECTIONS_MAX` collections: beyond it the one that was opened longest ago
 * goes, so a flood of addresses costs memory only up to the bound.
 */
export function createCollectionStore(collectionsMax: number = COLLECTIONS_MAX): CollectionStore {
  const held = new Map<string, Collection>()
  return {
    get size() {
      return held.size
    },
    open(kind, key, nowMs) {
      const name = `${kind}\n${key}`
      let collection = held.get(name)
      if (collection === undefined || collection.isStale(nowMs)) collection = new Collection(nowMs)
      held.delete(name)
      held.set(name, collection)
      if (held.size > collectionsMax) held.delete(held.keys().next().value as string)
      return collection
    },
  }
}
