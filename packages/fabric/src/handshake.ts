/** From a TLS connection to a peer we know: whose key is it, and do we speak of the same ring? */
import type { TLSSocket } from 'node:tls'
import { keyOfCertificate } from './certificate.ts'
import { encodeFrame, type Frame, FrameParser } from './frames.ts'
import type { NodeId } from './types.ts'

const PROTOCOL = 1
const HELLO_MS_MAX = 5_000
/** Nobody needs more to say hello. */
const HELLO_BYTES_MAX = 1_024

/** What a peer does that knows no node with this key. */
export const CLOSED_BEFORE_HELLO = 'it closed the connection before saying hello: does it know this node’s key?'

export interface Hello {
  readonly protocol: number
  readonly ring: string
  readonly id: NodeId
}

/** Raw key that the other side proved to hold in the handshake. */
export function peerKey(socket: TLSSocket): Uint8Array | undefined {
  const { raw } = socket.getPeerCertificate() as { raw?: Buffer }
  return raw === undefined ? undefined : keyOfCertificate(raw)
}

/** A first frame that is no hello. */
export class HelloInvalid extends Error {
  override readonly name = 'HelloInvalid'
}

/** @throws {HelloInvalid} */
export function parseHello(frame: Frame): Hello {
  if (frame.kind !== 'hello' || frame.payload.length > HELLO_BYTES_MAX) throw new HelloInvalid('it did not say hello first')
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(frame.payload).toString('utf8'))
  } catch (cause) {
    throw new HelloInvalid('its hello is no JSON', { cause })
  }
  const { protocol, ring, id } = (value ?? {}) as Record<string, unknown>
  if (typeof protocol !== 'number' || typeof ring !== 'string' || typeof id !== 'string')
    throw new HelloInvalid('its hello is malformed')
  return { protocol, ring, id }
}

/**
 * Says hello and waits for the other's. The parser that is returned may hold the beginning of later frames.
 *
 * @returns The parser, and frames that came along with the hello.
 * @throws {Error} In words, when the other is of another ring or protocol, is not who its key says, or says nothing.
 */
export function exchangeHellos(
  socket: TLSSocket,
  own: Omit<Hello, 'protocol'>,
  expected: NodeId,
): Promise<{ readonly parser: FrameParser; readonly early: readonly Frame[] }> {
  return new Promise((settle, refuse) => {
    const parser = new FrameParser()
    const timer = setTimeout(() => end(new Error(`it said nothing for ${HELLO_MS_MAX / 1_000} s`)), HELLO_MS_MAX)
    const onData = (chunk: Buffer): void => {
      try {
        const [first, ...early] = parser.push(chunk)
        if (first === undefined) return
        const hello = parseHello(first)
        if (hello.protocol !== PROTOCOL)
          throw new Error(`it speaks protocol ${hello.protocol}, this node ${PROTOCOL}: run the same version of Ringwall`)
        if (hello.ring !== own.ring) throw new Error('it belongs to another ring: compare the genesis documents')
        if (hello.id !== expected) throw new Error(`its key is that of ${expected}, and it calls itself ${hello.id}`)
        end(undefined, early)
      } catch (error) {
        end(error as Error)
      }
    }
    const onClose = (): void => end(new Error(CLOSED_BEFORE_HELLO))
    const end = (error: Error | undefined, early: readonly Frame[] = []): void => {
      clearTimeout(timer)
      // Whatever comes before the link listens waits in the socket.
      socket.pause()
      socket.off('data', onData)
      socket.off('close', onClose)
      if (error === undefined) settle({ parser, early })
      else refuse(error)
    }
    socket.on('data', onData)
    socket.on('close', onClose)
    const payload = Buffer.from(JSON.stringify({ protocol: PROTOCOL, ...own } satisfies Hello))
    socket.write(encodeFrame({ kind: 'hello', channel: 'gossip', id: 0, payload }))
  })
}
