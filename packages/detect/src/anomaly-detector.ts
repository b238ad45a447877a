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
/** Services whose accounts and sources are looked at; of others, their routes alone. */
const SERVICES_MAX = 16
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
  readonly windowsMax?: number | undefined
}

/** Those of one service. */
interface Actors {
  readonly 'anomaly-account': AnomalyActors
  readonly 'anomaly-source': AnomalyActors
}

export class AnomalyDetector {
  readonly #options: AnomalyDetectorOptions
  readonly #routes: AnomalyRoutes
  readonly #services = new Map<string, Actors>()
  readonly #seed: number
  readonly #untold: Uint8Array[] = []
  readonly #heardMs = new Map<string, number>()
  readonly #said = new Map<string, { hour: number; count: number }>()
  #heldBack = 0

  constructor(options: AnomalyDetectorOptions) {
    this.#options = options
    this.#seed = hashText(options.seed)
    this.#routes = new AnomalyRoutes(options)
  }

  /** Findings that were one too many in their hour. */
  get heldBack(): number {
    return this.#heldBack
  }

  /** `cutShort`: windows that ended early to stay within the bound; `bytes`: of all blocks of numbers. */
  get size(): {
    readonly routes: number
    readonly actors: number
    readonly windows: number
    readonly cutShort: number
    readonly bytes: number
  } {
    const routes = this.#routes.size
    let [actors, windows, cutShort, bytes] = [0, 0, 0, routes.bytes]
    for (const one of this.#services.values()) {
      for (const { size } of Object.values(one) as AnomalyActors[]) {
        actors += size.actors
        windows += size.windows
        cutShort += size.cutShort
        bytes += size.bytes
      }
    }
    return { routes: routes.keys, actors, windows, cutShort, bytes }
  }

  observe(signal: Signal): readonly AnomalyFinding[] {
    const { service, session, source } = signal
    const account = signal.account ?? signal.subject
    const hash = hashText(source)
    const ofRoutes = this.#routes.observe(signal, hash)
    const actors = this.#actorsOf(service)
    if (actors === undefined) return this.#allowed(ofRoutes)
    const who = account ?? session
    const whoHash = who === undefined ? undefined : hashText(who)
    const ofAccount =
      who === undefined || whoHash === undefined
        ? NOTHING
        : actors['anomaly-account'].observe(who, account === undefined ? 'session' : 'account', whoHash, signal, hash)
    const ofSource = actors['anomaly-source'].observe(source, 'source', hash, signal, whoHash)
    if (ofRoutes.length + ofAccount.length + ofSource.length === 0) return NOTHING
    return this.#allowed([...ofRoutes, ...ofAccount, ...ofSource])
  }

  #actorsOf(service: string): Actors | undefined {
    const known = this.#services.get(service)
    if (known !== undefined || this.#services.size >= SERVICES_MAX) return known
    const of = (rule: keyof Actors): AnomalyActors =>
      new AnomalyActors({ ...this.#options, rule, service, onTurned: (masses) => this.#tell(rule, service, masses) })
    const actors = { 'anomaly-account': of('anomaly-account'), 'anomaly-source': of('anomaly-source') }
    this.#services.set(service, actors)
    return actors
  }

  /** Closes what is over. Call it every few seconds. */
  expire(nowMs: number): readonly AnomalyFinding[] {
    const findings = [...this.#routes.close(nowMs)]
    for (const actors of this.#services.values())
      for (const one of Object.values(actors) as AnomalyActors[]) findings.push(...one.sweep(nowMs, SWEPT_MAX))
    return this.#allowed(findings)
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

  /** Of services that it saw nothing of it keeps nothing. @throws {SummaryMalformed} */
  merge(from: string, payload: Uint8Array, nowMs: number): void {
    const { rule, seed, service, masses } = decodeAnomalySummary(payload)
    const actors = this.#services.get(service)
    if (rule === 'anomaly-route' || seed !== this.#seed || actors === undefined) return
    const key = `${from}\n${rule}\n${service}`
    const heardMs = this.#heardMs.get(key) ?? Number.NEGATIVE_INFINITY
    if (nowMs - heardMs < HEARD_MS_MIN && nowMs >= heardMs) return
    this.#heardMs.delete(key)
    this.#heardMs.set(key, nowMs)
    if (this.#heardMs.size > HEARD_MAX) this.#heardMs.delete(this.#heardMs.keys().next().value as string)
    actors[rule].fold(masses)
  }
}
