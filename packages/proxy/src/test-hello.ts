/** For tests: ClientHellos of any shape. */

export const uint16s = (values: readonly number[]): Buffer =>
  Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 255])))

export function vector(lengthBytes: 1 | 2, bytes: Buffer): Buffer {
  const length = lengthBytes === 1 ? Buffer.from([bytes.length]) : uint16s([bytes.length])
  return Buffer.concat([length, bytes])
}

export const extension = (type: number, body: Buffer): Buffer => Buffer.concat([uint16s([type]), vector(2, body)])

/** The handshake message. */
export function helloBytes(parts: {
  readonly version?: number
  readonly ciphers?: Buffer
  readonly compressions?: Buffer
  readonly sessionId?: Buffer
  readonly extensions?: readonly Buffer[]
}): Buffer {
  const body = Buffer.concat([
    uint16s([parts.version ?? 0x0303]),
    Buffer.alloc(32, 7),
    vector(1, parts.sessionId ?? Buffer.alloc(32)),
    vector(2, parts.ciphers ?? uint16s([0x1301, 0x1302])),
    vector(1, parts.compressions ?? Buffer.from([0])),
    parts.extensions === undefined ? Buffer.alloc(0) : vector(2, Buffer.concat(parts.extensions)),
  ])
  return Buffer.concat([Buffer.from([1, body.length >> 16, (body.length >> 8) & 255, body.length & 255]), body])
}

/** A handshake message in records of at most `size` bytes. */
export function records(message: Buffer, size = 16_384): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < message.length; at += size)
    parts.push(Buffer.from([22, 3, 1]), vector(2, message.subarray(at, at + size)))
  return Buffer.concat(parts)
}
