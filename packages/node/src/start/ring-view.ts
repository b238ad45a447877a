/** The ring as of the newest block, for those who judge by it, and what changes with each block. */
import type { TokenVerifier } from '@ringwall/guard'
import { createProofReplays } from '@ringwall/identity'
import type { FinalBlock } from '@ringwall/ledger'
import { type RingApplication, type RingState, TX_SKEW_MS_MAX, type View } from '@ringwall/ring'
import type { RingLedger } from '../running-node.ts'
import { sameKeys, tokensOf } from '../token-trust.ts'

/** A block that is final, and what there was before it. */
export interface BlockChange {
  readonly final: FinalBlock<RingState>
  readonly before: View
  readonly view: View
  readonly stateBefore: RingState
}

export class RingView {
  readonly #application: RingApplication
  readonly #self: string
  readonly #replays = createProofReplays()
  readonly #handlers: ((change: BlockChange) => void)[] = []
  readonly #unsubscribe: () => void
  #view: View
  #state: RingState
  #tokens: TokenVerifier
  #certifiedAtMs: number | undefined
  #blocksWithNews = 0

  constructor(application: RingApplication, ledger: RingLedger, self: string) {
    this.#application = application
    this.#self = self
    const { height, timestampMs, certifiedAtMs } = ledger.status()
    this.#state = ledger.state()
    this.#view = application.view(this.#state, height, timestampMs, self)
    this.#tokens = tokensOf(this.#view, this.#replays)
    this.#certifiedAtMs = certifiedAtMs
    this.#unsubscribe = ledger.onBlock((final) => this.#take(final))
  }

  get view(): View {
    return this.#view
  }

  get state(): RingState {
    return this.#state
  }

  /** As the guard verifies bearer tokens now. */
  get tokens(): TokenVerifier {
    return this.#tokens
  }

  /** Unix milliseconds; undefined: nothing since this node started. */
  get certifiedAtMs(): number | undefined {
    return this.#certifiedAtMs
  }

  /** Counts blocks with transactions: whoever has seen this many has missed nothing. */
  get blocksWithNews(): number {
    return this.#blocksWithNews
  }

  isMember(node: string): boolean {
    return this.#view.nodes.some(({ id }) => id === node)
  }

  /** Told of each block when the view is its own already. */
  onChange(handler: (change: BlockChange) => void): void {
    this.#handlers.push(handler)
  }

  stop(): void {
    this.#unsubscribe()
  }

  #take(final: FinalBlock<RingState>): void {
    // A block that comes late was certified when its timestamp says, but for what clocks may differ by: catching up is not
    // being up to date.
    this.#certifiedAtMs = Math.min(Date.now(), final.block.timestampMs + TX_SKEW_MS_MAX)
    if (final.txs.length > 0) this.#blocksWithNews += 1
    const [before, stateBefore] = [this.#view, this.#state]
    const view = this.#application.view(final.state, final.block.height, final.block.timestampMs, this.#self)
    this.#state = final.state
    this.#view = view
    if (view.policyVersion !== before.policyVersion || !sameKeys(view, before)) this.#tokens = tokensOf(view, this.#replays)
    for (const handler of this.#handlers) handler({ final, before, view, stateBefore })
  }
}
