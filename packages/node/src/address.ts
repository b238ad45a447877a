/** `host:port` as people write it. */
import { StartError } from './errors.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/**
 * Parses `127.0.0.1:8080`, `[::1]:8080` or `name:8080`.
 *
 * @param where What the address is for, for the message.
 * @throws {StartError} `CONFIG_INVALID`.
 */
export function parseHostPort(text: string, where: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):([0-9]{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new StartError(
      'CONFIG_INVALID',
      `${where}: ${JSON.stringify(text)} is no address; expected HOST:PORT such as 127.0.0.1:8080`,
    )
  }
  return { host: (match[1] ?? match[2]) as string, port }
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
