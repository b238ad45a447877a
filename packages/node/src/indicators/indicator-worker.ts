/** The thread that loads one set of indicators, says what it found, and ends. */
import { parentPort, workerData } from 'node:worker_threads'
import { type IndicatorSettings, loadIndicators } from './indicator-loader.ts'

const { settings, nowMs } = workerData as { readonly settings: IndicatorSettings; readonly nowMs: number }
try {
  parentPort!.postMessage({ loaded: await loadIndicators(settings, nowMs) })
} catch (error) {
  parentPort!.postMessage({ problem: (error as Error).message })
}
