/** Which parties may have the ring's people log in for them by SAML 2.0, where, and whose keys they believe. */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import { isSecureUrl } from './policy-openid.ts'
import type { PeoplePolicy } from './policy-people.ts'
import { Name } from './policy-values.ts'

const Party = z.strictObject({
  entityId: z
    .string()
    .regex(/^[\x21-\x7e]{1,512}$/, 'expected 1 to 512 printable characters without blanks')
    .meta({ description: 'As its metadata says it.' }),
  acs: z.array(z.string().min(1).max(512)).min(1).max(8).meta({
    description: 'Its assertion consumer services, of the binding HTTP-POST; the first unless a request names another.',
  }),
  groups: z.array(z.string().max(63)).max(32).default([]).meta({ description: 'Only for people in one of these.' }),
  nameId: z
    .enum(['name', 'pseudonym'])
    .default('name')
    .meta({ description: 'name: what the ring calls somebody; pseudonym: what nobody else calls them.' }),
  signature: z.enum(['node', 'ring']).default('node').meta({
    description: 'node: RSA with SHA-256, by a key of one node; ring: Ed25519 (RFC 9231), by the key that no node holds.',
  }),
})

export const Saml = z
  .strictObject({
    service: Name.meta({ description: 'Where people log in: its hosts answer for the origin.' }),
    origin: z.string().max(512).meta({ description: 'https://HOST, as browsers know it.' }),
    keys: z
      .array(
        z.strictObject({
          node: z.string().min(1).max(64),
          certificate: z.string().regex(/^M[A-Za-z0-9+/=]{200,4000}$/, 'expected what ringwall key saml prints'),
        }),
      )
      .max(100)
      .default([])
      .meta({ description: 'Keys of nodes that parties are to believe. A node whose key is not here signs nothing by it.' }),
    parties: z.array(Party).max(200).default([]),
  })
  .meta({ description: 'The ring as an identity provider of SAML 2.0.' })

export type SamlPolicy = z.output<typeof Saml>
export type SamlParty = z.output<typeof Party>

interface Held {
  readonly saml?: SamlPolicy | undefined
  readonly services: Readonly<Record<string, { readonly people?: PeoplePolicy | undefined }>>
}

export function samlFaults({ saml, services }: Held): PolicyFault[] {
  if (saml === undefined) return []
  const faults: PolicyFault[] = []
  const service = Object.hasOwn(services, saml.service) ? services[saml.service] : undefined
  if (service?.people === undefined) {
    const message = `${saml.service} is no service that people log in to`
    faults.push({ path: ['saml', 'service'], message, hint: 'name one that has people' })
  }
  const origin = URL.parse(saml.origin)
  if (origin === null || origin.origin !== saml.origin || !isSecureUrl(origin)) {
    const message = 'expected an origin such as https://login.example, without a path or a slash at its end'
    faults.push({ path: ['saml', 'origin'], message })
  }
  const ids = new Set<string>()
  for (const [index, { entityId, acs }] of saml.parties.entries()) {
    const at = ['saml', 'parties', index]
    if (ids.has(entityId))
      faults.push({ path: [...at, 'entityId'], message: `the party ${entityId} occurs twice`, hint: 'keep one of the two' })
    ids.add(entityId)
    for (const [place, text] of acs.entries()) {
      const url = URL.parse(text)
      if (url !== null && isSecureUrl(url) && url.username === '' && !text.includes('#')) continue
      faults.push({ path: [...at, 'acs', place], message: 'expected https, or http on loopback, without a fragment' })
    }
  }
  return faults
}
