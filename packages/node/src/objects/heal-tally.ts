/** What one pass over a node's shards finds. */

/** Of the versions whose repair waits, so many are named. */
const WAITS_TOLD = 8
const REASON_CHARS_MAX = 300

export interface Wait {
  readonly version: string
  readonly reason: string
}

export interface HealStanding {
  /** Shards that this node ought to hold, and of those that were not right or there. */
  readonly shards: number
  readonly missing: number
  /** Versions whose repair waits for other nodes. */
  readonly waiting: number
  /** Some of those, with why. */
  readonly waits: readonly Wait[]
  /** Shards that are still to be compared with their hashes. */
  readonly uncompared: number
  /** Every shard was compared since then, Unix milliseconds; null: some have not been yet, or there are none. */
  readonly comparedAtMs: number | null
}

export class HealTally {
  shards = 0
  missing = 0
  uncompared = 0
  /** Of plaintext, all versions of a bucket together. */
  readonly bucketBytes = new Map<string, number>()
  readonly #waits: Wait[] = []
  #waiting = 0
  #comparedAtMs = Number.POSITIVE_INFINITY

  met(bucket: string, bytes: number): void {
    this.bucketBytes.set(bucket, (this.bucketBytes.get(bucket) ?? 0) + bytes)
  }

  wait(version: string, { message }: Error): void {
    this.#waiting += 1
    if (this.#waits.length < WAITS_TOLD) this.#waits.push({ version, reason: message.slice(0, REASON_CHARS_MAX) })
  }

  /** A shard was compared, or made anew, at that time. */
  compared(atMs: number): void {
    this.#comparedAtMs = Math.min(this.#comparedAtMs, atMs)
  }

  get standing(): HealStanding {
    const { shards, missing, uncompared } = this
    const isKnown = uncompared === 0 && Number.isFinite(this.#comparedAtMs)
    return {
      shards,
      missing,
      waiting: this.#waiting,
      waits: [...this.#waits],
      uncompared,
      comparedAtMs: isKnown ? this.#comparedAtMs : null,
    }
  }
}
