/**
 * A node that is cut off enforces its last view on; how old that is, it shows. One that starts while it is cut off has a view that a quorum certified once,
 * and nobody since: it takes traffic by that, and counts as ready for as long as the policy says (`fleet.offline`).
 */

/** Whoever can reach the ring has caught up by then. */
export const OFFLINE_AFTER_MS = 30_000

export interface Standing {
  readonly startedAtMs: number
  /** Of the last block that a quorum certified since the start. */
  readonly certifiedAtMs: number | undefined
  /** Of the block that the view is of. */
  readonly blockTimestampMs: number
  /** How old a view may be that a start is made on. */
  readonly offlineMs: number
}

/** How old the view is: since it was certified, or, before that, since its block was made. */
export function ageOfView({ certifiedAtMs, blockTimestampMs }: Standing, nowMs: number): number {
  return Math.max(0, nowMs - (certifiedAtMs ?? blockTimestampMs))
}

/** Why its view does not suffice to be ready; undefined: it does. */
export function whyNotCurrent(standing: Standing, nowMs: number): string | undefined {
  const { startedAtMs, certifiedAtMs, offlineMs, blockTimestampMs } = standing
  if (certifiedAtMs !== undefined) return undefined
  const waiting = 'waiting for a block certified by a quorum'
  // Of genesis nothing was agreed on: a device that has never met its ring has no policy to enforce.
  if (blockTimestampMs === 0 || nowMs - startedAtMs < OFFLINE_AFTER_MS) return waiting
  if (ageOfView(standing, nowMs) <= offlineMs) return undefined
  return `cut off: its view is older than a start may be made on (fleet.offline); ${waiting}`
}
