/** Logins of people: the pages where they log in, what other programs are told of them, and this node's secrets at outside providers. */
import { join } from 'node:path'
import { encodeBase64url } from '@ringwall/ring/tx'
import { denialOfCredential } from '../known-denials.ts'
import { LoginForms } from '../people/login-forms.ts'
import { LoginPortal } from '../people/login-portal.ts'
import { Passwords } from '../people/passwords.ts'
import { ProviderSecrets } from '../people/provider-secrets.ts'
import { SamlKey } from '../people/saml-key.ts'
import { SignalStreams } from '../people/signal-streams.ts'
import type { Agreement } from './agreement.ts'
import type { Denials } from './denials.ts'
import type { Ground } from './ground.ts'
import type { Judging } from './judging.ts'
import type { LateParts } from './late-parts.ts'
import type { OwnName } from './own-name.ts'
import type { ProviderTrust } from './providers.ts'
import type { RingKeys } from './ring-keys.ts'
import { vaultReading } from './vault-reading.ts'
import type { Watches } from './watches.ts'

export interface PeopleParts {
  readonly portal: LoginPortal
  readonly forms: LoginForms
  readonly samlKey: SamlKey
  readonly signals: SignalStreams
  /** The policy may name other providers now. */
  readonly reviewProviders: () => void
}

/** What logins rest on. */
export interface PeopleFoundation {
  readonly own: OwnName
  readonly denials: Denials
  readonly judging: Judging
  readonly watches: Watches
  readonly providers: ProviderTrust
  readonly keys: RingKeys
}

export async function openPeople(
  ground: Ground,
  agreement: Agreement,
  foundation: PeopleFoundation,
  late: LateParts,
): Promise<PeopleParts> {
  const { config, ring, seal, log } = ground
  const { early, now } = agreement
  const { own, denials, judging, providers, keys } = foundation
  const secrets = openSecretsAtProviders(ground, agreement, foundation)
  const review = (): void => {
    for (const line of secrets.review()) ground.events.add('policy', 'warn', line)
  }
  review()
  const forms = new LoginForms()
  const samlKey = new SamlKey(join(config.data, 'keys', 'saml'), seal, config.id)
  const signals = await openSignals(ground, agreement, foundation)
  late.signals = signals
  const portal = new LoginPortal({
    signals,
    ring,
    node: config.id,
    samlKey: () => samlKey.held(),
    providerKeys: providers.keys,
    http: providers.http,
    secrets,
    view: () => now.view,
    people: () => now.state.people,
    tokens: () => now.tokens,
    isDenied: (of) => denialOfCredential(now.view, early, of) !== undefined,
    forms,
    passwords: new Passwords(),
    mint: (asked, timeoutMs) => keys.signing.mint(asked, timeoutMs),
    propose: (body, waitMs) => denials.propose(own.transaction(body), waitMs),
    redeem: denials.redeem,
    isBreached: (password) => judging.breaches?.has(password) ?? false,
    log: (line) => log('warn', line),
  })
  const reviewProviders = (): void => {
    providers.keys.warm()
    review()
  }
  return { portal, forms, samlKey, signals, reviewProviders }
}

function openSecretsAtProviders(ground: Ground, agreement: Agreement, { own, watches, keys }: PeopleFoundation): ProviderSecrets {
  const { log, closing } = ground
  const secrets = new ProviderSecrets({
    ...vaultReading(ground, agreement, own, watches, keys),
    variable: (name) => process.env[name],
    log: (line) => log('warn', line),
  })
  closing.add(() => secrets.stop())
  return secrets
}

async function openSignals(
  { config, ring, disk, log, closing }: Ground,
  { fabric, now }: Agreement,
  { providers, keys }: PeopleFoundation,
): Promise<SignalStreams> {
  const signals = new SignalStreams({
    ring,
    self: config.id,
    view: () => now.view,
    version: () => now.blocksWithNews,
    mint: async (person, timeoutMs) => {
      const { message, signature } = await keys.signing.mint({ person }, timeoutMs)
      return `${Buffer.from(message).toString()}.${encodeBase64url(signature)}`
    },
    http: providers.http,
    secret: (variable) => process.env[variable],
    fabric,
    file: join(config.data, 'signal-streams'),
    disk: disk.seal,
    log,
  })
  await signals.start()
  closing.add(() => signals.stop())
  return signals
}
