import { KeyShare } from '@ringwall/threshold'

/**
 * This node's share of a key of the ring, as it is handed to the threads that compute with it: the node's own thread does not take it apart.
 * Prints and serialises as nothing.
 */
export class NodeShare {
  /** `PublicKey.name` of the key and epoch that it is a share of. */
  readonly keyName: string
  readonly #encoded: Uint8Array
  #wiped = false

  /** @param encoded `KeyShare.encodeSecret` of a share of that key; the caller's to wipe. */
  constructor(keyName: string, encoded: Uint8Array) {
    this.keyName = keyName
    this.#encoded = Uint8Array.from(encoded)
  }

  /** Checks that it is the share that it says. @throws {ThresholdError} */
  static decode(encoded: Uint8Array): NodeShare {
    const share = KeyShare.decode(encoded)
    share.secret.wipe()
    return new NodeShare(share.publicKey.name, encoded)
  }

  get wiped(): boolean {
    return this.#wiped
  }

  /** In memory of its own, to be transferred or wiped. */
  copy(): Uint8Array {
    if (this.#wiped) throw new Error('this share was wiped')
    return Uint8Array.from(this.#encoded)
  }

  wipe(): void {
    this.#encoded.fill(0)
    this.#wiped = true
  }

  toJSON(): string {
    return '[share]'
  }

  toString(): string {
    return '[share]'
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[share]'
  }
}
