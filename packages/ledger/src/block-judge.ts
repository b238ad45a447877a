/** Judges blocks that are proposed: by their time, and by what they do to the state after their parent. */
import type { Block } from '@ringwall/consensus'
import type { Chain, Execution } from './chain.ts'
import type { Epoch } from './epochs.ts'
import type { Application } from './types.ts'

/** A proposer's clock may be ahead of this node's by so much. */
export const AHEAD_MS_MAX = 5000
/** Of blocks that are fetched at once: more are a node catching up, which has no time to lose. */
const FORESEEN_BLOCKS_MAX = 16
/** Blocks that wait for their ancestors. */
const UNJUDGED_MAX = 9

export interface BlockJudgePorts<S> {
  readonly application: Application<S>
  readonly chain: Chain<S>
  /** After the last block that is visible. */
  state(): S
  /** Names by index. */
  validators(): readonly string[]
  /** Whose voter asks; undefined: none does any more, or for now. */
  epoch(): Epoch | undefined
  /** Unix milliseconds. */
  now(): number
  /** May people be told of this validator again? */
  mayWarn(validator: string): boolean
  warn(line: string): void
  fetch(digest: Block['digest'], proposer: number): void
  judged(digest: Block['digest'], valid: boolean): void
  /** The block that was judged last ends its epoch. */
  ends(): void
}

export class BlockJudge<S> {
  readonly #ports: BlockJudgePorts<S>
  /** Blocks that the voter asked about before their ancestors were here. */
  #waiting: Block[] = []

  constructor(ports: BlockJudgePorts<S>) {
    this.#ports = ports
  }

  judge(block: Block, parent: Block): void {
    const { chain, now, epoch, warn, mayWarn, judged } = this.#ports
    chain.learn(parent)
    chain.learn(block)
    const ahead = block.timestampMs - now()
    if (ahead > AHEAD_MS_MAX) {
      const proposer = this.#proposerOf(block)
      if (mayWarn(proposer))
        warn(`${proposer}'s clock is ${Math.round(ahead / 1000)} s ahead of this node's: its blocks are refused; set both by NTP`)
      judged(block.digest, false)
      return
    }
    const foreseen = this.foresee([block])
    if (foreseen === undefined) {
      this.#execute(block)
      return
    }
    const asker = epoch()
    void foreseen.then(() => {
      if (asker !== undefined && epoch() === asker) this.#execute(block)
    })
  }

  /** What these blocks would make the application compute, on the newest state that is visible; undefined when that is nothing. */
  foresee(blocks: readonly Block[]): Promise<void> | undefined {
    const { application, chain, state } = this.#ports
    if (application.foresee === undefined || blocks.length > FORESEEN_BLOCKS_MAX) return undefined
    const txs = blocks.flatMap((block) => {
      try {
        return chain.txsOf(block)
      } catch {
        // Malformed: for `execute` to say.
        return []
      }
    })
    return application.foresee(state(), txs)
  }

  /** Blocks have come: some of those that waited may have their ancestors now. */
  again(): void {
    const { chain } = this.#ports
    const waiting = this.#waiting
    this.#waiting = []
    for (const block of waiting) {
      const execution = chain.execute(block.digest)
      if (execution.kind !== 'unknown') this.#tell(block, execution)
      else if (block.height > chain.tip.block.height) this.#waiting.push(block)
    }
  }

  /** The epoch is over: nobody asks about its blocks any more. */
  forget(): void {
    this.#waiting = []
  }

  #execute(block: Block): void {
    const { chain, fetch, mayWarn, warn } = this.#ports
    const execution = chain.execute(block.digest)
    if (execution.kind === 'unknown') {
      this.#waiting = [...this.#waiting.slice(1 - UNJUDGED_MAX), block]
      fetch(execution.digest, block.proposer)
      return
    }
    const proposer = this.#proposerOf(block)
    if (execution.kind === 'invalid' && mayWarn(proposer))
      warn(`${proposer} proposed an invalid block in round ${block.round}: ${execution.reason}`)
    this.#tell(block, execution)
  }

  #tell({ digest }: Block, execution: Execution<S>): void {
    const { chain, judged, ends } = this.#ports
    judged(digest, execution.kind === 'executed')
    if (execution.kind === 'executed' && chain.ends(execution.executed)) ends()
  }

  #proposerOf({ proposer }: Block): string {
    return this.#ports.validators()[proposer] ?? '?'
  }
}
