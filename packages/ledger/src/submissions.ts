/** Who waits for which transaction, and what became of late ones: a transaction submitted twice has one answer. */
import type { Digest } from '@ringwall/consensus'
import type { Committed, TxId } from './types.ts'

interface Waiter {
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: Error) => void
  readonly startedMs: number
  readonly timer: NodeJS.Timeout
}

interface Settled {
  readonly id: TxId
  readonly height: number
  readonly digest: Digest
}

/** Late transactions that are remembered. */
const SETTLED_MAX = 65_536

export class Submissions {
  readonly #waiters = new Map<TxId, Set<Waiter>>()
  readonly #settled = new Map<string, Settled>()
  readonly #settledById = new Map<TxId, Settled>()
  readonly #monotonicMs: () => number

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs
  }

  /** `key` is a hash of the transaction's bytes. */
  settled(key: string): Settled | undefined {
    return this.#settled.get(key)
  }

  settledAs(id: TxId): Settled | undefined {
    return this.#settledById.get(id)
  }

  wait(id: TxId, startedMs: number, timeoutMs: number, onTimeout: () => Error): Promise<Committed> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#drop(id, waiter)
        reject(onTimeout())
      }, timeoutMs)
      const waiter: Waiter = { resolve, reject, startedMs, timer }
      const waiters = this.#waiters.get(id) ?? new Set()
      this.#waiters.set(id, waiters.add(waiter))
    })
  }

  /** The transaction is final and on disk. */
  settle(key: string, settled: Settled): void {
    remember(this.#settled, key, settled)
    remember(this.#settledById, settled.id, settled)
    for (const waiter of this.#take(settled.id)) {
      waiter.resolve({ ...settled, elapsedMs: this.#monotonicMs() - waiter.startedMs })
    }
  }

  fail(id: TxId, error: Error): void {
    for (const waiter of this.#take(id)) waiter.reject(error)
  }

  failAll(error: Error): void {
    for (const id of [...this.#waiters.keys()]) this.fail(id, error)
  }

  #take(id: TxId): Iterable<Waiter> {
    const waiters = this.#waiters.get(id)
    if (waiters === undefined) return []
    this.#waiters.delete(id)
    for (const { timer } of waiters) clearTimeout(timer)
    return waiters
  }

  #drop(id: TxId, waiter: Waiter): void {
    const waiters = this.#waiters.get(id)
    waiters?.delete(waiter)
    if (waiters?.size === 0) this.#waiters.delete(id)
  }
}

function remember(late: Map<string, Settled>, name: string, settled: Settled): void {
  late.set(name, settled)
  if (late.size > SETTLED_MAX) late.delete(late.keys().next().value as string)
}
