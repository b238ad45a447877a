import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AnomalyDetector } from './anomaly-detector.ts'
import type { AnomalyFinding } from './anomaly-finding.ts'
import { FewDistinct } from './anomaly-window.ts'
import { MemoryMalformed } from './errors.ts'
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
    other.detector.merge('n1', bytes)
    stranger.detector.merge('n1', bytes)
  }
  assert.equal(stranger.detector.size.bytes, scene().detector.size.bytes)
  assert.throws(() => other.detector.merge('n1', Uint8Array.of(9)))
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

const bytesOf = (detector: AnomalyDetector, nowMs: number): readonly Uint8Array[] => [...detector.memory(nowMs)]
const again = (pieces: readonly Uint8Array[], nowMs: number): Scene => {
  const made = scene({ perHourMax: 50 })
  made.detector.restore(pieces, nowMs)
  return made
}
let known: readonly Uint8Array[] | undefined
/** What `taught` learned, taught only once. */
const learned = (): Scene => {
  known ??= bytesOf(taught().detector, NOON)
  return again(known, NOON)
}
/** What rules do not know of: a session and an address that are odd, in 20 minutes. */
function oddities(made: Scene, atMs: number): readonly string[] {
  for (let at = 0; at < 250; at += 1)
    made.give(signal(atMs + at * 1_000, 'orders', 4, { status: 403, path: hashText(`/orders/${at}`), session: hex(77) }))
  for (let at = 0; at < 6_000; at += 1)
    made.give(signal(atMs + 310_000 + at * 45, 'search', 5_000, { path: hashText(`/s/${at}`), session: undefined }))
  live(made, atMs + 600_000, atMs + 20 * MINUTE)
  return made.found.map(({ key, reason }) => `${key.join(' ')} ${reason}`)
}

test('a detector made from what was kept says what the one that was kept says, and keeps the same', () => {
  const made = learned()
  // Windows that are open are left out: they are over before it is kept.
  made.detector.expire(NOON + 10 * MINUTE)
  const pieces = bytesOf(made.detector, NOON + 10 * MINUTE)
  const other = again(pieces, NOON + 10 * MINUTE)
  assert.deepEqual(bytesOf(other.detector, NOON + 10 * MINUTE), pieces)
  // Routes begin with a whole window.
  made.detector.expire(NOON + 15 * MINUTE)
  other.detector.expire(NOON + 15 * MINUTE)
  const [said, saidAgain] = [made, other].map((one) => oddities(one, NOON + 20 * MINUTE))
  assert.ok(said!.length >= 3, said!.join('\n'))
  assert.deepEqual(saidAgain, said)
})

test('away for five days it neither learns that time nor speaks of what comes then: as long, at most a whole learning, it says nothing', () => {
  const made = learned()
  const pieces = bytesOf(made.detector, NOON)
  const back = NOON + 5 * DAY
  const other = again(pieces, back)
  live(other, back, back + HOUR)
  assert.deepEqual(oddities(other, back + HOUR), [], 'not within a day')
  live(other, back + 2 * HOUR, back + DAY + HOUR)
  assert.deepEqual(other.found, [], 'what is as it was is usual still')
  const later = again(pieces, back)
  live(later, back, back + DAY + HOUR)
  assert.ok(oddities(later, back + DAY + HOUR).length > 0)
  const soon = again(pieces, NOON + 10 * MINUTE)
  live(soon, NOON + 10 * MINUTE, NOON + 30 * MINUTE)
  assert.ok(oddities(soon, NOON + 30 * MINUTE).length > 0, 'a short restart costs no more than itself')
})

test('an hour of learning and days away are an hour of learning', () => {
  const made = scene()
  live(made, T0, T0 + HOUR)
  const other = again(bytesOf(made.detector, T0 + HOUR), T0 + 9 * DAY + 12 * HOUR)
  live(other, T0 + 9 * DAY + 12 * HOUR, T0 + 10 * DAY + 10 * HOUR)
  assert.deepEqual(oddities(other, T0 + 10 * DAY + 10 * HOUR), [])
})

test('a clock that goes back two days, or an hour ahead for a while, makes no finding, and what comes later is found', () => {
  for (const [aheadMs, forMs] of [
    [2 * DAY, 30 * MINUTE],
    [HOUR + 5 * MINUTE, 10 * MINUTE],
  ] as const) {
    const made = learned()
    const tick = (fromMs: number, toMs: number): void => {
      for (let atMs = fromMs; atMs < toMs; atMs += MINUTE) {
        live(made, atMs, atMs + MINUTE)
        made.found.push(...made.detector.expire(atMs + MINUTE - 3_000))
      }
    }
    tick(NOON + aheadMs, NOON + aheadMs + forMs)
    tick(NOON + forMs, NOON + 4 * HOUR)
    assert.deepEqual(made.found, [])
    const dueMs = NOON + Math.min(DAY, aheadMs) + 4 * HOUR
    tick(NOON + 4 * HOUR, dueMs)
    assert.ok(oddities(made, dueMs).length > 0, 'nothing waits until the clock is where it was')
  }
})

test('hours that move by one, as with daylight saving time, are usual', () => {
  const made = learned()
  for (let day = 0; day < 2; day += 1)
    for (let hour = 0; hour < 24; hour += 1) {
      // The same day as before, an hour sooner.
      const atMs = NOON + day * DAY + hour * HOUR
      const random = randomFrom(atMs / MINUTE)
      const isDay = new Date(atMs + HOUR).getUTCHours() > 7 && new Date(atMs + HOUR).getUTCHours() < 20
      for (let visit = 0; visit < 60 * (isDay ? 14 : 3); visit += 1)
        for (let page = 0; page < 4; page += 1)
          made.give(
            signal(atMs + visit * (isDay ? 4_000 : 20_000), ROUTES[Math.floor(random() * 5)]!, Math.floor(random() * 2_000)),
          )
    }
  assert.deepEqual(
    made.found.map(({ reason }) => reason),
    [],
  )
})

test('a source that doubles what it does every five minutes does not make that usual for itself', () => {
  const made = learned()
  const source = '203.0.113.9'
  for (let window = 0; window < 11; window += 1)
    for (let at = 0; at < 2 ** window; at += 1)
      made.give(
        signal(NOON + window * 305_000 + Math.floor((at * 300_000) / 2 ** window), 'search', 0, {
          source,
          session: undefined,
          path: hashText(`/s/${at}`),
        }),
      )
  live(made, NOON + HOUR, NOON + 70 * MINUTE)
  assert.ok(made.found.some(({ rule, key: [, value] }) => rule === 'anomaly-source' && value === source))
})

test('the same measure out of what is usual twice is found, no larger the second time', () => {
  const made = learned()
  for (const atMs of [NOON, NOON + 15 * MINUTE]) made.give(signal(atMs, 'orders', 8, { bytes: 3_000_000_000, session: hex(88) }))
  live(made, NOON + 20 * MINUTE, NOON + 40 * MINUTE)
  const of = made.found.filter(({ key: [, value] }) => value === hex(88))
  assert.equal(of.length, 1)
})

test('a node that is heard again and again while this one counts next to nothing weighs no more than once', () => {
  const [quiet, liar] = [scene(), scene()]
  live(quiet, T0, T0 + 3 * HOUR)
  live(liar, T0, T0 + 6 * HOUR, () => 3)
  const told: Uint8Array[] = []
  for (let next = liar.detector.summary(); next !== undefined; next = liar.detector.summary()) told.push(next)
  const once = again(bytesOf(quiet.detector, T0 + 3 * HOUR), T0 + 3 * HOUR)
  const often = again(bytesOf(quiet.detector, T0 + 3 * HOUR), T0 + 3 * HOUR)
  for (const bytes of told) often.detector.merge('liar', bytes)
  for (const bytes of told) once.detector.merge('liar', bytes)
  for (let day = 0; day < 10; day += 1) for (const bytes of told) often.detector.merge('liar', bytes)
  assert.deepEqual(bytesOf(often.detector, T0 + 3 * HOUR), bytesOf(once.detector, T0 + 3 * HOUR))
})

test('services that a policy no longer has give their place to others after a day', () => {
  const { detector, give } = scene()
  for (let at = 0; at < 16; at += 1) give(signal(T0, 'home', at, { service: `old${at}` }))
  give(signal(T0 + HOUR, 'home', 1, { service: 'new' }))
  const { windows } = detector.size
  give(signal(T0 + HOUR, 'home', 2, { service: 'new' }))
  assert.equal(detector.size.windows, windows, 'there is no room')
  for (let at = 2; at < 26; at += 1) give(signal(T0 + at * HOUR - 1, 'home', 1, { service: 'old0' }))
  give(signal(T0 + 26 * HOUR, 'home', 1, { service: 'new' }))
  const kept = bytesOf(detector, T0 + 26 * HOUR).map((piece) => Buffer.from(piece).toString('latin1'))
  assert.ok(detector.size.windows > 0 && kept.length > 0)
  live({ detector, found: [], give: (one) => give({ ...one, service: 'new' }) }, T0 + 26 * HOUR, T0 + 27 * HOUR)
  assert.ok(bytesOf(detector, T0 + 27 * HOUR).some((piece) => Buffer.from(piece).includes('new')))
})

test('property: of what was kept, whatever is cut, changed, left out or another’s is refused or taken up, and never makes a number that is none', () => {
  const made = scene()
  live(made, T0, T0 + 3 * HOUR)
  made.detector.expire(T0 + 3 * HOUR + 10 * MINUTE)
  const now = T0 + 4 * HOUR
  const pieces = bytesOf(made.detector, now)
  assert.ok(pieces.length > 8)
  for (const wrong of [
    pieces.slice(1),
    [pieces[0]!, ...pieces],
    [...pieces, pieces.at(-1)!],
    [pieces[0]!.with(1, 2)],
    [pieces[0]!.with(2, pieces[0]![2]! ^ 1)],
  ])
    assert.throws(() => again(wrong, now), MemoryMalformed)
  assert.throws(() => again(pieces, now + 61 * DAY), /60 days/)
  const edit = fc.record({
    piece: fc.nat(),
    byte: fc.nat({ max: 4_000 }),
    value: fc.integer({ min: 1, max: 255 }),
    cut: fc.boolean(),
  })
  fc.assert(
    fc.property(edit, ({ piece, byte, value, cut }) => {
      const which = piece % pieces.length
      const bytes = pieces[which]!
      const at = byte % bytes.length
      const changed = cut ? bytes.subarray(0, at) : bytes.with(at, bytes[at]! ^ value)
      const one = scene()
      try {
        one.detector.restore(pieces.with(which, changed), now)
      } catch (error) {
        assert.ok(error instanceof MemoryMalformed, `${error}`)
        return
      }
      live(one, now, now + 5 * MINUTE)
      one.detector.expire(now + HOUR)
      for (const _ of one.detector.memory(now + HOUR));
    }),
    { numRuns: 60 },
  )
})
