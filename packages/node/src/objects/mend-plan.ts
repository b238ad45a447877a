/** How far a node is with all the shards that it makes anew in one pass. Sizes are of shards, in bytes. */
export interface MendStatus {
  readonly shards: number
  readonly ofShards: number
  readonly bytes: number
  readonly ofBytes: number
}

export class MendPlan {
  /** What there is still to make, by version. */
  readonly #left = new Map<string, number>()
  #leftBytes = 0
  #shards = 0
  #bytes = 0

  /** Bytes of this version are to be made; what was thought of it before does not count any more. */
  want(version: string, bytes: number): void {
    this.#leftBytes += bytes - (this.#left.get(version) ?? 0)
    this.#left.set(version, bytes)
  }

  /** So many of them are on disk now. */
  made(version: string, bytes: number): void {
    const left = this.#left.get(version)
    if (left === undefined) return
    const done = Math.min(left, bytes)
    this.#bytes += done
    this.#leftBytes -= done
    if (done < left) {
      this.#left.set(version, left - done)
      return
    }
    this.#left.delete(version)
    this.#shards += 1
  }

  /** @param nowBytes Of what is being made. */
  status(nowBytes: number): MendStatus {
    const ofBytes = this.#bytes + this.#leftBytes
    return {
      shards: this.#shards,
      ofShards: this.#shards + this.#left.size,
      bytes: Math.min(ofBytes, this.#bytes + nowBytes),
      ofBytes,
    }
  }
}
