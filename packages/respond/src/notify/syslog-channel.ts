/**
 * Syslog (RFC 5424) over UDP (RFC 5426), TCP (RFC 6587, octet counting) or TLS (RFC 5425); the message in plain words, or in ArcSight's Common Event
 * Format (CEF 0), as collectors of events read it.
 */
import { createSocket } from 'node:dgram'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Channel, DeliveryFailed, type Message, SEND_MS_MAX } from './message.ts'

export interface SyslogSettings {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly transport: 'udp' | 'tcp' | 'tls'
  readonly format: 'plain' | 'cef'
  readonly ca: string | undefined
}

/** `local0`, and what syslog calls the severities. */
const FACILITY = 16
const SEVERITIES = { high: 2, medium: 4, low: 5 } as const
const CEF_SEVERITIES = { high: 9, medium: 6, low: 3 } as const
const DATAGRAM_BYTES_MAX = 2_048
const MESSAGE_BYTES_MAX = 8_192

const plain = (text: string): string => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')

/** In the header `\` and `|` are escaped, in the extension `\` and `=`. */
export function cef({ type, title, text, severity, facts, id, atMs, node }: Message): string {
  const head = (value: string): string => plain(value).replaceAll('\\', '\\\\').replaceAll('|', '\\|')
  const extension = (value: string): string => plain(value).replaceAll('\\', '\\\\').replaceAll('=', '\\=')
  const fields = { rt: String(atMs), externalId: id, dvchost: node, msg: text, ...namesOf(facts) }
  const said = Object.entries(fields).map(([key, value]) => `${key}=${extension(value)}`)
  return `CEF:0|Ringwall|Ringwall|1|${head(type)}|${head(title)}|${CEF_SEVERITIES[severity]}|${said.join(' ')}`
}

/** What CEF has a name for; the rest as custom strings, of which it has six. */
function namesOf(facts: Message['facts']): Record<string, string> {
  const named: Record<string, string> = {}
  let custom = 0
  for (const [key, value] of Object.entries(facts)) {
    if (key === 'source') named.src = value
    else if (custom < 6) {
      custom += 1
      named[`cs${custom}Label`] = key
      named[`cs${custom}`] = value
    }
  }
  return named
}

export function syslogLine(message: Message, format: SyslogSettings['format']): string {
  const { severity, atMs, node, type, title, text } = message
  const priority = FACILITY * 8 + SEVERITIES[severity]
  const said = format === 'cef' ? cef(message) : plain(`${title}: ${text}`)
  return `<${priority}>1 ${new Date(atMs).toISOString()} ${node} ringwall - ${type.slice(0, 32)} - ${said}`
}

export function syslogChannel({ name, host, port, transport, format, ca }: SyslogSettings): Channel {
  return {
    name,
    kind: 'syslog',
    async send(message) {
      const most = transport === 'udp' ? DATAGRAM_BYTES_MAX : MESSAGE_BYTES_MAX
      const bytes = Buffer.from(syslogLine(message, format)).subarray(0, most)
      try {
        if (transport === 'udp') await datagram(host, port, bytes)
        else await streamed(host, port, Buffer.concat([Buffer.from(`${bytes.length} `), bytes]), transport, ca)
      } catch (cause) {
        const { code } = cause as NodeJS.ErrnoException
        throw new DeliveryFailed(`the collector cannot be reached (${code ?? 'no reason given'})`, false, { cause })
      }
    },
  }
}

function datagram(host: string, port: number, bytes: Buffer): Promise<void> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.send(bytes, port, host, (error) => {
      socket.close()
      if (error === null) resolve()
      else reject(error)
    })
  })
}

/** Syslog answers nothing: told is what the other side has taken off the connection until it was closed. */
function streamed(host: string, port: number, bytes: Buffer, transport: 'tcp' | 'tls', ca: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket =
      transport === 'tls'
        ? connectTls({ host, port, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) })
        : connectTcp({ host, port })
    socket.setTimeout(SEND_MS_MAX, () => socket.destroy(Object.assign(new Error('late'), { code: 'ETIMEDOUT' })))
    socket.on('error', reject)
    socket.once(transport === 'tls' ? 'secureConnect' : 'connect', () => socket.end(bytes))
    socket.resume()
    socket.once('close', (failed) => {
      if (!failed) resolve()
    })
  })
}
