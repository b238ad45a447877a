/** Which programs may have the ring's people log in for them (OpenID Connect), and where. */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import type { PeoplePolicy } from './policy-people.ts'
import { Name } from './policy-values.ts'

const Uri = z.string().min(1).max(512)

const Client = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'expected letters, digits and . _ -'),
  secretHash: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256: and 64 hex digits')
    .optional()
    .meta({ description: 'SHA-256 of its secret, at least 32 random characters; without, it is a public client.' }),
  jwks: z
    .strictObject({
      keys: z
        .array(z.looseObject({ kty: z.enum(['OKP', 'EC', 'RSA']) }))
        .min(1)
        .max(8),
    })
    .optional()
    .meta({ description: 'Its public keys (RFC 7517): it shows itself by what it signs (private_key_jwt, RFC 7523).' }),
  dpop: z
    .boolean()
    .default(false)
    .meta({ description: 'Whether its access tokens are always bound to a key of its own (RFC 9449).' }),
  redirectUris: z.array(Uri).min(1).max(16).meta({ description: 'Compared character by character.' }),
  postLogoutRedirectUris: z.array(Uri).max(16).default([]),
  consent: z.enum(['ask', 'skip']).default('ask').meta({ description: 'Whether people are asked before they log in to it.' }),
  groups: z.array(z.string().max(63)).max(32).default([]).meta({ description: 'Only for people in one of these.' }),
})

const Stream = z.strictObject({
  name: Name,
  audience: z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'expected 1 to 255 printable characters without blanks')
    .meta({ description: 'aud of its events.' }),
  keyHash: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256: and 64 hex digits')
    .meta({ description: 'SHA-256 of the key that the receiver shows, at least 32 random characters.' }),
  delivery: z.enum(['push', 'poll']).default('poll'),
  endpoint: Uri.optional().meta({ description: 'Of push: where events are posted (RFC 8935).' }),
  authorizationVariable: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]{0,63}$/, 'expected the name of a variable')
    .optional()
    .meta({ description: 'Of push: a variable in the environment of the nodes that holds the Authorization header.' }),
  events: z
    .array(z.enum(['session-revoked', 'credential-change']))
    .min(1)
    .max(2)
    .default(['session-revoked', 'credential-change']),
  subjects: z
    .enum(['all', 'none'])
    .default('all')
    .meta({ description: 'Whom it is told of until the receiver adds and removes subjects.' }),
})

export const OpenId = z
  .strictObject({
    service: Name.meta({ description: 'Where people log in: its hosts answer for the issuer.' }),
    issuer: Uri.meta({ description: 'https://HOST, as its clients know it.' }),
    clients: z.array(Client).max(200).default([]),
    streams: z.array(Stream).max(16).default([]).meta({ description: 'Receivers of security events (OpenID Shared Signals).' }),
  })
  .meta({ description: 'The ring as an OpenID Provider.' })

export type OpenIdPolicy = z.output<typeof OpenId>
export type SignalStreamPolicy = z.output<typeof Stream>
export type OpenIdClient = z.output<typeof Client>

interface Held {
  readonly openid?: OpenIdPolicy | undefined
  readonly services: Readonly<Record<string, { readonly people?: PeoplePolicy | undefined }>>
}

export function openIdFaults({ openid, services }: Held): PolicyFault[] {
  if (openid === undefined) return []
  const faults: PolicyFault[] = []
  const service = Object.hasOwn(services, openid.service) ? services[openid.service] : undefined
  if (service?.people === undefined) {
    const message = `${openid.service} is no service that people log in to`
    faults.push({ path: ['openid', 'service'], message, hint: 'name one that has people' })
  }
  const issuer = URL.parse(openid.issuer)
  if (issuer === null || issuer.origin !== openid.issuer || !isSecureUrl(issuer)) {
    const message = 'expected an origin such as https://login.example, without a path or a slash at its end'
    faults.push({ path: ['openid', 'issuer'], message })
  }
  const ids = new Set<string>()
  for (const [index, { id, jwks, secretHash, redirectUris, postLogoutRedirectUris }] of openid.clients.entries()) {
    const at = ['openid', 'clients', index]
    if (ids.has(id)) faults.push({ path: [...at, 'id'], message: `the client ${id} occurs twice`, hint: 'keep one of the two' })
    ids.add(id)
    if (jwks !== undefined && secretHash !== undefined)
      faults.push({ path: [...at, 'jwks'], message: 'a client has keys, or a secret', hint: 'keep one of the two' })
    if (Object.hasOwn(services, id)) {
      const message = `${id} is the name of a service: its tokens would be told apart by nobody`
      faults.push({ path: [...at, 'id'], message, hint: 'choose another' })
    }
    for (const [key, uris] of Object.entries({ redirectUris, postLogoutRedirectUris }))
      for (const [place, uri] of uris.entries()) {
        if (isRedirect(uri)) continue
        const message = `${JSON.stringify(uri)}: expected https, http on loopback, or a scheme such as com.example.app, without a fragment`
        faults.push({ path: [...at, key, place], message })
      }
  }
  faults.push(...streamFaults(openid.streams))
  return faults
}

function streamFaults(streams: readonly SignalStreamPolicy[]): PolicyFault[] {
  const faults: PolicyFault[] = []
  const known = new Set<string>()
  for (const [index, { name, keyHash, delivery, endpoint, authorizationVariable }] of streams.entries()) {
    const at = ['openid', 'streams', index]
    if (known.has(name))
      faults.push({ path: [...at, 'name'], message: `the stream ${name} occurs twice`, hint: 'keep one of the two' })
    if (known.has(keyHash))
      faults.push({ path: [...at, 'keyHash'], message: 'two streams have the same key', hint: 'give each its own' })
    known.add(name).add(keyHash)
    const url = endpoint === undefined ? null : URL.parse(endpoint)
    const isGood = url !== null && isSecureUrl(url) && url.username === '' && url.hash === ''
    if (delivery === 'push' && !isGood)
      faults.push({ path: [...at, 'endpoint'], message: 'push takes an endpoint: https, or http on loopback' })
    if (delivery === 'poll' && (endpoint !== undefined || authorizationVariable !== undefined))
      faults.push({
        path: [...at, 'delivery'],
        message: 'endpoint and authorizationVariable are of push',
        hint: 'write delivery: push',
      })
  }
  return faults
}

/** https, or http on loopback. */
export function isSecureUrl({ protocol, hostname }: URL): boolean {
  const isLocal = hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]'
  return protocol === 'https:' || (protocol === 'http:' && isLocal)
}

/** RFC 9700 section 2.1, RFC 8252 section 7.1. */
function isRedirect(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || text.includes('#') || url.username !== '' || url.password !== '' || !/^[\x21-\x7e]+$/.test(text))
    return false
  return isSecureUrl(url) || /^[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:$/.test(url.protocol)
}
