/**
 * All upstreams of the policy in force, by URL. Another policy keeps the pools of the URLs that stay, so that a swap drops
 * no connection; those that left drain.
 */
import type { Policy } from '@ringwall/ring'
import type { ProxyLimits, UpstreamStatus } from './types.ts'
import { Upstream } from './upstream.ts'

const SWEEP_EVERY_MS = 100

interface Member {
  readonly upstream: Upstream
  readonly region: string | undefined
}

/** The upstreams of one service, those of our own region apart. */
export class UpstreamGroup {
  readonly #near: readonly Member[]
  readonly #far: readonly Member[]
  readonly members: readonly Member[]
  #turn = 0

  constructor(members: readonly Member[], region: string) {
    this.members = members
    this.#near = members.filter((member) => member.region === region)
    this.#far = members.filter((member) => member.region !== region)
  }

  /** Own region first, healthy before unhealthy, then the least loaded. Undefined when all were tried. */
  pick(tried: readonly Upstream[] | undefined): Upstream | undefined {
    return (
      this.#best(this.#near, tried, true) ??
      this.#best(this.#far, tried, true) ??
      this.#best(this.#near, tried, false) ??
      this.#best(this.#far, tried, false)
    )
  }

  #best(members: readonly Member[], tried: readonly Upstream[] | undefined, healthy: boolean): Upstream | undefined {
    if (members.length === 1) {
      const only = members[0]!.upstream
      return only.healthy === healthy && !tried?.includes(only) ? only : undefined
    }
    let best: Upstream | undefined
    // Starting elsewhere each time spreads equal loads.
    const start = members.length === 0 ? 0 : this.#turn++ % members.length
    for (let at = 0; at < members.length; at++) {
      const { upstream } = members[(start + at) % members.length]!
      if (upstream.healthy !== healthy || tried?.includes(upstream)) continue
      if (best === undefined || upstream.load < best.load) best = upstream
    }
    return best
  }
}

export class UpstreamPools {
  readonly #limits: ProxyLimits
  readonly #region: string
  readonly #upstreams = new Map<string, Upstream>()
  #groups = new Map<string, UpstreamGroup>()
  #policy: Policy | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(limits: ProxyLimits, region: string) {
    this.#limits = limits
    this.#region = region
  }

  start(): void {
    this.#timer = setInterval(() => this.#sweep(), SWEEP_EVERY_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const upstream of this.#upstreams.values()) upstream.destroy()
    this.#upstreams.clear()
    this.#groups.clear()
    this.#policy = undefined
  }

  /** Cheap when the policy is the one already known. */
  follow(policy: Policy): void {
    if (policy === this.#policy) return
    this.#policy = policy
    const groups = new Map<string, UpstreamGroup>()
    const wanted = new Set<string>()
    for (const [name, service] of Object.entries(policy.services)) {
      const members = service.upstreams.map(({ url, region }) => {
        wanted.add(url)
        let upstream = this.#upstreams.get(url)
        if (upstream === undefined) {
          upstream = new Upstream(url, this.#limits)
          this.#upstreams.set(url, upstream)
          upstream.probe()
        } else upstream.undrain()
        return { upstream, region }
      })
      groups.set(name, new UpstreamGroup(members, this.#region))
    }
    for (const [url, upstream] of this.#upstreams) if (!wanted.has(url)) upstream.drain()
    this.#groups = groups
  }

  group(service: string): UpstreamGroup | undefined {
    return this.#groups.get(service)
  }

  status(): UpstreamStatus[] {
    return [...this.#groups].flatMap(([service, group]) =>
      group.members.map(({ upstream, region }) => ({
        service,
        url: upstream.url,
        region,
        healthy: upstream.healthy,
        reason: upstream.reason,
        latencyMs: upstream.latencyMs,
      })),
    )
  }

  #sweep(): void {
    const nowMs = performance.now()
    for (const [url, upstream] of this.#upstreams) {
      upstream.sweep(nowMs)
      if (upstream.drained) this.#upstreams.delete(url)
    }
  }
}
