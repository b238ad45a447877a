/**
 * Deny early, grant late: a signed denial is enforced the moment it arrives over gossip, and lapses unless a quorum
 * confirms it. This file decides which gossiped transactions count, and for how long.
 */
import { type Denial, ProvisionalDenials, type RingApplication, type RingState } from '@ringwall/ring'
import { parseTx } from '@ringwall/ring/tx'

/** A provisional denial lapses after this long with a live quorum (docs/architecture.md, "deny early, grant late"). */
export const LAPSE_MS = 10_000
/** Blocks come at least each heartbeat; after this long without one there is no quorum that could confirm. */
const QUORUM_SILENT_MS = 6_000

export class EarlyDenials {
  readonly index = new ProvisionalDenials()
  readonly #application: RingApplication
  /** When each held denial arrived and the transaction that said so, by denial id. Bounded by what `index` takes in. */
  readonly #held = new Map<string, { readonly arrivedAtMs: number; readonly bytes: Uint8Array }>()
  /** Since when a quorum has been certifying blocks without a pause; undefined while it is silent. */
  #liveSinceMs: number | undefined

  constructor(application: RingApplication) {
    this.#application = application
  }

  /**
   * Takes in a transaction by gossip or from the admin API.
   *
   * @returns The denial when it is news and now enforced; undefined when the transaction is no valid denial, or known.
   */
  take(state: RingState, bytes: Uint8Array, nowMs: number): Denial | undefined {
    const checked = this.#application.provisional(state, bytes, nowMs)
    if (!checked.ok) return undefined
    const { denial } = checked
    // Without a quorum nothing can be confirmed: the denial then stands until its transaction can no longer be agreed.
    if (!this.index.add(denial, nowMs, parseTx(bytes).content.untilMs - nowMs)) return undefined
    this.#held.set(denial.id, { arrivedAtMs: nowMs, bytes: Uint8Array.from(bytes) })
    return denial
  }

  /** The transactions of what is held: for a node that was away while they went around. */
  transactions(): readonly Uint8Array[] {
    return [...this.#held.values()].map(({ bytes }) => bytes)
  }

  /** A block decided about these. */
  confirm(ids: Iterable<string>): void {
    for (const id of ids) this.#settle(id)
  }

  /** Lapses what a live quorum had its time to confirm and did not. A partition must not lift a denial. */
  tick(nowMs: number, certifiedAtMs: number | undefined): void {
    const live = certifiedAtMs !== undefined && nowMs - certifiedAtMs <= QUORUM_SILENT_MS
    this.#liveSinceMs = live ? (this.#liveSinceMs ?? nowMs) : undefined
    this.index.expire(nowMs)
    const standing = new Set(this.index.list(nowMs).map(({ id }) => id))
    for (const [id, { arrivedAtMs }] of this.#held) {
      if (!standing.has(id)) this.#held.delete(id)
      else if (this.#liveSinceMs !== undefined && nowMs - Math.max(arrivedAtMs, this.#liveSinceMs) >= LAPSE_MS) this.#settle(id)
    }
  }

  #settle(id: string): void {
    this.index.confirm(id)
    this.#held.delete(id)
  }
}
