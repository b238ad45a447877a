/** An honest validator in a simulation: the real voter, with a shell whose disk loses what was not synced in a crash. */
import {
  type Block,
  type Certificate,
  type Digest,
  type Effect,
  type JournalRecord,
  type Message,
  makeBlock,
  type Scheme,
  Voter,
  type VoterConfig,
  type VoterEvent,
  verifyCertificate,
} from '@ringwall/consensus'
import type { RingApplication, RingState } from '@ringwall/ring'
import { EPOCH_MS } from './application.ts'
import { type Executions, encodeTxs } from './executions.ts'
import type { World } from './world.ts'

export interface Final {
  readonly block: Block
  readonly certificate: Certificate
}

/** What a validator tells the rest of the simulation. */
export interface Surroundings {
  send(from: number, to: number | 'all', message: Message): void
  fetch(from: number, digest: Digest, first: number): void
  /** Called for every final block, in order, with the state after it; undefined when it does not execute. */
  onFinal(validator: number, block: Block, state: RingState | undefined): void
  onEvidence(validator: number, accused: number): void
}

/** Changes in the shell that the checkers have to notice. */
export interface Mutation {
  readonly forgetsJournal?: true
  readonly acceptsAnything?: true
  readonly sendsBeforeSync?: true
  readonly takesAnySignature?: true
}

export interface ValidatorOptions {
  readonly index: number
  readonly config: VoterConfig
  readonly scheme: Scheme
  readonly genesis: Block
  readonly world: World
  readonly application: RingApplication
  readonly executions: Executions
  readonly surroundings: Surroundings
  readonly clockSkewMs: number
  readonly mutation: Mutation
}

const SYNC_MS_MAX = 6
const BLOCK_BYTES_MAX = 100_000

export class Validator {
  readonly index: number
  readonly #options: ValidatorOptions
  readonly #genesis: Block
  #voter: Voter
  #alive = true
  /** Counts lives, so that what was planned in an earlier one does not happen. */
  #life = 0
  #journal: JournalRecord[] = []
  /** Effects that wait for the disk, in order. */
  #pending: Effect[] = []
  #syncing = false
  /** Final blocks, by height from 1; those up to `#durable` survive a crash. */
  chain: Final[] = []
  #durable = 0
  #states = new Map<Digest, RingState>()
  #blocks = new Map<Digest, Block>()
  #mempool = new Map<string, Uint8Array>()
  #asked: { readonly round: number; readonly parent: Block } | undefined
  #timer = 0

  constructor(options: ValidatorOptions) {
    this.#options = options
    this.index = options.index
    this.#genesis = options.genesis
    this.#voter = new Voter(options.config, options.scheme, this.#genesis)
    this.#states.set(this.#genesis.digest, options.application.initial())
  }

  get alive(): boolean {
    return this.#alive
  }

  get height(): number {
    return this.chain.length
  }

  start(): void {
    this.#post({ kind: 'start' })
  }

  /** Power off: what the disk had not synced is gone. */
  crash(): void {
    this.#alive = false
    this.#life += 1
    // The disk may have taken some of what waited, in order, though nobody was told.
    const written = this.#options.world.random.whole(0, this.#pending.length)
    for (const effect of this.#pending.slice(0, written)) if (effect.kind === 'persist') this.#journal.push(effect.record)
    this.#pending = []
    this.#syncing = false
    this.#asked = undefined
    this.#mempool.clear()
    this.chain = this.chain.slice(0, this.#durable)
    if (this.#options.mutation.forgetsJournal === true) this.#journal = []
  }

  restart(): void {
    const { config, scheme, application } = this.#options
    const tip = this.chain.at(-1)
    this.#states = new Map([[this.#genesis.digest, application.initial()]])
    this.#blocks = new Map()
    for (const { block } of this.chain) this.#execute(block)
    const after = tip?.block.round ?? 0
    const journal = this.#journal.filter((record) => roundOf(record) > after)
    for (const record of journal)
      if (record.kind === 'proposal') this.#blocks.set(record.proposal.block.digest, record.proposal.block)
    this.#voter = Voter.restore(config, scheme, tip, journal, this.#genesis)
    this.#alive = true
    this.#post({ kind: 'start' })
  }

  hear(from: number, message: Message): void {
    if (!this.#alive) return
    if (message.kind === 'proposal') this.#blocks.set(message.proposal.block.digest, message.proposal.block)
    this.#post({ kind: 'message', from, message })
  }

  submit(name: string, tx: Uint8Array): void {
    if (!this.#alive || this.#mempool.has(name)) return
    const state = this.#tipState()
    if (!this.#options.application.check(state, tx, this.#clockMs()).ok) return
    this.#mempool.set(name, tx)
    this.#propose(false)
    this.#post({ kind: 'pending' })
  }

  /** A block by digest, for a peer. */
  find(digest: Digest): Block | undefined {
    return this.#alive ? this.#blocks.get(digest) : undefined
  }

  takeBlock(block: Block): void {
    if (!this.#alive) return
    // Whoever asked knows the digest; what came back may be anything.
    const { digest } = makeBlock(block, this.#options.scheme.hash)
    this.#blocks.set(digest, { ...block, digest })
    this.#post({ kind: 'block', block })
  }

  /** Final blocks that a peer hands over. Believed by hash links and the last one's certificate, not by who sent them. */
  takeRun(run: readonly Final[]): void {
    if (!this.#alive) return
    const last = run.at(-1)
    let parent = this.chain.at(-1)?.block ?? this.#genesis
    const fresh = run.filter(({ block }) => block.height > this.height)
    if (last === undefined || fresh.length === 0) return
    if (last.certificate.kind !== 'finalize' || last.certificate.digest !== last.block.digest) return
    if (!verifyCertificate(this.#options.config, this.#options.scheme, last.certificate)) return
    for (const { block } of fresh) {
      if (block.parent !== parent.digest || block.height !== parent.height + 1) return
      parent = block
    }
    for (const final of fresh) this.#finalize(final.block, last.certificate)
    this.#post({ kind: 'synced', block: last.block, certificate: last.certificate })
  }

  #clockMs(): number {
    return EPOCH_MS + this.#options.world.nowMs + this.#options.clockSkewMs
  }

  #tipState(): RingState {
    return this.#states.get(this.chain.at(-1)?.block.digest ?? this.#genesis.digest) as RingState
  }

  #post(event: VoterEvent): void {
    if (!this.#alive) return
    for (const effect of this.#voter.step(event, this.#clockMs())) this.#perform(effect)
  }

  #perform(effect: Effect): void {
    if (effect.kind === 'send' && this.#options.mutation.sendsBeforeSync === true) {
      this.#options.surroundings.send(this.index, effect.to, effect.message)
    } else if (effect.kind === 'persist' || effect.kind === 'send') {
      if (effect.kind === 'persist' && effect.record.kind === 'proposal') {
        const { block } = effect.record.proposal
        this.#blocks.set(block.digest, block)
      }
      this.#pending.push(effect)
      this.#syncLater()
    } else if (effect.kind === 'timer') this.#setTimer(effect.round, effect.afterMs)
    else if (effect.kind === 'propose') this.#onPropose(effect.round, effect.parent)
    else if (effect.kind === 'verify') this.#onVerify(effect.block)
    else if (effect.kind === 'finalized') for (const block of effect.blocks) this.#finalize(block, effect.certificate)
    else if (effect.kind === 'fetch') this.#options.surroundings.fetch(this.index, effect.digest, effect.from)
    else this.#options.surroundings.onEvidence(this.index, effect.evidence.validator)
  }

  /** Runs later, unless the validator crashed meanwhile. */
  #later(ms: number, run: () => void): void {
    const life = this.#life
    this.#options.world.after(ms, () => {
      if (this.#life === life) run()
    })
  }

  /** One sync takes all that waits: persists before sends, in order. */
  #syncLater(): void {
    if (this.#syncing) return
    this.#syncing = true
    this.#later(this.#options.world.random.next() * SYNC_MS_MAX, () => {
      this.#syncing = false
      const ready = this.#pending
      this.#pending = []
      this.#durable = this.chain.length
      for (const effect of ready) if (effect.kind === 'persist') this.#journal.push(effect.record)
      for (const effect of ready)
        if (effect.kind === 'send') this.#options.surroundings.send(this.index, effect.to, effect.message)
    })
  }

  #setTimer(round: number, afterMs: number): void {
    this.#timer += 1
    const timer = this.#timer
    this.#later(afterMs, () => {
      if (timer === this.#timer) this.#post({ kind: 'timeout', round })
    })
  }

  #onPropose(round: number, parent: Block): void {
    this.#blocks.set(parent.digest, parent)
    this.#asked = { round, parent }
    const asked = this.#asked
    this.#later(this.#options.config.heartbeatMs, () => {
      if (this.#asked === asked) this.#propose(true)
    })
    this.#propose(false)
  }

  #propose(evenEmpty: boolean): void {
    const asked = this.#asked
    if (asked === undefined) return
    const state = this.#stateAfter(asked.parent.digest)
    if (state === undefined) return
    const timestampMs = Math.max(this.#clockMs(), asked.parent.timestampMs + 1)
    const context = { height: asked.parent.height + 1, timestampMs: Math.floor(timestampMs), proposer: `n${this.index}` }
    const chosen = this.#options.application.prepare(state, [...this.#mempool.values()], context, BLOCK_BYTES_MAX)
    if (chosen.length === 0 && !evenEmpty) return
    this.#asked = undefined
    this.#post({ kind: 'proposed', round: asked.round, payload: encodeTxs(chosen), timestampMs: context.timestampMs })
  }

  #onVerify(block: Block): void {
    this.#blocks.set(block.digest, block)
    const valid = this.#options.mutation.acceptsAnything === true || this.#stateAfter(block.digest) !== undefined
    this.#post({ kind: 'verified', digest: block.digest, valid })
  }

  /** The state after a block that is here with all its ancestors and executes; else undefined. */
  #stateAfter(digest: Digest): RingState | undefined {
    const known = this.#states.get(digest)
    if (known !== undefined) return known
    const block = this.#blocks.get(digest)
    return block === undefined || this.#stateAfter(block.parent) === undefined ? undefined : this.#execute(block)
  }

  #execute(block: Block): RingState | undefined {
    const parent = this.#states.get(block.parent)
    if (parent === undefined || block.timestampMs > this.#clockMs() + 5_000) return undefined
    const state = this.#options.executions.after(parent, block)
    if (state === undefined) return undefined
    this.#states.set(block.digest, state)
    this.#blocks.set(block.digest, block)
    return state
  }

  #finalize(block: Block, certificate: Certificate): void {
    if (block.height !== this.height + 1) return
    this.#blocks.set(block.digest, block)
    const state = this.#stateAfter(block.digest)
    this.chain.push({ block, certificate })
    this.#syncLater()
    this.#options.surroundings.onFinal(this.index, block, state)
    if (state === undefined) return
    for (const [name, tx] of this.#mempool)
      if (!this.#options.application.check(state, tx, this.#clockMs()).ok) this.#mempool.delete(name)
    if (this.#mempool.size > 0) this.#later(0, () => this.#post({ kind: 'pending' }))
  }
}

function roundOf(record: JournalRecord): number {
  if (record.kind === 'vote') return record.vote.round
  return record.kind === 'proposal' ? record.proposal.block.round : record.certificate.round
}
