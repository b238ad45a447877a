/**
 * An estimate of false positives of rules that only watch: which of the requests that they would refuse come from clients that
 * otherwise behave. A fold over judged requests; time and requests are arguments. Bounded, whatever comes.
 *
 * The reasoning: an attacker tries many things and little else; a victim of a false positive does its usual business, and matches
 * one rule at one parameter, as others do who do the same business. So a client is *good* while it sent at least `CLEAN_MIN`
 * requests that no rule would refuse, and what would be refused of it is of at most `PAIRS_GOOD_MAX` pairs of rule and variable. A
 * pair looks like a *false positive* when at least `GOOD_MIN` good clients matched it and at least half of its clients are good; like
 * an *attack* when none is. A request looks like a false positive when all its pairs do.
 */
import { addDistinct, countDistinct, createDistinct, type DistinctSketch, mergeDistinct } from './distinct.ts'

export const CLEAN_MIN = 5
export const PAIRS_GOOD_MAX = 2
export const GOOD_MIN = 3

const CLIENTS_MAX = 20_000
const ROUTES_MAX = 1_000
const COMBINATIONS_MAX = 500
const PAIRS_PER_REQUEST_MAX = 8
const CLIENTS_PER_COMBINATION_MAX = 200
/** What a report tells of all that is held: the routes and combinations with the most requests. */
const REPORTED_ROUTES_MAX = 200
const REPORTED_COMBINATIONS_MAX = 1_000
const REPORTED_CLIENTS_MAX = 64
const REPORTED_BEHAVED_MAX = 5_000
const VARIABLE_CHARS_MAX = 120

/** A request that rules looked at. */
export interface JudgedRequest {
  /** Of the service or route. */
  readonly label: string
  /** Which rules, with which exceptions: what was counted under another is forgotten. */
  readonly choice: string
  readonly client: string
  readonly requestId: string
  readonly refused: boolean
  /** What made it so. */
  readonly matches: readonly { readonly ruleId: number; readonly variable: string }[]
}

interface Client {
  clean: number
  refused: number
  /** Different pairs of rule and variable; one more than are told apart. */
  readonly pairs: Set<string>
}

interface Combination {
  readonly pairs: readonly string[]
  requests: number
  lastMs: number
  requestId: string
  readonly clients: Set<string>
}

interface Route {
  readonly choice: string
  readonly sinceMs: number
  requests: number
  refused: number
  /** Refused requests of combinations beyond those that are kept. */
  unsorted: number
  readonly clients: DistinctSketch
  readonly refusedClients: DistinctSketch
  readonly combinations: Map<string, Combination>
}

/** What one node knows, as plain data: the input of `estimate`. */
export interface WatchReport {
  readonly routes: {
    readonly label: string
    readonly choice: string
    readonly sinceMs: number
    readonly requests: number
    readonly refused: number
    readonly unsorted: number
    /** Registers of the sketches. */
    readonly clients: number[]
    readonly refusedClients: number[]
    readonly combinations: {
      readonly pairs: string[]
      readonly requests: number
      readonly lastMs: number
      readonly requestId: string
      readonly clients: string[]
    }[]
  }[]
  /** Of the clients that combinations name, and of others that behave: requests that passed, and what they matched. */
  readonly clients: { readonly client: string; readonly clean: number; readonly pairs: string[] }[]
}

export class FalsePositiveWatch {
  readonly #routes = new Map<string, Route>()
  /** Two generations: what is used stays. */
  #young = new Map<string, Client>()
  #old = new Map<string, Client>()

  observe({ label, choice, client, requestId, refused, matches }: JudgedRequest, nowMs: number): void {
    const route = this.#route(label, choice, nowMs)
    const known = this.#client(client)
    if (route === undefined) return
    route.requests += 1
    addDistinct(route.clients, client)
    if (!refused) {
      known.clean += 1
      return
    }
    known.refused += 1
    route.refused += 1
    addDistinct(route.refusedClients, client)
    const pairs = [...new Set(matches.map(({ ruleId, variable }) => `${ruleId} ${variable.slice(0, VARIABLE_CHARS_MAX)}`))].sort()
    for (const pair of pairs) if (known.pairs.size <= PAIRS_GOOD_MAX) known.pairs.add(pair)
    this.#count(route, pairs, client, requestId, nowMs)
  }

  report(): WatchReport {
    const named = new Set<string>()
    const busiest = [...this.#routes].sort(([, a], [, b]) => b.refused - a.refused || b.requests - a.requests)
    const shown = busiest.slice(0, REPORTED_ROUTES_MAX)
    const told = new Set(
      shown
        .flatMap(([, { combinations }]) => [...combinations.values()])
        .sort((a, b) => b.requests - a.requests)
        .slice(0, REPORTED_COMBINATIONS_MAX),
    )
    const routes = shown.map(([label, route]) => ({
      label,
      choice: route.choice,
      sinceMs: route.sinceMs,
      requests: route.requests,
      refused: route.refused,
      unsorted: route.unsorted,
      clients: [...route.clients],
      refusedClients: [...route.refusedClients],
      combinations: [...route.combinations.values()]
        .filter((one) => told.has(one))
        .map(({ pairs, requests, lastMs, requestId, clients }) => {
          const some = [...clients].slice(0, REPORTED_CLIENTS_MAX)
          for (const client of some) named.add(client)
          return { pairs: [...pairs], requests, lastMs, requestId, clients: some }
        }),
    }))
    // Others may have seen matches of clients that only behaved here.
    const behaved = [...this.#young].filter(([client, { clean }]) => clean > 0 && !named.has(client))
    behaved.sort(([, a], [, b]) => b.clean - a.clean)
    for (const [client] of behaved.slice(0, REPORTED_BEHAVED_MAX)) named.add(client)
    const clients = [...named].flatMap((client) => {
      const known = this.#young.get(client) ?? this.#old.get(client)
      return known === undefined ? [] : [{ client, clean: known.clean, pairs: [...known.pairs] }]
    })
    return { routes, clients }
  }

  #route(label: string, choice: string, nowMs: number): Route | undefined {
    const known = this.#routes.get(label)
    if (known?.choice === choice) return known
    if (known === undefined && this.#routes.size >= ROUTES_MAX) return undefined
    const fresh: Route = {
      choice,
      sinceMs: nowMs,
      requests: 0,
      refused: 0,
      unsorted: 0,
      clients: createDistinct(),
      refusedClients: createDistinct(),
      combinations: new Map(),
    }
    this.#routes.set(label, fresh)
    return fresh
  }

  #client(client: string): Client {
    const young = this.#young.get(client)
    if (young !== undefined) return young
    const found = this.#old.get(client) ?? { clean: 0, refused: 0, pairs: new Set() }
    if (this.#young.size >= CLIENTS_MAX / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(client, found)
    return found
  }

  #count(route: Route, pairs: readonly string[], client: string, requestId: string, nowMs: number): void {
    if (pairs.length === 0 || pairs.length > PAIRS_PER_REQUEST_MAX) {
      // Nobody hurts so many rules by accident: not worth telling apart.
      route.unsorted += 1
      return
    }
    const key = pairs.join('\n')
    let found = route.combinations.get(key)
    if (found === undefined) {
      if (route.combinations.size >= COMBINATIONS_MAX && !forgetOne(route)) {
        route.unsorted += 1
        return
      }
      found = { pairs, requests: 0, lastMs: nowMs, requestId, clients: new Set() }
      route.combinations.set(key, found)
    }
    found.requests += 1
    found.lastMs = nowMs
    found.requestId = requestId
    if (found.clients.size < CLIENTS_PER_COMBINATION_MAX) found.clients.add(client)
  }
}

/** The oldest that only one client caused: names that one client makes up must not fill the room of all. */
function forgetOne(route: Route): boolean {
  for (const [key, { clients, requests }] of route.combinations) {
    if (clients.size > 1) continue
    route.combinations.delete(key)
    route.unsorted += requests
    return true
  }
  return false
}

export type LooksLike = 'false-positive' | 'attack' | 'unclear'

export interface PairEstimate {
  readonly ruleId: number
  readonly variable: string
  readonly requests: number
  readonly clients: number
  readonly goodClients: number
  readonly looksLike: LooksLike
  readonly lastMs: number
  /** The last of them. */
  readonly requestId: string
}

export interface RouteEstimate {
  readonly label: string
  readonly sinceMs: number
  readonly requests: number
  readonly clients: number
  /** Would be refused. */
  readonly refused: number
  readonly refusedClients: number
  /** Of these, by the reasoning above. */
  readonly falsePositives: number
  readonly falsePositiveClients: number
  readonly attacks: number
  /** Most requests first. */
  readonly pairs: PairEstimate[]
}

interface Sum {
  sinceMs: number
  requests: number
  refused: number
  unsorted: number
  readonly clients: DistinctSketch
  readonly refusedClients: DistinctSketch
  readonly combinations: Map<
    string,
    { pairs: readonly string[]; requests: number; lastMs: number; requestId: string; clients: Set<string> }
  >
}

/** What all nodes know together. Of a label with several choices of rules, the one that began last counts. */
export function estimateFalsePositives(reports: readonly WatchReport[]): RouteEstimate[] {
  const newest = new Map<string, { choice: string; sinceMs: number }>()
  for (const { label, choice, sinceMs } of reports.flatMap(({ routes }) => routes))
    if ((newest.get(label)?.sinceMs ?? -1) < sinceMs) newest.set(label, { choice, sinceMs })
  const sums = new Map<string, Sum>()
  for (const route of reports.flatMap(({ routes }) => routes))
    if (newest.get(route.label)!.choice === route.choice) addTo(sums, route)
  const good = goodClients(reports)
  return [...sums].map(([label, sum]) => routeEstimate(label, sum, good)).sort((a, b) => (a.label < b.label ? -1 : 1))
}

function addTo(sums: Map<string, Sum>, route: WatchReport['routes'][number]): void {
  let sum = sums.get(route.label)
  if (sum === undefined) {
    sum = {
      sinceMs: route.sinceMs,
      requests: 0,
      refused: 0,
      unsorted: 0,
      clients: createDistinct(),
      refusedClients: createDistinct(),
      combinations: new Map(),
    }
    sums.set(route.label, sum)
  }
  sum.sinceMs = Math.min(sum.sinceMs, route.sinceMs)
  sum.requests += route.requests
  sum.refused += route.refused
  sum.unsorted += route.unsorted
  mergeDistinct(sum.clients, Uint8Array.from(route.clients))
  mergeDistinct(sum.refusedClients, Uint8Array.from(route.refusedClients))
  for (const one of route.combinations) {
    const key = one.pairs.join('\n')
    const held = sum.combinations.get(key)
    if (held === undefined) {
      sum.combinations.set(key, { ...one, clients: new Set(one.clients) })
      continue
    }
    held.requests += one.requests
    if (one.lastMs > held.lastMs) {
      held.lastMs = one.lastMs
      held.requestId = one.requestId
    }
    for (const client of one.clients) held.clients.add(client)
  }
}

/** A client that several nodes saw is one. */
function goodClients(reports: readonly WatchReport[]): ReadonlySet<string> {
  const all = new Map<string, { clean: number; pairs: Set<string> }>()
  for (const { client, clean, pairs } of reports.flatMap(({ clients }) => clients)) {
    const held = all.get(client) ?? { clean: 0, pairs: new Set() }
    held.clean += clean
    for (const pair of pairs) held.pairs.add(pair)
    all.set(client, held)
  }
  return new Set(
    [...all].filter(([, { clean, pairs }]) => clean >= CLEAN_MIN && pairs.size <= PAIRS_GOOD_MAX).map(([client]) => client),
  )
}

function routeEstimate(label: string, sum: Sum, good: ReadonlySet<string>): RouteEstimate {
  const byPair = new Map<string, { requests: number; lastMs: number; requestId: string; clients: Set<string> }>()
  for (const { pairs, requests, lastMs, requestId, clients } of sum.combinations.values()) {
    for (const pair of pairs) {
      const held = byPair.get(pair) ?? { requests: 0, lastMs: 0, requestId, clients: new Set() }
      held.requests += requests
      if (lastMs >= held.lastMs) {
        held.lastMs = lastMs
        held.requestId = requestId
      }
      for (const client of clients) held.clients.add(client)
      byPair.set(pair, held)
    }
  }
  const pairs = [...byPair].map(([pair, { requests, lastMs, requestId, clients }]): PairEstimate => {
    const blank = pair.indexOf(' ')
    const goodOnes = [...clients].filter((client) => good.has(client)).length
    return {
      ruleId: Number(pair.slice(0, blank)),
      variable: pair.slice(blank + 1),
      requests,
      clients: clients.size,
      goodClients: goodOnes,
      looksLike: looksLike(goodOnes, clients.size),
      lastMs,
      requestId,
    }
  })
  const verdicts = new Map(pairs.map(({ ruleId, variable, looksLike: verdict }) => [`${ruleId} ${variable}`, verdict]))
  let falsePositives = 0
  let attacks = sum.unsorted
  const falseClients = new Set<string>()
  for (const { pairs: own, requests, clients } of sum.combinations.values()) {
    if (own.every((pair) => verdicts.get(pair) === 'false-positive')) {
      falsePositives += requests
      for (const client of clients) falseClients.add(client)
    } else if (own.some((pair) => verdicts.get(pair) === 'attack')) attacks += requests
  }
  return {
    label,
    sinceMs: sum.sinceMs,
    requests: sum.requests,
    clients: countDistinct(sum.clients),
    refused: sum.refused,
    refusedClients: countDistinct(sum.refusedClients),
    falsePositives,
    falsePositiveClients: falseClients.size,
    attacks,
    pairs: pairs.sort((a, b) => b.requests - a.requests || (a.variable < b.variable ? -1 : 1)),
  }
}

function looksLike(good: number, all: number): LooksLike {
  if (good >= GOOD_MIN && good * 2 >= all) return 'false-positive'
  return good === 0 ? 'attack' : 'unclear'
}
