import { fail } from './errors.ts'
import { decodeScalar, encodeScalar, type Scalar } from './scalar.ts'

/**
 * A scalar that must not leave by accident: it prints, serialises and clones as nothing, and can be wiped.
 *
 * Wiping overwrites the 32 bytes held here. It cannot reach what arithmetic made of them: JavaScript's big integers are
 * immutable and the collector copies and frees them when it likes. So a wiped secret is out of reach of this program, not
 * out of the process's memory; see the README.
 */
export class Secret {
  readonly #bytes: Uint8Array
  #wiped = false

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** @param bytes 32 bytes, a canonical scalar; copied. @throws {ThresholdError} */
  static fromBytes(bytes: Uint8Array): Secret {
    decodeScalar(bytes)
    // Not `slice`: that of Node's Buffer shares the memory, and the caller wipes its copy.
    return new Secret(new Uint8Array(bytes))
  }

  static fromScalar(value: Scalar): Secret {
    return new Secret(encodeScalar(value))
  }

  get wiped(): boolean {
    return this.#wiped
  }

  /** The scalar itself, for arithmetic. @throws {ThresholdError} THRESHOLD_WIPED. */
  reveal(): Scalar {
    if (this.#wiped) fail('THRESHOLD_WIPED', 'this secret was wiped')
    return decodeScalar(this.#bytes)
  }

  /** The 32 bytes, to be sealed and stored by the caller, who wipes the copy. */
  revealBytes(): Uint8Array {
    if (this.#wiped) fail('THRESHOLD_WIPED', 'this secret was wiped')
    return this.#bytes.slice()
  }

  wipe(): void {
    this.#bytes.fill(0)
    this.#wiped = true
  }

  toJSON(): string {
    return '[secret]'
  }

  toString(): string {
    return '[secret]'
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]'
  }
}
