/**
 * Those who mean no harm: people with their habits, and the machines that belong to a shop. By the hour and the day of the week; from home, from
 * phones whose addresses change within a visit, from offices with thousands behind one address. They forget passwords, travel, change their password on a
 * new phone, meet deploys that break things for ten minutes, and sales. Crawlers, probes, partners' programs and a mail
 * application that goes on with an old password are among them.
 */
import { Random } from '../random.ts'
import { type Calendar, DAY, formatIpv4, HOUR, hashOf, MINUTE, type Play, poisson, shareOf, waitMs } from './traffic.ts'

export interface PeopleOptions {
  readonly seed: number
  readonly users: number
  readonly nodes: number
  readonly startMs: number
  readonly days: number
}

/** Visits of a person a day, on average. */
const VISITS_A_DAY = 0.3
/** Of the day's visits in each hour. */
const HOURS = [12, 8, 5, 4, 4, 6, 12, 24, 38, 46, 50, 52, 54, 52, 50, 50, 52, 56, 62, 70, 74, 66, 44, 24]
const HOURS_SUM = HOURS.reduce((sum, one) => sum + one, 0)
const WEEKDAYS = [0.9, 1.05, 1, 1, 1, 1.05, 1]
export const PRODUCTS = 5_000
const BROWSERS = 24
const CRAWLERS = 6

/** Where a prefix of the welcome crawlers is. */
export const CRAWLER_PREFIX = '40.77.0.0/16'
/** Where the monitoring service asks from. */
export const PROBE_PREFIX = '185.10.1.0/24'

/** As JA4 looks. Some browsers are on most machines. */
export function browserOf(share: number): string {
  const number = Math.floor(BROWSERS * share ** 2.2)
  return `t13d15${(16 + (number % 4)).toString()}h2_${hashOf(71, number).toString(16).padStart(8, '0')}ab${number.toString(16).padStart(2, '0')}_${hashOf(72, number).toString(16).padStart(8, '0')}cdef`
}

interface Visit {
  readonly user: number
  readonly phone: boolean
  source: string
  node: number
  readonly ja4: string
  readonly session: string
}

export class People {
  readonly #options: PeopleOptions
  readonly #random: Random
  readonly #calendar: Calendar
  readonly #offices: number
  readonly #carriers: number
  readonly #shared: number
  readonly #deploys: readonly { readonly atMs: number; readonly breaks: 'products' | 'login' | 'login-401' | 'assets' }[]
  readonly #sales: readonly number[]
  #newcomers = 0
  logins = 0

  constructor(options: PeopleOptions, calendar: Calendar) {
    this.#options = options
    this.#calendar = calendar
    this.#random = new Random(hashOf(options.seed, 1))
    const { users, seed, days, startMs } = options
    this.#offices = Math.max(2, Math.ceil((users * 0.12) / 300))
    this.#carriers = Math.max(2, Math.ceil((users * 0.6) / 800))
    this.#shared = Math.max(2, Math.ceil((users * 0.08) / 2_000))
    const random = new Random(hashOf(seed, 2))
    const breaks = ['assets', 'products', 'login', 'assets', 'login-401'] as const
    this.#deploys = Array.from({ length: Math.ceil(days / 3) }, (_, at) => ({
      atMs: startMs + at * 3 * DAY + random.whole(8 * 60, 20 * 60) * MINUTE,
      breaks: breaks[at % breaks.length]!,
    }))
    this.#sales = Array.from({ length: Math.ceil(days / 7) }, (_, at) => startMs + at * 7 * DAY + 4 * DAY + 19 * HOUR)
  }

  /** Puts into the calendar what begins in this minute. */
  minute(minute: number): void {
    const { users, startMs } = this.#options
    const atMs = minute * MINUTE
    const date = new Date(atMs)
    const sale = this.#sales.some((from) => atMs >= from && atMs < from + HOUR) ? 4 : 1
    const hourly = (HOURS[date.getUTCHours()]! / HOURS_SUM) * WEEKDAYS[date.getUTCDay()]!
    const visits = poisson(this.#random, (users * VISITS_A_DAY * hourly * sale) / 60)
    for (let at = 0; at < visits; at += 1) this.#visit(atMs + this.#random.next() * MINUTE)
    this.#machines(minute)
    // A workshop: people of one office join within an hour.
    const sinceMs = atMs - startMs
    if (sinceMs % (11 * DAY) === 10 * HOUR) {
      for (let at = 0; at < 40; at += 1) this.#join(atMs + this.#random.next() * HOUR, this.#office(0.0001))
    }
  }

  #office(share: number): string {
    return formatIpv4(0x60000000 + Math.floor(this.#offices * share ** 2) * 256 + 9)
  }

  #carrier(): string {
    return formatIpv4(0x50000000 + this.#random.whole(0, this.#carriers - 1) * 8)
  }

  /** Where somebody is at home, or at work. */
  #fixed(user: number, atMs: number): string {
    const { seed, startMs } = this.#options
    const share = shareOf(seed, user, 3)
    if (share < 0.12) return this.#office(shareOf(seed, user, 4))
    if (share < 0.2) return formatIpv4(0x58000000 + Math.floor(this.#shared * shareOf(seed, user, 5)))
    if (share < 0.32) return `2a02:${(user >>> 16).toString(16)}:${(user & 0xffff).toString(16)}:1::${this.#random.whole(1, 9)}`
    // Providers give another address every week or so.
    const lease = Math.floor((atMs - startMs) / (7 * DAY) + shareOf(seed, user, 6))
    return formatIpv4(0x14000000 + user * 8 + (lease % 8))
  }

  #home(user: number): number {
    const share = shareOf(this.#options.seed, user, 7)
    const { nodes } = this.#options
    return Math.floor(nodes * share ** 1.3)
  }

  #broken(what: 'products' | 'login' | 'login-401' | 'assets', atMs: number): boolean {
    return this.#deploys.some(({ atMs: from, breaks }) => breaks === what && atMs >= from && atMs < from + 10 * MINUTE)
  }

  #put(
    visit: Visit,
    atMs: number,
    method: 'GET' | 'POST',
    path: string,
    status: number,
    bytes: number,
    more: Partial<Play> = {},
  ): void {
    const { user, source, node, ja4 } = visit
    const missing = path.startsWith('/assets/') && this.#broken('assets', atMs)
    const failing = path.startsWith('/products/') && this.#broken('products', atMs)
    this.#calendar.add({
      atMs,
      node,
      source,
      ja4,
      method,
      path,
      status: missing ? 404 : failing ? 500 : status,
      bytes,
      who: user,
      ...more,
    })
  }

  #visit(fromMs: number): void {
    const { users, seed, nodes } = this.#options
    const random = this.#random
    const user = random.whole(0, users - 1)
    const phone = shareOf(seed, user, 8) < 0.6 && random.chance(0.5)
    const away = random.chance(0.06)
    // A new machine once in a while; months apart.
    const machine = shareOf(seed, user, phone ? 9 : 10, random.chance(0.004) ? Math.floor(fromMs / (10 * DAY)) : 0)
    const visit: Visit = {
      user,
      phone,
      source: phone && random.chance(0.6) ? this.#carrier() : away ? this.#carrier() : this.#fixed(user, fromMs),
      node: random.chance(away ? 0.3 : 0.05) ? random.whole(0, nodes - 1) : this.#home(user),
      ja4: browserOf(machine),
      session: `s${user.toString(36)}${phone ? 'p' : 'd'}${Math.floor(machine * 1e6).toString(36)}`,
    }
    let atMs = fromMs
    const assets = random.whole(1, 3)
    this.#put(visit, atMs, 'GET', '/', 200, 8_000)
    for (let at = 0; at < assets; at += 1)
      this.#put(
        visit,
        atMs + 200 + at * 50,
        'GET',
        `/assets/${Math.floor(fromMs / (3 * DAY))}-${at}.js`,
        random.chance(0.4) ? 304 : 200,
        40_000,
      )
    let inside: string | undefined
    if (random.chance(0.45)) {
      // Most are remembered; the others log in.
      if (random.chance(0.7)) inside = visit.session
      else {
        atMs += waitMs(random, 20_000)
        const ended = this.#login(visit, atMs)
        atMs = ended.atMs
        if (ended.ok) inside = visit.session
      }
    }
    const pages = Math.min(40, 1 + Math.floor(waitMs(random, 3.2)))
    for (let page = 0; page < pages; page += 1) {
      atMs += 2_000 + waitMs(random, 25_000)
      // On the move: another cell, or home again; the node may change with it.
      if (visit.phone && random.chance(0.04)) {
        visit.source = random.chance(0.7) ? this.#carrier() : this.#fixed(user, atMs)
        if (random.chance(0.1)) visit.node = random.whole(0, nodes - 1)
      }
      const session = inside === undefined ? {} : { session: inside }
      const share = random.next()
      if (share < 0.62) {
        const product = Math.floor(PRODUCTS * random.next() ** 2.5)
        this.#put(visit, atMs, 'GET', `/products/${product}`, random.chance(0.006) ? 404 : 200, 15_000, session)
      } else if (share < 0.8) this.#put(visit, atMs, 'GET', `/search?q=${random.whole(1, 9_999)}`, 200, 12_000, session)
      else if (inside === undefined)
        this.#put(visit, atMs, 'GET', `/pages/${random.whole(1, 40)}`, random.chance(0.01) ? 404 : 200, 9_000)
      else if (share < 0.9) this.#put(visit, atMs, 'GET', `/orders/${user * 16 + random.whole(0, 5)}`, 200, 6_000, session)
      else if (share < 0.95) {
        if (random.chance(0.2)) {
          const tries = random.whole(1, 3)
          for (let at = 0; at < tries; at += 1) this.#put(visit, (atMs += 6_000), 'POST', '/coupon', 422, 300, session)
        }
        this.#put(visit, (atMs += 15_000), 'POST', '/checkout', 200, 900, session)
      } else this.#put(visit, atMs, 'GET', '/account', 200, 5_000, session)
    }
    if (inside === undefined) {
      if (random.chance(0.002)) this.#join(atMs + 30_000, visit.source)
      return
    }
    const session = { session: inside }
    const office = shareOf(seed, user, 3) < 0.12
    if (office && shareOf(seed, user, 11) < 0.05)
      this.#put(visit, (atMs += 9_000), 'GET', '/api/export', 200, random.whole(1, 30) * 1_000_000, session)
    if (random.chance(0.002)) {
      this.#put(visit, (atMs += 40_000), 'POST', '/account/password', 200, 400, session)
      if (random.chance(0.05)) this.#put(visit, (atMs += 50_000), 'POST', '/account/email', 200, 400, session)
    } else if (random.chance(0.001)) this.#put(visit, (atMs += 40_000), 'POST', '/account/email', 200, 400, session)
  }

  /** Some get it wrong, some again and again, some ask for another password. */
  #login(visit: Visit, fromMs: number): { readonly atMs: number; readonly ok: boolean } {
    const random = this.#random
    const account = `u${visit.user}@example.test`
    let atMs = fromMs
    const say = (status: number): void => {
      const down = this.#broken('login', atMs) ? 500 : this.#broken('login-401', atMs) ? 401 : status
      this.logins += 1
      this.#put(visit, atMs, 'POST', '/login', down, 700, { account })
    }
    let left = random.chance(0.07) ? 1 : 0
    while (left > 0 && random.chance(0.4) && left < 7) left += 1
    for (; left > 0; left -= 1) {
      say(401)
      atMs += 4_000 + waitMs(random, 15_000)
      if (random.chance(0.12)) return { atMs, ok: false }
      if (!random.chance(0.15)) continue
      this.#put(visit, atMs, 'POST', '/reset', 202, 300, { account })
      atMs += 60_000 + waitMs(random, 120_000)
      break
    }
    say(200)
    // A program that still has the old password, until somebody sees it.
    if (random.chance(0.003)) {
      let again = atMs + 5 * MINUTE
      for (let at = random.whole(3, 30); at > 0; at -= 1) {
        this.#put(visit, again, 'POST', '/login', 401, 700, { account })
        again += 10 * MINUTE + waitMs(random, 30_000)
      }
    }
    const ok = !this.#broken('login', atMs) && !this.#broken('login-401', atMs)
    return { atMs, ok }
  }

  #join(atMs: number, source: string): void {
    const user = this.#options.users + this.#newcomers
    this.#newcomers += 1
    const visit: Visit = {
      user,
      phone: false,
      source,
      node: this.#home(user),
      ja4: browserOf(shareOf(this.#options.seed, user, 10)),
      session: `n${user.toString(36)}`,
    }
    this.#put(visit, atMs, 'GET', '/signup', 200, 5_000)
    this.#put(visit, atMs + 40_000, 'POST', '/signup', 201, 600, { account: `u${user}@example.test` })
    this.#put(visit, atMs + 55_000, 'GET', '/account', 200, 5_000, { session: visit.session })
    this.#put(visit, atMs + 80_000, 'GET', '/products/7', 200, 15_000, { session: visit.session })
  }

  #machines(minute: number): void {
    const random = this.#random
    const { nodes, users } = this.#options
    const atMs = minute * MINUTE
    const machine = (
      source: string,
      ja4: string,
      at: number,
      node: number,
      path: string,
      status: number,
      more: Partial<Play> = {},
    ): void =>
      this.#calendar.add({ atMs: at, node, source, ja4, method: 'GET', path, status, bytes: 2_000, who: undefined, ...more })
    // Probes of a monitoring service, from three places, every half minute; and one that logs in every five.
    for (let probe = 0; probe < 3; probe += 1) {
      for (const second of [0, 30])
        machine(
          `185.10.1.${probe + 1}`,
          't12d0807h1_probe',
          atMs + second * 1_000 + probe * 100 + random.whole(0, 40),
          probe % nodes,
          '/healthz',
          200,
        )
    }
    if (minute % 5 === 0)
      machine(
        '185.10.1.1',
        't12d0807h1_probe',
        atMs + 700,
        minute % nodes,
        '/login',
        this.#broken('login', atMs) ? 500 : this.#broken('login-401', atMs) ? 401 : 200,
        {
          method: 'POST',
          account: 'probe@example.test',
        },
      )
    // Search engines walk all of it, slowly, with links that are gone.
    const busy = Math.max(1, Math.min(4, Math.round(users / 100_000)))
    for (let crawler = 0; crawler < CRAWLERS; crawler += 1) {
      for (let at = 0; at < busy; at += 1) {
        const path = random.chance(0.05) ? `/old/${random.whole(1, 3_000)}` : `/products/${random.whole(0, PRODUCTS - 1)}`
        machine(
          `40.77.${crawler}.${random.whole(1, 20)}`,
          `t13d1011h2_crawler${crawler}`,
          atMs + random.next() * MINUTE,
          crawler % nodes,
          path,
          path.startsWith('/old') ? 404 : 200,
        )
      }
    }
    // A small one that nobody listed, which keeps to a page every two minutes.
    if (minute % 2 === 0)
      machine(
        '51.15.3.7',
        't13d0910h1_archive',
        atMs + random.next() * MINUTE,
        0,
        `/products/${random.whole(0, PRODUCTS - 1)}`,
        200,
      )
    // Partners ask for orders every minute with their own token, and fetch everything at night.
    for (let partner = 0; partner < 4; partner += 1) {
      machine(
        `91.20.${partner}.5`,
        't13d0708h1_partner',
        atMs + 5_000 + random.whole(0, 300),
        partner % nodes,
        `/orders/feed-${partner}`,
        200,
        { session: `partner${partner}` },
      )
      if (minute % 1_440 === 120 + partner * 7)
        machine(`91.20.${partner}.5`, 't13d0708h1_partner', atMs + 9_000, partner % nodes, '/api/export', 200, {
          session: `partner${partner}`,
          bytes: random.whole(180, 220) * 1_000_000,
        })
    }
  }
}
