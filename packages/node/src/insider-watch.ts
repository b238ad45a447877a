/**
 * Insiders: feeds what operators, programs and the subjects of tokens use to the detector, tells the other nodes, and keeps what was learned while the node
 * is away. Nobody is denied for what it finds. Names of secrets and paths become hashes here.
 */
import { hashText, type InsiderFinding, Insiders, type InsiderUse, type Signal } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import type { NewFinding } from '@ringwall/respond'
import type { InsiderPolicy, View } from '@ringwall/ring'
import type { DiskSeal } from '@ringwall/store'
import { KEEP_MS, KeptMemory } from './kept-memory.ts'

const SUMMARY_MS = 3_000
const HEARD_MS_MIN = 1_000
/** 10,000 profiles with the longest names. */
const KEPT_BYTES_MAX = 16 * 1_048_576
const DAY_MS = 86_400_000
/** Back by more, the clock was set. */
const BACK_MS = 60_000
/** What a block says that comes late teaches, and is no news. */
const NEWS_MS = 600_000

/** Of openings, as holders record them. */
export interface SecretsOpened {
  readonly atMs: number
  /** `operator:NAME`, `service:NAME`, `node:ID` or `key:ID`. */
  readonly issuer: string
  readonly secrets: readonly (readonly [name: string, version: number])[]
}

export interface InsiderWatchOptions {
  readonly fabric: Pick<Fabric, 'broadcast'>
  readonly view: () => View
  /** Where its memory is kept. */
  readonly file: string
  readonly disk?: DiskSeal | undefined
  readonly onFinding: (finding: NewFinding) => void
  readonly log: (level: 'warn', line: string) => void
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

/** Bucket and version, as openings name an object. */
const OBJECT_NAME = /^([^/]+)\/[0-9a-f]{32}$/
/** What is in it is seen when it is agreed. */
const CARRIES_STATEMENTS = 'POST /v1/transactions'

const DETECTORS: Readonly<Record<InsiderFinding['sort'], { readonly name: string; readonly attack: readonly string[] }>> = {
  secrets: { name: 'insider-secrets', attack: ['T1078', 'T1213', 'T1530'] },
  admin: { name: 'insider-operations', attack: ['T1078'] },
  account: { name: 'insider-account', attack: ['T1078', 'T1213'] },
}

export class InsiderWatch {
  readonly #options: InsiderWatchOptions
  readonly #now: () => number
  #insiders: Insiders | undefined
  #settings: InsiderPolicy | undefined
  readonly #heardMs = new Map<string, number>()
  #tickedMs = 0
  #timers: readonly NodeJS.Timeout[] = []
  readonly #kept: KeptMemory

  constructor(options: InsiderWatchOptions) {
    this.#options = options
    this.#kept = new KeptMemory({ ...options, what: 'what identities are used to', bytesMax: KEPT_BYTES_MAX })
    this.#now = options.now ?? Date.now
  }

  /** Takes up what was kept. What cannot be read is said, and learned anew. */
  async start(): Promise<void> {
    await this.#restore()
    this.#timers = [setInterval(() => this.#tell(), SUMMARY_MS), setInterval(() => void this.keep(), KEEP_MS)]
    for (const timer of this.#timers) timer.unref()
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await this.keep()
  }

  /** Whether requests are to be told: somebody may come with a token. */
  get watchesRequests(): boolean {
    return this.#current() !== undefined && watchesRequests(this.#options.view())
  }

  /** Identities in memory, by sort. */
  counts(): Readonly<Record<InsiderFinding['sort'], number>> {
    return this.#insiders?.counts() ?? { secrets: 0, admin: 0, account: 0 }
  }

  /** Of objects the bucket is what is new or not: objects are new every day. */
  opened({ atMs, issuer, secrets }: SecretsOpened): void {
    for (const [name] of secrets) {
      const item = hashText(OBJECT_NAME.exec(name)?.[1] ?? name)
      this.#observe({ atMs, sort: 'secrets', subject: issuer, item, thing: hashText(name) })
    }
  }

  /** @param operation A kind of statement, or method and path of the admin API. @param issuer As statements have it. */
  operated(issuer: string, operation: string, atMs: number): void {
    if (!issuer.startsWith('operator:') || operation === CARRIES_STATEMENTS) return
    const item = hashText(operation)
    this.#observe({ atMs, sort: 'admin', subject: issuer, item, thing: item })
  }

  requested({ subject, endpoint, service, path, atMs }: Signal): void {
    if (subject === undefined || endpoint === undefined) return
    this.#observe({ atMs, sort: 'account', subject: `${service}\n${subject}`, item: endpoint, thing: path })
  }

  /** Of each node one summary in a while: whoever sends more of them has the rest passed over. */
  merge(from: string, payload: Uint8Array): void {
    const nowMs = this.#now()
    const heardMs = this.#heardMs.get(from) ?? Number.NEGATIVE_INFINITY
    if (nowMs - heardMs < HEARD_MS_MIN && nowMs >= heardMs) return
    this.#heardMs.set(from, nowMs)
    try {
      this.#current()?.merge(payload, nowMs)
    } catch {
      // A peer's malformed summary is that peer's fault.
    }
  }

  #observe(use: InsiderUse): void {
    const nowMs = this.#now()
    // Learned by the time it was said, which somebody else may have made up.
    const found = this.#current()?.observe({ ...use, atMs: Math.min(use.atMs, nowMs) }) ?? []
    if (nowMs - use.atMs > NEWS_MS) return
    for (const finding of found) this.#options.onFinding(findingOf(finding, use.atMs))
  }

  /** By the policy in force; with a changed one what was learned stays. */
  #current(): Insiders | undefined {
    const settings = this.#options.view().policy.detectors.insider
    if (settings === this.#settings) return this.#insiders
    this.#settings = settings
    const { mode, learn, share, times, secrets, operations, accounts } = settings
    if (mode === 'off') this.#insiders = undefined
    else {
      const limits = { secrets, admin: operations, account: accounts }
      const options = { limits, learnDays: Math.ceil(learn / DAY_MS), share, times }
      if (this.#insiders === undefined) this.#insiders = new Insiders(options)
      else this.#insiders.use(options)
    }
    return this.#insiders
  }

  /** Every few seconds, by the clock. */
  #tell(): void {
    const nowMs = this.#now()
    if (nowMs < this.#tickedMs - BACK_MS) this.#current()?.setBack(nowMs)
    this.#tickedMs = nowMs
    const summary = this.#current()?.summary()
    if (summary !== undefined) this.#options.fabric.broadcast('signals', summary)
  }

  /** Writes what was learned to its file; nothing is left there when it is off. */
  keep(): Promise<void> {
    return this.#kept.keep(() => this.#current()?.memory())
  }

  #restore(): Promise<void> {
    return this.#kept.takeUp(
      (pieces) => {
        const nowMs = this.#now()
        for (const piece of pieces) this.#current()?.restore(piece, nowMs)
      },
      () => {
        this.#insiders = undefined
        this.#settings = undefined
      },
    )
  }
}

/** Whether somebody may come with a token. */
export function watchesRequests({ policy }: Pick<View, 'policy'>): boolean {
  const { detectors, services } = policy
  return detectors.insider.mode !== 'off' && Object.values(services).some(asksForTokens)
}

function asksForTokens({ identity, routes }: View['policy']['services'][string]): boolean {
  return identity !== undefined || routes.some((route) => route.identity !== undefined)
}

function findingOf({ sort, subject, reason }: InsiderFinding, atMs: number): NewFinding {
  const { name, attack } = DETECTORS[sort]
  const [service, account] = sort === 'account' ? (subject.split('\n') as [string, string]) : []
  return {
    atMs,
    detector: name,
    attack,
    service,
    subject: account === undefined ? { kind: 'identity', value: subject } : { kind: 'account', value: account },
    sources: [],
    reason,
    denied: false,
  }
}

/** One line for people. */
export function describeInsider({ detector, attack, subject, service, reason }: NewFinding): string {
  const of = service === undefined ? '' : ` of ${service}`
  return `${detector} (${attack.join(', ')}): ${subject.kind} ${subject.value}${of} ${reason}`
}
