/** Failed logins, counted over the whole ring: feeds the detector, spreads its summaries, turns findings into denials. */
import { FailedLogins, type Finding } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import type { DenialSubject, View } from '@ringwall/ring'

const SUMMARY_MS = 250
/** What fails together is told together. */
const GATHER_MS = 50
const EXPIRE_MS = 10_000
/** What its own summaries begin with; others begin with their version. */
const JSON_LIST = 0x5b

export interface LoginEvent {
  readonly service: string
  readonly source: string
  readonly account: string | undefined
  readonly atMs: number
}

export interface LoginWatchOptions {
  readonly self: string
  readonly fabric: Pick<Fabric, 'broadcast' | 'onMessage'>
  readonly view: () => View
  /** Proposes a denial in this node's name. */
  readonly deny: (subject: DenialSubject, ttlMs: number, reason: string) => void
  readonly onFinding: (finding: Finding) => void
  /** What another node tells besides: summaries of other kinds, by their first byte. */
  readonly onSources: (from: string, payload: Uint8Array) => void
}

export class LoginWatch {
  readonly #options: LoginWatchOptions
  readonly #expiring: NodeJS.Timeout
  #telling: NodeJS.Timeout | undefined
  #toldAtMs = Number.NEGATIVE_INFINITY
  #detector: FailedLogins | undefined
  #settings = ''

  constructor(options: LoginWatchOptions) {
    this.#options = options
    options.fabric.onMessage('signals', (from, payload) => {
      if (payload[0] !== JSON_LIST) options.onSources(from, payload)
      else this.#merge(from, payload)
    })
    this.#expiring = setInterval(() => this.#current()?.expire(Date.now()), EXPIRE_MS).unref()
  }

  failed(event: LoginEvent): void {
    this.#conclude(this.#current()?.observe(event) ?? [])
    this.#tellSoon()
  }

  stop(): void {
    clearInterval(this.#expiring)
    clearTimeout(this.#telling)
  }

  /** The detector for the policy in force; a changed policy begins a new count. */
  #current(): FailedLogins | undefined {
    const { detectors, denials } = this.#options.view().policy
    const limits = detectors.failedLogins
    const settings = JSON.stringify([limits ?? null, denials.corroboration.within])
    if (settings !== this.#settings) {
      this.#settings = settings
      this.#detector =
        limits === undefined
          ? undefined
          : new FailedLogins({
              self: this.#options.self,
              limits: { perAccount: limits.perAccount, perSource: limits.perSource, windowMs: limits.window },
              // What nobody confirmed is over with the statement; whoever goes on is to be found again.
              rearmMs: Math.min(limits.denyFor, denials.corroboration.within),
            })
    }
    return this.#detector
  }

  #merge(from: string, payload: Uint8Array): void {
    const detector = this.#current()
    if (detector === undefined) return
    try {
      this.#conclude(detector.merge(from, payload, Date.now()))
    } catch {
      // A peer's malformed summary is that peer's fault; its counts so far stand.
    }
  }

  /** As long as there is something to tell, a summary every so often. */
  #tellSoon(): void {
    const waitMs = Math.max(GATHER_MS, this.#toldAtMs + SUMMARY_MS - performance.now())
    this.#telling ??= setTimeout(() => this.#tell(), waitMs).unref()
  }

  #tell(): void {
    this.#telling = undefined
    const summary = this.#current()?.summary()
    if (summary === undefined) return
    this.#toldAtMs = performance.now()
    this.#options.fabric.broadcast('signals', summary)
    this.#tellSoon()
  }

  #conclude(findings: readonly Finding[]): void {
    const limits = this.#options.view().policy.detectors.failedLogins
    if (limits === undefined) return
    for (const finding of findings) {
      this.#options.onFinding(finding)
      this.#options.deny(finding.subject, limits.denyFor, finding.reason)
    }
  }
}
