/**
 * A ring of nodes without sockets: the guards, the detectors and the way of a denial are those of a node, the clock is the caller's. A node's
 * statements are signed, heard by the others as gossip within the second, and agreed on by the ring's application once a second.
 *
 * Left out: the WAF (no request carries an attack in its text), rate limits, consensus itself, and delays of the network
 * below a second. What nodes tell each other they tell at `TELL_FAILED_MS` and `TELL_SLOW_MS`, less often than a node does.
 */
import type { KeyObject } from 'node:crypto'
import { FailedLogins, FloodMeter, Floods, SlowLogins, type SourceWords } from '@ringwall/detect'
import {
  createGuard,
  createRateLimiter,
  type Guard,
  type GuardEnvironment,
  type GuardRequest,
  type Judgement,
  loginFailed,
  sourceKey,
  subjectOfSource,
} from '@ringwall/guard'
import { seededKey } from '@ringwall/identity'
import { endedRequest } from '@ringwall/proxy'
import { correlate, Findings, type Incident } from '@ringwall/respond'
import {
  type Denial,
  type DenialSubject,
  FLOOD_REASON,
  parseGenesis,
  type RingApplication,
  type RingState,
  type View,
} from '@ringwall/ring'
import { encodeBase64url, encodeTx, parseTx, signingBytes, subjectId, type TxBody } from '@ringwall/ring/tx'
import { AnomalyWatch } from '../../packages/node/src/anomaly-watch.ts'
import { DetectionWatch, signalOf, sourceText } from '../../packages/node/src/detection.ts'
import { ofAnomaly, ofDetected, ofFailedLogins, ofFlood, ofSlowLogins } from '../../packages/node/src/incident-findings.ts'
import { rawPublicKey, signMessage } from '../../packages/node/src/keys.ts'
import { type DenyInOwnName, ownDenials } from '../../packages/node/src/own-denials.ts'
import { EarlyDenials } from '../../packages/node/src/provisional.ts'
import { ringApplication } from '../../packages/node/src/ring-application.ts'
import { subjectOfWords, wordsOfSource } from '../../packages/node/src/slow-login-watch.ts'
import type { Play } from './traffic.ts'

export const HOST = 'shop.example'
const SECOND = 1_000
const TELL_FAILED_MS = 5 * SECOND
const TELL_SLOW_MS = 300 * SECOND
const TELL_RULES_MS = 15 * SECOND
const TELL_ANOMALIES_MS = 60 * SECOND
const EXPIRE_MS = 3_600 * SECOND
const EXPIRE_FAILED_MS = 60 * SECOND
const DENIED_MAX = 32
const KEEP_MS = 90 * 86_400_000
/** More than a node keeps, so that all are scored. */
const FINDINGS_MAX = 100_000
/** Requests that a node has time for in a tenth of a second; a flood is what it takes to show one. */
const CAPACITY = 20
const FLOOD_LOOK_MS = 100

/** What a detector concluded, on one node. */
export interface Found {
  readonly atMs: number
  readonly node: number
  readonly detector: string
  /** Whom it names, as `KIND:VALUE`. */
  readonly subjects: readonly string[]
  readonly reason: string
}

export interface SimRingOptions {
  readonly nodes: number
  readonly policy: string
  readonly startMs: number
  readonly onFound: (found: Found) => void
  /** What is not as usual, which denies nobody. */
  readonly onAnomaly?: ((found: Found) => void) | undefined
}

export interface Outcome {
  readonly allowed: boolean
  /** Why not. */
  readonly reason: string
}

interface SimNode {
  readonly id: string
  readonly guard: Guard
  readonly early: EarlyDenials
  readonly failed: FailedLogins | undefined
  readonly slow: SlowLogins | undefined
  readonly detection: DetectionWatch
  readonly anomalies: AnomalyWatch
  readonly floods: Floods | undefined
  readonly meter: FloodMeter
  readonly deny: DenyInOwnName
  /** What it found, for incidents. */
  readonly findings: Findings
  /** And what is not as usual, apart: what rules find is told of with it and without. */
  readonly oddities: Findings
  asked: number
  lookedMs: number
}

const ALLOWED: Outcome = { allowed: true, reason: '' }
const NO_HEADERS = [['host', HOST]] as const
const FORM = [
  ['host', HOST],
  ['content-type', 'application/x-www-form-urlencoded'],
] as const

/** Keys of nodes are numbers: nothing here is secret, and every run is the same. */
function keyOf(number: number): KeyObject {
  return seededKey(Buffer.alloc(32, number + 1))
}

export class SimRing {
  readonly #options: SimRingOptions
  readonly #application: RingApplication
  readonly #nodes: readonly SimNode[]
  #state: RingState
  #view: View
  #height = 0
  #nonces = 0
  #pending: Uint8Array[] = []
  #secondMs: number
  denials = 0

  constructor(options: SimRingOptions) {
    this.#options = options
    this.#secondMs = options.startMs
    const keys = Array.from({ length: options.nodes }, (_, at) => keyOf(at))
    const genesis = parseGenesis(
      JSON.stringify({
        format: 'ringwall/genesis/1',
        createdAtMs: options.startMs - SECOND,
        nodes: keys.map((key, at) => ({
          id: `n${at + 1}`,
          region: ['eu', 'us', 'ap'][at % 3],
          address: `127.0.0.1:${at + 1}`,
          publicKey: encodeBase64url(rawPublicKey(key)),
          roles: ['validator', 'edge'],
        })),
        operators: [{ name: 'sim', publicKey: encodeBase64url(rawPublicKey(keyOf(200))) }],
        policy: options.policy,
      }),
    )
    this.#application = ringApplication(genesis, new Map())
    this.#state = this.#application.initial()
    this.#view = this.#application.view(this.#state, 0, options.startMs)
    this.#nodes = keys.map((key, at) => this.#node(at, key))
  }

  /** Of all nodes’ findings, as each of them tells it once it has heard the others. @param withAnomalies As a ring tells it that looks for them. */
  incidents(withAnomalies = false): readonly Incident[] {
    const all = new Findings({ self: 'desk', keepMs: KEEP_MS, perNodeMax: FINDINGS_MAX })
    for (const { findings, oddities } of this.#nodes) {
      all.restore(findings.memory())
      if (withAnomalies) all.restore(oddities.memory())
    }
    return correlate(all.all())
  }

  get view(): View {
    return this.#view
  }

  #node(at: number, key: KeyObject): SimNode {
    const id = `n${at + 1}`
    const { detectors, denials } = this.#view.policy
    const early = new EarlyDenials(this.#application)
    const longest = Math.min(detectors.floods.denyForMax, denials.nodeTtlMax, denials.corroboration.within)
    const { failedLogins, slowLogins } = detectors
    const findings = new Findings({ self: id, keepMs: KEEP_MS, perNodeMax: FINDINGS_MAX })
    const oddities = new Findings({ self: id, keepMs: KEEP_MS, perNodeMax: FINDINGS_MAX })
    const anomalies = new AnomalyWatch({
      ring: this.#application.ring,
      view: () => this.#view,
      onFinding: (found) => {
        const { atMs, rule, service, key, sources, reason } = found
        oddities.add(ofAnomaly(found))
        const [kind, value] = key
        const about =
          kind === 'route' ? `route:${service}/${value}` : kind === 'source' ? `ip:${sourceText(value)}` : `${kind}:${value}`
        const named = sources.map((source) => `ip:${sourceText(source)}`)
        this.#options.onAnomaly?.({ atMs, node: at, detector: rule, subjects: [about, ...named], reason })
      },
    })
    const deny = ownDenials({
      application: this.#application,
      early,
      state: () => this.#state,
      view: () => this.#view,
      sign: (body, atMs) => this.#sign(key, `node:${id}`, body, atMs),
      cut: () => {},
      propose: (bytes) => this.#propose(bytes),
    })
    return {
      id,
      guard: createGuard({ limiter: createRateLimiter({ seed: at }) }),
      early,
      failed:
        failedLogins === undefined
          ? undefined
          : new FailedLogins({
              self: id,
              limits: { ...failedLogins, windowMs: failedLogins.window },
              rearmMs: Math.min(failedLogins.denyFor, denials.corroboration.within),
            }),
      slow:
        slowLogins === undefined
          ? undefined
          : new SlowLogins({
              self: id,
              limits: { sources: slowLogins.sources, windowMs: slowLogins.window },
              rearmMs: Math.min(86_400_000, slowLogins.window / 3),
              wordsOf: wordsOfSource,
            }),
      anomalies,
      detection: new DetectionWatch({
        self: id,
        anomalies,
        view: () => this.#view,
        deny: (...said) => deny(...said),
        onFinding: (found) => {
          const { atMs, rule, key, sources, reason } = found
          findings.add(ofDetected(found))
          const subjects = key.map(([kind, value]) => (kind === 'source' ? `ip:${sourceText(value)}` : `${kind}:${value}`))
          const named = sources.map((source) => `ip:${sourceText(source)}`)
          this.#options.onFound({ atMs, node: at, detector: rule, subjects: [...subjects, ...named], reason })
        },
      }),
      floods:
        detectors.floods.mode === 'off'
          ? undefined
          : new Floods({
              limits: {
                perSource: detectors.floods.perSource,
                denyForMs: Math.min(detectors.floods.denyFor, longest),
                denyForMaxMs: longest,
              },
              networkOf: (source) => subjectOfSource(source)?.network,
            }),
      meter: new FloodMeter(),
      deny,
      findings,
      oddities,
      asked: 0,
      lookedMs: 0,
    }
  }

  #sign(key: KeyObject, issuer: string, body: TxBody, atMs: number): Uint8Array {
    this.#nonces += 1
    const nonce = new Uint8Array(16)
    new DataView(nonce.buffer).setUint32(0, this.#nonces)
    const content = { ring: this.#application.ring, issuer, atMs, untilMs: atMs + 60_000, nonce: encodeBase64url(nonce), body }
    return encodeTx({ content, signature: encodeBase64url(signMessage(key, signingBytes(content))) })
  }

  #propose(bytes: Uint8Array): void {
    this.#pending.push(bytes)
    this.denials += 1
  }

  /** One request, by the node's guard; what the application answers is counted by the detectors. */
  play(play: Play): Outcome {
    this.#advance(play.atMs)
    const node = this.#nodes[play.node]!
    const environment: GuardEnvironment = {
      view: this.#view,
      provisional: node.early.enforced,
      tokens: { verify: () => ({ ok: false, code: 'NONE', reason: 'no tokens are played' }) },
      nowMs: play.atMs,
      certifiedAtMs: play.atMs,
    }
    const query = play.path.indexOf('?')
    const request: GuardRequest = {
      method: play.method,
      target: play.path,
      httpVersion: '2',
      headers: play.account === undefined ? NO_HEADERS : FORM,
      remoteAddress: play.source,
      host: HOST,
      path: query < 0 ? play.path : play.path.slice(0, query),
      ja4: play.ja4,
    }
    let judgement = node.guard.head(request, environment) as Judgement
    if (judgement.decision === undefined) {
      const body =
        play.account === undefined ? new Uint8Array() : new TextEncoder().encode(`email=${encodeURIComponent(play.account)}`)
      judgement = node.guard.body(judgement, body, false, environment)
    }
    const decision = judgement.decision!
    const isAllowed = decision.outcome === 'allow'
    this.#meter(node, play, isAllowed)
    if (isAllowed && judgement.login !== undefined) this.#login(node, play, judgement)
    this.#signal(node, play, judgement)
    node.guard.release(judgement)
    return isAllowed ? ALLOWED : { allowed: false, reason: decision.reason }
  }

  #login(node: SimNode, { atMs, source, status }: Play, judgement: Judgement): void {
    const { service, account } = judgement.login!
    const failed = loginFailed(judgement, status)
    if (failed) this.#concludeFailed(node, node.failed?.observe({ service, source, account, atMs }) ?? [], atMs)
    if (account !== undefined)
      this.#concludeSlow(node, node.slow?.observe({ service, source, account, failed, atMs }) ?? [], atMs)
  }

  #signal(node: SimNode, play: Play, judgement: Judgement): void {
    const { atMs, source, ja4, method, path, session } = play
    const isAllowed = judgement.decision!.outcome === 'allow'
    const facts = {
      atMs,
      method,
      path: path.split('?', 1)[0]!,
      status: isAllowed ? play.status : judgement.decision!.status,
      bytes: isAllowed ? play.bytes : 0,
      source,
      fingerprint: ja4,
      rawHeaders: [],
    }
    const ended = endedRequest(judgement, facts, this.#view.policy)
    if (ended === undefined) return
    node.detection.observe({ ...signalOf(ended, this.#application.ring), session })
  }

  #tellRules(at: number): void {
    for (const from of this.#nodes) {
      const summary = from.detection.summary(at)
      if (summary === undefined) continue
      for (const to of this.#nodes) if (to !== from) to.detection.merge(from.id, summary, at)
    }
  }

  #tellAnomalies(at: number): void {
    for (const from of this.#nodes) {
      from.anomalies.expire(at)
      for (let told = from.anomalies.summary(); told !== undefined; told = from.anomalies.summary())
        for (const to of this.#nodes) if (to !== from) to.anomalies.merge(from.id, told)
    }
  }

  #found(node: SimNode, atMs: number, detector: string, subjects: readonly string[], reason: string): void {
    this.#options.onFound({ atMs, node: this.#nodes.indexOf(node), detector, subjects, reason })
  }

  #concludeFailed(node: SimNode, findings: ReturnType<FailedLogins['observe']>, atMs: number): void {
    const ttlMs = this.#view.policy.detectors.failedLogins?.denyFor ?? 0
    for (const finding of findings) {
      const { subject, reason } = finding
      node.findings.add(ofFailedLogins(finding, atMs))
      this.#found(node, atMs, 'failed-logins', [`${subject.kind}:${subject.value}`], reason)
      node.deny(subject, ttlMs, reason, atMs)
    }
  }

  #concludeSlow(node: SimNode, findings: ReturnType<SlowLogins['observe']>, atMs: number): void {
    const ttlMs = this.#view.policy.detectors.slowLogins?.denyFor ?? 0
    const named = (words: SourceWords): string => `ip:${subjectOfWords(words).value}`
    for (const finding of findings) {
      const { account, sources, own, reason } = finding
      node.findings.add(ofSlowLogins(finding, atMs))
      this.#found(node, atMs, 'slow-logins', [`account:${account}`, ...sources.map(named)], reason)
      for (const words of own.slice(0, DENIED_MAX)) node.deny(subjectOfWords(words), ttlMs, reason, atMs)
    }
  }

  /** Floods are looked at ten times a second of the node's own requests. */
  #meter(node: SimNode, { atMs, source, ja4 }: Play, isAllowed: boolean): void {
    if (atMs - node.lookedMs >= FLOOD_LOOK_MS) {
      const reading = node.meter.look(node.asked > CAPACITY, atMs, () => undefined)
      node.lookedMs = atMs
      node.asked = 0
      const findings = reading === undefined ? [] : (node.floods?.observe(reading, atMs) ?? [])
      for (const { subject, denyForMs, reason } of findings) {
        if (subject.kind === 'fingerprint') continue
        const denied: DenialSubject | undefined =
          subject.kind === 'network' ? { kind: 'cidr', value: subject.value } : subjectOfSource(subject.value)?.source
        if (denied === undefined) continue
        this.#found(node, atMs, 'floods', [`ip:${denied.value}`], reason)
        node.findings.add(ofFlood([denied.value], reason, true, atMs))
        node.deny(denied, denyForMs, `${FLOOD_REASON}${reason}`, atMs)
      }
    }
    node.asked += 1
    // What there is no time for is refused.
    node.meter.asked(sourceKey(source), ja4, !isAllowed || node.asked > CAPACITY, false)
  }

  /** What happens by the clock: gossip and blocks each second, summaries, forgetting. */
  #advance(nowMs: number): void {
    while (this.#secondMs + SECOND <= nowMs) {
      this.#secondMs += SECOND
      const at = this.#secondMs
      if (this.#pending.length > 0) this.#block(at)
      for (const { early } of this.#nodes) if (early.enforced.size > 0) early.tick(at, at)
      if (at % TELL_FAILED_MS === 0) this.#tellFailed(at)
      if (at % TELL_SLOW_MS === 0) this.#tellSlow(at)
      if (at % TELL_RULES_MS === 0) this.#tellRules(at)
      if (at % TELL_ANOMALIES_MS === 0) this.#tellAnomalies(at)
      if (at % EXPIRE_MS === 0) {
        for (const node of this.#nodes) {
          node.slow?.expire(at)
          node.detection.expire(at)
        }
        // Blocks come all the time; what is over goes out of the state with them.
        this.#block(at)
      }
    }
  }

  #tellFailed(at: number): void {
    for (const from of this.#nodes) {
      if (at % EXPIRE_FAILED_MS === 0) from.failed?.expire(at)
      const summary = from.failed?.summary()
      if (summary === undefined) continue
      for (const to of this.#nodes) if (to !== from) this.#concludeFailed(to, to.failed?.merge(from.id, summary, at) ?? [], at)
    }
  }

  #tellSlow(at: number): void {
    for (const from of this.#nodes) {
      const summary = from.slow?.summary()
      if (summary === undefined) continue
      for (const to of this.#nodes) if (to !== from) this.#concludeSlow(to, to.slow?.merge(from.id, summary, at) ?? [], at)
    }
  }

  #block(at: number): void {
    const pending = this.#pending
    this.#pending = []
    for (const bytes of pending) {
      const issuer = parseTx(bytes).content.issuer.slice('node:'.length)
      for (const { id, early } of this.#nodes) if (id !== issuer) early.hear(this.#state, bytes, at)
    }
    this.#height += 1
    const context = { height: this.#height, timestampMs: at, proposer: this.#nodes[0]!.id }
    const chosen = this.#application.prepare(this.#state, pending, context, 64_000_000)
    const result = this.#application.execute(this.#state, chosen, context)
    if (!result.ok) throw new Error(`the block at ${new Date(at).toISOString()} is refused: ${result.reason}`)
    this.#state = result.state
    this.#view = this.#application.view(this.#state, this.#height, at)
    const confirmed: Denial[] = []
    for (const bytes of chosen) {
      const { body } = parseTx(bytes).content
      if (body.type !== 'deny.add') continue
      const certain = this.#state.denial(subjectId(body.subject))
      if (certain !== undefined) confirmed.push(certain)
    }
    for (const { early } of this.#nodes) early.confirm(confirmed)
  }
}
