/** For tests: HTTP/2 by the frame, for what no polite client would send. */
import { connect, type Socket } from 'node:net'
import { encodeField, HpackDecoder } from './hpack.ts'

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
export const TYPES = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const
export type FrameType = keyof typeof TYPES

export const END_STREAM = 1
export const ACK = 1
export const END_HEADERS = 4
export const PADDED = 8

export const uint32 = (value: number): Buffer => Buffer.from([value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255])

export function frame(type: FrameType | number, flags: number, id: number, payload: Buffer | string = ''): Buffer {
  const body = Buffer.from(payload as string, 'latin1')
  const length = body.length
  const code = typeof type === 'number' ? type : TYPES[type]
  return Buffer.concat([Buffer.from([length >> 16, (length >> 8) & 255, length & 255, code, flags]), uint32(id), body])
}

export const settings = (...entries: readonly (readonly [id: number, value: number])[]): Buffer =>
  frame(
    'SETTINGS',
    0,
    0,
    Buffer.concat(entries.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)]))),
  )

/** Names and values in turn. */
export function block(...fields: readonly string[]): Buffer {
  let text = ''
  for (let at = 0; at < fields.length; at += 2) text += encodeField(fields[at]!, fields[at + 1]!)
  return Buffer.from(text, 'latin1')
}

export const GET = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a'] as const
export const POST = [':method', 'POST', ...GET.slice(2)] as const

export const headers = (id: number, fields: readonly string[] = GET, flags = END_STREAM | END_HEADERS): Buffer =>
  frame('HEADERS', flags, id, block(...fields))

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: Buffer
}

/** A connection of which every frame that comes is kept. */
export class RawH2 {
  readonly socket: Socket
  readonly frames: Frame[] = []
  closed = false
  readonly #decoder = new HpackDecoder()
  #rest: Buffer = Buffer.alloc(0)

  constructor(port: number, start: Buffer = Buffer.concat([PREFACE, settings()])) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => {
      this.closed = true
    })
    this.socket.on('data', (bytes: Buffer) => {
      this.#rest = Buffer.concat([this.#rest, bytes])
      while (this.#rest.length >= 9 && this.#rest.length >= 9 + this.#rest.readUIntBE(0, 3)) {
        const end = 9 + this.#rest.readUIntBE(0, 3)
        const [type, flags] = [this.#rest[3]!, this.#rest[4]!]
        this.frames.push({ type, flags, id: this.#rest.readUInt32BE(5), payload: this.#rest.subarray(9, end) })
        this.#rest = this.#rest.subarray(end)
      }
    })
    if (start.length > 0) this.socket.write(start)
  }

  write(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  of(type: FrameType, id?: number): readonly Frame[] {
    return this.frames.filter((each) => each.type === TYPES[type] && (id === undefined || each.id === id))
  }

  /** Error code of the connection's end, if it was told. */
  get goaway(): number | undefined {
    return this.of('GOAWAY').at(-1)?.payload.readUInt32BE(4)
  }

  reset(id: number): number | undefined {
    return this.of('RST_STREAM', id)[0]?.payload.readUInt32BE(0)
  }

  /** Statuses of all responses, by stream. To be asked once: the fields are decoded in the order in which they came. */
  statuses(): ReadonlyMap<number, number> {
    const found = new Map<number, number>()
    for (const { id, payload } of this.of('HEADERS')) {
      const list = this.#decoder.decode(payload, { bytesMax: 65_536, fieldsMax: 100 })!.fields
      if (list[0] === ':status') found.set(id, Number(list[1]))
    }
    return found
  }
}
