/**
 * gRPC over HTTP/2, as much as a server needs whose calls have one request and a stream of answers: messages with a length before them, status
 * codes, and how they are written. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */

export const GRPC_STATUS = {
  OK: 0,
  INVALID_ARGUMENT: 3,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  UNAVAILABLE: 14,
} as const
export type GrpcStatus = (typeof GRPC_STATUS)[keyof typeof GRPC_STATUS]

const PREFIX_BYTES = 5

/** How a call ends that does not go well. */
export class GrpcFault extends Error {
  override readonly name = 'GrpcFault'
  readonly code: GrpcStatus
  constructor(code: GrpcStatus, message: string) {
    super(message)
    this.code = code
  }
}

/** A message as it goes over the wire, not compressed. */
export function framed(message: Uint8Array): Uint8Array {
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

/** `grpc-message`: printable ASCII, all else in percent signs. */
export function percentEncoded(text: string): string {
  let encoded = ''
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return encoded
}

/** Messages of a request that goes on, from its pieces however they are cut. Holds `bytesMax` and the five before them at most. */
export class RequestMessages {
  readonly #bytesMax: number
  #held: Buffer = Buffer.alloc(0)

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Those that are whole by now. @throws {GrpcFault} */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    this.#held = Buffer.concat([this.#held, chunk])
    while (this.#held.length >= PREFIX_BYTES) {
      const length = lengthOf(this.#held, this.#bytesMax)
      if (this.#held.length < PREFIX_BYTES + length) return
      const whole = this.#held.subarray(PREFIX_BYTES, PREFIX_BYTES + length)
      this.#held = this.#held.subarray(PREFIX_BYTES + length)
      yield whole
    }
  }
}

/** Of the message that begins here. @throws {GrpcFault} */
function lengthOf(held: Buffer, bytesMax: number): number {
  if (held[0] === 1) throw new GrpcFault(GRPC_STATUS.UNIMPLEMENTED, 'compressed messages are not taken')
  if (held[0] !== 0) throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'no gRPC message')
  const length = held.readUInt32BE(1)
  if (length > bytesMax)
    throw new GrpcFault(GRPC_STATUS.RESOURCE_EXHAUSTED, `a request of ${length} bytes, at most ${bytesMax} are taken`)
  return length
}

/** The one message of a request, from its pieces however they are cut. Holds `bytesMax` and the five before them at most. */
export class RequestMessage {
  readonly #bytesMax: number
  #held: Buffer = Buffer.alloc(0)

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** @throws {GrpcFault} As soon as it cannot become a good request any more. */
  push(chunk: Uint8Array): void {
    const room = PREFIX_BYTES + this.#bytesMax - this.#held.length
    this.#held = Buffer.concat([this.#held, chunk.subarray(0, room + 1)])
    const flag = this.#held[0]
    if (flag === 1) throw new GrpcFault(GRPC_STATUS.UNIMPLEMENTED, 'compressed messages are not taken')
    if (flag !== undefined && flag !== 0) throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'no gRPC message')
    if (this.#held.length < PREFIX_BYTES) return
    const length = this.#held.readUInt32BE(1)
    if (length > this.#bytesMax)
      throw new GrpcFault(GRPC_STATUS.RESOURCE_EXHAUSTED, `a request of ${length} bytes, at most ${this.#bytesMax} are taken`)
    if (this.#held.length > PREFIX_BYTES + length)
      throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'more than one message, where one request is expected')
  }

  /** @throws {GrpcFault} When nothing or a part of it came. */
  end(): Uint8Array {
    if (this.#held.length < PREFIX_BYTES || this.#held.length < PREFIX_BYTES + this.#held.readUInt32BE(1))
      throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'the call ended before its request was whole')
    return this.#held.subarray(PREFIX_BYTES)
  }
}
