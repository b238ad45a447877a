/** What is known of the other nodes, validators or not: links, when they were last heard, how far they are, how they behave. */
import type { LedgerFabric } from './options.ts'

/** Counts, and lets a while pass once it is full. */
interface Tally {
  count: number
  atMs: number
  fullUntilMs: number
}

interface Peer {
  height: number
  heardAtMs: number
  /** When it asked last how far this node is, and said how far it is itself. */
  askedAtMs: number
  /** Messages that no honest validator sends; forgiven at a slow rate. */
  readonly lies: Tally
  /** Transactions that are refused or final: an honest validator sends some, when it is ahead or behind. */
  readonly unwelcome: Tally
  warnedAtMs: number
  toldAtMs: number
}

/** A peer not heard for this long is not counted as reachable, whatever its link says. */
const SILENCE_MS = 5000
/** After so many, what the peer sends is dropped unread, for so long; how many are forgiven a second. */
const TALLY_MAX = 100
export const MUTED_MS = 10_000
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
        askedAtMs: -Infinity,
        lies: { count: 0, atMs: 0, fullUntilMs: -Infinity },
        unwelcome: { count: 0, atMs: 0, fullUntilMs: -Infinity },
        warnedAtMs: -Infinity,
        toldAtMs: -Infinity,
      })
    }
    return gone
  }

  has(id: string): boolean {
    return this.#peers.has(id)
  }

  /** The same, of a link that may be newer than the last look: whoever has one has proved that it is a node of the ring. */
  knows(id: string): boolean {
    if (!this.has(id)) this.refresh()
    return this.has(id)
  }

  heard(id: string, atMs: number): void {
    const peer = this.#peers.get(id)
    if (peer !== undefined) peer.heardAtMs = atMs
  }

  asked(id: string, atMs: number): void {
    const peer = this.#peers.get(id)
    if (peer !== undefined) peer.askedAtMs = atMs
  }

  /** Has it asked since, and said how far it is? */
  hasAskedSince(id: string, atMs: number): boolean {
    return (this.#peers.get(id)?.askedAtMs ?? -Infinity) >= atMs
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

  /** A message that no honest validator sends; `weight` says how much it cost. True when the peer is muted from now on. */
  lie(id: string, atMs: number, weight = 1): boolean {
    const peer = this.#peers.get(id)
    return peer !== undefined && fills(peer.lies, atMs, weight)
  }

  /** Is what it sends dropped unread? */
  isMuted(id: string, atMs: number): boolean {
    const peer = this.#peers.get(id)
    return peer === undefined || atMs < peer.lies.fullUntilMs
  }

  /** A transaction that an honest validator sends seldom. True when the peer's transactions are not looked at from now on. */
  unwelcome(id: string, atMs: number, weight: number): boolean {
    const peer = this.#peers.get(id)
    return peer !== undefined && fills(peer.unwelcome, atMs, weight)
  }

  mayGiveTransactions(id: string, atMs: number): boolean {
    const peer = this.#peers.get(id)
    return peer !== undefined && atMs >= peer.unwelcome.fullUntilMs && atMs >= peer.lies.fullUntilMs
  }

  muted(atMs: number): readonly string[] {
    return [...this.#peers.keys()].filter((id) => !this.mayGiveTransactions(id, atMs))
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
}

function fills(tally: Tally, atMs: number, weight: number): boolean {
  tally.count = Math.max(0, tally.count - ((atMs - tally.atMs) / 1000) * FORGIVEN_PER_SECOND) + weight
  tally.atMs = atMs
  if (tally.count < TALLY_MAX) return false
  tally.count = 0
  tally.fullUntilMs = atMs + MUTED_MS
  return true
}
