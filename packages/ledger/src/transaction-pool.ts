/**
 * Transactions on their way to be final: taken from callers and from peers, spread, offered to leaders, checked again as the
 * state moves on, and answered for once they are on disk.
 */
import type { Executed } from './chain.ts'
import { LedgerError } from './errors.ts'
import { Mempool, type Waiting } from './mempool.ts'
import { TX_BYTES_MAX } from './payload.ts'
import { sha256 } from './scheme.ts'
import type { Submissions } from './submissions.ts'
import type { Application, Committed } from './types.ts'

export interface TransactionPoolPorts<S> {
  readonly application: Pick<Application<S>, 'check' | 'foresee'>
  readonly submissions: Submissions
  readonly countMax: number
  readonly bytesMax: number
  /** After the last block that is on disk. */
  state(): S
  /** Unix milliseconds. */
  now(): number
  /** To all validators, or to one. */
  spread(txs: readonly Uint8Array[], to?: string): void
  /** A transaction waits to be ordered. */
  onWaiting(): void
  /** Why a transaction was not final in time. */
  late(timeoutMs: number): LedgerError
  /** The peer sent a transaction that no honest node passes on. */
  lie(from: string, what: string): void
  /** The peer sent one that is final, or that this node refuses: one that is ahead or behind may do so in good faith. */
  unwelcome(from: string, weight: number): void
}

/** What is final already costs a look, and an honest peer sends some of it again; what is refused has been checked. */
const FINAL_WEIGHT = 0.05
const REFUSED_WEIGHT = 1
/** Waiting transactions looked at again after each block and on each tick. */
const RECHECKED_MAX = 64
const RESEND_MS = 1000
const RESENT_MAX = 64
/** What a peer is given when its link comes up, bytes. */
const GREETING_BYTES_MAX: number = 1024 * 1024
/** A transaction that waits longer than this is not merely on its way. */
const STUCK_MS = 500

export class TransactionPool<S> {
  readonly #ports: TransactionPoolPorts<S>
  readonly #mempool: Mempool
  /** In blocks that are final and not on disk yet. */
  readonly #landing = new Set<string>()

  constructor(ports: TransactionPoolPorts<S>) {
    this.#ports = ports
    this.#mempool = new Mempool({ countMax: ports.countMax, bytesMax: ports.bytesMax })
  }

  get size(): number {
    return this.#mempool.size
  }

  /** As `Ledger.submit`. */
  async submit(tx: Uint8Array, timeoutMs: number): Promise<Committed> {
    const { application, submissions, state, now, spread, onWaiting, late } = this.#ports
    const startedMs = performance.now()
    const own = Uint8Array.from(tx)
    if (own.length === 0 || own.length > TX_BYTES_MAX) {
      throw refused('TX_SIZE', `it has ${own.length} bytes: 1 to ${TX_BYTES_MAX} are allowed`)
    }
    const checked = application.check(state(), own, now())
    if (!checked.ok) {
      const settled = submissions.settled(sha256(own))
      if (settled !== undefined) return { ...settled, elapsedMs: 0 }
      throw refused(checked.code, checked.reason)
    }
    const { id } = checked
    const final = submissions.settledAs(id)
    if (final !== undefined) return { ...final, elapsedMs: 0 }
    const landing = this.#landing.has(id)
    const added = landing ? 'known' : this.#mempool.add({ id, tx: own, addedAtMs: startedMs, local: true, sentAtMs: startedMs })
    if (added === 'full') {
      throw new LedgerError(
        'MEMPOOL_FULL',
        `${this.#mempool.size} transactions wait already: try again when the ring has caught up`,
      )
    }
    const committed = submissions.wait(id, startedMs, timeoutMs, () => late(timeoutMs))
    if (added === 'added') {
      // A leader puts its block together before others are given work.
      onWaiting()
      spread([own])
    }
    return committed
  }

  /** From a peer; 1 to `TX_BYTES_MAX` bytes. */
  receive(from: string, tx: Uint8Array): void {
    const { application, submissions, state, now, lie, unwelcome } = this.#ports
    const checked = application.check(state(), tx, now())
    if (!checked.ok) {
      // Most applications refuse what is final.
      if (submissions.settled(sha256(tx)) !== undefined) unwelcome(from, FINAL_WEIGHT)
      else if (checked.hopeless === true) lie(from, `a transaction that no node may pass on (${checked.code})`)
      else unwelcome(from, REFUSED_WEIGHT)
      return
    }
    if (submissions.settledAs(checked.id) !== undefined) {
      unwelcome(from, FINAL_WEIGHT)
      return
    }
    // It waits where no leader chooses it: a block would compute what is being computed beside.
    const foreseen = application.foresee?.(state(), [tx])
    if (foreseen === undefined) this.#admit(checked.id, tx)
    else void foreseen.then(() => this.#admit(checked.id, tx))
  }

  #admit(id: string, tx: Uint8Array): void {
    // Final meanwhile, or about to be.
    if (this.#landing.has(id) || this.#ports.submissions.settledAs(id) !== undefined) return
    const atMs = performance.now()
    const added = this.#mempool.add({ id, tx, addedAtMs: atMs, local: false, sentAtMs: atMs })
    if (added === 'added') this.#ports.onWaiting()
  }

  /** As `Mempool.candidates`. */
  candidates(countMax: number, bytesMax: number, except: ReadonlySet<string>): readonly Waiting[] {
    return this.#mempool.candidates(countMax, bytesMax, except)
  }

  /** As `Mempool.defer`. */
  defer(id: string): void {
    this.#mempool.defer(id)
  }

  /** The block is final, and not on disk yet. */
  land({ results }: Pick<Executed<S>, 'results'>): void {
    for (const { id } of results) {
      this.#mempool.remove(id)
      this.#landing.add(id)
    }
  }

  /** The block is on disk: whoever waits for one of its transactions is told. */
  settle({ block, txs, results }: Executed<S>): void {
    for (const [i, { id }] of results.entries()) {
      const tx = txs[i]
      this.#landing.delete(id)
      if (tx !== undefined) this.#ports.submissions.settle(sha256(tx), { id, height: block.height, digest: block.digest })
    }
  }

  /** Drops what lapsed or can no longer become valid. The oldest first; all get their turn as the queue moves. */
  recheck(): void {
    const { application, submissions, state, now } = this.#ports
    const looked = this.#mempool.candidates(RECHECKED_MAX, Number.POSITIVE_INFINITY, new Set())
    for (const { id, tx } of looked) {
      const checked = application.check(state(), tx, now())
      if (checked.ok) continue
      this.#mempool.remove(id)
      submissions.fail(id, refused(checked.code, checked.reason))
    }
  }

  /** Sends this node's own again that are not final yet. True when something waits longer than it should. */
  resend(): boolean {
    const atMs = performance.now()
    const again: Uint8Array[] = []
    let stuck = false
    for (const entry of this.#mempool.entries()) {
      stuck ||= entry.addedAtMs < atMs - STUCK_MS
      if (!entry.local || entry.sentAtMs > atMs - RESEND_MS) continue
      if (again.length === RESENT_MAX) break
      entry.sentAtMs = atMs
      again.push(entry.tx)
    }
    if (again.length > 0) this.#ports.spread(again)
    return stuck
  }

  /** A link to a validator came up. */
  greet(id: string): void {
    const held = this.#mempool.candidates(RESENT_MAX, GREETING_BYTES_MAX, new Set()).filter(({ local }) => local)
    if (held.length > 0)
      this.#ports.spread(
        held.map(({ tx }) => tx),
        id,
      )
  }
}

function refused(code: string, reason: string): LedgerError {
  return new LedgerError('TX_REFUSED', `the transaction is refused (${code}): ${reason}`, { refusal: { code, reason } })
}
