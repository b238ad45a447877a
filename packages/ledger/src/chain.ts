/**
 * The state after the last final block, and after each block that may become final: executed once, kept by digest.
 * Pure. A block whose ancestors are not all here cannot be judged yet; a block that the application refuses never will.
 */
import type { Block, Digest } from '@ringwall/consensus'
import { CLOSING_MAX } from './block-record.ts'
import type { Epochs } from './epochs.ts'
import { encodePayload, type Payload, parsePayload, type Validator } from './payload.ts'
import type { Application, BlockContext, TxResult } from './types.ts'

export interface Executed<S> {
  readonly block: Block
  readonly txs: readonly Uint8Array[]
  readonly results: readonly TxResult[]
  readonly state: S
  /** Of a boundary: the validators that take over once it is final. */
  readonly next?: readonly Validator[] | undefined
  /** Of a block after a boundary that is not final yet: how many such blocks there are, this one included. */
  readonly closing?: number
}

export type Execution<S> =
  | { readonly kind: 'executed'; readonly executed: Executed<S> }
  | { readonly kind: 'invalid'; readonly reason: string }
  /** `digest` names the ancestor that is not here. */
  | { readonly kind: 'unknown'; readonly digest: Digest }

/** Unfinished blocks kept: beyond it, the oldest rounds go first. */
const BLOCKS_MAX = 256

type Outcome<S> = Extract<ReturnType<Application<S>['execute']>, { readonly ok: true }>

export class Chain<S> {
  readonly #application: Application<S>
  readonly #epochs: Pick<Epochs, 'nameOf'>
  readonly #blocks = new Map<Digest, Block>()
  readonly #executed = new Map<Digest, Executed<S>>()
  /** What payloads made here do, so that a leader executes its block once. */
  readonly #made = new WeakMap<
    Uint8Array,
    { readonly on: Digest; readonly context: BlockContext; readonly outcome: Outcome<S> }
  >()
  #tip: Executed<S>

  constructor(application: Application<S>, epochs: Pick<Epochs, 'nameOf'>, tip: Executed<S>) {
    this.#application = application
    this.#epochs = epochs
    this.#tip = tip
  }

  /** The last block known to be final. */
  get tip(): Executed<S> {
    return this.#tip
  }

  block(digest: Digest): Block | undefined {
    return digest === this.#tip.block.digest ? this.#tip.block : this.#blocks.get(digest)
  }

  /** Remembers a block that may become final. */
  learn(block: Block): void {
    if (block.height <= this.#tip.block.height || this.#blocks.has(block.digest)) return
    this.#blocks.set(block.digest, block)
    if (this.#blocks.size <= BLOCKS_MAX) return
    let oldest = block
    for (const other of this.#blocks.values()) if (other.round < oldest.round) oldest = other
    this.#forget(oldest.digest)
  }

  /** Does the epoch end with the block, or did it with an ancestor that is not final yet? */
  ends({ block, next, closing }: Executed<S>): boolean {
    return (next !== undefined || closing !== undefined) && block.digest !== this.#tip.block.digest
  }

  /** A payload of `txs` on top of `parent`: it says so when they change the validators. Undefined when they are not valid there. */
  compose(parent: Executed<S>, txs: readonly Uint8Array[], context: BlockContext): Uint8Array | undefined {
    const root = this.#application.root(parent.state)
    if (this.ends(parent)) return encodePayload({ root, txs: [] })
    const outcome = this.#application.execute(parent.state, txs, context)
    if (!outcome.ok) return undefined
    const payload = encodePayload({ root, next: this.#nextOf(parent.state, outcome.state), txs })
    this.#made.set(payload, { on: parent.block.digest, context, outcome })
    return payload
  }

  /** Executes the block named, and first those of its ancestors that were not yet. */
  execute(digest: Digest): Execution<S> {
    const path: Block[] = []
    let at = digest
    let base = this.#at(at)
    while (base === undefined) {
      const block = this.#blocks.get(at)
      if (block === undefined || path.length > BLOCKS_MAX) return { kind: 'unknown', digest: at }
      path.push(block)
      at = block.parent
      base = this.#at(at)
    }
    for (const block of path.reverse()) {
      const next = this.#executeOn(base, block, false)
      if (typeof next === 'string') return { kind: 'invalid', reason: next }
      this.#executed.set(block.digest, next)
      base = next
    }
    return { kind: 'executed', executed: base }
  }

  /** Ids of transactions in `digest` and its ancestors that are not final yet. */
  pendingIds(digest: Digest): ReadonlySet<string> {
    const ids = new Set<string>()
    let at = digest
    while (at !== this.#tip.block.digest) {
      const executed = this.#executed.get(at)
      if (executed === undefined) break
      for (const { id } of executed.results) ids.add(id)
      at = executed.block.parent
    }
    return ids
  }

  /**
   * `block`, a child of the tip, is final: it becomes the tip, and what cannot become final any more is forgotten.
   * Answers with the reason when the application refuses it; then nothing changed.
   */
  advance(block: Block): Executed<S> | string {
    if (block.parent !== this.#tip.block.digest) return `its parent is ${block.parent}, not ${this.#tip.block.digest}`
    const executed = this.#executed.get(block.digest) ?? this.#executeOn(this.#tip, block, true)
    if (typeof executed === 'string') return executed
    this.#tip = executed
    // What built on it in the epoch that it ends is void.
    if (executed.next !== undefined) this.restart(executed)
    this.#forget(block.digest)
    for (const other of this.#blocks.values()) if (other.height <= block.height) this.#forget(other.digest)
    return executed
  }

  /** Goes on from another final block: what is known of others is forgotten. */
  restart(tip: Executed<S>): void {
    this.#tip = tip
    this.#blocks.clear()
    this.#executed.clear()
  }

  /** Of a block that was executed once, here or before a restart. */
  txsOf(block: Block): readonly Uint8Array[] {
    return parsePayload(block.payload).txs
  }

  #at(digest: Digest): Executed<S> | undefined {
    return digest === this.#tip.block.digest ? this.#tip : this.#executed.get(digest)
  }

  #forget(digest: Digest): void {
    this.#blocks.delete(digest)
    this.#executed.delete(digest)
  }

  /** The block executed, or why it is invalid. */
  #executeOn(parent: Executed<S>, block: Block, certified: boolean): Executed<S> | string {
    if (block.height !== parent.block.height + 1) return `height ${block.height} after ${parent.block.height}`
    if (block.round <= parent.block.round) return `round ${block.round} after ${parent.block.round}`
    if (block.timestampMs <= parent.block.timestampMs) return 'its timestamp is not after its parent’s'
    let payload: Payload
    try {
      payload = parsePayload(block.payload)
    } catch (error) {
      return `its payload is malformed: ${(error as Error).message}`
    }
    const { root, next, txs } = payload
    const own = this.#application.root(parent.state)
    if (root !== own) return `it builds on the state ${root.slice(0, 16)}…, which is ${own.slice(0, 16)}… here`
    if (this.ends(parent)) return closingAfter(parent, block, payload)
    const proposer = this.#epochs.nameOf(block.height, block.proposer)
    const context = { height: block.height, timestampMs: block.timestampMs, proposer, certified }
    const made = this.#made.get(block.payload)
    const isSame =
      made?.on === block.parent && made.context.timestampMs === block.timestampMs && made.context.proposer === proposer
    const outcome = made !== undefined && isSame ? made.outcome : this.#application.execute(parent.state, txs, context)
    if (!outcome.ok) return outcome.reason
    const named = this.#nextOf(parent.state, outcome.state)
    if (!sameValidators(next, named)) {
      return named === undefined
        ? 'it names other validators, and its transactions change none'
        : 'its transactions change the validators, and it does not name them'
    }
    return { block, txs, results: outcome.results, state: outcome.state, next }
  }

  #nextOf(before: S, after: S): readonly Validator[] | undefined {
    const { validators } = this.#application
    if (validators === undefined || before === after) return undefined
    const { epoch, validators: set } = validators(after)
    return epoch === validators(before).epoch ? undefined : set
  }
}

/** It serves to make the boundary final, and does nothing else: what it held would be lost when the next epoch begins. */
function closingAfter<S>(parent: Executed<S>, block: Block, { next, txs }: Payload): Executed<S> | string {
  const closing = (parent.closing ?? 0) + 1
  if (txs.length > 0 || next !== undefined) return 'it holds transactions, and its epoch has ended'
  if (closing > CLOSING_MAX) return `it is the ${closing}th that ends an epoch`
  return { block, txs: [], results: [], state: parent.state, closing }
}

function sameValidators(a: readonly Validator[] | undefined, b: readonly Validator[] | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return (
    a.length === b.length && a.every(({ id, publicKey }, i) => id === b[i]?.id && Buffer.compare(publicKey, b[i].publicKey) === 0)
  )
}
