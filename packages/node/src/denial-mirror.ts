/** A list of denials as others know it, and what to tell them when it has changed. Pure. */
import type { Denial } from '@ringwall/ring'
import type { DenialNews } from './worker-messages.ts'

export class DenialMirror {
  #known = new Map<string, Denial>()

  get size(): number {
    return this.#known.size
  }

  get all(): readonly Denial[] {
    return [...this.#known.values()]
  }

  /** @param now The whole list. @returns undefined when it says nothing new. */
  follow(now: readonly Denial[]): DenialNews | undefined {
    const known = this.#known
    const next = new Map(now.map((denial) => [denial.id, denial]))
    const added = now.filter((denial) => known.get(denial.id) !== denial)
    const dropped = [...known.values()].filter(({ id }) => !next.has(id)).map(({ id, subject }) => ({ id, subject }))
    this.#known = next
    return added.length === 0 && dropped.length === 0 ? undefined : { added, dropped }
  }
}
