/**
 * Threads that take a node's traffic, each on a socket of its own on the same ports (SO_REUSEPORT): the kernel deals connections out.
 * The node hands on what they judge by, and brings together what they saw. A thread that ends by itself takes its own requests with it
 * and no others; another is started in its place.
 */
import { randomInt } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import type { FloodReading, Signal } from '@ringwall/detect'
import { type SharedLimiter, sharedRateMemory } from '@ringwall/guard'
import { sharedProofMemory } from '@ringwall/identity'
import {
  type AcmeAnswer,
  type CacheStatus,
  type CertificateStatus,
  currentTicketSecret,
  type ListenerOptions,
  type LoginEvent,
  NO_STATS,
  newTicketSecret,
  type PassKey,
  type Portal,
  type ProxyStats,
  type Proxy as RequestProxy,
  type ServiceStatus,
  type UpstreamStatus,
} from '@ringwall/proxy'
import type { DenialIndex, DenialSubject, RuleLibrary, View } from '@ringwall/ring'
import type { DiskSealOptions } from '@ringwall/store'
import type { Telemetry } from '@ringwall/telemetry'
import type { ApiActivity } from './api-activity.ts'
import type { NodeConfig } from './config.ts'
import { DenialMirror } from './denial-mirror.ts'
import { StartError } from './errors.ts'
import type { IndicatorStore } from './indicators/indicator-store.ts'
import type { EarlyDenials } from './provisional.ts'
import type { RuleCounts } from './queries.ts'
import type { RequestArchive } from './request-archive.ts'
import type { RuleWatch } from './rule-watch.ts'
import type { FromWorker, Take, ToWorker, ViewNews, WorkerNews, WorkerStart } from './worker-messages.ts'

/** How often it is looked whether there is anything new to hand on. */
const SYNC_MS = 5
/** A long list is compared less often: what is urgent in it came as a denial ahead of consensus before. */
const LONG_LIST = 5_000
const LONG_LIST_MS = 250
/** A worker that says nothing for so long hangs: it is ended, and started again. */
const SILENT_MS_MAX = 15_000
const WATCH_MS = 1_000
const RESTART_MS_MIN = 100
const RESTART_MS_MAX = 30_000
/** After which a worker counts as well again. */
const STEADY_MS = 60_000
const START_MS_MAX = 60_000
/** Beyond the time that requests have to end. */
const STOP_MS_MAX = 1_000

export interface TrafficWorkersOptions {
  readonly config: NodeConfig
  /** Of the node's disk, where it is sealed. */
  readonly disk: DiskSealOptions | undefined
  readonly region: string
  readonly ring: string
  readonly rules: RuleLibrary
  readonly view: () => View
  readonly certifiedAtMs: () => number | undefined
  readonly early: Pick<EarlyDenials, 'enforced' | 'changes'>
  readonly limits: SharedLimiter
  readonly telemetry: Telemetry
  readonly indicators: IndicatorStore
  readonly archive: RequestArchive
  readonly watch: RuleWatch
  /** The pages where people log in. */
  readonly portal: Portal
  readonly api: ApiActivity
  readonly onLogin: (attempt: LoginEvent) => void
  /** @param thread From 0. */
  readonly onFlood: (reading: FloodReading, thread: number) => void
  /** @param lost How many more there were. */
  readonly onSignals: (signals: readonly Signal[], lost: number) => void
  readonly log: (level: 'info' | 'warn', line: string) => void
}

/** One place among the workers, whoever holds it. */
interface Slot {
  readonly number: number
  worker: Worker | undefined
  startedAtMs: number
  heardAtMs: number
  news: WorkerNews | undefined
  ruleCounts: RuleCounts | undefined
  restartMs: number
  restarting: NodeJS.Timeout | undefined
}

/** What a node needs of whoever takes its traffic. */
export interface Traffic extends Omit<RequestProxy, 'cutSource' | 'cutCredentials' | 'reviewAll'> {
  /** Closes what a denied source has open. */
  cutSource(source: string): void
  /** Ends what denied tokens have open. How many that were, where it is known at once. */
  cutCredentials(subjects: readonly DenialSubject[]): number | undefined
  /** Judges again what is under way. How much of it ended, where that is known. */
  reviewAll(): Promise<number | undefined>
}

export class TrafficWorkers implements Traffic {
  readonly #options: TrafficWorkersOptions
  readonly #slots: readonly Slot[]
  readonly #rates = sharedRateMemory({ seed: randomInt(2 ** 32) })
  readonly #proofs = sharedProofMemory()
  readonly #certified = new DenialMirror()
  readonly #early = new DenialMirror()
  /** Of workers that have ended. */
  readonly #before: { -readonly [name in keyof ProxyStats]?: number } = {}
  #listeners: readonly ListenerOptions[]
  #ticketSecret = newTicketSecret()
  #passKeys: readonly PassKey[] = []
  #isDraining = false
  #acme: readonly AcmeAnswer[] = []
  #view: View | undefined
  #denials: DenialIndex | undefined
  #certifiedAtMs: number | undefined
  #changes = -1
  #comparedAtMs = 0
  #restarts = 0
  #syncing: NodeJS.Timeout | undefined
  #watching: NodeJS.Timeout | undefined
  #stopping: Promise<void> | undefined

  /** @param threads At least one. */
  constructor(threads: number, options: TrafficWorkersOptions) {
    this.#options = options
    this.#listeners = options.config.listen.traffic.map((listener) => ({ ...listener, reusePort: true }))
    this.#slots = Array.from({ length: threads }, (_, at) => ({
      number: at + 1,
      worker: undefined,
      startedAtMs: 0,
      heardAtMs: 0,
      news: undefined,
      ruleCounts: undefined,
      restartMs: RESTART_MS_MIN,
      restarting: undefined,
    }))
  }

  /** @throws {StartError} When the first worker cannot begin, for the reason that it gives. */
  async start(): Promise<readonly { readonly host: string; readonly port: number }[]> {
    this.sync()
    this.#options.indicators.onChange((shared) => this.#tell({ kind: 'indicators', shared }))
    const [first, ...rest] = this.#slots
    const bound = await this.#begin(first!)
    // A port of 0 is any, and the same one for all of them.
    this.#listeners = this.#listeners.map((listener, at) => ({ ...listener, port: bound[at]!.port }))
    await Promise.all(rest.map((slot) => this.#begin(slot)))
    this.#syncing = setInterval(() => this.sync(), SYNC_MS)
    this.#watching = setInterval(() => this.#watch(), WATCH_MS)
    return bound
  }

  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs)
    return this.#stopping
  }

  /** Hands on what has changed. Cheap when nothing has. */
  sync(): void {
    const view = this.#options.view()
    const certifiedAtMs = this.#options.certifiedAtMs()
    // Denials first: whoever is told of a new view is told of what it refuses.
    this.#syncDenials(view.denials)
    if (view === this.#view && certifiedAtMs === this.#certifiedAtMs) return
    const before = this.#view
    this.#view = view
    this.#certifiedAtMs = certifiedAtMs
    this.#tell({ kind: 'view', view: viewNews(view, before, certifiedAtMs) })
  }

  #syncDenials(denials: DenialIndex): void {
    const { early } = this.#options
    if (early.changes !== this.#changes) {
      this.#changes = early.changes
      const news = this.#early.follow(early.enforced.list(Date.now()))
      if (news !== undefined) this.#tell({ kind: 'denials', of: 'early', news })
    }
    if (denials === this.#denials) return
    const nowMs = performance.now()
    if (this.#certified.size > LONG_LIST && nowMs - this.#comparedAtMs < LONG_LIST_MS) return
    this.#comparedAtMs = nowMs
    this.#denials = denials
    const news = this.#certified.follow(denials.list(Date.now()))
    if (news !== undefined) this.#tell({ kind: 'denials', of: 'certified', news })
  }

  stats(): ProxyStats {
    const sum: { -readonly [name in keyof ProxyStats]?: number } = { ...this.#before }
    for (const { news } of this.#slots) if (news !== undefined) addStats(sum, news.stats)
    return { ...NO_STATS, ...sum }
  }

  upstreams(): readonly UpstreamStatus[] {
    return merged(
      this.#slots.map(({ news }) => news?.upstreams ?? []),
      ({ service, url }) => `${service} ${url}`,
      joinUpstreams,
    )
  }

  services(): readonly ServiceStatus[] {
    return merged(
      this.#slots.map(({ news }) => news?.services ?? []),
      ({ service }) => service,
      joinServices,
    )
  }

  /** As the first worker has them: all of them follow the same files. */
  certificates(): readonly CertificateStatus[] {
    return this.#slots.find(({ news }) => news !== undefined)?.news?.certificates ?? []
  }

  cache(): CacheStatus {
    const all = this.#slots.flatMap(({ news }) => news?.cache ?? [])
    const sum = (of: (status: CacheStatus) => number): number => all.reduce((total, status) => total + of(status), 0)
    return {
      entries: sum(({ entries }) => entries),
      bytes: sum(({ bytes }) => bytes),
      bytesMax: sum(({ bytesMax }) => bytesMax),
      evictions: sum(({ evictions }) => evictions),
      services: merged(
        all.map(({ services }) => services),
        ({ service }) => service,
        (one, other) => ({
          service: one.service,
          hits: one.hits + other.hits,
          stale: one.stale + other.stale,
          revalidated: one.revalidated + other.revalidated,
          misses: one.misses + other.misses,
          collapsed: one.collapsed + other.collapsed,
          bytes: one.bytes + other.bytes,
        }),
      ),
    }
  }

  answerAcme(all: readonly AcmeAnswer[]): void {
    this.#acme = all
    this.#tell({ kind: 'acme', all })
  }

  invalidate(keys: readonly string[]): void {
    this.#tell({ kind: 'invalidate', keys })
  }

  drain(isOn: boolean): void {
    this.#isDraining = isOn
    this.#tell({ kind: 'drain', isOn })
  }

  purge(service: string, path: string): void {
    this.#tell({ kind: 'purge', service, path })
  }

  ruleCounts(): readonly RuleCounts[] {
    return this.#slots.flatMap(({ ruleCounts }) => ruleCounts ?? [])
  }

  audit(): { readonly written: number; readonly dropped: number } {
    let [written, dropped] = [0, 0]
    for (const { news } of this.#slots) {
      written += news?.audit?.written ?? 0
      dropped += news?.audit?.dropped ?? 0
    }
    return { written, dropped }
  }

  reloadCertificates(): void {
    this.#tell({ kind: 'certificates' })
  }

  usePassKeys(keys: readonly PassKey[]): void {
    this.#passKeys = keys
    this.#tell({ kind: 'passKeys', keys })
  }

  cutSource(source: string): void {
    // The denial before the cut, or what is cut comes back in.
    this.sync()
    this.#tell({ kind: 'cut', source })
  }

  /** Workers end what a token has open when they learn of its denial. */
  cutCredentials(): undefined {
    this.sync()
  }

  reviewAll(): Promise<undefined> {
    this.sync()
    this.#tell({ kind: 'review' })
    return Promise.resolve(undefined)
  }

  /** Ends a worker at once, as a crash would. */
  async end(number: number): Promise<void> {
    await this.#slots[number - 1]?.worker?.terminate()
  }

  #tell(message: ToWorker): void {
    for (const { worker } of this.#slots) worker?.postMessage(message)
  }

  #others(worker: Worker, keys: readonly string[]): void {
    for (const slot of this.#slots) {
      if (slot.worker !== worker) slot.worker?.postMessage({ kind: 'invalidate', keys } satisfies ToWorker)
    }
  }

  #begin(slot: Slot): Promise<readonly { readonly host: string; readonly port: number }[]> {
    const { config, disk, region, ring, rules, log } = this.#options
    const view = this.#view!
    this.#ticketSecret = currentTicketSecret(this.#ticketSecret)
    const worker = new Worker(new URL('./traffic-worker.ts', import.meta.url), {
      workerData: {
        config,
        disk,
        region,
        ring,
        rules,
        number: slot.number,
        threads: this.#slots.length,
        rates: this.#rates,
        proofs: this.#proofs,
        ticketSecret: this.#ticketSecret,
        passKeys: this.#passKeys,
        isDraining: this.#isDraining,
        acme: this.#acme,
        listeners: this.#listeners,
        view: viewNews(view, undefined, this.#certifiedAtMs),
        certified: this.#certified.all,
        early: this.#early.all,
        indicators: this.#options.indicators.shared(),
      } satisfies WorkerStart,
    })
    slot.worker = worker
    slot.startedAtMs = slot.heardAtMs = performance.now()
    slot.news = undefined
    return new Promise((settle, refuse) => {
      let failure = 'its thread ended'
      let listens = false
      const late = setTimeout(() => {
        failure = `it did not listen within ${START_MS_MAX / 1_000} s`
        void worker.terminate()
      }, START_MS_MAX)
      worker.on('message', (message: FromWorker) => {
        slot.heardAtMs = performance.now()
        if (message.kind === 'listening') {
          clearTimeout(late)
          listens = true
          settle(message.bound)
        } else if (message.kind === 'failed') failure = message.message
        else if (message.kind === 'takes') this.#take(worker, message.takes)
        else if (message.kind === 'portal' || message.kind === 'renew') this.#askPortal(worker, message)
        else if (message.kind === 'changed') this.#others(worker, message.keys)
        else this.#learn(slot, message)
      })
      worker.on('error', (error) => {
        failure = error.message
      })
      worker.on('exit', () => {
        clearTimeout(late)
        this.#ended(slot, worker)
        if (!listens) refuse(new StartError('CONFIG_INVALID', failure))
        else if (this.#stopping === undefined) {
          log(
            'warn',
            `traffic worker ${slot.number} ended: ${failure}; the requests that it carried are lost, another is started`,
          )
          this.#again(slot)
        }
      })
    })
  }

  #ended(slot: Slot, worker: Worker): void {
    if (slot.worker !== worker) return
    slot.worker = undefined
    const { news } = slot
    slot.news = undefined
    // What it counted counts on; what it had open is gone.
    if (news !== undefined) addStats(this.#before, news.stats, (name) => !name.startsWith('active'))
  }

  #again(slot: Slot): void {
    if (performance.now() - slot.startedAtMs > STEADY_MS) slot.restartMs = RESTART_MS_MIN
    slot.restarting = setTimeout(() => {
      slot.restarting = undefined
      this.#restarts += 1
      this.#options.telemetry.setGauge('worker_restarts', this.#restarts)
      this.#begin(slot).then(
        () => this.#options.log('info', `traffic worker ${slot.number} takes traffic again`),
        (error: Error) => {
          this.#options.log('warn', `traffic worker ${slot.number} cannot begin: ${error.message}`)
          if (this.#stopping === undefined) this.#again(slot)
        },
      )
    }, slot.restartMs)
    slot.restartMs = Math.min(RESTART_MS_MAX, slot.restartMs * 2)
  }

  #watch(): void {
    const nowMs = performance.now()
    let serving = 0
    for (const slot of this.#slots) {
      if (slot.worker === undefined) continue
      serving += 1
      if (nowMs - slot.heardAtMs < SILENT_MS_MAX) continue
      this.#options.log('warn', `traffic worker ${slot.number} has said nothing for ${SILENT_MS_MAX / 1_000} s and is ended`)
      void slot.worker.terminate()
    }
    this.#options.telemetry.setGauge('workers', serving)
  }

  #learn(slot: Slot, news: WorkerNews): void {
    const { telemetry, archive, watch, api, onLogin, onFlood, onSignals, log } = this.#options
    slot.news = news
    slot.ruleCounts = news.ruleCounts ?? slot.ruleCounts
    const { requests } = news
    if (requests !== undefined) {
      telemetry.observeRequests(requests.counts)
      for (const { record, weight } of requests.decisions) telemetry.recordSampled(record, weight)
      for (const span of requests.spans) telemetry.recordSpan(span)
      if (requests.dropped > 0) telemetry.count('telemetry_dropped', { what: 'worker' }, requests.dropped)
    }
    for (const { request, body, truncated, policyVersion, atMs } of news.kept)
      archive.add({ request }, body, truncated, policyVersion, atMs)
    for (const { sighting, atMs } of news.sightings) watch.add(sighting, atMs)
    for (const event of news.api) api.observe(event)
    for (const attempt of news.logins) onLogin(attempt)
    if (news.signals.length > 0 || news.signalsLost > 0) onSignals(news.signals, news.signalsLost)
    for (const reading of news.floods) onFlood(reading, slot.number - 1)
    for (const { level, line } of news.lines) log(level, line)
  }

  #askPortal(worker: Worker, message: Extract<FromWorker, { kind: 'portal' | 'renew' }>): void {
    const { portal, log } = this.#options
    const { id } = message
    const asked = message.kind === 'portal' ? portal.answer(message.request) : portal.renew(message.token)
    asked
      .catch((error: Error) => {
        log('warn', `a page where people log in: ${error.message}`)
        return undefined
      })
      .then((answer) => worker.postMessage({ kind: 'portal', id, answer } satisfies ToWorker))
  }

  #take(worker: Worker, takes: readonly Take[]): void {
    const nowMs = Date.now()
    const known: [number, number][] = []
    for (const { id, key, budget } of takes) {
      const taken = this.#options.limits.take(key, budget, nowMs)
      if (typeof taken === 'number') known.push([id, taken])
      else void taken.then((waitMs) => worker.postMessage({ kind: 'taken', answers: [[id, waitMs]] } satisfies ToWorker))
    }
    if (known.length > 0) worker.postMessage({ kind: 'taken', answers: known } satisfies ToWorker)
  }

  async #stop(graceMs: number): Promise<void> {
    const workers = this.#slots.flatMap(({ worker }) => worker ?? [])
    for (const { restarting } of this.#slots) clearTimeout(restarting)
    clearInterval(this.#syncing)
    clearInterval(this.#watching)
    this.#tell({ kind: 'stop', graceMs })
    await Promise.all(
      workers.map(
        (worker) =>
          new Promise<void>((settle) => {
            const late = setTimeout(() => void worker.terminate(), graceMs + STOP_MS_MAX)
            worker.once('exit', () => {
              clearTimeout(late)
              settle()
            })
          }),
      ),
    )
  }
}

function viewNews(view: View, before: View | undefined, certifiedAtMs: number | undefined): ViewNews {
  const { height, blockTimestampMs, policyVersion, policyText, signingKey, operators, nodes, epoch, elsewhere } = view
  return {
    height,
    blockTimestampMs,
    policyVersion,
    operators,
    nodes,
    epoch,
    elsewhere: [...(elsewhere ?? [])],
    policyText: policyText === before?.policyText ? undefined : policyText,
    signingKey: signingKey === before?.signingKey ? undefined : signingKey,
    certifiedAtMs,
  }
}

function addStats(
  sum: { -readonly [name in keyof ProxyStats]?: number },
  stats: ProxyStats,
  wanted: (name: string) => boolean = () => true,
): void {
  for (const name of Object.keys(stats) as (keyof ProxyStats)[]) if (wanted(name)) sum[name] = (sum[name] ?? 0) + stats[name]
}

function merged<T>(lists: readonly (readonly T[])[], key: (one: T) => string, join: (one: T, other: T) => T): T[] {
  const all = new Map<string, T>()
  for (const list of lists) {
    for (const one of list) {
      const known = all.get(key(one))
      all.set(key(one), known === undefined ? one : join(known, one))
    }
  }
  return [...all.values()]
}

/** Fit if any worker finds it fit: each finds out for itself. */
function joinUpstreams(one: UpstreamStatus, other: UpstreamStatus): UpstreamStatus {
  const fitter = one.healthy || !other.healthy ? one : other
  return {
    ...fitter,
    latencyMs: one.latencyMs === undefined ? other.latencyMs : Math.max(one.latencyMs, other.latencyMs ?? 0),
    requests: one.requests + other.requests,
    failures: one.failures + other.failures,
    ejections: one.ejections + other.ejections,
    active: one.active + other.active,
    pending: one.pending + other.pending,
    connections: one.connections + other.connections,
  }
}

function joinServices(one: ServiceStatus, other: ServiceStatus): ServiceStatus {
  return {
    service: one.service,
    retries: one.retries + other.retries,
    retriesRefused: one.retriesRefused + other.retriesRefused,
    overloaded: one.overloaded + other.overloaded,
    hedges: one.hedges + other.hedges,
    hedgesWon: one.hedgesWon + other.hedgesWon,
    mirrored: one.mirrored + other.mirrored,
    mirrorsDropped: one.mirrorsDropped + other.mirrorsDropped,
  }
}
