/**
 * For tests: an engine that is as simple as one can be. One process orders what comes, with no agreement, no network and no disk of
 * its own; nodes are copies of it. What a ring sees of agreement (`Application`, `Ledger`) has to suffice for it too, so that nothing
 * about Simplex leaks into the interface.
 */
import { genesisBlock, makeBlock } from '@ringwall/consensus'
import { LedgerError } from './errors.ts'
import { encodePayload, PAYLOAD_BYTES_MAX, type Validator } from './payload.ts'
import type { Application, Committed, FinalBlock, Ledger, LedgerStatus } from './types.ts'

const RING = 'sequenced'

export class Sequencer<S> {
  readonly #application: Application<S>
  readonly #blocks: FinalBlock<S>[] = []
  readonly #answers = new Map<string, Committed>()
  readonly #nodes = new Set<SequencedLedger<S>>()
  #waiting: {
    readonly tx: Uint8Array
    readonly resolve: (answer: Committed) => void
    readonly reject: (error: Error) => void
  }[] = []
  #due = false

  constructor(application: Application<S>) {
    this.#application = application
  }

  open(): Ledger<S> {
    const node = new SequencedLedger(this)
    this.#nodes.add(node)
    return node
  }

  get blocks(): readonly FinalBlock<S>[] {
    return this.#blocks
  }

  state(): S {
    return this.#blocks.at(-1)?.state ?? this.#application.initial()
  }

  root(): string {
    return this.#application.root(this.state())
  }

  close(node: SequencedLedger<S>): void {
    this.#nodes.delete(node)
  }

  order(tx: Uint8Array): Promise<Committed> {
    const known = this.#answers.get(Buffer.from(tx).toString('latin1'))
    if (known !== undefined) return Promise.resolve(known)
    const checked = this.#application.check(this.state(), tx, Date.now())
    if (!checked.ok) return Promise.reject(refusal(checked.code, checked.reason))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ tx, resolve, reject })
      if (this.#due) return
      this.#due = true
      setImmediate(() => this.#decide())
    })
  }

  #decide(): void {
    this.#due = false
    const waiting = this.#waiting
    this.#waiting = []
    const parent = this.#blocks.at(-1)?.block ?? genesisBlock(RING)
    const timestampMs = Math.max(Date.now(), parent.timestampMs + 1)
    const context = { height: parent.height + 1, timestampMs, proposer: 'sequencer' }
    const distinct = [...new Map(waiting.map(({ tx }) => [Buffer.from(tx).toString('latin1'), tx])).values()]
    const txs = this.#application.prepare(this.state(), distinct, context, PAYLOAD_BYTES_MAX / 2)
    const outcome = this.#application.execute(this.state(), txs, context)
    if (!outcome.ok) throw new Error(`prepare chose what execute refuses: ${outcome.reason}`)
    const payload = encodePayload({ root: this.root(), txs })
    const block = makeBlock({
      round: context.height,
      height: context.height,
      parent: parent.digest,
      proposer: 0,
      timestampMs,
      payload,
    })
    const certificate = { kind: 'finalize', round: block.round, digest: block.digest, signatures: [] } as const
    const final: FinalBlock<S> = { block, txs, results: outcome.results, state: outcome.state, certificate }
    this.#blocks.push(final)
    for (const [i, tx] of txs.entries()) {
      const id = outcome.results[i]?.id ?? ''
      this.#answers.set(Buffer.from(tx).toString('latin1'), { id, height: block.height, digest: block.digest, elapsedMs: 0 })
    }
    for (const node of this.#nodes) node.meet(final)
    for (const { tx, resolve, reject } of waiting) {
      const answer = this.#answers.get(Buffer.from(tx).toString('latin1'))
      const checked = this.#application.check(this.state(), tx, Date.now())
      if (answer !== undefined) resolve(answer)
      else if (!checked.ok) reject(refusal(checked.code, checked.reason))
      else this.order(tx).then(resolve, reject)
    }
  }
}

function refusal(code: string, reason: string): LedgerError {
  return new LedgerError('TX_REFUSED', `the transaction is refused (${code}): ${reason}`, { refusal: { code, reason } })
}

class SequencedLedger<S> implements Ledger<S> {
  readonly #sequencer: Sequencer<S>
  readonly #handlers = new Set<(block: FinalBlock<S>) => void>()
  #stopped = false

  constructor(sequencer: Sequencer<S>) {
    this.#sequencer = sequencer
  }

  meet(final: FinalBlock<S>): void {
    for (const handler of this.#handlers) handler(final)
  }

  status(): LedgerStatus {
    const last = this.#sequencer.blocks.at(-1)
    const block = last?.block ?? genesisBlock(RING)
    const { height, round, digest, timestampMs } = block
    return {
      height,
      round,
      digest,
      root: this.#sequencer.root(),
      timestampMs,
      epoch: 0,
      role: 'follower',
      halted: undefined,
      certifiedAtMs: undefined,
      lag: 0,
      validators: 1,
      quorum: 1,
      reachable: ['sequencer'],
      unreachable: [],
      mempool: 0,
      syncing: false,
      firstHeight: 1,
      bytes: 0,
      snapshotHeight: 0,
      evidence: [],
      muted: [],
      repairs: [],
      votes: true,
    }
  }

  state(): S {
    return this.#sequencer.state()
  }

  validatorsAt(): readonly Validator[] {
    return [{ id: 'sequencer', publicKey: new Uint8Array(32) }]
  }

  submit(tx: Uint8Array): Promise<Committed> {
    if (this.#stopped) return Promise.reject(new LedgerError('LEDGER_STOPPED', 'the ledger was stopped'))
    return this.#sequencer.order(Uint8Array.from(tx))
  }

  async block(height: number): Promise<FinalBlock<S> | undefined> {
    return this.#sequencer.blocks[height - 1]
  }

  async stateAt(height: number): Promise<{ readonly state: S; readonly proof: Uint8Array } | undefined> {
    const final = this.#sequencer.blocks[height - 1]
    return final === undefined ? undefined : { state: final.state, proof: new Uint8Array(0) }
  }

  onBlock(handler: (block: FinalBlock<S>) => void): () => void {
    this.#handlers.add(handler)
    return () => this.#handlers.delete(handler)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#sequencer.close(this)
  }
}
