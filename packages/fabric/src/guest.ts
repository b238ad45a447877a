/**
 * A connection to a node by somebody who is none: TLS 1.3 with a key on both sides, told apart from links by ALPN (RFC 7301). The caller
 * knows the node's key beforehand and looks at nothing else of its certificate.
 */
import { constants, type KeyObject } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { sameKey, selfSignedCertificate } from './certificate.ts'
import { FabricError } from './errors.ts'
import { peerKey } from './handshake.ts'

export const GUEST_PROTOCOL = 'ringwall-guest/1'

export interface GuestCall {
  readonly host: string
  readonly port: number
  /** The node's: raw Ed25519. */
  readonly key: Uint8Array
  /** The caller's own: Ed25519. */
  readonly privateKey: KeyObject
  readonly timeoutMs: number
}

/**
 * Connects, and makes sure who answers.
 *
 * @throws {FabricError} `FABRIC_UNREACHABLE` or `FABRIC_TIMEOUT`.
 */
export async function callAsGuest({ host, port, key, privateKey, timeoutMs }: GuestCall): Promise<TLSSocket> {
  const at = `${host}:${port}`
  const cert = selfSignedCertificate('guest', privateKey, Date.now())
  const socket = connect({
    host,
    port,
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    cert,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
    ALPNProtocols: [GUEST_PROTOCOL],
    checkServerIdentity: () => undefined,
  })
  return new Promise((settle, refuse) => {
    const fail = (code: 'FABRIC_UNREACHABLE' | 'FABRIC_TIMEOUT', reason: string): void => {
      clearTimeout(timer)
      socket.destroy()
      refuse(new FabricError(code, `${at} ${reason}`))
    }
    const timer = setTimeout(() => fail('FABRIC_TIMEOUT', `did not answer in ${timeoutMs} ms`), timeoutMs)
    socket.on('error', (error: NodeJS.ErrnoException) =>
      fail('FABRIC_UNREACHABLE', `cannot be reached: ${error.code ?? error.message}`),
    )
    socket.once('close', () => fail('FABRIC_UNREACHABLE', 'closed the connection'))
    socket.once('secureConnect', () => {
      const shown = peerKey(socket)
      if (shown === undefined || !sameKey(shown, key))
        return fail(
          'FABRIC_UNREACHABLE',
          'answers with another key than is expected there; it is another program, or somebody in between',
        )
      if (socket.alpnProtocol !== GUEST_PROTOCOL)
        return fail('FABRIC_UNREACHABLE', 'takes no guests: it runs a version of Ringwall without invitations')
      clearTimeout(timer)
      socket.removeAllListeners('close')
      settle(socket)
    })
  })
}
