/** The sets of indicators that a node holds: loaded when it starts, and again when their files have changed. */
import { Worker } from 'node:worker_threads'
import { type IndicatorMatch, type IndicatorParts, IndicatorSet } from '@ringwall/detect'
import type { Indicators } from '@ringwall/guard'
import type { DiskSealOptions } from '@ringwall/store'
import { filesOf, type IndicatorSettings, isPaged, type LoadedSet, type LoadReport } from './indicator-loader.ts'

const LOOK_MS = 10_000
/** Memory of the thread that loads, beside the tables. */
const HEAP_MB_MAX = 512

/** Sets by name, as threads hand them on. */
export type SharedIndicators = readonly (readonly [name: string, parts: IndicatorParts])[]

/** Looks things up in sets. */
export class IndicatorSets implements Indicators {
  #sets: ReadonlyMap<string, IndicatorSet>

  constructor(shared: SharedIndicators) {
    this.#sets = new Map(shared.map(([name, parts]) => [name, new IndicatorSet(parts)]))
  }

  use(shared: SharedIndicators): void {
    this.#sets = new Map(shared.map(([name, parts]) => [name, new IndicatorSet(parts)]))
  }

  match(set: string, version: 4 | 6, words: ArrayLike<number>, confidenceMin: number, nowMs: number): IndicatorMatch | undefined {
    return this.#sets.get(set)?.match(version, words, confidenceMin, nowMs)
  }
}

export interface IndicatorStatus extends LoadReport {
  readonly name: string
  readonly path: string
  readonly format: string
  readonly size: number
  readonly bytes: number
  readonly loadedMs: number | null
  readonly problem: string | null
}

interface Held {
  readonly settings: IndicatorSettings
  loaded: LoadedSet | undefined
  loadedMs: number | undefined
  /** Of its files, as last looked at. */
  mark: string
  problem: string | undefined
}

const NOTHING: LoadReport = { files: 0, expired: 0, repeated: 0, full: 0, leftOut: [] }

export class IndicatorStore {
  readonly #held: readonly Held[]
  readonly #log: (level: 'info' | 'warn', line: string) => void
  readonly sets = new IndicatorSets([])
  #timer: NodeJS.Timeout | undefined
  #loading: Promise<void> = Promise.resolve()
  #worker: Worker | undefined
  #isStopped = false
  readonly #listeners: ((shared: SharedIndicators) => void)[] = []
  readonly #disk: DiskSealOptions | undefined

  /** @param disk That the pages of feeds are on. */
  constructor(
    settings: readonly IndicatorSettings[],
    log: (level: 'info' | 'warn', line: string) => void,
    disk?: DiskSealOptions | undefined,
  ) {
    this.#log = log
    this.#disk = disk
    this.#held = settings.map((one) => ({ settings: one, loaded: undefined, loadedMs: undefined, mark: '', problem: undefined }))
  }

  /** Loads all. What cannot be loaded is told, and tried again when it changes: a list that is broken keeps no node from starting. */
  async start(): Promise<void> {
    await this.look()
    if (this.#held.length === 0) return
    this.#timer = setInterval(() => void this.look(), LOOK_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    await this.#worker?.terminate()
  }

  onChange(listener: (shared: SharedIndicators) => void): void {
    this.#listeners.push(listener)
  }

  shared(): SharedIndicators {
    return this.#held.flatMap(({ settings, loaded }) => (loaded === undefined ? [] : [[settings.name, loaded.parts] as const]))
  }

  status(): readonly IndicatorStatus[] {
    return this.#held.map(({ settings: { name, path, format }, loaded, loadedMs, problem }) => ({
      name,
      path,
      format,
      size: loaded?.parts.size ?? 0,
      bytes: loaded === undefined ? 0 : new IndicatorSet(loaded.parts).bytes,
      loadedMs: loadedMs ?? null,
      problem: problem ?? null,
      ...(loaded?.report ?? NOTHING),
    }))
  }

  /** Loads what has changed, one set after the other. */
  look(): Promise<void> {
    this.#loading = this.#loading.then(async () => {
      for (const held of this.#held) if (!this.#isStopped) await this.#follow(held)
    })
    return this.#loading
  }

  async #follow(held: Held): Promise<void> {
    const { settings } = held
    try {
      // The folder of a feed that was never answered is not there yet.
      const files = await filesOf(settings.path).catch((error: NodeJS.ErrnoException) => {
        if (isPaged(settings.format) && error.code === 'ENOENT') return undefined
        throw error
      })
      if (files === undefined) return
      const mark = JSON.stringify(files)
      if (mark === held.mark) return
      // Whatever comes of it: the same files are not tried again.
      held.mark = mark
      held.loaded = await this.#load(settings)
      held.loadedMs = Date.now()
      held.problem = undefined
      const { size } = held.loaded.parts
      const { leftOut, full } = held.loaded.report
      const rest = leftOut.reduce((sum, [, count]) => sum + count, 0) + full
      this.#log('info', `indicators ${settings.name}: ${size} in force${rest === 0 ? '' : `, ${rest} left out`}`)
      this.sets.use(this.shared())
      for (const listener of this.#listeners) listener(this.shared())
    } catch (error) {
      const problem = (error as Error).message.slice(0, 300)
      if (problem !== held.problem && !this.#isStopped)
        this.#log('warn', `indicators ${settings.name}: ${problem}${held.loaded === undefined ? '' : '; those before stay'}`)
      held.problem = problem
    }
  }

  #load(settings: IndicatorSettings): Promise<LoadedSet> {
    return new Promise((settle, refuse) => {
      const worker = new Worker(new URL('./indicator-worker.ts', import.meta.url), {
        workerData: { settings, nowMs: Date.now(), disk: this.#disk },
        resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
      })
      this.#worker = worker
      worker.on('message', (said: { readonly loaded?: LoadedSet; readonly problem?: string }) => {
        if (said.loaded === undefined) refuse(new Error(said.problem ?? 'nothing was loaded'))
        else settle(said.loaded)
      })
      worker.on('error', refuse)
      worker.on('exit', () => refuse(new Error('the thread that loads ended')))
    })
  }
}
