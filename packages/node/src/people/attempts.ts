/** How often something was done under a name within a window, for a bounded number of names: beyond it the name that came first is forgotten. */
const NAMES_MAX = 10_000

export class Attempts {
  readonly #most: number
  readonly #windowMs: number
  readonly #counts = new Map<string, { readonly count: number; readonly untilMs: number }>()

  /** @param most Of one name within the window. */
  constructor(most: number, windowMs: number) {
    this.#most = most
    this.#windowMs = windowMs
  }

  /** Seconds until the name has its turn again; 0: now. */
  waitS(name: string, nowMs: number): number {
    const held = this.#counts.get(name)
    if (held === undefined || held.untilMs <= nowMs || held.count < this.#most) return 0
    return Math.ceil((held.untilMs - nowMs) / 1_000)
  }

  add(name: string, nowMs: number): void {
    const before = this.#counts.get(name)
    const goesOn = before !== undefined && before.untilMs > nowMs
    this.#counts.delete(name)
    this.#counts.set(name, goesOn ? { ...before, count: before.count + 1 } : { count: 1, untilMs: nowMs + this.#windowMs })
    if (this.#counts.size > NAMES_MAX) this.#counts.delete(this.#counts.keys().next().value as string)
  }

  /** Adds one, unless there are as many as may be. */
  take(name: string, nowMs: number): boolean {
    if (this.waitS(name, nowMs) > 0) return false
    this.add(name, nowMs)
    return true
  }

  forget(name: string): void {
    this.#counts.delete(name)
  }
}
