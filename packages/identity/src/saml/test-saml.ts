/** A SAML identity provider for tests, and what somebody makes of its answers who wants to be somebody else. Signed by `xml-crypto`, not by our own code. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createRequire } from 'node:module'
import type { SamlProviderPolicy } from '@ringwall/ring'
import { NOW } from '../people/test-people.ts'
import { canonicalXml } from './canonical.ts'
import { samlCertificate } from './certificate.ts'
import { parseXml } from './xml.ts'

interface Signer {
  addReference(reference: object): void
  computeSignature(xml: string, options: object): void
  getSignedXml(): string
}

/** Its own types bring those of browsers into the whole program. */
export const xmlCrypto = createRequire(import.meta.url)('xml-crypto') as {
  readonly SignedXml: new (options: object) => Signer
  readonly ExclusiveCanonicalization: new () => { process(node: unknown, options: object): unknown }
}

export const xmlDom = createRequire(import.meta.url)('@xmldom/xmldom') as {
  readonly DOMParser: new () => { parseFromString(text: string, type: string): { readonly documentElement: unknown } }
}

export const keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject } = generateKeyPairSync('rsa', {
  modulusLength: 2_048,
})
export const strangers: { readonly privateKey: KeyObject; readonly publicKey: KeyObject } = generateKeyPairSync('rsa', {
  modulusLength: 2_048,
})
export const certificate: string = Buffer.from(samlCertificate('idp', keys.privateKey, NOW)).toString('base64')

export const provider: SamlProviderPolicy = {
  kind: 'saml',
  name: 'corp',
  entityId: 'https://idp.example/saml',
  signOn: 'https://idp.example/sso',
  certificates: [certificate],
  accounts: 'both',
  attributes: { name: 'NameID', groups: 'groups', email: 'email' },
  groups: { engineers: 'staff' },
  domains: [],
}

export const expected = {
  entityId: 'urn:ringwall:x:app',
  inResponseTo: '_request',
  recipient: 'https://app.example/.ringwall/saml/acs',
  sinceMs: NOW - 10_000,
  nowMs: NOW,
} as const

const at = (ms: number): string => new Date(NOW + ms).toISOString()

/** What an answer says; each may be changed. Text is put in as it is. */
export interface Says {
  readonly id?: string
  readonly issuer?: string
  readonly nameId?: string
  readonly version?: string
  readonly issueInstant?: string
  readonly method?: string
  readonly data?: string
  readonly conditions?: string
  readonly statement?: string
  readonly attributes?: string
}

const AUDIENCE = `<saml:AudienceRestriction><saml:Audience>${expected.entityId}</saml:Audience></saml:AudienceRestriction>`
export const dataOf = (more: Record<string, string | undefined> = {}): string => {
  const held = { InResponseTo: expected.inResponseTo, Recipient: expected.recipient, NotOnOrAfter: at(120_000), ...more }
  return Object.entries(held)
    .map(([name, value]) => (value === undefined ? '' : ` ${name}="${value}"`))
    .join('')
}
export const conditionsOf = (more = AUDIENCE, from = at(-30_000), until = at(120_000)): string =>
  `<saml:Conditions NotBefore="${from}" NotOnOrAfter="${until}">${more}</saml:Conditions>`

export function assertion(says: Says = {}): string {
  const { id = '_a1', issuer = provider.entityId, nameId = 'alice', version = '2.0', issueInstant = at(0) } = says
  const { method = 'urn:oasis:names:tc:SAML:2.0:cm:bearer', data = dataOf(), conditions = conditionsOf() } = says
  const { statement = `<saml:AuthnStatement AuthnInstant="${at(0)}"/>`, attributes } = says
  const held =
    attributes ??
    '<saml:AttributeStatement><saml:Attribute Name="groups"><saml:AttributeValue>engineers</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>'
  return `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${id}" Version="${version}" IssueInstant="${issueInstant}"><saml:Issuer>${issuer}</saml:Issuer><saml:Subject><saml:NameID>${nameId}</saml:NameID><saml:SubjectConfirmation Method="${method}"><saml:SubjectConfirmationData${data}/></saml:SubjectConfirmation></saml:Subject>${conditions}${statement}${held}</saml:Assertion>`
}

export const STATUS = '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'

export function response(inside: string, id = '_r1', status = STATUS, issuer = provider.entityId): string {
  return `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="${id}" Version="2.0" IssueInstant="${at(0)}" Destination="${expected.recipient}"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${issuer}</saml:Issuer>${status}${inside}</samlp:Response>`
}

const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#'
const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature'

export interface Signing {
  readonly key?: KeyObject
  readonly algorithm?: string
  readonly digest?: string
  readonly transforms?: readonly string[]
  readonly canonicalization?: string
  readonly prefixes?: readonly string[]
}

/** As `xml-crypto` signs the element of that name, its signature after the issuer. */
export function signedBy(xml: string, local: 'Assertion' | 'Response', how: Signing = {}): string {
  const { key = keys.privateKey, transforms = [ENVELOPED, EXCLUSIVE], prefixes = [] } = how
  const signer = new xmlCrypto.SignedXml({
    privateKey: key.export({ format: 'pem', type: 'pkcs8' }),
    signatureAlgorithm: how.algorithm ?? 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
    canonicalizationAlgorithm: how.canonicalization ?? EXCLUSIVE,
    getKeyInfoContent: () => `<ds:X509Data><ds:X509Certificate>${certificate}</ds:X509Certificate></ds:X509Data>`,
  })
  signer.addReference({
    xpath: `//*[local-name(.)='${local}']`,
    transforms: [...transforms],
    digestAlgorithm: how.digest ?? 'http://www.w3.org/2001/04/xmlenc#sha256',
    inclusiveNamespacesPrefixList: [...prefixes],
  })
  const reference = `//*[local-name(.)='${local}']/*[local-name(.)='Issuer']`
  signer.computeSignature(xml, { prefix: 'ds', location: { reference, action: 'after' } })
  return signer.getSignedXml()
}

/** The signature of a document, and the document without it. */
export function taken(xml: string): readonly [signature: string, rest: string] {
  const [signature = ''] = /<ds:Signature[\s\S]*<\/ds:Signature>/.exec(xml) ?? []
  return [signature, xml.replace(signature, '')]
}

/** Signs SignedInfo again once something of it was changed: by the provider's key, or by whatever is given. */
export function resigned(
  xml: string,
  change: (signedInfo: string) => string,
  by: (bytes: Buffer) => Buffer = (bytes) => sign('sha256', bytes, keys.privateKey),
): string {
  const [info = ''] = /<ds:SignedInfo[\s\S]*<\/ds:SignedInfo>/.exec(xml) ?? []
  const changed = change(info)
  const whole = parseXml(
    Buffer.from(changed.replace('<ds:SignedInfo', '<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"')),
  )
  const value = by(Buffer.from(canonicalXml(whole))).toString('base64')
  return xml.replace(info, changed).replace(/<ds:SignatureValue>[^<]*</, `<ds:SignatureValue>${value}<`)
}

/** With the public key, which everybody has, as the secret. */
export const byMac = (bytes: Buffer): Buffer =>
  createHmac('sha256', keys.publicKey.export({ format: 'pem', type: 'spki' }))
    .update(bytes)
    .digest()
