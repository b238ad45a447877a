/** Failed logins, counted over the whole ring: feeds the detector, spreads its summaries, turns findings into denials. */
import { FailedLogins, type Finding, RULE_SUMMARY_VERSION, SOURCE_SUMMARY_VERSION } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import type { DenialSubject, View } from '@ringwall/ring'

const SUMMARY_MS = 250

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
  /** Another node's memory of accounts that are attacked slowly, and what it counted by rules. */
  readonly onSources: (from: string, payload: Uint8Array) => void
}

export class LoginWatch {
  readonly #options: LoginWatchOptions
  readonly #timer: NodeJS.Timeout
  #detector: FailedLogins | undefined
  #settings = ''

  constructor(options: LoginWatchOptions) {
    this.#options = options
    options.fabric.onMessage('signals', (from, payload) => {
      if (payload[0] === SOURCE_SUMMARY_VERSION || payload[0] === RULE_SUMMARY_VERSION) options.onSources(from, payload)
      else this.#merge(from, payload)
    })
    this.#timer = setInterval(() => this.#spread(), SUMMARY_MS)
    this.#timer.unref()
  }

  failed(event: LoginEvent): void {
    this.#conclude(this.#current()?.observe(event) ?? [])
  }

  stop(): void {
    clearInterval(this.#timer)
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

  #spread(): void {
    const detector = this.#current()
    if (detector === undefined) return
    detector.expire(Date.now())
    const summary = detector.summary()
    if (summary !== undefined) this.#options.fabric.broadcast('signals', summary)
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
