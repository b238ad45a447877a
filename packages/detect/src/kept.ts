/**
 * What detectors keep while their node is away, in pieces of numbers and short texts, big-endian. Whoever reads it checks every field: a disk is no more to be
 * trusted than a peer.
 */
import { MemoryMalformed } from './errors.ts'

const TEXT_BYTES_MAX = 255
/** Kept where there is no time. */
const NEVER = 0
const [encoder, decoder] = [new TextEncoder(), new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })]

export class KeptWriter {
  #bytes: Uint8Array
  #view: DataView
  #at = 0

  constructor(room = 1_024) {
    this.#bytes = new Uint8Array(room)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** @returns Where the next `length` bytes go. */
  #take(length: number): number {
    const at = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length))
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }

  u8(value: number): this {
    const at = this.#take(1)
    this.#view.setUint8(at, value)
    return this
  }

  u16(value: number): this {
    const at = this.#take(2)
    this.#view.setUint16(at, value)
    return this
  }

  u32(value: number): this {
    const at = this.#take(4)
    this.#view.setUint32(at, value)
    return this
  }

  f32(value: number): this {
    const at = this.#take(4)
    this.#view.setFloat32(at, value)
    return this
  }

  f64(value: number): this {
    const at = this.#take(8)
    this.#view.setFloat64(at, value)
    return this
  }

  /** Unix milliseconds, -Infinity for never. */
  time(atMs: number): this {
    return this.f64(Math.max(NEVER, atMs))
  }

  /** At most 255 bytes of UTF-8. */
  text(value: string): this {
    const bytes = encoder.encode(value)
    if (bytes.length > TEXT_BYTES_MAX) throw new RangeError(`a text that is kept has at most ${TEXT_BYTES_MAX} bytes`)
    this.u8(bytes.length)
    const at = this.#take(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }
}

/** Whether it can be kept as a text. */
export const isKeepable = (text: string): boolean => encoder.encode(text).length <= TEXT_BYTES_MAX && !/\p{Cc}/u.test(text)

export class KeptReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** @throws {MemoryMalformed} */
  fail(why: string): never {
    throw new MemoryMalformed(`byte ${this.#at}: ${why}`)
  }

  #take(length: number): number {
    if (this.#at + length > this.#bytes.length) this.fail('it ends early')
    this.#at += length
    return this.#at - length
  }

  #within(value: number, what: string, least: number, most: number): number {
    return value >= least && value <= most ? value : this.fail(`${what}: from ${least} to ${most}`)
  }

  u8(what: string, most = 255, least = 0): number {
    return this.#within(this.#view.getUint8(this.#take(1)), what, least, most)
  }

  u16(what: string, most = 65_535, least = 0): number {
    return this.#within(this.#view.getUint16(this.#take(2)), what, least, most)
  }

  u32(what: string, most = 0xffff_ffff): number {
    return this.#within(this.#view.getUint32(this.#take(4)), what, 0, most)
  }

  /** Finite, as the bounds are. */
  f32(what: string, least: number, most: number): number {
    return this.#within(this.#view.getFloat32(this.#take(4)), what, least, most)
  }

  f64(what: string, least: number, most: number): number {
    return this.#within(this.#view.getFloat64(this.#take(8)), what, least, most)
  }

  /** Unix milliseconds, -Infinity for never. */
  time(what: string): number {
    const atMs = this.f64(what, NEVER, TIME_MAX)
    return atMs === NEVER ? Number.NEGATIVE_INFINITY : atMs
  }

  /** How many of `count` hours there are, then each of them, to be followed by what is known of it. */
  *hours(count: number): Generator<number> {
    let least = 0
    for (let left = this.u8('hours', count); left > 0; left -= 1) {
      const hour = this.u8('an hour, in order', count - 1, least)
      least = hour + 1
      yield hour
    }
  }

  text(what: string): string {
    const length = this.u8(what)
    const at = this.#take(length)
    let text: string
    try {
      text = decoder.decode(this.#bytes.subarray(at, at + length))
    } catch {
      return this.fail(`${what}: UTF-8`)
    }
    return /\p{Cc}/u.test(text) ? this.fail(`${what}: without controls`) : text
  }

  end(): void {
    if (this.#at !== this.#bytes.length) this.fail('nothing comes after it')
  }
}

/** The latest time that is believed, in Unix milliseconds: the year 2255. */
export const TIME_MAX = 9e12
