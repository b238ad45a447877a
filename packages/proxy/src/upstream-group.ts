/** The upstreams of one service, and which of them gets the next request. */
import type { ServicePolicy } from '@ringwall/ring'
import type { Upstream } from './upstream.ts'
import { type Balance, betterOfTwo, choose } from './upstream-balance.ts'
import { HedgeDelay } from './upstream-hedge.ts'
import type { Mirror, MirrorCounts } from './upstream-mirror.ts'
import { Outliers } from './upstream-outliers.ts'
import { RetryBudget } from './upstream-retries.ts'
import { Stickiness } from './upstream-sticky.ts'

/** `full`: some are fit, and none has room. `none`: all were tried, or there are none. */
export type Picked = Upstream | 'full' | 'none'

/** Those of one subset, our own region's apart. */
interface Subset {
  readonly weight: number
  readonly near: readonly Upstream[]
  readonly far: readonly Upstream[]
}

/** Of one service, since the start; they outlive a policy. */
export interface ServiceCounts extends MirrorCounts {
  retries: number
  /** Not tried again, because the budget was used up. */
  retriesRefused: number
  overloaded: number
  hedges: number
  hedgesWon: number
}

export function newCounts(): ServiceCounts {
  return { retries: 0, retriesRefused: 0, overloaded: 0, hedges: 0, hedgesWon: 0, mirrored: 0, mirrorsDropped: 0 }
}

export class UpstreamGroup {
  readonly members: readonly Upstream[]
  readonly outliers: Outliers
  readonly budget: RetryBudget
  readonly counts: ServiceCounts
  /** When to ask a second upstream; undefined: never. */
  readonly hedgeDelay: HedgeDelay | undefined
  readonly sticky: Stickiness | undefined
  readonly mirror: Mirror | undefined
  readonly #balance: Balance
  readonly #subsets: readonly Subset[]
  readonly #random: () => number
  /** All have the same weight now. */
  #even: boolean
  /** The candidates of one choice, for the time of that choice. */
  readonly #candidates: Upstream[] = []

  /** @param name Of the service. @param region Ours. */
  constructor(
    name: string,
    members: readonly Upstream[],
    service: ServicePolicy,
    region: string,
    counts: ServiceCounts,
    mirror: Mirror | undefined,
    random: () => number = Math.random,
  ) {
    this.members = members
    this.counts = counts
    this.mirror = mirror
    const { sticky, split } = service
    // Nobody is kept on what gets nobody.
    const kept = split === undefined ? members : members.filter(({ terms }) => (split[terms.subset ?? ''] ?? 0) > 0)
    this.sticky = sticky === undefined ? undefined : new Stickiness(name, sticky, kept)
    this.hedgeDelay = service.hedge && new HedgeDelay(service.hedge)
    this.budget = new RetryBudget(service.retries)
    this.outliers = new Outliers(members, service.outliers)
    this.#balance = service.balance
    this.#random = random
    this.#even = isEven(members)
    const subset = (weight: number, of: readonly Upstream[]): Subset => ({
      weight,
      near: of.filter(({ terms }) => terms.region === region),
      far: of.filter(({ terms }) => terms.region !== region),
    })
    this.#subsets =
      service.split === undefined
        ? [subset(1, members)]
        : Object.entries(service.split)
            .filter(([, weight]) => weight > 0)
            .map(([name, weight]) =>
              subset(
                weight,
                members.filter(({ terms }) => terms.subset === name),
              ),
            )
  }

  /**
   * The wanted one while it is fit. Otherwise a subset by its weight; in it, those that are fit and have room before those where one has to wait, own region first,
   * and those that are not fit when nothing else is left. A subset with nothing left gives way to another.
   */
  pick(tried: readonly Upstream[] | undefined, wanted?: Upstream): Picked {
    if (wanted?.healthy && !wanted.full && !tried?.includes(wanted)) return wanted
    const subsets = this.#subsets
    if (subsets.length === 1) return this.#pickOf(subsets[0]!, tried)
    let sum = 0
    for (const { weight } of subsets) sum += weight
    let left = this.#random() * sum
    const chosen = subsets.find(({ weight }) => (left -= weight) < 0) ?? subsets[0]!
    const picked = this.#fitOf(chosen, tried)
    if (typeof picked !== 'string') return picked
    let full = picked === 'full'
    for (const subset of subsets) {
      if (subset === chosen) continue
      const other = this.#fitOf(subset, tried)
      if (typeof other !== 'string') return other
      full ||= other === 'full'
    }
    if (full) return 'full'
    const last = this.#unfitOf(chosen, tried)
    if (last !== undefined) return last
    for (const subset of subsets) {
      const other = this.#unfitOf(subset, tried)
      if (other !== undefined) return other
    }
    return 'none'
  }

  #pickOf(subset: Subset, tried: readonly Upstream[] | undefined): Picked {
    const picked = this.#fitOf(subset, tried)
    return picked === 'none' ? (this.#unfitOf(subset, tried) ?? 'none') : picked
  }

  #fitOf({ near, far }: Subset, tried: readonly Upstream[] | undefined): Picked {
    if (tried === undefined) {
      const quick = this.#quick(near.length === 0 ? far : near)
      if (quick !== undefined) return quick
    }
    const picked =
      this.#choose(near, tried, ROOM) ??
      this.#choose(far, tried, ROOM) ??
      this.#choose(near, tried, WAITING_ROOM) ??
      this.#choose(far, tried, WAITING_ROOM)
    if (picked !== undefined) return picked
    const isFull = (upstream: Upstream): boolean => upstream.healthy && !tried?.includes(upstream)
    return near.some(isFull) || far.some(isFull) ? 'full' : 'none'
  }

  /** What choosing among all would come to while all is well, without looking at all. */
  #quick(members: readonly Upstream[]): Upstream | undefined {
    const count = members.length
    if (count === 0) return undefined
    let upstream = members[0]!
    if (count > 1) {
      if (!this.#even || this.#balance === 'round-robin') return undefined
      upstream = betterOfTwo(this.#balance, members, count, this.#random, this.#balance === 'ewma' ? performance.now() : 0)
    }
    return upstream.healthy && !upstream.saturated ? upstream : undefined
  }

  /** Called every so often with monotonic time. */
  sweep(nowMs: number): void {
    this.outliers.sweep(nowMs)
    // Slow start changes weights.
    this.#even = isEven(this.members)
  }

  #unfitOf({ near, far }: Subset, tried: readonly Upstream[] | undefined): Upstream | undefined {
    return this.#choose(near, tried, UNFIT) ?? this.#choose(far, tried, UNFIT)
  }

  #choose(
    members: readonly Upstream[],
    tried: readonly Upstream[] | undefined,
    wanted: (upstream: Upstream) => boolean,
  ): Upstream | undefined {
    const candidates = this.#candidates
    let count = 0
    for (const upstream of members) if (wanted(upstream) && !tried?.includes(upstream)) candidates[count++] = upstream
    if (count === 0) return undefined
    return choose(this.#balance, candidates, count, this.#random, this.#balance === 'ewma' ? performance.now() : 0)
  }
}

const ROOM = (upstream: Upstream): boolean => upstream.healthy && !upstream.saturated
const WAITING_ROOM = (upstream: Upstream): boolean => upstream.healthy && !upstream.full
const UNFIT = (upstream: Upstream): boolean => !upstream.healthy && !upstream.full

function isEven(members: readonly Upstream[]): boolean {
  return members.every(({ weight }) => weight === members[0]!.weight)
}
