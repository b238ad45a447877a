/**
 * Statements that need several operators. One that is signed by too few waits in the state; with the last approval it is
 * applied, if it still may be. How many it takes is what the policy in force says at that moment.
 */
import { MerkleTrie } from './merkle-trie.ts'
import { APPROVABLE_TYPES, type ApprovableType, type Policy } from './policy.ts'
import { timeKey } from './time-key.ts'
import type { Sha256 } from './tx.ts'
import type { RingOperator, TxBody, TxContent, TxId } from './types.ts'

/** Statements that wait at most, and of one operator. A policy that waits may have 240 KiB. */
export const APPROVALS_MAX = 64
export const APPROVALS_PER_OPERATOR_MAX = 4

/** A statement that waits for approvals. */
export interface PendingStatement {
  /** Of its transaction. */
  readonly id: TxId
  /** As its proposer signed it. */
  readonly content: TxContent
  /** `operator:NAME` of those who approved it, its proposer not among them; in order. */
  readonly approvedBy: readonly string[]
  /** Unix milliseconds. */
  readonly lapsesAtMs: number
}

/** What lets somebody in, or puts somebody out, by another way needs what the plain way needs. */
const LIKE: Readonly<Partial<Record<TxBody['type'], ApprovableType>>> = {
  'node.invite': 'node.add',
  'device.register': 'node.add',
  'attest.reference': 'node.add',
  'attest.accept': 'node.add',
  'attest.bind': 'node.add',
  'est.invite': 'node.add',
  'device.transfer': 'node.remove',
  'device.remove': 'node.remove',
  'transit.delete': 'vault.delete',
}

/** As which type of statement the policy makes it wait; undefined: it never waits. */
export function approvedAs(type: TxBody['type']): ApprovableType | undefined {
  return APPROVABLE_TYPES.find((known) => known === type) ?? LIKE[type]
}

/**
 * How many operators must have signed it, its proposer among them. A policy that asks for fewer approvals of something than
 * the one in force needs as many as are asked for now: nobody lowers the bar alone.
 *
 * @param proposed The policy that a `policy.set` would put in force.
 */
export function approvalsNeeded(inForce: Policy, body: TxBody, proposed: Policy | undefined): number {
  const type = approvedAs(body.type)
  if (type === undefined) return 1
  const now = inForce.operators.approvals
  // To wipe a node is to remove it, and more.
  let needed = body.type === 'node.wipe' ? Math.max(now['node.wipe'], now['node.remove']) : now[type]
  if (proposed === undefined) return needed
  for (const type of APPROVABLE_TYPES) if (proposed.operators.approvals[type] < now[type]) needed = Math.max(needed, now[type])
  return needed
}

/** Those who signed it and still are operators. */
export function signersOf({ content, approvedBy }: PendingStatement, operators: readonly RingOperator[]): readonly string[] {
  const known = new Set(operators.map(({ name }) => `operator:${name}`))
  return [content.issuer, ...approvedBy].filter((signer) => known.has(signer))
}

/** All that waits for approvals. Immutable. */
export class PendingStatements {
  static readonly empty: PendingStatements = new PendingStatements(MerkleTrie.empty(), MerkleTrie.empty())
  readonly #byId: MerkleTrie<PendingStatement>
  /** By when they lapse, then id. */
  readonly #lapses: MerkleTrie<1>

  private constructor(byId: MerkleTrie<PendingStatement>, lapses: MerkleTrie<1>) {
    this.#byId = byId
    this.#lapses = lapses
  }

  /** From contents that are known to be well formed. */
  static from(contents: readonly PendingStatement[]): PendingStatements {
    return contents.reduce((all, statement) => all.with(statement), PendingStatements.empty)
  }

  get size(): number {
    return this.#byId.size
  }

  /** Undefined also for one that lapsed and is not yet swept: how much was swept must not show. */
  get(id: TxId, nowMs: number): PendingStatement | undefined {
    const found = this.#byId.get(id)
    return found !== undefined && found.lapsesAtMs > nowMs ? found : undefined
  }

  /** Oldest proposal first. */
  list(nowMs: number): readonly PendingStatement[] {
    const live = this.contents().filter(({ lapsesAtMs }) => lapsesAtMs > nowMs)
    return live.toSorted((a, b) => a.content.atMs - b.content.atMs || (a.id < b.id ? -1 : 1))
  }

  /** May the operator have one more wait? */
  hasRoomFor(issuer: string, nowMs: number): boolean {
    const live = this.list(nowMs)
    return (
      live.length < APPROVALS_MAX && live.filter(({ content }) => content.issuer === issuer).length < APPROVALS_PER_OPERATOR_MAX
    )
  }

  /** Adds, or replaces what waits under the id. */
  with(statement: PendingStatement): PendingStatements {
    const { id, lapsesAtMs } = statement
    const cleared = this.without(id)
    return new PendingStatements(cleared.#byId.set(id, statement), cleared.#lapses.set(timeKey(lapsesAtMs, id), 1))
  }

  without(id: TxId): PendingStatements {
    const before = this.#byId.get(id)
    if (before === undefined) return this
    return new PendingStatements(this.#byId.delete(id), this.#lapses.delete(timeKey(before.lapsesAtMs, id)))
  }

  /** Policies that were proposed against another version than the one now in force can never be applied. */
  withoutPolicies(): PendingStatements {
    const stale = this.contents().filter(({ content }) => content.body.type === 'policy.set')
    return stale.reduce<PendingStatements>((all, { id }) => all.without(id), this)
  }

  /** Lets go of what has lapsed. */
  swept(nowMs: number): PendingStatements {
    const until = timeKey(nowMs + 1, '')
    let swept: PendingStatements = this
    for (let next = this.#lapses.first(); next !== undefined && next[0] < until; next = swept.#lapses.first()) {
      swept = swept.without(next[0].slice(14))
    }
    return swept
  }

  root(hash?: Sha256): string {
    return this.#byId.root(hash)
  }

  /** In order of id. */
  contents(): readonly PendingStatement[] {
    return [...this.#byId.entries()].map(([, statement]) => statement)
  }
}
