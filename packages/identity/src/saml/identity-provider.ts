/**
 * The ring as an identity provider of SAML 2.0: what a party asks, and the assertion that it gets. Each holder of the ring's key comes to the same bytes
 * from the session that is shown and from its own view; a node that signs by a key of its own comes to them likewise.
 */
import { hash } from 'node:crypto'
import { inflateRawSync } from 'node:zlib'
import { SAML_IDP_PATHS } from '@ringwall/guard'
import type { SamlParty, SamlPolicy } from '@ringwall/ring'
import { canonicalXml } from './canonical.ts'
import {
  ASSERTION,
  BEARER,
  ENTITY_FORMAT,
  METADATA,
  PERSISTENT,
  POST_BINDING,
  PROTOCOL,
  REDIRECT_BINDING,
  REQUEST_ID,
  SUCCESS,
} from './names.ts'
import { attributeOf, childrenOf, parseXml, textOf, XmlInvalid, xmlText } from './xml.ts'
import { DSIG, ED25519, ENVELOPED, EXCLUSIVE, RSA_SHA256, SHA256 } from './xml-signature.ts'

const SAML_SSO_PATH = SAML_IDP_PATHS.signOn
const SAML_IDP_PATH = SAML_IDP_PATHS.metadata
/** Of a request, inflated. */
const REQUEST_BYTES_MAX = 16_384
const REQUEST_CHARS_MAX = 8_192
const REQUEST_AGE_MS_MAX = 300_000
const GOOD_FOR_MS = 300_000
const SKEW_MS = 60_000
const UNSPECIFIED = 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified'
const ED25519_DER = Buffer.from('302a300506032b6570032100', 'hex')

/** What a party asks for by HTTP-Redirect. */
export interface PartyRequest {
  readonly id: string
  readonly party: SamlParty
  readonly acs: string
  /** People are to log in anew. */
  readonly force: boolean
  /** Nobody is to be asked anything. */
  readonly passive: boolean
}

export function idpEntityId({ origin }: SamlPolicy): string {
  return `${origin}${SAML_IDP_PATH}`
}

/** A string: why it is none. It is not known then where an answer could go. */
export function readPartyRequest(encoded: string, policy: SamlPolicy, nowMs: number): PartyRequest | string {
  if (encoded.length > REQUEST_CHARS_MAX || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded))
    return 'SAMLRequest is no base64, or too long'
  try {
    const root = parseXml(inflateRawSync(Buffer.from(encoded, 'base64'), { maxOutputLength: REQUEST_BYTES_MAX }))
    if (root.namespace !== PROTOCOL || root.local !== 'AuthnRequest') return 'expected an AuthnRequest of SAML 2.0'
    const issuers = childrenOf(root, ASSERTION, 'Issuer')
    const issuer = issuers.length === 1 ? textOf(issuers[0]!)?.trim() : undefined
    const party = policy.parties.find(({ entityId }) => entityId === issuer)
    if (party === undefined) return 'the party is not known here'
    const id = attributeOf(root, 'ID') ?? ''
    if (!REQUEST_ID.test(id) || attributeOf(root, 'Version') !== '2.0') return 'expected an ID, and the version 2.0'
    const at = Date.parse(attributeOf(root, 'IssueInstant') ?? '')
    if (!(Math.abs(nowMs - at) <= REQUEST_AGE_MS_MAX)) return 'the request is too old, or of a time to come'
    const destination = attributeOf(root, 'Destination')
    if (destination !== undefined && destination !== `${policy.origin}${SAML_SSO_PATH}`) return 'the request is for somebody else'
    const binding = attributeOf(root, 'ProtocolBinding')
    if (binding !== undefined && binding !== POST_BINDING) return 'answers are given by HTTP-POST alone'
    const wanted = attributeOf(root, 'AssertionConsumerServiceURL')
    const acs = wanted === undefined ? party.acs[0] : party.acs.find((one) => one === wanted)
    if (acs === undefined) return 'the party named an address that is not its own'
    const isSet = (name: string): boolean => ['true', '1'].includes(attributeOf(root, name) ?? '')
    return { id, party, acs, force: isSet('ForceAuthn'), passive: isSet('IsPassive') }
  } catch (error) {
    if (error instanceof XmlInvalid) return error.message
    return 'SAMLRequest is not compressed as HTTP-Redirect has it'
  }
}

/** What is asserted of somebody. Times in Unix seconds. */
export interface Asserted {
  readonly ring: string
  readonly policy: SamlPolicy
  readonly party: SamlParty
  readonly acs: string
  readonly inResponseTo: string
  /** Of the assertion. */
  readonly id: string
  readonly name: string
  readonly groups: readonly string[]
  readonly authTime: number
  readonly sessionEnd: number
  readonly sid: string
  readonly atMs: number
}

const moment = (ms: number): string => new Date(ms).toISOString()

/** The assertion, canonical, without a signature. */
export function assertionXml(said: Asserted): string {
  const { ring, policy, party, acs, inResponseTo, id, name, groups, authTime, sessionEnd, sid, atMs } = said
  const until = moment(atMs + GOOD_FOR_MS)
  const isName = party.nameId === 'name'
  const pseudonym = hash('sha256', JSON.stringify(['saml', ring, party.entityId, name]), 'hex')
  const index = hash('sha256', JSON.stringify(['saml session', ring, party.entityId, sid]), 'hex').slice(0, 32)
  const attribute = (of: string, values: readonly string[]): string =>
    values.length === 0
      ? ''
      : `<saml:Attribute Name="${of}">${values.map((one) => `<saml:AttributeValue>${xmlText(one)}</saml:AttributeValue>`).join('')}</saml:Attribute>`
  const attributes = `${isName ? attribute('uid', [name]) : ''}${attribute('groups', groups)}`
  const xml =
    `<saml:Assertion xmlns:saml="${ASSERTION}" ID="${id}" IssueInstant="${moment(atMs)}" Version="2.0">` +
    `<saml:Issuer>${xmlText(idpEntityId(policy))}</saml:Issuer>` +
    `<saml:Subject><saml:NameID Format="${isName ? UNSPECIFIED : PERSISTENT}">${isName ? xmlText(name) : pseudonym}</saml:NameID>` +
    `<saml:SubjectConfirmation Method="${BEARER}"><saml:SubjectConfirmationData InResponseTo="${xmlText(inResponseTo)}" NotOnOrAfter="${until}" Recipient="${xmlText(acs)}"/></saml:SubjectConfirmation></saml:Subject>` +
    `<saml:Conditions NotBefore="${moment(atMs - SKEW_MS)}" NotOnOrAfter="${until}"><saml:AudienceRestriction><saml:Audience>${xmlText(party.entityId)}</saml:Audience></saml:AudienceRestriction></saml:Conditions>` +
    `<saml:AuthnStatement AuthnInstant="${moment(authTime * 1_000)}" SessionIndex="_${index}" SessionNotOnOrAfter="${moment(sessionEnd * 1_000)}"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>` +
    (attributes === '' ? '' : `<saml:AttributeStatement>${attributes}</saml:AttributeStatement>`) +
    '</saml:Assertion>'
  return canonicalXml(parseXml(Buffer.from(xml)))
}

/** What is signed for an assertion: its SignedInfo, canonical. */
export function signedInfoXml(assertion: string, id: string, signature: SamlParty['signature']): string {
  return (
    `<ds:SignedInfo xmlns:ds="${DSIG}"><ds:CanonicalizationMethod Algorithm="${EXCLUSIVE}"></ds:CanonicalizationMethod>` +
    `<ds:SignatureMethod Algorithm="${signature === 'ring' ? ED25519 : RSA_SHA256}"></ds:SignatureMethod>` +
    `<ds:Reference URI="#${id}"><ds:Transforms><ds:Transform Algorithm="${ENVELOPED}"></ds:Transform><ds:Transform Algorithm="${EXCLUSIVE}"></ds:Transform></ds:Transforms>` +
    `<ds:DigestMethod Algorithm="${SHA256}"></ds:DigestMethod><ds:DigestValue>${hash('sha256', assertion, 'base64')}</ds:DigestValue></ds:Reference></ds:SignedInfo>`
  )
}

/** The response that a browser posts. @param certificate Of the node that signed, base64; undefined: the ring did. */
export function responseXml(
  { policy, acs, inResponseTo, id, atMs }: Asserted,
  assertion: string,
  signedInfo: string,
  signature: Uint8Array,
  certificate: string | undefined,
): string {
  const keyInfo =
    certificate === undefined
      ? ''
      : `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>${certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`
  const value = Buffer.from(signature).toString('base64')
  const signed = `<ds:Signature xmlns:ds="${DSIG}">${signedInfo.replace(` xmlns:ds="${DSIG}"`, '')}<ds:SignatureValue>${value}</ds:SignatureValue>${keyInfo}</ds:Signature>`
  const whole = assertion.replace('</saml:Issuer>', () => `</saml:Issuer>${signed}`)
  const status = `<samlp:Status><samlp:StatusCode Value="${SUCCESS}"/></samlp:Status>`
  return envelope(policy, { id: `_r${id}`, acs, inResponseTo, atMs }, `${status}${whole}`)
}

/** That there is no assertion, and why (saml-core-2.0 section 3.2.2.2). */
export function refusalXml(
  policy: SamlPolicy,
  { id, acs }: PartyRequest,
  why: 'NoPassive' | 'RequestDenied',
  atMs: number,
): string {
  const code = `urn:oasis:names:tc:SAML:2.0:status:${why}`
  const status = `<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder"><samlp:StatusCode Value="${code}"/></samlp:StatusCode></samlp:Status>`
  const own = `_${hash('sha256', JSON.stringify([id, acs, why, atMs]), 'hex')}`
  return envelope(policy, { id: own, acs, inResponseTo: id, atMs }, status)
}

function envelope(
  policy: SamlPolicy,
  { id, acs, inResponseTo, atMs }: Pick<Asserted, 'id' | 'acs' | 'inResponseTo' | 'atMs'>,
  inside: string,
): string {
  return (
    `<samlp:Response xmlns:samlp="${PROTOCOL}" ID="${id}" Version="2.0" IssueInstant="${moment(atMs)}" Destination="${xmlText(acs)}" InResponseTo="${xmlText(inResponseTo)}">` +
    `<saml:Issuer xmlns:saml="${ASSERTION}" Format="${ENTITY_FORMAT}">${xmlText(idpEntityId(policy))}</saml:Issuer>${inside}</samlp:Response>`
  )
}

/** saml-metadata-2.0 section 2.4.3. @param ringKeys Ed25519, raw, base64url, for parties that believe the ring's own signature. */
export function identityProviderMetadata(policy: SamlPolicy, ringKeys: readonly string[]): string {
  const keys = [
    ...policy.keys.map(
      ({ node, certificate }) =>
        `<ds:KeyName>${xmlText(node)}</ds:KeyName><ds:X509Data><ds:X509Certificate>${certificate}</ds:X509Certificate></ds:X509Data>`,
    ),
    ...ringKeys.map((key) => {
      const der = Buffer.concat([ED25519_DER, Buffer.from(key, 'base64url')]).toString('base64')
      return `<dsig11:DEREncodedKeyValue xmlns:dsig11="http://www.w3.org/2009/xmldsig11#">${der}</dsig11:DEREncodedKeyValue>`
    }),
  ]
  const descriptors = keys.map(
    (one) => `<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="${DSIG}">${one}</ds:KeyInfo></md:KeyDescriptor>`,
  )
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<md:EntityDescriptor xmlns:md="${METADATA}" entityID="${xmlText(idpEntityId(policy))}">` +
    `<md:IDPSSODescriptor WantAuthnRequestsSigned="false" protocolSupportEnumeration="${PROTOCOL}">${descriptors.join('')}` +
    `<md:NameIDFormat>${UNSPECIFIED}</md:NameIDFormat><md:NameIDFormat>${PERSISTENT}</md:NameIDFormat>` +
    `<md:SingleSignOnService Binding="${REDIRECT_BINDING}" Location="${xmlText(policy.origin + SAML_SSO_PATH)}"/>` +
    '</md:IDPSSODescriptor></md:EntityDescriptor>\n'
  )
}
