/**
 * The proofs that were seen, so that none serves twice (RFC 9449 section 11.1), in memory of a fixed size that threads can share. A proof is
 * remembered for as long as its time would let it pass. Each key may have so many, so that whoever holds one token cannot use up what others need.
 *
 * A table of buckets, each of slots of 64 bits: 32 bits of a keyed hash of the proof, and the second from which on it is forgotten. Nobody outside
 * knows the key of the hash, and so what falls together. Whoever writes looks again: where two threads see one proof at once, at
 * most one takes it.
 */
import { hash, randomBytes } from 'node:crypto'

/** Of a node: some 2,000 proofs a second. */
const BUCKETS = 16_384
const SLOTS = 16
const PER_KEY_MAX = 16_384
const SEED_BYTES = 16
const SLOT_BYTES = 8

/** @param buckets A power of two. */
export function sharedProofMemory(buckets: number = BUCKETS): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(SEED_BYTES + buckets * SLOTS * SLOT_BYTES)
  new Uint8Array(memory, 0, SEED_BYTES).set(randomBytes(SEED_BYTES))
  return memory
}

export class ProofReplays {
  readonly #windowMs: number
  readonly #perKeyMax: number
  readonly #seed: Buffer
  readonly #slots: BigUint64Array<SharedArrayBuffer>
  readonly #buckets: number
  /** In the window that began at `#sinceMs`, by key: as this thread counts. */
  #perKey = new Map<string, number>()
  #sinceMs = Number.NEGATIVE_INFINITY

  /**
   * @param windowMs From the first time that a proof is accepted to when it is refused for its age, at most.
   * @param memory Of `sharedProofMemory`, for all threads that must not take one proof twice.
   * @param perKeyMax In a window and a thread.
   */
  constructor(windowMs: number, memory: SharedArrayBuffer = sharedProofMemory(), perKeyMax: number = PER_KEY_MAX) {
    this.#windowMs = windowMs
    this.#perKeyMax = perKeyMax
    this.#seed = Buffer.from(memory, 0, SEED_BYTES)
    this.#slots = new BigUint64Array(memory, SEED_BYTES)
    this.#buckets = this.#slots.length / SLOTS
  }

  /**
   * @param key Thumbprint of the key that made the proof. @param id Its `jti`.
   * @returns `full`: it cannot be remembered, so it must not be accepted.
   */
  take(key: string, id: string, nowMs: number): 'fresh' | 'replayed' | 'full' {
    const digest = hash('sha256', Buffer.concat([this.#seed, Buffer.from(`${key}\n${id}`)]), 'buffer')
    const first = (digest.readUInt32BE(0) & (this.#buckets - 1)) * SLOTS
    const mark = digest.readUInt32BE(4)
    const nowS = Math.floor(nowMs / 1_000)
    const forgottenS = nowS + Math.ceil(this.#windowMs / 1_000) + 1
    const entry = (BigInt(mark) << 32n) | BigInt(forgottenS)
    for (;;) {
      let at = -1
      let held = 0n
      for (let slot = first; slot < first + SLOTS; slot += 1) {
        const value = Atomics.load(this.#slots, slot)
        const isLive = Number(value & 0xffffffffn) > nowS
        if (isLive && Number(value >> 32n) === mark) return 'replayed'
        if (!isLive && at < 0) {
          at = slot
          held = value
        }
      }
      if (at < 0 || !this.#mayHaveMore(key, nowMs)) return 'full'
      // Another thread may have taken the slot meanwhile, or the proof.
      if (Atomics.compareExchange(this.#slots, at, held, entry) !== held) continue
      for (let slot = first; slot < first + SLOTS; slot += 1) {
        const value = slot === at ? 0n : Atomics.load(this.#slots, slot)
        if (Number(value & 0xffffffffn) > nowS && Number(value >> 32n) === mark) return 'replayed'
      }
      this.#perKey.set(key, (this.#perKey.get(key) ?? 0) + 1)
      return 'fresh'
    }
  }

  #mayHaveMore(key: string, nowMs: number): boolean {
    if (nowMs < this.#sinceMs || nowMs >= this.#sinceMs + this.#windowMs) {
      this.#perKey = new Map()
      this.#sinceMs = nowMs
    }
    return (this.#perKey.get(key) ?? 0) < this.#perKeyMax
  }
}
