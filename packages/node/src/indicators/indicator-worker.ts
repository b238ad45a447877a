/** The thread that loads one set of indicators, says what it found, and ends. */
import { parentPort, workerData } from 'node:worker_threads'
import { DiskSeal, type DiskSealOptions } from '@ringwall/store'
import { type IndicatorSettings, loadIndicators } from './indicator-loader.ts'

const { settings, nowMs, disk } = workerData as {
  readonly settings: IndicatorSettings
  readonly nowMs: number
  readonly disk: DiskSealOptions | undefined
}
try {
  parentPort!.postMessage({ loaded: await loadIndicators(settings, nowMs, disk === undefined ? undefined : new DiskSeal(disk)) })
} catch (error) {
  parentPort!.postMessage({ problem: (error as Error).message })
}
