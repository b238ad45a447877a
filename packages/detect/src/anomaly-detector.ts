/**
 * Anomalies: what is not as usual, learned from signals alone. It says so, and why; whether it is an attack it does not know, so nobody is denied for it.
 * Routes by `anomaly-routes.ts`, accounts, sessions and sources by `anomaly-actors.ts`.
 *
 * Nodes tell each other the masses of their trees, so that each scores by what all of them see. Baselines are each node’s own.
 *
 * Pure and bounded: time is an argument.
 */
import { AnomalyActors } from './anomaly-actors.ts'
import type { AnomalyFinding, AnomalyRule } from './anomaly-finding.ts'
import { type AnomalyLimits, AnomalyRoutes } from './anomaly-routes.ts'
import { ANOMALY_SUMMARY_VERSION, decodeAnomalySummary, encodeAnomalySummary } from './anomaly-summary.ts'
import type { Masses } from './half-space-trees.ts'
import { hashText, type Signal } from './signal.ts'

export { ANOMALY_SUMMARY_VERSION }

const HOUR_MS = 3_600_000
/** Closed in one call of `expire`, of each kind. */
const SWEPT_MAX = 500
/** Of what is to be told: a node that is not heard keeps no more. */
const UNTOLD_MAX = 32
/** One node is heard about one service as often as this. */
const HEARD_MS_MIN = 1_800_000
const HEARD_MAX = 2_048
const NOTHING: readonly AnomalyFinding[] = []

export interface AnomalyDetectorOptions extends AnomalyLimits {
  /** Of the trees: the ring’s name. */
  readonly seed: string
  /** Findings of one service in an hour. */
  readonly perHourMax: number
  readonly windowsMax?: number
}

export class AnomalyDetector {
  readonly #options: AnomalyDetectorOptions
  readonly #routes: AnomalyRoutes
  readonly #accounts: AnomalyActors
  readonly #sources: AnomalyActors
  readonly #seed: number
  readonly #untold: Uint8Array[] = []
  readonly #heardMs = new Map<string, number>()
  readonly #said = new Map<string, { hour: number; count: number }>()
  #heldBack = 0

  constructor(options: AnomalyDetectorOptions) {
    this.#options = options
    this.#seed = hashText(options.seed)
    this.#routes = new AnomalyRoutes(options)
    const actors = (rule: AnomalyRule): AnomalyActors =>
      new AnomalyActors({ ...options, rule, onTurned: (service, masses) => this.#tell(rule, service, masses) })
    this.#accounts = actors('anomaly-account')
    this.#sources = actors('anomaly-source')
  }

  /** Findings that were one too many in their hour. */
  get heldBack(): number {
    return this.#heldBack
  }

  /** `bytes` are those of all blocks of numbers. */
  get size(): { readonly routes: number; readonly actors: number; readonly windows: number; readonly bytes: number } {
    const [routes, accounts, sources] = [this.#routes.size, this.#accounts.size, this.#sources.size]
    return {
      routes: routes.keys,
      actors: accounts.actors + sources.actors,
      windows: accounts.windows + sources.windows,
      bytes: routes.bytes + accounts.bytes + sources.bytes,
    }
  }

  observe(signal: Signal): readonly AnomalyFinding[] {
    const { service, account, session, source } = signal
    const ofRoutes = this.#routes.observe(signal)
    const who = account ?? session
    const ofAccount =
      who === undefined
        ? NOTHING
        : this.#accounts.observe(`${service}\n${account === undefined ? 'session' : 'account'}\n${who}`, signal, hashText(source))
    const ofSource = this.#sources.observe(`${service}\nsource\n${source}`, signal, who === undefined ? undefined : hashText(who))
    if (ofRoutes.length + ofAccount.length + ofSource.length === 0) return NOTHING
    return this.#allowed([...ofRoutes, ...ofAccount, ...ofSource])
  }

  /** Closes what is over. Call it every few seconds. */
  expire(nowMs: number): readonly AnomalyFinding[] {
    return this.#allowed([
      ...this.#routes.close(nowMs),
      ...this.#accounts.sweep(nowMs, SWEPT_MAX),
      ...this.#sources.sweep(nowMs, SWEPT_MAX),
    ])
  }

  #allowed(findings: readonly AnomalyFinding[]): readonly AnomalyFinding[] {
    return findings.filter(({ service, atMs }) => {
      const hour = Math.floor(atMs / HOUR_MS)
      let said = this.#said.get(service)
      if (said === undefined || said.hour !== hour) {
        said = { hour, count: 0 }
        this.#said.set(service, said)
      }
      said.count += 1
      if (said.count <= this.#options.perHourMax) return true
      this.#heldBack += 1
      return false
    })
  }

  #tell(rule: AnomalyRule, service: string, masses: Masses): void {
    this.#untold.push(encodeAnomalySummary({ rule, seed: this.#seed, service, masses }))
    if (this.#untold.length > UNTOLD_MAX) this.#untold.shift()
  }

  /** One of what is to be told; undefined: there is nothing more. */
  summary(): Uint8Array | undefined {
    return this.#untold.shift()
  }

  /** @throws {SummaryMalformed} */
  merge(from: string, payload: Uint8Array, nowMs: number): void {
    const { rule, seed, service, masses } = decodeAnomalySummary(payload)
    if (rule === 'anomaly-route' || seed !== this.#seed) return
    const key = `${from}\n${rule}\n${service}`
    const heardMs = this.#heardMs.get(key) ?? Number.NEGATIVE_INFINITY
    if (nowMs - heardMs < HEARD_MS_MIN && nowMs >= heardMs) return
    this.#heardMs.delete(key)
    this.#heardMs.set(key, nowMs)
    if (this.#heardMs.size > HEARD_MAX) this.#heardMs.delete(this.#heardMs.keys().next().value as string)
    const actors = rule === 'anomaly-account' ? this.#accounts : this.#sources
    actors.fold(service, masses)
  }
}
