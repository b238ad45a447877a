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
    heap.push({ atMs: this.nowMs + Math.max(0, ms), order: this.#order++, run })
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1
      if (!before(heap[at] as Planned, heap[parent] as Planned)) break
      ;[heap[at], heap[parent]] = [heap[parent] as Planned, heap[at] as Planned]
      at = parent
    }
  }

  /** Carries something from one node to another, or loses it. */
  carry(from: number, to: number, deliver: () => void): void {
    const { lossShare, duplicateShare, delayMsMax, healsAtMs } = this.weather
    const healed = this.nowMs >= healsAtMs
    const cut = !healed && this.sides[from] !== this.sides[to]
    if (cut || (!healed && this.random.chance(lossShare))) return
    const delay = (): number => this.random.next() * (healed ? 20 : delayMsMax)
    this.after(delay(), deliver)
    if (!healed && this.random.chance(duplicateShare)) this.after(delay(), deliver)
  }

  /** Runs until then, or until `done`. */
  run(untilMs: number, done: () => boolean): void {
    const heap = this.#heap
    for (let steps = 0; heap.length > 0; steps += 1) {
      const next = heap[0] as Planned
      if (next.atMs > untilMs || (steps % 64 === 0 && done())) return
      const last = heap.pop() as Planned
      if (heap.length > 0) {
        heap[0] = last
        this.#sink()
      }
      this.nowMs = next.atMs
      next.run()
    }
  }

  #sink(): void {
    const heap = this.#heap
    for (let at = 0; ; ) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && before(heap[child] as Planned, heap[least] as Planned)) least = child
      }
      if (least === at) return
      ;[heap[at], heap[least]] = [heap[least] as Planned, heap[at] as Planned]
      at = least
    }
  }
}

function before(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
