/** How servers of a node start: one wording when an address or a file of theirs cannot be had. */
import { readFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { formatHostPort, type HostPort } from './address.ts'
import { StartError } from './errors.ts'

/**
 * Binds a server.
 * @param key What to change in `node.yaml`, such as `listen.admin`.
 * @returns The port: another one when 0 was asked for.
 * @throws {StartError} `PORT_IN_USE`.
 */
export async function listenOn(server: Server, listen: HostPort, key: string): Promise<number> {
  await new Promise<void>((settle, refuse) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const why =
        cause.code === 'EADDRINUSE'
          ? `is in use by another program; stop that or change ${key}`
          : `cannot be bound: ${cause.code ?? cause.message}`
      refuse(new StartError('PORT_IN_USE', `${formatHostPort(listen)} (${key}) ${why}`, { cause }))
    }
    server.once('error', fail)
    server.listen(listen.port, listen.host, () => {
      server.removeListener('error', fail)
      settle()
    })
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : listen.port
}

/** A certificate or key. @throws {StartError} `CONFIG_INVALID`. */
export function readTlsFile(file: string, key: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new StartError('CONFIG_INVALID', `${file}: cannot be read, and ${key} names it`, { cause })
  }
}
