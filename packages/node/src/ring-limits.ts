/** Limits of scope `ring`: gives the limiter its time, its links, and the policy in force. */
import type { Fabric } from '@ringwall/fabric'
import { budgetOf, type LimitMessage, RingLimiter } from '@ringwall/guard'
import type { LimitPolicy, Policy, View } from '@ringwall/ring'
import { every } from './in-step.ts'
import { decodeLimitMessages, encodeLimitMessages } from './limit-messages.ts'

const TICK_MS = 50
const REACH_EVERY_TICKS = 8
/** While nodes share no budget there is nothing else to do. What they said last still counts when they begin to, and they say it again then. */
const IDLE_TICK_MS = 1_000
/** Who waited when the last shared budget went is answered by then. */
const LEFT_OVER_MS = 60_000

export interface RingLimitsOptions {
  readonly self: string
  readonly fabric: Pick<Fabric, 'send' | 'broadcast' | 'onMessage'>
  readonly view: () => View
}

export class RingLimits {
  readonly limiter: RingLimiter
  readonly #options: RingLimitsOptions
  #stopTicking: () => void
  #policy: Policy | undefined
  #limits = new Map<string, readonly LimitPolicy[]>()
  /** Has any of them a budget that nodes share? */
  #isShared = false
  #untilMs = Number.NEGATIVE_INFINITY
  #ticks = 0
  #wasIdle = true
  #flushing = false

  constructor(options: RingLimitsOptions) {
    this.#options = options
    const limits = (service: string, route: string | undefined): readonly LimitPolicy[] => this.#limitsOf(service, route)
    this.limiter = new RingLimiter({ self: options.self, budgetOf: (key) => budgetOf(limits, key) })
    this.#setMembers()
    options.fabric.onMessage('limits', (from, payload) => this.#receive(from, payload))
    this.#stopTicking = this.#pace(true)
    this.follow()
  }

  /** The view may be another one. Nodes that begin to share a budget tell each other at once whom they reach. */
  follow(): void {
    this.#readPolicy()
    if (this.#isShared && this.#wasIdle) this.#tick()
  }

  /** The link to a node is down. */
  lost(id: string): void {
    this.limiter.lost(id)
    this.#tellReach()
  }

  /** For the guard. */
  take(...given: Parameters<RingLimiter['take']>): ReturnType<RingLimiter['take']> {
    const taken = this.limiter.take(...given)
    this.#flushSoon()
    return taken
  }

  stop(): void {
    this.#stopTicking()
  }

  #limitsOf(service: string, route: string | undefined): readonly LimitPolicy[] {
    this.#readPolicy()
    return this.#limits.get(route === undefined ? service : `${service}/${route}`) ?? []
  }

  #readPolicy(): void {
    const { policy } = this.#options.view()
    if (policy === this.#policy) return
    this.#policy = policy
    this.#limits = new Map()
    for (const [name, { limits, routes }] of Object.entries(policy.services)) {
      this.#limits.set(name, limits)
      for (const each of routes) this.#limits.set(`${name}/${each.name}`, each.limits)
    }
    if (this.#isShared) this.#untilMs = Date.now() + LEFT_OVER_MS
    this.#isShared = [...this.#limits.values()].some((limits) => limits.some(({ scope }) => scope === 'ring'))
  }

  /** Those whom people's requests reach count, validators or not. */
  #setMembers(): void {
    this.limiter.setMembers(this.#options.view().nodes.map(({ id }) => id))
  }

  /** Often, or in step with all that a node does now and then. */
  #pace(isIdle: boolean): () => void {
    if (isIdle) return every(IDLE_TICK_MS, () => this.#tick())
    const timer = setInterval(() => this.#tick(), TICK_MS).unref()
    return () => clearInterval(timer)
  }

  #tick(): void {
    this.#readPolicy()
    const nowMs = Date.now()
    const isIdle = !this.#isShared && nowMs > this.#untilMs
    // The owner of a budget gives all of it only if it has heard lately that the others know it as the owner.
    this.#ticks = this.#wasIdle && !isIdle ? 1 : this.#ticks + 1
    if (this.#wasIdle !== isIdle) {
      this.#wasIdle = isIdle
      this.#stopTicking()
      this.#stopTicking = this.#pace(isIdle)
    }
    this.#setMembers()
    if (isIdle || this.#ticks % REACH_EVERY_TICKS === 1) this.#tellReach()
    if (isIdle) return
    this.limiter.tick(nowMs)
    this.#flush()
  }

  #tellReach(): void {
    this.#options.fabric.broadcast('limits', encodeLimitMessages([this.limiter.reach(Date.now())]))
  }

  #receive(from: string, payload: Uint8Array): void {
    const messages = decodeLimitMessages(payload)
    if (messages === undefined) return
    const nowMs = Date.now()
    for (const message of messages) this.limiter.receive(from, message, nowMs)
    this.#flush()
  }

  /** Requests that come together are asked about together. */
  #flushSoon(): void {
    if (this.#flushing || !this.limiter.hasNews) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  #flush(): void {
    for (const [to, messages] of this.limiter.flush() as ReadonlyMap<string, readonly LimitMessage[]>) {
      // Not sent is not answered: those who wait are judged by this node's own share.
      this.#options.fabric.send(to, 'limits', encodeLimitMessages(messages))
    }
  }
}
