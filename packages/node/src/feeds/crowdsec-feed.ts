/**
 * Decisions of a CrowdSec local API, taken in: each becomes what this node says of a source, in the node's name and with all that binds a
 * node (what is safe, how wide, how many an hour, how many nodes must say so). It is said again while CrowdSec keeps it, and taken back
 * when CrowdSec lifts it.
 */
import { type DenialSubject, parsePrefix, prefixSetOf, type View } from '@ringwall/ring'
import { askFeed } from './ask-feed.ts'
import { type FeedDecision, parseDecisionStream } from './crowdsec-decisions.ts'
import { FeedPulls, type FeedStatus } from './feed-pulls.ts'

export interface CrowdsecFeedConfig {
  readonly name: string
  /** Of the local API, with a slash at its end. */
  readonly url: URL
  readonly key: string
  /** PEM of the authority that its certificate is from, beside those that the platform trusts. */
  readonly ca: string | undefined
  readonly origins: readonly string[]
  readonly everyMs: number
  readonly decisionsMax: number
}

export interface CrowdsecFeedOptions {
  readonly config: CrowdsecFeedConfig
  readonly view: () => View
  /** Says it in the node's name; what is said already, and for long enough, is not said again. */
  readonly deny: (subject: DenialSubject, ttlMs: number, reason: string) => void
  /** Takes it back, if it was said for this reason. */
  readonly withdraw: (subject: DenialSubject, reason: string, why: string) => void
  readonly log: (level: 'info' | 'warn', line: string) => void
  /** Asks the local API; the real one unless given. */
  readonly ask?: (path: string) => Promise<string>
}

interface Held extends FeedDecision {
  readonly endsMs: number
  readonly reason: string
  /** When it is to be said again. */
  sayMs: number
}

const ANSWER_MS_MAX = 15_000
const ANSWER_BYTES_MAX = 32 * 1_048_576
const WAIT_MS_MAX = 300_000
/** The whole list is asked for so often: what got lost shows then. */
const WHOLE_EVERY_MS = 900_000
/** Statements of nodes may last so long at least. */
const TTL_MS_MIN = 1_000
/** Said at once; the rest follow. */
const SAID_AT_ONCE_MAX = 200
const REASON_CHARS_MAX = 200

export class CrowdsecFeed {
  readonly #options: CrowdsecFeedOptions
  readonly #held = new Map<string, Held>()
  readonly #pulls: FeedPulls
  #wholeMs = 0
  #refused = 0
  #leftOut = 0

  constructor(options: CrowdsecFeedOptions) {
    const { name, everyMs } = options.config
    this.#options = options
    this.#pulls = new FeedPulls({ name, everyMs, waitMsMax: WAIT_MS_MAX, log: options.log })
  }

  start(): void {
    this.#pulls.start((nowMs) => this.pull(nowMs))
  }

  stop(): Promise<void> {
    return this.#pulls.stop()
  }

  status(): FeedStatus {
    const { name, url } = this.#options.config
    return {
      name,
      url: url.href,
      ...this.#pulls.status(),
      held: this.#held.size,
      refused: this.#refused,
      leftOut: this.#leftOut,
    }
  }

  /** One pull, and what is to be said by then. */
  async pull(nowMs: number): Promise<void> {
    const { lastMs, failures } = this.#pulls
    const isWhole = nowMs - this.#wholeMs >= WHOLE_EVERY_MS || lastMs === undefined || failures > 0
    const { origins } = this.#options.config
    const isRunning = await this.#pulls.run(nowMs, async () => {
      const query = new URLSearchParams({ startup: String(isWhole), scopes: 'ip,range', origins: origins.join(',') })
      const text = await (this.#options.ask ?? ((path) => this.#ask(path)))(`v1/decisions/stream?${query}`)
      this.#take(parseDecisionStream(text), isWhole, nowMs)
      if (isWhole) this.#wholeMs = nowMs
    })
    if (isRunning) this.#say(nowMs)
  }

  #take({ added, deleted, leftOut }: ReturnType<typeof parseDecisionStream>, isWhole: boolean, nowMs: number): void {
    const { config, view, log } = this.#options
    const { policy } = view()
    const whole = new Set<string>()
    // What was lifted and given anew stands. With the whole list come those that ended in days past: what is not in it is over.
    const given = new Set(added.map(({ subject }) => subject.value))
    if (!isWhole) for (const { value } of deleted) if (!given.has(value)) this.#lift(value, 'CrowdSec lifted it')
    let refused = 0
    for (const decision of added) {
      const { subject, origin, scenario, lastsMs } = decision
      if (lastsMs <= TTL_MS_MIN) continue
      if (!maySay(subject, policy) || (!this.#held.has(subject.value) && this.#held.size >= config.decisionsMax)) {
        refused += 1
        continue
      }
      whole.add(subject.value)
      const before = this.#held.get(subject.value)
      const reason =
        before?.reason ?? `crowdsec ${config.name} (${origin}): ${scenario}`.slice(0, REASON_CHARS_MAX).toWellFormed()
      this.#held.set(subject.value, { ...decision, endsMs: nowMs + lastsMs, reason, sayMs: before?.sayMs ?? nowMs })
    }
    if (isWhole) for (const value of [...this.#held.keys()]) if (!whole.has(value)) this.#lift(value, 'CrowdSec no longer has it')
    if (refused > 0 && refused !== this.#refused)
      log(
        'warn',
        `feed ${config.name}: ${refused} decisions are not taken in: safe, wider than nodes may deny, or more than ${config.decisionsMax}`,
      )
    this.#refused = isWhole ? refused : this.#refused + refused
    this.#leftOut = isWhole ? leftOut : this.#leftOut + leftOut
  }

  #lift(value: string, why: string): void {
    const held = this.#held.get(value)
    if (held === undefined) return
    this.#held.delete(value)
    this.#options.withdraw(held.subject, held.reason, why)
  }

  /** A statement waits for others for a time, and a denial lasts for one: both are renewed before. */
  #say(nowMs: number): void {
    const { view, deny } = this.#options
    const { denials } = view().policy
    let said = 0
    for (const [value, held] of this.#held) {
      const ttlMs = Math.min(held.endsMs - nowMs, denials.nodeTtlMax)
      if (ttlMs <= TTL_MS_MIN) this.#held.delete(value)
      else if (held.sayMs <= nowMs && said < SAID_AT_ONCE_MAX) {
        said += 1
        held.sayMs = nowMs + 0.9 * Math.min(ttlMs, denials.corroboration.within)
        deny(held.subject, ttlMs, held.reason)
      }
    }
  }

  async #ask(path: string): Promise<string> {
    const { url, key, ca } = this.#options.config
    const headers = { 'x-api-key': key, accept: 'application/json' }
    const limits = { bytesMax: ANSWER_BYTES_MAX, timeoutMs: ANSWER_MS_MAX, signal: this.#pulls.signal }
    const { status, text } = await askFeed(new URL(path, url), { headers, ca, ...limits })
    if (status === 200) return text
    const hint = status === 403 ? ': the key is not known there (cscli bouncers add NAME makes one)' : ''
    throw new Error(`${url.host} answers ${status}${hint}`)
  }
}

/** Asked beforehand, so that a list with much of what nobody may say costs no transactions. */
function maySay({ value }: DenialSubject, { denials, trustedProxies }: View['policy']): boolean {
  const prefix = parsePrefix(value)
  if (prefix === undefined) return false
  const least =
    prefix.version === 4
      ? Math.max(denials.nodePrefixMinV4, denials.prefixMinV4)
      : Math.max(denials.nodePrefixMinV6, denials.prefixMinV6)
  if (prefix.length < least) return false
  return !prefixSetOf(denials.safe).overlaps(prefix) && !prefixSetOf(trustedProxies).overlaps(prefix)
}
