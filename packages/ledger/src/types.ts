/** The words of the ledger: how `ring` meets agreement, and how a node meets the ledger. */
import type { Block, Certificate, Digest, Evidence, VoteKind } from '@ringwall/consensus'
import type { Validator } from './payload.ts'

export type TxId = string

/** What one transaction in a block did. */
export interface TxResult {
  readonly id: TxId
  readonly ok: boolean
  /** Stable code and sentence when not ok. */
  readonly code?: string
  readonly reason?: string
}

/** The block as the application meets it. */
export interface BlockContext {
  readonly height: number
  readonly timestampMs: number
  /** The proposing node. */
  readonly proposer: string
  /** A quorum has certified the block: it is executed because it was agreed, not to find out whether to vote for it. False unless given. */
  readonly certified?: boolean
}

/**
 * What agreement is about, shaped like an ABCI 2.0 application: check (CheckTx), prepare (PrepareProposal), execute
 * (ProcessProposal and FinalizeBlock in one, since states are immutable and a block may be executed before it is
 * final), root (the app hash), snapshot and restore. All methods are synchronous, deterministic and total: they
 * never throw for bad input. `S` is an immutable state; executing costs in proportion to the block, not to the state.
 */
export interface Application<S> {
  initial(): S
  /**
   * May the transaction enter the mempool? Cheap checks: form, signature, authority, meaning. `hopeless` says that it is refused in
   * every state and at any time: whoever passes it on has not checked it, and is no honest node.
   */
  check(
    state: S,
    tx: Uint8Array,
    nowMs: number,
  ):
    | { readonly ok: true; readonly id: TxId }
    | { readonly ok: false; readonly code: string; readonly reason: string; readonly hopeless?: boolean }
  /** Chooses from `candidates`, in order, what is valid on top of `state` and fits `bytesMax`. */
  prepare(state: S, candidates: readonly Uint8Array[], context: BlockContext, bytesMax: number): readonly Uint8Array[]
  /** A block with one invalid transaction is invalid as a whole: an honest leader never proposes one. */
  execute(
    state: S,
    txs: readonly Uint8Array[],
    context: BlockContext,
  ):
    | { readonly ok: true; readonly state: S; readonly results: readonly TxResult[] }
    | { readonly ok: false; readonly reason: string }
  /** Lower-case hex commitment to the state. */
  root(state: S): string
  /** In pieces; the state does not change while they are taken. */
  snapshot(state: S): Iterable<Uint8Array>
  /** Throws a clear error when the bytes are not a snapshot. */
  restore(snapshot: Uint8Array): S
  /**
   * Who agrees on what follows this state. A block after which `epoch` is one more than before hands over to them; it is
   * unchanged otherwise. Those of the genesis for ever, in epoch 0, when there is no such method.
   */
  validators?(state: S): ValidatorSet
  /**
   * Does beside, ahead of time, what `execute` would have to compute for these transactions on a state near this one. `execute` comes to the
   * same without it, later. Undefined when there is nothing to do. Resolves before long, and never rejects.
   */
  foresee?(state: S, txs: readonly Uint8Array[]): Promise<void> | undefined
}

export interface ValidatorSet {
  /** 0 at genesis, one more with each change of the set. */
  readonly epoch: number
  /** In the order that gives them their indexes. */
  readonly validators: readonly Validator[]
}

/** A final block as users of the ledger see it. */
export interface FinalBlock<S> {
  readonly block: Block
  readonly txs: readonly Uint8Array[]
  readonly results: readonly TxResult[]
  /** State after the block. */
  readonly state: S
  /** Certifies this block or, through hash links, a descendant of it. */
  readonly certificate: Certificate
}

/** Answer to a submitted transaction that is final and on this node's disk. */
export interface Committed {
  readonly id: TxId
  readonly height: number
  readonly digest: Digest
  readonly elapsedMs: number
}

export interface Genesis {
  /** Hash of the genesis document: names the ring. */
  readonly ring: string
  readonly validators: readonly Validator[]
}

export interface LedgerStatus {
  readonly height: number
  readonly round: number
  readonly digest: Digest
  readonly root: string
  readonly timestampMs: number
  /** This node's clock when it last saw a block become final; undefined since start. */
  readonly certifiedAtMs: number | undefined
  /** Blocks that peers are known to be ahead. */
  readonly lag: number
  /** Counts changes of the validators. */
  readonly epoch: number
  /** `follower`: verifies and keeps what others agree on, and passes transactions on to them. */
  readonly role: 'validator' | 'follower'
  readonly validators: number
  readonly quorum: number
  /** Validators heard from lately, this one included. */
  readonly reachable: readonly string[]
  readonly unreachable: readonly string[]
  readonly mempool: number
  readonly syncing: boolean
  /** Oldest block on disk, bytes of all of them, and the block after which the newest snapshot was taken; 0 when there is none. */
  readonly firstHeight: number
  readonly bytes: number
  readonly snapshotHeight: number
  readonly evidence: readonly { readonly validator: string; readonly kind: Evidence['kind']; readonly round: number }[]
  /** Peers whose transactions, or whose messages, are dropped for a while: they sent what no honest node sends, or too much of what is refused. */
  readonly muted: readonly string[]
  /** What was found wrong on disk at start, in one line each; empty when nothing was. */
  readonly repairs: readonly string[]
  /** Why nothing is accepted any more; undefined while all is well. */
  readonly halted: string | undefined
  /** False while this validator no longer knows what it signed, and so says nothing. */
  readonly votes: boolean
}

/** Two statements that one validator signed in one round, and that no honest one makes together. */
export interface LedgerEvidence {
  readonly validator: string
  readonly epoch: number
  readonly round: number
  readonly first: EvidenceStatement
  readonly second: EvidenceStatement
}

/** `digest` is undefined exactly when the validator nullified the round. */
export interface EvidenceStatement {
  readonly kind: VoteKind | 'proposal'
  readonly digest: Digest | undefined
  readonly signature: Uint8Array
}

export interface Ledger<S> {
  status(): LedgerStatus
  state(): S
  /**
   * Resolves once the transaction is in a final block that this node has on disk. Rejects with `LedgerError`:
   * `TX_REFUSED` (with the application's code and reason), `NO_QUORUM` (after `timeoutMs`; says who is missing; the
   * transaction stays pending until it lapses), `MEMPOOL_FULL`.
   */
  submit(tx: Uint8Array, timeoutMs: number): Promise<Committed>
  block(height: number): Promise<FinalBlock<S> | Omit<FinalBlock<S>, 'state' | 'results'> | undefined>
  /** Those who certify the block at `height`, by their indexes. */
  validatorsAt(height: number): readonly Validator[]
  /**
   * The state after a block, with its proof for `verifyStateProof`. Late states are at hand; earlier ones are executed again,
   * from the nearest snapshot or from genesis. Undefined when the ring has not certified a later block yet.
   *
   * @throws {LedgerError} `STATE_GONE` when that would take too many blocks, or the blocks are not kept.
   */
  stateAt(height: number): Promise<{ readonly state: S; readonly proof: Uint8Array } | undefined>
  /** Called in order of height, after the block is on disk. Returns what stops it. */
  onBlock(handler: (block: FinalBlock<S>) => void): () => void
  stop(): Promise<void>
}
