/**
 * Fetches final blocks from a peer. Nothing of it is believed: hash links join the blocks to this node's tip, and a
 * certificate stands at the end, before anything is applied. One run at a time.
 */
import type { Block, Certificate } from '@ringwall/consensus'
import { type BlockRecord, checkLinks, proves } from './block-record.ts'
import { Malformed } from './bytes.ts'
import { type Anchor, anchorOf, type Snapshot, STATE_BYTES_MAX } from './snapshot-file.ts'
import { encodeRequest, PIECE_BYTES_MAX, parseRun, parseSnapshotOffer, RUN_BLOCKS_MAX, type SyncRequest } from './sync-codec.ts'

export interface CatchUpPorts {
  ask(peer: string, request: Uint8Array): Promise<Uint8Array>
  tip(): Block
  /** Is the record certified by the validators of its height, as far as the epochs are known? */
  certifies(record: BlockRecord): boolean
  /** Of the newest epoch that is known: its number, and the height of the block that it begins with. */
  epoch(): { readonly number: number; readonly height: number }
  /** Ends the newest epoch. @throws {Malformed} When its validators have not certified that. */
  endEpoch(boundary: BlockRecord): void
  /**
   * Goes on from a snapshot, if its state has the root that the anchor names. @throws {Malformed} When it has not.
   */
  install(snapshot: Snapshot, anchor: Anchor): Promise<void>
  monotonicMs(): number
  progress(height: number, bytes: number, ofBytes: number): void
  /** Resolves once the blocks are on disk. */
  apply(records: readonly BlockRecord[], certificate: Certificate): Promise<void>
  /** `certificate` is good and certifies a history that is not this node's. */
  conflict(certificate: Certificate, peer: string): void
  /** The peer answered with what no honest peer answers with. */
  fault(peer: string, what: string): void
}

/** Blocks held until a certificate for them arrives. */
const HELD_BLOCKS_MAX = 4096
const HELD_BYTES_MAX: number = 32 * 1024 * 1024
const PIECES_AT_ONCE = 8
/** A peer that gives less than this, for so long, is left for another. */
const BYTES_A_MS_MIN = 100
const SLOW_AFTER_MS = 15_000

export class CatchUp {
  readonly #ports: CatchUpPorts
  #running = false

  constructor(ports: CatchUpPorts) {
    this.#ports = ports
  }

  get running(): boolean {
    return this.#running
  }

  /**
   * Fetches all that `peer` has beyond the tip, after a snapshot when `seeksSnapshot`. Never rejects. `busy` when another run is
   * under way.
   */
  async from(peer: string, seeksSnapshot: boolean): Promise<'done' | 'busy' | 'failed'> {
    if (this.#running) return 'busy'
    this.#running = true
    try {
      if (seeksSnapshot) await this.#snapshot(peer)
      // Nothing, although the peer is ahead: the blocks that follow are gone there.
      if (!(await this.#run(peer)) && !seeksSnapshot && (await this.#snapshot(peer))) await this.#run(peer)
      return 'done'
    } catch (error) {
      if (error instanceof Malformed) this.#ports.fault(peer, error.message)
      return 'failed'
    } finally {
      this.#running = false
    }
  }

  /** False when the peer has no snapshot beyond the tip. */
  async #snapshot(peer: string): Promise<boolean> {
    const offer = parseOr(parseSnapshotOffer, await this.#ports.ask(peer, encodeRequest({ kind: 'snapshot' })))
    if (offer === undefined) return false
    const anchor = anchorOf(offer.records)
    const { height } = anchor.block
    if (height <= this.#ports.tip().height) return false
    const last = offer.records.at(-1) as BlockRecord
    await this.#epochs(peer, last.block.height)
    if (!this.#ports.certifies(last)) throw new Malformed('a snapshot whose certificate does not verify')
    if (offer.stateBytes > STATE_BYTES_MAX) throw new Malformed(`a snapshot of ${offer.stateBytes} bytes`)
    const pieces: Uint8Array[] = []
    let offset = 0
    const startedMs = this.#ports.monotonicMs()
    while (offset < offer.stateBytes) {
      const asked = Array.from({ length: PIECES_AT_ONCE }, (_, i) => offset + i * PIECE_BYTES_MAX).filter(
        (at) => at < offer.stateBytes,
      )
      const answers = await Promise.all(
        asked.map((at) => this.#ports.ask(peer, encodeRequest({ kind: 'piece', height, offset: at }))),
      )
      for (const [i, piece] of answers.entries()) {
        // The peer may have taken a newer snapshot meanwhile: the next try finds that one.
        if (piece.length === 0) throw new Error('the snapshot is gone')
        if (piece.length !== Math.min(PIECE_BYTES_MAX, offer.stateBytes - (asked[i] ?? 0)))
          throw new Malformed('a piece of another length')
        pieces.push(Uint8Array.from(piece))
        offset += piece.length
      }
      this.#ports.progress(height, offset, offer.stateBytes)
      const tookMs = this.#ports.monotonicMs() - startedMs
      if (tookMs > SLOW_AFTER_MS && offset / tookMs < BYTES_A_MS_MIN) throw new Error('the peer gives too slowly')
    }
    await this.#ports.install({ records: offer.records, state: Buffer.concat(pieces) }, anchor)
    return true
  }

  /** Learns which epochs ended before the block at `height`. */
  async #epochs(peer: string, height: number): Promise<void> {
    for (;;) {
      const { number } = this.#ports.epoch()
      const run = parseOr(parseRun, await this.#ports.ask(peer, encodeRequest({ kind: 'epochs', from: number })))
      const before = run.filter(({ block }) => block.height < height)
      for (const boundary of before) this.#ports.endEpoch(boundary)
      if (before.length === 0 || before.length < run.length) return
    }
  }

  /** False when the peer had nothing to give. */
  async #run(peer: string): Promise<boolean> {
    let any = false
    let held: BlockRecord[] = []
    for (;;) {
      const base = held.at(-1)?.block ?? this.#ports.tip()
      const request: SyncRequest = { kind: 'blocks', from: base.height + 1, count: RUN_BLOCKS_MAX }
      const run = parseOr(parseRun, await this.#ports.ask(peer, encodeRequest(request)))
      const [first] = run
      if (first === undefined) return any
      any = true
      if (first.block.height !== base.height + 1) throw new Malformed('an answer that begins at another height')
      held.push(...run)
      checkLinks(held)
      // What follows the end of an epoch is certified by others, who are known once it is applied.
      const boundary = held.findIndex(({ closing }) => closing !== undefined)
      const end = boundary === -1 ? held.findLastIndex(({ certificate }) => certificate !== undefined) : boundary
      const record = held[end]
      const certificate = record?.certificate
      if (record !== undefined && certificate !== undefined) {
        if (!proves(record) || !this.#ports.certifies(record)) throw new Malformed('a certificate that does not verify')
        const [begin] = held
        const tip = this.#ports.tip()
        if (begin?.block.height === tip.height + 1 && begin.block.parent !== tip.digest) {
          this.#ports.conflict(certificate, peer)
          return any
        }
        await this.#ports.apply(held.slice(0, end + 1), certificate)
        // What came after a boundary is asked for again: it is checked against this node's tip.
        held = boundary === -1 ? held.slice(end + 1) : []
        if (this.#ports.tip().height < record.block.height) return any
      }
      const bytes = held.reduce((sum, { block }) => sum + block.payload.length, 0)
      if (held.length > HELD_BLOCKS_MAX || bytes > HELD_BYTES_MAX)
        throw new Malformed('blocks without end and without certificate')
    }
  }
}

function parseOr<T>(parse: (bytes: Uint8Array) => T, answer: Uint8Array): T {
  try {
    return parse(answer)
  } catch (error) {
    throw new Malformed((error as Error).message)
  }
}
