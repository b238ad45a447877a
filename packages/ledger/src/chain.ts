/**
 * The state after the last final block, and after each block that may become final: executed once, kept by digest.
 * Pure. A block whose ancestors are not all here cannot be judged yet; a block that the application refuses never will.
 */
import type { Block, Digest } from '@ringwall/consensus'
import { type Payload, parsePayload } from './payload.ts'
import type { Application, TxResult } from './types.ts'

export interface Executed<S> {
  readonly block: Block
  readonly txs: readonly Uint8Array[]
  readonly results: readonly TxResult[]
  readonly state: S
}

export type Execution<S> =
  | { readonly kind: 'executed'; readonly executed: Executed<S> }
  | { readonly kind: 'invalid'; readonly reason: string }
  /** `digest` names the ancestor that is not here. */
  | { readonly kind: 'unknown'; readonly digest: Digest }

/** Unfinished blocks kept: beyond it, the oldest rounds go first. */
const BLOCKS_MAX = 256

export class Chain<S> {
  readonly #application: Application<S>
  readonly #nameOf: (proposer: number) => string
  readonly #blocks = new Map<Digest, Block>()
  readonly #executed = new Map<Digest, Executed<S>>()
  #tip: Executed<S>

  constructor(application: Application<S>, nameOf: (proposer: number) => string, tip: Executed<S>) {
    this.#application = application
    this.#nameOf = nameOf
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
    const { root, txs } = payload
    const own = this.#application.root(parent.state)
    if (root !== own) return `it builds on the state ${root.slice(0, 16)}…, which is ${own.slice(0, 16)}… here`
    const { height, timestampMs } = block
    const context = { height, timestampMs, proposer: this.#nameOf(block.proposer), certified }
    const outcome = this.#application.execute(parent.state, txs, context)
    return outcome.ok ? { block, txs, results: outcome.results, state: outcome.state } : outcome.reason
  }
}
