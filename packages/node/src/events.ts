/** What happened on this node, for people: the last 1,000 lines, and whoever listens. */

export type EventKind =
  | 'block'
  | 'denial'
  | 'policy'
  | 'link'
  | 'finding'
  | 'incident'
  | 'approval'
  | 'upstream'
  | 'ledger'
  | 'node'
  | 'key'
  | 'cache'
  | 'person'
  | 'vault'

export interface NodeEvent {
  readonly atMs: number
  readonly kind: EventKind
  readonly level: 'info' | 'warn' | 'bad'
  readonly what: string
  readonly node: string
}

const KEPT_MAX = 1_000

export class EventLog {
  readonly #node: string
  readonly #events: NodeEvent[] = []
  readonly #listeners = new Set<(event: NodeEvent) => void>()

  constructor(node: string) {
    this.#node = node
  }

  add(kind: EventKind, level: NodeEvent['level'], what: string): void {
    const event: NodeEvent = { atMs: Date.now(), kind, level, what, node: this.#node }
    this.#events.push(event)
    if (this.#events.length > KEPT_MAX) this.#events.shift()
    for (const listener of this.#listeners) listener(event)
    // Blocks come every few seconds for ever; the log on disk is for what somebody would look up.
    if (kind !== 'block' || level !== 'info')
      process.stdout.write(`${new Date(event.atMs).toISOString()} ${level.padEnd(4)} ${kind}: ${what}\n`)
  }

  /** Newest first. */
  last(limit: number): readonly NodeEvent[] {
    return this.#events.slice(-limit).reverse()
  }

  listen(listener: (event: NodeEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
