/**
 * Attacks, each kind as its MITRE ATT&CK technique has it. An instance puts all of its requests into the calendar when it begins. None adapts to
 * being refused. `answers` of the application are what it would say to such a request; a stolen or guessed password works.
 */
import type { Random } from '../random.ts'
import { browserOf, PRODUCTS } from './people.ts'
import { type Calendar, DAY, formatIpv4, HOUR, hashOf, MINUTE, type Play } from './traffic.ts'

/** What an instance is played with. */
export interface Stage {
  readonly random: Random
  readonly calendar: Calendar
  readonly nodes: number
  readonly users: number
  readonly startMs: number
  /** −1 for the first instance. */
  readonly who: number
  readonly number: number
}

export interface AttackKind {
  readonly name: string
  readonly attack: string
  readonly what: string
  readonly lastsMs: number
  readonly play: (stage: Stage) => void
}

type Part = Partial<Omit<Play, 'atMs' | 'source'>>

function put(stage: Stage, atMs: number, source: string, part: Part): void {
  const { calendar, random, nodes, who, number } = stage
  calendar.add({
    atMs,
    source,
    node: random.whole(0, nodes - 1),
    ja4: `t13d0312h1_tool${hashOf(number, 5).toString(16)}`,
    method: 'GET',
    path: '/',
    status: 200,
    bytes: 500,
    who,
    ...part,
  })
}

/** Addresses that people rent out, unknowing; nobody of the shop's own people has one of them. */
function proxies(stage: Stage, count: number): readonly string[] {
  return Array.from({ length: count }, (_, at) => formatIpv4(0xb0000000 + (hashOf(stage.number, 900, at) % 0x0fff_ffff)))
}

const victim = ({ random, users }: Stage): string => `u${random.whole(0, users - 1)}@example.test`
const likeBrowser = ({ random }: Stage): string => browserOf(random.next())

/** Attempts at a login: most fail. */
function attempt(stage: Stage, atMs: number, source: string, account: string, part: Part = {}, good = false): void {
  put(stage, atMs, source, { method: 'POST', path: '/login', status: good ? 200 : 401, bytes: 700, account, ...part })
}

export const KINDS: readonly AttackKind[] = [
  {
    name: 'brute-force',
    attack: 'T1110.001',
    what: 'one address, one account, an attempt every 2 s for 10 min',
    lastsMs: 10 * MINUTE,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      const account = victim(stage)
      for (let at = 0; at < 300; at += 1)
        attempt(stage, stage.startMs + at * 2_000, source!, account, { node: stage.number % stage.nodes })
    },
  },
  {
    name: 'brute-force-slow',
    attack: 'T1110.001',
    what: 'one address, one account, an attempt every 15 min for 3 days',
    lastsMs: 3 * DAY,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      const account = victim(stage)
      for (let at = 0; at < 288; at += 1)
        attempt(stage, stage.startMs + at * 15 * MINUTE + stage.random.whole(0, 60_000), source!, account, {
          ja4: browserOf(0.1),
        })
    },
  },
  {
    name: 'guessing-spread',
    attack: 'T1110.003',
    what: 'one account; an attempt a node every 8 h over 3 days, each from another address',
    lastsMs: 3 * DAY,
    play: (stage) => {
      const account = victim(stage)
      const sources = proxies(stage, 9 * stage.nodes)
      for (const [at, source] of sources.entries()) {
        const atMs = stage.startMs + Math.floor(at / stage.nodes) * 8 * HOUR + stage.random.whole(0, 7 * HOUR)
        attempt(stage, atMs, source, account, { node: at % stage.nodes, ja4: likeBrowser(stage) })
      }
    },
  },
  {
    name: 'stuffing-fast',
    attack: 'T1110.004',
    what: '150 addresses, 2 attempts a minute each for an hour, another account each time',
    lastsMs: HOUR,
    play: (stage) => {
      for (const [place, source] of proxies(stage, 150).entries()) {
        for (let at = 0; at < 120; at += 1)
          attempt(
            stage,
            stage.startMs + at * 30_000 + place * 190,
            source,
            `leak${stage.number}-${place}-${at}@example.net`,
            {},
            stage.random.chance(0.005),
          )
      }
    },
  },
  {
    name: 'stuffing-slow',
    attack: 'T1110.004',
    what: '5,000 addresses, 0.2 attempts an hour each for 12 h, as browsers look, another account each time',
    lastsMs: 12 * HOUR,
    play: (stage) => {
      for (const [place, source] of proxies(stage, 5_000).entries()) {
        for (let at = 0; at < 3; at += 1) {
          const atMs = stage.startMs + at * 5 * HOUR + stage.random.whole(0, 5 * HOUR - 1)
          if (atMs < stage.startMs + 12 * HOUR)
            attempt(
              stage,
              atMs,
              source,
              `leak${stage.number}-${place}-${at}@example.net`,
              { ja4: likeBrowser(stage) },
              stage.random.chance(0.003),
            )
        }
      }
    },
  },
  {
    name: 'spraying',
    attack: 'T1110.003',
    what: '10 addresses, an attempt every 2 min each for 12 h, one password on another account each time',
    lastsMs: 12 * HOUR,
    play: (stage) => {
      for (const [place, source] of proxies(stage, 10).entries()) {
        for (let at = 0; at < 360; at += 1)
          attempt(
            stage,
            stage.startMs + at * 2 * MINUTE + place * 11_000,
            source,
            victim(stage),
            { ja4: likeBrowser(stage) },
            stage.random.chance(0.002),
          )
      }
    },
  },
  {
    name: 'enumeration',
    attack: 'T1589.002',
    what: '4 addresses ask to reset the passwords of names, 6 a minute each for half an hour; most are nobody’s',
    lastsMs: 30 * MINUTE,
    play: (stage) => {
      for (const [place, source] of proxies(stage, 4).entries()) {
        for (let at = 0; at < 180; at += 1) {
          const status = stage.random.chance(0.1) ? 202 : 404
          put(stage, stage.startMs + at * 10_000 + place * 900, source, {
            method: 'POST',
            path: '/reset',
            status,
            account: `name${at}-${place}@example.test`,
          })
        }
      }
    },
  },
  {
    name: 'scanning',
    attack: 'T1595.003',
    what: 'one address asks for 1,200 paths that are not there in 10 min',
    lastsMs: 10 * MINUTE,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      for (let at = 0; at < 1_200; at += 1)
        put(stage, stage.startMs + at * 500, source!, {
          path: `/admin/x${at}.php`,
          status: stage.random.chance(0.95) ? 404 : 403,
        })
    },
  },
  {
    name: 'scanning-slow',
    attack: 'T1595.003',
    what: 'one address asks for a path that is not there every 3 min for 2 days',
    lastsMs: 2 * DAY,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      for (let at = 0; at < 960; at += 1)
        put(stage, stage.startMs + at * 3 * MINUTE + stage.random.whole(0, 90_000), source!, {
          path: `/.hidden/${at}`,
          status: 404,
          ja4: browserOf(0.2),
        })
    },
  },
  {
    name: 'scraping',
    attack: 'T1593',
    what: 'one address fetches 30 products a minute for 4 h',
    lastsMs: 4 * HOUR,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      for (let at = 0; at < 7_200; at += 1)
        put(stage, stage.startMs + at * 2_000, source!, { path: `/products/${at % PRODUCTS}`, bytes: 15_000 })
    },
  },
  {
    name: 'scraping-spread',
    attack: 'T1593',
    what: '200 addresses with one program fetch a product a minute each for 6 h',
    lastsMs: 6 * HOUR,
    play: (stage) => {
      for (const [place, source] of proxies(stage, 200).entries()) {
        for (let at = 0; at < 360; at += 1)
          put(stage, stage.startMs + at * MINUTE + stage.random.whole(0, 50_000), source, {
            path: `/products/${(at * 200 + place) % PRODUCTS}`,
            bytes: 15_000,
          })
      }
    },
  },
  {
    name: 'account-takeover',
    attack: 'T1078',
    what: 'a stolen password works from a new machine; password and address are changed within minutes',
    lastsMs: 20 * MINUTE,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      const ja4 = likeBrowser(stage)
      const session = `stolen${stage.number}`
      const node = stage.random.whole(0, stage.nodes - 1)
      attempt(stage, stage.startMs, source!, victim(stage), { ja4, node }, true)
      put(stage, stage.startMs + MINUTE, source!, { path: '/account', session, ja4, node })
      put(stage, stage.startMs + 3 * MINUTE, source!, { method: 'POST', path: '/account/email', session, ja4, node })
      put(stage, stage.startMs + 5 * MINUTE, source!, { method: 'POST', path: '/account/password', session, ja4, node })
      for (let at = 0; at < 5; at += 1)
        put(stage, stage.startMs + (6 + at) * MINUTE, source!, { method: 'POST', path: '/checkout', session, ja4, node })
    },
  },
  {
    name: 'token-replay',
    attack: 'T1550.001',
    what: 'a stolen session is used with another program from another region while its owner goes on',
    lastsMs: 30 * MINUTE,
    play: (stage) => {
      const user = stage.random.whole(0, stage.users - 1)
      const session = `kept${stage.number}`
      const own = { session, who: user, node: 0, ja4: browserOf(0.3) }
      for (let at = 0; at < 12; at += 1)
        put(stage, stage.startMs + at * 2 * MINUTE, formatIpv4(0x14000000 + user * 8), { ...own, path: `/products/${at}` })
      const [source] = proxies(stage, 1)
      for (let at = 0; at < 25; at += 1)
        put(stage, stage.startMs + 5 * MINUTE + at * 50_000, source!, {
          path: `/orders/${user * 16 + (at % 6)}`,
          session,
          node: stage.nodes - 1,
        })
    },
  },
  {
    name: 'exfiltration',
    attack: 'T1567',
    what: 'a session that fetched little fetches 40 exports of 30 MB in 2 h',
    lastsMs: 2 * HOUR,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      const session = `insider${stage.number}`
      for (let at = 0; at < 40; at += 1)
        put(stage, stage.startMs + at * 3 * MINUTE, source!, {
          path: '/api/export',
          bytes: 30_000_000,
          session,
          ja4: browserOf(0.1),
        })
    },
  },
  {
    name: 'api-abuse',
    attack: 'T1190',
    what: 'a session walks through the numbers of orders that are not its own, 10 a minute for half an hour',
    lastsMs: 30 * MINUTE,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      const session = `walker${stage.number}`
      for (let at = 0; at < 300; at += 1)
        put(stage, stage.startMs + at * 6_000, source!, {
          path: `/orders/${7_000_000 + at}`,
          status: stage.random.chance(0.9) ? 403 : 404,
          session,
          ja4: browserOf(0.1),
        })
    },
  },
  {
    name: 'coupon-guessing',
    attack: 'T1110',
    what: '5 addresses guess coupons, 12 a minute each for an hour',
    lastsMs: HOUR,
    play: (stage) => {
      for (const [place, source] of proxies(stage, 5).entries()) {
        for (let at = 0; at < 720; at += 1)
          put(stage, stage.startMs + at * 5_000 + place * 700, source, {
            method: 'POST',
            path: '/coupon',
            status: 422,
            session: `guest${stage.number}-${place}`,
          })
      }
    },
  },
  {
    name: 'beaconing',
    attack: 'T1071.001',
    what: 'one address asks a page that nobody else asks for every minute, to the second, for 2 days',
    lastsMs: 2 * DAY,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      const node = stage.random.whole(0, stage.nodes - 1)
      for (let at = 0; at < 2_880; at += 1)
        put(stage, stage.startMs + at * MINUTE + stage.random.whole(0, 1_000), source!, {
          method: 'POST',
          path: `/uploads/${stage.number}.jsp`,
          node,
        })
    },
  },
  {
    name: 'fake-signups',
    attack: 'T1585',
    what: '60 addresses with one program make 300 accounts in 6 h',
    lastsMs: 6 * HOUR,
    play: (stage) => {
      const sources = proxies(stage, 60)
      for (let at = 0; at < 300; at += 1)
        put(stage, stage.startMs + at * 72_000, stage.random.pick(sources), {
          method: 'POST',
          path: '/signup',
          status: 201,
          account: `new${stage.number}-${at}@example.net`,
        })
    },
  },
  {
    name: 'fake-signups-browser',
    attack: 'T1585',
    what: '200 addresses, as browsers look, make 200 accounts in a day',
    lastsMs: DAY,
    play: (stage) => {
      for (const [at, source] of proxies(stage, 200).entries()) {
        const atMs = stage.startMs + at * 432_000
        const ja4 = likeBrowser(stage)
        put(stage, atMs, source, { path: '/signup', ja4 })
        put(stage, atMs + 9_000, source, {
          method: 'POST',
          path: '/signup',
          status: 201,
          account: `fresh${stage.number}-${at}@example.net`,
          ja4,
        })
      }
    },
  },
  {
    name: 'flood',
    attack: 'T1498.001',
    what: 'one address asks 400 times a second for 20 s of a node that has time for 200',
    lastsMs: 20_000,
    play: (stage) => {
      const [source] = proxies(stage, 1)
      const node = stage.random.whole(0, stage.nodes - 1)
      for (let at = 0; at < 8_000; at += 1) put(stage, stage.startMs + at * 2.5, source!, { path: '/search?q=1', node })
    },
  },
]
