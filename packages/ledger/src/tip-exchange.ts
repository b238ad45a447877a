/**
 * How far peers are, and getting there: what a peer says of its tip is believed as far as its certificate goes, and whoever is proved to be
 * ahead is caught up from.
 */
import type { Block, Certificate } from '@ringwall/consensus'
import type { CatchUp } from './catch-up.ts'
import type { Epochs } from './epochs.ts'
import type { Peers } from './peers.ts'
import { encodeRequest, parseStatus, type TipStatus } from './sync-codec.ts'

/** Blocks behind from which on a snapshot is asked for: by a node without a ledger, and by one that has a part of it. */
const SNAPSHOT_AHEAD_NEW = 64
const SNAPSHOT_AHEAD = 4096
/** How long others are asked instead of a peer that failed to give blocks. */
const AVOIDED_MS = 30_000

export interface TipExchangePorts {
  readonly self: string
  readonly peers: Peers
  readonly epochs: Epochs
  readonly catchUp: Pick<CatchUp, 'from'>
  /** @throws When the peer gives no answer. */
  ask(peer: string, request: Uint8Array): Promise<Uint8Array>
  isStopped(): boolean
  /** What this node says of itself: of what is visible. */
  own(): TipStatus
  /** The last final block, visible or not yet. */
  tip(): Block
  /** A peer says that nothing is final yet. */
  unborn(peer: string): void
  /** A certificate proves that the ring has gone on. */
  ahead(): void
  /** A certificate for another block than the final one at its height. */
  conflict(certificate: Certificate, peer: string): void
  fault(peer: string, what: string): void
  info(line: string): void
}

export class TipExchange {
  readonly #ports: TipExchangePorts
  /** Peers that failed to give blocks, and until when others are asked instead. */
  readonly #avoided = new Map<string, number>()

  constructor(ports: TipExchangePorts) {
    this.#ports = ports
  }

  /**
   * Every `everyMs`. Of two nodes one asks, and either knows then how far the other is; the other asks when it was not asked for so long.
   * @param atMs Monotonic.
   */
  look(atMs: number, everyMs: number): void {
    const { peers, self } = this.#ports
    for (const peer of peers.connected()) if (self < peer || !peers.hasAskedSince(peer, atMs - everyMs)) void this.with(peer)
  }

  withAll(): void {
    for (const peer of this.#ports.peers.connected()) void this.with(peer)
  }

  async with(peer: string): Promise<void> {
    const request = encodeRequest({ kind: 'status', tip: this.#ports.own() })
    let answer: Uint8Array
    try {
      answer = await this.#ports.ask(peer, request)
    } catch {
      return
    }
    this.heard(peer, answer)
  }

  /** @param encoded A status as the peer sent it. */
  heard(peer: string, encoded: Uint8Array): void {
    try {
      this.meet(peer, parseStatus(encoded))
    } catch (error) {
      this.#ports.fault(peer, (error as Error).message)
    }
  }

  /** A height is believed when a certificate stands behind it: its round bounds it, and the liar's lie with it. */
  meet(peer: string, theirs: TipStatus): void {
    const { peers, epochs, fault, isStopped, tip } = this.#ports
    if (isStopped()) return
    const { certificate, height, digest } = theirs
    const own = tip()
    if (height === 0) this.#ports.unborn(peer)
    if (height < own.height || digest === own.digest) {
      peers.reached(peer, Math.min(height, own.height))
      return
    }
    if (certificate === undefined || certificate.kind !== 'finalize' || height > certificate.round) {
      fault(peer, 'a height that its certificate cannot have')
      return
    }
    const epoch = epochs.at(height)
    if (theirs.epoch > epochs.current.number) {
      // Nothing to check it by: what led to that epoch is asked for, and believed step by step.
      void this.#catchUpFrom(peer, false)
      return
    }
    // Who agreed once may have lost their keys since: they are believed about their own epoch alone.
    if (theirs.epoch !== epoch.number || !epoch.verifies(certificate)) {
      fault(peer, 'a status whose certificate does not verify')
      return
    }
    if (height === own.height) {
      this.#ports.conflict(certificate, peer)
      return
    }
    this.#ports.ahead()
    peers.reached(peer, height)
    void this.#catchUpFrom(peer, true)
  }

  async #catchUpFrom(peer: string, isProven: boolean): Promise<void> {
    const { peers, catchUp, own, info } = this.#ports
    const before = own().height
    // A height in an epoch that is not known here is a claim.
    const behind = isProven ? peers.highest() - before : 0
    // A ledger that has blocks of its own would lose them to a snapshot: it takes one only when much is missing.
    const seeksSnapshot = behind > (before === 0 ? SNAPSHOT_AHEAD_NEW : SNAPSHOT_AHEAD)
    const atMs = performance.now()
    const others = peers.connected().some((id) => id !== peer && !this.#isAvoided(id, atMs))
    if (others && this.#isAvoided(peer, atMs)) return
    const outcome = await catchUp.from(peer, seeksSnapshot)
    // One that fails, or gives slowly, does not get to hold up those who would give.
    if (outcome === 'failed') this.#avoided.set(peer, performance.now() + AVOIDED_MS)
    if (outcome !== 'done') return
    const after = own().height
    if (after > before + 1) info(`caught up from ${peer}: blocks ${before + 1} to ${after}`)
  }

  #isAvoided(peer: string, atMs: number): boolean {
    return (this.#avoided.get(peer) ?? 0) > atMs
  }
}
