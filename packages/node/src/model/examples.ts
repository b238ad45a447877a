/**
 * What a node trains on: features of its own requests and what became of them, an even sample of all since it started (Vitter's algorithm R, 1985). Requests
 * themselves are not kept. In memory only; it never leaves.
 */
import { type Example, type FeatureVector, featuresOf, type ModelRequest } from '@ringwall/detect'

/** Of attacks and of honest requests, each. A step over all of them takes some milliseconds. */
const KEPT_MAX = 2_000
/** By operators. */
const LABELLED_MAX = 500

class Sample {
  readonly kept: FeatureVector[] = []
  seen = 0

  offer(features: () => FeatureVector, random: () => number): void {
    this.seen += 1
    if (this.kept.length < KEPT_MAX) {
      this.kept.push(features())
      return
    }
    const at = Math.floor(random() * this.seen)
    if (at < KEPT_MAX) this.kept[at] = features()
  }
}

export class Examples {
  readonly #hostile = new Sample()
  readonly #honest = new Sample()
  readonly #labelled = new Map<string, Example>()
  readonly #random: () => number

  /** @param random In [0, 1). */
  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** By what rules said. */
  add(request: ModelRequest, hostile: boolean): void {
    const sample = hostile ? this.#hostile : this.#honest
    sample.offer(() => featuresOf(request), this.#random)
  }

  /** By what an operator says of a request, which is kept whatever comes, the latest 500. */
  label(requestId: string, request: ModelRequest, hostile: boolean): void {
    this.#labelled.delete(requestId)
    this.#labelled.set(requestId, { features: featuresOf(request), hostile })
    if (this.#labelled.size > LABELLED_MAX) this.#labelled.delete(this.#labelled.keys().next().value as string)
  }

  get counts(): { readonly hostile: number; readonly honest: number; readonly labelled: number } {
    return { hostile: this.#hostile.kept.length, honest: this.#honest.kept.length, labelled: this.#labelled.size }
  }

  all(): readonly Example[] {
    return [
      ...this.#hostile.kept.map((features) => ({ features, hostile: true })),
      ...this.#honest.kept.map((features) => ({ features, hostile: false })),
      ...this.#labelled.values(),
    ]
  }
}
