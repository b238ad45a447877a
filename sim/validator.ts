/**
 * An honest node in a simulation: the real voter, chain and epochs, with a shell whose disk loses what was not synced in a crash. A node
 * that is none of its epoch's validators follows.
 */
import {
  type Block,
  type Certificate,
  type Digest,
  type Effect,
  type Evidence,
  type JournalRecord,
  type Message,
  makeBlock,
  type Voter,
  type VoterConfig,
  type VoterEvent,
} from '@ringwall/consensus'
import type { RingState } from '@ringwall/ring'
import { type BlockRecord, proves } from '../packages/ledger/src/block-record.ts'
import { Chain, type Executed } from '../packages/ledger/src/chain.ts'
import { type Epoch, Epochs, voterOf } from '../packages/ledger/src/epochs.ts'
import { advanceOver, type DiskStep, handOverSteps, memoryOf, type Obstacle } from '../packages/ledger/src/hand-over.ts'
import type { Genesis } from '../packages/ledger/src/types.ts'
import { EPOCH_MS, ownerOf, signerOf } from './application.ts'
import type { Executions } from './executions.ts'
import { schemeFor } from './keys.ts'
import type { World } from './world.ts'

/** What a node tells the rest of the simulation. */
export interface Surroundings {
  /** `to` are nodes, `epoch` is that of the sender. */
  send(from: number, to: readonly number[], epoch: number, message: Message): void
  fetch(from: number, digest: Digest, first: number): void
  /** Two nodes of different epochs have met. */
  meet(self: number, other: number): void
  /** Called for every final block, in order. */
  onFinal(node: number, executed: Executed<RingState>, certificate: Certificate): void
  onObstacle(node: number, obstacle: Obstacle): void
  onEvidence(node: number, epoch: number, accused: number, evidence: Evidence): void
  /** Its disk lost nothing that was synced, and yet it finds that it does not know what it signed. */
  onForgetting(node: number): void
}

/** Changes in the shell that the checkers have to notice. */
export interface Mutation {
  readonly forgetsJournal?: true
  readonly acceptsAnything?: true
  readonly sendsBeforeSync?: true
  readonly takesAnySignature?: true
  readonly speaksBeforeBoundary?: true
}

export interface ValidatorOptions {
  readonly index: number
  readonly genesis: Genesis
  readonly timing: Pick<VoterConfig, 'roundMs' | 'heartbeatMs'>
  readonly world: World
  readonly executions: Executions
  readonly surroundings: Surroundings
  readonly clockSkewMs: number
  readonly mutation: Mutation
}

const SYNC_MS_MAX = 6
const BLOCK_BYTES_MAX = 100_000
const AHEAD_MS_MAX = 5_000
/** Messages of the epoch to come that are kept. */
const EARLY_MAX = 512
/** A peer in another epoch is told how far this node is, so often. */
const TELL_MS = 100

interface Heard {
  readonly from: number
  readonly epoch: number
  readonly message: Message
}

export class Validator {
  readonly index: number
  readonly #options: ValidatorOptions
  #alive = true
  /** Counts lives, so that what was planned in an earlier one does not happen. */
  #life = 0

  // On disk.
  /** Final blocks, by height from 1; those up to `#durable` survive a crash, those up to `#written` are on the way to the disk. */
  records: BlockRecord[] = []
  #durable = 0
  #written = 0
  #journals = new Map<number, JournalRecord[]>([[0, []]])

  // In memory.
  #epochs: Epochs
  #epoch: Epoch
  #members: readonly number[] = []
  #chain: Chain<RingState>
  #voter: Voter | undefined
  #events: VoterEvent[] = []
  #stepping = false
  /** Effects that wait for the disk, in order. */
  #pending: Effect[] = []
  #syncing = false
  /** The hand-over's step that is under way. */
  #step: DiskStep | undefined
  #handingOver = false
  #early: Heard[] = []
  readonly #told = new Map<number, number>()
  #mempool = new Map<string, Uint8Array>()
  #asked: { readonly round: number; readonly parent: Block } | undefined
  #unjudged: Block[] = []
  #accused = new Set<string>()
  #timer = 0

  constructor(options: ValidatorOptions) {
    this.#options = options
    this.index = options.index
    this.#epochs = this.#newEpochs()
    this.#epoch = this.#epochs.current
    this.#chain = this.#newChain()
    this.#open()
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Something is on its way to the disk. */
  get isWriting(): boolean {
    return this.#pending.length > 0 || this.#step !== undefined
  }

  get height(): number {
    return this.records.length
  }

  /** Of the last final block. */
  get state(): RingState {
    return this.#chain.tip.state
  }

  /** Is the block at `height` on its disk? */
  has(height: number): boolean {
    return height <= this.#durable
  }

  start(): void {
    this.#post({ kind: 'start' })
  }

  // Disk

  #newEpochs(): Epochs {
    const self = signerOf(this.index)
    return new Epochs(this.#options.genesis, undefined, (validators) =>
      schemeFor(
        validators.map(({ publicKey }) => ownerOf(publicKey)),
        self,
      ),
    )
  }

  #newChain(): Chain<RingState> {
    const { application } = this.#options.executions
    return new Chain(application, this.#epochs, {
      block: this.#epochs.genesis,
      state: application.initial(),
      txs: [],
      results: [],
    })
  }

  /** From what is on disk. */
  #open(): void {
    this.#epochs = this.#newEpochs()
    this.#chain = this.#newChain()
    for (const record of this.records) {
      if (record.closing !== undefined) this.#epochs.end(record)
      const executed = this.#chain.advance(record.block)
      if (typeof executed === 'string')
        this.#options.surroundings.onObstacle(this.index, { kind: 'invalid', height: record.block.height, reason: executed })
    }
    const tip = this.#chain.tip.block
    const epoch = this.#epochs.at(tip.height + 1)
    const journal = (this.#journals.get(epoch.number) ?? []).filter((record) => roundOf(record) > tip.round)
    const memory = memoryOf({
      hasBlocks: this.records.length > 0,
      hasJournal: this.#journals.has(epoch.number),
      hasSigned: journal.length > 0,
      isDamaged: false,
      isMarked: false,
      isAlone: false,
    })
    if (memory !== 'whole') this.#options.surroundings.onForgetting(this.index)
    this.#removeJournals(epoch.number)
    if (!this.#journals.has(epoch.number)) this.#journals.set(epoch.number, [])
    this.#begin(epoch, journal)
  }

  #begin(epoch: Epoch, journal: readonly JournalRecord[]): void {
    this.#epoch = epoch
    this.#members = epoch.validators.map(({ id }) => Number(id.slice(1)))
    for (const record of journal) if (record.kind === 'proposal') this.#chain.learn(record.proposal.block)
    const self = this.#members.indexOf(this.index)
    const tip = this.records.at(-1) ?? { block: epoch.base, certificate: undefined }
    this.#voter = self === -1 ? undefined : voterOf(epoch, self, this.#options.timing, tip, journal)
  }

  #removeJournals(before: number): void {
    for (const epoch of this.#journals.keys()) if (epoch < before) this.#journals.delete(epoch)
  }

  /** Power off: what the disk had not synced is gone. */
  crash(): void {
    const { random } = this.#options.world
    this.#alive = false
    this.#life += 1
    // The disk may have taken some of what waited, in order, though nobody was told.
    this.#write(this.#pending.slice(0, random.whole(0, this.#pending.length)))
    if (this.#step !== undefined && random.chance(0.5)) this.#take(this.#step)
    this.#step = undefined
    this.#pending = []
    this.#events = []
    this.#syncing = false
    this.#handingOver = false
    this.#early = []
    this.#asked = undefined
    this.#unjudged = []
    this.#mempool.clear()
    this.#accused.clear()
    this.records = this.records.slice(0, random.whole(this.#durable, Math.max(this.#durable, this.#written)))
    // A block whose certificate did not make it is fetched again.
    while (this.records.length > 0 && this.records.at(-1)?.certificate === undefined) this.records.pop()
    this.#durable = this.records.length
    this.#written = this.#durable
    if (this.#options.mutation.forgetsJournal === true) for (const epoch of this.#journals.keys()) this.#journals.set(epoch, [])
  }

  restart(): void {
    this.#open()
    this.#alive = true
    this.#post({ kind: 'start' })
  }

  #write(effects: readonly Effect[]): void {
    const journal = this.#journals.get(this.#epoch.number)
    for (const effect of effects) if (effect.kind === 'persist') journal?.push(effect.record)
  }

  // Messages

  hear(from: number, epoch: number, message: Message): void {
    if (!this.#alive) return
    if (this.#handingOver || epoch !== this.#epoch.number) {
      if ((this.#handingOver || epoch === this.#epoch.number + 1) && this.#early.length < EARLY_MAX)
        this.#early.push({ from, epoch, message })
      if (epoch !== this.#epoch.number) this.#tell(from)
      return
    }
    const signer = this.#members.indexOf(from)
    if (signer !== -1) this.#post({ kind: 'message', from: signer, message })
  }

  #tell(other: number): void {
    const { nowMs } = this.#options.world
    if (nowMs < (this.#told.get(other) ?? Number.NEGATIVE_INFINITY) + TELL_MS) return
    this.#told.set(other, nowMs)
    this.#options.surroundings.meet(this.index, other)
  }

  submit(tx: Uint8Array): void {
    if (!this.#alive) return
    const checked = this.#options.executions.application.check(this.state, tx, this.#clockMs())
    if (!checked.ok || this.#mempool.has(checked.id)) return
    this.#mempool.set(checked.id, tx)
    this.#propose(false)
    this.#post({ kind: 'pending' })
  }

  /** A block by digest, for a peer. */
  find(digest: Digest): Block | undefined {
    if (!this.#alive) return undefined
    return this.#chain.block(digest) ?? this.records.findLast(({ block }) => block.digest === digest)?.block
  }

  takeBlock(block: Block): void {
    if (!this.#alive || this.#handingOver) return
    // Whoever asked knows the digest; what came back may be anything.
    const { digest } = makeBlock(block, this.#epoch.scheme.hash)
    this.#chain.learn({ ...block, digest })
    this.#post({ kind: 'block', block })
    this.#judgeAgain()
  }

  /** Final blocks that a peer hands over. Believed by hash links and certificates, not by who sent them. */
  takeRun(run: readonly BlockRecord[]): void {
    if (!this.#alive || this.#handingOver) return
    const tip = this.#chain.tip.block
    const held = run.filter(({ block }) => block.height > tip.height)
    let parent = tip
    for (const { block } of held) {
      if (block.parent !== parent.digest || block.height !== parent.height + 1) return
      parent = block
    }
    // What follows the end of an epoch is certified by others, who are known once it is applied.
    const boundary = held.findIndex(({ closing }) => closing !== undefined)
    const end = boundary === -1 ? held.findLastIndex(({ certificate }) => certificate !== undefined) : boundary
    const last = held[end]
    if (last?.certificate === undefined || !proves(last) || !this.#epochs.certifies(last)) return
    const blocks = held.slice(0, end + 1).map(({ block }) => block)
    this.#finalize(blocks, last.certificate, last.closing)
    if (last.closing === undefined) this.#post({ kind: 'synced', block: last.block, certificate: last.certificate })
  }

  #clockMs(): number {
    return EPOCH_MS + this.#options.world.nowMs + this.#options.clockSkewMs
  }

  // The voter

  #post(event: VoterEvent): void {
    if (!this.#alive || this.#voter === undefined || this.#handingOver) return
    this.#events.push(event)
    if (this.#stepping) return
    this.#stepping = true
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      for (const effect of this.#voter.step(next, this.#clockMs())) this.#perform(effect)
    }
    this.#stepping = false
  }

  #perform(effect: Effect): void {
    // What a voter says after its epoch ended is about closing blocks, and binds nobody.
    if (this.#handingOver) return
    if (effect.kind === 'send' && this.#options.mutation.sendsBeforeSync === true) this.#send(effect.to, effect.message)
    else if (effect.kind === 'persist' || effect.kind === 'send') {
      if (effect.kind === 'persist' && effect.record.kind === 'proposal') this.#chain.learn(effect.record.proposal.block)
      this.#pending.push(effect)
      this.#syncLater()
    } else if (effect.kind === 'timer') this.#setTimer(effect.round, effect.afterMs)
    else if (effect.kind === 'propose') this.#onPropose(effect.round, effect.parent)
    else if (effect.kind === 'verify') this.#judge(effect.block, effect.parent)
    else if (effect.kind === 'finalized') this.#finalize(effect.blocks, effect.certificate, undefined)
    else if (effect.kind === 'fetch')
      this.#options.surroundings.fetch(this.index, effect.digest, this.#members[effect.from] ?? this.index)
    else if (effect.kind === 'evidence') this.#accuse(effect.evidence)
  }

  #accuse(evidence: Evidence): void {
    const accused = this.#members[evidence.validator] as number
    const name = `${this.#epoch.number} ${accused}`
    if (this.#accused.has(name)) return
    this.#accused.add(name)
    this.#options.surroundings.onEvidence(this.index, this.#epoch.number, accused, evidence)
  }

  #send(to: number | 'all', message: Message): void {
    const targets = to === 'all' ? this.#members : [this.#members[to] ?? this.index]
    this.#options.surroundings.send(this.index, targets, this.#epoch.number, message)
  }

  /** Runs later, unless the node crashed meanwhile. */
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
      this.#sync()
    })
  }

  #sync(): void {
    const ready = this.#pending
    this.#pending = []
    this.#durable = Math.max(this.#durable, this.#written)
    this.#write(ready)
    for (const effect of ready) if (effect.kind === 'send') this.#send(effect.to, effect.message)
  }

  #setTimer(round: number, afterMs: number): void {
    this.#timer += 1
    const timer = this.#timer
    this.#later(afterMs, () => {
      if (timer === this.#timer) this.#post({ kind: 'timeout', round })
    })
  }

  // Leading

  #onPropose(round: number, parent: Block): void {
    this.#chain.learn(parent)
    this.#asked = { round, parent }
    const asked = this.#asked
    this.#later(this.#options.timing.heartbeatMs, () => {
      if (this.#asked === asked) this.#propose(true)
    })
    this.#propose(false)
  }

  #propose(evenEmpty: boolean): void {
    const asked = this.#asked
    if (asked === undefined || this.#handingOver) return
    const execution = this.#chain.execute(asked.parent.digest)
    if (execution.kind !== 'executed') return
    const { executed } = execution
    const timestampMs = Math.floor(Math.max(this.#clockMs(), asked.parent.timestampMs + 1))
    const context = { height: asked.parent.height + 1, timestampMs, proposer: `n${this.index}` }
    const ends = this.#chain.ends(executed)
    const { application } = this.#options.executions
    const chosen = ends ? [] : application.prepare(executed.state, [...this.#mempool.values()], context, BLOCK_BYTES_MAX)
    if (chosen.length === 0 && !evenEmpty && !ends) return
    const payload = this.#chain.compose(executed, chosen, context)
    if (payload === undefined) return
    this.#asked = undefined
    this.#post({ kind: 'proposed', round: asked.round, payload, timestampMs })
  }

  // Judging

  #judge(block: Block, parent: Block): void {
    this.#chain.learn(parent)
    this.#chain.learn(block)
    if (block.timestampMs > this.#clockMs() + AHEAD_MS_MAX) {
      this.#post({ kind: 'verified', digest: block.digest, valid: false })
      return
    }
    const execution = this.#chain.execute(block.digest)
    if (execution.kind === 'unknown') {
      this.#unjudged = [...this.#unjudged.slice(-8), block]
      this.#options.surroundings.fetch(this.index, execution.digest, this.#members[block.proposer] ?? this.index)
      return
    }
    const executed = execution.kind === 'executed' ? execution.executed : undefined
    if (executed !== undefined) this.#options.executions.learn(block.digest, executed.state)
    const valid = executed !== undefined || this.#options.mutation.acceptsAnything === true
    this.#post({ kind: 'verified', digest: block.digest, valid })
    // The end of an epoch is work for whoever leads next.
    if (executed !== undefined && this.#chain.ends(executed)) this.#post({ kind: 'pending' })
  }

  #judgeAgain(): void {
    const waiting = this.#unjudged
    this.#unjudged = []
    for (const block of waiting) {
      const parent = this.#chain.block(block.parent)
      if (parent !== undefined) this.#judge(block, parent)
      else if (block.height > this.height) this.#unjudged.push(block)
    }
    this.#propose(false)
  }

  // Final blocks

  #finalize(blocks: readonly Block[], certificate: Certificate, closing: readonly Block[] | undefined): void {
    const { surroundings, executions } = this.#options
    const { fresh, records, obstacle } = advanceOver(this.#chain, blocks, certificate, closing)
    for (const [i, executed] of fresh.entries()) {
      executions.learn(executed.block.digest, executed.state)
      this.records.push(records[i] as BlockRecord)
      surroundings.onFinal(this.index, executed, certificate)
      for (const { id } of executed.results) this.#mempool.delete(id)
    }
    if (obstacle !== undefined && obstacle.kind !== 'gap') surroundings.onObstacle(this.index, obstacle)
    const last = records.at(-1)
    if (last === undefined) return
    if (last.closing !== undefined) {
      this.#endEpoch(records, this.#epochs.end(last))
      return
    }
    this.#written = this.records.length
    this.#syncLater()
    this.#afterBlocks()
  }

  #afterBlocks(): void {
    const { application } = this.#options.executions
    for (const [id, tx] of this.#mempool) if (!application.check(this.state, tx, this.#clockMs()).ok) this.#mempool.delete(id)
    this.#judgeAgain()
    if (this.#mempool.size > 0) this.#later(0, () => this.#post({ kind: 'pending' }))
  }

  // Epochs

  #endEpoch(records: readonly BlockRecord[], next: Epoch): void {
    this.#handingOver = true
    this.#events = []
    this.#asked = undefined
    this.#unjudged = []
    this.#timer += 1
    const steps = [...handOverSteps(records, next.number)]
    if (this.#options.mutation.speaksBeforeBoundary === true) this.#enter(next)
    const go = (): void => {
      this.#step = steps.shift()
      const { world, mutation } = this.#options
      if (this.#step === undefined) {
        if (mutation.speaksBeforeBoundary !== true) this.#enter(next)
        return
      }
      this.#later(world.random.next() * SYNC_MS_MAX, () => {
        this.#take(this.#step as DiskStep)
        go()
      })
    }
    go()
  }

  #take(step: DiskStep): void {
    if (step.kind === 'votes') {
      if (this.#alive) this.#sync()
    } else if (step.kind === 'journal') {
      if (!this.#journals.has(step.epoch)) this.#journals.set(step.epoch, [])
    } else if (step.kind === 'blocks') {
      const last = step.records.at(-1)?.block.height ?? 0
      this.#written = last
      this.#durable = last
    } else this.#removeJournals(step.before)
  }

  #enter(next: Epoch): void {
    this.#pending = []
    this.#handingOver = false
    const journal = (this.#journals.get(next.number) ?? []).filter((record) => roundOf(record) > next.base.round)
    this.#begin(next, journal)
    this.#post({ kind: 'start' })
    const early = this.#early
    this.#early = []
    for (const { from, epoch, message } of early) this.hear(from, epoch, message)
    this.#afterBlocks()
  }
}

function roundOf(record: JournalRecord): number {
  if (record.kind === 'vote') return record.vote.round
  return record.kind === 'proposal' ? record.proposal.block.round : record.certificate.round
}
