/**
 * All upstreams of the policy in force, by service and URL. Another policy keeps those that stay, with their connections and
 * what is known of them, so that a swap drops nothing; those that left drain.
 */
import type { Policy, View } from '@ringwall/ring'
import type { ProxyLimits, ServiceStatus, UpstreamStatus, UpstreamTls } from './types.ts'
import { Upstream } from './upstream.ts'
import { newCounts, type ServiceCounts, UpstreamGroup } from './upstream-group.ts'
import { HealthChecks } from './upstream-health.ts'
import { Mirror, mirrorTerms } from './upstream-mirror.ts'
import { termsOf, type UpstreamTerms } from './upstream-terms.ts'

const SWEEP_EVERY_MS = 100
/** While no request is under way and nothing is due before. */
const REST_MS_MAX = 1_000

export class UpstreamPools {
  readonly #limits: ProxyLimits
  readonly #region: string
  readonly #log: (level: 'info' | 'warn', line: string) => void
  readonly #tls: UpstreamTls | undefined
  readonly #upstreams = new Map<string, Upstream>()
  readonly #checks = new HealthChecks()
  #groups = new Map<string, UpstreamGroup>()
  readonly #counts = new Map<string, ServiceCounts>()
  #policy: Policy | undefined
  #elsewhere: View['elsewhere']
  #timer: NodeJS.Timeout | undefined
  #rests = false

  constructor(
    limits: ProxyLimits,
    region: string,
    log: (level: 'info' | 'warn', line: string) => void = () => undefined,
    tls?: UpstreamTls,
  ) {
    this.#limits = limits
    this.#tls = tls
    this.#log = log
    this.#region = region
  }

  start(): void {
    this.#sweepIn(SWEEP_EVERY_MS)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#checks.stop()
    for (const upstream of this.#upstreams.values()) upstream.destroy()
    this.#upstreams.clear()
    this.#groups.clear()
    this.#policy = undefined
  }

  /** Cheap when the policy is the one already known. Services that other nodes serve have no upstreams here: nothing is to be checked. */
  follow({ policy, elsewhere }: Pick<View, 'policy' | 'elsewhere'>): void {
    if (policy === this.#policy && elsewhere === this.#elsewhere) return
    this.#policy = policy
    this.#elsewhere = elsewhere
    const groups = new Map<string, UpstreamGroup>()
    const wanted = new Set<string>()
    for (const [name, service] of Object.entries(policy.services)) {
      if (elsewhere?.has(name) === true) continue
      // Where all are new, none starts slowly beside the others.
      const ramps = this.#groups.has(name)
      const use = (what: string, url: string, terms: UpstreamTerms): Upstream => {
        const key = `${what} of ${name}`
        wanted.add(key)
        return this.#upstream(key, url, terms, ramps)
      }
      const members = service.upstreams.map((entry) => use(`upstream ${entry.url}`, entry.url, termsOf(service, entry)))
      const counts = this.#countsOf(name)
      const { mirror } = service
      const copies =
        mirror &&
        new Mirror(use(`mirror ${mirror.url}`, mirror.url, mirrorTerms(mirror)), mirror, service.upstreamTimeout, counts)
      groups.set(name, new UpstreamGroup(name, members, service, this.#region, counts, copies))
    }
    for (const [key, upstream] of this.#upstreams) {
      const stays = wanted.has(key)
      if (!stays) upstream.drain()
      if (!stays || upstream.terms.health === undefined) this.#checks.forget(upstream)
    }
    for (const name of this.#counts.keys()) if (!groups.has(name)) this.#counts.delete(name)
    this.#groups = groups
    this.#check(performance.now())
    this.#wake()
  }

  /** The one that is known already, or a new one. */
  #upstream(key: string, url: string, terms: UpstreamTerms, ramps: boolean): Upstream {
    const known = this.#upstreams.get(key)
    if (known !== undefined) {
      known.configure(terms)
      known.undrain()
      return known
    }
    const told = ({ healthy, reason }: Upstream): void =>
      this.#log(healthy ? 'info' : 'warn', `${key} is ${healthy ? 'back' : 'out'}: ${reason}`)
    const upstream = new Upstream(url, terms, this.#limits, ramps, told, this.#tls)
    this.#upstreams.set(key, upstream)
    upstream.probe()
    return upstream
  }

  group(service: string): UpstreamGroup | undefined {
    if (this.#rests) this.#wake()
    return this.#groups.get(service)
  }

  #countsOf(service: string): ServiceCounts {
    let counts = this.#counts.get(service)
    if (counts === undefined) {
      counts = newCounts()
      this.#counts.set(service, counts)
    }
    return counts
  }

  services(): ServiceStatus[] {
    return [...this.#groups].map(([service, { counts }]) => ({ service, ...counts }))
  }

  status(): UpstreamStatus[] {
    return [...this.#groups].flatMap(([service, group]) =>
      group.members.map((upstream) => ({
        service,
        url: upstream.url,
        region: upstream.terms.region,
        weight: upstream.terms.weight,
        subset: upstream.terms.subset,
        healthy: upstream.healthy,
        state: upstream.state,
        reason: upstream.reason,
        latencyMs: upstream.latencyMs,
        requests: upstream.requests,
        failures: upstream.tally.failures,
        ejections: upstream.ejections,
        active: upstream.load - upstream.pending,
        pending: upstream.pending,
        connections: upstream.connections,
      })),
    )
  }

  #sweepIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#rests = ms > SWEEP_EVERY_MS
    this.#timer = setTimeout(() => this.#sweep(), ms).unref()
  }

  /** Somebody asks, or there are other upstreams. */
  #wake(): void {
    if (this.#timer !== undefined) this.#sweepIn(SWEEP_EVERY_MS)
  }

  #sweep(): void {
    const nowMs = performance.now()
    for (const [key, upstream] of this.#upstreams) {
      upstream.sweep(nowMs)
      if (upstream.drained) this.#upstreams.delete(key)
    }
    for (const group of this.#groups.values()) group.sweep(nowMs)
    this.#check(nowMs)
    let dueMs = Math.min(nowMs + REST_MS_MAX, this.#checks.nextMs)
    for (const upstream of this.#upstreams.values()) dueMs = Math.min(dueMs, upstream.restsUntilMs)
    this.#sweepIn(Math.max(SWEEP_EVERY_MS, dueMs - nowMs))
  }

  #check(nowMs: number): void {
    for (const group of this.#groups.values()) this.#checks.sweep(group.members, nowMs)
  }
}
