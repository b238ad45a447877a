/**
 * Failed logins that are slow and spread (MITRE ATT&CK T1110.003 and T1110.004: password spraying, credential stuffing): for each account the
 * addresses from which logins failed and none succeeded, over days and over all nodes. One attempt of a node each eight hours, each from
 * another address, crosses no limit that is counted in minutes; by day it is an account that dozens of strangers tried.
 *
 * The memory of an account is a set of addresses, each with when a login last failed and last succeeded from there: joined by the later of
 * each, so that merging is associative, commutative and idempotent (a join semilattice: Shapiro et al., "Conflict-free Replicated Data
 * Types", 2011). Nodes tell each other; each judges by itself. What another node tells counts at
 * most as much as what this one saw: where nobody failed here, nothing is found.
 *
 * Pure and bounded: time is an argument, accounts and addresses have their bounds.
 */
import { type SourceCell, SourceSet, type SourceWords } from './source-set.ts'
import { decodeSourceSummary, encodeSourceSummary, SUMMARY_ACCOUNTS_MAX } from './source-summary.ts'

/** One login. `account` is a hash, 32 hex digits. */
export interface LoginSeen {
  readonly service: string
  readonly source: string
  readonly account: string
  readonly failed: boolean
  readonly atMs: number
}

export interface SlowLoginLimits {
  /** Addresses from which nothing but failures came, for one account. */
  readonly sources: number
  readonly windowMs: number
}

export interface SlowLoginsOptions {
  readonly self: string
  readonly limits: SlowLoginLimits
  readonly rearmMs: number
  readonly accountsMax?: number
  /** Undefined when the text is no address. */
  readonly wordsOf: (source: string) => SourceWords | undefined
}

export interface SlowLoginFinding {
  readonly service: string
  readonly account: string
  /** All addresses, of all nodes, the latest first. */
  readonly sources: readonly SourceWords[]
  /** Those that this node saw itself. */
  readonly own: readonly SourceWords[]
  readonly nodes: number
  readonly reason: string
}

interface Account {
  readonly own: SourceSet
  /** By node, and only of accounts that failed here as well. */
  others: Map<string, SourceSet> | undefined
  firedAtMs: number
}

/** Fits 90 days of a million accounts. */
export const ACCOUNTS_MAX = 1_000_000
/** Of each node for one account: the latest. */
export const SOURCES_MAX = 64
const NODES_MAX = 128
/** Of what one other node told, in all. */
const TOLD_CELLS_MAX = 1_000_000
/** Told again and again, since messages get lost and nodes begin anew: as many a summary. */
const RETOLD_MAX = 200

export class SlowLogins {
  readonly #options: SlowLoginsOptions
  readonly #accountsMax: number
  /** By service and account, the one that failed longest ago first. */
  readonly #accounts = new Map<string, Account>()
  readonly #untold = new Set<string>()
  /** Where telling again goes on. */
  #retelling: IterableIterator<[string, Account]> | undefined
  readonly #told = new Map<string, number>()
  #evicted = 0

  constructor(options: SlowLoginsOptions) {
    this.#options = options
    this.#accountsMax = options.accountsMax ?? ACCOUNTS_MAX
  }

  get accounts(): number {
    return this.#accounts.size
  }

  /** Accounts forgotten to stay within the bound. */
  get evicted(): number {
    return this.#evicted
  }

  observe({ service, source, account, failed, atMs }: LoginSeen): readonly SlowLoginFinding[] {
    const words = this.#options.wordsOf(source)
    const key = `${service}\n${account}`
    if (words === undefined || !/^[!-~]{1,63}$/.test(service) || !/^[0-9a-f]{32}$/.test(account)) return []
    let known = this.#accounts.get(key)
    if (known === undefined) {
      // A success says something only where there are failures.
      if (!failed) return []
      known = { own: new SourceSet(SOURCES_MAX), others: undefined, firedAtMs: 0 }
    }
    const at = minutesOf(atMs)
    if (known.own.raise(words, failed ? at : 0, failed ? 0 : at)) this.#untold.add(key)
    if (!failed) return []
    this.#accounts.delete(key)
    this.#accounts.set(key, known)
    if (this.#accounts.size > this.#accountsMax) this.#evict()
    return this.#judge(key, known, atMs)
  }

  #evict(): void {
    const [oldest, { others }] = this.#accounts.entries().next().value!
    this.#accounts.delete(oldest)
    this.#untold.delete(oldest)
    for (const [node, { size }] of others ?? []) this.#countTold(node, -size)
    this.#evicted += 1
  }

  /** What changed since it was told, and some of what several addresses tried. Undefined when there is nothing to tell. */
  summary(): Uint8Array | undefined {
    const told = new Map<string, readonly SourceCell[]>()
    for (const key of this.#untold) {
      if (told.size >= SUMMARY_ACCOUNTS_MAX) break
      this.#untold.delete(key)
      const account = this.#accounts.get(key)
      if (account !== undefined) told.set(key, account.own.cells())
    }
    for (let looked = 0; looked < RETOLD_MAX && told.size < SUMMARY_ACCOUNTS_MAX; looked += 1) {
      this.#retelling ??= this.#accounts.entries()
      const next = this.#retelling.next()
      if (next.done === true) {
        this.#retelling = undefined
        break
      }
      const [key, { own }] = next.value
      if (own.size > 1) told.set(key, own.cells())
    }
    return told.size === 0 ? undefined : encodeSourceSummary(told)
  }

  /** @throws {SummaryMalformed} */
  merge(node: string, summary: Uint8Array, nowMs: number): readonly SlowLoginFinding[] {
    const told = decodeSourceSummary(summary)
    if (node === this.#options.self) return []
    const [oldest, newest] = [minutesOf(nowMs - this.#options.limits.windowMs), minutesOf(nowMs) + 2]
    return [...told].flatMap(([key, cells]) => {
      const account = this.#accounts.get(key)
      // Of accounts that nobody failed at here nothing is kept: nobody fills this memory from elsewhere.
      if (account === undefined) return []
      account.others ??= new Map()
      let set = account.others.get(node)
      if (set === undefined) {
        if (account.others.size >= NODES_MAX) return []
        set = new SourceSet(SOURCES_MAX)
        account.others.set(node, set)
      }
      const before = set.size
      const room = TOLD_CELLS_MAX - (this.#told.get(node) ?? 0)
      const timely = cells.filter(({ failedMin, goodMin }) => {
        const at = Math.max(failedMin, goodMin)
        return at >= oldest && at <= newest
      })
      set.join(room >= timely.length ? timely : timely.filter(({ words }) => set.has(words)))
      this.#countTold(node, set.size - before)
      return this.#judge(key, account, nowMs)
    })
  }

  #countTold(node: string, more: number): void {
    this.#told.set(node, (this.#told.get(node) ?? 0) + more)
  }

  /** Forgets what is older than the window. Call it every now and then. */
  expire(nowMs: number): void {
    const oldest = minutesOf(nowMs - this.#options.limits.windowMs)
    for (const [key, { own, others }] of this.#accounts) {
      own.expire(oldest)
      for (const [node, set] of others ?? []) {
        const before = set.size
        set.expire(oldest)
        this.#countTold(node, set.size - before)
        if (set.size === 0) others?.delete(node)
      }
      if (own.size > 0) continue
      this.#accounts.delete(key)
      for (const [node, { size }] of others ?? []) this.#countTold(node, -size)
    }
  }

  #judge(key: string, account: Account, nowMs: number): readonly SlowLoginFinding[] {
    const { limits, rearmMs } = this.#options
    if (account.firedAtMs !== 0 && nowMs - account.firedAtMs < rearmMs) return []
    // Cheap, and enough for nearly all: no more addresses can count than there are.
    let most = account.own.size
    for (const { size } of account.others?.values() ?? []) most += Math.min(size, account.own.size)
    if (most < limits.sources) return []
    const from = minutesOf(nowMs - limits.windowMs)
    // Where a login succeeded, anywhere, sits somebody who may.
    const good = new Set([account.own, ...(account.others?.values() ?? [])].flatMap((set) => set.good(from)))
    const own = account.own.bad(from).filter((one) => !good.has(idOf(one)))
    if (own.length === 0) return []
    const seen = new Map(own.map((one) => [idOf(one), one]))
    let count = own.length
    let nodes = 1
    for (const set of account.others?.values() ?? []) {
      const news = set.bad(from).filter((one) => !good.has(idOf(one)) && !seen.has(idOf(one)))
      if (news.length === 0) continue
      for (const one of news) seen.set(idOf(one), one)
      count += Math.min(news.length, own.length)
      nodes += 1
    }
    if (count < limits.sources) return []
    account.firedAtMs = nowMs
    const [service, name] = key.split('\n') as [string, string]
    const sources = [...seen.values()].sort((a, b) => b.failedMin - a.failedMin).map(({ words }) => words)
    const days = Math.round(limits.windowMs / 8_640_000) / 10
    const where = nodes === 1 ? 'on 1 node' : `on ${nodes} nodes`
    const reason = `logins to one account failed from ${sources.length} addresses in ${days} d and succeeded from none of them, seen ${where}`
    return [{ service, account: name, sources, own: own.map(({ words }) => words), nodes, reason }]
  }

  /** All that this node saw, in pieces of the form of summaries: to be kept while the node is away. */
  *memory(): Generator<Uint8Array> {
    let piece = new Map<string, readonly SourceCell[]>()
    for (const [key, { own }] of this.#accounts) {
      piece.set(key, own.cells())
      if (piece.size < SUMMARY_ACCOUNTS_MAX) continue
      yield encodeSourceSummary(piece)
      piece = new Map()
    }
    if (piece.size > 0) yield encodeSourceSummary(piece)
  }

  /** What `memory` gave before. @throws {SummaryMalformed} */
  restore(piece: Uint8Array): void {
    for (const [key, cells] of decodeSourceSummary(piece)) {
      const account = this.#accounts.get(key) ?? { own: new SourceSet(SOURCES_MAX), others: undefined, firedAtMs: 0 }
      for (const { words, failedMin, goodMin } of cells) account.own.raise(words, failedMin, goodMin)
      this.#accounts.set(key, account)
      if (this.#accounts.size > this.#accountsMax) this.#evict()
    }
  }
}

function idOf({ words: [high, low] }: SourceCell): string {
  return `${high} ${low}`
}

function minutesOf(ms: number): number {
  return Math.max(0, Math.floor(ms / 60_000))
}
