/**
 * The owner's end of the store's thread: batches what is recorded, keeps a bounded number of batches under way, and
 * starts the thread anew, with a growing pause, when it dies.
 */
import { Worker } from 'node:worker_threads'
import { DecisionBuffer, type Weighed } from './decision-buffer.ts'
import { StoreUnavailable } from './errors.ts'
import type { StoreOptions } from './store.ts'
import type { FromStore, StoreQuery, ToStore } from './store-messages.ts'
import { decisionRow, spanRows } from './store-rows.ts'
import type { Span } from './types.ts'

const FLUSH_EVERY_MS = 100
const BATCHES_UNDER_WAY_MAX = 4
/** A batch is this part of what may wait. */
const BATCHES_WAITING = 10
const QUERIES_UNDER_WAY_MAX = 256
const WAITING_MAX = 20_000
const RESTART_PAUSE_MS_MAX = 30_000
const CLOSE_MS_MAX = 5_000
/** At most one line about failing inserts in this time. */
const COMPLAIN_EVERY_MS = 10_000

export interface StoreThreadOptions extends StoreOptions {
  /** As of `TelemetryOptions`. */
  readonly waitingMax?: number | undefined
  readonly log: (level: 'info' | 'warn', line: string) => void
  /** Told of everything lost. */
  readonly onLost: (what: 'decision' | 'span' | 'batch', count: number) => void
}

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

export class StoreThread {
  readonly #options: StoreThreadOptions
  readonly #waitingMax: number
  readonly #batchRowsMax: number
  readonly #decisions: DecisionBuffer
  readonly #waiting = new Map<number, Waiting>()
  #spans: Span[] = []
  #worker: Worker | undefined
  #underWay = 0
  #underWayRows: number[] = []
  #nextId = 1
  #timer: NodeJS.Timeout | undefined
  #restartTimer: NodeJS.Timeout | undefined
  #restartPauseMs = 250
  #complainedAtMs = 0
  #stopped = false

  constructor(options: StoreThreadOptions) {
    this.#options = options
    this.#waitingMax = options.waitingMax ?? WAITING_MAX
    this.#batchRowsMax = Math.ceil(this.#waitingMax / BATCHES_WAITING)
    this.#decisions = new DecisionBuffer(this.#waitingMax)
  }

  /** Resolves when the store is open. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL('./store-worker.ts', import.meta.url), {
        workerData: {
          directory: this.#options.directory,
          retentionDecisionsMax: this.#options.retentionDecisionsMax,
          retentionMs: this.#options.retentionMs,
          key: this.#options.key,
          acceptsClear: this.#options.acceptsClear ?? false,
          pageCacheBytes: this.#options.pageCacheBytes,
        } satisfies StoreOptions,
      })
      let failure = 'its thread ended'
      worker.unref()
      worker.on('message', (message: FromStore) => {
        if (message.kind === 'ready') {
          this.#worker = worker
          this.#restartPauseMs = 250
          if (message.putAside !== undefined) this.#options.log('warn', `telemetry began a new store: ${message.putAside}`)
          resolve()
        } else if (message.kind === 'failed') failure = message.message
        else this.#receive(message)
      })
      worker.on('error', (error) => {
        failure = error.message
      })
      worker.on('exit', () => {
        const error = new StoreUnavailable(failure)
        if (this.#worker === worker) this.#lostWorker(error)
        reject(error)
      })
    })
  }

  record(entry: Weighed): void {
    if (this.#decisions.push(entry) !== undefined) this.#options.onLost('decision', 1)
    this.#arm()
  }

  recordSpan(span: Span): void {
    if (this.#spans.length >= this.#waitingMax) this.#options.onLost('span', 1)
    else this.#spans.push(span)
    this.#arm()
  }

  /** Writes what waits, then asks. */
  query(query: StoreQuery): Promise<unknown> {
    const worker = this.#worker
    if (worker === undefined) return Promise.reject(new StoreUnavailable(this.#stopped ? 'it is stopped' : 'it is restarting'))
    if (this.#waiting.size >= QUERIES_UNDER_WAY_MAX) {
      return Promise.reject(new StoreUnavailable(`${QUERIES_UNDER_WAY_MAX} queries are under way`))
    }
    this.#flush(true)
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      // A query keeps the process alive until answered; idle threads do not.
      worker.ref()
      worker.postMessage({ kind: 'query', id, query })
    })
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    clearTimeout(this.#restartTimer)
    const worker = this.#worker
    if (worker !== undefined) {
      let late: NodeJS.Timeout | undefined
      const closed = this.query({ kind: 'close' }).catch(() => undefined)
      await Promise.race([
        closed,
        new Promise((resolve) => {
          late = setTimeout(resolve, CLOSE_MS_MAX)
        }),
      ])
      clearTimeout(late)
      this.#stopped = true
      this.#worker = undefined
      await worker.terminate()
    }
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const { reject } of this.#waiting.values()) reject(new StoreUnavailable('it is stopped'))
    this.#waiting.clear()
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#flush(false)
      if (this.#decisions.size > 0 || this.#spans.length > 0) this.#arm()
    }, FLUSH_EVERY_MS)
    this.#timer.unref()
  }

  /** @param all Also past the bound on batches under way: a query must find what was recorded before it. */
  #flush(all: boolean): void {
    if (this.#worker === undefined) return
    while ((this.#decisions.size > 0 || this.#spans.length > 0) && (all || this.#underWay < BATCHES_UNDER_WAY_MAX)) {
      const decisions = this.#decisions.take(this.#batchRowsMax)
      const spans = this.#spans.splice(0, this.#batchRowsMax)
      this.#underWay++
      this.#underWayRows.push(decisions.length + spans.length)
      this.#worker.postMessage({
        kind: 'insert',
        decisions: decisions.map(decisionRow),
        spans: spanRows(spans),
      } satisfies ToStore)
    }
  }

  #receive(message: Exclude<FromStore, { kind: 'ready' | 'failed' }>): void {
    if (message.kind === 'log') {
      this.#options.log('warn', message.line)
    } else if (message.kind === 'inserted') {
      this.#underWay--
      const lost = this.#underWayRows.shift() ?? 0
      if (message.error === undefined) return
      this.#options.onLost('batch', lost)
      const nowMs = Date.now()
      if (nowMs - this.#complainedAtMs < COMPLAIN_EVERY_MS) return
      this.#complainedAtMs = nowMs
      this.#options.log('warn', `telemetry could not store ${lost} records: ${message.error}`)
    } else {
      const waiting = this.#waiting.get(message.id)
      this.#waiting.delete(message.id)
      if (this.#waiting.size === 0) this.#worker?.unref()
      if (message.error === undefined) waiting?.resolve(message.value)
      else waiting?.reject(new StoreUnavailable(message.error))
    }
  }

  #lostWorker(error: StoreUnavailable): void {
    this.#worker = undefined
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    const lost = this.#underWayRows.reduce((sum, rows) => sum + rows, 0)
    if (lost > 0) this.#options.onLost('batch', lost)
    this.#underWay = 0
    this.#underWayRows = []
    if (this.#stopped) return
    this.#options.log('warn', `${error.message}; starting it again in ${this.#restartPauseMs} ms`)
    this.#restart()
  }

  #restart(): void {
    this.#restartTimer = setTimeout(() => {
      this.#restartPauseMs = Math.min(this.#restartPauseMs * 2, RESTART_PAUSE_MS_MAX)
      this.start().catch(() => {
        if (!this.#stopped) this.#restart()
      })
    }, this.#restartPauseMs)
    this.#restartTimer.unref()
  }
}
