/**
 * The proofs that were seen, so that none serves twice (RFC 9449 section 11.1), in bounded memory: a proof is remembered for as long as its time
 * would let it pass, and each key may have so many, so that whoever holds one token cannot use up what others need.
 */
import { hash } from 'node:crypto'

const ENTRIES_MAX = 131_072
const PER_KEY_MAX = 16_384
const NAME_BYTES = 16

export class ProofReplays {
  readonly #windowMs: number
  readonly #entriesMax: number
  readonly #perKeyMax: number
  /** Seen since `#sinceMs`, and in the window before. */
  #young = new Set<string>()
  #old = new Set<string>()
  /** Of the young, by key. */
  #perKey = new Map<string, number>()
  #sinceMs = Number.NEGATIVE_INFINITY

  /** @param windowMs From the first time that a proof is accepted to when it is refused for its age, at most. */
  constructor(windowMs: number, entriesMax: number = ENTRIES_MAX, perKeyMax: number = PER_KEY_MAX) {
    this.#windowMs = windowMs
    this.#entriesMax = entriesMax
    this.#perKeyMax = perKeyMax
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /**
   * @param key Thumbprint of the key that made the proof. @param id Its `jti`.
   * @returns `full`: it cannot be remembered, so it must not be accepted.
   */
  take(key: string, id: string, nowMs: number): 'fresh' | 'replayed' | 'full' {
    this.#turn(nowMs)
    const name = hash('sha256', `${key}\n${id}`, 'buffer').toString('latin1', 0, NAME_BYTES)
    if (this.#young.has(name) || this.#old.has(name)) return 'replayed'
    const held = this.#perKey.get(key) ?? 0
    if (held >= this.#perKeyMax || this.#young.size >= this.#entriesMax) return 'full'
    this.#young.add(name)
    this.#perKey.set(key, held + 1)
    return 'fresh'
  }

  #turn(nowMs: number): void {
    const passedMs = nowMs - this.#sinceMs
    // A clock that was put back forgets nothing early: what is young stays until a window has passed again.
    if (passedMs >= 0 && passedMs < this.#windowMs) return
    if (passedMs < 0) {
      this.#sinceMs = nowMs
      return
    }
    this.#old = passedMs < 2 * this.#windowMs ? this.#young : new Set()
    this.#young = new Set()
    this.#perKey = new Map()
    this.#sinceMs = nowMs
  }
}
