import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnomalyDetector } from './anomaly-detector.ts'
import type { AnomalyFinding } from './anomaly-finding.ts'
import { FewDistinct } from './anomaly-window.ts'
import { hashText, type Signal } from './signal.ts'

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]
/** A Monday, at midnight. */
const T0 = Date.UTC(2_026, 5, 1)
const ROUTES = ['home', 'products', 'search', 'orders', 'login'] as const
type Route = (typeof ROUTES)[number]
/** A plain generator (Numerical Recipes). */
const randomFrom = (seed: number) => () => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32

const hex = (number: number): string => number.toString(16).padStart(32, '0')

function signal(atMs: number, route: Route, user: number, more: Partial<Signal> = {}): Signal {
  return {
    atMs,
    service: 'shop',
    route,
    method: 'GET',
    status: 200,
    bytes: 9_000,
    source: `10.0.${user >> 8}.${user & 255}`,
    fingerprint: undefined,
    account: undefined,
    session: user % 2 === 0 ? hex(user) : undefined,
    path: hashText(`/${route}/${user % 50}`),
    login: undefined,
    signup: false,
    tookMs: 20,
    ...more,
  }
}

interface Scene {
  readonly detector: AnomalyDetector
  readonly found: AnomalyFinding[]
  readonly give: (signal: Signal) => void
}

function scene(options: Partial<ConstructorParameters<typeof AnomalyDetector>[0]> = {}): Scene {
  const found: AnomalyFinding[] = []
  const detector = new AnomalyDetector({ seed: 'ring', deviations: 6, learnMs: DAY, perHourMax: 6, ...options })
  return { detector, found, give: (one) => void found.push(...detector.observe(one)) }
}

/** A shop in small: visits at random, four times as many by day; what goes on is seen with `more`. */
function live(
  { give }: Scene,
  fromMs: number,
  toMs: number,
  times: (atMs: number) => number = () => 1,
  more: (route: Route) => Partial<Signal> = () => ({}),
): void {
  const random = randomFrom(fromMs / MINUTE)
  for (let atMs = fromMs; atMs < toMs; atMs += MINUTE) {
    const hour = new Date(atMs).getUTCHours()
    const visits = Math.round((hour > 7 && hour < 20 ? 14 : 3) * times(atMs) * (0.5 + random()))
    for (let visit = 0; visit < visits; visit += 1) {
      const user = Math.floor(random() * 2_000)
      const pages = 2 + Math.floor(random() * 6)
      for (let page = 0; page < pages; page += 1) {
        const route = ROUTES[Math.floor(random() * ROUTES.length)]!
        const missing = random() < 0.01 ? { status: 404 } : {}
        give(
          signal(atMs + page * 5_000, route, user, { bytes: 4_000 + Math.floor(20_000 * random()), ...missing, ...more(route) }),
        )
      }
    }
  }
}

const NOON = T0 + DAY + 12 * HOUR

/** Enough where single sessions do not matter. */
const half = (): number => 0.5

/** A day and a half of it. */
function taught(options: Parameters<typeof scene>[0] = {}, times?: (atMs: number) => number): Scene {
  const made = scene(options)
  live(made, T0, NOON, times)
  assert.deepEqual(
    made.found.map(({ reason }) => reason),
    [],
    'nothing is said of what is usual',
  )
  return made
}

test('days of what is usual, with a sale of four times as many and a deploy that breaks a route for ten minutes, make no finding', () => {
  const made = taught({}, half)
  const deploy = NOON + 4 * HOUR
  const sale = NOON + 6 * HOUR
  live(made, NOON, deploy, half)
  live(made, deploy, deploy + 10 * MINUTE, half, (route) => (route === 'products' ? { status: 500 } : {}))
  live(made, deploy + 10 * MINUTE, NOON + DAY, (atMs) => (atMs >= sale && atMs < sale + HOUR ? 4 : 1) * half())
  assert.deepEqual(
    made.found.map(({ reason }) => reason),
    [],
  )
})

test('routes and sessions that are not as usual are found, each once, with what is odd, what would be usual, and who', () => {
  const made = taught({ perHourMax: 50 })
  const during = (atMs: number, odd: () => void, more?: (route: Route) => Partial<Signal>): readonly AnomalyFinding[] => {
    made.found.length = 0
    odd()
    live(made, atMs, atMs + 11 * MINUTE, undefined, more)
    return made.found.splice(0)
  }
  const routesOf = (found: readonly AnomalyFinding[]) => found.filter(({ rule }) => rule === 'anomaly-route')

  const asked = during(NOON, () => {
    for (let at = 0; at < 6_000; at += 1)
      made.give(signal(NOON + at * 50, 'search', 5_000 + (at % 3), { path: hashText(`/search/${at}`), session: undefined }))
  })
  const [search, ...more] = routesOf(asked)
  assert.deepEqual([search?.key, more.length], [['route', 'search'], 0])
  assert.equal(search!.sources.length, 3)
  assert.match(search!.reason, /^route search: in 5 min .*\b\d+ requests \(usual: \d+ to \d+\)/)
  const scraper = asked.find(({ rule }) => rule === 'anomaly-source')
  assert.match(
    scraper!.reason,
    /\d+ requests \(usual: \d+ to \d+\).*; (rarer than all that is remembered|as rare as \d+ of 10,000)$/,
  )

  const refusedMs = NOON + HOUR
  const [login] = routesOf(
    during(refusedMs, () => {
      for (let at = 0; at < 900; at += 1)
        made.give(signal(refusedMs + at * 300, 'login', 6_000 + at, { status: 401, method: 'POST', session: undefined }))
    }),
  )
  assert.deepEqual(login?.key, ['route', 'login'])
  assert.match(login!.reason, /at least \d\d % answered with 4xx \(usual: 0 %\)/)
  assert.deepEqual(login!.sources, [], 'nobody makes a fifth of it')

  const slowMs = NOON + 2 * HOUR
  const [orders] = routesOf(
    during(
      slowMs,
      () => {},
      (route) => (route === 'orders' ? { tookMs: 900 } : {}),
    ),
  )
  assert.deepEqual(orders?.key, ['route', 'orders'])
  assert.match(orders!.reason, /95 of 100 answered within \d{3,4} ms \(usual: \d\d ms to \d\d ms\)/)

  const walkMs = NOON + 3 * HOUR
  const walked = during(walkMs, () => {
    for (let at = 0; at < 250; at += 1)
      made.give(signal(walkMs + at * 1_000, 'orders', 4, { status: 403, path: hashText(`/orders/${at}`), session: hex(77) }))
  })
  const walker = walked.find(({ rule }) => rule === 'anomaly-account')
  assert.deepEqual(walker?.key, ['session', hex(77)])
  assert.match(walker!.reason, /\d+ answered with 4xx \(usual: 0 to \d\)/)

  const loadMs = NOON + 4 * HOUR
  const download = (atMs: number, bytes: number) => () => made.give(signal(atMs, 'orders', 8, { bytes, session: hex(88) }))
  const of = (found: readonly AnomalyFinding[]) => found.filter(({ key: [, value] }) => value === hex(88))
  assert.deepEqual(of(during(loadMs, download(loadMs, 200_000_000))), [], 'once may be anything')
  const again = of(during(loadMs + 15 * MINUTE, download(loadMs + 15 * MINUTE, 3_000_000_000)))
  assert.match(again[0]?.reason ?? '', /3000 MB sent \(usual: /)
  assert.deepEqual(of(during(loadMs + 30 * MINUTE, download(loadMs + 30 * MINUTE, 3_000_000_000))), [], 'it did that before')
})

test('nothing is said in the first day, and at most so many in an hour of one service, the rest counted', () => {
  const flood = (made: Scene): void => {
    for (let who = 0; who < 40; who += 1) {
      for (let at = 0; at < 100; at += 1)
        made.give(
          signal(NOON + at * 1_000, 'orders', 9_000 + who, { status: 403, path: hashText(`/o/${who}/${at}`), method: 'POST' }),
        )
    }
    made.found.push(...made.detector.expire(NOON + 20 * MINUTE))
  }
  const fresh = scene({ learnMs: 2 * DAY })
  live(fresh, T0 + DAY, NOON, half)
  flood(fresh)
  assert.deepEqual(fresh.found, [])
  const made = taught({ perHourMax: 2 }, half)
  flood(made)
  assert.ok(made.found.length <= 4, 'of two hours')
  assert.ok(made.detector.heldBack > 0)
})

test('what one node counted, another scores by: at most as much as it saw itself, nothing of what it saw nothing of, once in a while', () => {
  const [one, other, stranger] = [scene(), scene(), scene()]
  live(one, T0, T0 + 6 * HOUR, half)
  live(other, T0, T0 + 6 * HOUR, half)
  const told: Uint8Array[] = []
  for (let next = one.detector.summary(); next !== undefined; next = one.detector.summary()) told.push(next)
  assert.ok(told.length >= 2 && told.every((bytes) => bytes.length < 262_144))
  for (const bytes of told) {
    other.detector.merge('n1', bytes, T0 + 6 * HOUR)
    stranger.detector.merge('n1', bytes, T0 + 6 * HOUR)
  }
  assert.equal(stranger.detector.size.bytes, scene().detector.size.bytes)
  assert.throws(() => other.detector.merge('n1', Uint8Array.of(9), T0))
})

test('whatever comes, memory is bounded: windows, actors, routes and services stay within their numbers', () => {
  const { detector, give } = scene({ windowsMax: 100 })
  const random = randomFrom(5)
  for (let at = 0; at < 12_000; at += 1) {
    const user = Math.floor(random() * 2 ** 31)
    give(
      signal(T0 + at * 50, 'home', 0, {
        source: `${user}`,
        session: hex(user),
        service: `s${at % 40}`,
        route: `r${at % 1_000}`,
      }),
    )
  }
  const { windows, actors, routes, cutShort, bytes } = detector.size
  assert.ok(windows <= 16 * 2 * 100 && actors <= 16 * 2 * 10_000 && routes <= 256, `${windows} ${actors} ${routes}`)
  assert.ok(cutShort > 0)
  assert.ok(bytes <= 64 * 1_048_576, `${bytes}`)
})

test('different things are counted exactly while they are one or two, within a fifth at 100, and up to 621', () => {
  const few = new FewDistinct()
  const counts: number[] = []
  for (let at = 0; at < 5_000; at += 1) {
    few.add(hashText(`${at >> 1}`))
    counts.push(few.count)
  }
  assert.deepEqual(counts.slice(0, 4), [1, 1, 2, 2])
  assert.ok(Math.abs(counts[199]! - 100) < 20, `${counts[199]}`)
  assert.equal(Math.round(Math.max(...counts)), 621)
  few.clear()
  assert.equal(few.count, 0)
})
