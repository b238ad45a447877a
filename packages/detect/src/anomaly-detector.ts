/**
 * Anomalies: what is not as usual, learned from signals alone. It says so, and why; whether it is an attack it does not know, so nobody is denied for it.
 * Routes by `anomaly-routes.ts`, accounts, sessions and sources by `anomaly-actors.ts`.
 *
 * Nodes tell each other the masses of their trees, so that each scores by what all of them see. Baselines are each node’s own.
 *
 * What was learned is kept in pieces (`memory`), and taken up again as if the time between had not been: it taught nothing, and for as long, a whole time of
 * learning at most, nothing is said. The same holds while the process sleeps, and when its clock is set.
 *
 * Pure and bounded: time is an argument.
 */
import { type ActorsPiece, AnomalyActors } from './anomaly-actors.ts'
import type { AnomalyFinding, AnomalyRule } from './anomaly-finding.ts'
import { type AnomalyLimits, AnomalyRoutes } from './anomaly-routes.ts'
import { ANOMALY_SUMMARY_VERSION, decodeAnomalySummary, encodeAnomalySummary } from './anomaly-summary.ts'
import type { Masses } from './half-space-trees.ts'
import { isKeepable, KeptReader, KeptWriter, TIME_MAX } from './kept.ts'
import { hashText, type Signal } from './signal.ts'

export { ANOMALY_SUMMARY_VERSION }

const HOUR_MS = 3_600_000
/** Services whose accounts and sources are looked at; of others, their routes alone. */
const SERVICES_MAX = 16
/** Closed in one call of `expire`, of each kind. */
const SWEPT_MAX = 500
/** Of what is to be told: a node that is not heard keeps no more. */
const UNTOLD_MAX = 32
/** Nodes times services that were heard since this one’s own hour was over. */
const HEARD_MAX = 2_048
/** A service that nobody asked for in so long gives its place to another. */
const UNASKED_MS = 86_400_000
/** Whoever is not called for so long was away: the process slept, or its clock was set. */
const AWAY_MS = HOUR_MS
/** Back by more, the clock was set. */
const BACK_MS = 60_000
/** What was kept longer ago is as good as nothing. */
const KEPT_MS_MAX = 60 * 86_400_000
const MEMORY_VERSION = 1
const PIECES = ['head', 'route', 'actors', 'trees', 'rows'] as const
/** Of a piece with all masses of some trees. */
const PIECE_BYTES = 320_000
const NOTHING: readonly AnomalyFinding[] = []

export interface AnomalyDetectorOptions extends AnomalyLimits {
  /** Of the trees: the ring’s name. */
  readonly seed: string
  /** Findings of one service in an hour. */
  readonly perHourMax: number
  readonly windowsMax?: number | undefined
  /** 32 bits that nobody else knows; 0 unless given. */
  readonly salt?: number | undefined
}

const ACTOR_RULES = ['anomaly-account', 'anomaly-source'] as const
type ActorRule = (typeof ACTOR_RULES)[number]

/** Those of one service. */
interface Actors extends Readonly<Record<ActorRule, AnomalyActors>> {
  /** When it was last asked for. */
  askedMs: number
}

export class AnomalyDetector {
  #options: AnomalyDetectorOptions
  /** When it was last called. 0: never. */
  #nowMs = 0
  #quietUntilMs = 0
  readonly #routes: AnomalyRoutes
  readonly #services = new Map<string, Actors>()
  readonly #seed: number
  readonly #untold: Uint8Array[] = []
  /** By node, rule and service: how many of its own hours were over when that was heard last. */
  readonly #heard = new Map<string, number>()
  readonly #said = new Map<string, { hour: number; count: number }>()
  #heldBack = 0

  constructor(options: AnomalyDetectorOptions) {
    this.#options = options
    this.#seed = hashText(options.seed)
    this.#routes = new AnomalyRoutes(options)
  }

  /** Other limits; what was learned stays. */
  use(options: Pick<AnomalyDetectorOptions, 'deviations' | 'learnMs' | 'perHourMax'>): void {
    this.#options = { ...this.#options, ...options }
    this.#routes.use(this.#options)
    for (const actors of this.#services.values()) for (const rule of ACTOR_RULES) actors[rule].use(this.#options)
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
      for (const rule of ACTOR_RULES) {
        const { size } = one[rule]
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
    // A signal that comes late says nothing about the clock.
    if (signal.atMs > this.#nowMs) this.#pass(signal.atMs)
    const ofRoutes = this.#routes.observe(signal, hash)
    const actors = this.#actorsOf(service, signal.atMs)
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

  #actorsOf(service: string, nowMs: number): Actors | undefined {
    const known = this.#services.get(service)
    if (known !== undefined) {
      known.askedMs = nowMs
      return known
    }
    if (this.#services.size >= SERVICES_MAX && !this.#makeRoom(nowMs)) return undefined
    const of = (rule: ActorRule): AnomalyActors => {
      const onTurned = (masses: Masses): void => this.#tell(rule, service, masses)
      const one = new AnomalyActors({ ...this.#options, salt: this.#options.salt ?? 0, rule, service, onTurned })
      one.wasAway(0, this.#quietUntilMs)
      return one
    }
    const actors = { 'anomaly-account': of('anomaly-account'), 'anomaly-source': of('anomaly-source'), askedMs: nowMs }
    this.#services.set(service, actors)
    return actors
  }

  /** Lets go of the service that nobody asked for longest. */
  #makeRoom(nowMs: number): boolean {
    const [oldest] = [...this.#services].sort(([, a], [, b]) => a.askedMs - b.askedMs)
    return oldest !== undefined && nowMs - oldest[1].askedMs >= UNASKED_MS && this.#services.delete(oldest[0])
  }

  /** Closes what is over. Call it every few seconds. */
  expire(nowMs: number): readonly AnomalyFinding[] {
    this.#pass(nowMs)
    const findings = [...this.#routes.close(nowMs)]
    for (const actors of this.#services.values())
      for (const rule of ACTOR_RULES) findings.push(...actors[rule].sweep(nowMs, SWEPT_MAX))
    return this.#allowed(findings)
  }

  #pass(nowMs: number): void {
    const gapMs = this.#nowMs === 0 ? 0 : nowMs - this.#nowMs
    this.#nowMs = nowMs
    if (gapMs > AWAY_MS || gapMs < -BACK_MS) this.#wasAway(gapMs, nowMs)
  }

  #wasAway(gapMs: number, nowMs: number): void {
    const leftMs = this.#quietUntilMs - (gapMs < 0 ? nowMs - gapMs : nowMs)
    this.#quietUntilMs = nowMs + Math.min(this.#options.learnMs, Math.max(leftMs, Math.abs(gapMs)))
    this.#routes.wasAway(gapMs, nowMs, this.#quietUntilMs)
    for (const actors of this.#services.values()) {
      actors.askedMs += gapMs
      for (const rule of ACTOR_RULES) actors[rule].wasAway(gapMs, this.#quietUntilMs)
    }
  }

  /**
   * What was learned, in pieces, the first of which says when. Windows that are open are left out, and so is what was said and heard within the hour. What
   * comes in while they are taken may be in those that follow.
   */
  *memory(nowMs: number): Generator<Uint8Array> {
    const begin = (kind: (typeof PIECES)[number], room?: number): KeptWriter => new KeptWriter(room).u8(PIECES.indexOf(kind))
    const head = begin('head').u8(MEMORY_VERSION).u32(this.#seed).f64(nowMs)
    yield head.f64(Math.max(0, this.#quietUntilMs - nowMs)).done()
    yield* this.#routes.memory(() => begin('route'))
    for (const [service, actors] of this.#services) {
      if (!isKeepable(service)) continue
      for (const rule of ACTOR_RULES)
        yield* actors[rule].memory((kind) =>
          begin(kind, kind === 'trees' ? PIECE_BYTES : undefined)
            .u8(ACTOR_RULES.indexOf(rule))
            .text(service),
        )
    }
  }

  /**
   * What `memory` gave, into a detector that has seen nothing.
   *
   * @throws {MemoryMalformed} It is of another version or ring, too old, or was changed. The detector is of no use then.
   */
  restore(pieces: Iterable<Uint8Array>, nowMs: number): void {
    let keptMs: number | undefined
    for (const piece of pieces) {
      const from = new KeptReader(piece)
      const kind = PIECES[from.u8('a kind of piece', PIECES.length - 1)]!
      if (keptMs === undefined) {
        if (kind !== 'head') from.fail('when it was kept comes first')
        keptMs = this.#restoreHead(from, nowMs)
      } else if (kind === 'head') from.fail('one begin')
      else if (kind === 'route') this.#routes.restore(from)
      else this.#restoreActors(kind, from, nowMs)
      from.end()
    }
    if (keptMs !== undefined) this.#wasAway(nowMs - keptMs, nowMs)
    this.#nowMs = nowMs
  }

  #restoreHead(from: KeptReader, nowMs: number): number {
    from.u8('the version', MEMORY_VERSION, MEMORY_VERSION)
    if (from.u32('the ring') !== this.#seed) from.fail('it is of another ring')
    const keptMs = from.f64('when it was kept', 1, TIME_MAX)
    if (Math.abs(nowMs - keptMs) > KEPT_MS_MAX) from.fail('it was kept more than 60 days from now')
    this.#quietUntilMs = keptMs + from.f64('how long nothing is said', 0, TIME_MAX)
    return keptMs
  }

  #restoreActors(kind: ActorsPiece, from: KeptReader, nowMs: number): void {
    const rule = ACTOR_RULES[from.u8('accounts or sources', ACTOR_RULES.length - 1)]!
    const service = from.text('a service')
    const actors = this.#actorsOf(service, nowMs) ?? from.fail(`at most ${SERVICES_MAX} services`)
    actors[rule].restore(kind, from, nowMs)
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
  merge(from: string, payload: Uint8Array): void {
    const { rule, seed, service, masses } = decodeAnomalySummary(payload)
    const actors = this.#services.get(service)
    if (rule === 'anomaly-route' || seed !== this.#seed || actors === undefined) return
    const key = `${from}\n${rule}\n${service}`
    const { turns } = actors[rule]
    // Once for each hour that it counted itself: where next to nobody comes that is long, and others would be all that counts.
    if (this.#heard.get(key) === turns) return
    this.#heard.delete(key)
    this.#heard.set(key, turns)
    if (this.#heard.size > HEARD_MAX) this.#heard.delete(this.#heard.keys().next().value as string)
    actors[rule].fold(masses)
  }
}
