/** An answer that is compressed on its way to the client: in one go while it is small, else as it comes. */
import { valuesOf } from './cache-control.ts'
import {
  type Compressing,
  type Compressor,
  compressedHead,
  type Encoder,
  type EncoderOwner,
  SMALL_BYTES_MAX,
} from './compression.ts'
import type { Counters } from './context.ts'
import { HeldBody } from './held-body.ts'
import type { ResponseHead } from './response-parser.ts'

/** Where it goes. */
export interface DeliveryOwner {
  /** Begins the answer. @param own Names and values to add. */
  beginResponse(head: ResponseHead, own: readonly string[]): void
  /** More of its body; copied. */
  send(bytes: Buffer): void
  /** Writes what waits. Returns whether the client takes more; `resume` follows when not. */
  flush(): boolean
  endResponse(trailers: readonly string[]): void
  /** More has come than is compressed: the upstream is to wait. */
  holdUp(): void
  letOn(): void
  onCompressionFailure(message: string): void
}

export class CompressedDelivery implements EncoderOwner {
  readonly #owner: DeliveryOwner
  readonly #compressor: Compressor
  readonly #counters: Counters
  readonly #head: ResponseHead
  readonly #own: readonly string[]
  readonly #form: Compressing
  /** What has come of an answer that may be small. */
  #small: HeldBody | undefined
  #encoder: Encoder | undefined
  #trailers: readonly string[] = []

  /** @param head Of an answer with a body. @param form With the coding that the client wants. */
  constructor(
    owner: DeliveryOwner,
    compressor: Compressor,
    counters: Counters,
    head: ResponseHead,
    own: readonly string[],
    form: Compressing,
  ) {
    this.#owner = owner
    this.#compressor = compressor
    this.#counters = counters
    this.#head = head
    this.#own = own
    this.#form = form
  }

  /** Whether it is compressed as it comes: then the encoder says when the client has room. */
  get isStreamed(): boolean {
    return this.#encoder !== undefined
  }

  /** Of what is compressed as it comes: more, without waiting for the encoder. */
  get takesMore(): boolean {
    return this.#encoder?.takesMore === true
  }

  start(): void {
    const { bodyBytes } = this.#head
    if (bodyBytes === undefined || bodyBytes <= SMALL_BYTES_MAX) this.#small = new HeldBody()
    else this.#stream(undefined)
  }

  write(bytes: Buffer): void {
    const small = this.#small
    if (small !== undefined) {
      if (small.length + bytes.length <= SMALL_BYTES_MAX) {
        small.add(bytes, this.#head.bodyBytes ?? Number.POSITIVE_INFINITY)
        return
      }
      this.#stream(small)
    }
    this.#pass(bytes)
  }

  /** All that has come was written, and more is due: who knows how much and when. */
  quiet(): void {
    if (this.#small !== undefined && this.#head.bodyBytes === undefined) this.#stream(this.#small)
    this.#encoder?.quiet()
  }

  /** The client has room again. */
  resume(): void {
    this.#encoder?.resume()
  }

  end(trailers: readonly string[]): void {
    if (this.#small !== undefined) this.#sendSmall(this.#small.bytes, trailers.length > 0)
    if (this.#encoder === undefined) {
      this.#owner.endResponse(trailers)
      return
    }
    this.#trailers = trailers
    this.#encoder.end()
  }

  destroy(): void {
    this.#encoder?.destroy()
  }

  /** It goes out from here on as it comes; as it is where too much is compressed already. */
  #stream(small: HeldBody | undefined): void {
    this.#small = undefined
    const { coding } = this.#form
    if (coding === undefined || !this.#compressor.hasRoom) {
      this.#owner.beginResponse(compressedHead(this.#head, { coding: undefined }), this.#own)
    } else {
      const types = valuesOf(this.#head.rawHeaders, 'content-type')
      const isLive = types.some((type) => type.toLowerCase().startsWith('text/event-stream'))
      this.#encoder = this.#compressor.encoder(coding, isLive, this)
      this.#owner.beginResponse(compressedHead(this.#head, this.#form), this.#own)
    }
    if (small !== undefined && small.length > 0) this.#pass(small.bytes)
  }

  #pass(bytes: Buffer): void {
    if (this.#encoder === undefined) {
      this.#owner.send(bytes)
      return
    }
    this.#counters.compressedBytesIn += bytes.length
    if (!this.#encoder.write(bytes)) this.#owner.holdUp()
  }

  /** All of a small body is here. @param isTrailed Trailers follow, and need chunks before them. */
  #sendSmall(bytes: Buffer, isTrailed: boolean): void {
    const packed = this.#compressor.small(this.#form.coding!, bytes)
    if (packed === undefined) {
      this.#owner.beginResponse(compressedHead(this.#head, { coding: undefined }), this.#own)
      if (bytes.length > 0) this.#owner.send(bytes)
      return
    }
    this.#owner.beginResponse(compressedHead(this.#head, this.#form, isTrailed ? undefined : packed.length), this.#own)
    this.#owner.send(packed)
  }

  onEncoded(bytes: Buffer): void {
    this.#counters.compressedBytesOut += bytes.length
    this.#owner.send(bytes)
    if (!this.#owner.flush()) this.#encoder!.pause()
  }

  onEncoderDrain(): void {
    this.#owner.letOn()
  }

  onEncoderEnd(): void {
    this.#owner.endResponse(this.#trailers)
  }

  onEncoderFailure(message: string): void {
    this.#owner.onCompressionFailure(message)
  }
}
