/**
 * Connections of their own between two nodes, for what is too much for links: bytes in order with the back-pressure of TCP. TLS 1.3 with both
 * keys pinned as on links, told apart from them by ALPN (RFC 7301). What is spoken on them is for who opens them.
 */
import { constants } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { sameKey } from './certificate.ts'
import { FabricError } from './errors.ts'
import { peerKey } from './handshake.ts'
import type { NodeId, Peer, StreamHandler } from './types.ts'

export const STREAM_PROTOCOL = 'ringwall-stream/1'
/** That one peer may have here at a time. */
export const STREAMS_PER_PEER_MAX = 48
const HANDSHAKE_MS_MAX = 5_000

export class Streams {
  /** Of peers, in both directions. */
  readonly #open = new Map<NodeId, Set<TLSSocket>>()
  handler: StreamHandler | undefined

  /** A peer's, whose key was looked at. Ends it when there are too many, or nobody wants any. */
  accept(from: NodeId, socket: TLSSocket): void {
    if (this.handler === undefined || (this.#open.get(from)?.size ?? 0) >= 2 * STREAMS_PER_PEER_MAX) {
      socket.destroy()
      return
    }
    this.#keep(from, socket)
    this.handler(from, socket)
  }

  /** @throws {FabricError} `FABRIC_UNREACHABLE`, also when there are too many. */
  connect({ id, host, port, publicKey }: Peer, credentials: { readonly key: string; readonly cert: string }): Promise<TLSSocket> {
    const unreachable = (reason: string): FabricError =>
      new FabricError('FABRIC_UNREACHABLE', `${id} at ${host}:${port} cannot be reached: ${reason}`)
    if ((this.#open.get(id)?.size ?? 0) >= 2 * STREAMS_PER_PEER_MAX)
      return Promise.reject(unreachable('too many connections stand already'))
    const socket = connect({
      ...credentials,
      host,
      port,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      rejectUnauthorized: false,
      secureOptions: constants.SSL_OP_NO_TICKET,
      ALPNProtocols: [STREAM_PROTOCOL],
      checkServerIdentity: () => undefined,
    })
    this.#keep(id, socket)
    return new Promise((settle, refuse) => {
      const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), HANDSHAKE_MS_MAX)
      socket.once('error', (error: NodeJS.ErrnoException) => refuse(unreachable(error.code ?? error.message)))
      socket.once('close', () => {
        clearTimeout(timer)
        refuse(unreachable('it closed the connection'))
      })
      socket.once('secureConnect', () => {
        clearTimeout(timer)
        const key = peerKey(socket)
        if (key === undefined || !sameKey(publicKey, key) || socket.alpnProtocol !== STREAM_PROTOCOL)
          socket.destroy(new Error('it answers with another key, or knows no streams'))
        else settle(socket.setNoDelay(true))
      })
    })
  }

  /** Ends those of one peer, or all. */
  end(id?: NodeId): void {
    for (const [held, sockets] of this.#open) if (id === undefined || held === id) for (const socket of sockets) socket.destroy()
  }

  #keep(id: NodeId, socket: TLSSocket): void {
    const held = this.#open.get(id) ?? new Set()
    held.add(socket)
    this.#open.set(id, held)
    // Whoever uses it hears of errors by the stream that it reads or writes.
    socket.on('error', () => {})
    socket.once('close', () => {
      held.delete(socket)
      if (held.size === 0 && this.#open.get(id) === held) this.#open.delete(id)
    })
  }
}
