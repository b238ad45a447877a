/**
 * What an outside identity provider says of somebody (SAML 2.0, Web Browser SSO profile: saml-profiles-2.0 section 4.1.4), verified from the arguments
 * alone: every holder of the ring's key does it by itself. Only what was signed is read, from the bytes that were signed.
 */
import type { SamlProviderPolicy } from '@ringwall/ring'
import { type OutsideRefusal, type OutsideWord, refuseOutside } from '../people/outside/outside.ts'
import { ASSERTION, BEARER, ENTITY_FORMAT, PROTOCOL, SUCCESS } from './names.ts'
import { attributeOf, childrenOf, descendants, parseXml, textOf, type XmlElement, XmlInvalid } from './xml.ts'
import { certificateKeys, DSIG, repeatedId, verifyEnveloped } from './xml-signature.ts'

/** How far the provider's clock may differ. */
const SKEW_MS = 60_000
const VALUES_MAX = 256
const VALUE_CHARS_MAX = 256
const CONDITIONS = ['AudienceRestriction', 'OneTimeUse', 'ProxyRestriction']
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]00:00)$/

/** What a response has to be for. */
export interface SamlExpected {
  /** Of us. */
  readonly entityId: string
  /** Of the request that began the login. */
  readonly inResponseTo: string
  /** Where it was sent. */
  readonly recipient: string
  /** When the login began, Unix milliseconds. */
  readonly sinceMs: number
  readonly nowMs: number
}

/** What the provider says of somebody on this occasion. */
export function readSamlResponse(
  document: Uint8Array,
  provider: SamlProviderPolicy,
  expected: SamlExpected,
): OutsideWord | OutsideRefusal {
  try {
    const root = parseXml(document)
    const signed = signedAssertion(root, provider)
    return 'ok' in signed ? signed : readAssertion(signed, provider, expected)
  } catch (error) {
    if (error instanceof XmlInvalid) return refuseOutside('OUTSIDE_MALFORMED', error.message)
    throw error
  }
}

/** The assertion as its bytes, or those of the response around it, were signed. */
function signedAssertion(root: XmlElement, provider: SamlProviderPolicy): XmlElement | OutsideRefusal {
  if (root.namespace !== PROTOCOL || root.local !== 'Response')
    return refuseOutside('OUTSIDE_MALFORMED', 'expected a Response of SAML 2.0')
  if (repeatedId(root)) return refuseOutside('OUTSIDE_WRAPPED', 'two elements have one id')
  const below = [...descendants(root)]
  if (below.some(({ local }) => local.startsWith('Encrypted')))
    return refuseOutside('OUTSIDE_ENCRYPTED', 'encrypted assertions are not taken: TLS hides them')
  // Of one issuer, as a child of the response, and there is no other anywhere.
  const [assertion] = childrenOf(root, ASSERTION, 'Assertion')
  const called = below.filter(({ local }) => local === 'Assertion' || local === 'Response')
  if (called.length > 1 || (called.length === 1 && called[0] !== assertion))
    return refuseOutside('OUTSIDE_WRAPPED', 'a response holds one assertion, and nothing else that is called so')
  const isPlaced = below
    .filter(({ local }) => local === 'Signature')
    .every((one) =>
      [root, assertion].some((holder) => holder !== undefined && childrenOf(holder, DSIG, 'Signature').includes(one)),
    )
  if (!isPlaced) return refuseOutside('OUTSIDE_WRAPPED', 'signatures are children of what they sign')
  const status = statusOf(root)
  if (status !== SUCCESS) return refuseOutside('OUTSIDE_STATUS', 'the provider says that nobody logged in')
  if (assertion === undefined) return refuseOutside('OUTSIDE_MALFORMED', 'the response has no assertion')
  const keys = certificateKeys(provider.certificates)
  const isWhole = childrenOf(root, DSIG, 'Signature').length > 0
  if (!isWhole) {
    const verified = verifyEnveloped(assertion, keys)
    return verified.ok ? parseXml(verified.bytes) : verified
  }
  const verified = verifyEnveloped(root, keys)
  if (!verified.ok) return verified
  const response = parseXml(verified.bytes)
  if (statusOf(response) !== SUCCESS || !isIssuer(response, provider.entityId, false))
    return refuseOutside('OUTSIDE_ISSUER', 'the response is of another issuer')
  const [inside] = childrenOf(response, ASSERTION, 'Assertion')
  if (inside === undefined) return refuseOutside('OUTSIDE_MALFORMED', 'the response has no assertion')
  if (childrenOf(inside, DSIG, 'Signature').length === 0) return inside
  const own = verifyEnveloped(inside, keys)
  return own.ok ? parseXml(own.bytes) : own
}

function statusOf(response: XmlElement): string | undefined {
  const [status, ...others] = childrenOf(response, PROTOCOL, 'Status')
  const [code] = status === undefined || others.length > 0 ? [] : childrenOf(status, PROTOCOL, 'StatusCode')
  return code === undefined ? undefined : attributeOf(code, 'Value')
}

function isIssuer(element: XmlElement, entityId: string, isNeeded: boolean): boolean {
  const [issuer, ...others] = childrenOf(element, ASSERTION, 'Issuer')
  if (issuer === undefined) return !isNeeded
  const format = attributeOf(issuer, 'Format')
  return others.length === 0 && textOf(issuer) === entityId && (format === undefined || format === ENTITY_FORMAT)
}

function readAssertion(
  assertion: XmlElement,
  provider: SamlProviderPolicy,
  expected: SamlExpected,
): OutsideWord | OutsideRefusal {
  if (attributeOf(assertion, 'Version') !== '2.0') return refuseOutside('OUTSIDE_MALFORMED', 'expected an assertion of SAML 2.0')
  if (!isIssuer(assertion, provider.entityId, true)) return refuseOutside('OUTSIDE_ISSUER', 'the assertion is of another issuer')
  const issued = momentOf(attributeOf(assertion, 'IssueInstant'))
  if (issued === undefined) return refuseOutside('OUTSIDE_MALFORMED', 'IssueInstant is no moment of UTC')
  if (issued > expected.nowMs + SKEW_MS || issued < expected.sinceMs - SKEW_MS)
    return refuseOutside('OUTSIDE_TIME', 'the assertion is not of this login’s time')
  return conditionsFault(assertion, expected) ?? statementFault(assertion, expected) ?? subjectOf(assertion, provider, expected)
}

/** saml-core-2.0 section 2.5. */
function conditionsFault(assertion: XmlElement, { entityId, nowMs }: SamlExpected): OutsideRefusal | undefined {
  const [conditions, ...others] = childrenOf(assertion, ASSERTION, 'Conditions')
  if (conditions === undefined || others.length > 0)
    return refuseOutside('OUTSIDE_AUDIENCE', 'an assertion has conditions, and says whom it is for')
  const isKnown = conditions.children.every(
    (child) => typeof child === 'string' || (child.namespace === ASSERTION && CONDITIONS.includes(child.local)),
  )
  if (!isKnown) return refuseOutside('OUTSIDE_MALFORMED', 'a condition that is not known here')
  const audiences = childrenOf(conditions, ASSERTION, 'AudienceRestriction').map((one) =>
    childrenOf(one, ASSERTION, 'Audience').map(textOf),
  )
  if (audiences.length === 0 || !audiences.every((named) => named.includes(entityId)))
    return refuseOutside('OUTSIDE_AUDIENCE', 'the assertion is for another audience')
  return timeFault(conditions, nowMs)
}

function timeFault(element: XmlElement, nowMs: number): OutsideRefusal | undefined {
  const [from, until] = [attributeOf(element, 'NotBefore'), attributeOf(element, 'NotOnOrAfter')]
  const [fromMs, untilMs] = [momentOf(from), momentOf(until)]
  if ((from !== undefined && fromMs === undefined) || (until !== undefined && untilMs === undefined))
    return refuseOutside('OUTSIDE_MALFORMED', 'moments are of UTC, as xs:dateTime has them')
  if (fromMs !== undefined && nowMs + SKEW_MS < fromMs) return refuseOutside('OUTSIDE_TIME', 'the assertion is not good yet')
  if (untilMs !== undefined && nowMs - SKEW_MS >= untilMs) return refuseOutside('OUTSIDE_TIME', 'the assertion is over')
  return undefined
}

function statementFault(assertion: XmlElement, { nowMs }: SamlExpected): OutsideRefusal | undefined {
  const statements = childrenOf(assertion, ASSERTION, 'AuthnStatement')
  if (statements.length === 0) return refuseOutside('OUTSIDE_MALFORMED', 'the assertion does not say that somebody logged in')
  for (const statement of statements) {
    const end = attributeOf(statement, 'SessionNotOnOrAfter')
    const endMs = momentOf(end)
    if (end !== undefined && (endMs === undefined || nowMs - SKEW_MS >= endMs))
      return refuseOutside('OUTSIDE_TIME', 'the session at the provider is over')
  }
  return undefined
}

function subjectOf(
  assertion: XmlElement,
  { attributes: named }: SamlProviderPolicy,
  expected: SamlExpected,
): OutsideWord | OutsideRefusal {
  const [subject, ...others] = childrenOf(assertion, ASSERTION, 'Subject')
  const names = subject === undefined ? [] : childrenOf(subject, ASSERTION, 'NameID')
  const nameId = names.length === 1 ? textOf(names[0] as XmlElement)?.trim() : undefined
  if (subject === undefined || others.length > 0 || nameId === undefined || !/^[\x21-\x7e]{1,255}$/.test(nameId))
    return refuseOutside('OUTSIDE_SUBJECT', 'the subject is one NameID of 1 to 255 printable characters without blanks')
  // One of them has to hold in every point (saml-profiles-2.0 section 4.1.4.2); the first tells why none does.
  const faults = childrenOf(subject, ASSERTION, 'SubjectConfirmation').map((one) => confirmationFault(one, expected))
  if (!faults.includes(undefined))
    return faults[0] ?? refuseOutside('OUTSIDE_OCCASION', 'nothing says that whoever brings the assertion is its subject')
  const values = (name: string): readonly string[] => attributeValues(assertion, name)
  return {
    subject: nameId,
    name: named.name === 'NameID' ? nameId : values(named.name)[0],
    groups: values(named.groups),
    email: values(named.email)[0],
  }
}

function confirmationFault(confirmation: XmlElement, expected: SamlExpected): OutsideRefusal | undefined {
  const [data, ...others] = childrenOf(confirmation, ASSERTION, 'SubjectConfirmationData')
  if (attributeOf(confirmation, 'Method') !== BEARER || data === undefined || others.length > 0)
    return refuseOutside('OUTSIDE_OCCASION', 'the subject is not confirmed as the bearer')
  if (attributeOf(data, 'InResponseTo') !== expected.inResponseTo)
    return refuseOutside('OUTSIDE_OCCASION', 'the assertion is for another login')
  if (attributeOf(data, 'Recipient') !== expected.recipient)
    return refuseOutside('OUTSIDE_RECIPIENT', 'the assertion is to be sent elsewhere')
  if (attributeOf(data, 'NotOnOrAfter') === undefined || attributeOf(data, 'NotBefore') !== undefined)
    return refuseOutside('OUTSIDE_TIME', 'a bearer is confirmed until a moment, and not from one on')
  return timeFault(data, expected.nowMs)
}

/** Of all attributes of that name. */
function attributeValues(assertion: XmlElement, name: string): readonly string[] {
  return childrenOf(assertion, ASSERTION, 'AttributeStatement')
    .flatMap((statement) => childrenOf(statement, ASSERTION, 'Attribute'))
    .filter((attribute) => attributeOf(attribute, 'Name') === name)
    .flatMap((attribute) => childrenOf(attribute, ASSERTION, 'AttributeValue'))
    .slice(0, VALUES_MAX)
    .flatMap((value) => textOf(value)?.trim() ?? [])
    .filter((text) => text.length > 0 && text.length <= VALUE_CHARS_MAX)
}

/** Unix milliseconds. */
function momentOf(text: string | undefined): number | undefined {
  if (text === undefined || !MOMENT.test(text)) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}
