/** What the ring says as a service provider of SAML 2.0: the request that a login begins with, and its metadata. */
import { deflateRawSync } from 'node:zlib'
import { ASSERTION, METADATA, POST_BINDING, PROTOCOL } from './names.ts'
import { xmlText } from './xml.ts'

export interface AuthnRequest {
  readonly id: string
  readonly entityId: string
  /** Where the answer is to be posted. */
  readonly recipient: string
  /** The provider's single sign-on service. */
  readonly destination: string
  readonly atMs: number
}

/** The address that a browser is sent to (saml-bindings-2.0 section 3.4). The request is not signed: nothing is asked that it matters for. */
export function authnRequestUrl({ id, entityId, recipient, destination, atMs }: AuthnRequest, relayState: string): string {
  const at = new Date(atMs).toISOString()
  const xml =
    `<samlp:AuthnRequest xmlns:samlp="${PROTOCOL}" ID="${id}" Version="2.0" IssueInstant="${at}"` +
    ` Destination="${xmlText(destination)}" ProtocolBinding="${POST_BINDING}" AssertionConsumerServiceURL="${xmlText(recipient)}">` +
    `<saml:Issuer xmlns:saml="${ASSERTION}">${xmlText(entityId)}</saml:Issuer></samlp:AuthnRequest>`
  const url = new URL(destination)
  url.searchParams.set('SAMLRequest', deflateRawSync(xml).toString('base64'))
  url.searchParams.set('RelayState', relayState)
  return url.href
}

/** saml-metadata-2.0 section 2.4.4. */
export function serviceProviderMetadata(entityId: string, recipient: string): string {
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<md:EntityDescriptor xmlns:md="${METADATA}" entityID="${xmlText(entityId)}">` +
    `<md:SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" protocolSupportEnumeration="${PROTOCOL}">` +
    `<md:AssertionConsumerService Binding="${POST_BINDING}" Location="${xmlText(recipient)}" index="0" isDefault="true"/>` +
    '</md:SPSSODescriptor></md:EntityDescriptor>\n'
  )
}
