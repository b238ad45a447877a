/** Reading and writing fields of known width; every read is bounded by the bytes that are there. */

export class Malformed extends Error {
  override readonly name = 'Malformed'
}

export class Reader {
  readonly #bytes: Buffer
  #at = 0
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    return this.take(1)[0] ?? 0
  }

  u16(): number {
    return this.take(2).readUInt16BE(0)
  }

  u32(): number {
    return this.take(4).readUInt32BE(0)
  }

  u48(): number {
    return this.take(6).readUIntBE(0, 6)
  }

  /** `u32` length, then that many bytes, at most `bytesMax`. A view, not a copy. */
  sized(bytesMax: number): Buffer {
    const length = this.u32()
    if (length > bytesMax) throw new Malformed(`a field of ${length} bytes: at most ${bytesMax} are allowed`)
    return this.take(length)
  }

  take(length: number): Buffer {
    if (length > this.left) throw new Malformed(`${length} bytes expected at byte ${this.#at}, ${this.left} are left`)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  end(): void {
    if (this.left !== 0) throw new Malformed(`${this.left} bytes too many`)
  }
}

export function u8(value: number): Buffer {
  return Buffer.from([value])
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function u48(value: number): Buffer {
  const bytes = Buffer.alloc(6)
  bytes.writeUIntBE(value, 0, 6)
  return bytes
}

export function sized(bytes: Uint8Array): Buffer {
  return Buffer.concat([u32(bytes.length), bytes])
}
