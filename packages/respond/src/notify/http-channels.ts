/**
 * Channels over HTTP. `webhook`: JSON, signed as the Standard Webhooks specification has it (HMAC-SHA256 over id, time and body), so that receivers have
 * libraries for it; `webhook-id` is the same for each repetition. `slack`: the body that incoming webhooks of Slack take, and of Mattermost, Rocket.Chat and others.
 */
import { createHmac } from 'node:crypto'
import { type Channel, DeliveryFailed, type Message, SEND_MS_MAX } from './message.ts'

const SLACK_CHARS_MAX = 3_000

export interface WebhookSettings {
  readonly name: string
  readonly url: string
  /** `whsec_` and base64, or any text. */
  readonly secret: string
}

/** Seconds of Unix time, as the signature has them. */
export function webhookSignature(secret: string, id: string, atSeconds: number, body: string): string {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : Buffer.from(secret)
  return `v1,${createHmac('sha256', key).update(`${id}.${atSeconds}.${body}`).digest('base64')}`
}

export function webhookChannel({ name, url, secret }: WebhookSettings, now: () => number = Date.now): Channel {
  return {
    name,
    kind: 'webhook',
    async send(message) {
      const { type, atMs, ...data } = message
      const body = JSON.stringify({ type, timestamp: new Date(atMs).toISOString(), data })
      const atSeconds = Math.floor(now() / 1_000)
      await post(url, body, {
        'idempotency-key': message.id,
        'webhook-id': message.id,
        'webhook-timestamp': String(atSeconds),
        'webhook-signature': webhookSignature(secret, message.id, atSeconds, body),
      })
    },
  }
}

export function slackChannel({ name, url }: Pick<WebhookSettings, 'name' | 'url'>): Channel {
  return {
    name,
    kind: 'slack',
    send: (message) => post(url, JSON.stringify({ text: slackText(message) }), {}),
  }
}

/** `&`, `<` and `>` are all that Slack has escaped: so nothing that an attacker chose becomes a link or a mention. */
function slackText({ title, text, facts, severity, node }: Message): string {
  const lines = Object.entries(facts).map(([key, value]) => `${key}: ${value}`)
  const plain = [`[${severity}] ${title}`, text, ...lines, `from ${node}`].filter((line) => line !== '').join('\n')
  return plain.slice(0, SLACK_CHARS_MAX).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** Redirects are not followed: they could lead anywhere. The error names no URL: that of Slack is a secret. */
async function post(url: string, body: string, headers: Readonly<Record<string, string>>): Promise<void> {
  let status: number
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      redirect: 'manual',
      headers: { 'content-type': 'application/json', 'user-agent': 'ringwall', ...headers },
      signal: AbortSignal.timeout(SEND_MS_MAX),
    })
    status = response.status
    await response.body?.cancel()
  } catch (cause) {
    const isLate = cause instanceof Error && cause.name === 'TimeoutError'
    const why = cause instanceof Error && cause.cause instanceof Error ? (cause.cause as NodeJS.ErrnoException).code : undefined
    throw new DeliveryFailed(
      isLate ? `no answer in ${SEND_MS_MAX / 1_000} s` : `no connection (${why ?? 'no reason given'})`,
      false,
      {
        cause,
      },
    )
  }
  if (status >= 200 && status < 300) return
  const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 425 && status !== 429
  throw new DeliveryFailed(`it answered ${status}`, isFinal)
}
