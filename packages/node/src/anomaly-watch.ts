/**
 * Anomalies on one node: feeds signals to the detector by the policy in force, tells other nodes what its trees counted, keeps what was learned while the node
 * is away, and says what it finds. Nobody is denied for it. The time is an argument.
 */
import { AnomalyDetector, type AnomalyFinding, type Signal } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import { anomaliesOf, type View } from '@ringwall/ring'
import { sourceText } from './detection.ts'
import { type KeptFile, keepDetector } from './kept-memory.ts'

const EXPIRE_MS = 3_000
const TELL_MS = 60_000
/** All that is bounded, full: 16 services of 3.4 MB and 256 routes. */
const KEPT_BYTES_MAX = 64 * 1_048_576

export interface AnomalyWatchOptions {
  /** Its name: all of its nodes grow the same trees. */
  readonly ring: string
  readonly view: () => View
  readonly onFinding: (found: AnomalyFinding) => void
  /** 32 bits that nobody else knows; 0 unless given. */
  readonly salt?: number | undefined
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

  merge(from: string, payload: Uint8Array): void {
    try {
      this.#current()?.merge(from, payload)
    } catch {
      // A peer's malformed summary is that peer's fault.
    }
  }

  /** What was learned, in pieces; undefined: it is off. */
  memory(nowMs: number): Iterable<Uint8Array> | undefined {
    return this.#current()?.memory(nowMs)
  }

  /** What `memory` gave. @throws {MemoryMalformed} It is to forget all then. */
  restore(pieces: Iterable<Uint8Array>, nowMs: number): void {
    this.#current()?.restore(pieces, nowMs)
  }

  forget(): void {
    this.#policy = undefined
    this.#detector = undefined
    this.#settings = 'null'
  }

  /** The detector for the policy in force; with other settings what was learned stays. */
  #current(): AnomalyDetector | undefined {
    const { policy } = this.#options.view()
    if (policy === this.#policy) return this.#detector
    this.#policy = policy
    const settings = anomaliesOf(policy)
    const text = JSON.stringify(settings ?? null)
    if (text === this.#settings) return this.#detector
    this.#settings = text
    if (settings === undefined) this.#detector = undefined
    else {
      const limits = { deviations: settings.deviations, learnMs: settings.learn, perHourMax: settings.perHour }
      if (this.#detector !== undefined) this.#detector.use(limits)
      else this.#detector = new AnomalyDetector({ ...limits, seed: this.#options.ring, salt: this.#options.salt })
    }
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

/** Takes up what was kept, and keeps it every ten minutes. @returns Keeps it once more, and ends it. */
export function keepAnomalies(watch: AnomalyWatch, file: KeptFile): Promise<() => Promise<void>> {
  return keepDetector(watch, { ...file, what: 'what is usual', bytesMax: KEPT_BYTES_MAX })
}

/** One line for people. */
export function describeAnomaly({ rule, service, key: [kind, value], sources, reason }: AnomalyFinding): string {
  const whose = kind === 'route' ? '' : `: ${kind} ${kind === 'source' ? sourceText(value) : value}`
  const others = sources.filter((source) => source !== value)
  const from = others.length === 0 ? '' : `; most from ${others.map(sourceText).join(', ')}`
  return `${rule}: not as usual on ${service}${whose}: ${reason}${from}`
}
