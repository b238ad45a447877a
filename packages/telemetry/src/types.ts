/** The words of telemetry: spans, decision records, counters. */

/** 16 and 8 bytes, lower-case hex (W3C Trace Context, section 3.2). */
export interface TraceContext {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  /** As received and bounded, to pass on. */
  readonly traceState: string | undefined
}

export type AttributeValue = string | number | boolean

/** A finished span. Times are Unix microseconds. */
export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: 'server' | 'client' | 'internal'
  readonly startUs: number
  readonly endUs: number
  readonly ok: boolean
  readonly attributes: Readonly<Record<string, AttributeValue>>
}

/** What `ringwall explain` tells. Header values and bodies are not in it, except bounded excerpts that rules matched. */
export interface DecisionRecord {
  readonly requestId: string
  readonly atMs: number
  readonly node: string
  readonly region: string
  readonly traceId: string
  readonly source: string
  /** Of the client's TLS (JA4); absent without TLS. */
  readonly ja4?: string | undefined
  readonly method: string
  readonly host: string
  /** Path without query. */
  readonly path: string
  readonly service: string | undefined
  readonly route: string | undefined
  readonly outcome: 'allow' | 'deny' | 'challenge' | 'throttle'
  readonly shadowOutcome: 'allow' | 'deny' | 'challenge' | 'throttle'
  readonly check: string
  readonly status: number
  readonly reason: string
  readonly rule: string | undefined
  readonly height: number
  readonly viewAgeMs: number
  /** The view was older than the route tolerates. */
  readonly stale: boolean
  readonly provisional: boolean
  readonly wafScore: number
  readonly matches: readonly {
    readonly ruleId: number
    readonly message: string
    readonly severity: string
    readonly variable: string
    readonly excerpt: string
  }[]
  /** Time the guard took, and the whole request, microseconds. */
  readonly guardUs: number
  readonly totalUs: number
}

export interface DecisionFilter {
  readonly outcome?: 'allow' | 'deny' | 'challenge' | 'throttle'
  readonly source?: string
  readonly sinceMs?: number
  readonly limit: number
}

export interface Telemetry {
  /** Never blocks, never throws: full buffers drop the oldest allows first and count what they dropped. */
  recordDecision(record: DecisionRecord): void
  /** One that a sampler of the caller's own chose. @param weight How many requests it stands for. */
  recordSampled(record: DecisionRecord, weight: number): void
  recordSpan(span: Span): void
  /** Flushes first, so that what was just recorded is found. */
  decision(requestId: string): Promise<DecisionRecord | undefined>
  decisions(filter: DecisionFilter): Promise<readonly DecisionRecord[]>
  trace(traceId: string): Promise<readonly Span[]>
  /** Live decisions. Returns what stops it. */
  onDecision(listener: (record: DecisionRecord) => void): () => void
  /**
   * Whether a record of this outcome would be kept now. Past the rate kept, most answers are no, and each no is counted
   * as a skip. Ask just before building a record and its spans, so that those nobody keeps cost nothing.
   */
  wants(outcome: DecisionRecord['outcome']): boolean
  /** Counts one request in the metrics, whether or not its record is kept. Times are microseconds. */
  observeRequest(request: RequestMeasure): void
  /** The same for many that were counted elsewhere. */
  observeRequests(counts: readonly RequestCounts[]): void
  /** What was asked most, by what was recorded; allows past the rate kept are estimated from a sample. */
  top(by: TopKey, sinceMs: number, limit: number): Promise<readonly TopRow[]>
  /** Sets a gauge. `name` without the `ringwall_` prefix, e.g. `ledger_height`. */
  setGauge(name: string, value: number, labels?: Labels): void
  /** All series of a name, kept elsewhere; those not given are dropped. A counter's name ends in `_total`. */
  setFamily(kind: 'gauge' | 'counter', name: string, series: readonly LabelledValue[]): void
  /** Adds one, or `by`, to a counter. `name` without the `ringwall_` prefix and the `_total` suffix. */
  count(name: string, labels?: Labels, by?: number): void
  /** Prometheus text format 0.0.4. */
  metrics(): string
  stop(): Promise<void>
}

export interface LabelledValue {
  readonly labels: Labels
  readonly value: number
}

export type Labels = Readonly<Record<string, string>>

export interface RequestMeasure {
  readonly outcome: DecisionRecord['outcome']
  readonly check: string
  /** The view was older than the route tolerates. */
  readonly stale: boolean
  readonly service: string | undefined
  readonly guardUs: number
  readonly totalUs: number
  /** Until the upstream's response head; undefined when none was asked. */
  readonly upstreamUs: number | undefined
}

/** Requests of one kind, counted. */
export interface RequestCounts {
  readonly outcome: DecisionRecord['outcome']
  readonly check: string
  readonly service: string | undefined
  readonly requests: number
  readonly stale: number
  readonly guard: DurationCounts
  readonly total: DurationCounts
  readonly upstream: DurationCounts
}

/** Microseconds: a count for each bound of the histograms, and their sum. */
export interface DurationCounts {
  readonly buckets: readonly number[]
  readonly sum: number
}

export type TopKey = 'source' | 'path' | 'rule' | 'service'

/** `denied` counts every outcome but allow. */
export interface TopRow {
  readonly key: string
  readonly requests: number
  readonly denied: number
}
