/** Names of SAML 2.0 that several files here write or look for. */
import { hash } from 'node:crypto'
import { ringIssuer } from '@ringwall/ring'
import { type LoginOccasion, outsideNonce } from '../people/person-request.ts'

export const PROTOCOL = 'urn:oasis:names:tc:SAML:2.0:protocol'
export const ASSERTION = 'urn:oasis:names:tc:SAML:2.0:assertion'
export const METADATA = 'urn:oasis:names:tc:SAML:2.0:metadata'
export const POST_BINDING = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST'
export const REDIRECT_BINDING = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect'
export const SUCCESS = 'urn:oasis:names:tc:SAML:2.0:status:Success'
export const BEARER = 'urn:oasis:names:tc:SAML:2.0:cm:bearer'
export const ENTITY_FORMAT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:entity'
/** Of requests: xs:ID. */
export const REQUEST_ID: RegExp = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/
export const PERSISTENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'

/** What the ring is called by identity providers, where people log in to a service of it. */
export function serviceEntityId(ring: string, service: string): string {
  return `${ringIssuer(ring)}:${service}`
}

/** Of the request that a login begins with, and so what the answer is for. */
export function authnRequestId(occasion: LoginOccasion, provider: string): string {
  return `_${hash('sha256', `saml ${outsideNonce(occasion, provider)}`, 'hex')}`
}
