/**
 * Keys that challenges and passes are sealed with. Each node makes its own, a new one every hour, and the others of its ring open by it:
 * no key is for long, and when a node leaves, what it sealed is worth nothing.
 */
import { randomBytes } from 'node:crypto'
import { PASS_MS_MAX } from '@ringwall/ring'

export const PASS_KEY_BYTES = 32
export const PASS_KEY_ID_BYTES = 6
const SEALS_MS = 3_600_000
/** For what was sealed last, and clocks that differ. */
const OPENS_MS = SEALS_MS + PASS_MS_MAX + 600_000
/** Of one node. */
export const PASS_KEYS_MAX = 32

export interface PassKey {
  /** Random, lower-case hex. */
  readonly id: string
  readonly bytes: Uint8Array
  /** Unix milliseconds. */
  readonly madeAtMs: number
}

export function newPassKey(nowMs: number): PassKey {
  return { id: randomBytes(PASS_KEY_ID_BYTES).toString('hex'), bytes: randomBytes(PASS_KEY_BYTES), madeAtMs: nowMs }
}

/** The keys that one node seals with: the newest first, made anew when its time is over. The same list while nothing changes. */
export function currentPassKeys(keys: readonly PassKey[], nowMs: number): readonly PassKey[] {
  const [newest] = keys
  // A clock that was set back by more than a little: what is older than its key is nothing to seal with.
  if (newest !== undefined && nowMs - newest.madeAtMs < SEALS_MS && newest.madeAtMs - nowMs < SEALS_MS) return keys
  return [newPassKey(nowMs), ...livingPassKeys(keys, nowMs)].slice(0, PASS_KEYS_MAX)
}

/** Those that anything still may be sealed with. */
export function livingPassKeys(keys: readonly PassKey[], nowMs: number): readonly PassKey[] {
  const living = keys.filter(({ madeAtMs }) => nowMs - madeAtMs < OPENS_MS && madeAtMs - nowMs < SEALS_MS)
  return living.length === keys.length ? keys : living
}
