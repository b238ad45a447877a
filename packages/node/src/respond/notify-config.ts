/** `notify` of `node.yaml`: where this node tells what happens. Secrets come from files or the environment, never from the text itself. */
import { z } from 'zod'
import { feedUrlFault } from '../feeds/feed-url.ts'

const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and hyphens')
const Host = z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, 'expected a host')
const Port = z.int().min(1).max(65_535)
export const Secret = z.union([
  z.strictObject({ env: z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/, 'expected the name of a variable, as DESK_SECRET') }),
  z.strictObject({ file: z.string().min(1) }),
])
const Address = z.string().regex(/^[^\s@<>,;"]{1,64}@[A-Za-z0-9.-]{1,253}$/, 'expected an address such as desk@example.com')
/** Told of incidents of this severity on. */
const Incidents = z.enum(['low', 'medium', 'high']).optional()
const common = { name: Name, incidents: Incidents }

export const NotifySchema = z
  .array(
    z.discriminatedUnion('kind', [
      z.strictObject({ ...common, kind: z.literal('webhook'), url: z.string().max(500), secret: Secret }),
      z.strictObject({ ...common, kind: z.literal('slack'), url: Secret }),
      z.strictObject({
        ...common,
        kind: z.literal('email'),
        host: Host,
        port: Port.default(587),
        tls: z.enum(['tls', 'starttls', 'none']).default('starttls'),
        user: z.string().min(1).max(320).optional(),
        password: Secret.optional(),
        from: Address,
        to: z.array(Address).min(1).max(32),
        ca: z.string().min(1).optional(),
      }),
      z.strictObject({
        ...common,
        kind: z.literal('syslog'),
        host: Host,
        port: Port.default(514),
        transport: z.enum(['udp', 'tcp', 'tls']).default('tls'),
        format: z.enum(['plain', 'cef']).default('plain'),
        ca: z.string().min(1).optional(),
      }),
    ]),
  )
  .max(32)
  .default([])

export type NotifySettings = z.output<typeof NotifySchema>[number]

const LOOPBACK = /^(?:127(?:\.[0-9]{1,3}){3}|::1|localhost)$/

/** What is wrong with a channel, with its key; undefined: nothing. */
export function notifyFault(settings: NotifySettings): readonly [key: string, message: string] | undefined {
  if (settings.kind === 'webhook') {
    const fault = feedUrlFault(settings.url)
    return fault === undefined ? undefined : ['url', fault]
  }
  if (settings.kind === 'email') {
    if (settings.tls === 'none' && !LOOPBACK.test(settings.host))
      return ['tls', 'expected tls or starttls: what is told would travel in the clear; none is for loopback']
    if ((settings.user === undefined) !== (settings.password === undefined))
      return ['user', 'expected user and password, or neither']
  }
  return undefined
}

/** Its paths absolute. */
export function withPaths(settings: NotifySettings, at: (path: string) => string): NotifySettings {
  const secret = <T extends z.output<typeof Secret> | undefined>(source: T): T =>
    source !== undefined && 'file' in source ? ({ file: at(source.file) } as T) : source
  const ca = (path: string | undefined): { readonly ca?: string } => (path === undefined ? {} : { ca: at(path) })
  switch (settings.kind) {
    case 'webhook':
      return { ...settings, secret: secret(settings.secret) }
    case 'slack':
      return { ...settings, url: secret(settings.url) }
    case 'email':
      return { ...settings, password: secret(settings.password), ...ca(settings.ca) }
    case 'syslog':
      return { ...settings, ...ca(settings.ca) }
  }
}
