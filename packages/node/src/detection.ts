/**
 * Detection by the policy's rules: feeds signals to the detector, tells other nodes what it counted, and turns findings of rules that enforce
 * into denials of the sources that this node saw itself. The time is an argument.
 */
import { hash } from 'node:crypto'
import { hashText, RuleDetector, type RuleFinding, type Signal, type SignalPlace } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import { sourceKey, subjectOfSource } from '@ringwall/guard'
import type { EndedRequest } from '@ringwall/proxy'
import { type DenialSubject, type DetectionRulePolicy, detectionRulesOf, prefixSetOf, type View } from '@ringwall/ring'
import type { AnomalyWatch } from './anomaly-watch.ts'
import { foldPath } from './api-activity.ts'
import { type KeptFile, keepDetector } from './kept-memory.ts'

/** A finding of one key comes again after so long. */
const REARM_MS = 3_600_000
/** Denied for one finding: a node may say only so much. */
const DENIED_MAX = 32
const SUMMARY_MS = 3_000
/** Of keys that are well on their way, as soon as they are: as often as this, so that no node hears more than it takes. */
const URGENT_MS = 1_000
/** What comes together is told together. */
const GATHER_MS = 100
const EXPIRE_MS = 600_000
const HEARD_MS_MIN = 500
const SESSION_DOMAIN = 'ringwall session 1\n'
const SUBJECT_DOMAIN = 'ringwall subject 1\n'

/** A finding and the rule that made it. */
export interface Detected extends RuleFinding {
  readonly atMs: number
  readonly policy: DetectionRulePolicy
  readonly denied: boolean
}

export interface DetectionOptions {
  readonly self: string
  readonly view: () => View
  readonly deny: (subject: DenialSubject, ttlMs: number, reason: string, atMs: number) => void
  readonly onFinding: (found: Detected) => void
  /** Where an address is, by the operator’s files. */
  readonly locationOf?: ((address: string) => SignalPlace | undefined) | undefined
  /** Who looks at the same requests for what is not as usual. */
  readonly anomalies?: AnomalyWatch | undefined
}

/** Without what names anybody. The ring's name is in the hashes, so that those of two rings say nothing about each other. */
export function signalOf({ path, session, source, subject, ...rest }: EndedRequest, ring: string): Signal {
  return {
    ...rest,
    source: sourceKey(source),
    path: hashText(path),
    session: session === undefined ? undefined : hash('sha256', `${SESSION_DOMAIN}${ring}\n${session}`).slice(0, 32),
    ...(subject === undefined
      ? {}
      : {
          subject: hash('sha256', `${SUBJECT_DOMAIN}${ring}\n${subject}`).slice(0, 32),
          endpoint: hashText(`${rest.method} ${foldPath(path)}`),
        }),
  }
}

export class DetectionWatch {
  readonly #options: DetectionOptions
  #detector: RuleDetector | undefined
  #rules: ReadonlyMap<string, DetectionRulePolicy> = new Map()
  #welcome = prefixSetOf([])
  #policy: View['policy'] | undefined
  #settings = '[]'
  readonly #heardMs = new Map<string, number>()
  /** Somebody is to be told soon. */
  onUrgent: () => void = () => {}

  constructor(options: DetectionOptions) {
    this.#options = options
  }

  /** Whether anybody looks at requests. */
  get isOn(): boolean {
    return this.#current() !== undefined || this.#options.anomalies?.isOn === true
  }

  /** Keys in memory, and those that were forgotten to stay within the bound. */
  get size(): { readonly keys: number; readonly evicted: number } {
    return { keys: this.#detector?.keys ?? 0, evicted: this.#detector?.evicted ?? 0 }
  }

  observe(signal: Signal): void {
    const detector = this.#current()
    // Programs that are welcome walk through everything.
    if (!this.isOn || this.#welcome.containsText(addressOf(signal.source))) return
    this.#options.anomalies?.observe(signal)
    if (detector === undefined) return
    const findings = detector.observe(this.#placed(signal))
    if (findings.length > 0) this.#conclude(findings, signal.atMs)
    if (detector.isUrgent) this.onUrgent()
  }

  /** Only where somebody logged in it matters. */
  #placed(signal: Signal): Signal {
    const { locationOf } = this.#options
    if (locationOf === undefined || signal.login !== 'good') return signal
    return { ...signal, place: locationOf(addressOf(signal.source)) }
  }

  /** What is to be told to the others; undefined: nothing. */
  summary(nowMs: number): Uint8Array | undefined {
    return this.#current()?.summary(nowMs)
  }

  /** Of each node one summary in a while: whoever sends more of them has the rest passed over, and is heard again. */
  merge(from: string, payload: Uint8Array, nowMs: number): void {
    const heardMs = this.#heardMs.get(from) ?? Number.NEGATIVE_INFINITY
    if (nowMs - heardMs < HEARD_MS_MIN && nowMs >= heardMs) return
    this.#heardMs.set(from, nowMs)
    try {
      this.#conclude(this.#current()?.merge(from, payload, nowMs) ?? [], nowMs)
    } catch {
      // A peer's malformed summary is that peer's fault.
    }
  }

  expire(nowMs: number): void {
    this.#detector?.expire(nowMs)
  }

  /** What is known and usual, in pieces; undefined: no rule is in force. */
  memory(nowMs: number): Iterable<Uint8Array> | undefined {
    return this.#current()?.memory(nowMs)
  }

  /** What `memory` gave. @throws {MemoryMalformed} It is to forget all then. */
  restore(pieces: Iterable<Uint8Array>, nowMs: number): void {
    this.#current()?.restore(pieces, nowMs)
  }

  forget(): void {
    this.#policy = undefined
    this.#detector = undefined
    this.#settings = '[]'
  }

  /** The detector for the policy in force; with changed rules counts begin anew. */
  #current(): RuleDetector | undefined {
    const { policy } = this.#options.view()
    if (policy === this.#policy) return this.#detector
    this.#policy = policy
    this.#welcome = prefixSetOf([
      ...Object.values(policy.bots).flatMap(({ prefixes }) => prefixes),
      ...policy.denials.safe,
      // Whoever comes by them without a name of their own would be all one.
      ...policy.trustedProxies,
    ])
    const rules = detectionRulesOf(policy)
    this.#rules = new Map(rules.map((rule) => [rule.name, rule]))
    // How long somebody is denied, and what people read, changes nothing that was counted.
    const settings = JSON.stringify(rules.map(({ mode, denyFor, reason, attack, ...rest }) => rest))
    if (settings === this.#settings) return this.#detector
    this.#settings = settings
    const before = this.#detector
    this.#detector =
      rules.length === 0 ? undefined : new RuleDetector({ self: this.#options.self, rules, rearmMs: REARM_MS, networkOf })
    if (before !== undefined) this.#detector?.inherit(before)
    return this.#detector
  }

  #conclude(findings: readonly RuleFinding[], atMs: number): void {
    for (const finding of findings) {
      const policy = this.#rules.get(finding.rule)
      if (policy === undefined) continue
      const subjects =
        policy.mode === 'enforce'
          ? finding.sources.slice(0, DENIED_MAX).flatMap((source) => subjectOfSource(source)?.source ?? [])
          : []
      this.#options.onFinding({ ...finding, atMs, policy, denied: subjects.length > 0 })
      for (const subject of subjects) this.#options.deny(subject, policy.denyFor, denialReason(policy, finding), atMs)
    }
  }
}

/** Tells the others every few seconds, and within a second of what is well on its way. @returns Ends it. */
export function followDetection(watch: DetectionWatch, fabric: Pick<Fabric, 'broadcast'>): () => void {
  let toldMs = Number.NEGATIVE_INFINITY
  let soon: NodeJS.Timeout | undefined
  const tell = (): void => {
    clearTimeout(soon)
    soon = undefined
    const summary = watch.summary(Date.now())
    if (summary === undefined) return
    toldMs = performance.now()
    fabric.broadcast('signals', summary)
  }
  watch.onUrgent = () => {
    soon ??= setTimeout(tell, Math.max(GATHER_MS, toldMs + URGENT_MS - performance.now())).unref()
  }
  const timers = [
    // Not right after another, which whoever hears both would pass over.
    setInterval(() => {
      if (performance.now() - toldMs >= URGENT_MS) tell()
    }, SUMMARY_MS),
    setInterval(() => watch.expire(Date.now()), EXPIRE_MS),
  ]
  for (const timer of timers) timer.unref()
  return () => {
    watch.onUrgent = () => {}
    clearTimeout(soon)
    for (const timer of timers) clearInterval(timer)
  }
}

/** Both halves of what is known, full, and what is usual of each rule and service. */
const KEPT_BYTES_MAX = 32 * 1_048_576

/** Takes up what was kept, and keeps it every ten minutes. @returns Keeps it once more, and ends it. */
export function keepDetection(watch: DetectionWatch, file: KeptFile): Promise<() => Promise<void>> {
  return keepDetector(watch, { ...file, what: 'who is known and what is usual', bytesMax: KEPT_BYTES_MAX })
}

/** One line for people. */
export function describeDetected({ policy, rule, key, sources, reason, denied }: Detected): string {
  const whose = key.map(([kind, value]) => `${kind} ${kind === 'source' ? sourceText(value) : value}`).join(', ')
  const technique = policy.attack.length === 0 ? '' : ` (${policy.attack.join(', ')})`
  const others = sources.filter((source) => !key.some(([, value]) => value === source))
  const from = others.length === 0 ? '' : `; from ${others.map(sourceText).join(', ')}`
  return `${rule}${technique}: ${policy.reason}: ${whose}: ${reason}${from}${denied ? '; denied' : ''}`
}

/** For the ledger: at most what it takes. */
function denialReason({ name, reason }: DetectionRulePolicy, finding: RuleFinding): string {
  return `detector ${name}: ${reason}: ${finding.reason}`.slice(0, 256)
}

function networkOf(source: string): string | undefined {
  return subjectOfSource(source)?.network
}

/** As denials name it: an address, or a prefix of IPv6. */
export function sourceText(source: string): string {
  return subjectOfSource(source)?.source.value ?? source
}

/** The first address of it. */
function addressOf(source: string): string {
  return source.includes(':') ? sourceText(source).split('/', 1)[0]! : source
}
