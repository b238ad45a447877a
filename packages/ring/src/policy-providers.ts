/**
 * Outside parties whose word about people counts: OpenID Providers and SAML 2.0 identity providers, and what the ring makes of the people that they
 * name. Their keys are public; what a node shows them to be known as a client by is no part of the policy.
 */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import { isSecureUrl } from './policy-openid.ts'
import type { PeoplePolicy } from './policy-people.ts'
import { Name } from './policy-values.ts'
import { mayNodesRead, type VaultPolicy } from './policy-vault.ts'
import { SECRET_NAME, SECRET_NAME_CHARS_MAX } from './secret-name.ts'

export const PROVIDERS_MAX = 16
const Text = z.string().min(1).max(256)
const Url = z.string().min(1).max(512)
const VAULT = 'vault:'
const IN_VAULT = new RegExp(`^${VAULT}${SECRET_NAME.source.slice(1)}`)
const Group = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$/, 'expected letters, digits and . _ : -')

const common = {
  name: Name.meta({ description: 'What it is called here: in links, sessions and the names of its people.' }),
  title: z
    .string()
    .regex(/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,64}$/u, 'expected one printable line')
    .optional()
    .meta({ description: 'On the page where people log in; the name unless given.' }),
  accounts: z
    .enum(['linked', 'made', 'both'])
    .default('linked')
    .meta({ description: 'linked: people of the directory who enrolled by it; made: everybody whom it names, as NAME:THEIRS.' }),
  groups: z
    .record(Text, Group)
    .default({})
    .meta({ description: 'Which of its groups are which of the ring’s; others are passed over.' }),
  domains: z
    .array(
      z
        .string()
        .max(253)
        .regex(/^[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+$/, 'expected a domain in lower case'),
    )
    .max(32)
    .default([])
    .meta({ description: 'Only people with an address of mail in one of these; anybody when empty.' }),
}

const OpenIdOutside = z.strictObject({
  ...common,
  kind: z.literal('openid'),
  issuer: Url.meta({ description: 'As its discovery document and its tokens spell it.' }),
  clientId: z.string().regex(/^[\x21-\x7e]{1,256}$/, 'expected 1 to 256 printable characters without blanks'),
  authentication: z
    .strictObject({
      method: z
        .enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
        .default('client_secret_basic')
        .meta({ description: 'private_key_jwt: the ring signs with its key, which the provider takes from its JWKS.' }),
      secretVariable: z
        .string()
        .regex(/^[A-Z][A-Z0-9_]{0,127}$/, 'expected the name of an environment variable')
        .optional()
        .meta({ description: 'The environment variable of nodes that holds the secret: never the secret itself.' }),
      secret: z
        .string()
        .max(VAULT.length + SECRET_NAME_CHARS_MAX)
        .regex(IN_VAULT, 'expected vault:NAME, as in ringwall vault put NAME: never the secret itself')
        .optional()
        .meta({ description: 'vault:NAME, the secret of the vault that it is, which vault.rules let nodes read.' }),
    })
    .default({ method: 'none' })
    .meta({ description: 'How nodes show that they are this client.' }),
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,64}$/))
    .max(16)
    .default(['openid', 'profile', 'email'])
    .refine((scopes) => scopes.includes('openid'), { error: 'expected openid among them' }),
  algorithms: z
    .array(z.enum(['EdDSA', 'ES256', 'ES384', 'PS256', 'RS256']))
    .min(1)
    .default(['EdDSA', 'ES256', 'RS256']),
  jwks: z
    .strictObject({
      keys: z
        .array(z.looseObject({ kty: z.enum(['OKP', 'EC', 'RSA']) }))
        .min(1)
        .max(16),
    })
    .optional()
    .meta({ description: 'Its keys (RFC 7517). Without, each holder of the ring’s key fetches them from it.' }),
  signals: z
    .strictObject({
      issuer: Url.optional().meta({ description: 'Of its events; that of its ID tokens unless given.' }),
      audience: Text.optional().meta({ description: 'Of its events; the client id unless given.' }),
    })
    .optional()
    .meta({ description: 'Its security events are taken (OpenID Shared Signals): they end sessions.' }),
  claims: z
    .strictObject({
      name: Text.default('preferred_username').meta({ description: 'Of the ID token: what somebody is called.' }),
      groups: Text.default('groups'),
    })
    .prefault({}),
})

const SamlOutside = z.strictObject({
  ...common,
  kind: z.literal('saml'),
  entityId: z.string().min(1).max(1_024).meta({ description: 'Of the identity provider, as its metadata says it.' }),
  signOn: Url.meta({ description: 'Its single sign-on service, of the binding HTTP-Redirect.' }),
  certificates: z
    .array(
      z
        .string()
        .max(8_192)
        .regex(
          /^(?:-----BEGIN CERTIFICATE-----\s)?M[A-Za-z0-9+/=\s]{100,8000}(?:-----END CERTIFICATE-----\s*)?$/,
          'expected a certificate',
        ),
    )
    .min(1)
    .max(8)
    .meta({ description: 'That its assertions are signed by. Only their keys count: no chain, no dates.' }),
  attributes: z
    .strictObject({
      name: Text.default('NameID').meta({ description: 'The attribute that says what somebody is called, or NameID.' }),
      groups: Text.default('groups'),
      email: Text.default('email'),
    })
    .prefault({}),
})

export const Provider = z.discriminatedUnion('kind', [OpenIdOutside, SamlOutside])
export const Providers = z
  .array(Provider)
  .max(PROVIDERS_MAX)
  .default([])
  .meta({ description: 'OpenID Providers and SAML identity providers outside, by which people may log in.' })

export type ProviderPolicy = z.output<typeof Provider>
export type OpenIdProviderPolicy = Extract<ProviderPolicy, { kind: 'openid' }>
export type SamlProviderPolicy = Extract<ProviderPolicy, { kind: 'saml' }>

/** The name of the secret of the vault that nodes show as this client; undefined: it is in none. */
export function vaultSecretOf({ authentication: { secret } }: OpenIdProviderPolicy): string | undefined {
  return secret?.slice(VAULT.length)
}

/** Whether nodes show a secret to it. */
export function hasSecret({ authentication: { method } }: OpenIdProviderPolicy): boolean {
  return method === 'client_secret_basic' || method === 'client_secret_post'
}

interface Held {
  readonly vault: VaultPolicy
  readonly providers: readonly ProviderPolicy[]
  readonly services: Readonly<Record<string, { readonly people?: PeoplePolicy | undefined }>>
}

export function providerFaults({ vault, providers, services }: Held): PolicyFault[] {
  const faults: PolicyFault[] = []
  const names = new Set<string>()
  for (const [index, provider] of providers.entries()) {
    const at = ['providers', index]
    if (names.has(provider.name))
      faults.push({
        path: [...at, 'name'],
        message: `the provider ${provider.name} occurs twice`,
        hint: 'give each its own name',
      })
    names.add(provider.name)
    const key = provider.kind === 'openid' ? 'issuer' : 'signOn'
    const url = URL.parse(provider.kind === 'openid' ? provider.issuer : provider.signOn)
    if (url === null || !isSecureUrl(url) || url.username !== '' || url.hash !== '' || (key === 'issuer' && url.search !== '')) {
      const message = 'expected an https address, or http on loopback, without user, query or fragment'
      faults.push({ path: [...at, key], message })
    }
    if (provider.kind !== 'openid') continue
    faults.push(...secretFaults(provider, vault, [...at, 'authentication']))
  }
  for (const [service, { people }] of Object.entries(services)) {
    if (people === undefined) continue
    for (const [index, name] of people.providers.entries())
      if (!names.has(name)) {
        const message = `the policy has no provider ${name}`
        faults.push({ path: ['services', service, 'people', 'providers', index], message, hint: 'name one of providers' })
      }
    if (people.methods.length + people.providers.length === 0) {
      const message = 'nobody could log in: no methods and no providers'
      faults.push({ path: ['services', service, 'people', 'methods'], message, hint: 'name a method, or a provider' })
    }
  }
  return faults
}

function secretFaults(provider: OpenIdProviderPolicy, vault: VaultPolicy, path: PolicyFault['path']): PolicyFault[] {
  const { method, secretVariable, secret } = provider.authentication
  const count = [secretVariable, secret].filter((one) => one !== undefined).length
  if (count !== (hasSecret(provider) ? 1 : 0)) {
    const message =
      method === 'none'
        ? 'a client without authentication has no secret'
        : method === 'private_key_jwt'
          ? 'a client that the ring signs for has no secret'
          : `${method} needs secret or secretVariable, one of them`
    return [{ path, message, hint: 'say secret: vault:NAME, or name the environment variable that nodes have it in' }]
  }
  const name = vaultSecretOf(provider)
  if (name === undefined || mayNodesRead(vault, name)) return []
  const message = `no rule of vault.rules lets nodes read ${name}`
  return [{ path: [...path, 'secret'], message, hint: `add { path: ${name}, read: ["node:*"] } to vault.rules` }]
}
