/** The node's own part in attestation: measures, has its TPM sign, and says so on the ledger, again and again. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { EVENT_LOG_BYTES_MAX, TpmDevice, TpmMalformed } from '@ringwall/enroll'
import { LedgerError } from '@ringwall/ledger'
import { type AttestationStatement, type Measured, quoteNonce, type RingState, recordOf, type TxBody } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import type { EventLog } from '../events.ts'
import { isDebugged, type Measurer } from './measure.ts'
import type { Vouching } from './vouching.ts'

const TICK_MS = 500
const SUBMIT_WAIT_MS = 10_000
/** Of an interval: when the next quote is due, and how often it is looked whether something has changed. */
const DUE_SHARE = 0.8
const LOOK_SHARE = 0.25
const ROLLBACK_MS_MAX = 30_000
/** What a try that failed waits. */
const REST_MS = 1_000
const COMPLAIN_MS = 10_000

type Alarm = Extract<AttestationStatement, { type: 'attest.quote' }>['alarm']

export interface AttesterOptions {
  readonly self: string
  readonly ring: string
  readonly measurer: Measurer
  readonly vouching: Vouching
  readonly tpm: { readonly tcti: string; readonly eventLog: string | undefined } | undefined
  readonly events: Pick<EventLog, 'add'>
  state(): RingState
  every(): number
  /** In the node's own name, signed at this time. */
  submit(body: TxBody, waitMs: number, atMs: number): Promise<unknown>
}

export class Attester {
  readonly #options: AttesterOptions
  readonly #boot = randomBytes(8).toString('hex')
  readonly #tpm: TpmDevice | undefined
  /** By both clocks, when the process began: one of them cannot be set. */
  readonly #began = { wallMs: Date.now(), runMs: performance.now() }
  #timer: NodeJS.Timeout | undefined
  #isBusy = false
  #nextMs = 0
  #said: Measured | undefined
  #complainedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: AttesterOptions) {
    this.#options = options
    this.#tpm = options.tpm === undefined ? undefined : new TpmDevice(options.tpm.tcti)
  }

  start(): void {
    this.#timer = setInterval(() => void this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** The time that it would be had nobody set the clock back. */
  #steadyMs(): number {
    return this.#began.wallMs + (performance.now() - this.#began.runMs)
  }

  async #tick(): Promise<void> {
    const { state, self } = this.#options
    const record = recordOf(state().enrolment.trust, self)
    const nowMs = performance.now()
    if (record === undefined || this.#isBusy || nowMs < this.#nextMs) return
    this.#isBusy = true
    try {
      await this.#attest(record.atMs ?? 0, record.ak)
      this.#nextMs = performance.now() + Math.max(TICK_MS, this.#options.every() * LOOK_SHARE)
    } catch (error) {
      this.#nextMs = performance.now() + REST_MS
      this.#complain(error as Error)
    } finally {
      this.#isBusy = false
    }
  }

  async #attest(lastMs: number, ak: string | null): Promise<void> {
    const { submit, vouching, state, measurer, every } = this.#options
    if (this.#tpm !== undefined && ak === null) {
      const { verdicts, refused, ...gathered } = await vouching.gather(this.#tpm)
      if (refused.length > 0) this.#complain(new Error(`validators do not vouch for the TPM: ${refused.join('; ')}`))
      await submit({ type: 'attest.enrol', ak: gathered.ak, verdicts }, SUBMIT_WAIT_MS, this.#steadyMs())
    }
    const measured = await measurer.measure()
    const alarm = this.#alarm()
    const hasChanged = measured.program !== this.#said?.program || measured.configuration !== this.#said.configuration
    if (alarm === null && !hasChanged && this.#steadyMs() < lastMs + every() * DUE_SHARE) return
    const beacon = state().enrolment.trust.beacons.at(-1)?.value
    if (beacon === undefined) return
    const body: AttestationStatement = { type: 'attest.quote', alarm, beacon, boot: this.#boot, measured, tpm: null }
    const said = this.#tpm === undefined ? body : { ...body, tpm: await this.#quoted(this.#tpm, beacon, measured) }
    await submit(said, SUBMIT_WAIT_MS, this.#steadyMs())
    this.#said = measured
  }

  async #quoted(tpm: TpmDevice, beacon: string, measured: Measured) {
    const { self: node, ring, tpm: settings } = this.#options
    const quote = await tpm.quote(quoteNonce({ ring, node, beacon, boot: this.#boot, measured }))
    const log = settings?.eventLog === undefined ? Buffer.alloc(0) : await readFile(settings.eventLog)
    if (log.length > EVENT_LOG_BYTES_MAX)
      throw new TpmMalformed(`${settings?.eventLog}: the event log has more than ${EVENT_LOG_BYTES_MAX} bytes`)
    return { ...quote, log: log.length === 0 ? '' : encodeBase64url(log) }
  }

  #alarm(): Alarm {
    if (isDebugged()) return 'debugger'
    return Date.now() < this.#steadyMs() - ROLLBACK_MS_MAX ? 'clock' : null
  }

  #complain(error: Error): void {
    const nowMs = performance.now()
    if (nowMs - this.#complainedAtMs < COMPLAIN_MS) return
    this.#complainedAtMs = nowMs
    const refusal = error instanceof LedgerError ? error.refusal : undefined
    const why = refusal === undefined ? error.message : `${refusal.code}: ${refusal.reason}`
    this.#options.events.add('node', 'warn', `this node could not attest: ${why}`)
  }
}
