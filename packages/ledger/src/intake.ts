/**
 * What peers send, in the order and at the pace at which this node takes it: a bounded queue and a budget for each, votes before
 * transactions and yet some of these, and other work of the process in between.
 */
import { Inbox } from './inbox.ts'
import type { Peers } from './peers.ts'
import { parseTransactions } from './spread.ts'
import { TAG } from './tags.ts'

const MESSAGE_BYTES_MAX: number = 1024 * 1024
const MESSAGES = {
  queuedMax: 2048,
  queuedBytesMax: 16 * 1024 * 1024,
  perSecond: 1500,
  bytesPerSecond: 4 * 1024 * 1024,
  burstSeconds: 3,
}
/** Transactions of one peer: of these each costs the check of a signature, so they have a budget, and wait for votes. */
const TRANSACTIONS = {
  queuedMax: 4096,
  queuedBytesMax: 16 * 1024 * 1024,
  perSecond: 4000,
  bytesPerSecond: 8 * 1024 * 1024,
  burstSeconds: 2,
}
const REQUESTS = { queuedMax: 1, queuedBytesMax: 1024 * 1024, perSecond: 200, bytesPerSecond: 1024 * 1024, burstSeconds: 2 }
/** How long messages are handled before other work of the process gets its turn. */
const SLICE_MS = 4
/** While votes wait, one message of so many is a transaction. */
const TURN_OF_TXS = 8

export interface IntakePorts {
  readonly peers: Peers
  isStopped(): boolean
  /** Whether everything has to wait. */
  isHeld(): boolean
  /** A message of any tag but that of transactions. */
  handle(from: string, payload: Uint8Array): void
  transaction(from: string, tx: Uint8Array): void
  /** It sent what no honest validator sends. */
  fault(from: string, what: string): void
  warn(line: string): void
}

export class Intake {
  readonly #ports: IntakePorts
  readonly #messages = new Inbox(MESSAGES)
  readonly #transactions = new Inbox(TRANSACTIONS)
  readonly #requests = new Inbox(REQUESTS)
  #taken = 0
  #draining = false

  constructor(ports: IntakePorts) {
    this.#ports = ports
  }

  remove(peer: string): void {
    this.#messages.remove(peer)
    this.#transactions.remove(peer)
    this.#requests.remove(peer)
  }

  receive(from: string, payload: Uint8Array): void {
    const { peers, isStopped, isHeld } = this.#ports
    const atMs = performance.now()
    if (isStopped() || !peers.knows(from)) return
    peers.heard(from, atMs)
    this.#messages.add(from)
    this.#transactions.add(from)
    if (peers.isMuted(from, atMs)) return
    if (payload[0] === TAG.txs && !peers.mayGiveTransactions(from, atMs)) return
    if (payload.length > MESSAGE_BYTES_MAX) {
      this.#ports.fault(from, `a message of ${payload.length} bytes`)
      return
    }
    const isTaken =
      payload[0] === TAG.txs ? this.#takeTxs(from, payload.subarray(1), atMs) : this.#messages.push(from, payload, atMs)
    if (!isTaken) this.#warnOfDropped(from, atMs)
    else if (!this.#draining && !isHeld()) {
      this.#draining = true
      setImmediate(() => this.#drain())
    }
  }

  /** Whether its budget has room for a request, which is counted. */
  takesRequest(from: string, payload: Uint8Array, atMs: number): boolean {
    if (!this.#requests.push(from, payload, atMs)) return false
    this.#requests.take()
    return true
  }

  /** Requests of this peer are counted from here on. */
  addRequester(from: string): void {
    this.#requests.add(from)
  }

  /** Takes up again what was held. */
  resume(): void {
    if (!this.#draining) this.#drain()
  }

  #warnOfDropped(from: string, atMs: number): void {
    if (!this.#ports.peers.mayWarn(from, atMs)) return
    const dropped = this.#messages.takeDropped(from) + this.#transactions.takeDropped(from)
    this.#ports.warn(`${from} sends more than this node takes: ${dropped} of its messages were dropped`)
  }

  /** False when some had no room. */
  #takeTxs(from: string, message: Uint8Array, atMs: number): boolean {
    let txs: readonly Uint8Array[]
    try {
      txs = parseTransactions(message)
    } catch (error) {
      this.#ports.fault(from, (error as Error).message)
      return true
    }
    let isTaken = true
    for (const tx of txs) isTaken = this.#transactions.push(from, tx, atMs) && isTaken
    return isTaken
  }

  #drain(): void {
    const { isStopped, isHeld } = this.#ports
    if (isHeld()) {
      this.#draining = false
      return
    }
    this.#draining = true
    const end = performance.now() + SLICE_MS
    do {
      if (isStopped() || !this.#handleNext()) {
        this.#draining = false
        return
      }
    } while (performance.now() < end && !isHeld())
    setImmediate(() => this.#drain())
  }

  /** No flood of one kind keeps the other out. False when nothing waits. */
  #handleNext(): boolean {
    this.#taken += 1
    const first = this.#taken % TURN_OF_TXS === 0 ? undefined : this.#messages.take()
    if (first !== undefined) {
      this.#ports.handle(first.from, first.message)
      return true
    }
    const tx = this.#transactions.take()
    if (tx !== undefined) {
      if (this.#ports.peers.mayGiveTransactions(tx.from, performance.now())) this.#ports.transaction(tx.from, tx.message)
      return true
    }
    const last = this.#messages.take()
    if (last !== undefined) this.#ports.handle(last.from, last.message)
    return last !== undefined
  }
}
