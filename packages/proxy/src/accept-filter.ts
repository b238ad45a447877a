/**
 * Looks at who connects before a socket is made for them: of what a flood's connections cost, most is the making. By the handle that is
 * behind `net.Server`, as `wire.ts` goes by that behind a socket; where there is none of this shape, whoever accepts looks.
 */
import type { Server } from 'node:net'

/** As of a connection just accepted. */
interface ConnectionHandle {
  /** Fills in the other end; a number other than 0 is an error. */
  getpeername(out: { address?: string }): number
  /** A reset instead of an orderly end; a number other than 0 is an error. */
  reset(closed: () => void): number
  close(): void
}

interface ListeningHandle {
  onconnection: (this: ListeningHandle, status: number, connection: ConnectionHandle | undefined) => void
}

/** @param keepsOut By the peer's address as the system writes it. @returns Whether it is looked at here. */
export function filterConnections(server: Server, keepsOut: (address: string | undefined) => boolean): boolean {
  const handle = (server as unknown as { _handle?: Partial<ListeningHandle> | null })._handle
  const accept = handle?.onconnection
  if (handle === undefined || handle === null || typeof accept !== 'function') return false
  handle.onconnection = function (status, connection) {
    if (connection === undefined || typeof connection.getpeername !== 'function' || typeof connection.reset !== 'function') {
      accept.call(this, status, connection)
      return
    }
    const peer: { address?: string } = {}
    if (connection.getpeername(peer) !== 0 || keepsOut(peer.address)) {
      if (connection.reset(ignore) !== 0) connection.close()
    } else accept.call(this, status, connection)
  }
  return true
}

function ignore(): void {}
