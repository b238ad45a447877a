/** Puts the parts together: sampling, bounds, the store's thread, OTLP, metrics and live listeners. */
import { TelemetryOptionsInvalid } from './errors.ts'
import { Metrics } from './metrics.ts'
import { OtlpExporter, type OtlpOptions } from './otlp-exporter.ts'
import { boundRecord, boundSpan } from './record-bounds.ts'
import { SAMPLE_ONE_IN, Sampler } from './sampler.ts'
import { StoreThread } from './store-thread.ts'
import type { DecisionRecord, LabelledValue, Span, Telemetry, TopRow } from './types.ts'

/** Records kept in a second before sampling begins. */
export const ALLOWS_PER_SECOND_MAX = 200
export const OTHERS_PER_SECOND_MAX = 2_000
const SPANS_PER_SECOND_MAX = (ALLOWS_PER_SECOND_MAX + OTHERS_PER_SECOND_MAX) * 4
const LISTENERS_MAX = 1_024
const EXPORT_GRACE_MS = 2_000

export interface TelemetryOptions {
  /** Where the store lies; in memory when absent. Created when missing, readable by its owner only. */
  readonly directory?: string
  readonly node: string
  readonly region: string
  /** Decisions kept, 1 to 10,000,000; 100,000 unless given. Spans: four times as many. */
  readonly retentionDecisionsMax?: number
  /** How long anything is kept, milliseconds; 7 days unless given. */
  readonly retentionMs?: number
  /** Decisions, and spans, that may wait for the store's thread, some 700 bytes each; 20,000 of each unless given. What is beyond it is lost, and counted. */
  readonly waitingMax?: number
  /** As of `StoreOptions`. */
  readonly pageCacheBytes?: number
  readonly otlp?: OtlpOptions
  /** Seals the store's rows. `key`: 32 bytes. `acceptsClear`: a store in the clear is to be expected, and sealed. */
  readonly seal?: { readonly key: Uint8Array; readonly acceptsClear: boolean } | undefined
  readonly log?: (level: 'info' | 'warn', line: string) => void
}

/**
 * Opens the store and starts its thread.
 *
 * @throws {TelemetryOptionsInvalid}
 * @throws {StoreUnavailable} When the directory cannot be written. A damaged store is put aside instead, with a log line.
 */
export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const retentionDecisionsMax = options.retentionDecisionsMax ?? 100_000
  if (!Number.isInteger(retentionDecisionsMax) || retentionDecisionsMax < 1 || retentionDecisionsMax > 10_000_000) {
    throw new TelemetryOptionsInvalid('retentionDecisionsMax', 'a whole number from 1 to 10,000,000')
  }
  const retentionMs = options.retentionMs ?? 7 * 86_400_000
  if (!Number.isFinite(retentionMs) || retentionMs < 1_000) {
    throw new TelemetryOptionsInvalid('retentionMs', 'at least 1,000 milliseconds')
  }
  if (options.otlp !== undefined && !/^https?:\/\/[^\s]+$/.test(options.otlp.endpoint)) {
    throw new TelemetryOptionsInvalid('otlp.endpoint', 'http://HOST:PORT or https://HOST:PORT')
  }
  const log = options.log ?? (() => undefined)
  const metrics = new Metrics()
  const thread = new StoreThread({
    directory: options.directory,
    retentionDecisionsMax,
    retentionMs,
    waitingMax: options.waitingMax,
    pageCacheBytes: options.pageCacheBytes,
    ...options.seal,
    log,
    onLost: (what, count) => metrics.count('telemetry_dropped_total', { what }, count),
  })
  await thread.start()
  const exporter =
    options.otlp === undefined
      ? undefined
      : new OtlpExporter({
          ...options.otlp,
          resource: { 'service.name': 'ringwall', 'service.instance.id': options.node, 'cloud.region': options.region },
          log,
          onLost: (count) => metrics.count('telemetry_dropped_total', { what: 'export' }, count),
        })
  return new OpenTelemetry(metrics, thread, exporter, log)
}

class OpenTelemetry implements Telemetry {
  readonly #metrics: Metrics
  readonly #thread: StoreThread
  readonly #exporter: OtlpExporter | undefined
  readonly #log: (level: 'info' | 'warn', line: string) => void
  readonly #allows = new Sampler(ALLOWS_PER_SECOND_MAX)
  readonly #others = new Sampler(OTHERS_PER_SECOND_MAX)
  readonly #listeners = new Set<(record: DecisionRecord) => void>()
  #spanSecond = 0
  #spansInSecond = 0
  #listenerFailed = false

  constructor(
    metrics: Metrics,
    thread: StoreThread,
    exporter: OtlpExporter | undefined,
    log: (level: 'info' | 'warn', line: string) => void,
  ) {
    this.#metrics = metrics
    this.#thread = thread
    this.#exporter = exporter
    this.#log = log
  }

  wants(outcome: DecisionRecord['outcome']): boolean {
    return this.#sampler(outcome).wants(Date.now())
  }

  recordDecision(record: DecisionRecord): void {
    const weight = this.#sampler(record.outcome).take(Date.now())
    if (weight > 0) this.recordSampled(record, weight)
  }

  recordSampled(record: DecisionRecord, weight: number): void {
    const bounded = boundRecord(record)
    this.#thread.record({ record: bounded, weight })
    for (const listener of this.#listeners) {
      try {
        listener(bounded)
      } catch (error) {
        if (!this.#listenerFailed) this.#log('warn', `a listener for decisions failed: ${(error as Error).message}`)
        this.#listenerFailed = true
      }
    }
  }

  recordSpan(span: Span): void {
    const second = Math.floor(Date.now() / 1_000)
    if (second !== this.#spanSecond) {
      this.#spanSecond = second
      this.#spansInSecond = 0
    }
    if (++this.#spansInSecond > SPANS_PER_SECOND_MAX) {
      this.#metrics.count('telemetry_dropped_total', { what: 'span' })
      return
    }
    const bounded = boundSpan(span)
    this.#thread.recordSpan(bounded)
    this.#exporter?.push(bounded)
  }

  observeRequest(request: Parameters<Telemetry['observeRequest']>[0]): void {
    this.#metrics.observeRequest(request)
  }

  observeRequests(counts: Parameters<Telemetry['observeRequests']>[0]): void {
    this.#metrics.observeRequests(counts)
  }

  async decision(requestId: string): Promise<DecisionRecord | undefined> {
    return (await this.#thread.query({ kind: 'decision', requestId })) as DecisionRecord | undefined
  }

  async decisions(filter: Parameters<Telemetry['decisions']>[0]): Promise<readonly DecisionRecord[]> {
    return (await this.#thread.query({ kind: 'decisions', filter })) as readonly DecisionRecord[]
  }

  async trace(traceId: string): Promise<readonly Span[]> {
    return (await this.#thread.query({ kind: 'trace', traceId })) as readonly Span[]
  }

  async top(by: Parameters<Telemetry['top']>[0], sinceMs: number, limit: number): Promise<readonly TopRow[]> {
    return (await this.#thread.query({ kind: 'top', by, sinceMs, limit })) as readonly TopRow[]
  }

  onDecision(listener: (record: DecisionRecord) => void): () => void {
    if (this.#listeners.size >= LISTENERS_MAX) return () => undefined
    // Wrapped, so that one function given twice is two listeners, each with its own end.
    const own = (record: DecisionRecord) => listener(record)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
    }
  }

  setGauge(name: string, value: number, labels?: Readonly<Record<string, string>>): void {
    this.#metrics.setGauge(name, value, labels)
  }

  setFamily(kind: 'gauge' | 'counter', name: string, series: readonly LabelledValue[]): void {
    this.#metrics.setFamily(kind, name, series)
  }

  count(name: string, labels?: Readonly<Record<string, string>>, by = 1): void {
    this.#metrics.count(name, labels, by)
  }

  metrics(): string {
    this.#metrics.setGauge('telemetry_sample_one_in', SAMPLE_ONE_IN)
    this.#metrics.setTotal('telemetry_skipped_total', this.#allows.skipped, { outcome: 'allow' })
    this.#metrics.setTotal('telemetry_skipped_total', this.#others.skipped, { outcome: 'other' })
    return this.#metrics.text()
  }

  async stop(): Promise<void> {
    this.#listeners.clear()
    await Promise.all([this.#exporter?.stop(EXPORT_GRACE_MS), this.#thread.stop()])
  }

  #sampler(outcome: DecisionRecord['outcome']): Sampler {
    return outcome === 'allow' ? this.#allows : this.#others
  }
}
