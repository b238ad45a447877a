/**
 * Statements of nodes. What one node alone says about a source binds only itself: a ring-wide denial needs the word of
 * several, each from its own evidence. A statement waits in the state until enough others have said the same, or lapses.
 *
 * The denial is a function of the set of statements that live, and grows with it: their order changes nothing.
 */
import { MerkleTrie } from './merkle-trie.ts'
import type { Policy } from './policy.ts'
import { timeKey } from './time-key.ts'
import type { Sha256 } from './tx.ts'
import type { Denial, DenialSubject, RingNode } from './types.ts'

/** Subjects that wait at most, over all nodes. */
export const PENDING_DENIALS_MAX = 50_000
/** Of these, subjects about which one node may have a statement waiting. */
export const PENDING_PER_ISSUER_MAX = 1_000

/** What one node says. */
export interface Statement {
  /** `node:ID`. */
  readonly issuer: string
  readonly reason: string
  /** Unix milliseconds: when signed, and until when the node wants the subject denied. */
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  /** Until when it counts towards a denial. */
  readonly lapsesAtMs: number
}

/** What nodes say about one subject: at most one statement a node, in order of issuer. */
export interface PendingDenial {
  readonly id: string
  readonly subject: DenialSubject
  readonly statements: readonly Statement[]
}

/** What it takes. `nodes` 1 and `regions` 1: a node’s word is enough. */
export interface Corroboration {
  readonly nodes: number
  readonly regions: number
  readonly withinMs: number
}

/**
 * As the policy says. Unless it says how many nodes: two, and one more than may lie (n = 3f + 1 validators) where that is
 * more, so that at least one honest node has seen it; in a ring of one, its own word.
 */
export function corroborationOf(policy: Policy, members: readonly RingNode[]): Corroboration {
  const { nodes, regions, within } = policy.denials.corroboration
  const validators = members.filter(({ roles }) => roles.includes('validator')).length
  const lying = Math.floor(Math.max(0, validators - 1) / 3)
  const wanted = nodes ?? Math.min(members.length, Math.max(2, lying + 1))
  return { nodes: Math.max(wanted, regions), regions, withinMs: within }
}

/** Do these issuers suffice? Only nodes of the ring count, each once. */
export function isCorroborated(issuers: Iterable<string>, need: Corroboration, members: readonly RingNode[]): boolean {
  const stating = new Set(issuers)
  const nodes = members.filter(({ id }) => stating.has(`node:${id}`))
  return nodes.length >= need.nodes && new Set(nodes.map(({ region }) => region)).size >= need.regions
}

/** The later-ending of two statements of one node; between equals a fixed order decides. */
function joinStatements(a: Statement, b: Statement): Statement {
  const lapsesAtMs = Math.max(a.lapsesAtMs, b.lapsesAtMs)
  return { ...(compareStatements(a, b) <= 0 ? a : b), lapsesAtMs }
}

/** Latest end first. */
function compareStatements(a: Statement, b: Statement): number {
  if (a.expiresAtMs !== b.expiresAtMs) return b.expiresAtMs - a.expiresAtMs
  if (a.issuedAtMs !== b.issuedAtMs) return b.issuedAtMs - a.issuedAtMs
  if (a.issuer !== b.issuer) return a.issuer > b.issuer ? -1 : 1
  return a.reason === b.reason ? 0 : a.reason > b.reason ? -1 : 1
}

/** The statements that count now. */
export function liveStatements({ statements }: PendingDenial, nowMs: number): readonly Statement[] {
  return statements.filter(({ lapsesAtMs, expiresAtMs }) => lapsesAtMs > nowMs && expiresAtMs > nowMs)
}

/** With one more statement, without those that no longer count. */
export function withStatement(
  before: PendingDenial | undefined,
  id: string,
  subject: DenialSubject,
  statement: Statement,
  nowMs: number,
): PendingDenial {
  const live = before === undefined ? [] : liveStatements(before, nowMs)
  const own = live.find(({ issuer }) => issuer === statement.issuer)
  const joined = own === undefined ? statement : joinStatements(own, statement)
  const others = live.filter(({ issuer }) => issuer !== statement.issuer)
  return { id, subject, statements: [...others, joined].sort((a, b) => (a.issuer < b.issuer ? -1 : 1)) }
}

/**
 * The denial that the statements make, when they suffice. It lasts as long as the needed number of nodes want it to: one that
 * asks for more, or for less, moves nothing once enough others have spoken.
 */
export function denialOfStatements(
  pending: PendingDenial,
  need: Corroboration,
  members: readonly RingNode[],
  nowMs: number,
  height: number,
): Denial | undefined {
  const ids = new Set(members.map(({ id }) => `node:${id}`))
  const live = liveStatements(pending, nowMs).filter(({ issuer }) => ids.has(issuer))
  const issuers = live.map(({ issuer }) => issuer)
  if (!isCorroborated(issuers, need, members)) return undefined
  const { reason, issuer, issuedAtMs, expiresAtMs } = live.toSorted(compareStatements)[need.nodes - 1] as Statement
  // Keys in canonical order, as in `denialOf`.
  return { expiresAtMs, height, id: pending.id, issuedAtMs, issuer, reason, statedBy: issuers, subject: pending.subject }
}

/** All that waits. Immutable; a change shares what did not change. */
export class PendingDenials {
  static readonly empty: PendingDenials = new PendingDenials(MerkleTrie.empty(), MerkleTrie.empty(), new Map())
  readonly #byId: MerkleTrie<PendingDenial>
  /** By when the last statement lapses, then id: what to sweep next. */
  readonly #lapses: MerkleTrie<1>
  readonly #perIssuer: ReadonlyMap<string, number>

  private constructor(byId: MerkleTrie<PendingDenial>, lapses: MerkleTrie<1>, perIssuer: ReadonlyMap<string, number>) {
    this.#byId = byId
    this.#lapses = lapses
    this.#perIssuer = perIssuer
  }

  /** From contents that are known to be well formed. */
  static from(contents: readonly PendingDenial[]): PendingDenials {
    return contents.reduce((all, pending) => all.with(pending), PendingDenials.empty)
  }

  /** Subjects that wait, those that lapsed and are not yet swept included. */
  get size(): number {
    return this.#byId.size
  }

  get(id: string): PendingDenial | undefined {
    return this.#byId.get(id)
  }

  /** Subjects about which the issuer has a statement here. */
  heldBy(issuer: string): number {
    return this.#perIssuer.get(issuer) ?? 0
  }

  /** Adds, or replaces what waits about the subject. */
  with(pending: PendingDenial): PendingDenials {
    const cleared = this.without(pending.id)
    const perIssuer = new Map(cleared.#perIssuer)
    for (const { issuer } of pending.statements) perIssuer.set(issuer, (perIssuer.get(issuer) ?? 0) + 1)
    return new PendingDenials(cleared.#byId.set(pending.id, pending), cleared.#lapses.set(lapseKey(pending), 1), perIssuer)
  }

  without(id: string): PendingDenials {
    const before = this.#byId.get(id)
    if (before === undefined) return this
    const perIssuer = new Map(this.#perIssuer)
    for (const { issuer } of before.statements) {
      const left = (perIssuer.get(issuer) ?? 1) - 1
      if (left === 0) perIssuer.delete(issuer)
      else perIssuer.set(issuer, left)
    }
    return new PendingDenials(this.#byId.delete(id), this.#lapses.delete(lapseKey(before)), perIssuer)
  }

  /** Lets go of what has lapsed: oldest first, at most so many. */
  swept(nowMs: number, most: number): PendingDenials {
    const until = timeKey(nowMs + 1, '')
    let swept: PendingDenials = this
    for (let done = 0; done < most; done += 1) {
      const next = swept.#lapses.first()
      if (next === undefined || next[0] >= until) break
      swept = swept.without(next[0].slice(14))
    }
    return swept
  }

  root(hash?: Sha256): string {
    return this.#byId.root(hash)
  }

  /** In order of id. */
  contents(): readonly PendingDenial[] {
    return [...this.#byId.entries()].map(([, pending]) => pending)
  }
}

function lapseKey({ id, statements }: PendingDenial): string {
  return timeKey(Math.max(0, ...statements.map(({ lapsesAtMs }) => lapsesAtMs)), id)
}
