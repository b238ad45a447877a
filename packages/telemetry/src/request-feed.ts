/**
 * What one of several threads that serve requests tells the one that keeps the records: decisions and spans, sampled where they are
 * made, and counts of all requests. Bounded: what is not taken away in time is dropped and counted.
 */
import { DURATION_BOUNDS_US, durationBucket } from './metrics.ts'
import { Sampler } from './sampler.ts'
import { ALLOWS_PER_SECOND_MAX, OTHERS_PER_SECOND_MAX } from './telemetry.ts'
import type { DecisionRecord, RequestCounts, RequestMeasure, Span, Telemetry } from './types.ts'

const DECISIONS_WAITING_MAX = 2_000
const SPANS_WAITING_MAX = DECISIONS_WAITING_MAX * 3
const KINDS_MAX = 1_024

/** Everything since it was asked last. */
export interface RequestNews {
  readonly decisions: readonly { readonly record: DecisionRecord; readonly weight: number }[]
  readonly spans: readonly Span[]
  readonly counts: readonly RequestCounts[]
  /** Records that found no room. */
  readonly dropped: number
}

interface Tally {
  readonly outcome: DecisionRecord['outcome']
  readonly check: string
  readonly service: string | undefined
  requests: number
  stale: number
  readonly guard: Durations
  readonly total: Durations
  readonly upstream: Durations
}

interface Durations {
  readonly buckets: number[]
  sum: number
}

export class RequestFeed implements Pick<Telemetry, 'wants' | 'recordDecision' | 'recordSpan' | 'observeRequest'> {
  readonly #allows: Sampler
  readonly #others: Sampler
  #decisions: { readonly record: DecisionRecord; readonly weight: number }[] = []
  #spans: Span[] = []
  #tallies = new Map<string, Tally>()
  #dropped = 0

  /** @param threads How many share what is kept in a second. */
  constructor(threads: number) {
    this.#allows = new Sampler(Math.ceil(ALLOWS_PER_SECOND_MAX / threads))
    this.#others = new Sampler(Math.ceil(OTHERS_PER_SECOND_MAX / threads))
  }

  wants(outcome: DecisionRecord['outcome']): boolean {
    return this.#sampler(outcome).wants(Date.now())
  }

  recordDecision(record: DecisionRecord): void {
    const weight = this.#sampler(record.outcome).take(Date.now())
    if (weight === 0) return
    if (this.#decisions.length < DECISIONS_WAITING_MAX) this.#decisions.push({ record, weight })
    else this.#dropped += 1
  }

  recordSpan(span: Span): void {
    if (this.#spans.length < SPANS_WAITING_MAX) this.#spans.push(span)
    else this.#dropped += 1
  }

  observeRequest({ outcome, check, stale, service, guardUs, totalUs, upstreamUs }: RequestMeasure): void {
    const key = `${outcome}|${check}|${service ?? ''}`
    let tally = this.#tallies.get(key)
    if (tally === undefined) {
      if (this.#tallies.size >= KINDS_MAX) return
      tally = { outcome, check, service, requests: 0, stale: 0, guard: durations(), total: durations(), upstream: durations() }
      this.#tallies.set(key, tally)
    }
    tally.requests += 1
    if (stale) tally.stale += 1
    add(tally.guard, guardUs)
    add(tally.total, totalUs)
    if (upstreamUs !== undefined) add(tally.upstream, upstreamUs)
  }

  /** Whether there is anything to tell. */
  get waiting(): boolean {
    return this.#tallies.size > 0 || this.#decisions.length > 0 || this.#spans.length > 0
  }

  /** Undefined when there is nothing to tell. */
  news(): RequestNews | undefined {
    if (!this.waiting) return undefined
    const news = { decisions: this.#decisions, spans: this.#spans, counts: [...this.#tallies.values()], dropped: this.#dropped }
    this.#decisions = []
    this.#spans = []
    this.#tallies = new Map()
    this.#dropped = 0
    return news
  }

  #sampler(outcome: DecisionRecord['outcome']): Sampler {
    return outcome === 'allow' ? this.#allows : this.#others
  }
}

function durations(): Durations {
  return { buckets: new Array<number>(DURATION_BOUNDS_US.length + 1).fill(0), sum: 0 }
}

function add(durations: Durations, us: number): void {
  durations.buckets[durationBucket(us)]! += 1
  durations.sum += us
}
