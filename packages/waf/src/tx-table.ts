/**
 * Transaction variables of one request: those that every request of a rule set begins with, shared by all of them, and what this
 * one's rules changed.
 */
export class TxTable {
  readonly #base: ReadonlyMap<string, string>
  readonly #own = new Map<string, string>()
  /** Of the shared ones. */
  #removed: Set<string> | undefined
  #size: number
  /** Finds out what was captured last. */
  #findCaptures: (() => void) | undefined

  constructor(base: ReadonlyMap<string, string>) {
    this.#base = base
    this.#size = base.size
  }

  get size(): number {
    return this.#size
  }

  /** Captures, whose names are digits, are found out when somebody asks for one, or for all. */
  captureLater(find: () => void): void {
    this.#findCaptures = find
  }

  #catchUp(): void {
    const find = this.#findCaptures
    this.#findCaptures = undefined
    find?.()
  }

  get(name: string): string | undefined {
    if (name.length === 1) this.#catchUp()
    const own = this.#own.get(name)
    if (own !== undefined) return own
    return this.#removed?.has(name) === true ? undefined : this.#base.get(name)
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  set(name: string, value: string): void {
    if (name.length === 1) this.#catchUp()
    if (!this.has(name)) this.#size += 1
    this.#own.set(name, value)
  }

  delete(name: string): void {
    if (!this.has(name)) return
    this.#size -= 1
    this.#own.delete(name)
    if (this.#base.has(name)) {
      this.#removed ??= new Set()
      this.#removed.add(name)
    }
  }

  /** Shared ones first. */
  entries(): readonly (readonly [name: string, value: string])[] {
    return this.matching(new NameSelection(() => true))
  }

  matching(selection: NameSelection): readonly (readonly [name: string, value: string])[] {
    this.#catchUp()
    let found: (readonly [string, string])[] | undefined
    for (const name of selection.namesIn(this.#base)) {
      const value = this.get(name)
      if (value !== undefined) (found ??= []).push([name, value])
    }
    for (const [name, value] of this.#own) if (!this.#base.has(name) && selection.has(name)) (found ??= []).push([name, value])
    return found ?? NOTHING
  }
}

const NOTHING: readonly (readonly [string, string])[] = []

/** Names whose answer is remembered; rules name variables after what a request holds, too. */
const NAMES_MAX = 256

/** Names by a test; which of the shared ones pass, and of the first others, is found out once. */
export class NameSelection {
  readonly #known = new Map<string, boolean>()
  readonly #selects: (name: string) => boolean
  #base: ReadonlyMap<string, string> | undefined
  #names: readonly string[] = []

  constructor(selects: (name: string) => boolean) {
    this.#selects = selects
  }

  has(name: string): boolean {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const selected = this.#selects(name)
    if (this.#known.size < NAMES_MAX) this.#known.set(name, selected)
    return selected
  }

  namesIn(base: ReadonlyMap<string, string>): readonly string[] {
    if (this.#base !== base) {
      this.#base = base
      this.#names = [...base.keys()].filter(this.#selects)
    }
    return this.#names
  }
}
