/** E-mail by SMTP (RFC 5321), over TLS from the first byte or by STARTTLS (RFC 3207): in the clear on loopback only. */
import type { Transporter } from 'nodemailer'
import { type Channel, DeliveryFailed, type Message, SEND_MS_MAX } from './message.ts'

export interface EmailSettings {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly tls: 'tls' | 'starttls' | 'none'
  readonly user: string | undefined
  readonly password: string | undefined
  readonly from: string
  readonly to: readonly string[]
  /** PEM of the authority that the server's certificate is from; the platform's unless given. */
  readonly ca: string | undefined
}

export function emailChannel({ name, host, port, tls, user, password, from, to, ca }: EmailSettings): Channel {
  let transport: Transporter | undefined
  /** The library takes some 20 MB: whoever sends no mail does not load it. */
  const opened = async (): Promise<Transporter> => {
    const { createTransport } = await import('nodemailer')
    transport ??= createTransport({
      host,
      port,
      secure: tls === 'tls',
      requireTLS: tls === 'starttls',
      ignoreTLS: tls === 'none',
      ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
      tls: { minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) },
      connectionTimeout: SEND_MS_MAX,
      greetingTimeout: SEND_MS_MAX,
      socketTimeout: SEND_MS_MAX,
      // A message is text that we wrote: nothing of it is fetched or read from files.
      disableFileAccess: true,
      disableUrlAccess: true,
    })
    return transport
  }
  return {
    name,
    kind: 'email',
    async send(message) {
      try {
        await (await opened()).sendMail({
          from,
          to: [...to],
          subject: `[ringwall ${message.severity}] ${oneLine(message.title)}`.slice(0, 200),
          text: bodyOf(message),
          // A repetition is the same message.
          messageId: `<${message.id.replace(/[^A-Za-z0-9.-]/g, '-')}@${message.ring.slice(0, 16)}.ringwall.invalid>`,
          headers: { 'Auto-Submitted': 'auto-generated' },
        })
      } catch (cause) {
        const { responseCode, code } = cause as { responseCode?: number; code?: string }
        const isFinal = code === 'EAUTH' || (responseCode !== undefined && responseCode >= 500)
        throw new DeliveryFailed(`the mail server refused: ${responseCode ?? code ?? 'no reason given'}`, isFinal, { cause })
      }
    },
  }
}

const oneLine = (text: string): string => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')

function bodyOf({ title, text, facts, atMs, ring, node, id }: Message): string {
  const lines = Object.entries({ ...facts, at: new Date(atMs).toISOString(), node, ring: ring.slice(0, 16), id })
  return `${title}\n\n${text}\n\n${lines.map(([key, value]) => `${key}: ${oneLine(value)}`).join('\n')}\n`
}
