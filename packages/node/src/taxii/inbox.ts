/**
 * A collection that clients write: what they post takes effect as a set of indicators of this node, and stays when it is restarted. Every
 * post is a page on disk before it is acknowledged; pages are joined when there are many.
 */
import { randomUUID } from 'node:crypto'
import type { DiskSeal } from '@ringwall/store'
import { pageName, pageNumber, pagesIn, readPage, removePage, writePage } from './pages.ts'
import { formatMoment } from './protocol.ts'
import { ObjectShelf, type ShelfEntry } from './shelf.ts'
import { entryOf, StixInvalid } from './stix-object.ts'

/** Characters of all objects of an inbox. */
export const INBOX_CHARS_MAX = 32 * 1_048_576
const VERSIONS_MAX = 20
const PAGES_MAX = 64
const STATUSES_MAX = 1_000

/** Section 4.3.1. */
export interface TaxiiStatus {
  readonly id: string
  readonly status: 'complete'
  readonly request_timestamp: string
  readonly total_count: number
  readonly success_count: number
  readonly successes: readonly StatusDetail[]
  readonly failure_count: number
  readonly failures: readonly StatusDetail[]
  readonly pending_count: 0
}

interface StatusDetail {
  readonly id: string
  readonly version: string
  readonly message?: string
}

export interface InboxOptions {
  readonly folder: string
  readonly seal: DiskSeal | undefined
  readonly objectsMax: number
  /** There are other objects than before. */
  readonly onChange: () => void
}

export class Inbox {
  readonly shelf = new ObjectShelf()
  readonly #options: InboxOptions
  readonly #statuses = new Map<string, { readonly status: TaxiiStatus; readonly by: string }>()
  #pages: string[] = []
  #next = 1
  #doing: Promise<unknown> = Promise.resolve()

  private constructor(options: InboxOptions) {
    this.#options = options
  }

  /** @throws When a page cannot be read. */
  static async open(options: InboxOptions): Promise<Inbox> {
    const inbox = new Inbox(options)
    const { folder, seal } = options
    const found: ShelfEntry[] = []
    for (const name of await pagesIn(folder)) {
      for (const [added, object] of await readPage(folder, name, seal)) found.push(entryOf(object, added))
      inbox.#pages.push(name)
      inbox.#next = pageNumber(name) + 1
    }
    // After a crash while pages were joined, some stand in two.
    for (const entry of found.sort((a, b) => a.added - b.added))
      if (!inbox.shelf.has(entry.id, entry.version)) inbox.shelf.add(entry)
    return inbox
  }

  /** One after the other: what is acknowledged is on disk. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#doing.then(run)
    this.#doing = turn.catch(() => {})
    return turn
  }

  /** @param by Who posts: nobody else is shown the status. */
  post(objects: readonly unknown[], by: string, nowMs: number): Promise<TaxiiStatus> {
    return this.#inTurn(async () => {
      const fresh: ShelfEntry[] = []
      const successes: StatusDetail[] = []
      const failures: StatusDetail[] = []
      const taken = new Map<string, number>()
      let chars = this.shelf.bytes
      let added = this.shelf.nextAdded(nowMs)
      for (const [index, object] of objects.entries()) {
        const named = nameOf(object)
        try {
          const entry = entryOf(object, added)
          const detail = { id: entry.id, version: entry.versionText }
          const isKnown =
            this.shelf.has(entry.id, entry.version) ||
            fresh.some(({ id, version }) => id === entry.id && version === entry.version)
          if (!isKnown) {
            const versions = this.shelf.versionsOf(entry.id).length + (taken.get(entry.id) ?? 0)
            if (versions >= VERSIONS_MAX) throw new StixInvalid(`expected at most ${VERSIONS_MAX} versions of an object`)
            if (this.shelf.size + fresh.length >= this.#options.objectsMax || chars + entry.text.length > INBOX_CHARS_MAX)
              throw new StixInvalid('the collection is full')
            taken.set(entry.id, (taken.get(entry.id) ?? 0) + 1)
            chars += entry.text.length
            added += 1
            fresh.push(entry)
          }
          successes.push(detail)
        } catch (error) {
          if (!(error instanceof StixInvalid)) throw error
          failures.push({ ...named, message: `/objects/${index}: ${error.message}` })
        }
      }
      if (fresh.length > 0) {
        await this.#write(fresh)
        for (const entry of fresh) this.shelf.add(entry)
        this.#options.onChange()
      }
      return this.#remember(successes, failures, by, nowMs)
    })
  }

  /** Of one object, all versions that fit. @returns How many there were. */
  remove(id: string, fits: (entry: ShelfEntry) => boolean): Promise<number> {
    return this.#inTurn(async () => {
      const gone = new Set(this.shelf.versionsOf(id).filter(fits))
      if (gone.size === 0) return 0
      await this.#join(this.shelf.entries().filter((entry) => !gone.has(entry)))
      this.shelf.remove((entry) => gone.has(entry))
      this.#options.onChange()
      return gone.size
    })
  }

  status(id: string, by: string): TaxiiStatus | undefined {
    const found = this.#statuses.get(id)
    return found?.by === by ? found.status : undefined
  }

  #remember(successes: readonly StatusDetail[], failures: readonly StatusDetail[], by: string, nowMs: number): TaxiiStatus {
    const status: TaxiiStatus = {
      id: randomUUID(),
      status: 'complete',
      request_timestamp: formatMoment(nowMs * 1_000),
      total_count: successes.length + failures.length,
      success_count: successes.length,
      successes,
      failure_count: failures.length,
      failures,
      pending_count: 0,
    }
    this.#statuses.set(status.id, { status, by })
    if (this.#statuses.size > STATUSES_MAX) this.#statuses.delete(this.#statuses.keys().next().value as string)
    return status
  }

  async #write(entries: readonly ShelfEntry[]): Promise<void> {
    if (this.#pages.length >= PAGES_MAX) return this.#join([...this.shelf.entries(), ...entries])
    const name = pageName(this.#next)
    await writePage(this.#options.folder, name, entries, this.#options.seal)
    this.#next += 1
    this.#pages.push(name)
  }

  /** One page in place of all: the new one first, so that a crash leaves too much and never too little. */
  async #join(entries: readonly ShelfEntry[]): Promise<void> {
    const { folder, seal } = this.#options
    const [before, name] = [this.#pages, pageName(this.#next)]
    await writePage(folder, name, entries, seal)
    this.#next += 1
    this.#pages = [name]
    for (const former of before) await removePage(folder, former)
  }
}

/** For the status of what could not be read; nothing of it is repeated but what might be an id. */
function nameOf(object: unknown): StatusDetail {
  const { id, modified } = (typeof object === 'object' && object !== null ? object : {}) as Readonly<Record<string, unknown>>
  const word = (value: unknown): string => (typeof value === 'string' && /^[\w:.-]{1,300}$/.test(value) ? value : '')
  return { id: word(id), version: word(modified) }
}
