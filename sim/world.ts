/** Time and network of a simulated ring: an ordered list of things that will happen. */
import type { Random } from './random.ts'

interface Planned {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

/** How the network misbehaves until it heals. */
export interface Weather {
  readonly lossShare: number
  readonly duplicateShare: number
  readonly delayMsMax: number
  readonly healsAtMs: number
}

export class World {
  readonly random: Random
  readonly weather: Weather
  nowMs = 0
  #order = 0
  readonly #heap: Planned[] = []
  /** Which side of the cut each node is on; all on one when there is none. */
  sides: readonly number[] = []

  constructor(random: Random, weather: Weather) {
    this.random = random
    this.weather = weather
  }

  after(ms: number, run: () => void): void {
    const heap = this.#heap
    const planned: Planned = { atMs: this.nowMs + Math.max(0, ms), order: this.#order++, run }
    let at = heap.length
    heap.push(planned)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as Planned
      if (!before(planned, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = planned
  }

  /** Carries something from one node to another, or loses it. */
  carry(from: number, to: number, deliver: () => void): void {
    const { lossShare, duplicateShare, delayMsMax, healsAtMs } = this.weather
    const healed = this.nowMs >= healsAtMs
    const cut = !healed && this.sides[from] !== this.sides[to]
    if (cut || (!healed && this.random.chance(lossShare))) return
    const longest = healed ? 20 : delayMsMax
    this.after(this.random.next() * longest, deliver)
    if (!healed && this.random.chance(duplicateShare)) this.after(this.random.next() * longest, deliver)
  }

  /** Runs until then, or until `done`. */
  run(untilMs: number, done: () => boolean): void {
    const heap = this.#heap
    for (let steps = 0; heap.length > 0; steps += 1) {
      const next = heap[0] as Planned
      if (next.atMs > untilMs || (steps % 64 === 0 && done())) return
      const last = heap.pop() as Planned
      if (heap.length > 0) this.#sink(last)
      this.nowMs = next.atMs
      next.run()
    }
  }

  /** Puts `planned` where the first one was, and down to its place. */
  #sink(planned: Planned): void {
    const heap = this.#heap
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Planned, heap[child] as Planned)) child += 1
      const below = heap[child] as Planned
      if (!before(below, planned)) break
      heap[at] = below
      at = child
    }
    heap[at] = planned
  }
}

function before(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
