/** Reads the TPM's structures: big-endian, sized, nothing left over (TPM 2.0 Library, part 2). Little-endian for event logs. */
import { EnrollError } from '../errors.ts'

/** Bytes that are not the structure that they should be. */
export class TpmMalformed extends EnrollError {
  override readonly name = 'TpmMalformed'
  readonly code = 'TPM_MALFORMED'
}

export class TpmReader {
  readonly #bytes: Buffer
  readonly #what: string
  #at = 0

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#what = what
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  get at(): number {
    return this.#at
  }

  fail(why: string): never {
    throw new TpmMalformed(`${this.#what}: ${why}`)
  }

  take(length: number): Buffer {
    if (length > this.left) this.fail(`it ends early, at byte ${this.#bytes.length}`)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  u8(): number {
    return this.take(1).readUInt8()
  }

  u16(): number {
    return this.take(2).readUInt16BE()
  }

  u32(): number {
    return this.take(4).readUInt32BE()
  }

  u64(): bigint {
    return this.take(8).readBigUInt64BE()
  }

  u16le(): number {
    return this.take(2).readUInt16LE()
  }

  u32le(): number {
    return this.take(4).readUInt32LE()
  }

  /** A TPM2B: two bytes of size, then so many. */
  sized(most: number): Buffer {
    const length = this.u16()
    if (length > most) this.fail(`a part has ${length} bytes, at most ${most} are allowed`)
    return this.take(length)
  }

  expect(value: number, wanted: number, what: string): void {
    if (value !== wanted) this.fail(`${what} is 0x${value.toString(16)}, and must be 0x${wanted.toString(16)}`)
  }

  /** Nothing may follow. */
  end(): void {
    if (this.left !== 0) this.fail(`${this.left} bytes too many`)
  }
}
