/**
 * Frames on a link.
 *
 *     frame = length(4, of what follows) kind(1) channel(1) id(4) payload
 *
 * `id` pairs answers with requests and is 0 elsewhere. Bytes may arrive in any split; a length beyond the bound is refused
 * before anything is buffered for it.
 */
import { FabricError } from './errors.ts'
import type { Channel } from './types.ts'

export const FRAME_BYTES_MAX: number = 8 * 1_024 * 1_024
const HEAD_BYTES = 6

const KINDS = ['hello', 'message', 'request', 'answer', 'failure', 'gossip', 'ping', 'pong'] as const
export type FrameKind = (typeof KINDS)[number]

const CHANNELS: readonly Channel[] = [
  'consensus',
  'gossip',
  'sync',
  'signals',
  'query',
  'limits',
  'signing',
  'vault',
  'passes',
  'acme',
  'disk',
  'attest',
  'model',
]

export interface Frame {
  readonly kind: FrameKind
  readonly channel: Channel
  readonly id: number
  readonly payload: Uint8Array
}

export function encodeFrame({ kind, channel, id, payload }: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(4 + HEAD_BYTES + payload.length)
  bytes.writeUInt32BE(HEAD_BYTES + payload.length, 0)
  bytes.writeUInt8(KINDS.indexOf(kind), 4)
  bytes.writeUInt8(CHANNELS.indexOf(channel), 5)
  bytes.writeUInt32BE(id, 6)
  bytes.set(payload, 10)
  return bytes
}

/** A large payload is not copied; a small one is, so that it does not keep alive all that was read with it. */
function own(bytes: Buffer): Uint8Array {
  if (2 * bytes.length < bytes.buffer.byteLength) return new Uint8Array(bytes)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

export class FrameParser {
  readonly #bytesMax: number
  #chunks: Buffer[] = []
  #held = 0

  constructor(bytesMax: number = FRAME_BYTES_MAX) {
    this.#bytesMax = bytesMax
  }

  /** Takes the next bytes; the frames that they complete. @throws {FabricError} `FABRIC_FRAME`. */
  push(chunk: Buffer): readonly Frame[] {
    this.#chunks.push(chunk)
    this.#held += chunk.length
    const frames: Frame[] = []
    for (;;) {
      if (this.#held < 4) return frames
      const length = this.#peek(4).readUInt32BE(0)
      if (length < HEAD_BYTES || length > this.#bytesMax) throw new FabricError('FABRIC_FRAME', `a frame of ${length} bytes`)
      if (this.#held < 4 + length) return frames
      const body = this.#peek(4 + length)
      this.#drop(4 + length)
      const kind = KINDS[body[4] as number]
      const channel = CHANNELS[body[5] as number]
      if (kind === undefined || channel === undefined)
        throw new FabricError('FABRIC_FRAME', 'a frame of an unknown kind or channel')
      frames.push({ kind, channel, id: body.readUInt32BE(6), payload: own(body.subarray(4 + HEAD_BYTES)) })
    }
  }

  /** The first bytes in one piece. Chunks are joined only when a whole frame is there, so that slow peers cost no copying. */
  #peek(count: number): Buffer {
    const first = this.#chunks[0] as Buffer
    if (first.length >= count) return first.subarray(0, count)
    const joined = Buffer.concat(this.#chunks)
    this.#chunks = [joined]
    return joined.subarray(0, count)
  }

  #drop(count: number): void {
    const first = this.#chunks[0] as Buffer
    if (first.length === count) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(count)
    this.#held -= count
  }
}
