/**
 * The shell around the voter: performs its effects in order, on disk, wire and clock.
 *
 * - `persist` goes to the journal; `send` waits until every persist before it is on disk; the voter steps on meanwhile.
 * - `propose` and `verify` ask the application, on the state after the parent block.
 * - `finalized` goes to the block log; state, handlers and submitters learn of a block only when it is on disk.
 *
 * A peer may send anything: its messages wait in its own bounded queue, its statements are verified by the voter, its
 * blocks by hash link and certificate, its transactions by the application.
 */

import type { Block, Certificate, Effect, Message, VoterEvent } from '@ringwall/consensus'
import { decodeMessage, proposalHead, quorumOf, type Voter } from '@ringwall/consensus'
import { type DirectoryLock, StoreCorrupt } from '@ringwall/store'
import { Accusations, type Accused } from './accusations.ts'
import { BlockFetcher } from './block-fetcher.ts'
import { AHEAD_MS_MAX, BlockJudge } from './block-judge.ts'
import type { BlockLog } from './block-log.ts'
import type { BlockRecord } from './block-record.ts'
import { Broadcast, voterMessage } from './broadcast.ts'
import { Malformed } from './bytes.ts'
import { CatchUp } from './catch-up.ts'
import type { Chain, Executed } from './chain.ts'
import { CONFLICT_FILE, conflictOf, hasConflict, isOneRound, keepConflict } from './conflict.ts'
import { EarlyMessages } from './early-messages.ts'
import { type Epoch, type Epochs, isAlone, voterFor } from './epochs.ts'
import { LedgerError } from './errors.ts'
import { advanceOver, handOverSteps } from './hand-over.ts'
import { History } from './history.ts'
import { Intake } from './intake.ts'
import { Journal, roundOf } from './journal.ts'
import { Leader } from './leader.ts'
import { endForgetting } from './marks.ts'
import { DEFAULTS, type LedgerFault, type LedgerOptions } from './options.ts'
import { Outbox } from './outbox.ts'
import type { Validator } from './payload.ts'
import { MUTED_MS, Peers } from './peers.ts'
import { ProposalOffers } from './proposal-offers.ts'
import { sha256 } from './scheme.ts'
import { Silence } from './silence.ts'
import { type Anchor, type Snapshot, type SnapshotFile, writeSnapshot } from './snapshot-file.ts'
import { Snapshots } from './snapshots.ts'
import type { Submissions } from './submissions.ts'
import { encodeStatus, parseRequest, type TipStatus } from './sync-codec.ts'
import { SyncServer } from './sync-server.ts'
import { TAG } from './tags.ts'
import { TipExchange } from './tip-exchange.ts'
import { TransactionPool } from './transaction-pool.ts'
import type { Application, Committed, FinalBlock, Ledger, LedgerStatus } from './types.ts'

const ASK_MS = 3000
const MEMPOOL_COUNT_MAX = 10_000
const MEMPOOL_BYTES_MAX: number = 32 * 1024 * 1024
/** Of a lie that costs the check of a signature, and of a request that costs its refusal. */
const FORGED_WEIGHT = 5
const UNASKED_WEIGHT = 0.25
const SNAPSHOT_BLOCKS = 10_000
const SNAPSHOT_BYTES: number = 64 * 1024 * 1024
const PROGRESS_EVERY_MS = 2000

/** What `openLedger` found on disk and made ready. */
export interface LedgerParts<S> {
  readonly options: LedgerOptions<S>
  readonly lock: DirectoryLock
  readonly blocks: BlockLog
  readonly epochs: Epochs
  /** Of the tip's children. */
  readonly epoch: Epoch
  /** Of `epoch`. */
  readonly journal: Journal
  readonly chain: Chain<S>
  /** Undefined for a node that follows. */
  readonly voter: Voter | undefined
  readonly repairs: readonly string[]
  readonly submissions: Submissions
  /** This validator may have signed what it no longer knows of, in rounds up to this one: it says nothing in them. */
  readonly silentThroughRound: number
  /** Nothing is known of what this validator ever signed: it listens first, see `#wake`. */
  readonly isBlank: boolean
  /** The newest on disk. */
  readonly snapshot: SnapshotFile | undefined
}

export class LedgerShell<S> implements Ledger<S> {
  readonly #parts: LedgerParts<S>
  readonly #application: Application<S>
  #epoch: Epoch
  readonly #offers = new ProposalOffers()
  #validators: readonly string[] = []
  #voter: Voter | undefined
  #journal: Journal
  readonly #now: () => number
  readonly #log: (level: 'info' | 'warn', line: string) => void
  readonly #pool: TransactionPool<S>
  readonly #leader: Leader<S>
  readonly #judge: BlockJudge<S>
  readonly #peers: Peers
  #toldWaiting = false
  readonly #intake: Intake
  readonly #broadcast: Broadcast
  readonly #fetcher: BlockFetcher
  readonly #catchUp: CatchUp
  readonly #tips: TipExchange
  readonly #snapshots: Snapshots<S>
  readonly #server: SyncServer
  readonly #history: History<S>

  /** The last block whose consequences are visible: on disk, not only final. */
  #visible: Executed<S>
  #visibleProof: Certificate | undefined
  /** Between the visible block and the block that its proof names. */
  #visibleClosing: readonly Block[] = []
  /** Proof of the last final block, on disk or on the way there. */
  #tipProof: Certificate | undefined
  #certifiedAtMs: number | undefined
  #round = 0

  #events: VoterEvent[] = []
  #stepping = false
  readonly #outbox = new Outbox()
  #settling: Promise<void> = Promise.resolve()
  #roundTimer: NodeJS.Timeout | undefined
  #tick: NodeJS.Timeout | undefined
  /** The epoch has ended, and the next has not begun here yet. */
  #handingOver = false
  readonly #early = new EarlyMessages()
  #handlers = new Set<(block: FinalBlock<S>) => void>()
  readonly #accusations: Accusations
  readonly #silence: Silence
  #progressAtMs = Number.NEGATIVE_INFINITY
  #stopped: LedgerError | undefined
  #stopping: Promise<void> | undefined

  constructor(parts: LedgerParts<S>) {
    const { options } = parts
    this.#parts = parts
    this.#application = options.application
    this.#epoch = parts.epoch
    this.#validators = parts.epoch.validators.map(({ id }) => id)
    this.#voter = parts.voter
    this.#journal = parts.journal
    this.#now = options.now ?? Date.now
    this.#log = options.log ?? (() => {})
    this.#peers = new Peers(() => options.fabric.links())
    this.#accusations = new Accusations({
      directory: options.directory,
      seal: options.seal,
      show: options.onEvidence,
      isStopped: () => this.#stopped !== undefined,
      log: this.#log,
    })
    this.#silence = new Silence(parts.silentThroughRound, parts.isBlank, this.#now() + AHEAD_MS_MAX)
    this.#visible = parts.chain.tip
    this.#tipProof = parts.blocks.tip.certificate
    this.#visibleProof = this.#tipProof
    this.#visibleClosing = parts.blocks.tip.closing ?? []
    this.#intake = new Intake({
      peers: this.#peers,
      isStopped: () => this.#stopped !== undefined,
      isHeld: () => this.#handingOver,
      handle: (from, payload) => this.#handle(from, payload),
      transaction: (from, tx) => this.#pool.receive(from, tx),
      fault: (from, what) => this.#fault(from, what),
      warn: (line) => this.#log('warn', line),
    })
    this.#broadcast = new Broadcast({
      fabric: options.fabric,
      peers: this.#peers,
      validators: () => this.#validators,
      isStopped: () => this.#stopped !== undefined,
    })
    this.#fetcher = new BlockFetcher({
      connected: () => this.#peers.connected(),
      ask: (peer, request) => this.#ask(peer, request),
      isStopped: () => this.#stopped !== undefined,
      fetched: (block) => this.#onFetched(block),
      missing: () => this.#tips.withAll(),
      fault: (peer, what) => this.#fault(peer, what),
    })
    this.#catchUp = new CatchUp({
      ask: (peer, request) => this.#ask(peer, request),
      tip: () => parts.chain.tip.block,
      certifies: (record) => parts.epochs.certifies(record),
      epoch: () => ({ number: parts.epochs.current.number, height: parts.epochs.current.base.height }),
      endEpoch: (boundary) => void parts.epochs.end(boundary),
      install: (snapshot, anchor) => this.#install(snapshot, anchor),
      monotonicMs: () => performance.now(),
      progress: (height, bytes, ofBytes) => this.#showProgress(height, bytes, ofBytes),
      apply: (records, certificate) => this.#applyFetched(records, certificate),
      conflict: (certificate, peer) => this.#conflict(certificate, peer),
      fault: (peer, what) => this.#fault(peer, what),
    })
    this.#tips = new TipExchange({
      self: options.self,
      peers: this.#peers,
      epochs: parts.epochs,
      catchUp: this.#catchUp,
      ask: (peer, request) => this.#ask(peer, request),
      isStopped: () => this.#stopped !== undefined,
      own: () => this.#ownStatus(),
      tip: () => parts.chain.tip.block,
      unborn: (peer) => {
        if (this.#silence.hearsUnborn(peer, this.#validators.length)) this.#wake(true)
      },
      ahead: () => {
        if (this.#silence.asleep) this.#wake(false)
      },
      conflict: (certificate, peer) => this.#conflict(certificate, peer),
      fault: (peer, what) => this.#fault(peer, what),
      info: (line) => this.#log('info', line),
    })
    this.#snapshots = new Snapshots({
      directory: options.directory,
      application: options.application,
      blocks: parts.blocks,
      epochs: parts.epochs,
      everyBlocks: options.snapshotBlocks ?? SNAPSHOT_BLOCKS,
      everyBytes: SNAPSHOT_BYTES,
      keepBlocks: options.keepBlocks,
      latest: parts.snapshot,
      seal: options.seal,
      log: this.#log,
    })
    this.#pool = new TransactionPool({
      application: options.application,
      submissions: parts.submissions,
      countMax: options.mempoolCountMax ?? MEMPOOL_COUNT_MAX,
      bytesMax: options.mempoolBytesMax ?? MEMPOOL_BYTES_MAX,
      state: () => this.#visible.state,
      now: this.#now,
      spread: (txs, to) => (to === undefined ? this.#broadcast.spread(txs) : this.#broadcast.sendTxs([to], txs)),
      onWaiting: () => this.#onWaiting(),
      late: (timeoutMs) => this.#noQuorum(timeoutMs),
      lie: (from, what) => this.#fault(from, what, FORGED_WEIGHT),
      unwelcome: (from, weight) => this.#unwelcome(from, weight),
    })
    this.#leader = new Leader({
      application: options.application,
      chain: parts.chain,
      pool: this.#pool,
      self: options.self,
      roundMs: options.roundMs ?? DEFAULTS.roundMs,
      heartbeatMs: options.heartbeatMs ?? DEFAULTS.heartbeatMs,
      validators: () => this.#validators,
      connected: () => this.#peers.connected(),
      now: this.#now,
      isFresh: () => this.#certifiedAtMs !== undefined,
      isStopped: () => this.#stopped !== undefined,
      fetch: (digest, from) => this.#fetch(digest, from),
      proposed: (round, payload, timestampMs) => this.#post({ kind: 'proposed', round, payload, timestampMs }),
      warn: (line) => this.#log('warn', line),
    })
    this.#judge = new BlockJudge({
      application: options.application,
      chain: parts.chain,
      state: () => this.#visible.state,
      validators: () => this.#validators,
      epoch: () => (this.#stopped === undefined && !this.#handingOver ? this.#epoch : undefined),
      now: this.#now,
      mayWarn: (validator) => this.#peers.mayWarn(validator, performance.now()),
      warn: (line) => this.#log('warn', line),
      fetch: (digest, proposer) => this.#fetch(digest, proposer),
      judged: (digest, valid) => this.#post({ kind: 'verified', digest, valid }),
      // Work for whoever leads next.
      ends: () => this.#post({ kind: 'pending' }),
    })
    const { blocks, chain, epochs } = parts
    this.#server = new SyncServer({ blocks, chain, epochs, snapshots: this.#snapshots })
    this.#history = new History({ ...options, blocks, epochs })
  }

  start(): void {
    const { fabric } = this.#parts.options
    fabric.onMessage('consensus', (from, payload) => this.#intake.receive(from, payload))
    fabric.onRequest('sync', (from, payload) => this.#answer(from, payload))
    fabric.onLink(({ id, connected }) => {
      this.#peers.refresh()
      this.#broadcast.relinked(id)
      if (connected) this.#greet(id)
    })
    if (hasConflict(this.#parts.options.directory)) {
      this.#halt(
        `${CONFLICT_FILE} in ${this.#parts.options.directory} proves two histories of this ring: find out which one is true, then move the file away and start again`,
      )
      return
    }
    this.#accusations.recall()
    this.#tick = setInterval(() => this.#onTick(), this.#syncMs)
    for (const id of this.#peers.connected()) this.#greet(id)
    this.#post({ kind: 'start' })
  }

  status(): LedgerStatus {
    const { block, state } = this.#visible
    const reachable = new Set([this.#parts.options.self, ...this.#peers.reachable(performance.now())])
    return {
      height: block.height,
      round: this.#round,
      digest: block.digest,
      root: this.#application.root(state),
      epoch: this.#epoch.number,
      role: this.#voter === undefined ? 'follower' : 'validator',
      timestampMs: block.timestampMs,
      certifiedAtMs: this.#certifiedAtMs,
      lag: Math.max(0, this.#peers.highest() - block.height),
      validators: this.#validators.length,
      quorum: quorumOf(this.#validators.length),
      reachable: this.#validators.filter((id) => reachable.has(id)),
      unreachable: this.#validators.filter((id) => !reachable.has(id)),
      mempool: this.#pool.size,
      syncing: this.#catchUp.running,
      firstHeight: this.#parts.blocks.first,
      bytes: this.#parts.blocks.bytes,
      snapshotHeight: this.#snapshots.latest?.height ?? 0,
      evidence: this.#accusations.named,
      muted: this.#peers.muted(performance.now()),
      repairs: this.#parts.repairs,
      halted: this.#stopped?.code === 'LEDGER_HALTED' ? this.#stopped.message : undefined,
      votes: this.#voter !== undefined && this.#silence.speaks,
    }
  }

  state(): S {
    return this.#visible.state
  }

  async submit(tx: Uint8Array, timeoutMs: number): Promise<Committed> {
    if (this.#stopped !== undefined) throw this.#stopped
    return this.#pool.submit(tx, timeoutMs)
  }

  async block(height: number): Promise<FinalBlock<S> | Omit<FinalBlock<S>, 'state' | 'results'> | undefined> {
    const { blocks, chain } = this.#parts
    if (height > this.#visible.block.height) return undefined
    if (height === this.#visible.block.height && this.#visibleProof !== undefined) {
      return { ...this.#visible, certificate: this.#visibleProof }
    }
    const record = await blocks.read(height)
    const certificate = await blocks.certificateFor(height)
    if (record === undefined || certificate === undefined) return undefined
    return { block: record.block, txs: chain.txsOf(record.block), certificate }
  }

  validatorsAt(height: number): readonly Validator[] {
    return this.#parts.epochs.at(height).validators
  }

  stateAt(height: number): Promise<{ readonly state: S; readonly proof: Uint8Array } | undefined> {
    return this.#history.stateAt(height, this.#visible.block.height)
  }

  onBlock(handler: (block: FinalBlock<S>) => void): () => void {
    this.#handlers.add(handler)
    return () => this.#handlers.delete(handler)
  }

  stop(): Promise<void> {
    this.#stopped ??= new LedgerError('LEDGER_STOPPED', 'the ledger was stopped')
    this.#stopping ??= this.#close()
    return this.#stopping
  }

  async #close(): Promise<void> {
    this.#quiet()
    if (this.#stopped !== undefined) this.#parts.submissions.failAll(this.#stopped)
    await this.#settling
    await this.#accusations.kept()
    await this.#snapshots.stop()
    await this.#journal.close()
    await this.#parts.blocks.close()
    await this.#parts.lock.release()
  }

  #quiet(): void {
    clearTimeout(this.#roundTimer)
    this.#leader.forget()
    clearInterval(this.#tick)
    this.#events = []
    this.#outbox.clear()
  }

  /** Nothing is accepted any more: going on could make it worse. */
  #halt(reason: string, cause?: unknown): void {
    if (this.#stopped !== undefined) return
    this.#stopped = new LedgerError('LEDGER_HALTED', `the ledger stopped accepting: ${reason}`, {}, { cause })
    this.#log('warn', `LEDGER HALTED at height ${this.#visible.block.height}: ${reason}`)
    this.#quiet()
    this.#parts.submissions.failAll(this.#stopped)
  }

  // The voter

  #post(event: VoterEvent): void {
    if (this.#stopped !== undefined || this.#silence.asleep || this.#voter === undefined || this.#handingOver) return
    this.#events.push(event)
    if (this.#stepping) return
    this.#stepping = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        for (const effect of this.#voter.step(next, this.#now())) this.#perform(effect)
      }
    } catch (error) {
      this.#halt('the voter failed, which is a defect in Ringwall', error)
    } finally {
      this.#stepping = false
    }
    this.#round = this.#voter.status().round
  }

  /**
   * A validator with an empty folder is new, or has lost what it signed. It is new when one honest peer holds that nothing is
   * final yet, and speaks at once; else it counts as one that forgot, and is silent until the ring has gone on without it.
   */
  #wake(isNew: boolean): void {
    this.#silence.wake(isNew)
    if (isNew) void endForgetting(this.#parts.options.directory)
    else if (this.#voter !== undefined)
      this.#log(
        'warn',
        'this validator’s folder was empty and the ring is not new: it does not vote until the ring has gone on without it',
      )
    this.#post({ kind: 'start' })
    if (this.#pool.size > 0) this.#onWaiting()
  }

  #perform(effect: Effect): void {
    // What a voter says after its epoch ended is about closing blocks, and binds nobody.
    if (this.#stopped !== undefined || this.#handingOver) return
    if (effect.kind === 'persist') this.#persist(effect)
    else if (effect.kind === 'send') this.#outbox.send(() => this.#send(effect.to, effect.message))
    else if (effect.kind === 'timer') this.#setRoundTimer(effect.round, effect.afterMs)
    else if (effect.kind === 'propose') this.#leader.ask(effect.round, effect.parent)
    else if (effect.kind === 'verify') this.#judge.judge(effect.block, effect.parent)
    else if (effect.kind === 'finalized') this.#finalize(effect.blocks, effect.certificate)
    else if (effect.kind === 'fetch') this.#fetch(effect.digest, effect.from)
    else this.#accusations.accuse(effect.evidence, this.#accused)
  }

  #persist(effect: Extract<Effect, { kind: 'persist' }>): void {
    // Its own block too: what others build on it has to be judged.
    if (effect.record.kind === 'proposal') this.#parts.chain.learn(effect.record.proposal.block)
    this.#outbox.wait(this.#journal.append(effect.record), (error) => this.#halt(error.message, error))
  }

  #send(to: 'all' | number, message: Message): void {
    if (this.#stopped !== undefined) return
    if (this.#silence.covers(message, this.#validators.indexOf(this.#parts.options.self))) return
    this.#broadcast.send(to, this.#epoch.number, message)
  }

  #setRoundTimer(round: number, afterMs: number): void {
    clearTimeout(this.#roundTimer)
    this.#roundTimer = setTimeout(() => this.#post({ kind: 'timeout', round }), afterMs)
  }

  /** Something waits to be ordered. The voter hears so once a turn, and again after each block. */
  #onWaiting(): void {
    this.#leader.offer()
    if (this.#toldWaiting) return
    this.#toldWaiting = true
    setImmediate(() => {
      this.#toldWaiting = false
    })
    this.#post({ kind: 'pending' })
  }

  // Judging

  #judgeAgain(): void {
    this.#judge.again()
    this.#leader.offer()
  }

  /** Who agrees now, for those who look for whoever is gone. */
  get #accused(): Accused {
    return { epoch: this.#epoch.number, validators: this.#validators }
  }

  // Final blocks

  /**
   * Blocks already final are skipped: the voter and catching up may both bring them. `certificate` is of the last of `blocks`
   * or, when that one ends an epoch, of the last of `closing`. Resolves once all are visible.
   */
  #finalize(blocks: readonly Block[], certificate: Certificate, closing?: readonly Block[]): Promise<void> {
    const { chain, blocks: log } = this.#parts
    this.#toldWaiting = false
    const { fresh, records, obstacle } = advanceOver(chain, blocks, certificate, closing)
    for (const executed of fresh) this.#pool.land(executed)
    if (obstacle?.kind === 'gap') this.#tips.withAll()
    else if (obstacle?.kind === 'conflict') this.#conflict(certificate, 'this node')
    else if (obstacle?.kind === 'invalid') {
      const { height, reason } = obstacle
      this.#halt(`block ${height} is final and yet invalid here (${reason}): this node's software differs from the others'`)
    }
    const last = records.at(-1)
    if (last === undefined || this.#stopped !== undefined) return this.#settling
    this.#tipProof = certificate
    const next = last.closing === undefined ? undefined : this.#endEpoch(last)
    const persisted = this.#outbox.written
    const append =
      next === undefined ? Promise.all([log.append(records), persisted]) : this.#appendBoundary(records, next, persisted)
    append.catch(() => {})
    // Kept in a chain, so that a block is visible after its parent, whatever the order of answers from the disk.
    this.#settling = this.#settling.then(async () => {
      try {
        await append
      } catch (error) {
        return this.#halt((error as Error).message, error)
      }
      if (next !== undefined) this.#enter(next)
      for (const [i, executed] of fresh.entries()) this.#settle(executed, certificate, records[i] as BlockRecord)
      if (next !== undefined) await this.#begin(next)
      this.#afterBlocks()
    })
    return this.#settling
  }

  // Epochs

  /** The voter says no more: all that matters is final. */
  #endEpoch(boundary: BlockRecord): Epoch {
    this.#hush()
    return this.#parts.epochs.end(boundary)
  }

  #hush(): void {
    this.#handingOver = true
    this.#events = []
    this.#leader.forget()
    this.#judge.forget()
    clearTimeout(this.#roundTimer)
  }

  async #appendBoundary(records: readonly BlockRecord[], next: Epoch, persisted: Promise<void>): Promise<void> {
    const { directory, seal } = this.#parts.options
    const ended = this.#journal
    let begun = ended
    for (const step of handOverSteps(records, next.number)) {
      if (step.kind === 'votes') await persisted
      else if (step.kind === 'journal') begun = await Journal.open(directory, step.epoch, seal)
      else if (step.kind === 'blocks') await this.#parts.blocks.append(step.records)
      else {
        this.#journal = begun
        await ended.close()
        await Journal.removeBefore(directory, step.before)
      }
    }
  }

  #enter(epoch: Epoch): void {
    const { options } = this.#parts
    this.#epoch = epoch
    this.#offers.clear()
    this.#validators = epoch.validators.map(({ id }) => id)
    this.#outbox.clear()
    this.#log(
      'info',
      `epoch ${epoch.number} begins after block ${epoch.base.height}: ${this.#validators.join(', ')} agree from here on`,
    )
    if (this.#voter !== undefined && !this.#validators.includes(options.self))
      this.#log('info', 'this node is no validator any more: it follows the others')
  }

  /** The voter of the epoch that was entered. */
  async #begin(epoch: Epoch): Promise<void> {
    const { options, blocks, chain } = this.#parts
    if (isAlone(epoch, options.self)) {
      this.#silence.lift()
      void endForgetting(options.directory)
    }
    const restored = this.#journal.restored.filter((record) => roundOf(record) > blocks.tip.block.round)
    for (const record of restored) if (record.kind === 'proposal') chain.learn(record.proposal.block)
    try {
      this.#voter = voterFor(epoch, options, blocks.tip, restored)
    } catch (error) {
      this.#voter = undefined
      this.#log('warn', (error as Error).message)
    }
    this.#handingOver = false
    this.#post({ kind: 'start' })
    for (const { from, payload } of this.#early.take()) this.#handle(from, payload)
    this.#intake.resume()
  }

  #settle(executed: Executed<S>, certificate: Certificate, record: BlockRecord): void {
    const { block } = executed
    if (this.#silence.asleep) this.#wake(false)
    this.#visible = executed
    this.#visibleProof = certificate
    this.#visibleClosing = record.closing ?? []
    this.#history.add(executed)
    this.#certifiedAtMs = this.#now()
    if (this.#silence.endsWith(block.round, block.timestampMs)) void endForgetting(this.#parts.options.directory)
    this.#pool.settle(executed)
    this.#snapshots.onVisible(executed, record.certificate !== undefined)
    const final: FinalBlock<S> = { ...executed, certificate }
    for (const handler of this.#handlers) {
      try {
        handler(final)
      } catch (error) {
        this.#log('warn', `a handler of block ${block.height} failed: ${(error as Error).message}`)
      }
    }
  }

  #afterBlocks(): void {
    if (this.#stopped !== undefined) return
    this.#pool.recheck()
    this.#judgeAgain()
    if (this.#pool.size > 0) this.#onWaiting()
    if (this.#voter !== undefined) this.#broadcast.announce(this.#ownStatus())
    this.#journal.compact(this.#visible.block.round).catch((error) => this.#halt((error as Error).message, error))
  }

  #noQuorum(timeoutMs: number): LedgerError {
    const { reachable, unreachable, quorum, validators } = this.status()
    const enough = reachable.length >= quorum
    const state = `${reachable.length} of ${validators} validators are reachable and ${quorum} must agree`
    const missing = unreachable.length === 0 ? '' : `; missing: ${unreachable.join(', ')}`
    const advice = enough ? 'the ring is slow or cut: look again later' : 'bring one back, then look again'
    const message = `not final after ${timeoutMs} ms: ${state}${missing}. The transaction stays pending; ${advice}`
    return new LedgerError('NO_QUORUM', message, { missing: unreachable })
  }

  // Messages

  #handle(from: string, payload: Uint8Array): void {
    const tag = payload[0]
    if (tag === TAG.tip) {
      this.#tips.heard(from, payload.subarray(1))
      return
    }
    const said = voterMessage(payload)
    if (said === undefined) {
      this.#fault(from, `a message with tag ${tag}`)
      return
    }
    const { epoch, encoded } = said
    if (epoch !== this.#epoch.number) {
      this.#handleOther(from, epoch, payload)
      return
    }
    // Nodes that follow have no voice; one that was a validator may not know yet.
    const signer = this.#validators.indexOf(from)
    if (signer === -1) return
    const head = proposalHead(encoded)
    if (head !== undefined && this.#voter !== undefined) {
      const { round, finalizedRound } = this.#voter.status()
      const at = { validators: this.#validators.length, round, finalRound: finalizedRound }
      const weight = this.#offers.weigh(head, signer, encoded.length, at)
      if (weight > 0) {
        this.#fault(from, 'a proposal that is not its turn, too late, or the same again', weight, 'excess')
        return
      }
    }
    let message: Message
    try {
      message = decodeMessage(encoded, sha256)
    } catch (error) {
      this.#fault(from, (error as Error).message)
      return
    }
    const forged = this.#voter?.status().forged ?? 0
    this.#post({ kind: 'message', from: signer, message })
    // Checking a signature is what costs: who sends bad ones again and again is not listened to.
    if ((this.#voter?.status().forged ?? 0) > forged)
      this.#fault(from, `a ${message.kind} that its signer did not sign`, FORGED_WEIGHT, 'forged')
  }

  /** Whoever is in another epoch learns how far this node is, or this node how far it is. */
  #handleOther(from: string, epoch: number, payload: Uint8Array): void {
    if (epoch === this.#epoch.number + 1) this.#early.keep(from, payload)
    if (this.#peers.mayTell(from, performance.now())) void this.#tips.with(from)
  }

  /** Who lies again and again is not listened to for a while, and its link is read slowly, so that it costs next to nothing. */
  #fault(from: string, what: string, weight = 1, kind: LedgerFault['kind'] = 'malformed'): void {
    const atMs = performance.now()
    const isMuted = this.#peers.lie(from, atMs, weight)
    this.#parts.options.onFault?.({ peer: from, kind, what, isMuted })
    if (isMuted) {
      this.#parts.options.fabric.curb(from, MUTED_MS)
      this.#log(
        'warn',
        `${from} sent what no honest validator sends, again and again (${what}): it is not listened to for ${MUTED_MS / 1000} s`,
      )
    } else if (this.#peers.mayWarn(from, atMs)) this.#log('warn', `${from} sent what no honest validator sends: ${what}`)
  }

  #unwelcome(from: string, weight: number): void {
    if (!this.#peers.unwelcome(from, performance.now(), weight)) return
    this.#log(
      'warn',
      `${from} sent too many transactions that are final or refused: its transactions are dropped for ${MUTED_MS / 1000} s`,
    )
  }

  // Peers

  get #syncMs(): number {
    return this.#parts.options.syncMs ?? DEFAULTS.syncMs
  }

  #onTick(): void {
    if (this.#stopped !== undefined) return
    for (const gone of this.#peers.refresh()) this.#intake.remove(gone)
    this.#tips.look(performance.now(), this.#syncMs)
    this.#pool.recheck()
    if (this.#pool.resend()) this.#onWaiting()
    this.#accusations.showAgain(this.#accused)
  }

  #greet(id: string): void {
    if (this.#stopped !== undefined) return
    void this.#tips.with(id)
    if (this.#validators.includes(id)) this.#pool.greet(id)
  }

  async #ask(peer: string, request: Uint8Array): Promise<Uint8Array> {
    const answer = await this.#parts.options.fabric.request(peer, 'sync', request, ASK_MS)
    this.#peers.heard(peer, performance.now())
    return answer
  }

  #ownStatus(): TipStatus {
    const { height, digest } = this.#visible.block
    const { number: epoch } = this.#parts.epochs.at(height)
    return { epoch, height, digest, certificate: this.#visibleProof, closing: this.#visibleClosing }
  }

  #showProgress(height: number, bytes: number, ofBytes: number): void {
    const atMs = performance.now()
    if (atMs < this.#progressAtMs + PROGRESS_EVERY_MS) return
    this.#progressAtMs = atMs
    this.#log(
      'info',
      `snapshot after block ${height}: ${Math.round((100 * bytes) / Math.max(1, ofBytes))} % of ${ofBytes} bytes are here`,
    )
  }

  /** The snapshot is on disk before the blocks make way for it: a crash in between is mended at the next start. */
  async #install({ records, state }: Snapshot, anchor: Anchor): Promise<void> {
    let restored: S
    try {
      restored = this.#application.restore(state)
    } catch (error) {
      throw new Malformed(`a snapshot that cannot be read: ${(error as Error).message}`)
    }
    const root = this.#application.root(restored)
    if (root !== anchor.root)
      throw new Malformed(`a snapshot whose state is ${root.slice(0, 16)}…, not ${anchor.root.slice(0, 16)}…`)
    const { blocks, chain, epochs, options } = this.#parts
    const { height } = anchor.block
    if (this.#stopped !== undefined || chain.tip.block.height >= height) return
    const file = await writeSnapshot(options.directory, epochs.boundaries, records, [state], options.seal)
    await this.#settling
    if (this.#stopped !== undefined || chain.tip.block.height >= height) return
    const epoch = epochs.at(height + 1)
    const changes = epoch.number !== this.#epoch.number
    if (changes) {
      this.#hush()
      // As in a hand-over: the journal of the epoch is there before its blocks are.
      try {
        const journal = await Journal.open(options.directory, epoch.number, options.seal)
        await this.#outbox.written
        await this.#journal.close()
        this.#journal = journal
      } catch (error) {
        return this.#halt((error as Error).message, error)
      }
    }
    chain.restart({ block: anchor.block, txs: [], results: [], state: restored })
    this.#snapshots.adopt(file)
    try {
      await blocks.restart(anchor.block)
    } catch (error) {
      return this.#halt((error as Error).message, error)
    }
    if (changes) {
      await Journal.removeBefore(options.directory, epoch.number)
      this.#enter(epoch)
      await this.#begin(epoch)
    }
    this.#log('info', `took over the state after block ${height} from a snapshot of ${state.length} bytes`)
    await this.#applyFetched(records.slice(1), anchor.certificate)
  }

  async #applyFetched(records: readonly BlockRecord[], certificate: Certificate): Promise<void> {
    const last = records.at(-1)
    if (this.#handingOver) await this.#settling
    if (last === undefined || this.#stopped !== undefined) return
    const foreseen = this.#judge.foresee(records.map(({ block }) => block))
    if (foreseen !== undefined) {
      await foreseen
      if (this.#handingOver) await this.#settling
      if (this.#stopped !== undefined) return
    }
    // Only the last one's was verified; it proves those before it.
    const done = this.#finalize(
      records.map(({ block }) => block),
      certificate,
      last.closing,
    )
    if (last.closing === undefined && this.#stopped === undefined && this.#parts.chain.tip.block.digest === last.block.digest) {
      this.#post({ kind: 'synced', block: last.block, certificate })
    }
    await done
  }

  #fetch(digest: Block['digest'], from: number): void {
    void this.#fetcher.fetch(digest, this.#validators[from] ?? '')
  }

  #onFetched(block: Block): void {
    this.#parts.chain.learn(block)
    this.#post({ kind: 'block', block })
    this.#judgeAgain()
  }

  async #answer(from: string, payload: Uint8Array): Promise<Uint8Array> {
    const atMs = performance.now()
    if (this.#stopped !== undefined) throw this.#stopped
    if (!this.#peers.knows(from)) throw new LedgerError('LEDGER_CONFIG', `${from} is no peer`)
    this.#intake.addRequester(from)
    if (this.#peers.isMuted(from, atMs)) throw new LedgerError('LEDGER_HALTED', 'not listened to')
    if (!this.#intake.takesRequest(from, payload, atMs)) {
      this.#fault(from, 'requests beyond its budget', UNASKED_WEIGHT, 'excess')
      throw new LedgerError('LEDGER_HALTED', 'too many requests')
    }
    this.#peers.heard(from, atMs)
    const request = parseRequest(payload)
    if (request.kind === 'status') {
      this.#peers.asked(from, atMs)
      const answer = encodeStatus(this.#ownStatus())
      this.#tips.meet(from, request.tip)
      return answer
    }
    try {
      return await this.#server.answer(from, request)
    } catch (error) {
      // The peer asks another one; people have to know that this disk rots.
      if (error instanceof StoreCorrupt && this.#peers.mayWarn(from, atMs))
        this.#log('warn', `${error.message}: ${from} asked for it`)
      throw error
    }
  }

  /**
   * Two certificates for two histories: more validators lie than the ring can stand. Who signed both is named, and both are kept
   * on disk, for people to judge by: the ledger stays stopped until they did.
   */
  #conflict(certificate: Certificate, source: string): void {
    if (this.#stopped !== undefined) return
    const own = this.#tipProof
    const { height } = this.#parts.chain.tip.block
    if (own !== undefined) {
      const conflict = conflictOf(own, certificate, { height, epoch: this.#epoch.number, validators: this.#validators })
      if (isOneRound(conflict)) for (const name of conflict.signedBoth) this.#accusations.name(name, 'votes', certificate.round)
      keepConflict(this.#parts.options.directory, conflict).catch((error: Error) =>
        this.#log('warn', `the proof of two histories cannot be kept: ${error.message}`),
      )
    }
    this.#halt(
      `two certificates contradict each other at or after height ${height} (the other one from ${source}): more than a third of the validators lie`,
    )
  }
}
