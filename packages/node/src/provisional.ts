/**
 * Deny early, grant late: a signed denial is enforced the moment it arrives over gossip, and lapses unless a quorum
 * confirms it. This file decides which gossiped transactions count, and for how long.
 */
import {
  type Denial,
  ProvisionalDenials,
  parseTx,
  type RingApplication,
  type RingState,
  type SignedTx,
  subjectId,
} from '@ringwall/ring'

/** A provisional denial lapses after this long with a live quorum (docs/architecture.md, "deny early, grant late"). */
export const LAPSE_MS = 10_000
/** Blocks come at least each heartbeat; after this long without one there is no quorum that could confirm. */
const QUORUM_SILENT_MS = 6_000

interface Held {
  readonly denial: Denial
  readonly untilMs: number
}

export class EarlyDenials {
  readonly index = new ProvisionalDenials()
  readonly #application: RingApplication
  readonly #held = new Map<string, Held>()

  constructor(application: RingApplication) {
    this.#application = application
  }

  /**
   * Takes in a transaction by gossip or from the admin API.
   *
   * @returns The denial when it is now enforced; undefined when the transaction is no valid denial.
   */
  take(state: RingState, bytes: Uint8Array, nowMs: number): Denial | undefined {
    const checked = this.#application.check(state, bytes, nowMs)
    if (!checked.ok) return undefined
    const { content } = parseTx(bytes) satisfies SignedTx
    if (content.body.type !== 'deny.add') return undefined
    const { subject, reason, ttlMs } = content.body
    const denial: Denial = {
      id: subjectId(subject),
      subject,
      reason,
      issuer: content.issuer,
      issuedAtMs: content.atMs,
      expiresAtMs: content.atMs + ttlMs,
      height: undefined,
    }
    if (!this.index.add(denial, nowMs, LAPSE_MS)) return undefined
    this.#held.set(denial.id, { denial, untilMs: content.untilMs })
    return denial
  }

  /** A block confirmed these. */
  confirm(ids: Iterable<string>): void {
    for (const id of ids) {
      this.index.confirm(id)
      this.#held.delete(id)
    }
  }

  /**
   * Lapses what a live quorum did not confirm. Without a quorum nothing could be confirmed, so that what is held
   * stands until its transaction runs out: a partition must not lift a denial.
   */
  tick(nowMs: number, certifiedAtMs: number | undefined): void {
    const silent = certifiedAtMs === undefined || nowMs - certifiedAtMs > QUORUM_SILENT_MS
    for (const [id, { denial, untilMs }] of this.#held) {
      if (nowMs > untilMs || nowMs > denial.expiresAtMs) this.#held.delete(id)
      else if (silent) this.index.add(denial, nowMs, LAPSE_MS)
      else if (this.index.list(nowMs).every((live) => live.id !== id)) this.#held.delete(id)
    }
    this.index.expire(nowMs)
  }
}
