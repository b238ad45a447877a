/** What `ringwall sidecar` does: sidecar.yaml. */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { Callers, Duration } from '@ringwall/ring'
import { z } from 'zod'
import { type HostPort, parseHostPort } from '../address.ts'
import { StartError } from '../errors.ts'
import { readYaml } from '../yaml-file.ts'

const WAYS_MAX = 64

const Address = z.string().max(300)
const Inbound = z.strictObject({
  listen: Address.meta({ description: 'Where other services come, over mutual TLS.' }),
  to: z.url({ protocol: /^http$/ }).meta({ description: 'The local program: http://127.0.0.1:PORT.' }),
  callers: Callers.min(1),
  http2: z.boolean().default(false).meta({ description: 'The program speaks HTTP/2 by prior knowledge, as gRPC does.' }),
  timeout: Duration.default(30_000),
})
const Outbound = z.strictObject({
  listen: Address.meta({ description: 'Where the local program asks, on loopback.' }),
  to: z.url({ protocol: /^https$/ }).meta({ description: 'The other side: https://HOST:PORT.' }),
  is: z
    .string()
    .regex(
      /^(?:(?:service|node)\/[a-z0-9][a-z0-9-]{0,62}|spiffe:\/\/[A-Za-z0-9._/-]{1,500})$/,
      'expected service/NAME, node/NAME or a SPIFFE id',
    )
    .optional()
    .meta({ description: 'Whom its certificate of the ring must name.' }),
  name: z
    .string()
    .regex(/^(?=.{1,253}$)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*$/, 'expected a host name in lower case')
    .optional()
    .meta({ description: 'In place of is, of a node: the host name that its certificate must be for.' }),
  authorities: z
    .string()
    .max(4_096)
    .optional()
    .meta({ description: 'Who vouches for that, in PEM; those that Node knows unless given.' }),
  http2: z.boolean().default(false),
  timeout: Duration.default(30_000),
})

const Schema = z
  .strictObject({
    workloadApi: z.string().max(300).optional().meta({ description: 'unix:///PATH; else $SPIFFE_ENDPOINT_SOCKET.' }),
    service: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected the name of a service')
      .optional()
      .meta({ description: 'Which one this is, where the policy gives this program several.' }),
    inbound: z.array(Inbound).max(WAYS_MAX).default([]),
    outbound: z.array(Outbound).max(WAYS_MAX).default([]),
  })
  .refine(({ inbound, outbound }) => inbound.length + outbound.length > 0, { error: 'expected inbound, outbound, or both' })

export interface InboundConfig {
  readonly listen: HostPort
  readonly to: string
  readonly callers: readonly string[]
  readonly http2: boolean
  readonly timeoutMs: number
}

export interface OutboundConfig {
  readonly listen: HostPort
  readonly to: string
  /** `service/NAME`, `node/NAME` or a SPIFFE id. */
  readonly is: string | undefined
  /** In place of it: a host name, and who vouches for it, in PEM. */
  readonly name: string | undefined
  readonly authorities: string | undefined
  readonly http2: boolean
  readonly timeoutMs: number
}

export interface SidecarConfig {
  /** Path of the Workload API's socket. */
  readonly socket: string
  readonly service: string | undefined
  readonly inbound: readonly InboundConfig[]
  readonly outbound: readonly OutboundConfig[]
}

/** @throws {StartError} By line and column. */
export function readSidecarConfig(file: string, environment: NodeJS.ProcessEnv = process.env): SidecarConfig {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new StartError('CONFIG_INVALID', `${file}: the configuration cannot be read`, { cause })
  }
  return parseSidecarConfig(text, file, environment)
}

/** @throws {StartError} */
export function parseSidecarConfig(text: string, file: string, environment: NodeJS.ProcessEnv = {}): SidecarConfig {
  const reading = readYaml(Schema, text, file)
  if (!reading.ok) throw new StartError('CONFIG_INVALID', reading.problems.join('\n'))
  const { workloadApi, service, inbound, outbound } = reading.value
  return {
    socket: socketOf(workloadApi ?? environment.SPIFFE_ENDPOINT_SOCKET, file),
    service,
    inbound: inbound.map(({ listen, to, callers, http2, timeout }, at) => {
      const where = `${file}: inbound.${at}`
      const { hostname } = new URL(to)
      if (!isLoopback(hostname))
        throw new StartError(
          'CONFIG_INVALID',
          `${where}.to: ${hostname} is not this machine: what leaves it in the clear is nobody’s secret; expected 127.0.0.1 or [::1]`,
        )
      return {
        listen: parseHostPort(listen, `${where}.listen`),
        to: originOf(to, `${where}.to`),
        callers,
        http2,
        timeoutMs: timeout,
      }
    }),
    outbound: outbound.map(({ listen, to, is, name, authorities, http2, timeout }, at) => {
      const where = `${file}: outbound.${at}`
      const address = parseHostPort(listen, `${where}.listen`)
      if ((is === undefined) === (name === undefined) || (authorities !== undefined && name === undefined))
        throw new StartError(
          'CONFIG_INVALID',
          `${where}: expected is, or name (with authorities, where Node does not know them): whom the other side must be`,
        )
      const pem = authorities === undefined ? undefined : authoritiesIn(authorities, `${where}.authorities`)
      if (!isLoopback(address.host))
        throw new StartError(
          'CONFIG_INVALID',
          `${where}.listen: ${address.host} is not loopback: whoever reached it would speak as this service; expected 127.0.0.1 or [::1]`,
        )
      return { listen: address, to: originOf(to, `${where}.to`), is, name, authorities: pem, http2, timeoutMs: timeout }
    }),
  }
}

function socketOf(given: string | undefined, file: string): string {
  if (given === undefined || given === '')
    throw new StartError(
      'CONFIG_INVALID',
      `${file}: workloadApi is missing, and SPIFFE_ENDPOINT_SOCKET is not set: name the socket of the node on this machine, unix:///run/ringwall/workload.sock`,
    )
  const path = /^unix:(?:\/\/)?(\/.*)$/.exec(given)?.[1] ?? (given.startsWith('/') ? given : undefined)
  if (path === undefined)
    throw new StartError('CONFIG_INVALID', `${file}: workloadApi: ${JSON.stringify(given)} is no socket; expected unix:///PATH`)
  return path
}

function authoritiesIn(file: string, where: string): string {
  try {
    const pem = readFileSync(file, 'utf8')
    new X509Certificate(pem)
    return pem
  } catch {
    throw new StartError('CONFIG_INVALID', `${where}: ${file} has no certificates in PEM, or cannot be read`)
  }
}

function originOf(text: string, where: string): string {
  const url = new URL(text)
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '' || url.port === '')
    throw new StartError(
      'CONFIG_INVALID',
      `${where}: ${JSON.stringify(text)}: expected ${url.protocol}//HOST:PORT and nothing else`,
    )
  return url.origin
}

function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '')
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'))
}
