/**
 * Logins over days: feeds the detector of slow attacks, spreads what this node saw, keeps it while the node is away, and turns findings into
 * denials of the addresses that this node saw itself.
 */
import { type SlowLoginFinding, SlowLogins, type SourceWords } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import type { LoginEvent } from '@ringwall/proxy'
import { type DenialSubject, formatAddress, formatPrefix, parseAddress, type View } from '@ringwall/ring'
import type { DiskSeal } from '@ringwall/store'
import { KEEP_MS, KeptMemory } from './kept-memory.ts'

const SUMMARY_MS = 5_000
const HEARD_MS_MIN = 1_000
const EXPIRE_MS = 600_000
/** A finding comes again after a day, or a third of the window. */
const REARM_MS_MAX = 86_400_000
/** Denied for one finding: a node may say only so much. */
const DENIED_MAX = 32
const NAMED_MAX = 256

export interface SlowLoginWatchOptions {
  readonly self: string
  readonly fabric: Pick<Fabric, 'broadcast'>
  readonly view: () => View
  /** Where its memory is kept. */
  readonly file: string
  /** Of the disk that it is on. */
  readonly disk?: DiskSeal | undefined
  readonly deny: (subject: DenialSubject, ttlMs: number, reason: string) => void
  readonly say: (line: string) => void
  readonly onFinding?: (finding: SlowLoginFinding) => void
  readonly log: (level: 'info' | 'warn', line: string) => void
}

/** As the detector counts it: whoever has one address of an IPv6 /64 has them all. */
export function wordsOfSource(text: string): SourceWords | undefined {
  const address = parseAddress(text)
  if (address === undefined) return undefined
  return address.version === 4 ? [0, address.words[0]!] : [address.words[0]!, address.words[1]!]
}

export function subjectOfWords([high, low]: SourceWords): Extract<DenialSubject, { readonly kind: 'ip' | 'cidr' }> {
  if (high === 0) return { kind: 'ip', value: formatAddress({ version: 4, words: [low] }) }
  return { kind: 'cidr', value: formatPrefix({ version: 6, words: [high, low, 0, 0], length: 64 }) }
}

export class SlowLoginWatch {
  readonly #options: SlowLoginWatchOptions
  #detector: SlowLogins | undefined
  #settings = ''
  #timers: readonly NodeJS.Timeout[] = []
  /** When each node was last heard. Nodes of the ring: few. */
  readonly #heardMs = new Map<string, number>()
  readonly #kept: KeptMemory

  constructor(options: SlowLoginWatchOptions) {
    this.#options = options
    this.#kept = new KeptMemory({ ...options, what: 'what was seen of slow logins', bytesMax: Number.POSITIVE_INFINITY })
  }

  /** Takes up what was kept. What cannot be read is said, and the memory begins anew. */
  async start(): Promise<void> {
    await this.#restore()
    this.#timers = [
      setInterval(() => this.#spread(), SUMMARY_MS),
      setInterval(() => this.#detector?.expire(Date.now()), EXPIRE_MS),
      setInterval(() => void this.keep(), KEEP_MS),
    ]
    for (const timer of this.#timers) timer.unref()
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await this.keep()
  }

  observe({ service, source, account, failed, atMs }: LoginEvent): void {
    if (account === undefined) return
    this.#conclude(this.#current()?.observe({ service, source, account, failed, atMs }) ?? [])
  }

  /** Of each node one summary in a while: whoever sends more of them has the rest passed over, and is heard again. */
  merge(from: string, payload: Uint8Array): void {
    const nowMs = performance.now()
    if (nowMs - (this.#heardMs.get(from) ?? Number.NEGATIVE_INFINITY) < HEARD_MS_MIN) return
    this.#heardMs.set(from, nowMs)
    try {
      this.#conclude(this.#current()?.merge(from, payload, Date.now()) ?? [])
    } catch {
      // A peer's malformed summary is that peer's fault.
    }
  }

  /** The detector for the policy in force; with a changed one the memory stays, and is judged by it. */
  #current(): SlowLogins | undefined {
    const limits = this.#options.view().policy.detectors.slowLogins
    const settings = JSON.stringify(limits ?? null)
    if (settings === this.#settings) return this.#detector
    this.#settings = settings
    const before = this.#detector
    this.#detector =
      limits === undefined
        ? undefined
        : new SlowLogins({
            self: this.#options.self,
            limits: { sources: limits.sources, windowMs: limits.window },
            rearmMs: Math.min(REARM_MS_MAX, limits.window / 3),
            wordsOf: wordsOfSource,
          })
    if (before !== undefined && this.#detector !== undefined) for (const piece of before.memory()) this.#detector.restore(piece)
    return this.#detector
  }

  #spread(): void {
    const summary = this.#current()?.summary()
    if (summary !== undefined) this.#options.fabric.broadcast('signals', summary)
  }

  #conclude(findings: readonly SlowLoginFinding[]): void {
    const limits = this.#options.view().policy.detectors.slowLogins
    if (limits === undefined) return
    for (const finding of findings) {
      const { service, account, sources, own, reason } = finding
      this.#options.onFinding?.(finding)
      const named = sources.slice(0, NAMED_MAX).map((words) => subjectOfWords(words).value)
      const more = sources.length > named.length ? ` and ${sources.length - named.length} more` : ''
      this.#options.say(`${reason} (T1110.003): account ${service}/${account}: ${named.join(', ')}${more}`)
      for (const words of own.slice(0, DENIED_MAX)) this.#options.deny(subjectOfWords(words), limits.denyFor, reason)
    }
  }

  /** Writes the memory to its file; nothing is left there when it is off. */
  keep(): Promise<void> {
    return this.#kept.keep(() => this.#current()?.memory())
  }

  #restore(): Promise<void> {
    return this.#kept.takeUp(
      (pieces) => {
        for (const piece of pieces) this.#current()?.restore(piece)
      },
      () => {
        this.#detector = undefined
        this.#settings = ''
      },
    )
  }
}
