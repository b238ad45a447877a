/** The node's reception: those who come with an invitation or as a device are heard on the port of its links. */
import { Reception } from '@ringwall/enroll'
import type { Fabric } from '@ringwall/fabric'
import { LedgerError } from '@ringwall/ledger'
import {
  encodeGenesis,
  type GenesisDocument,
  type Refusal,
  type RingApplication,
  type RingState,
  type TxBody,
} from '@ringwall/ring'
import type { EventLog } from '../events.ts'
import { randomNonce } from '../keys.ts'

const JOIN_WAIT_MS = 20_000
const TX_VALID_MS = 60_000
/** People read these; a stranger must not write them as fast as it likes. */
const REFUSALS_SHOWN_MS = 1_000

export interface NodeReceptionOptions {
  readonly self: string
  readonly region: string
  readonly ring: string
  readonly genesis: GenesisDocument
  readonly application: RingApplication
  readonly fabric: Fabric
  readonly events: Pick<EventLog, 'add'>
  state(): RingState
  /** In the node's own name. */
  submit(body: TxBody, waitMs: number): Promise<{ readonly height: number }>
}

/** Who was sent away, and why: of each code how often. */
export class NodeReception {
  readonly refusals = new Map<string, number>()
  readonly #options: NodeReceptionOptions
  #shownAtMs = Number.NEGATIVE_INFINITY
  #isOpen = false

  constructor(options: NodeReceptionOptions) {
    this.#options = options
    const { self, region, ring, application } = options
    const reception = new Reception({
      ring,
      genesis: encodeGenesis(options.genesis),
      region,
      state: options.state,
      nowMs: Date.now,
      rehearse: (body) => {
        const atMs = Date.now()
        const content = { ring, issuer: `node:${self}`, atMs, untilMs: atMs + TX_VALID_MS, nonce: randomNonce(), body }
        const result = application.rehearse(options.state(), content, atMs)
        return result.ok ? undefined : { code: result.code, reason: result.reason }
      },
      propose: (body) => this.#propose(body),
      onRefused: (from, refusal) => this.#refused(from, refusal),
    })
    options.fabric.onGuest((socket, key) => reception.receive(socket, key))
  }

  /** A ring of one listens to nobody until somebody is expected. To be told after the fabric has started. */
  follow(state: RingState): void {
    const { fabric, events } = this.#options
    if (this.#isOpen || !state.enrolment.expectsGuests(Date.now())) return
    this.#isOpen = true
    fabric.open().catch((error: Error) => {
      this.#isOpen = false
      events.add('link', 'bad', error.message)
    })
  }

  async #propose(body: TxBody): Promise<{ readonly height: number } | Refusal> {
    try {
      return await this.#options.submit(body, JOIN_WAIT_MS)
    } catch (error) {
      if (error instanceof LedgerError && error.code === 'TX_REFUSED')
        return { code: (error.refusal?.code ?? 'INTERNAL') as Refusal['code'], reason: error.refusal?.reason ?? error.message }
      throw error
    }
  }

  #refused(from: string, { code, reason }: Refusal): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1)
    const nowMs = performance.now()
    if (nowMs - this.#shownAtMs < REFUSALS_SHOWN_MS) return
    this.#shownAtMs = nowMs
    this.#options.events.add('node', 'warn', `${from} may not join: ${code}: ${reason}`)
  }
}
