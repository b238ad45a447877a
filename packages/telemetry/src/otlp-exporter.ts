/** Sends spans to an OTLP/HTTP backend: bounded queue, batches, gzip, retries as the OTLP specification asks. */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { encodeTraces } from './otlp-encoding.ts'
import type { AttributeValue, Span } from './types.ts'

const SPANS_WAITING_MAX = 8_192
const BATCH_SPANS_MAX = 512
const EXPORT_EVERY_MS = 1_000
const REQUEST_MS_MAX = 10_000
const ATTEMPTS_MAX = 5
const RETRY_AFTER_MS_MAX = 30_000
const GZIP_BYTES_MIN = 1_024
const compress = promisify(gzip)

export interface OtlpOptions {
  /** Base address; `/v1/traces` is appended. */
  readonly endpoint: string
  /** Often credentials: never logged. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface OtlpExporterOptions extends OtlpOptions {
  readonly resource: Readonly<Record<string, AttributeValue>>
  readonly log: (level: 'info' | 'warn', line: string) => void
  readonly onLost: (count: number) => void
  /** First pause before a retry, doubled each time; 500 unless given. */
  readonly retryPauseMs?: number
}

export class OtlpExporter {
  readonly #options: OtlpExporterOptions
  readonly #url: string
  readonly #stopping = new AbortController()
  #waiting: Span[] = []
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined
  #failing = false

  constructor(options: OtlpExporterOptions) {
    this.#options = options
    this.#url = `${options.endpoint.replace(/\/+$/, '')}/v1/traces`
  }

  push(span: Span): void {
    if (this.#stopping.signal.aborted) return
    if (this.#waiting.length >= SPANS_WAITING_MAX) {
      this.#options.onLost(1)
      return
    }
    this.#waiting.push(span)
    if (this.#timer === undefined && this.#sending === undefined) {
      this.#timer = setTimeout(() => this.#run(), EXPORT_EVERY_MS)
      this.#timer.unref()
    }
  }

  /** Sends what waits, for at most `graceMs`; the rest counts as lost. */
  async stop(graceMs: number): Promise<void> {
    clearTimeout(this.#timer)
    const late = setTimeout(() => this.#stopping.abort(), graceMs)
    await this.#sending
    await this.#run()
    clearTimeout(late)
    this.#stopping.abort()
    if (this.#waiting.length > 0) this.#options.onLost(this.#waiting.length)
    this.#waiting = []
  }

  #run(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined
    })
    return this.#sending
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#stopping.signal.aborted) {
      const batch = this.#waiting.splice(0, BATCH_SPANS_MAX)
      const problem = await this.#send(batch)
      if (problem !== undefined) this.#options.onLost(batch.length)
      // One line when it begins to fail and one when it works again, however many batches that was.
      if (problem !== undefined && !this.#failing) this.#options.log('warn', `OTLP export to ${this.#origin()} fails: ${problem}`)
      if (problem === undefined && this.#failing) this.#options.log('info', `OTLP export to ${this.#origin()} works again`)
      this.#failing = problem !== undefined
    }
  }

  /** Returns why a batch was given up. */
  async #send(batch: readonly Span[]): Promise<string | undefined> {
    const text = encodeTraces(batch, this.#options.resource)
    const zipped = text.length >= GZIP_BYTES_MIN
    const body = zipped ? await compress(text) : Buffer.from(text)
    const headers = {
      ...this.#options.headers,
      'content-type': 'application/json',
      ...(zipped ? { 'content-encoding': 'gzip' } : {}),
    }
    let problem = ''
    let pauseMs = this.#options.retryPauseMs ?? 500
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      let waitMs = pauseMs
      try {
        const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(REQUEST_MS_MAX)])
        const response = await fetch(this.#url, { method: 'POST', headers, body, signal, redirect: 'error' })
        await response.body?.cancel()
        if (response.ok) return undefined
        problem = `status ${response.status}`
        // Only these are worth another try (OTLP specification, "Failures").
        if (![429, 502, 503, 504].includes(response.status)) return problem
        const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
        if (Number.isFinite(seconds)) waitMs = Math.min(seconds * 1_000, RETRY_AFTER_MS_MAX)
      } catch (error) {
        problem = reasonOf(error)
      }
      if (attempt === ATTEMPTS_MAX || this.#stopping.signal.aborted) break
      await this.#pause(waitMs * (0.5 + Math.random() / 2))
      pauseMs *= 2
    }
    return problem
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#stopping.signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.#stopping.signal.addEventListener('abort', done)
    })
  }

  /** Without credentials or path. */
  #origin(): string {
    return new URL(this.#url).origin
  }
}

function reasonOf(error: unknown): string {
  const cause = (error as { cause?: { code?: unknown } }).cause?.code
  return typeof cause === 'string' ? cause : (error as Error).name
}
