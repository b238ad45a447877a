/**
 * Routes that are not as usual: of each route what came in five minutes is held against what is usual at that hour. What all routes of a service do
 * at once (a sale, a holiday, a broadcast) is taken off first: then the service is busier, and no route is odd. Where hardly anybody is answered
 * any more, the service fails, as after a deploy: errors and delays say nothing about those who ask.
 */
import { type AnomalyFeature, type AnomalyFinding, describeFeatures } from './anomaly-finding.ts'
import { ROUTE_MEASURES, type RouteMeasure, RouteWindow, WINDOW_MS } from './anomaly-window.ts'
import { Baselines, type Usual } from './baseline.ts'
import { type KeptReader, type KeptWriter, TIME_MAX } from './kept.ts'
import type { Signal } from './signal.ts'

export interface AnomalyLimits {
  /** Standard deviations above what is usual from which on a measure is out of it. */
  readonly deviations: number
  /** How long is learned before anything is said. */
  readonly learnMs: number
}

const ROUTES_MAX = 256
/** Windows of an hour of the day that what is usual rests on: two days. */
const MEMORY = 24
/** Of a route that nobody asks for any more the window is let go. */
const IDLE_WINDOWS = 288
const REARM_MS = 6 * 3_600_000
/** Fewer requests, or errors among them, say nothing. */
const REQUESTS_MIN = 50
const ERRORS_MIN = 20
/** At least so much above what is usual, in bits: 1 is twice of it. */
const RISE_MIN = 1
const TOOK_RISE_MIN = 2
/** Of good answers, against the usual number, from which on the service fails: half of it. */
const GOOD_FALL = 1
/** So many routes have to rise before it is the service. */
const COMMON_ROUTES_MIN = 3
/** Of a deviation, in bits: what is always the same is not held to be so forever. */
const DEVIATION_MIN = 0.15
const TOOK_DEVIATION_MIN = 0.3
/** Bits of a count that comes at random, times the square root of the count. */
const RANDOM_BITS: number = Math.LOG2E

const AT: Readonly<Record<RouteMeasure, number>> = Object.fromEntries(ROUTE_MEASURES.map((name, at) => [name, at])) as Record<
  RouteMeasure,
  number
>
/** What more people do alike. */
const COMMON: readonly RouteMeasure[] = ['requests', 'bytes', 'sources']
const JUDGED: readonly RouteMeasure[] = ['requests', 'refused', 'failed', 'bytes', 'took', 'sources']

interface Route {
  readonly service: string
  readonly name: string
  /** Of its baseline. */
  readonly row: number
  /** When its first window was learned; 0: none was. */
  sinceMs: number
  readonly window: RouteWindow
  idle: number
  firedMs: number
}

/** One route’s window that is over. */
interface Closed {
  readonly route: Route
  readonly values: readonly number[]
  /** Bits above the median, of `COMMON`; undefined: nothing is known yet. */
  readonly rises: readonly number[] | undefined
}

export class AnomalyRoutes {
  #limits: AnomalyLimits
  /** Nothing is said before. */
  #quietUntilMs = 0
  readonly #baselines = new Baselines({
    rows: ROUTES_MAX,
    measures: ROUTE_MEASURES.length,
    seasonal: true,
    memoryWindows: MEMORY,
  })
  readonly #services = new Map<string, Map<string, Route>>()
  #routes = 0
  readonly #freeRows: number[] = Array.from({ length: ROUTES_MAX }, (_, at) => ROUTES_MAX - 1 - at)
  #window = 0
  /** It did not begin in the middle of it. */
  #isWhole = false
  #unwatched = 0

  constructor(limits: AnomalyLimits) {
    this.#limits = limits
  }

  /** What was learned stays. */
  use(limits: AnomalyLimits): void {
    this.#limits = limits
  }

  get size(): { readonly keys: number; readonly unwatched: number; readonly bytes: number } {
    return { keys: this.#routes, unwatched: this.#unwatched, bytes: this.#baselines.bytes }
  }

  /** @param hash Of the source. */
  observe(signal: Signal, hash: number): readonly AnomalyFinding[] {
    const findings = this.close(signal.atMs)
    const route = this.#routeOf(signal.service, signal.route ?? '')
    if (route === undefined) this.#unwatched += 1
    else route.window.add(signal, hash)
    return findings
  }

  #routeOf(service: string, name: string): Route | undefined {
    let routes = this.#services.get(service)
    const known = routes?.get(name)
    if (known !== undefined) return known
    const row = this.#freeRows.pop()
    if (row === undefined) return undefined
    if (routes === undefined) {
      routes = new Map()
      this.#services.set(service, routes)
    }
    const route: Route = {
      service,
      name,
      row,
      sinceMs: 0,
      window: new RouteWindow(),
      idle: 0,
      firedMs: Number.NEGATIVE_INFINITY,
    }
    routes.set(name, route)
    this.#routes += 1
    return route
  }

  /** Closes the window if it is over. Call it every now and then, too. */
  close(nowMs: number): readonly AnomalyFinding[] {
    const window = Math.floor(nowMs / WINDOW_MS)
    if (window <= this.#window) return NOTHING
    // Of a window in which the clock was put forward, or the process slept, nothing is known.
    const isWhole = this.#isWhole && window === this.#window + 1
    const atMs = this.#window * WINDOW_MS
    this.#window = window
    this.#isWhole = this.#isWhole || this.#routes > 0
    const findings: AnomalyFinding[] = []
    for (const routes of this.#services.values()) {
      if (isWhole) findings.push(...this.#closeService([...routes.values()], atMs))
      for (const route of routes.values()) this.#begin(routes, route)
    }
    return findings
  }

  /**
   * Of a time nothing is known: the node was away, or its clock was set. That time taught nothing, and nothing is said until `quietUntilMs`.
   *
   * @param gapMs Below 0: the clock went back.
   */
  wasAway(gapMs: number, nowMs: number, quietUntilMs: number): void {
    this.#quietUntilMs = quietUntilMs
    for (const routes of this.#services.values())
      for (const route of routes.values()) {
        if (route.sinceMs !== 0) route.sinceMs += gapMs
        route.window.clear()
      }
    this.#window = Math.floor(nowMs / WINDOW_MS)
    this.#isWhole = false
  }

  /** One route a piece. @param begin Begins one. */
  *memory(begin: () => KeptWriter): Generator<Uint8Array> {
    for (const routes of this.#services.values())
      for (const { service, name, row, sinceMs, firedMs } of routes.values()) {
        if (sinceMs === 0) continue
        const into = begin().text(service).text(name).f64(sinceMs).time(firedMs)
        this.#baselines.keep(row, into)
        yield into.done()
      }
  }

  /** One route. @throws {MemoryMalformed} */
  restore(from: KeptReader): void {
    const [service, name] = [from.text('a service'), from.text('a route')]
    if (this.#services.get(service)?.has(name) === true) from.fail('each route once')
    const route = this.#routeOf(service, name) ?? from.fail(`at most ${ROUTES_MAX} routes`)
    route.sinceMs = from.f64('since when it learns', -TIME_MAX, TIME_MAX)
    route.firedMs = from.time('when it was said')
    this.#baselines.restore(route.row, from)
  }

  #begin(routes: Map<string, Route>, route: Route): void {
    route.idle = route.window.requests === 0 ? route.idle + 1 : 0
    if (route.idle < IDLE_WINDOWS) {
      route.window.clear()
      return
    }
    routes.delete(route.name)
    if (routes.size === 0) this.#services.delete(route.service)
    this.#routes -= 1
    this.#baselines.forget(route.row)
    this.#freeRows.push(route.row)
  }

  #closeService(routes: readonly Route[], atMs: number): readonly AnomalyFinding[] {
    const closed = routes
      .filter(({ window }) => window.requests > 0)
      .map((route): Closed => {
        const values = route.window.values()
        return { route, values, rises: this.#rises(route, values, atMs) }
      })
    const findings = closed.flatMap((one) => this.#judge(one, closed, atMs))
    for (const { route, values } of closed) {
      if (route.sinceMs === 0) route.sinceMs = atMs
      this.#baselines.learn(route.row, values, atMs)
    }
    return findings
  }

  #rises({ row }: Route, values: readonly number[], atMs: number): readonly number[] | undefined {
    const rises: number[] = []
    for (const name of COMMON) {
      const usual = this.#baselines.usual(row, AT[name], atMs)
      if (usual === undefined) return undefined
      rises.push(values[AT[name]]! - usual.median)
    }
    return rises
  }

  #judge({ route, values, rises }: Closed, all: readonly Closed[], atMs: number): readonly AnomalyFinding[] {
    const { sinceMs, window, service, name } = route
    if (rises === undefined || sinceMs === 0 || atMs - sinceMs < this.#limits.learnMs) return NOTHING
    // Also what was said in a time to come, as a clock that was set says.
    if (window.requests < REQUESTS_MIN || Math.abs(atMs - route.firedMs) < REARM_MS || atMs < this.#quietUntilMs) return NOTHING
    const features: AnomalyFeature[] = []
    for (const measure of JUDGED) {
      const feature = this.#feature(route, measure, values, all, atMs)
      if (feature !== undefined) features.push(feature)
    }
    if (features.length === 0) return NOTHING
    features.sort((a, b) => b.away - a.away)
    route.firedMs = atMs
    const where = name === '' ? 'what no route is declared for' : `route ${name}`
    return [
      {
        rule: 'anomaly-route',
        service,
        key: ['route', name],
        sources: window.sources(),
        atMs: atMs + WINDOW_MS,
        features,
        rarity: undefined,
        reason: `${where}: in 5 min ${describeFeatures('anomaly-route', features)}`,
      },
    ]
  }

  #feature(
    route: Route,
    name: RouteMeasure,
    values: readonly number[],
    all: readonly Closed[],
    atMs: number,
  ): AnomalyFeature | undefined {
    const usual = this.#baselines.usual(route.row, AT[name], atMs)
    if (usual === undefined) return undefined
    const value = values[AT[name]]!
    const deviation = Math.max(usual.deviation, leastDeviation(name, route.window, usual))
    const rise = value - usual.median
    // Cheap ones first: next to all windows end here.
    if (rise < this.#limits.deviations * deviation || rise < (name === 'took' ? TOOK_RISE_MIN : RISE_MIN)) return undefined
    if (name === 'refused' && route.window.refused < ERRORS_MIN) return undefined
    if (name === 'failed' && route.window.failed < ERRORS_MIN) return undefined
    if (!COMMON.includes(name)) {
      const good = this.#baselines.usual(route.row, AT.good, atMs)
      if (good !== undefined && values[AT.good]! < good.median - GOOD_FALL) return undefined
    }
    const left = rise - commonRise(route, name, all)
    const away = left / deviation
    return away < this.#limits.deviations || left < RISE_MIN ? undefined : { name, value, median: usual.median, deviation, away }
  }
}

const NOTHING: readonly AnomalyFinding[] = []

/** The median of what the other routes of the service rose by; 0 where they did not, or are too few. */
function commonRise(route: Route, name: RouteMeasure, all: readonly Closed[]): number {
  const at = COMMON.indexOf(name)
  if (at < 0) return 0
  const rises = all
    .flatMap((other) => (other.route === route || other.rises === undefined ? [] : [other.rises[at]!]))
    .sort((a, b) => a - b)
  return rises.length < COMMON_ROUTES_MIN ? 0 : Math.max(0, rises[rises.length >> 1]!)
}

/** What chance alone makes of it. */
function leastDeviation(name: RouteMeasure, { requests, refused, failed }: RouteWindow, { median }: Usual): number {
  const usual = 2 ** median - 1
  switch (name) {
    case 'took':
      return TOOK_DEVIATION_MIN
    case 'requests':
    case 'sources':
    case 'good':
      return Math.max(DEVIATION_MIN, RANDOM_BITS / Math.sqrt(usual + 1))
    case 'bytes':
      return Math.max(DEVIATION_MIN, (2 * RANDOM_BITS) / Math.sqrt(requests + 1))
    case 'refused':
      return Math.max(DEVIATION_MIN, RANDOM_BITS / Math.sqrt(refused + 1))
    case 'failed':
      return Math.max(DEVIATION_MIN, RANDOM_BITS / Math.sqrt(failed + 1))
  }
}
