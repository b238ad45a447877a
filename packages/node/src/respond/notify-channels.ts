/** Channels as `notify` of `node.yaml` has them, with their secrets. */
import { type Channel, emailChannel, slackChannel, syslogChannel, webhookChannel } from '@ringwall/respond'
import type { z } from 'zod'
import { StartError } from '../errors.ts'
import { feedUrlFault } from '../feeds/feed-url.ts'
import { readTextFile } from '../text-file.ts'
import type { NotifySettings, Secret } from './notify-config.ts'

/** Reads the secrets that a channel names. @throws {StartError} */
export function openChannel(settings: NotifySettings): Channel {
  const { name } = settings
  const secretOf = (source: z.output<typeof Secret>, least: number): string => {
    const text =
      'env' in source ? process.env[source.env] : readTextFile(source.file, 'CONFIG_INVALID', `a secret of the channel ${name}`)
    const where = 'env' in source ? `the variable ${source.env}` : source.file
    if (text === undefined) throw new StartError('CONFIG_INVALID', `notify ${name}: ${where} is not set`)
    const secret = text.trim()
    if (secret.length < least || secret.length > 1_024 || /\s/.test(secret))
      throw new StartError('CONFIG_INVALID', `notify ${name}: ${where} must hold ${least} to 1024 characters, without blanks`)
    return secret
  }
  const caOf = (path: string | undefined): string | undefined =>
    path === undefined ? undefined : readTextFile(path, 'CONFIG_INVALID', `the authority of the channel ${name}`)
  switch (settings.kind) {
    case 'webhook':
      return webhookChannel({ name, url: settings.url, secret: secretOf(settings.secret, 16) })
    case 'slack': {
      const url = secretOf(settings.url, 8)
      if (feedUrlFault(url) !== undefined)
        throw new StartError('CONFIG_INVALID', `notify ${name}: expected the URL of an incoming webhook, https://HOST/PATH`)
      return slackChannel({ name, url })
    }
    case 'email': {
      const { host, port, tls, user, password, from, to, ca } = settings
      const secret = password === undefined ? undefined : secretOf(password, 1)
      return emailChannel({ name, host, port, tls, user, password: secret, from, to, ca: caOf(ca) })
    }
    case 'syslog': {
      const { host, port, transport, format, ca } = settings
      return syslogChannel({ name, host, port, transport, format, ca: caOf(ca) })
    }
  }
}
