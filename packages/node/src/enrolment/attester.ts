/** The node's own part in attestation: measures, has its TPM sign, and says so on the ledger, again and again. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { EVENT_LOG_BYTES_MAX, readQuote, TpmDevice, TpmMalformed } from '@ringwall/enroll'
import { LedgerError } from '@ringwall/ledger'
import {
  type AttestationStatement,
  changeMeasured,
  type Measured,
  quoteNonce,
  type RingState,
  recordOf,
  type TrustRecord,
  type TxBody,
} from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import type { EventLog } from '../events.ts'
import { every } from '../in-step.ts'
import { type CaseInput, CaseWatch } from './case-watch.ts'
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

const ALARM_TEXT = {
  case: 'its case was opened',
  clock: 'its clock was set back',
  debugger: 'a debugger was attached',
} as const satisfies Record<NonNullable<Alarm>, string>

const isOutOfRing = (error: unknown): boolean => error instanceof LedgerError && error.refusal?.code === 'ISSUER_UNKNOWN'

export interface AttesterOptions {
  readonly self: string
  readonly ring: string
  readonly measurer: Measurer
  readonly vouching: Vouching
  readonly tpm: { readonly tcti: string; readonly eventLog: string | undefined } | undefined
  readonly caseInput?: CaseInput | undefined
  readonly events: Pick<EventLog, 'add'>
  /** Something is wrong with this node: once. */
  onNoticed(): void
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
  #stopTicking: (() => void) | undefined
  #isBusy = false
  #nextMs = 0
  #restUntilMs = 0
  #said: Measured | undefined
  #complainedAtMs = Number.NEGATIVE_INFINITY
  readonly #case: CaseWatch | undefined
  /** What it noticed and told the ring, which will not have it any more. */
  #noticed: string | undefined

  constructor(options: AttesterOptions) {
    this.#options = options
    this.#case = options.caseInput === undefined ? undefined : new CaseWatch(options.caseInput)
    this.#tpm = options.tpm === undefined ? undefined : new TpmDevice(options.tpm.tcti)
  }

  start(): void {
    this.#case?.start()
    this.#stopTicking = every(TICK_MS, () => void this.#tick())
  }

  stop(): void {
    this.#case?.stop()
    this.#stopTicking?.()
  }

  /** The time that it would be had nobody set the clock back. */
  #steadyMs(): number {
    return this.#began.wallMs + (performance.now() - this.#began.runMs)
  }

  async #tick(): Promise<void> {
    const { state, self } = this.#options
    const record = recordOf(state().enrolment.trust, self)
    const nowMs = performance.now()
    if (record === undefined || this.#isBusy || nowMs < this.#restUntilMs) return
    // Two intervals of a copy, or of an alarm, would be two too many.
    const urgent = this.#alarm() !== null || this.#isCopied(record)
    if (!urgent && nowMs < this.#nextMs) return
    this.#isBusy = true
    try {
      await this.#attest(record, urgent)
      this.#nextMs = performance.now() + Math.max(TICK_MS, this.#options.every() * LOOK_SHARE)
    } catch (error) {
      this.#nextMs = performance.now() + REST_MS
      this.#restUntilMs = this.#nextMs
      this.#complain(error as Error)
    } finally {
      this.#isBusy = false
    }
  }

  /** Another process speaks in this node's name, though this one has not ended. */
  #isCopied({ boot }: TrustRecord): boolean {
    return this.#said !== undefined && boot !== null && boot.id !== this.#boot
  }

  /** Of this node, why it must take no traffic; undefined while nothing is wrong. */
  get noticed(): string | undefined {
    return this.#noticed
  }

  /** Before it is said: what is said may be the last that is heard of it. */
  #notice(what: string): void {
    if (this.#noticed !== undefined) return
    this.#noticed = what
    this.#options.onNoticed()
    this.#options.events.add('node', 'bad', `this node noticed: ${what}; it tells the ring, and takes no more traffic`)
  }

  async #attest(record: TrustRecord, urgent: boolean): Promise<void> {
    const { ak, atMs } = record
    const lastMs = atMs ?? 0
    const { submit, vouching, state, measurer, every } = this.#options
    if (this.#tpm !== undefined && ak === null) {
      const { verdicts, refused, ...gathered } = await vouching.gather(this.#tpm)
      if (refused.length > 0) this.#complain(new Error(`validators do not vouch for the TPM: ${refused.join('; ')}`))
      await submit({ type: 'attest.enrol', ak: gathered.ak, verdicts }, SUBMIT_WAIT_MS, this.#steadyMs())
    }
    const measured = await measurer.measure()
    const alarm = this.#alarm()
    const hasChanged = measured.program !== this.#said?.program || measured.configuration !== this.#said.configuration
    if (!urgent && !hasChanged && this.#steadyMs() < lastMs + every() * DUE_SHARE) return
    const beacon = state().enrolment.trust.beacons.at(-1)?.value
    if (beacon === undefined) return
    const body: AttestationStatement = { type: 'attest.quote', alarm, beacon, boot: this.#boot, measured, tpm: null }
    if (alarm !== null) this.#notice(ALARM_TEXT[alarm])
    else if (this.#isCopied(record)) this.#notice('another process speaks with its key')
    const said = this.#tpm === undefined ? body : { ...body, tpm: await this.#quoted(this.#tpm, beacon, measured) }
    const changed = changeMeasured(state(), this.#options.self, measured, this.#readingOf(said, ak), this.#steadyMs())
    if (changed !== undefined) this.#notice(`what it measures is not what it may be (${changed})`)
    await submit(said, SUBMIT_WAIT_MS, this.#steadyMs()).catch((error: unknown) => {
      if (isOutOfRing(error)) this.#notice('the ring has put it out')
      throw error
    })
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

  /** As validators read it. */
  #readingOf(said: Extract<AttestationStatement, { type: 'attest.quote' }>, ak: string | null) {
    const { ring, self: node } = this.#options
    const { beacon, boot, measured, tpm } = said
    return tpm === null || ak === null ? undefined : readQuote(tpm, ak, quoteNonce({ ring, node, beacon, boot, measured }))
  }

  #alarm(): Alarm {
    if (isDebugged()) return 'debugger'
    if (this.#case?.isOpen === true) return 'case'
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
