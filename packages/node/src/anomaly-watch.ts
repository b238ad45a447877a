/**
 * Anomalies on one node: feeds signals to the detector by the policy in force, tells other nodes what its trees counted, and says what it finds. Nobody is
 * denied for it. The time is an argument.
 */
import { AnomalyDetector, type AnomalyFinding, type Signal } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import { anomaliesOf, type View } from '@ringwall/ring'
import { sourceText } from './detection.ts'

const EXPIRE_MS = 3_000
const TELL_MS = 60_000

export interface AnomalyWatchOptions {
  /** Its name: all of its nodes grow the same trees. */
  readonly ring: string
  readonly view: () => View
  readonly onFinding: (found: AnomalyFinding) => void
}

export class AnomalyWatch {
  readonly #options: AnomalyWatchOptions
  #detector: AnomalyDetector | undefined
  #policy: View['policy'] | undefined
  #settings = 'null'

  constructor(options: AnomalyWatchOptions) {
    this.#options = options
  }

  get isOn(): boolean {
    return this.#current() !== undefined
  }

  /** What it holds; undefined: it is off. */
  get size(): AnomalyDetector['size'] | undefined {
    return this.#current()?.size
  }

  observe(signal: Signal): void {
    for (const found of this.#current()?.observe(signal) ?? []) this.#options.onFinding(found)
  }

  expire(nowMs: number): void {
    for (const found of this.#current()?.expire(nowMs) ?? []) this.#options.onFinding(found)
  }

  /** What is to be told to the others, one by one; undefined: nothing more. */
  summary(): Uint8Array | undefined {
    return this.#current()?.summary()
  }

  merge(from: string, payload: Uint8Array, nowMs: number): void {
    try {
      this.#current()?.merge(from, payload, nowMs)
    } catch {
      // A peer's malformed summary is that peer's fault.
    }
  }

  /** The detector for the policy in force; with other settings it learns anew. */
  #current(): AnomalyDetector | undefined {
    const { policy } = this.#options.view()
    if (policy === this.#policy) return this.#detector
    this.#policy = policy
    const settings = anomaliesOf(policy)
    const text = JSON.stringify(settings ?? null)
    if (text === this.#settings) return this.#detector
    this.#settings = text
    this.#detector =
      settings === undefined
        ? undefined
        : new AnomalyDetector({
            seed: this.#options.ring,
            deviations: settings.deviations,
            learnMs: settings.learn,
            perHourMax: settings.perHour,
          })
    return this.#detector
  }
}

/** @returns Ends it. */
export function followAnomalies(watch: AnomalyWatch, fabric: Pick<Fabric, 'broadcast'>): () => void {
  const timers = [
    setInterval(() => watch.expire(Date.now()), EXPIRE_MS),
    setInterval(() => {
      for (let told = watch.summary(); told !== undefined; told = watch.summary()) fabric.broadcast('signals', told)
    }, TELL_MS),
  ]
  for (const timer of timers) timer.unref()
  return () => {
    for (const timer of timers) clearInterval(timer)
  }
}

/** One line for people. */
export function describeAnomaly({ rule, service, key: [kind, value], sources, reason }: AnomalyFinding): string {
  const whose = kind === 'route' ? '' : `: ${kind} ${kind === 'source' ? sourceText(value) : value}`
  const others = sources.filter((source) => source !== value)
  const from = others.length === 0 ? '' : `; most from ${others.map(sourceText).join(', ')}`
  return `${rule}: not as usual on ${service}${whose}: ${reason}${from}`
}
