/** What is known of the other nodes, validators or not: links, when they were last heard, how far they are, how they behave. */
import type { LedgerFabric } from './options.ts'

interface Peer {
  height: number
  heardAtMs: number
  /** Messages that no honest validator sends; forgiven at a slow rate. */
  faults: number
  faultsAtMs: number
  warnedAtMs: number
  toldAtMs: number
}

/** A peer not heard for this long is not counted as reachable, whatever its link says. */
const SILENCE_MS = 5000
/** Faults after which a peer's messages are dropped unread, and how many are forgiven a second. */
const FAULTS_MAX = 100
const FORGIVEN_PER_SECOND = 5
const WARN_EVERY_MS = 10_000
const TELL_EVERY_MS = 200

export class Peers {
  readonly #peers = new Map<string, Peer>()
  readonly #links: LedgerFabric['links']

  /** Whom the fabric has a link for is a peer. Times are of one monotonic clock, milliseconds. */
  constructor(links: LedgerFabric['links']) {
    this.#links = links
    this.refresh()
  }

  /** Meets peers that are new, and forgets those that are gone. Answers with the latter. */
  refresh(): readonly string[] {
    const linked = new Set(this.#links().map(({ id }) => id))
    const gone = [...this.#peers.keys()].filter((id) => !linked.has(id))
    for (const id of gone) this.#peers.delete(id)
    for (const id of linked) {
      if (this.#peers.has(id)) continue
      this.#peers.set(id, {
        height: 0,
        heardAtMs: -Infinity,
        faults: 0,
        faultsAtMs: 0,
        warnedAtMs: -Infinity,
        toldAtMs: -Infinity,
      })
    }
    return gone
  }

  has(id: string): boolean {
    return this.#peers.has(id)
  }

  heard(id: string, atMs: number): void {
    const peer = this.#peers.get(id)
    if (peer !== undefined) peer.heardAtMs = atMs
  }

  reached(id: string, height: number): void {
    const peer = this.#peers.get(id)
    if (peer !== undefined) peer.height = Math.max(peer.height, height)
  }

  highest(): number {
    return Math.max(0, ...[...this.#peers.values()].map(({ height }) => height))
  }

  connected(): readonly string[] {
    return this.#links()
      .filter(({ id, connected }) => connected && this.#peers.has(id))
      .map(({ id }) => id)
  }

  reachable(atMs: number): readonly string[] {
    return this.connected().filter((id) => (this.#peers.get(id)?.heardAtMs ?? -Infinity) > atMs - SILENCE_MS)
  }

  fault(id: string, atMs: number): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    peer.faults = this.#faults(peer, atMs) + 1
    peer.faultsAtMs = atMs
  }

  isMuted(id: string, atMs: number): boolean {
    const peer = this.#peers.get(id)
    return peer === undefined || this.#faults(peer, atMs) >= FAULTS_MAX
  }

  /** True at most once in ten seconds a peer. */
  mayWarn(id: string, atMs: number): boolean {
    const peer = this.#peers.get(id)
    if (peer === undefined || peer.warnedAtMs > atMs - WARN_EVERY_MS) return false
    peer.warnedAtMs = atMs
    return true
  }

  /** True at most once in a while a peer: whoever is in another epoch is told how far this node is, and not for each message. */
  mayTell(id: string, atMs: number): boolean {
    const peer = this.#peers.get(id)
    if (peer === undefined || peer.toldAtMs > atMs - TELL_EVERY_MS) return false
    peer.toldAtMs = atMs
    return true
  }

  #faults(peer: Peer, atMs: number): number {
    return Math.max(0, peer.faults - ((atMs - peer.faultsAtMs) / 1000) * FORGIVEN_PER_SECOND)
  }
}
