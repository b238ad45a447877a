/**
 * What blocks do to states, each worked out once for all validators of a schedule: execution is a function of the state, the
 * block's transactions and its context, and states never change. In some schedules each validator executes for itself, and
 * all have to come to one state (`isEachOnItsOwn`).
 */
import type { Block } from '@ringwall/consensus'
import type { RingApplication, RingState } from '@ringwall/ring'

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder()

/** A list of transactions as a block's payload: JSON of base64, which is enough here. */
export function encodeTxs(txs: readonly Uint8Array[]): Uint8Array {
  return ENCODER.encode(JSON.stringify(txs.map((tx) => Buffer.from(tx).toString('base64'))))
}

export function decodeTxs(payload: Uint8Array): readonly Uint8Array[] {
  if (payload.length === 0) return []
  return (JSON.parse(DECODER.decode(payload)) as string[]).map((text) => new Uint8Array(Buffer.from(text, 'base64')))
}

interface Execution {
  readonly height: number
  readonly timestampMs: number
  readonly proposer: string
  readonly state: RingState | undefined
}

export class Executions {
  readonly #application: RingApplication
  readonly #isEachOnItsOwn: boolean
  /** By payload, by the state that it is executed on. Payloads are the same object wherever they are sent. */
  readonly #known = new Map<RingState, Map<Uint8Array, Execution>>()
  readonly #decoded = new Map<Uint8Array, readonly Uint8Array[] | undefined>()

  constructor(application: RingApplication, isEachOnItsOwn: boolean) {
    this.#application = application
    this.#isEachOnItsOwn = isEachOnItsOwn
  }

  /** The block's transactions; undefined when its payload is no list. */
  txsOf({ payload }: Pick<Block, 'payload'>): readonly Uint8Array[] | undefined {
    if (this.#decoded.has(payload)) return this.#decoded.get(payload)
    let txs: readonly Uint8Array[] | undefined
    try {
      txs = decodeTxs(payload)
    } catch {
      txs = undefined
    }
    this.#decoded.set(payload, txs)
    return txs
  }

  /**
   * The state after the block; undefined when it is invalid.
   *
   * @throws {Error} When the same execution had another outcome before.
   */
  after(parent: RingState, block: Block): RingState | undefined {
    const { payload, height, timestampMs } = block
    const proposer = `n${block.proposer}`
    let onParent = this.#known.get(parent)
    if (onParent === undefined) {
      onParent = new Map()
      this.#known.set(parent, onParent)
    }
    const known = onParent.get(payload)
    const isSame = known?.height === height && known.timestampMs === timestampMs && known.proposer === proposer
    if (isSame && !this.#isEachOnItsOwn) return known.state
    const txs = this.txsOf(block)
    const result = txs === undefined ? undefined : this.#application.execute(parent, txs, { height, timestampMs, proposer })
    const state = result?.ok === true ? result.state : undefined
    if (isSame && state?.root() !== known.state?.root()) throw new Error(`block ${height} has two outcomes`)
    onParent.set(payload, { height, timestampMs, proposer, state })
    return state
  }
}
