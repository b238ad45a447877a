/**
 * One thread that takes traffic. It judges by what the node hands on: the view, the denials ahead of consensus, the time of the last
 * certified block; it counts rates in the memory that all threads share; and it tells the node what it saw, a few times a second.
 */
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import type { FloodReading, Signal } from '@ringwall/detect'
import { createGuard, createRateLimiter, type GuardEnvironment, type WafJudgement } from '@ringwall/guard'
import { compileAuthorization, createProofReplays } from '@ringwall/identity'
import { type ApiEvent, Challenges, createProxy, type LoginEvent } from '@ringwall/proxy'
import {
  type CompiledPolicy,
  compilePolicy,
  DenialTable,
  isCredentialSubject,
  parsePolicyDocument,
  type View,
  wantsSignals,
} from '@ringwall/ring'
import { DiskSeal } from '@ringwall/store'
import { RequestFeed } from '@ringwall/telemetry'
import { unsealer } from './acme/unseal.ts'
import { AuditLog } from './audit-log.ts'
import { BotNames } from './bot-names.ts'
import { openBreaches } from './breached-passwords.ts'
import { signalOf } from './detection.ts'
import { IndicatorSets } from './indicators/indicator-store.ts'
import { watchesRequests } from './insider-watch.ts'
import { usePassKeys } from './pass-keys.ts'
import { RemotePortal } from './people/remote-portal.ts'
import { openPlaces } from './places.ts'
import { proxyRecorder } from './recorder.ts'
import { RemoteLimits } from './remote-limits.ts'
import { countRules } from './rule-book.ts'
import { cachingCompiler } from './rule-cache.ts'
import { RuleTiming } from './rule-timing.ts'
import { RuleSightings } from './rule-watch.ts'
import { sourceMeter } from './source-meter.ts'
import { peersOf, sameKeys, tokensOf } from './token-trust.ts'
import type { DenialNews, FromWorker, KeptRequest, ToWorker, ViewNews, WorkerNews, WorkerStart } from './worker-messages.ts'

const NEWS_MS = 50
/** Also when there is none: whoever says nothing for long is taken for hung. */
const NEWS_MS_MAX = 1_000
const KEPT_WAITING_MAX = 100
const SIGHTINGS_WAITING_MAX = 5_000
const EVENTS_WAITING_MAX = 5_000
const LINES_WAITING_MAX = 200
const READINGS_WAITING_MAX = 20
const SIGNALS_WAITING_MAX = 10_000

const port = parentPort!
const start = workerData as WorkerStart
const { config, ring, region, disk } = start
const say = (message: FromWorker): void => port.postMessage(message)
const startedAtMs = Date.now()

const compile = cachingCompiler(
  join(config.data, 'rules'),
  disk === undefined ? undefined : new DiskSeal(disk),
  config.memoValuesMax,
)

let inForce: { readonly text: string; readonly compiled: CompiledPolicy } | undefined

/** @throws When the policy cannot be used here: better none of its traffic than traffic by another. */
function viewOf(news: ViewNews, denials: DenialTable, before: View | undefined): View {
  const { policyText = before?.policyText ?? '', certifiedAtMs: _certifiedAtMs, elsewhere: absent, ...parts } = news
  const signingKey = news.signingKey ?? before!.signingKey
  if (inForce?.text !== policyText) inForce = { text: policyText, compiled: compiled(policyText, `policy ${news.policyVersion}`) }
  const { policy, nodes } = inForce.compiled
  const { elsewhere, routes, route } = nodes.without(absent)
  return { ring, ...parts, signingKey, policyText, policy, elsewhere, routes, route, denials }
}

function compiled(text: string, what: string): CompiledPolicy {
  const document = parsePolicyDocument(text)
  if (!document.ok) throw new Error(`${what} is not valid in a worker`)
  const compilation = compilePolicy(document.policy, compile, start.rules, compileAuthorization)
  if (!compilation.ok) throw new Error(`${what} cannot be compiled in a worker: ${compilation.problems[0]}`)
  return compilation.compiled
}

function changed(table: DenialTable, { added, dropped }: DenialNews): DenialTable {
  let next = table
  for (const { id, subject } of dropped) next = next.without(subject, id)
  for (const denial of added) next = next.with(denial)
  return next
}

let early = changed(DenialTable.empty, { added: start.early, dropped: [] })
let certified = changed(DenialTable.empty, { added: start.certified, dropped: [] })
const indicators = new IndicatorSets(start.indicators)
let view = viewOf(start.view, certified, undefined)
let { certifiedAtMs } = start.view
const replays = createProofReplays(start.proofs)
let tokens = tokensOf(view, replays)

const feed = new RequestFeed(start.threads)
const sightings = new RuleSightings()
const limits = new RemoteLimits((takes) => say({ kind: 'takes', takes }))
const portal = new RemotePortal(say)
const timing = new RuleTiming()

let logins: LoginEvent[] = []
let floods: FloodReading[] = []
let signals: Signal[] = []
let signalsLost = 0
/** Which requests the node is told of: all, those that came with a token, or none. */
const wanted = (): 'all' | 'tokens' | 'none' => (wantsSignals(view.policy) ? 'all' : watchesRequests(view) ? 'tokens' : 'none')
let detecting = wanted()
let api: ApiEvent[] = []
let kept: KeptRequest[] = []
let seen: { readonly sighting: NonNullable<ReturnType<RuleSightings['of']>>; readonly atMs: number }[] = []
let lines: { readonly level: 'info' | 'warn'; readonly line: string }[] = []

const log = (level: 'info' | 'warn', line: string): void => {
  if (lines.length < LINES_WAITING_MAX) lines.push({ level, line })
}

const audit =
  config.audit === undefined
    ? undefined
    : new AuditLog(config.audit, { ring, node: config.id, listen: config.listen.traffic[0]!, log })

const environment = (): GuardEnvironment => ({
  view,
  provisional: early,
  indicators,
  tokens,
  nowMs: Date.now(),
  certifiedAtMs,
  stopwatch: timing.next(),
})

function keep({ request }: WafJudgement, body: Uint8Array, truncated: boolean, atMs: number): void {
  const { requestId } = request
  if (kept.length >= KEPT_WAITING_MAX || requestId === undefined || config.requestBytesKept === 0) return
  const { method, target, httpVersion, protocol, headers, remoteAddress, host, path } = request
  const common = { method, target, httpVersion, headers, remoteAddress, host, path, requestId }
  const whole = protocol === undefined ? common : { ...common, protocol }
  kept.push({ request: whole, body: Uint8Array.from(body), truncated, policyVersion: view.policyVersion, atMs })
}

const breaches = await openBreaches(config, log)
// What it has to say of its files the node says: it follows them, too.
const places = await openPlaces(config, () => {})
const challenges = new Challenges()
usePassKeys(challenges, start.passKeys)

const proxy = createProxy({
  listeners: start.listeners,
  guard: createGuard({
    limiter: createRateLimiter({}, start.rates),
    shared: limits,
    passes: challenges,
    ...(breaches === undefined ? {} : { breaches }),
    ...(places === undefined ? {} : { places }),
    botNames: new BotNames({ servers: config.dnsServers }),
    witness: (judged, body, truncated, nowMs) => {
      if (judged.verdict.matches.length > 0) keep(judged, body, truncated, nowMs)
      const sighting = sightings.of(judged)
      if (sighting !== undefined && seen.length < SIGHTINGS_WAITING_MAX) seen.push({ sighting, atMs: nowMs })
      audit?.judged(judged, body, nowMs)
    },
  }),
  environment,
  recorder: proxyRecorder(feed, audit),
  node: config.id,
  region,
  explainHeader: config.explainHeader,
  ticketSecret: start.ticketSecret,
  challenges,
  portal,
  peer: (certificate, nowMs) => peersOf(view)(certificate, nowMs),
  ...(config.acme === undefined ? {} : { unseal: unsealer(config.key, ring, config.id, disk) }),
  // Each thread keeps its own.
  cacheBytes: Math.floor(config.cacheBytes / start.threads),
  onInvalidate: (keys) => say({ kind: 'changed', keys }),
  onApi: (event) => {
    if (api.length < EVENTS_WAITING_MAX) api.push(event)
  },
  onLogin: (attempt) => {
    const isWanted = attempt.failed || view.policy.detectors.slowLogins !== undefined
    if (isWanted && logins.length < EVENTS_WAITING_MAX) logins.push(attempt)
  },
  ended: {
    wants: () => detecting !== 'none',
    take: (request) => {
      if (detecting === 'tokens' && request.subject === undefined) return
      if (signals.length < SIGNALS_WAITING_MAX) signals.push(signalOf(request, ring))
      else signalsLost += 1
    },
  },
  meter: sourceMeter((reading) => {
    if (floods.length < READINGS_WAITING_MAX) floods.push(reading)
  }),
  log,
})

proxy.answerAcme(start.acme)

let toldAtMs = 0
let countedAtMs = 0

function tell(nowMs: number): void {
  toldAtMs = nowMs
  const isCounted = nowMs - countedAtMs >= NEWS_MS_MAX
  if (isCounted) countedAtMs = nowMs
  const news: WorkerNews = {
    kind: 'news',
    stats: proxy.stats(),
    upstreams: proxy.upstreams(),
    services: proxy.services(),
    certificates: proxy.certificates(),
    cache: proxy.cache(),
    requests: feed.news(),
    logins,
    floods,
    signals,
    signalsLost,
    api,
    kept,
    sightings: seen,
    lines,
    audit: audit && { written: audit.written, dropped: audit.dropped },
    ruleCounts: isCounted ? countRules(view, startedAtMs) : undefined,
  }
  logins = []
  floods = []
  signals = []
  signalsLost = 0
  api = []
  kept = []
  seen = []
  lines = []
  say(news)
}

function look(): void {
  const nowMs = performance.now()
  const waits =
    logins.length + floods.length + signals.length + api.length + kept.length + seen.length + lines.length > 0 || feed.waiting
  if (waits || nowMs - toldAtMs >= NEWS_MS_MAX) tell(nowMs)
}

async function stop(graceMs: number): Promise<void> {
  await proxy.stop(graceMs)
  clearInterval(looking)
  await audit?.stop()
  tell(performance.now())
  port.close()
}

/** What a token that is denied now has open ends. */
function cutDenied({ added }: DenialNews): void {
  const subjects = added.map(({ subject }) => subject).filter(isCredentialSubject)
  if (subjects.length > 0) proxy.cutCredentials(subjects)
}

function receive(message: ToWorker): void {
  switch (message.kind) {
    case 'view': {
      const before = view
      view = viewOf(message.view, certified, view)
      certifiedAtMs = message.view.certifiedAtMs
      if (view.policyVersion !== before.policyVersion || !sameKeys(view, before)) tokens = tokensOf(view, replays)
      detecting = wanted()
      break
    }
    case 'denials':
      if (message.of === 'early') early = changed(early, message.news)
      else {
        certified = changed(certified, message.news)
        view = { ...view, denials: certified }
      }
      cutDenied(message.news)
      break
    case 'indicators':
      indicators.use(message.shared)
      break
    case 'review':
      void proxy.reviewAll()
      break
    case 'cut':
      proxy.cutSource(message.source)
      break
    case 'passKeys':
      usePassKeys(challenges, message.keys)
      break
    case 'certificates':
      proxy.reloadCertificates()
      break
    case 'acme':
      proxy.answerAcme(message.all)
      break
    case 'invalidate':
      proxy.invalidate(message.keys)
      break
    case 'drain':
      proxy.drain(message.isOn)
      break
    case 'purge':
      proxy.purge(message.service, message.path)
      break
    case 'taken':
      limits.answered(message.answers)
      break
    case 'portal':
      portal.answered(message.id, message.answer)
      break
    case 'stop':
      void stop(message.graceMs)
      break
  }
}

const looking = setInterval(look, NEWS_MS)
port.on('message', receive)
try {
  await audit?.start()
  proxy.drain(start.isDraining)
  say({ kind: 'listening', bound: await proxy.start() })
  tell(performance.now())
} catch (error) {
  clearInterval(looking)
  say({ kind: 'failed', message: (error as Error).message })
  port.close()
}
