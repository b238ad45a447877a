/** One run: people and attacks over some days, from a seed. */
import { Random } from '../random.ts'
import { type AttackKind, KINDS } from './kinds.ts'
import { People } from './people.ts'
import { POLICY } from './policy.ts'
import { type Found, SimRing } from './ring.ts'
import { type IncidentScore, type Score, Scorer } from './score.ts'
import { Calendar, DAY, hashOf, MINUTE, type Play } from './traffic.ts'

export const NODES = 5
export const SERVICE = 'shop'
/** A Monday. */
export const START_MS: number = Date.UTC(2_026, 5, 1)

/** What findings about a whole service may mean. */
const OF_SERVICE: ReadonlyMap<string, readonly string[]> = new Map([
  ['stuffing-campaign', ['stuffing-fast', 'stuffing-slow', 'spraying']],
  ['signups-campaign', ['fake-signups', 'fake-signups-browser']],
  ['signups-slow', ['fake-signups', 'fake-signups-browser']],
])

/** Where a route is not as usual, one of these may be why: those that play on it. */
const OF_ROUTE: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    login: ['brute-force', 'brute-force-slow', 'guessing-spread', 'stuffing-fast', 'stuffing-slow', 'spraying'],
    signup: ['fake-signups', 'fake-signups-browser'],
    reset: ['enumeration'],
    password: ['account-takeover'],
    email: ['account-takeover'],
    orders: ['api-abuse', 'token-replay'],
    products: ['scraping', 'scraping-spread'],
    export: ['exfiltration'],
    coupon: ['coupon-guessing'],
    '': ['scanning', 'scanning-slow', 'beaconing', 'flood'],
  }).map(([route, kinds]) => [`route:${SERVICE}/${route}`, kinds] as const),
)

export interface TrafficOptions {
  readonly seed: number
  readonly users: number
  readonly days: number
  /** Of each kind. */
  readonly instances: number
  readonly kinds?: readonly AttackKind[]
  readonly onDay?: (day: number, plays: number) => void
}

export interface RunOptions extends TrafficOptions {
  readonly policy?: string
  readonly onFound?: (found: Found) => void
  readonly onAnomaly?: (found: Found) => void
}

export interface Run {
  readonly score: Score
  /** Findings that name nobody who attacks. */
  readonly wrong: readonly string[]
  readonly denials: number
  readonly incidents: IncidentScore
  /** Of what is not as usual, apart from all else. */
  readonly anomalies: { readonly score: Score; readonly wrong: readonly string[]; readonly incidents: IncidentScore }
}

/** All that is asked, in order of time; the same from the same seed. `begin` is called before an instance's first request. */
export function playTraffic(
  { seed, users, days, instances, kinds = KINDS, onDay }: TrafficOptions,
  begin: (kind: AttackKind, who: number, startMs: number) => void,
  play: (play: Play) => void,
): void {
  const calendar = new Calendar()
  const people = new People({ seed, users, nodes: NODES, startMs: START_MS, days }, calendar)
  const first = START_MS + 0.2 * days * DAY
  const random = new Random(hashOf(seed, 3))
  const waiting = kinds
    .flatMap((kind, at) =>
      Array.from({ length: instances }, (_, number) => {
        const room = Math.max(0, START_MS + days * DAY - kind.lastsMs - first)
        return {
          kind,
          number: at * instances + number,
          startMs: Math.floor(first + (room * (number + random.next())) / instances),
        }
      }),
    )
    .sort((a, b) => a.startMs - b.startMs)
  let plays = 0
  for (let day = 0; day < days; day += 1) {
    for (let atMs = START_MS + day * DAY; atMs < START_MS + (day + 1) * DAY; atMs += MINUTE) {
      const minute = atMs / MINUTE
      people.minute(minute)
      while (waiting[0] !== undefined && waiting[0].startMs < atMs + MINUTE) {
        const { kind, number, startMs } = waiting.shift()!
        const who = -1 - number
        begin(kind, who, startMs)
        kind.play({ random: new Random(hashOf(seed, 4, number)), calendar, nodes: NODES, users, startMs, who, number })
      }
      for (const one of calendar.take(minute)) {
        play(one)
        plays += 1
      }
    }
    onDay?.(day + 1, plays)
  }
}

export function run({ policy = POLICY, onFound, onAnomaly, ...traffic }: RunOptions): Run {
  const ring = new SimRing({
    nodes: NODES,
    policy,
    startMs: START_MS,
    onFound: (found) => {
      scorer.found(found, OF_SERVICE.get(found.detector))
      onFound?.(found)
    },
    onAnomaly: (found) => {
      odd.found(found, OF_ROUTE.get(found.subjects[0] ?? ''))
      onAnomaly?.(found)
    },
  })
  const scorer = new Scorer(ring.view.ring, SERVICE)
  const odd = new Scorer(ring.view.ring, SERVICE)
  playTraffic(
    traffic,
    (...said) => {
      scorer.begin(...said)
      odd.begin(...said)
    },
    (play) => {
      const outcome = ring.play(play)
      scorer.played(play, outcome)
      odd.played(play, outcome)
    },
  )
  return {
    score: scorer.score(),
    wrong: scorer.wrong,
    denials: ring.denials,
    incidents: scorer.incidents(ring.incidents(), OF_SERVICE),
    anomalies: {
      score: odd.score(),
      wrong: odd.wrong,
      incidents: scorer.incidents(ring.incidents(true), new Map([...OF_SERVICE, ...OF_ROUTE])),
    },
  }
}
