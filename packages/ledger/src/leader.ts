/**
 * What a leader puts into its block, and when: at once when transactions wait, an empty block when those of the parent need one
 * to become final, and else when the heartbeat is due.
 */
import { type Block, quorumOf } from '@ringwall/consensus'
import type { Chain, Executed } from './chain.ts'
import { PAYLOAD_BYTES_MAX, PAYLOAD_OVERHEAD_BYTES, PAYLOAD_TXS_MAX, TX_OVERHEAD_BYTES, validatorsBytesMax } from './payload.ts'
import type { TransactionPool } from './transaction-pool.ts'
import type { Application, BlockContext } from './types.ts'

export interface LeaderPorts<S> {
  readonly application: Pick<Application<S>, 'prepare'>
  readonly chain: Chain<S>
  readonly pool: TransactionPool<S>
  readonly self: string
  readonly roundMs: number
  readonly heartbeatMs: number
  validators(): readonly string[]
  /** Those that this node has links to. */
  connected(): readonly string[]
  /** Unix milliseconds. */
  now(): number
  /** Has a block become final since the start? */
  isFresh(): boolean
  isStopped(): boolean
  fetch(digest: Block['digest'], from: number): void
  proposed(round: number, payload: Uint8Array, timestampMs: number): void
  warn(line: string): void
}

const FIRST_HEARTBEAT_MS = 150
/** Of `roundMs`: how long a leader gives its parent to become final by itself. Less than a round waits for its leader. */
const CARRY_SHARE = 0.15
const CANDIDATES_MAX = 1024
/** Validators that an application may add in one block, for the room that a leader leaves. */
const ADDED_MAX = 64

export class Leader<S> {
  readonly #ports: LeaderPorts<S>
  #asked: { readonly round: number; readonly parent: Block } | undefined
  #offering = false
  #heartbeat: NodeJS.Timeout | undefined
  #carry: NodeJS.Timeout | undefined

  constructor(ports: LeaderPorts<S>) {
    this.#ports = ports
  }

  /** The voter wants a block. */
  ask(round: number, parent: Block): void {
    const { chain, now, heartbeatMs } = this.#ports
    chain.learn(parent)
    this.#asked = { round, parent }
    this.#armHeartbeat(now() + heartbeatMs)
    this.#propose(false)
    this.#carryOn(round, parent)
  }

  /** Transactions that arrive in one turn of the event loop go into one block. */
  offer(): void {
    if (this.#offering || this.#asked === undefined) return
    this.#offering = true
    setImmediate(() => {
      this.#offering = false
      this.#propose(false)
    })
  }

  /** What was asked for is not wanted any more. */
  forget(): void {
    this.#asked = undefined
    clearTimeout(this.#heartbeat)
    clearTimeout(this.#carry)
  }

  /**
   * Transactions in a block that is notarized and not final wait for a child of it: with nothing else to order, an empty one.
   * Usually the block is final a hop later, and none is needed; after a round without a block it is.
   */
  #carryOn(round: number, parent: Block): void {
    clearTimeout(this.#carry)
    const isAsked = () => this.#asked?.round === round && this.#ports.chain.pendingIds(parent.digest).size > 0
    if (!isAsked()) return
    if (round > parent.round + 1) {
      this.#propose(true)
      return
    }
    this.#carry = setTimeout(() => {
      if (isAsked()) this.#propose(true)
    }, this.#ports.roundMs * CARRY_SHARE)
  }

  /** After a start, the first proof of freshness comes as soon as a quorum listens: until then nodes wait for it. */
  #armHeartbeat(dueMs: number): void {
    clearTimeout(this.#heartbeat)
    const { now, isFresh, connected, validators } = this.#ports
    const first = !isFresh()
    const wait = Math.max(0, dueMs - now())
    this.#heartbeat = setTimeout(
      () => {
        const others = validators()
        const linked = connected().filter((id) => others.includes(id)).length + 1 >= quorumOf(others.length)
        if (now() >= dueMs || (first && linked)) this.#propose(true)
        else this.#armHeartbeat(dueMs)
      },
      first ? Math.min(FIRST_HEARTBEAT_MS, wait) : wait,
    )
  }

  #propose(evenEmpty: boolean): void {
    const asked = this.#asked
    const { chain, self, now, isStopped, fetch, proposed, warn } = this.#ports
    if (asked === undefined || isStopped()) return
    const parent = chain.execute(asked.parent.digest)
    if (parent.kind !== 'executed') {
      if (parent.kind === 'unknown') fetch(parent.digest, asked.parent.proposer)
      return
    }
    const timestampMs = Math.max(now(), asked.parent.timestampMs + 1)
    const context = { height: asked.parent.height + 1, timestampMs, proposer: self }
    const { executed } = parent
    // An epoch that has ended wants nothing but its end to be final, and does not wait for a heartbeat.
    const chosen = chain.ends(executed) ? [] : this.#choose(executed, context)
    if (chosen.length === 0 && !evenEmpty && !chain.ends(executed)) return
    const payload = chain.compose(executed, chosen, context)
    if (payload === undefined || payload.length > PAYLOAD_BYTES_MAX) {
      warn(
        `a block of ${chosen.length} transactions that were chosen as valid is not: nothing is proposed in round ${asked.round}`,
      )
      return
    }
    this.#asked = undefined
    clearTimeout(this.#heartbeat)
    proposed(asked.round, payload, timestampMs)
  }

  /** Waiting transactions that are valid on top of `parent`, in the order in which they take effect. */
  #choose(parent: Executed<S>, context: BlockContext): readonly Uint8Array[] {
    const { application, chain, pool, validators } = this.#ports
    const candidates = pool.candidates(CANDIDATES_MAX, PAYLOAD_BYTES_MAX, chain.pendingIds(parent.block.digest))
    if (candidates.length === 0) return []
    const offered = candidates.map(({ tx }) => tx)
    const taken = TX_OVERHEAD_BYTES * Math.min(offered.length, PAYLOAD_TXS_MAX)
    const room = PAYLOAD_BYTES_MAX - PAYLOAD_OVERHEAD_BYTES - validatorsBytesMax(validators().length + ADDED_MAX) - taken
    const chosen = application.prepare(parent.state, offered, context, room)
    const held = new Set(chosen)
    for (const { id, tx } of candidates) if (!held.has(tx)) pool.defer(id)
    return chosen
  }
}
