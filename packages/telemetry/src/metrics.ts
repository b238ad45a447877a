/** Counters, gauges and histograms of our own, written as Prometheus text (exposition format 0.0.4). */
import type { DurationCounts, LabelledValue, Labels, RequestCounts, RequestMeasure } from './types.ts'

/** Series of one registry. Past it, new label sets are dropped and counted: a label must not become a memory leak. */
export const SERIES_MAX = 4_096
const LABEL_VALUE_LENGTH_MAX = 128
const PREFIX = 'ringwall_'

export const DURATION_BOUNDS_US: readonly number[] = [
  5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000,
]

const HELP: Readonly<Record<string, string>> = {
  requests_total: 'Requests by outcome, deciding check and service.',
  stale_decisions_total: 'Requests judged on a view older than their route tolerates: refused (deny) or judged on (allow).',
  guard_microseconds: 'Time the guard took to judge a request.',
  request_microseconds: 'Time from a request’s head to the end of its response.',
  upstream_microseconds: 'Time until the upstream’s response head.',
  upstream_up: 'Whether an upstream is fit to be asked.',
  upstream_active_requests: 'Requests that an upstream carries.',
  upstream_pending_requests: 'Requests that wait for a connection to an upstream.',
  upstream_requests_total: 'Requests sent to an upstream, those sent again and mirrored among them.',
  upstream_failures_total: 'Requests that an upstream broke off, left unanswered or answered badly.',
  upstream_ejections_total: 'How often an upstream was left out for its answers.',
  retries_total: 'Requests sent again, after something of them had been sent.',
  retries_refused_total: 'Requests not sent again, because the retry budget was used up.',
  overloaded_total: 'Requests answered 503, because the upstreams carry as many as they may.',
  hedges_total: 'Requests sent to a second upstream, because the first took long.',
  hedges_won_total: 'Requests that the second upstream answered first.',
  mirrored_total: 'Requests copied to the mirror.',
  mirrors_dropped_total: 'Requests not copied, because the mirror had no room or was out.',
  flood_sources_total: 'Sources and networks found to flood this node.',
  telemetry_dropped_total: 'Records and spans lost to full buffers or a failing disk.',
  telemetry_skipped_total: 'Records left out by sampling.',
  metric_series_dropped_total: 'Label sets refused because there are too many.',
}

type Kind = 'counter' | 'gauge' | 'histogram'

interface Family {
  readonly kind: Kind
  readonly series: Map<string, Series>
}

interface Series {
  value: number
  /** Histograms only: a count for each bound, and one for what lies above. */
  readonly buckets: number[] | undefined
  observations: number
}

interface RequestSeries {
  readonly requests: Series
  readonly guard: Series
  readonly total: Series
  readonly upstream: Series
}

export class Metrics {
  readonly #families = new Map<string, Family>()
  readonly #requests = new Map<string, RequestSeries>()
  #lastRequest:
    | { readonly outcome: string; readonly check: string; readonly service: string; readonly series: RequestSeries }
    | undefined
  #seriesCount = 0
  #seriesDropped = 0

  count(name: string, labels?: Labels, by = 1): void {
    const series = this.#series(name.endsWith('_total') ? name : `${name}_total`, 'counter', labels)
    if (series !== undefined) series.value += by
  }

  setGauge(name: string, value: number, labels?: Labels): void {
    const series = this.#series(name, 'gauge', labels)
    if (series !== undefined) series.value = value
  }

  /** Sets a counter that is kept elsewhere. */
  setTotal(name: string, value: number, labels?: Labels): void {
    const series = this.#series(name, 'counter', labels)
    if (series !== undefined) series.value = value
  }

  /** Sets all series of a name: those not given are gone, as what they told of is. */
  setFamily(kind: 'gauge' | 'counter', name: string, series: readonly LabelledValue[]): void {
    const known = this.#families.get(name)
    if (known !== undefined && known.kind === kind) {
      this.#seriesCount -= known.series.size
      this.#families.delete(name)
    }
    for (const { labels, value } of series) {
      const found = this.#series(name, kind, labels)
      if (found !== undefined) found.value = value
    }
  }

  /** @param us Microseconds. */
  observe(name: string, us: number, labels?: Labels): void {
    const series = this.#series(name, 'histogram', labels)
    if (series !== undefined) record(series, us)
  }

  observeRequest(request: RequestMeasure): void {
    const service = request.service ?? ''
    // Rare while all is well, so the series are made when they are needed.
    if (request.stale) this.count('stale_decisions', { outcome: request.outcome, service })
    const last = this.#lastRequest
    // Requests are like the one before them more often than not.
    if (last !== undefined && last.outcome === request.outcome && last.check === request.check && last.service === service) {
      observe(last.series, request)
      return
    }
    const found = this.#seriesOf(request.outcome, request.check, service)
    if (found === undefined) return
    this.#lastRequest = { outcome: request.outcome, check: request.check, service, series: found }
    observe(found, request)
  }

  observeRequests(counts: readonly RequestCounts[]): void {
    for (const { outcome, check, service = '', requests, stale, guard, total, upstream } of counts) {
      if (stale > 0) this.count('stale_decisions', { outcome, service }, stale)
      const found = this.#seriesOf(outcome, check, service)
      if (found === undefined) continue
      found.requests.value += requests
      add(found.guard, guard)
      add(found.total, total)
      add(found.upstream, upstream)
    }
  }

  #seriesOf(outcome: string, check: string, service: string): RequestSeries | undefined {
    const key = `${outcome}|${check}|${service}`
    const known = this.#requests.get(key)
    if (known !== undefined) return known
    const requests = this.#series('requests_total', 'counter', { outcome, check, service })
    const guard = this.#series('guard_microseconds', 'histogram', { outcome })
    const total = this.#series('request_microseconds', 'histogram', { service })
    const upstream = this.#series('upstream_microseconds', 'histogram', { service })
    if (requests === undefined || guard === undefined || total === undefined || upstream === undefined) return undefined
    const found = { requests, guard, total, upstream }
    this.#requests.set(key, found)
    return found
  }

  /** The exposition, families in order of name. */
  text(): string {
    const lines: string[] = []
    if (this.#seriesDropped > 0) {
      const series = { value: this.#seriesDropped, buckets: undefined, observations: 0 }
      write(lines, 'metric_series_dropped_total', { kind: 'counter', series: new Map([['', series]]) })
    }
    for (const name of [...this.#families.keys()].sort()) write(lines, name, this.#families.get(name)!)
    return lines.length === 0 ? '' : `${lines.join('\n')}\n`
  }

  #series(name: string, kind: Kind, labels: Labels | undefined): Series | undefined {
    let family = this.#families.get(name)
    if (family === undefined) {
      if (this.#seriesCount >= SERIES_MAX || !/^[a-z][a-z0-9_]*$/.test(name)) return this.#refuse()
      family = { kind, series: new Map() }
      this.#families.set(name, family)
    }
    // A name used as two kinds would make the whole exposition unreadable.
    if (family.kind !== kind) return this.#refuse()
    const key = labels === undefined ? '' : labelText(labels)
    let series = family.series.get(key)
    if (series === undefined) {
      if (this.#seriesCount >= SERIES_MAX) return this.#refuse()
      this.#seriesCount++
      series = {
        value: 0,
        buckets: kind === 'histogram' ? new Array<number>(DURATION_BOUNDS_US.length + 1).fill(0) : undefined,
        observations: 0,
      }
      family.series.set(key, series)
    }
    return series
  }

  #refuse(): undefined {
    this.#seriesDropped++
    return undefined
  }
}

function observe(series: RequestSeries, request: RequestMeasure): void {
  series.requests.value++
  record(series.guard, request.guardUs)
  record(series.total, request.totalUs)
  if (request.upstreamUs !== undefined) record(series.upstream, request.upstreamUs)
}

function add(series: Series, { buckets, sum }: DurationCounts): void {
  const own = series.buckets!
  for (let at = 0; at < own.length; at++) {
    const count = buckets[at] ?? 0
    own[at]! += count
    series.observations += count
  }
  series.value += sum
}

/** Which of the histograms' buckets, the last being for what lies above all bounds. */
export function durationBucket(us: number): number {
  let at = 0
  while (at < DURATION_BOUNDS_US.length && us > DURATION_BOUNDS_US[at]!) at++
  return at
}

function record(series: Series, us: number): void {
  const buckets = series.buckets!
  buckets[durationBucket(us)]!++
  series.value += us
  series.observations++
}

function write(lines: string[], name: string, family: Family): void {
  const full = PREFIX + name
  lines.push(`# HELP ${full} ${HELP[name] ?? name.replaceAll('_', ' ')}`, `# TYPE ${full} ${family.kind}`)
  for (const [labels, series] of family.series) {
    if (series.buckets === undefined) {
      lines.push(`${full}${labels === '' ? '' : `{${labels}}`} ${number(series.value)}`)
      continue
    }
    // A series is made with its siblings before anything is observed; an empty histogram says nothing.
    if (series.observations === 0) continue
    const before = labels === '' ? '' : `${labels},`
    let sum = 0
    for (let at = 0; at < series.buckets.length; at++) {
      sum += series.buckets[at]!
      lines.push(`${full}_bucket{${before}le="${DURATION_BOUNDS_US[at] ?? '+Inf'}"} ${sum}`)
    }
    const braces = labels === '' ? '' : `{${labels}}`
    lines.push(`${full}_sum${braces} ${number(series.value)}`, `${full}_count${braces} ${series.observations}`)
  }
}

function labelText(labels: Labels): string {
  let text = ''
  for (const name of Object.keys(labels).sort()) {
    if (!/^[a-z][a-z0-9_]*$/.test(name)) continue
    const value = labels[name]!.slice(0, LABEL_VALUE_LENGTH_MAX).replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))
    text += `${text === '' ? '' : ','}${name}="${value}"`
  }
  return text
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}
